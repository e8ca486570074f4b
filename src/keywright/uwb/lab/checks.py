"""What a receiver may ask of a measurement before it believes it; each question can be left out on its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from keywright.uwb.lab.air import F64
from keywright.uwb.lab.ranging import Exchanges

Verdicts = NDArray[np.bool_]

_WORST: Final = -1e9


class Limits(msgspec.Struct, frozen=True):
    """Thresholds of the checks. Ours: chosen on the honest packets of this model, not taken from a product.

    signs: least share of pulses with the expected sign at the first path. blocks: least number of 32 blocks that agree
    (K of n). least_m, most_m: distances that can be. apart_m: how far the halves of DS-TWR may differ. clock_ppm: how
    far the carrier may contradict the timestamps. carrier_ppm: how far two crystals of 20 ppm can be apart at all.
    drift_ns: how far the last pulse may be from where the carrier lets expect it; of one segment, 20 ppm.
    """

    signs: float = 0.54
    blocks: int = 26
    least_m: float = -0.5
    most_m: float = 300.0
    clock_ppm: float = 2.0
    carrier_ppm: float = 41.0
    drift_ns: float = 1.3


class Check(msgspec.Struct, frozen=True):
    """A check: what it asks, and the function that answers for many measurements."""

    name: str
    asks: str
    passes: Callable[[Exchanges, Limits], Verdicts]


def _clock(one: Exchanges, limits: Limits) -> Verdicts:
    agrees = np.isnan(one.clock_ppm) | (abs(one.clock_ppm) <= limits.clock_ppm)
    return agrees & (abs(one.carrier_ppm) <= limits.carrier_ppm)


def _floor(one: Exchanges, limits: Limits) -> Verdicts:
    return (one.distance_m >= limits.least_m) & (one.distance_m <= limits.most_m)


CHECKS: Final = {
    check.name: check
    for check in (
        Check(
            "signs",
            "enough pulses of the whole STS have the expected sign at the first path",
            lambda one, limits: one.agreeing >= limits.signs,
        ),
        Check("blocks", "enough blocks of the STS agree, K of 32", lambda one, limits: one.blocks >= limits.blocks),
        Check("floor", "the distance is one that can be", _floor),
        Check(
            "drift",
            "pulses of each STS follow each other as fast as its carrier tells",
            lambda one, limits: one.drift_ns <= limits.drift_ns,
        ),
        Check("clock", "carrier and timestamps tell of the same clock, and of one that can be", _clock),
    )
}
ALL: Final = frozenset(CHECKS)


def believed(one: Exchanges, checks: Collection[str] = ALL, limits: Limits | None = None) -> Verdicts:
    """Which measurements are accepted: a path was found in every leg, and every check that is on passes."""
    limits = limits or Limits()
    accepted = np.asarray(one.found, dtype=bool)
    for name in checks:
        accepted = accepted & CHECKS[name].passes(one, limits)
    return accepted


DRAWN: Final = ("signs", "blocks", "drift")
"""Checks with one figure and one threshold."""


def least_of(one: Exchanges, check: str) -> F64:
    """The figure that a check of DRAWN holds against its threshold, more being better; the worst without a path."""
    figure = {"signs": one.agreeing, "blocks": one.blocks, "drift": -one.drift_ns}[check]
    return np.where(one.found, figure, _WORST)
