"""Axes of a small picture in SVG: scales, ticks, labels, and shapes between them. Readable on light and dark paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 560
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 26, 42, 50

STYLE: Final = """
.plot { --ink: #1c2128; --muted: #5f6b7a; --line: #d5dae1; --paper: #ffffff; --one: #2557c7; --two: #b3471d;
  --three: #5b7f2a; font-family: system-ui, "Liberation Sans", sans-serif; }
@media (prefers-color-scheme: dark) {
  .plot { --ink: #e3e8ee; --muted: #98a4b3; --line: #343d48; --paper: #14181d; --one: #86a9ff; --two: #ff9d6b;
    --three: #a9d16d; }
}
.plot .paper { fill: var(--paper); }
.plot text { fill: var(--muted); font-size: 12px; }
.plot .title { fill: var(--ink); font-size: 13.5px; font-weight: 600; }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .axis { stroke: var(--muted); stroke-width: 1; }
.plot .mark { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 3; }
.plot .markname { fill: var(--ink); stroke: var(--paper); stroke-width: 3px; paint-order: stroke; }
.plot .one { stroke: var(--one); } .plot .two { stroke: var(--two); } .plot .three { stroke: var(--three); }
.plot .fill.one { fill: var(--one); } .plot .fill.two { fill: var(--two); } .plot .fill.three { fill: var(--three); }
.plot .fill { stroke: none; fill-opacity: .3; }
.plot .band { stroke: none; fill-opacity: .16; }
.plot .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.plot .curve.two { stroke-dasharray: 7 3; } .plot .curve.three { stroke-dasharray: 2 3; }
.plot .whisker { stroke-width: 1; stroke-opacity: .7; }
"""


class Scale(NamedTuple):
    """One axis: from which value to which, how values are spread, where ticks stand and what they say."""

    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False

    def part(self, value: float) -> float:
        """Where a value stands, 0 to 1; outside of the axis at its end."""
        value = min(max(value, self.start), self.end)
        if self.logarithmic:
            return math.log(value / self.start) / math.log(self.end / self.start)
        return (value - self.start) / (self.end - self.start)


def linear(start: float, end: float, text: Callable[[float], str] = "{:g}".format, most: int = 7) -> Scale:
    """An axis with ticks at round values."""
    step = _step((end - start) / most)
    first = math.ceil(start / step - 1e-9)
    ticks = [number * step for number in range(first, math.floor(end / step + 1e-9) + 1)]
    return Scale(start, end, tuple((tick, text(round(tick, 10))) for tick in ticks))


def _step(least: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def shares(least: float, *, zero: bool = False) -> Scale:
    """A logarithmic axis of shares from `least` to all. zero: the lower end stands for nothing at all."""
    start = 10.0 ** math.floor(math.log10(least))
    powers = range(round(math.log10(start)), 1)
    ticks = [(10.0**power, f"{10.0 ** (power + 2):g} %") for power in powers]
    if zero:
        ticks[0] = (start, "0")
    return Scale(start, 1.0, tuple(ticks), logarithmic=True)


class Picture:
    """A picture that is filled with shapes, then written."""

    def __init__(self, title: str, across: tuple[str, Scale], up: tuple[str, Scale], what: str) -> None:
        """Title, the two axes with their labels, and what the picture shows in a sentence, for those who cannot see."""
        self._across, self._up = across[1], up[1]
        self._what = what
        self._shapes: list[str] = []
        self._frame = list(_frame(title, across, up))
        self._legend = 0

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return _x(self._across, value)

    def y(self, value: float) -> float:
        """Pixels from above."""
        return _y(self._up, value)

    def bar(self, start: float, end: float, height: float, kind: str) -> None:
        """A bar from the lower axis."""
        left, right, top = self.x(start), self.x(end), self.y(height)
        self._shapes.append(
            f'<rect class="fill {kind}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.6, 0.4):.1f}" '
            f'height="{HEIGHT - _BOTTOM - top:.1f}"/>'
        )

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points."""
        self._shapes.append(f'<polyline class="curve {kind}" points="{self._points(points)}"/>')

    def band(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A filled shape with these corners."""
        self._shapes.append(f'<polygon class="fill band {kind}" points="{self._points(points)}"/>')

    def whisker(self, at: float, low: float, high: float, kind: str) -> None:
        """An upright line: an interval."""
        self._shapes.append(
            f'<line class="whisker {kind}" x1="{self.x(at):.1f}" x2="{self.x(at):.1f}" y1="{self.y(low):.1f}" '
            f'y2="{self.y(high):.1f}"/>'
        )

    def mark(self, at: float, name: str) -> None:
        """A dashed upright line with a name beside it, on the side where there is room."""
        x = self.x(at)
        anchor, shift = ("start", 5) if x < WIDTH * 0.7 else ("end", -5)
        self._shapes.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="markname" x="{x + shift:.1f}" y="{_TOP + 12 + 14 * self._marks()}" '
            f'text-anchor="{anchor}">{escape(name)}</text>'
        )

    def name(self, name: str, kind: str) -> None:
        """An entry of the legend, above the picture, to the left of those before."""
        x = WIDTH - _RIGHT - self._legend
        width = 20 + 6.3 * len(name)
        self._legend += round(width + 12)
        self._frame.append(
            f'<rect class="fill {kind}" style="fill-opacity:.75" x="{x - width:.1f}" y="24" width="10" height="10" '
            f'rx="2"/><text x="{x - width + 15:.1f}" y="33">{escape(name)}</text>'
        )

    def svg(self, *, standalone: bool = False) -> str:
        """The picture; standalone with its own colours, else the page has STYLE."""
        style = f"<style>{STYLE}</style>" if standalone else ""
        return (
            f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(self._what)}">{style}<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>'
            f"{''.join(self._frame)}{''.join(self._shapes)}</svg>\n"
        )

    def _marks(self) -> int:
        return sum('class="mark"' in shape for shape in self._shapes)

    def _points(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)


def _x(scale: Scale, value: float) -> float:
    return _LEFT + scale.part(value) * (WIDTH - _LEFT - _RIGHT)


def _y(scale: Scale, value: float) -> float:
    return HEIGHT - _BOTTOM - scale.part(value) * (HEIGHT - _BOTTOM - _TOP)


def _frame(title: str, across: tuple[str, Scale], up: tuple[str, Scale]) -> list[str]:
    """Title, grid, ticks and labels."""
    floor, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    out = [f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>']
    for value, text in up[1].ticks:
        y = _y(up[1], value)
        out.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for value, text in across[1].ticks:
        x = _x(across[1], value)
        out.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>')
        out.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{escape(text)}</text>')
    middle = (_LEFT + right) / 2
    out += [
        f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>',
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across[0])}</text>',
    ]
    y = (_TOP + floor) / 2
    out.append(f'<text x="14" y="{y}" text-anchor="middle" transform="rotate(-90 14 {y})">{escape(up[0])}</text>')
    return out
