"""Reports: records in, pages for people out. No torch, nothing computed anew.

    RunRecord, Facts ─ verdict, tables, figures ─page.render→ one HTML file
    RunRecord ─ card.model_card→ README.md beside the model

`facts.py` is what the page needs beside the record; `figures_*.py` make Vega-Lite specs, each with
a sentence and a table that say the same; the page itself is `templates/`,
`page.css` and `page.js`; `vendor/` holds the libraries that draw (see `scripts/vendor_vega.py`).
"""
