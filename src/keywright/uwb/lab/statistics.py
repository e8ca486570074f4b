"""Shares with exact intervals, histograms and ROC curves: no claim that the number of trials does not bear."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from keywright.uwb.lab.air import F64
from keywright.uwb.lab.special import beta_quantile

CONFIDENCE: Final = 0.95


class Share(msgspec.Struct, frozen=True):
    """`hits` of `trials`, with the limits of its exact interval (Clopper and Pearson 1934).

    Both sides have half of the error each, also where only one limit is told (no hit, or nothing but hits): whatever
    the true rate, the interval is right at least as often as it says.
    """

    hits: int
    trials: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The plain share; NaN of no trials."""
        return self.hits / self.trials if self.trials else float("nan")

    def brief(self) -> str:
        """As `str`, without interval and number of trials, for where there is no room for them."""
        return str(self).partition(" (")[0]

    def with_limits(self) -> str:
        """As `str`, without the number of trials, for where it is told beside it."""
        return self.brief() if self.hits in (0, self.trials) else str(self)

    def __str__(self) -> str:
        """As it may be told: a rate of 0 is never shown, only what it is below."""
        if not self.trials:
            return "no trials"
        if self.hits == 0:
            return f"< {percent(self.high, up=True)} (95 %, {self.trials} trials)"
        if self.hits == self.trials:
            return f"> {percent(self.low, up=False)} (95 %, {self.trials} trials)"
        low, high = percent(self.low, up=False), percent(self.high, up=True)
        return f"{100 * self.rate:.3g} % ({low} to {high})"


def percent(value: float, *, up: bool) -> str:
    """A limit of an interval in percent with two digits that count, rounded away from what it encloses."""
    if value <= 0 or value >= 1:
        return f"{100 * value:.0f} %"
    shown = 100 * value
    digits = max(0, 1 - int(np.floor(np.log10(min(shown, 100 - shown)))))
    step = 10.0**-digits
    rounded = (np.ceil(shown / step - 1e-9) if up else np.floor(shown / step + 1e-9)) * step
    return f"{rounded:.{digits}f} %"


@functools.cache
def share(hits: int, trials: int, confidence: float = CONFIDENCE) -> Share:
    """The share with its interval. Raises ValueError if there are more hits than trials."""
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} of {trials} is no share")
    if not trials:
        return Share(0, 0, 0.0, 1.0)
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else beta_quantile(tail, hits, trials - hits + 1)
    high = 1.0 if hits == trials else beta_quantile(1 - tail, hits + 1, trials - hits)
    return Share(hits, trials, low, high)


class Bin(msgspec.Struct, frozen=True):
    """One bar of a histogram: from, to, and the share of all trials in it."""

    start: float
    end: float
    share: Share


def histogram(values: F64, start: float, end: float, bins: int) -> list[Bin]:
    """Shares of all of `values` in equal bins. What is outside, or NaN, counts as a trial and is in no bin."""
    edges = np.linspace(start, end, bins + 1)
    counts, _ = np.histogram(values[np.isfinite(values)], edges)
    pairs = zip(edges[:-1], edges[1:], counts, strict=True)
    return [Bin(float(a), float(b), share(int(count), len(values))) for a, b, count in pairs]


class Point(msgspec.Struct, frozen=True):
    """One threshold of a ROC curve: honest measurements refused, attacked ones refused."""

    threshold: float
    alarms: Share
    caught: Share


def roc(honest: F64, attacked: F64, thresholds: Sequence[float]) -> list[Point]:
    """Refused are figures below the threshold; thresholds in rising order give a curve that rises."""
    return [
        Point(
            float(threshold),
            share(int((honest < threshold).sum()), len(honest)),
            share(int((attacked < threshold).sum()), len(attacked)),
        )
        for threshold in thresholds
    ]


def useful_thresholds(honest: F64, attacked: F64, most: int = 80) -> list[float]:
    """Thresholds at which something changes, thinned evenly, with one below and one above everything."""
    values = np.unique(np.concatenate([honest, attacked]))
    if not len(values):
        return []
    chosen = values[np.unique(np.linspace(0, len(values) - 1, most).astype(int))]
    return [float(value) for value in [*chosen, values[-1] + 1.0]]


class Spread(msgspec.Struct, frozen=True):
    """Distances in figures, in metres: median, standard deviation by the middle 68 %, and what 90 % lie between."""

    trials: int
    median: float
    sigma: float
    low: float
    high: float


def spread(values: F64) -> Spread:
    """Of what is not NaN. `trials` counts that only; with none, the figures are NaN."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        nan = float("nan")
        return Spread(0, nan, nan, nan, nan)
    p5, p16, p50, p84, p95 = np.percentile(finite, (5, 15.87, 50, 84.13, 95))
    return Spread(len(finite), float(p50), float(p84 - p16) / 2, float(p5), float(p95))
