"""Draw what methods are worth against what they cost: records in, one SVG out.

Seconds go to the right by powers of ten, the metric upwards with its interval. The recommended
method stands out; what is clearly behind the best is pale. A dashed line is what the untouched
network is worth. The colours follow the reader's theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 690, 52, 360
APART = 16
"""Pixels between two labels."""
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
  .small { font-size: 12px; fill: #59636e }
  .title { font-weight: 600; font-size: 14px }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .before { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 5 4 }
  .range { stroke: #0a7d5a; stroke-width: 1.5 } .dot { fill: #0a7d5a }
  .behind .range { stroke: #b7bfc8 } .behind .dot { fill: #b7bfc8 } .behind text { fill: #59636e }
  .taken text { font-weight: 600 } .taken .dot { stroke: #24292f; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d }
    .before { stroke: #9198a1 }
    .range { stroke: #3fc795 } .dot { fill: #3fc795 }
    .behind .range { stroke: #59636e } .behind .dot { fill: #59636e }
    .behind text { fill: #9198a1 } .taken .dot { stroke: #e6edf3 }
  }
"""


@dataclass(frozen=True)
class Spot:
    """One method in the picture.

    Args:
        kind: `taken`, `close` or `behind`.
    """

    name: str
    seconds: float
    value: float
    low: float
    high: float
    kind: str


def draw_costs(
    spots: Sequence[Spot], *, metric: str, title: str, untouched: float = math.nan
) -> str:
    """Return the picture as SVG.

    Args:
        spots: at least one.
        metric: what the vertical axis shows.
        title: of the whole.
        untouched: what the network is worth without training; not drawn where it is NaN or lies
            further from the spots than they from each other.
    """
    seconds = [max(s.seconds, 0.1) for s in spots]
    first = math.floor(math.log10(min(seconds)) * 2) / 2
    last = max(math.ceil(math.log10(max(seconds)) * 2) / 2, first + 0.5)
    low, high = min(s.low for s in spots), max(s.high for s in spots)
    is_drawn = low - (high - low) <= untouched <= high + (high - low)
    if is_drawn:
        low, high = min(low, untouched), max(high, untouched)
    bottom, top, step = _ticks(low, high)

    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (math.log10(max(value, 0.1)) - first) / (last - first)

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - bottom) / (top - bottom)

    parts = [f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>']
    parts.append(f'<text class="small" x="{LEFT}" y="42">{escape(metric)}</text>')
    n_ticks = round((top - bottom) / step)
    for i in range(n_ticks + 1):
        at = y(bottom + i * step)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        label = f"{bottom + i * step:.{max(0, -math.floor(math.log10(step)))}f}"
        parts.append(
            f'<text class="small" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>'
        )
    for tick in _seconds_between(10**first, 10**last):
        at = x(tick)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
        parts.append(
            f'<text class="small" x="{at:.1f}" y="{BOTTOM + 20}" text-anchor="middle">'
            f"{tick:g} s</text>"
        )
    parts.append(
        f'<text class="small" x="{RIGHT}" y="{BOTTOM + 42}" text-anchor="end">'
        "seconds of one training, beside what all share; bars: 95 % intervals</text>"
    )
    placed: list[tuple[float, float, float]] = []
    if is_drawn:
        at = y(untouched)
        parts += [
            f'<line class="before" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>',
            f'<text class="small" x="{RIGHT}" y="{at - 5:.1f}" text-anchor="end">untouched</text>',
        ]
        placed.append((RIGHT - 7.5 * len("untouched"), RIGHT, at - 5))
    for spot in sorted(spots, key=lambda s: (s.kind != "taken", -s.value)):
        parts += _spot(spot, x(spot.seconds), y, placed)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _spot(
    spot: Spot,
    at: float,
    y: Callable[[float], float],
    placed: list[tuple[float, float, float]],
) -> list[str]:
    """Return a dot with its bar and name, the name moved away from those that stand already."""
    width = 7.5 * len(spot.name)
    is_left = at + 10 + width > RIGHT
    begin = at - 10 - width if is_left else at + 10
    line = y(spot.value) + 4
    for distance in sorted(range(-10, 11), key=abs):
        moved = line + APART * distance / 2
        free = all(
            abs(moved - other) >= APART or begin > end + 4 or begin + width + 4 < start
            for start, end, other in placed
        )
        if free and TOP <= moved <= BOTTOM:
            line = moved
            break
    placed.append((begin, begin + width, line))
    anchor = ' text-anchor="end"' if is_left else ""
    edge = at - 10 if is_left else at + 10
    return [
        f'<g class="{spot.kind}">',
        f'<path class="range" d="M{at:.1f} {y(spot.low):.1f}V{y(spot.high):.1f}"/>',
        f'<circle class="dot" cx="{at:.1f}" cy="{y(spot.value):.1f}" r="5"/>',
        f'<text x="{edge:.1f}" y="{line:.1f}"{anchor}>{escape(spot.name)}</text>',
        "</g>",
    ]


def _ticks(low: float, high: float) -> tuple[float, float, float]:
    """Return a range that holds both, and steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-3)
    step = next(
        base * 10**power
        for power in range(math.floor(math.log10(span)) - 1, 9)
        for base in (1, 2, 5)
        if span / (base * 10**power) <= 6
    )
    bottom = math.floor(low / step)
    return bottom * step, max(math.ceil(high / step), bottom + 1) * step, step


def _seconds_between(first: float, last: float) -> list[float]:
    """Return round numbers of seconds between two, in larger steps where that is enough."""
    found: list[float] = []
    for bases in ((1, 3), (1, 2, 3, 5, 7)):
        ticks = [base * 10.0**power for power in range(-2, 7) for base in bases]
        found = [t for t in ticks if first * 0.999 <= t <= last * 1.001]
        if len(found) >= 3:
            break
    return found
