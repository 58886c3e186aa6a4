"""A figure of the page: a Vega-Lite spec, what it says in words, and its numbers as a table.

Colours are not in the specs. A mark names a style (`accent`, `muted`, `wrong`, …) and a scale a
range (`category`, `ordinal`, `heatmap`); `page.js` fills both from the page's own colours, which
follow the reader's light or dark theme. Field names are always ours. What comes from data stands in
values, in domains, and, where it is the name of the number that is predicted, in titles. Of titles
Vega-Lite makes string literals, escaped, in the expressions of tooltips and descriptions; Vega's
interpreter reads these, and no `eval` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Spec = dict[str, Any]
Size = Literal["half", "wide"]


@dataclass(frozen=True)
class Figure:
    """Hold one figure.

    Args:
        name: of its element on the page.
        title: what is shown.
        reading: one sentence on how to read it.
        says: what it says, in words, for who does not see it.
        spec: Vega-Lite, with its data.
        header: of the table of its numbers.
        rows: of the table; its cells are shown as they are.
        size: how wide it may become.
    """

    name: str
    title: str
    reading: str
    says: str
    spec: Spec
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    size: Size = "wide"


def base(says: str, height: int, **more: Any) -> Spec:
    """Return what all specs share: as wide as the page allows, described in words."""
    return {
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "description": says,
        **more,
    }


def values(rows: Sequence[dict[str, Any]]) -> Spec:
    """Return rows as inline data."""
    return {"values": list(rows)}


def number(field: str, title: str | None, **more: Any) -> Spec:
    """Encode a quantity."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def name(field: str, title: str | None, **more: Any) -> Spec:
    """Encode a name."""
    return {"field": field, "type": "nominal", "title": title, **more}
