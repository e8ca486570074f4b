"""The two pictures of the laboratory: distances as a histogram, and what a check trades as a ROC curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keywright.cli.uwb.drawing import Picture, linear, shares
from keywright.uwb.lab import histogram
from keywright.uwb.lab.statistics import Bin, Point

MOST_BINS: Final = 60
LEAST_BINS: Final = 24
KINDS: Final = ("one", "two", "three")
_NEVER: Final = 1e-9


def distances(
    title: str,
    series: Mapping[str, NDArray[np.float64]],
    marks: Mapping[str, float],
    label: str = "measured distance (m)",
) -> Picture:
    """Histograms over each other, with exact 95 % intervals of each bar; the axis of shares is logarithmic.

    marks: names of upright lines and where they stand.
    """
    start, end = extent(series.values(), marks.values())
    least = min(0.5 / len(values) for values in series.values())
    trials = " and ".join(f"{len(values)} {name}" for name, values in series.items())
    what = f"{title}: histogram of {label} of {trials}"
    picture = Picture(title, (label, linear(start, end)), ("share of measurements", shares(least)), what)
    drawn = list(zip(series.items(), KINDS, strict=False))
    bins = min(max(round(2 * max(map(len, series.values())) ** 0.5), LEAST_BINS), MOST_BINS)
    for (_, values), kind in drawn:
        for one in histogram(values, start, end, bins):
            _bar(picture, one, kind)
    for (name, _), kind in reversed(drawn):
        picture.name(name, kind)
    for name, at in marks.items():
        picture.mark(at, name)
    return picture


def _bar(picture: Picture, one: Bin, kind: str) -> None:
    if one.share.hits:
        picture.bar(one.start, one.end, one.share.rate, kind)
        picture.whisker((one.start + one.end) / 2, max(one.share.low, _NEVER), one.share.high, kind)


def extent(series: Iterable[NDArray[np.float64]], marks: Iterable[float]) -> tuple[float, float]:
    """From where to where an axis goes: all but the outermost 0.5 % of each series, the marks, and some room."""
    ends = list(marks)
    for values in series:
        finite = values[np.isfinite(values)]
        if len(finite):
            ends += [float(end) for end in np.percentile(finite, (0.5, 99.5))]
    if not ends:
        ends = [0.0]
    room = max(0.06 * (max(ends) - min(ends)), 0.15)
    return min(ends) - room, max(ends) + room


def curves(title: str, points: Mapping[str, Sequence[Point]]) -> Picture:
    """ROC curves with bands that hold both shares' 95 % limits; the axis of false alarms is logarithmic."""
    trials = max((points[name][0].alarms.trials for name in points if points[name]), default=1)
    across = shares(0.5 / trials, zero=True)
    attacks = max((points[name][0].caught.trials for name in points if points[name]), default=0)
    what = f"{title}: share of {attacks} harmful measurements caught against share of {trials} honest ones refused"
    up = linear(0, 1, lambda value: f"{100 * value:g} %", most=5)
    picture = Picture(title, ("honest measurements refused", across), ("attacks caught", up), what)
    for (name, curve), kind in reversed(list(zip(points.items(), KINDS, strict=False))):
        if not curve:
            continue
        upper = [(max(one.alarms.low, _NEVER), one.caught.high) for one in curve]
        lower = [(_NEVER, 0.0), *((max(one.alarms.high, _NEVER), one.caught.low) for one in curve)]
        picture.band([*_stairs(upper), *reversed(_stairs(lower))], kind)
        picture.line(_stairs([(max(one.alarms.rate, _NEVER), one.caught.rate) for one in curve]), kind)
        picture.name(name, kind)
    return picture


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Between two thresholds nothing is claimed: first to the right, then up."""
    out = [points[0]]
    for x, y in points[1:]:
        out += [(x, out[-1][1]), (x, y)]
    return out
