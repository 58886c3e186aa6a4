"""Draw what a linear head on each block of a network reaches: records in, one SVG out.

One row per depth, from the input down to the features at the end: a bar for the accuracy, and on
the right the loss that decided. The chosen depth stands out. Where numbers are predicted there is
no accuracy, and the bars are losses. The colours follow the reader's light or dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from graft.phase_records import DepthRecord

WIDTH, ROW, TOP, BOTTOM = 640, 30, 64, 40
LABELS, LEFT, RIGHT, LOSSES = 104, 116, 480, 612
ABOUT = "of a linear head on each block, by cross-validation on training rows"
STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
  .small { font-size: 12px; fill: #59636e }
  .title, .chosen text { font-weight: 600 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .bar { fill: #8fb8a9 } .chosen .bar { fill: #0a7d5a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .bar { fill: #2b6b56 } .chosen .bar { fill: #3fc795 }
  }
"""


def draw_depths(depths: Sequence[DepthRecord]) -> str:
    """Return the picture as SVG.

    Args:
        depths: from the lowest block up, at least one.
    """
    has_accuracy = all(d.accuracy is not None for d in depths)
    highest = 1.0 if has_accuracy else max(d.loss for d in depths) or 1.0
    bottom = TOP + ROW * len(depths)
    parts = [
        f'<text class="title" x="{LEFT}" y="24">{"accuracy" if has_accuracy else "loss"}</text>',
        f'<text class="title" x="{LOSSES}" y="24" text-anchor="end">loss</text>',
        f'<text class="small" x="{LOSSES}" y="42" text-anchor="end">less is better</text>',
        f'<text class="small" x="{LEFT}" y="42">{ABOUT}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1) if has_accuracy else (0,):
        x = _x(share)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom + 2}"/>'
        )
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{share:g}'
            "</text>"
        )
    for i, depth in enumerate(depths):
        parts += _row(depth, TOP + ROW * (i + 0.5), highest)
    size = f'width="{WIDTH}" height="{bottom + BOTTOM}" viewBox="0 0 {WIDTH} {bottom + BOTTOM}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"<title>{escape(_title(depths))}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _row(depth: DepthRecord, y: float, highest: float) -> list[str]:
    value = depth.loss if depth.accuracy is None else depth.accuracy
    end = _x(min(max(value / highest, 0.0), 1.0))
    # inside a long bar's end the number would not be read in both themes: it goes behind the bar
    label = "" if depth.accuracy is None else f"{depth.accuracy:.3f}"
    kind = ' class="chosen"' if depth.chosen else ""
    return [
        f"<g{kind}>",
        f'<text x="{LABELS}" y="{y + 5}" text-anchor="end">{escape(depth.block)}</text>',
        f'<rect class="bar" x="{LEFT}" y="{y - 8}" width="{end - LEFT:.1f}" height="16" rx="2"/>',
        f'<text x="{end + 8:.1f}" y="{y + 5}">{label}</text>',
        f'<text x="{LOSSES}" y="{y + 5}" text-anchor="end">{depth.loss:.3f}</text>',
        "</g>",
    ]


def _title(depths: Sequence[DepthRecord]) -> str:
    chosen = next((d for d in depths if d.chosen), depths[-1])
    return f"A linear head on each of {len(depths)} depths; the model reads {chosen.block}"


def _x(share: float) -> float:
    return LEFT + (RIGHT - LEFT) * share
