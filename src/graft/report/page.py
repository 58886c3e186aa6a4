"""The page: one HTML file that opens offline and runs nothing but its own drawing.

Text is escaped by Jinja; what the drawing reads stands in JSON whose `<` are escapes, so no data
can end its element. The policy in the page's head allows one script and one style, by their
hashes, and pictures that are part of the page; Vega runs with its interpreter and needs no `eval`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from graft.records import RunRecord
from graft.report import (
    figures_between,
    figures_calibration,
    figures_data,
    figures_embedding,
    figures_errors,
    figures_map,
    figures_numbers,
    figures_roc,
    figures_scores,
    tables,
)
from graft.report.facts import Facts
from graft.report.figure import Figure
from graft.report.teacher import how_taught, teacher_rows
from graft.report.verdict import verdict
from graft.report.words import (
    A_MODEL,
    IN_A_SPACE,
    UNTOUCHED,
    human_seconds,
    percent,
    plural,
    share_of,
    what_pairs,
)
from graft.serial import plain
from graft.wording import human_bytes

HERE = Path(__file__).parent
N_CLASSES_SHOWN = 20
N_PAIRS_SHOWN = 10
IMPORTS = "import { ascending, isString, DisallowedObjectProperties } from 'vega-util';"
EXPORTS = "export { expression as expressionInterpreter };"


def render(
    record: RunRecord,
    facts: Facts | None,
    *,
    name: str = "run",
    recipe: str = "",
    meanings: Mapping[str, tuple[str, str, bool]] | None = None,
    examples: bool = True,
) -> str:
    """Return the page of a run.

    Args:
        facts: what the record does not hold; without them the pictures of single rows are missing.
        name: of the run's folder.
        recipe: its YAML, as text.
        meanings: metric → (…, what it means, whether higher is better).
        examples: show the texts and pictures of single rows: mistakes, or neighbours.
    """
    template = _environment().get_template("page.html")
    found = facts or Facts("text")
    sections = {
        "data": _some(figures_data.class_counts(record, found)),
        "training": _some(
            figures_data.learning(record),
            *figures_scores.scores(record),
            figures_scores.remembered(record),
        ),
        "errors": _some(
            figures_errors.confusion(record, found),
            figures_errors.label_scores(record),
            figures_numbers.scatter(record, found),
            figures_numbers.residuals(record, found),
        ),
        "calibration": _some(
            figures_calibration.reliability(record, found),
            figures_calibration.confidences(record, found),
        ),
        "cosines": [
            *figures_embedding.cosines(found.embedding),
            *_some(figures_roc.curve(found.embedding)),
            *figures_embedding.scatters(record, found.embedding),
        ],
        "map": figures_map.maps(record, found.map),
        "near": figures_map.maps(record, found.near_map, kind="near"),
        "domains": figures_map.maps(record, found.domain_map, kind="domains"),
        "depths": _some(figures_data.depths(record)),
        "between": _some(figures_between.between(record, meanings or {})),
    }
    has_figures = any(sections.values())
    script = _script() if has_figures else ""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return template.render(
        record=record,
        facts=found,
        is_whole=facts is not None,
        examples=examples,
        name=name,
        recipe=recipe,
        verdict=verdict(record, facts),
        in_a_space=record.task in IN_A_SPACE,
        kind=A_MODEL[record.task].format(n=len(record.classes)),
        untouched=UNTOUCHED[record.task],
        metrics=tables.metric_rows(record, meanings or {}),
        domain=record.domain,
        domain_metrics=()
        if record.domain is None
        else tables.metric_rows(replace(record, intervals=record.domain.intervals), meanings or {}),
        taught=teacher_rows(record),
        how_taught=how_taught,
        plan=tables.plan_rows(record),
        cost=tables.cost_rows(record),
        findings=tables.finding_rows(record.findings),
        n_findings=len(record.findings),
        classes=tables.class_rows(record),
        confused=figures_errors.confused_rows(record, found),
        lying=figures_embedding.class_rows(found.embedding),
        n_classes_shown=N_CLASSES_SHOWN,
        n_pairs_shown=N_PAIRS_SHOWN,
        sections=sections,
        style=style,
        script=script,
        policy=_policy(script, style),
        percent=percent,
        share_of=share_of,
        plural=plural,
        what_pairs=what_pairs,
        human_seconds=human_seconds,
        human_bytes=human_bytes,
    )


def _some(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_function"] = _strict_json
    return found


def _strict_json(value: Any, **more: Any) -> str:
    """Return JSON as browsers read it: a number that is not finite is null, a missing value."""
    return json.dumps(plain(value, lambda _: None), allow_nan=False, **more)


@cache
def _script() -> str:
    """Return the one script of the page: the libraries, and what calls them."""
    vendor = HERE / "vendor"
    parts = [(vendor / name).read_text(encoding="utf-8") for name in ("vega.js", "vega-lite.js")]
    interpreter = (vendor / "vega-interpreter.js").read_text(encoding="utf-8")
    assert IMPORTS in interpreter and EXPORTS in interpreter, "another release of the interpreter"
    # it comes as a module, and a page that is opened from the disk cannot load modules
    body = interpreter.replace(IMPORTS, "").replace(EXPORTS, "return expression;")
    names = "{ ascending, isString, DisallowedObjectProperties }"
    parts.append(f"vega.expressionInterpreter = (function ({names}) {{\n{body}\n}})(vega);")
    parts.append((HERE / "page.js").read_text(encoding="utf-8"))
    return "\n".join(map(_without_source_map, parts))


def _without_source_map(script: str) -> str:
    """Return a script without the comment that names its source map, else as it is.

    Lines end at a line feed alone: `splitlines` would also break strings that hold a U+2028.
    """
    lines = script.split("\n")
    return "\n".join(line for line in lines if not line.startswith("//# sourceMappingURL"))


def _policy(script: str, style: str) -> str:
    scripts = f"'sha256-{_hash(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'sha256-{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
