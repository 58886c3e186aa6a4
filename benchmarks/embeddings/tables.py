"""Write the tables of docs/which-loss.md from what the ledgers hold.

    python benchmarks/embeddings/tables.py          # prints
    python benchmarks/embeddings/tables.py --docs   # writes them into the page

Nothing is measured here: every figure is read from `results/`.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "literature"))
import centers
import few_shot
import losses
import pairs
from ledger import ROOT, Ledger

PAGE = ROOT / "docs" / "which-loss.md"


def tables() -> dict[str, str]:
    """Return each table by its name; those without results are left out."""
    makers = {
        **{f"losses {name}": (f"losses_{name}", losses.table) for name in losses.SOURCES},
        **{
            f"pairs {name}": (f"pairs_{name}", partial(pairs.table, metric=pairs.METRIC[name]))
            for name in pairs.TABLES
        },
        "centers": ("centers", centers.table),
        "few shot": ("few_shot_sst2", few_shot.table),
    }
    found = {name: (Ledger(ledger).rows, make) for name, (ledger, make) in makers.items()}
    return {name: make(rows) for name, (rows, make) in found.items() if rows}


def written(page: str) -> str:
    """Return a page with the tables between their marks."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} begins -->", f"<!-- {name} ends -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        page, n = pattern.subn(lambda _, t=table, b=begin, e=end: f"{b}\n\n{t}\n\n{e}", page)
        if n != 1:
            raise SystemExit(f"{PAGE.name}: no place for the table `{name}`")
    return page


def main() -> None:
    if "--docs" in sys.argv[1:]:
        PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
        return
    for name, table in tables().items():
        print(f"{name}\n\n{table}\n")


if __name__ == "__main__":
    main()
