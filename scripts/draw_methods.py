"""Draw what benchmarks/methods_on_tickets.py measured.

    python scripts/draw_methods.py methods.json docs/assets/methods.svg

One row per method: on the left the test accuracy of every seed and their mean, on the right the
CPU seconds of a run. The colours follow the reader's light or dark theme.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

WIDTH, ROW, TOP, BOTTOM = 760, 34, 66, 58
LABELS, LEFT, MIDDLE, RIGHT = 92, 108, 452, 700
STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
  .small { font-size: 12px; fill: #59636e }
  .title { font-weight: 600 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .before { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .one { fill: none; stroke: #0a7d5a; stroke-width: 1.5; opacity: .65 }
  .mean, .bar { fill: #0a7d5a }
  .scratch .one { stroke: #8c959f } .scratch .mean, .scratch .bar { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .grid { stroke: #3d444d } .before { stroke: #9198a1 }
    .one { stroke: #3fc795 } .mean, .bar { fill: #3fc795 }
    .scratch .one { stroke: #7d8590 } .scratch .mean, .scratch .bar { fill: #7d8590 }
  }
"""


def draw(rows: list[dict[str, Any]], threads: int) -> str:
    """Return the picture as SVG.

    Args:
        rows: one per run, with `method`, `seed`, `accuracy`, `before_accuracy`, `cpu_seconds`.
        threads: how many the runs had.
    """
    by_method = {m: [r for r in rows if r["method"] == m] for m in _order(rows)}
    bottom = TOP + ROW * len(by_method)
    longest = max(_mean(runs, "cpu_seconds") for runs in by_method.values())
    before = _mean(rows, "before_accuracy")
    n_seeds = len({r["seed"] for r in rows})
    parts = [
        f'<text class="title" x="{LEFT}" y="24">test accuracy</text>',
        f'<text class="title" x="{MIDDLE + 48}" y="24">CPU seconds of the whole run</text>',
    ]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(_line("grid", _x(tick), TOP - 12, bottom))
        parts.append(_text(_x(tick), bottom + 18, f"{tick:g}", "middle"))
    n_threads = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    about = f"dots: mean, rings: each of {n_seeds} seeds · minilm, {n_threads}"
    parts.append(_line("before", _x(before), TOP - 12, bottom))
    parts.append(_text(_x(before), TOP - 18, f"before training {before:.2f}", "middle"))
    parts.append(_text(LEFT, bottom + 44, f"examples/tickets.csv, 308 training rows · {about}"))
    for i, (method, runs) in enumerate(by_method.items()):
        parts += _row(method, runs, TOP + ROW * (i + 0.5), longest)
    size = f'width="{WIDTH}" height="{bottom + BOTTOM}" viewBox="0 0 {WIDTH} {bottom + BOTTOM}"'
    best = max(by_method, key=lambda m: _mean(by_method[m], "accuracy"))
    title = f"Test accuracy and seconds of {len(by_method)} methods on tickets.csv; best is {best}"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _row(method: str, runs: list[dict[str, Any]], y: float, longest: float) -> list[str]:
    accuracy, seconds = _mean(runs, "accuracy"), _mean(runs, "cpu_seconds")
    start = MIDDLE + 48
    end = start + (RIGHT - start) * seconds / longest
    rings = [f'<circle class="one" cx="{_x(r["accuracy"]):.1f}" cy="{y}" r="4"/>' for r in runs]
    return [
        f'<g class="{method}">',
        f'<text x="{LABELS}" y="{y + 5}" text-anchor="end">{method}</text>',
        *rings,
        f'<circle class="mean" cx="{_x(accuracy):.1f}" cy="{y}" r="5.5"/>',
        f'<text x="{MIDDLE + 34}" y="{y + 5}" text-anchor="end">{accuracy:.2f}</text>',
        f'<rect class="bar" x="{start}" y="{y - 7}" width="{end - start:.1f}" height="14" rx="2"/>',
        f'<text x="{end + 8:.1f}" y="{y + 5}">{seconds:.0f}</text>',
        "</g>",
    ]


def _order(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(r["method"] for r in rows))


def _mean(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.mean(r[key] for r in runs)


def _x(accuracy: float) -> float:
    return LEFT + (MIDDLE - 20 - LEFT) * accuracy


def _line(kind: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="small" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>'


def main() -> None:
    """Read the measurements and write the picture."""
    source, target = map(Path, sys.argv[1:])
    found = json.loads(source.read_text(encoding="utf-8"))
    target.write_text(draw(found["rows"], found["threads"]), encoding="utf-8")


if __name__ == "__main__":
    main()
