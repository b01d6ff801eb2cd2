"""The data of the charts in templates/charts.html: bars directly, and lines with their positions and ticks.

Matplotlib's SVG scales as a whole, its text to half its size on a phone, and brings its own colours into a page with a
dark mode, so the report's charts are templates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a share in 0..1 and its standard error. `style` is the series' class in the stylesheet."""

    style: str
    name: str
    share: float
    error: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a line, with half the height of its error bar."""

    x: float
    y: float
    error: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `style` is its class in the stylesheet."""

    style: str
    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines and ticks (position, text) as fractions of the plot: x from its left, y from its top, errors of its height.
    In an `is_marked` chart every point has a marker."""

    x_name: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]
    is_marked: bool


def line_chart(series: Sequence[Line], x_name: str, *, shares: bool = False) -> LineChart:
    """Lines over numbers. With `shares`, y lies in 0..1 on an axis to 100% and every point has a marker."""
    xs = sorted({point.x for one in series for point in one.points})
    ys = [point.y for one in series for point in one.points]
    x_low, x_high = (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] - 1, xs[0] + 1)
    y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if shares else _ticks(min(ys), max(ys), 4)
    x_ticks = xs if len(xs) <= 12 else [tick for tick in _ticks(x_low, x_high, 5) if x_low <= tick <= x_high]
    low, height = y_ticks[0], y_ticks[-1] - y_ticks[0]

    def place(point: Point) -> Point:
        x = (point.x - x_low) / (x_high - x_low)
        return Point(x, 1 - (point.y - low) / height, None if point.error is None else point.error / height)

    return LineChart(
        x_name=x_name,
        x_ticks=[(place(Point(tick, low)).x, f"{tick:g}") for tick in x_ticks],
        y_ticks=[(place(Point(x_low, tick)).y, f"{100 * tick:.0f}%" if shares else f"{tick:g}") for tick in y_ticks],
        lines=[Line(one.style, one.name, [place(point) for point in one.points]) for one in series],
        is_marked=shares,
    )


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers that cover low..high, about `wanted` intervals of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= wanted)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(tick * step, 12) for tick in range(first, max(last, first + 1) + 1)]
