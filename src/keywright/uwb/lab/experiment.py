"""Experiments: many measurements with and without an attacker, and what may be said of them.

Work is cut into portions of `PORTION` measurements, each with a generator of its own, so that results do not depend on
how many processes do it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from keywright.errors import UsageError
from keywright.uwb.lab.air import F64
from keywright.uwb.lab.attacks import ATTACKS, LONGER, Attack
from keywright.uwb.lab.checks import ALL, CHECKS, DRAWN, Limits, Verdicts, believed, least_of
from keywright.uwb.lab.ranging import Exchanges, Scenario, simulate
from keywright.uwb.lab.statistics import Point, Share, Spread, roc, share, spread, useful_thresholds

if TYPE_CHECKING:
    from numpy.random import Generator

PORTION: Final = 32
"""Measurements that share a generator, and an STS key."""
HONEST: Final = "honest"
NEARER_M: Final = 1.0
"""A distance counts as shortened if it is at least this much below the true one."""


class Work(msgspec.Struct, frozen=True):
    """One portion: where, who attacks (None: nobody), how many measurements, and which generator they get."""

    scenario: Scenario
    attack: Attack | None
    count: int
    seed: tuple[int, ...]


def portions(scenario: Scenario, attack: Attack | None, trials: int, seed: int, stream: int) -> list[Work]:
    """The work for so many measurements. Equal `seed` and `stream` (0 and up) give equal results."""
    sizes = [PORTION] * (trials // PORTION) + [trials % PORTION] * (trials % PORTION > 0)
    return [Work(scenario, attack, size, (seed, stream, number)) for number, size in enumerate(sizes)]


def done(work: Work, rng: Generator) -> Exchanges:
    """Do one portion; `rng` is a new generator made from its seed."""
    return simulate(work.scenario, work.count, rng, None if work.attack is None else work.attack.strike)


class Goal(msgspec.Struct, frozen=True):
    """What an attacker is after. radius_m: the door opens for a key that seems no further away.

    farther_m: by how much the distance has to grow to count as enlarged.
    """

    true_m: float
    radius_m: float = 2.0
    farther_m: float = 5.0

    def reached(self, distances: F64, aim: str) -> Verdicts:
        """Which of the distances, taken as they are, are what the attacker is after; NaN is not."""
        if aim == LONGER:
            return np.asarray(distances >= self.true_m + self.farther_m)
        return np.asarray(distances <= self.radius_m)

    def told(self, aim: str) -> str:
        """The goal in words."""
        if aim == LONGER:
            return f"accepted at {self.true_m + self.farther_m:g} m or more"
        return f"accepted at {self.radius_m:g} m or less"


class Outcome(msgspec.Struct, frozen=True):
    """What an attack came to. off, on: success without any check, and with those chosen.

    alone: success with one check only. nearer: accepted without checks and shortened by NEARER_M or more. refused: with
    the chosen checks, no path found included. curves: for the checks of DRAWN, honest measurements against those
    attacks that would have succeeded without checks.
    """

    name: str
    goal: str
    off: Share
    on: Share
    alone: dict[str, Share]
    nearer: Share
    refused: Share
    distances: Spread
    curves: dict[str, list[Point]]


def judged(
    name: str,
    aim: str,
    attacked: Exchanges,
    honest: Exchanges,
    goal: Goal,
    chosen: Collection[str] = ALL,
    limits: Limits | None = None,
) -> Outcome:
    """Count the successes of an attack, and draw the curves against honest measurements of the same scenario."""
    trials = len(attacked)
    reached = goal.reached(attacked.distance_m, aim)

    def success(checks: Collection[str]) -> Share:
        return share(int((reached & believed(attacked, checks, limits)).sum()), trials)

    harmful = reached & believed(attacked, ())
    nearer = believed(attacked, ()) & (attacked.distance_m <= goal.true_m - NEARER_M)
    return Outcome(
        name=name,
        goal=goal.told(aim),
        off=success(()),
        on=success(chosen),
        alone={check: success((check,)) for check in CHECKS},
        nearer=share(int(nearer.sum()), trials),
        refused=share(int((~believed(attacked, chosen, limits)).sum()), trials),
        distances=spread(attacked.distance_m),
        curves={check: _curve(check, attacked, honest, harmful) for check in DRAWN},
    )


def _curve(check: str, attacked: Exchanges, honest: Exchanges, harmful: Verdicts) -> list[Point]:
    if not harmful.any():
        return []
    figures = least_of(honest, check), least_of(attacked, check)[harmful]
    return roc(*figures, useful_thresholds(*figures))


def attack_named(name: str, settings: dict[str, str] | None = None) -> Attack:
    """An attack with some of its parameters set from text. Raises UsageError for what it does not have or take."""
    kind = ATTACKS.get(name)
    if kind is None:
        raise UsageError(f"no attack {name}", hint=f"there are {', '.join(ATTACKS)}, or all of them: all")
    known = kind.__struct_fields__
    for key in settings or {}:
        if key not in known:
            raise UsageError(f"attack {name} has no parameter {key}", hint=f"it has {', '.join(known)}")
    values: dict[str, object] = {
        key: tuple(value.split("+")) if key == "legs" else value for key, value in (settings or {}).items()
    }
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"attack {name}: {error}", hint="legs are named like poll+response") from error
