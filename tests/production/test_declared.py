"""What the steps declare of themselves is what they do: the table against runs, interruptions and the recipe."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import msgspec
import pytest

from keywright.errors import KeywrightError, LinkError, PolicyError, RecipeError, StatusError, StoreError, WireError
from keywright.fob.fobs import Model
from keywright.globalplatform.host import KcvMismatchError
from keywright.production import parameters
from keywright.production.control import retry
from keywright.production.control.declaration import UNDECLARED, Action, Declaration, Patience
from keywright.production.control.retry import RULES, DeviceTimeoutError, Severity, kind_of, rule_of
from keywright.production.engine import Engine
from keywright.production.job import MismatchError, RejectedError, UncertainError
from keywright.production.keystores.keystore import KeystoreRefusedError
from keywright.production.parameters import MESH, STEPS
from keywright.production.recipe import parse_recipe
from keywright.production.steps.declared import DECLARED
from keywright.production.steps.table import declaration
from keywright.production.unit_store.units import ConflictError
from keywright.scp.scp03.host import CardCryptogramError
from support.bench import Bench
from support.ledger import FOB, Ledger

ACTIONS = {action.name: action for step in DECLARED.values() for action in step.actions}
OF_A_FOB = [name for name in DECLARED if name not in (MESH, "aliro")]
"""`test_mesh_provision.py` and `test_steps_aliro.py` have the others."""


def recorded(model: Model) -> Ledger:
    """A lot of one unit of that kind, done."""
    ledger = Ledger.of(FOB, "K-000001")
    assert Engine(ledger.as_store(), Bench(model=model), iter([ledger.job(1)])).run().sealed == 1
    return ledger


def test_every_step_is_declared_in_the_order_of_a_recipe() -> None:
    assert list(DECLARED) == list(STEPS)
    assert sum(len(step.actions) for step in DECLARED.values()) == len(ACTIONS)


def test_what_is_declared_to_change_a_unit_is_what_runs_record_as_intents() -> None:
    """A fob that keeps its factory set makes every action happen."""
    events = [event for model in (Model(), Model(initial_keys_stay=True)) for event in recorded(model).events]
    intents = {event.step for event in events if event.phase == "intent"}
    actions = [action for name in OF_A_FOB for action in DECLARED[name].actions]
    assert intents == {one.name for one in actions if one.retry != "again"}
    assert {event.step for event in events} - intents == set(OF_A_FOB), "each step records its own end"


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_that_changes_something_says_how_it_is_found_out(name: str) -> None:
    action = ACTIONS[name]
    assert action.does
    assert action.repair
    if action.retry != "again":
        assert action.kind == "device"
        assert action.probe
        assert action.applied


# ---- patience -------------------------------------------------------------------------------------------------

HEAD = 'name = "r"\ndevice = "fob"\nlink = "sim:fob"\n[[step]]\nname = "identify"\n'


def patience(text: str) -> Patience:
    (spec,) = parse_recipe((HEAD + text).encode()).steps
    return spec.parameters.patience(DECLARED["identify"])


def test_the_recipe_counts_more_than_the_declaration() -> None:
    declared = DECLARED["identify"]
    assert patience("") == Patience(declared.timeout_s, declared.retries, declared.backoff_s)
    assert patience("timeout_s = 5\nretries = 0\nbackoff_s = 0.5\n") == Patience(5.0, 0, 0.5)
    assert patience("retries = 7\n") == Patience(declared.timeout_s, 7, declared.backoff_s)


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("timeout_s = 0.5", "timeout_s: Expected `float` >= 1.0"),
        ("timeout_s = 3601", "timeout_s: Expected `float` <= 3600.0"),
        ("timeout_s = nan", "timeout_s"),
        ('timeout_s = "long"', "timeout_s: Expected `float | null`, got `str`"),
        ("retries = -1", "retries: Expected `int` >= 0"),
        ("retries = 11", "retries: Expected `int` <= 10"),
        ("retries = 1.5", "retries: Expected `int | null`, got `float`"),
        ("backoff_s = -0.1", "backoff_s: Expected `float` >= 0.0"),
        ("backoff_s = inf", "backoff_s: Expected `float` <= 60.0"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_its_line(line: str, about: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe:6: step 'identify': ") as refused:
        patience(line + "\n")
    assert about in str(refused.value)


def test_rests_double_up_to_a_minute() -> None:
    assert [Patience(1, 10, 0.5).rest_s(n) for n in (1, 2, 3, 7, 8, 10)] == [0.5, 1, 2, 32, 60, 60]


def test_a_step_of_another_package_may_declare_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs: dict[str, Any] = {"mute": ModuleType("mute"), "speaking": ModuleType("speaking")}
    own = Declaration(actions=(Action(name="x", kind="db", does="x", retry="again"),), timeout_s=7.0)
    theirs["speaking"].DECLARED = own
    monkeypatch.setattr(sys.modules["keywright.production.steps.table"], "step_of_others", theirs.get)
    declaration.cache_clear()
    assert declaration("mute") == UNDECLARED
    assert declaration("speaking").action("x") == own.actions[0]
    assert declaration("speaking").action("y") is None
    declaration.cache_clear()


# ---- errors ---------------------------------------------------------------------------------------------------

EXAMPLES: list[tuple[KeywrightError, Severity]] = [
    (DeviceTimeoutError("late"), Severity.TRANSIENT),
    (LinkError("gone"), Severity.TRANSIENT),
    (StatusError(0x6F00), Severity.TRANSIENT),
    (StatusError(0x6300), Severity.UNIT),
    (CardCryptogramError("wrong"), Severity.UNIT),
    (KcvMismatchError("other"), Severity.UNIT),
    (RejectedError("no"), Severity.UNIT),
    (UncertainError("who knows"), Severity.UNIT),
    (MismatchError("differs"), Severity.UNIT),
    (ConflictError("twice"), Severity.UNIT),
    (KeystoreRefusedError("the key has expired"), Severity.LOT),
    (StoreError("keystore gone"), Severity.LOT),
    (PolicyError("zeros"), Severity.UNIT),
    (KeywrightError("anything"), Severity.UNIT),
]
"""An error for each row, in the order of the rows."""


@pytest.mark.parametrize("row", range(len(RULES)))
def test_every_row_of_the_table_has_an_error_that_it_is_for(row: int) -> None:
    error, severity = EXAMPLES[row]
    assert rule_of(error) is RULES[row]
    assert RULES[row].severity is severity
    assert RULES[row].why


def test_there_is_an_example_for_every_row_and_nothing_escapes_the_table() -> None:
    assert len(EXAMPLES) == len(RULES)
    assert rule_of(WireError("odd")) is RULES[-1]
    assert rule_of(StatusError(0x6F01)).severity is Severity.UNIT


def test_failures_are_alike_by_code_status_word_and_step() -> None:
    assert kind_of(StatusError(0x6985), "own_keys") == "status 6985 at own_keys"
    assert kind_of(LinkError("x"), "") == "link at power on"


def test_the_keys_of_all_steps_are_those_of_the_base_class() -> None:
    assert parameters.OF_ALL == ("timeout_s", "retries", "backoff_s")
    assert all(
        set(parameters.OF_ALL) <= set(msgspec.structs.asdict(spec.parameters))
        for spec in parse_recipe(FOB.encode()).steps
    )
    assert retry.RULES[-1].error is KeywrightError
