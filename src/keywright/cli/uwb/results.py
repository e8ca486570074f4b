"""What attacks came to, in every form that it is told: lines, JSON, pictures, a page."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from keywright.cli.text import table
from keywright.cli.uwb.drawing import Picture
from keywright.cli.uwb.options import as_values, in_words
from keywright.cli.uwb.page import Part, Table, write_page
from keywright.cli.uwb.plots import curves, distances
from keywright.cli.uwb.ranging import share_values
from keywright.uwb.lab import CHECKS, HONEST, LONGER, SHORTER, Exchanges, Goal, Limits, Outcome, Scenario, Share, judged
from keywright.uwb.lab.attacks import Attack
from keywright.uwb.lab.channels import PROVENANCE


class Run(NamedTuple):
    """One attack (None: honest measurements), where, and what came of it."""

    attack: Attack | None
    scenario: Scenario
    found: Exchanges
    honest: Exchanges
    outcome: Outcome


class Judge(NamedTuple):
    """What is held against measurements."""

    goal: Goal
    chosen: Collection[str]
    limits: Limits

    def run(self, name: str, attack: Attack | None, place: Scenario, found: Exchanges, honest: Exchanges) -> Run:
        """Count what an attack achieved."""
        aim = SHORTER if attack is None else attack.aim
        outcome = judged(name, aim, found, honest, self.goal, self.chosen, self.limits)
        return Run(attack, place, found, honest, outcome)

    def on(self) -> list[str]:
        """The checks that are on, in order."""
        return [check for check in CHECKS if check in self.chosen]


class Study(NamedTuple):
    """All of an experiment; the first run is the honest one."""

    scenario: Scenario
    judge: Judge
    trials: int
    seed: int
    runs: list[Run]

    def attacks(self) -> list[Run]:
        """The runs with an attacker."""
        return self.runs[1:]


_HEADS: Final = ("attack", "success, checks off", "success, checks on", "median", "refused, checks on")


def _cells(one: Run) -> tuple[str, ...]:
    outcome = one.outcome
    median = f"{outcome.distances.median:.2f} m" if outcome.distances.trials else "none"
    return outcome.name, str(outcome.off), str(outcome.on), median, str(outcome.refused)


def _alone(study: Study, told: Callable[[Share], str]) -> list[tuple[str, ...]]:
    return [(one.outcome.name, *(told(one.outcome.alone[check]) for check in CHECKS)) for one in study.attacks()]


def _lead(study: Study) -> str:
    checks = ", ".join(study.judge.on()) or "none"
    return (
        f"key at {study.scenario.distance_m:g} m, {in_words(study.scenario)}; {study.trials} measurements of each, "
        f"seed {study.seed}; checks on: {checks}"
    )


def in_lines(study: Study) -> Iterator[str]:
    """For a terminal."""
    yield from _lead(study).split("; ")
    goals = {
        "enlarge" if one.attack is not None and one.attack.aim == LONGER else "shorten": one.outcome.goal
        for one in study.attacks()
    }
    for what, goal in goals.items():
        yield f"success of attacks that {what}: {goal}"
    yield ""
    yield from table(_HEADS, map(_cells, study.runs))
    yield ""
    yield "  success with one check alone"
    yield from table(("attack", *CHECKS), _alone(study, Share.brief))


def as_json(study: Study) -> Iterator[dict[str, object]]:
    """One object for each run, the honest one first."""
    for one in study.runs:
        outcome = one.outcome
        yield {
            "attack": outcome.name,
            "parameters": None if one.attack is None else msgspec.to_builtins(one.attack),
            "scenario": as_values(one.scenario),
            "seed": study.seed,
            "goal": outcome.goal,
            "checks": study.judge.on(),
            "success_checks_off": share_values(outcome.off),
            "success_checks_on": share_values(outcome.on),
            "success_one_check": {check: share_values(found) for check, found in outcome.alone.items()},
            "shortened_1_m_checks_off": share_values(outcome.nearer),
            "refused_checks_on": share_values(outcome.refused),
            "median_m": round(outcome.distances.median, 4) if outcome.distances.trials else None,
        }


def pictures(study: Study) -> dict[str, Picture]:
    """Every picture by the name of its file."""
    return {
        f"{one.outcome.name}-{kind}": picture
        for one in study.attacks()
        for kind, picture in _drawn(one, study.judge.goal).items()
    }


def _drawn(one: Run, goal: Goal) -> dict[str, Picture]:
    """Distances always; the curve if any measurement would have succeeded without checks."""
    outcome = one.outcome
    longer = one.attack is not None and one.attack.aim == LONGER
    marks = {
        "far enough" if longer else "door opens": goal.true_m + goal.farther_m if longer else goal.radius_m,
        "true": goal.true_m,
    }
    series = {HONEST: one.honest.distance_m, "attacked": one.found.distance_m}
    out = {"distances": distances(f"{outcome.name}: distances", series, marks)}
    if any(outcome.curves.values()):
        out["roc"] = curves(f"{outcome.name}: what a check catches", outcome.curves)
    return out


def write(path: Path, study: Study) -> None:
    """The page. Raises UsageError if it cannot be written."""
    text = "Shares with exact 95 % intervals (Clopper and Pearson); where nothing succeeded, only a bound is known."
    tables = [
        Table("Success", _HEADS, [_cells(one) for one in study.runs], text),
        Table("Success with one check alone", ("attack", *CHECKS), _alone(study, Share.with_limits)),
    ]
    goal = study.judge.goal
    parts = [Part(one.outcome.name, _about(one), list(_drawn(one, goal).values())) for one in study.attacks()]
    facts: dict[str, str] = {f"check: {check.name}": check.asks for check in CHECKS.values()}
    limits = msgspec.structs.asdict(study.judge.limits)
    facts["thresholds"] = ", ".join(f"{name} {value:g}" for name, value in limits.items())
    facts["distances"] = "bars with exact 95 % intervals; measurements without a path are in no bar"
    facts["curves"] = (
        "of attacks that would have succeeded without checks; stairs, as nothing is claimed between thresholds; "
        "bands hold the 95 % limits of both shares"
    )
    write_page(path, "Attacks on ranging, in a model", f"{_lead(study)}.", tables, parts, facts | PROVENANCE)


def _about(one: Run) -> str:
    """What the attack does, its source and its parameters."""
    described: Any = type(one.attack)
    text = " ".join((inspect.getdoc(described) or "").replace("`", "").split())
    values = ", ".join(
        f"{name} = {'+'.join(value) if isinstance(value, list) else value}"
        for name, value in msgspec.to_builtins(one.attack).items()
    )
    return f"{text} Here: {values}. Success: {one.outcome.goal}."
