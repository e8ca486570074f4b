"""The key registry: what may come in, what a key may still do, and what came from it."""

from __future__ import annotations

import time

import msgspec
import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.kcv import Kcv, Rule, key_check_value
from keywright.errors import PolicyError, StoreError
from keywright.production.keystores.key_states import KeyState, KeyStateError
from keywright.production.keystores.registry import (
    PERIODS,
    USAGES,
    YEAR_S,
    KeyRecord,
    Registry,
    StateChange,
    new_record,
)

NOW = 1_795_453_200
CHECK = key_check_value(AesKey(bytes(range(0x40, 0x50))), Rule.AES_ONES)


def record(name: str, *parents: KeyRecord, state: KeyState = KeyState.ACTIVE, **values: object) -> KeyRecord:
    made = new_record(
        "00" * 16,
        name,
        "master",
        "AES-256",
        [CHECK],
        environment="test",
        created=NOW,
        state=state,
        parents=tuple(parent.id for parent in parents),
    )
    return msgspec.structs.replace(made, **values)


def registry(*records: KeyRecord) -> Registry:
    found = Registry("test")
    for one in records:
        found = found.with_record(one)
    return found


def brought_into(state: KeyState) -> Registry:
    """A registry whose only key went into that state."""
    history = (StateChange(NOW, KeyState.PRE_ACTIVE), StateChange(NOW, state))
    return registry(record("issuer", history=history))


def test_a_record_says_who_what_and_until_when() -> None:
    made = new_record(
        "00" * 16,
        "kek",
        "transport",
        "AES-256",
        [CHECK],
        environment="production",
        created=NOW,
        owner="Ann",
        zone="offline",
    )
    assert (made.usage, made.zone, made.owner, made.environment) == ("K1", "offline", "Ann", "production")
    assert made.state is KeyState.PRE_ACTIVE
    assert (made.originate_until, made.use_until) == (NOW + YEAR_S, NOW + 2 * YEAR_S)
    assert made.checks == ("aes-ones 504A77",)
    assert msgspec.json.decode(msgspec.json.encode(made), type=KeyRecord) == made


def test_two_who_register_one_key_give_it_one_id_and_two_keys_get_two() -> None:
    assert record("a").id == record("a").id != record("b").id
    other = new_record("11" * 16, "a", "master", "AES-256", [CHECK], environment="test", created=NOW)
    assert other.id != record("a").id


def test_every_purpose_has_a_usage_and_periods_that_do_not_end_before_they_begin() -> None:
    assert PERIODS.keys() == USAGES.keys()
    assert all(0 < originate <= use for originate, use in PERIODS.values())
    with pytest.raises(ValueError, match="'other' has no default"):
        new_record("00" * 16, "a", "other", "AES-256", [CHECK], environment="test", created=NOW)
    chosen = new_record(
        "00" * 16, "a", "other", "AES-256", [CHECK], environment="test", created=NOW, usage="D0", periods=(1, 2)
    )
    assert (chosen.usage, chosen.originate_until, chosen.use_until) == ("D0", NOW + 1, NOW + 2)


def test_check_values_are_compared_only_by_one_rule() -> None:
    (found,) = record("a").kcvs()
    assert found == CHECK
    with pytest.raises(PolicyError, match="cannot be compared"):
        found.is_same(Kcv(Rule.AES_ZERO, found.value))


# ---- what comes in --------------------------------------------------------------------------------------------


def test_a_key_of_the_other_environment_is_refused() -> None:
    for here, there in (("test", "production"), ("production", "test")):
        with pytest.raises(PolicyError, match=f"of the {there} environment, this keystore of the {here} one"):
            msgspec.convert({"environment": here}, Registry).with_record(record("a", environment=there))


def test_a_name_is_never_used_again() -> None:
    full = registry(record("a", state=KeyState.PRE_ACTIVE)).with_state("a", KeyState.DESTROYED, at=NOW)
    with pytest.raises(PolicyError, match="is or was in this keystore"):
        full.with_record(record("a"))
    with pytest.raises(PolicyError, match="is or was in this keystore"):
        full.with_record(record("b", id=full.named("a").id))


def test_a_parent_that_nobody_knows_and_periods_that_make_no_sense_are_refused() -> None:
    with pytest.raises(StoreError, match="names a parent that is not here"):
        registry(record("b", record("a")))
    for wrong in (record("a", originate_until=NOW - 1), record("a", use_until=NOW + 1)):
        with pytest.raises(PolicyError, match="end before they begin"):
            registry(wrong)


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(StoreError, match="no key 'other'") as caught:
        registry(record("a"), record("b")).named("other")
    assert caught.value.hint == "it has: a, b"


