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
    """A name, and points from left to right: what was measured, or a limit that it is held to."""

    name: str
    points: Sequence[Point]
    is_limit: bool = False


def chart(title: str, across: str, curves: Sequence[Curve], *, logarithmic: bool = False) -> str:
    """The curves in one frame. The vertical axis starts at zero; the other is logarithmic when asked.

    Where there is only one curve, the title says what it is.
    """
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
        parts.append(_mark(LEFT - 8, _height(share) + 4, "end", share * most, _places(most / 4)))
        parts.append(
            f'<path class="frame" d="M{LEFT} {_height(share):.0f}H{WIDTH - RIGHT}" opacity="{0.35 if share else 1}"/>'
        )
    for x in sorted({x for x, _ in curves[0].points}) if logarithmic else _round_marks(first, last):
        parts.append(_mark(at((x, 0))[0], HEIGHT - BOTTOM + 18, "middle", x))
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{across}</text>')
    for n, curve in enumerate(curves):
        parts.append(_line([at(point) for point in curve.points], _colour(n), is_limit=curve.is_limit))
        if len(curves) > 1:
            parts.append(_name(curve, n))
    return "\n".join((*parts, "</svg>", ""))


def _height(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _round_up(value: float) -> float:
    """The next round number: 1, 2, 2.5, 4, 5 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value)


def _round_marks(first: float, last: float) -> list[float]:
    """Some five round numbers between the two."""
    step = _round_up((last - first) / 5)
    return [n * step for n in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _places(step: float) -> int:
    """How many decimal places the marks of an axis need, so that all of them have as many."""
    return next((places for places in (0, 1) if math.isclose(step, round(step, places))), 2)


def _mark(x: float, y: float, anchor: str, value: float, places: int = 0) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{value:,.{places}f}</text>'


def _colour(n: int) -> str:
    return COLOURS[n % len(COLOURS)]


def _line(points: Sequence[Point], colour: str, *, is_limit: bool) -> str:
    """A curve with a dot for every point; a limit is dashed and has none."""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if is_limit:
        return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="6 4"/>'
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/><g fill="{colour}">{dots}</g>'


def _name(curve: Curve, n: int) -> str:
    """The name of a curve beside the frame, after a piece of its line, one below the other."""
    left, top = WIDTH - RIGHT + 12, TOP + 10 + 22 * n
    dashes = ' stroke-dasharray="6 4"' if curve.is_limit else ""
    return (
        f'<path d="M{left} {top - 4}h16" stroke="{_colour(n)}" stroke-width="2"{dashes}/>'
        f'<text x="{left + 22}" y="{top}">{escape(curve.name)}</text>'
    )
