"""Curves as SVG: axes, lines that differ in colour and in dashes, and values for the pointer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ..console import printable
from .data import Points

# Okabe and Ito's colours, which differ also for the colour-blind. Black is the page's text colour;
# yellow is left out, since it can't be seen on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "var(--ink)")
DASHES = ("none", "7 3", "2 3", "9 3 2 3", "12 4", "5 2 1 2", "1 2")

WIDTH, HEIGHT = 400, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 40  # the margins around the curves
MOST = 300  # points of a curve: more than that a screen does not show
LOG = 20.0  # the ratio of the largest to the smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Series:
    """A curve: its name, its points, its number for colour and dashes, and whether it has dots."""

    name: str
    points: Points
    style: int
    dots: bool = False


@dataclass(frozen=True)
class Axis:
    """From values to places between `start` and `stop`."""

    low: float
    high: float
    log: bool
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (
            self.low, self.high, value)  # fmt: skip
        return self.start + (value - low) / (high - low) * (self.stop - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values, at most so many."""
        if self.log and len(found := list(_decades(self.low, self.high, (1, 2, 5)))) >= 2:
            for digits in ((1, 2, 5), (1, 3), (1,)):
                found = list(_decades(self.low, self.high, digits))
                if len(found) <= most:
                    return found
            return found[:: -(-len(found) // most)]
        step = _step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def _decades(low: float, high: float, digits: Sequence[int]) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (d * 10.0**power for d in digits if low <= d * 10.0**power <= high)


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 and so on, also below 1, that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(d * power for d in (1, 2, 5, 10) if d * power >= least * (1 - 1e-9))


def short(value: float) -> str:
    """A value in a few characters: 0.0312, 5.44, 113, 12,800, 1.5e+06."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        return f"{value:.2g}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"


def chart(title: str, series: Sequence[Series], label: str = "epoch") -> str:
    """A figure with the curves of some series; empty if none of them has a value."""
    series = [s for s in series if any(y is not None for _, y in s.points)]
    if not series:
        return ""
    xs = [x for s in series for x, y in s.points if y is not None]
    ys = [y for s in series for _, y in s.points if y is not None]
    across = Axis(min(0.0, *xs), max(*xs, min(xs) + 0.1), False, LEFT, WIDTH - RIGHT)
    up = _upwards(min(ys), max(ys))
    log = ", logarithmic" if up.log else ""
    return "\n".join(
        [
            f'<figure><figcaption>{escape(title)}<span class="pale">{log}</span></figcaption>',
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(_summary(title, series))}">',
            *_grid(across, up, label),
            *(line for s in series for line in _curve(s, across, up)),
            f'<path class="pointer" d="M0 {TOP}V{HEIGHT - BOTTOM}"/></svg>',
            '<div class="readout" aria-hidden="true"></div></figure>',
        ]
    )


def _summary(title: str, series: Sequence[Series]) -> str:
    """The curves in words, for those who can't see them."""
    ends = []
    for s in series:
        values = [y for _, y in s.points if y is not None]
        ends.append(f"{printable(s.name)} from {short(values[0])} to {short(values[-1])}")
    return f"{title}: {'; '.join(ends)}"


def _upwards(low: float, high: float) -> Axis:
    log = low > 0 and high / low > LOG
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    elif log:
        room = (high / low) ** 0.04
        low, high = low / room, high * room
    else:
        room = 0.04 * (high - low)
        low, high = low - room if low < 0 or low > room else 0.0, high + room
    return Axis(low, high, log, HEIGHT - BOTTOM, TOP)


def _grid(across: Axis, up: Axis, label: str) -> Iterator[str]:
    for y in up.ticks():
        yield (
            f'<path class="grid" d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{short(y)}</text>'
        )
    for x in across.ticks():
        yield (
            f'<path class="grid" d="M{across(x):.1f} {HEIGHT - BOTTOM}v4"/>'
            f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
            f"{short(x)}</text>"
        )
    yield f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:g}" y="{HEIGHT - 5}" text-anchor="middle">{escape(label)}</text>'


def _curve(series: Series, across: Axis, up: Axis) -> Iterator[str]:
    points = thinned(series.points)
    shown = [(x, y) for x, y in points if y is not None]
    places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in shown)
    values = " ".join(f"{x:.4g}:{short(y)}" for x, y in shown)
    gaps = itertools.groupby(points, key=lambda point: point[1] is None)  # a line ends at a gap
    pieces = [[(x, y) for x, y in group if y is not None] for gap, group in gaps if not gap]
    line = "".join("M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in p) for p in pieces)
    dots = "".join(
        f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3"/>'
        for piece in pieces
        if series.dots or len(piece) == 1
        for x, y in piece
    )
    yield (
        f'<g class="{style_class(series.style)}" data-name="{escape(printable(series.name))}" '
        f'data-places="{places}" data-values="{values}"><path d="{line}"/>{dots}</g>'
    )


def thinned(points: Points, most: int = MOST) -> Points:
    """At most so many of the points: of each group the lowest and the highest, so peaks remain."""
    if len(points) <= most:
        return points
    size = -(-2 * len(points) // most)
    kept: Points = []
    for start in range(0, len(points), size):
        group = points[start : start + size]
        found = [(y, i) for i, (_, y) in enumerate(group) if y is not None]
        ends = sorted({min(found)[1], max(found)[1]}) if found else [0]
        kept += [group[i] for i in ends]
    return kept


def style_class(style: int) -> str:
    """The classes of a curve: its colour, and dashes that differ where colours repeat."""
    dash = (style + style // len(COLOURS)) % len(DASHES)
    return f"series c{style % len(COLOURS)} d{dash}"


def css() -> str:
    colours = [f".c{i} {{ stroke: {c}; color: {c} }}" for i, c in enumerate(COLOURS)]
    dashes = [f".d{i} path {{ stroke-dasharray: {d} }}" for i, d in enumerate(DASHES)]
    return "\n".join([*colours, *dashes])


def swatch(style: int) -> str:
    """A short piece of a curve, for a legend."""
    return (
        f'<svg class="swatch" viewBox="0 0 36 10" aria-hidden="true">'
        f'<g class="{style_class(style)}"><path d="M1 5H35"/></g></svg>'
    )
