"""The power cut at every place of every dialogue of the recipe: what the line does then ends as if nothing had been.

`support.recipe_cuts` says what is cut and what is compared; `docs/cut-points.md` has the counts (`test_cut_points.py`).
"""

from __future__ import annotations

import pytest

from keywright.production.job import Facts, Job, StepDialogue, Verdict
from keywright.production.steps import lock_down, own_keys, personalise
from support.power import AFTER_DELIVERY, BEFORE_DELIVERY, INSIDE_COMMAND
from support.recipe_cuts import KINDS, RECOVERIES, REST, SETS, STEPS, cut_everywhere, cut_once, stands


@pytest.mark.parametrize("recovery", RECOVERIES)
@pytest.mark.parametrize("fate", SETS)
@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_anywhere_in_a_step_is_made_good(step: str, fate: str, recovery: str) -> None:
    counts = cut_everywhere(step, fate, recovery)
    assert counts[BEFORE_DELIVERY] == counts[AFTER_DELIVERY] > 0
    assert (counts[INSIDE_COMMAND] > 0) == (step != "identify"), "only reading changes nothing"
    assert tuple(counts) == KINDS


AGAIN = {
    "PUT KEY": (0xD8, 1),
    "first session under the own keys": (0x82, 2),
    "DELETE": (0xE4, 1),
    "GENERATE KEY PAIR": (0x46, 1),
    "last block of the data": (0xE2, 3),
    "SET STATUS": (0xF0, 1),
    "second SET STATUS": (0xF0, 2),
}


@pytest.mark.parametrize("command", AGAIN)
def test_a_second_power_cut_anywhere_in_the_recovery_is_made_good_too(command: str) -> None:
    ins, nth = AGAIN[command]
    start = cut_once("stays", ins, nth)
    assert start.ledger.open_intents(), "the first cut left an intent open"
    counts = cut_everywhere(REST, "stays", RECOVERIES[1], start)
    assert sum(counts.values()) > 40


def test_every_command_that_changes_the_unit_has_an_intent_to_be_probed() -> None:
    """The table above is complete: these are the actions of the recipe, one open after each of its commands."""
    ledger = stands(stays=True)[""].ledger
    changing = {event.step for event in ledger.events if event.phase == "intent"}
    left = set()
    for ins, nth in AGAIN.values():
        left |= {action for _, action in cut_once("stays", ins, nth).ledger.open_intents()}
    assert left | {"session.factory"} == changing


# ---- the sweep can fail ---------------------------------------------------------------------------------------

APPLIED = (Verdict.APPLIED, {"point": "04" + "00" * 64, "kcvs": ""})
NOT_APPLIED = (Verdict.NOT_APPLIED, {"probe": "wrong"})


@pytest.mark.parametrize(
    ("step", "module", "probe", "answer"),
    [
        ("own_keys", own_keys, "_probe_put", APPLIED),
        ("own_keys", own_keys, "_probe_put", NOT_APPLIED),
        ("own_keys", own_keys, "_probe_remove", APPLIED),
        ("own_keys", own_keys, "_probe_remove", NOT_APPLIED),
        ("personalise", personalise, "_probe_generate", APPLIED),
        ("personalise", personalise, "_probe_generate", NOT_APPLIED),
        ("personalise", personalise, "_probe_write", APPLIED),
        ("lock_down", lock_down, "_probe", NOT_APPLIED),
        ("lock_down", lock_down, "_probe", APPLIED),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_a_probe_that_guesses_is_found(
    monkeypatch: pytest.MonkeyPatch, step: str, module: object, probe: str, answer: tuple[Verdict, dict[str, str]]
) -> None:
    def guess(*_: object) -> StepDialogue[tuple[Verdict, Facts]]:
        yield from ()
        return answer

    monkeypatch.setattr(module, probe, guess)
    with pytest.raises(Exception) as caught:
        cut_everywhere(step, "stays", RECOVERIES[1])
    assert any("power cut" in note for note in caught.value.__notes__)


def test_an_intent_that_is_not_durable_before_its_command_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Job, action: str, facts: object) -> StepDialogue[None]:
        """As `Job.intend`, without the commit."""
        self.record("intent", action, {})
        yield from ()

    monkeypatch.setattr(Job, "intend", forget)
    with pytest.raises((AssertionError, Exception)) as caught:
        cut_everywhere("own_keys", "vanishes", RECOVERIES[1])
    assert any("power cut" in note for note in caught.value.__notes__)
