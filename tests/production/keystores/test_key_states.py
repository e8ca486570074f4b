"""The states of a key: every pair that is not in the table is refused, and each state allows what it should."""

from __future__ import annotations

import itertools

import pytest

from keywright.errors import PolicyError
from keywright.production.keystores.key_states import (
    ORIGINATING,
    TRANSITIONS,
    USABLE,
    KeyState,
    KeyStateError,
    check_transition,
)
from keywright.production.keystores.keystore import KeystoreRefusedError

PAIRS = list(itertools.product(KeyState, KeyState))


@pytest.mark.parametrize(("state", "to"), [pair for pair in PAIRS if pair in TRANSITIONS])
def test_a_listed_change_is_allowed(state: KeyState, to: KeyState) -> None:
    check_transition("issuer", state, to)


@pytest.mark.parametrize(("state", "to"), [pair for pair in PAIRS if pair not in TRANSITIONS])
def test_every_pair_that_is_not_listed_is_refused(state: KeyState, to: KeyState) -> None:
    with pytest.raises(KeyStateError, match=f"'issuer' is {state} and cannot become {to}") as caught:
        check_transition("issuer", state, to)
    assert all(str(after) in caught.value.hint for before, after in TRANSITIONS if before is state)


def test_the_table_is_that_of_sp_800_57() -> None:
    after = {state: {to for before, to in TRANSITIONS if before is state} for state in KeyState}
    assert after == {
        KeyState.PRE_ACTIVE: {KeyState.ACTIVE, KeyState.COMPROMISED, KeyState.DESTROYED},
        KeyState.ACTIVE: {KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED},
        KeyState.SUSPENDED: {KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED},
        KeyState.DEACTIVATED: {KeyState.COMPROMISED, KeyState.DESTROYED},
        KeyState.COMPROMISED: {KeyState.DESTROYED},
        KeyState.DESTROYED: {KeyState.COMPROMISED},
    }


def test_a_deactivated_or_compromised_key_never_comes_back() -> None:
    gone = {KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.DESTROYED}
    reached = set(gone)
    for _ in KeyState:
        reached |= {to for before, to in TRANSITIONS if before in reached}
    assert reached == gone


def test_only_an_active_key_makes_something_new_and_a_destroyed_or_unborn_one_opens_nothing() -> None:
    assert set(ORIGINATING) == {KeyState.ACTIVE}
    assert set(KeyState) - USABLE == {KeyState.PRE_ACTIVE, KeyState.DESTROYED}


def test_a_refusal_is_one_that_stops_the_lot() -> None:
    assert issubclass(KeyStateError, KeystoreRefusedError)
    assert issubclass(KeyStateError, PolicyError)
