"""Curves as SVG for the docs: no more than lines, a frame, a few marks and names, in colours that suit light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 34, 46
COLOURS = ("#3b6fd4", "#c2571a", "#2f8f5b", "#8a4fc0")
Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A name, and points from left to right."""

    name: str
    points: Sequence[Point]


def chart(title: str, across: str, curves: Sequence[Curve], *, logarithmic: bool = False) -> str:
    """The curves in one frame. The vertical axis starts at zero; the other is logarithmic when asked."""
    points = [point for curve in curves for point in curve.points]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    most = _round_up(max(y for _, y in points))
    scale = math.log if logarithmic else float

    def at(point: Point) -> Point:
        share = (scale(point[0]) - scale(first)) / (scale(last) - scale(first))
        return LEFT + share * (WIDTH - LEFT - RIGHT), _height(point[1] / most)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(title)}">',
        "<style>text{fill:#444}.frame{stroke:#999}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>",
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_mark(LEFT - 8, _height(share) + 4, "end", share * most))
        parts.append(
            f'<path class="frame" d="M{LEFT} {_height(share):.0f}H{WIDTH - RIGHT}" opacity="{0.35 if share else 1}"/>'
        )
    for x in sorted({x for x, _ in curves[0].points}) if logarithmic else (first, last):
        parts.append(_mark(at((x, 0))[0], HEIGHT - BOTTOM + 18, "middle", x))
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{across}</text>')
    parts.extend(_line(curve.name, [at(point) for point in curve.points], n) for n, curve in enumerate(curves))
    return "\n".join((*parts, "</svg>", ""))


def _height(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _round_up(value: float) -> float:
    """The next round number: 1, 2, 2.5, 4, 5 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value)


def _mark(x: float, y: float, anchor: str, value: float) -> str:
    text = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2f}"
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{text}</text>'


def _line(name: str, points: Sequence[Point], n: int) -> str:
    """A curve, and beside the frame its name in its colour, one below the other."""
    colour = COLOURS[n % len(COLOURS)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    left, top = WIDTH - RIGHT + 12, TOP + 10 + 22 * n
    return (
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<path d="M{left} {top - 4}h16" stroke="{colour}" stroke-width="3"/>'
        f'<text x="{left + 22}" y="{top}">{escape(name)}</text>'
    )