# ---- what a key may do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", KeyState)
def test_only_an_active_key_originates(state: KeyState) -> None:
    found = brought_into(state)
    if state is KeyState.ACTIVE:
        found.check_originates("issuer", NOW)
        return
    with pytest.raises(KeyStateError, match=f"is {state}: it makes nothing new") as caught:
        found.check_originates("issuer", NOW)
    assert caught.value.hint


@pytest.mark.parametrize("state", KeyState)
def test_a_key_that_is_not_active_any_more_still_opens(state: KeyState) -> None:
    found = brought_into(state)
    if state in (KeyState.PRE_ACTIVE, KeyState.DESTROYED):
        with pytest.raises(KeyStateError, match=f"is {state}"):
            found.check_uses("issuer", NOW)
        return
    found.check_uses("issuer", NOW)


def test_a_key_past_its_originator_use_still_opens_until_its_recipient_use_ends() -> None:
    found = registry(record("issuer"))
    one = found.named("issuer")
    found.check_originates("issuer", one.originate_until - 1)
    with pytest.raises(KeyStateError, match="has made nothing new since 2028-11-22"):
        found.check_originates("issuer", one.originate_until)
    found.check_uses("issuer", one.originate_until)
    found.check_uses("issuer", one.use_until - 1)
    with pytest.raises(KeyStateError, match="was for use until 20"):
        found.check_uses("issuer", one.use_until)


def test_every_state_a_key_was_in_is_kept() -> None:
    found = registry(record("a"))
    found = found.with_state("a", KeyState.SUSPENDED, at=NOW + 5, reason="a rumour", approval="ab")
    found = found.with_state("a", KeyState.ACTIVE, at=NOW, reason="clock went back")
    assert [(one.at, str(one.state), one.reason, one.approval) for one in found.named("a").history] == [
        (NOW, "active", "made", ""),
        (NOW + 5, "suspended", "a rumour", "ab"),
        (NOW + 5, "active", "clock went back", ""),
    ]
    with pytest.raises(KeyStateError, match="cannot become destroyed"):
        found.with_state("a", KeyState.DESTROYED, at=NOW + 6)


# ---- what came from it ----------------------------------------------------------------------------------------


def family() -> Registry:
    """root -> wrapping -> (issuer, ca); issuer and other -> lot."""
    root, other = record("root"), record("other")
    wrapping = record("wrapping", root)
    issuer, ca = record("issuer", wrapping), record("ca", wrapping)
    return registry(root, other, wrapping, issuer, ca, record("lot", issuer, other))


def test_descendants_and_ancestors_are_all_of_them_once_near_ones_first() -> None:
    found = family()
    assert [one.name for one in found.descendants("root")] == ["wrapping", "issuer", "ca", "lot"]
    assert [one.name for one in found.descendants("other")] == ["lot"]
    assert found.descendants("lot") == ()
    assert [one.name for one in found.ancestors("lot")] == ["issuer", "other", "wrapping", "root"]
    assert found.ancestors("root") == ()


def test_nothing_new_comes_from_a_key_whose_ancestor_was_compromised() -> None:
    found = family().with_state("wrapping", KeyState.COMPROMISED, at=NOW)
    found.check_originates("root", NOW)
    found.check_originates("other", NOW)
    for name in ("issuer", "ca", "lot"):
        with pytest.raises(KeyStateError, match=f"'{name}' comes from 'wrapping', which is compromised"):
            found.check_originates(name, NOW)
        found.check_uses(name, NOW)
    destroyed = found.with_state("wrapping", KeyState.DESTROYED, at=NOW)
    with pytest.raises(KeyStateError, match="which is compromised"):
        destroyed.check_originates("lot", NOW)


def test_the_descendants_of_a_key_among_ten_thousand_are_found_at_once() -> None:
    root = record("root")
    lots = [record(f"lot-{n}", root) for n in range(100)]
    orders = [record(f"order-{n}", lots[n % 100]) for n in range(10_000)]
    full = Registry("test", (root, *lots, *orders))
    begun = time.perf_counter()
    assert len(full.descendants("root")) == 10_100
    assert len(full.descendants("lot-7")) == 100
    assert time.perf_counter() - begun < 1
