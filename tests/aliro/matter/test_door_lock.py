"""The Door Lock cluster as a lock's configuration: each command, the table, what is undone, and power cuts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.documents.verification import Trust
from keywright.aliro.matter.cluster import (
    ALL_INDICES,
    NAMES,
    TIMED,
    TYPES,
    Attribute,
    ClearCredential,
    CredentialType,
    GetCredentialStatus,
    Invoke,
    Operation,
    SetCredential,
    SetReaderConfig,
    Slot,
    Status,
)
from keywright.aliro.matter.door_lock import NOTHING, DoorLock, Effects, Outcome, State
from keywright.aliro.matter.keeping import Limits, StoredCredential, StoredReader
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import StoreError
from keywright.store.memory import RamMemory
from support.aliro_documents import drawn, share
from support.messages import check_message

READER = EcPrivateKey.from_scalar("P-256", bytes([9] * 32))
KEYS = [EcPrivateKey.from_scalar("P-256", number.to_bytes(32)).public for number in range(21, 33)]
GROUP = bytes(range(16))
CONFIG: dict[int, Any] = {0: bytes([9] * 32), 1: READER.public.point, 2: GROUP}
WITH_RADIO = Limits(ble_uwb_versions=(0x0100,))
ISSUER, EVICTABLE, FIXED = CredentialType.ISSUER, CredentialType.EVICTABLE, CredentialType.NON_EVICTABLE


def blank(memory: RamMemory | None = None, **limits: Any) -> DoorLock:
    return DoorLock(memory or RamMemory(), drawn(), Limits(**limits) if limits else None)


def put(lock: DoorLock, kind: int, index: int, key: EcPublicKey, user: int | None = None, **how: Any) -> Outcome:
    asked = SetCredential(how.pop("operation", Operation.ADD), Slot(kind, index), key, user, **how)
    return lock.invoke(Invoke.SET_CREDENTIAL, asked.fields(), fabric=3)


def placed(lock: DoorLock, kind: int, index: int, key: EcPublicKey, user: int | None = None, **how: Any) -> int:
    """The status in the response."""
    outcome = put(lock, kind, index, key, user, **how)
    assert (outcome.status, outcome.response) == (Status.SUCCESS, Invoke.SET_CREDENTIAL_RESPONSE), outcome.detail
    return int(outcome.fields[0])


def cleared(lock: DoorLock, slot: Slot | None) -> Effects:
    outcome = lock.invoke(Invoke.CLEAR_CREDENTIAL, ClearCredential(slot).fields())
    assert outcome.status == Status.SUCCESS, outcome.detail
    return outcome.effects


def inside(lock: DoorLock) -> dict[tuple[int, int], tuple[EcPublicKey, int]]:
    return {(one.slot.type, one.slot.index): (one.key, one.user) for one in lock.credentials()}


def test_a_reader_configuration_is_set_once_and_cleared_with_everything_it_opened() -> None:
    memory = RamMemory()
    lock = blank(memory)
    assert lock.read(Attribute.READER_VERIFICATION_KEY) == lock.read(Attribute.READER_GROUP_IDENTIFIER) == (0, None)
    assert lock.invoke(Invoke.CLEAR_READER_CONFIG, {}) == Outcome(Status.SUCCESS)
    assert lock.invoke(Invoke.SET_READER_CONFIG, CONFIG) == Outcome(Status.SUCCESS)
    for again in (lock, blank(memory)):
        assert again.read(Attribute.READER_VERIFICATION_KEY) == (Status.SUCCESS, READER.public.point)
        assert again.read(Attribute.READER_GROUP_IDENTIFIER) == (Status.SUCCESS, GROUP)
        assert again.reader is not None
        assert again.reader.signing_key == READER
        assert again.invoke(Invoke.SET_READER_CONFIG, CONFIG).status == Status.INVALID_IN_STATE
        assert "scalar" not in repr(again.reader)
    assert placed(lock, FIXED, 1, KEYS[0]) == Status.SUCCESS
    assert lock.strangers(KEYS[:2]) == [KEYS[1]]
    assert lock.invoke(Invoke.CLEAR_READER_CONFIG, {}).effects == Effects(everything=True)
    assert lock.strangers(KEYS[:2]) == KEYS[:2]
    assert blank(memory).state is State.BLANK
    # What is in the slots is not the reader's configuration, and stays.
    assert inside(blank(memory)) == {(FIXED, 1): (KEYS[0], 1)}


@pytest.mark.parametrize(
    "changes",
    [
        {0: bytes(32)},
        {0: b"\xff" * 32},
        {0: bytes(31)},
        {0: None},
        {1: KEYS[0].point},
        {1: READER.public.point[:-1]},
        {1: b"\x04" + bytes(64)},
        {2: bytes(15)},
        {2: "text"},
        {3: bytes(16)},
    ],
)
def test_a_reader_configuration_that_is_wrong_changes_nothing(changes: Mapping[int, Any]) -> None:
    memory = RamMemory()
    lock = blank(memory)
    before = {name: memory.load(name) for name in memory.names()}
    outcome = lock.invoke(Invoke.SET_READER_CONFIG, {**CONFIG, **changes})
    assert outcome.status == Status.INVALID_COMMAND
    assert outcome.detail
    assert lock.state is State.BLANK
    assert {name: memory.load(name) for name in memory.names()} == before


def test_a_lock_with_radio_has_a_resolving_key_and_one_without_has_none() -> None:
    lock = DoorLock(RamMemory(), drawn(), WITH_RADIO)
    assert lock.invoke(Invoke.SET_READER_CONFIG, CONFIG).status == Status.INVALID_COMMAND
    assert lock.invoke(Invoke.SET_READER_CONFIG, {**CONFIG, 3: bytes(15)}).status == Status.INVALID_COMMAND
    assert lock.read(Attribute.GROUP_RESOLVING_KEY) == (Status.SUCCESS, None)
    assert lock.invoke(Invoke.SET_READER_CONFIG, {**CONFIG, 3: bytes(16)}).status == Status.SUCCESS
    assert lock.read(Attribute.GROUP_RESOLVING_KEY) == (Status.SUCCESS, bytes(16))
    assert lock.read(Attribute.BLE_UWB_VERSIONS) == (Status.SUCCESS, [b"\x01\x00"])
    assert lock.read(Attribute.BLE_ADVERTISING_VERSION) == (Status.SUCCESS, 0)
    assert lock.read(Attribute.FEATURE_MAP) == (Status.SUCCESS, 0x6000)
    without = blank()
    assert without.read(Attribute.FEATURE_MAP) == (Status.SUCCESS, 0x2000)
    radio = (Attribute.GROUP_RESOLVING_KEY, Attribute.BLE_UWB_VERSIONS, Attribute.BLE_ADVERTISING_VERSION)
    for attribute in radio:
        assert without.read(attribute) == (Status.UNSUPPORTED_ATTRIBUTE, None)


def test_attributes_are_read_and_never_written() -> None:
    memory = RamMemory()
    lock = DoorLock(memory, drawn("a"), WITH_RADIO)
    for attribute in NAMES:
        assert lock.read(attribute)[0] == Status.SUCCESS
        assert lock.write(attribute, b"") == Status.UNSUPPORTED_WRITE
    assert lock.read(0x0089) == (Status.UNSUPPORTED_ATTRIBUTE, None)
    assert lock.write(0x0089, b"") == Status.UNSUPPORTED_ATTRIBUTE
    assert lock.read(Attribute.EXPEDITED_VERSIONS) == (Status.SUCCESS, [b"\x01\x00"])
    assert lock.read(Attribute.ISSUER_KEYS_SUPPORTED) == (Status.SUCCESS, 8)
    assert lock.read(Attribute.ENDPOINT_KEYS_SUPPORTED) == (Status.SUCCESS, 32)
    # The sub-identifier is drawn once.
    _, drawn_once = lock.read(Attribute.READER_GROUP_SUB_IDENTIFIER)
    assert len(drawn_once) == 16
    assert DoorLock(memory, drawn("b")).sub_identifier == drawn_once


def test_keys_are_put_into_free_slots_and_asked_for() -> None:
    memory = RamMemory()
    lock = blank(memory, endpoint_keys=4, issuer_keys=2)
    first = put(lock, EVICTABLE, 2, KEYS[0])
    assert first.fields == {0: Status.SUCCESS, 1: 1, 2: 3}
    # The same index of the other type of endpoint is another slot; a user who is there is not named again.
    assert put(lock, FIXED, 2, KEYS[1], 1).fields == {0: Status.SUCCESS, 1: None, 2: 3}
    assert put(lock, ISSUER, 1, KEYS[2]).fields == {0: Status.SUCCESS, 1: 2, 2: 2}
    assert put(lock, ISSUER, 2, KEYS[3], 2).fields == {0: Status.SUCCESS, 1: None, 2: None}
    for again in (lock, blank(memory, endpoint_keys=4, issuer_keys=2)):
        assert inside(again) == {
            (ISSUER, 1): (KEYS[2], 2),
            (ISSUER, 2): (KEYS[3], 2),
            (EVICTABLE, 2): (KEYS[0], 1),
            (FIXED, 2): (KEYS[1], 1),
        }
        found = again.endpoint(KEYS[1])
        assert found is not None
        assert (found.slot, found.fabric) == (Slot(FIXED, 2), 3)
        assert again.endpoint(KEYS[2]) is None

    def asked(kind: int, index: int) -> Mapping[int, Any]:
        outcome = lock.invoke(
            Invoke.GET_CREDENTIAL_STATUS, GetCredentialStatus(Slot(kind, index)).fields(), timed=False
        )
        assert (outcome.status, outcome.response) == (Status.SUCCESS, Invoke.GET_CREDENTIAL_STATUS_RESPONSE)
        return outcome.fields

    assert asked(ISSUER, 1) == {0: True, 1: 2, 2: 3, 3: 3, 4: 2, 5: KEYS[2].point}
    assert asked(ISSUER, 2) == {0: True, 1: 2, 2: 3, 3: 3, 4: None, 5: KEYS[3].point}
    assert asked(EVICTABLE, 1) == {0: False, 1: None, 2: None, 3: None, 4: 2, 5: None}


def test_a_key_that_cannot_be_put_is_refused_with_the_status_of_5_2_10_37() -> None:
    lock = blank(endpoint_keys=3, issuer_keys=1, users=2, credentials_per_user=2)
    assert placed(lock, EVICTABLE, 1, KEYS[0]) == Status.SUCCESS
    assert placed(lock, EVICTABLE, 1, KEYS[1]) == Status.OCCUPIED
    assert placed(lock, EVICTABLE, 2, KEYS[0]) == Status.DUPLICATE
    # A duplicate is one of the same type.
    assert placed(lock, FIXED, 1, KEYS[0], 1) == Status.SUCCESS
    assert placed(lock, FIXED, 2, KEYS[2], 1) == Status.RESOURCE_EXHAUSTED  # of the user
    assert placed(lock, FIXED, 2, KEYS[2]) == Status.SUCCESS
    assert placed(lock, FIXED, 3, KEYS[3], 2) == Status.RESOURCE_EXHAUSTED  # of endpoints
    assert placed(lock, ISSUER, 1, KEYS[4]) == Status.RESOURCE_EXHAUSTED  # of users
    assert put(lock, FIXED, 3, KEYS[3], 2).fields[2] is None
    before = inside(lock)
    for kind, index, user, how in (
        (5, 1, None, {}),
        (9, 1, None, {}),
        (EVICTABLE, 0, None, {}),
        (EVICTABLE, 4, None, {}),
        (ISSUER, 2, None, {}),
        (EVICTABLE, ALL_INDICES, None, {}),
        (EVICTABLE, 2, 7, {}),
        (EVICTABLE, 2, None, {"operation": Operation.CLEAR}),
        (EVICTABLE, 1, 7, {"operation": Operation.MODIFY}),
        (EVICTABLE, 1, None, {"operation": Operation.MODIFY}),
        (EVICTABLE, 1, 1, {"operation": Operation.MODIFY, "user_status": 1}),
        (EVICTABLE, 1, 1, {"operation": Operation.MODIFY, "user_type": 0}),
    ):
        assert put(lock, kind, index, KEYS[9], user, **how).status == Status.INVALID_COMMAND
    assert inside(lock) == before


def test_a_key_that_is_replaced_opens_no_longer() -> None:
    lock = blank()
    assert placed(lock, EVICTABLE, 1, KEYS[0]) == Status.SUCCESS
    assert placed(lock, ISSUER, 1, KEYS[5]) == Status.SUCCESS
    modify = {"operation": Operation.MODIFY}
    assert placed(lock, EVICTABLE, 2, KEYS[1], 1, **modify) == Status.OCCUPIED  # an empty slot
    assert placed(lock, ISSUER, 1, KEYS[1], 1, **modify) == Status.OCCUPIED  # of another user
    assert put(lock, EVICTABLE, 1, KEYS[0], 1, **modify).effects == NOTHING
    assert put(lock, EVICTABLE, 1, KEYS[1], 1, **modify).effects == Effects(endpoints=(KEYS[0],))
    assert put(lock, ISSUER, 1, KEYS[6], 2, **modify).effects == Effects(issuers=(KEYS[5],))
    assert inside(lock) == {(ISSUER, 1): (KEYS[6], 2), (EVICTABLE, 1): (KEYS[1], 1)}


def full() -> DoorLock:
    lock = blank()
    for number, (kind, index) in enumerate([(ISSUER, 1), (ISSUER, 3), (EVICTABLE, 1), (FIXED, 1), (FIXED, 2)]):
        assert placed(lock, kind, index, KEYS[number]) == Status.SUCCESS
    return lock


@pytest.mark.parametrize(
    ("slot", "effects"),
    [
        (Slot(ISSUER, 1), Effects(issuers=(KEYS[0],))),
        (Slot(ISSUER, 2), NOTHING),
        (Slot(ISSUER, ALL_INDICES), Effects(issuers=(KEYS[0], KEYS[1]))),
        (Slot(EVICTABLE, 1), Effects(endpoints=(KEYS[2],))),
        (Slot(FIXED, ALL_INDICES), Effects(endpoints=(KEYS[3], KEYS[4]))),
        (None, Effects(endpoints=tuple(KEYS[2:5]), issuers=tuple(KEYS[:2]))),
    ],
)
def test_what_is_cleared_is_named_in_the_effects(slot: Slot | None, effects: Effects) -> None:
    lock = full()
    before = inside(lock)
    assert cleared(lock, slot) == effects
    assert bool(effects) == (effects != NOTHING)
    gone = {*effects.endpoints, *effects.issuers}
    assert inside(lock) == {place: found for place, found in before.items() if found[0] not in gone}
    assert cleared(lock, slot) == NOTHING


def test_a_key_that_is_in_another_slot_still_opens() -> None:
    lock = blank()
    assert placed(lock, EVICTABLE, 1, KEYS[0]) == Status.SUCCESS
    assert placed(lock, FIXED, 1, KEYS[0]) == Status.SUCCESS
    assert cleared(lock, Slot(EVICTABLE, 1)) == NOTHING
    assert lock.endpoint(KEYS[0]) is not None
    assert cleared(lock, Slot(FIXED, 1)) == Effects(endpoints=(KEYS[0],))
    assert lock.endpoint(KEYS[0]) is None


@pytest.mark.parametrize("slot", [Slot(5, ALL_INDICES), Slot(5, 1), Slot(ISSUER, 0), Slot(ISSUER, 9)])
def test_what_cannot_be_cleared_is_refused(slot: Slot) -> None:
    lock = full()
    before = inside(lock)
    assert lock.invoke(Invoke.CLEAR_CREDENTIAL, ClearCredential(slot).fields()).status == Status.INVALID_COMMAND
    assert inside(lock) == before


def test_step_up_adds_an_evictable_key_of_the_issuers_user_and_evicts_the_oldest() -> None:
    memory = RamMemory()
    lock = blank(memory, endpoint_keys=3)
    assert lock.enrol(KEYS[0], KEYS[1]).status == Status.INVALID_IN_STATE
    placed(lock, ISSUER, 1, KEYS[0])
    placed(lock, ISSUER, 2, KEYS[9])
    assert lock.enrol(KEYS[0], KEYS[1]).fields == {0: 1}
    assert lock.enrol(KEYS[0], KEYS[1]).status == Status.DUPLICATE
    assert lock.enrol(KEYS[0], KEYS[2]).fields == {0: 2}
    placed(lock, FIXED, 1, KEYS[3])
    # Full: the user's oldest goes, with what it could open.
    evicted = lock.enrol(KEYS[0], KEYS[4])
    assert (evicted.fields, evicted.effects) == ({0: 1}, Effects(endpoints=(KEYS[1],)))
    assert inside(blank(memory)) == {
        (ISSUER, 1): (KEYS[0], 1),
        (ISSUER, 2): (KEYS[9], 2),
        (EVICTABLE, 1): (KEYS[4], 1),
        (EVICTABLE, 2): (KEYS[2], 1),
        (FIXED, 1): (KEYS[3], 3),
    }
    assert lock.enrol(KEYS[0], KEYS[5]).effects == Effects(endpoints=(KEYS[2],))
    # Another issuer's user has no evictable key to give up.
    assert lock.enrol(KEYS[9], KEYS[6]).status == Status.RESOURCE_EXHAUSTED
    assert lock.endpoint(KEYS[6]) is None
    limited = blank(credentials_per_user=2)
    placed(limited, ISSUER, 1, KEYS[0])
    assert limited.enrol(KEYS[0], KEYS[1]).effects == NOTHING
    assert limited.enrol(KEYS[0], KEYS[2]).effects == Effects(endpoints=(KEYS[1],))


def test_what_is_in_the_slots_is_what_a_reader_goes_by() -> None:
    lock = full()
    assert lock.trust() == Trust.of(KEYS[:2])
    # Without keys of its own a reader opens for nobody.
    assert lock.registered() == {}
    lock.invoke(Invoke.SET_READER_CONFIG, CONFIG)
    assert lock.registered() == {
        KEYS[2]: "AliroEvictableEndpointKey 1",
        KEYS[3]: "AliroNonEvictableEndpointKey 1",
        KEYS[4]: "AliroNonEvictableEndpointKey 2",
    }


GOOD: dict[int, Mapping[int, Any]] = {
    Invoke.SET_READER_CONFIG: CONFIG,
    Invoke.CLEAR_READER_CONFIG: {},
    Invoke.SET_CREDENTIAL: SetCredential(Operation.ADD, Slot(FIXED, 1), KEYS[0]).fields(),
    Invoke.GET_CREDENTIAL_STATUS: GetCredentialStatus(Slot(FIXED, 1)).fields(),
    Invoke.CLEAR_CREDENTIAL: ClearCredential(None).fields(),
}


def test_each_pair_that_the_table_does_not_have_is_refused_and_changes_nothing() -> None:
    commands = [command for _, command in DoorLock.TABLE]
    refused = 0
    for state, command in itertools.product(State, range(0x40)):
        memory = RamMemory()
        lock = blank(memory)
        if state is State.CONFIGURED:
            lock.invoke(Invoke.SET_READER_CONFIG, CONFIG)
        assert lock.state is state
        before = {name: memory.load(name) for name in memory.names()}
        if (state, command) in DoorLock.TABLE:
            assert lock.invoke(command, GOOD[command]).status == Status.SUCCESS
            continue
        refused += 1
        expected = Status.INVALID_IN_STATE if command in commands else Status.UNSUPPORTED_COMMAND
        outcome = lock.invoke(command, GOOD.get(command, {}))
        assert (outcome.status, outcome.effects) == (expected, NOTHING)
        assert {name: memory.load(name) for name in memory.names()} == before
    assert refused == 2 * 0x40 - len(DoorLock.TABLE)


@pytest.mark.parametrize("command", GOOD)
def test_what_changes_something_wants_a_timed_interaction(command: int) -> None:
    outcome = blank().invoke(command, GOOD[command], timed=False)
    assert (outcome.status == Status.NEEDS_TIMED_INTERACTION) == (command in TIMED)


ANY = st.none() | st.booleans() | st.integers(-1, 2**17) | st.binary(max_size=66) | st.text(max_size=3)
SLOTS = st.fixed_dictionaries({0: st.integers(0, 9), 1: st.integers(0, 5) | st.just(ALL_INDICES)}) | ANY
FIELDS = st.dictionaries(st.integers(0, 6), ANY, max_size=6) | st.fixed_dictionaries(
    {
        0: st.integers(0, 3) | SLOTS,
        1: SLOTS,
        2: st.sampled_from([key.point for key in KEYS[:3]]) | ANY,
        3: st.none() | st.integers(0, 4),
        4: st.none(),
        5: st.none(),
    }
)


@share(4)
@given(st.lists(st.tuples(st.sampled_from(list(GOOD)), FIELDS), max_size=8))
def test_any_fields_get_an_answer_and_the_limits_hold(steps: list[tuple[int, dict[int, Any]]]) -> None:
    memory = RamMemory()
    lock = blank(memory, endpoint_keys=3, issuer_keys=2, users=2)
    for command, fields in steps:
        before, opened = inside(lock), {one.key for one in lock.credentials(EVICTABLE, FIXED)}
        outcome = lock.invoke(command, fields)
        left = {one.key for one in lock.credentials(EVICTABLE, FIXED)}
        assert set(outcome.effects.endpoints) == opened - left
        if outcome.status != Status.SUCCESS:
            assert inside(lock) == before
    assert inside(blank(memory)) == inside(lock)
    assert len(list(lock.credentials(EVICTABLE, FIXED))) <= 3
    assert len({one.user for one in lock.credentials()}) <= 2


class Cut(Exception):  # noqa: N818 - no error: the power is gone
    """The power is gone."""


class CutMemory:
    """Loses power at a commit, before it or after."""

    def __init__(self, inner: RamMemory, *, after: bool) -> None:
        self._inner, self._after = inner, after
        self.load, self.names = inner.load, inner.names

    def commit(self, changes: Any) -> None:
        if self._after:
            self._inner.commit(changes)
        raise Cut


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("command", [command for command in GOOD if command in TIMED])
def test_a_power_cut_leaves_the_configuration_old_or_new_and_what_must_go_is_found_at_the_next_start(
    command: int, *, after: bool
) -> None:
    inner = RamMemory()
    lock = blank(inner)
    if command != Invoke.SET_READER_CONFIG:
        lock.invoke(Invoke.SET_READER_CONFIG, CONFIG)
        placed(lock, EVICTABLE, 1, KEYS[1])
    old = (lock.state, inside(lock))
    whole = RamMemory({name: inner.load(name) or b"" for name in inner.names()})
    other = blank(whole)
    effects = other.invoke(command, GOOD[command]).effects
    new = (other.state, inside(other))
    with pytest.raises(Cut):
        DoorLock(CutMemory(inner, after=after), drawn()).invoke(command, GOOD[command])
    again = blank(inner)
    assert (again.state, inside(again)) == (new if after else old)
    if after and effects:
        assert again.strangers([KEYS[1]]) == [KEYS[1]]


@pytest.mark.parametrize(
    "name", ["matter/reader", "matter/sub", "matter/credential/7/1", "matter/credential/x/1", "matter/credential/7"]
)
def test_a_memory_that_cannot_be_read_is_an_error_of_the_store(name: str) -> None:
    with pytest.raises(StoreError):
        blank(RamMemory({name: b"\x01"}))


@pytest.mark.parametrize("cls", [StoredReader, StoredCredential])
def test_what_is_kept_keeps_the_promises_of_a_codec(cls: Any) -> None:
    check_message(cls)


def test_commands_say_what_they_are_without_a_secret() -> None:
    assert repr(SetReaderConfig.read(CONFIG)) == f"<SetReaderConfig of group {GROUP.hex()}>"
    assert set(TYPES) == {6, 7, 8}
