"""A lock: whom it lets in, by what, what it remembers, and what it forgets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.credential import PersistentRecord
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability, Schedule
from keywright.aliro.documents.document import Document, Validity
from keywright.aliro.documents.revocation_data import APPEND, RevocationData, RevocationEntry, key_hash
from keywright.aliro.documents.verification import DocumentRefusedError, Trust
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.lock import Lock, Outcome, Settings, _KeptRecord
from keywright.aliro.messages import Ins, ReaderStatus
from keywright.aliro.reader import Plan
from keywright.crypto.ec import EcPublicKey
from keywright.errors import LinkError, StoreError
from keywright.sansio.dialogue import drive
from keywright.store.memory import Memory, RamMemory
from support.aliro import Device, cut_at, fresh, key, reader, records, stream
from support.power import CutMemory, PowerCut

NOW = 1_790_000_000
SETTINGS = Settings(elements=("door",))
ISSUER = key("credential issuer")
VALID = Validity(NOW - 60, NOW - 60, NOW + 86_400)


def issuer(name: str = "credential issuer") -> CredentialIssuer:
    return CredentialIssuer(key(name), stream(name))


def document(*rules: AccessRule, validity: Validity = VALID, schedules: tuple[Schedule, ...] = ()) -> Document:
    data = AccessData(id=b"fob 1", rules=rules or (AccessRule(Capability.UNSECURE),), schedules=schedules)
    return issuer().access_document(key("credential").public, {"door": data}, validity)


def fob(shown: Document | None, revocation: Document | None = None) -> Device:
    device = Device(records())
    for name, one in (("access/0", shown), ("revocation/0", revocation)):
        if one is not None:
            device.records.kept[name] = one.build()
    return device


def lock(memory: Memory | None = None, registered: dict[EcPublicKey, str] | None = None) -> Lock:
    return Lock(reader(), memory or RamMemory(), Trust.of((ISSUER.public,)), SETTINGS, registered=registered or {})


def meet(door: Lock, device: Device, seed: str, *, now: int | None = NOW, plan: Plan | None = None) -> Outcome:
    device.reset()
    device.commands.clear()
    return device.run(door.unlock(fresh(seed), Situation(now=now), plan))


def steps(device: Device) -> list[int]:
    return [command.ins for command in device.commands]


def test_a_registered_key_opens_and_the_next_time_fast() -> None:
    device, door = fob(None), lock(registered={key("credential").public: "Ada"})
    first = meet(door, device, "1")
    assert (first.granted, first.is_fast, first.status) == (True, False, ReaderStatus.UNSECURED)
    assert device.session.reader_status == ReaderStatus.UNSECURED
    second = meet(door, device, "2")
    assert (second.granted, second.is_fast, second.reason) == (True, True, "registered as 'Ada'")
    assert steps(device) == [Ins.SELECT, Ins.AUTH0, Ins.EXCHANGE]


def test_a_document_opens_in_the_step_up_phase_and_then_fast_without_being_shown_again() -> None:
    device, door = fob(document()), lock()
    first = meet(door, device, "1")
    assert first.granted
    assert first.decision is not None
    assert first.decision.element == "door"
    assert steps(device) == [Ins.SELECT, Ins.AUTH0, Ins.AUTH1, Ins.ENVELOPE, Ins.EXCHANGE]
    second = meet(door, device, "2")
    assert (second.granted, second.is_fast) == (True, True)


def test_what_a_lock_remembers_outlives_it() -> None:
    memory, device = RamMemory(), fob(document())
    assert meet(lock(memory), device, "1").granted
    again = meet(lock(memory), device, "2")
    assert (again.granted, again.is_fast) == (True, True)


def test_a_stranger_is_refused_by_name_and_told_so() -> None:
    device = fob(None)
    outcome = meet(lock(), device, "1")
    assert (outcome.granted, outcome.status) == (False, ReaderStatus.PUBLIC_KEY_NOT_FOUND)
    assert device.session.reader_status == ReaderStatus.PUBLIC_KEY_NOT_FOUND


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (document(AccessRule(Capability.SECURE)), ReaderStatus.ACCESS_RIGHTS),
        (document(validity=Validity(NOW - 90, NOW - 90, NOW - 60)), ReaderStatus.PUBLIC_KEY_EXPIRED),
        (
            issuer("stranger").access_document(key("credential").public, {"door": AccessData()}, VALID),
            ReaderStatus.PUBLIC_KEY_NOT_TRUSTED,
        ),
        (
            issuer().access_document(key("another").public, {"door": AccessData()}, VALID),
            ReaderStatus.WRONG_CONTENT,
        ),
        (issuer().access_document(key("credential").public, {"cellar": AccessData()}, VALID), None),
    ],
)
def test_a_document_that_gives_no_access_is_refused_and_nothing_is_kept(shown: Document, status: int | None) -> None:
    memory, device = RamMemory(), fob(shown)
    outcome = meet(lock(memory), device, "1")
    assert not outcome.granted
    assert outcome.status == (ReaderStatus.ACCESS_RIGHTS if status is None else status)
    assert device.session.reader_status == outcome.status
    assert not [name for name in memory.names() if memory.load(name)]


def test_a_schedule_counts_at_every_fast_transaction_and_does_not_cost_the_kept_key() -> None:
    rule = AccessRule(Capability.UNSECURE, allow=1)
    device = fob(document(rule, schedules=(Schedule(NOW - 60, NOW + 600),)))
    door = lock()
    assert meet(door, device, "1").granted
    late = meet(door, device, "2", now=NOW + 700)
    assert (late.granted, late.is_fast, late.status) == (False, True, ReaderStatus.ACCESS_RIGHTS)
    early = meet(door, device, "3", now=NOW + 500)
    assert (early.granted, early.is_fast) == (True, True)
    ended = meet(door, device, "4", now=NOW + 90_000)
    assert (ended.granted, ended.status) == (False, ReaderStatus.PUBLIC_KEY_EXPIRED)


def test_a_revocation_kills_the_kept_key_and_holds_in_the_standard_phase_too() -> None:
    memory, device = RamMemory(), fob(document())
    door = lock(memory)
    assert meet(door, device, "1").granted
    entry = RevocationEntry(key_hash=key_hash(key("credential").public))
    listed = issuer().revocation_document({"door": RevocationData(APPEND, entries=(entry,))}, VALID)
    assert door.take_revocations(listed, Situation(now=NOW)) == [key("credential").public]
    assert len(door.keys) == 0
    for seed in ("2", "3"):
        outcome = meet(lock(memory), device, seed)
        assert (outcome.granted, outcome.is_fast, outcome.status) == (
            False,
            False,
            ReaderStatus.PUBLIC_KEY_NOT_TRUSTED,
        )


def test_a_fob_that_carries_the_list_revokes_another_at_a_lock_without_network() -> None:
    entry = RevocationEntry(key_hash=key_hash(key("credential").public))
    listed = issuer().revocation_document({"door": RevocationData(APPEND, entries=(entry,))}, VALID)
    door, lost = lock(), fob(document())
    assert meet(door, lost, "1").granted
    carrier = Device(records("second"))
    data = AccessData(rules=(AccessRule(Capability.UNSECURE),))
    shown = issuer().access_document(key("second").public, {"door": data}, VALID)
    carrier.records.kept |= {"access/0": shown.build(), "revocation/0": listed.build()}
    assert meet(door, carrier, "2").granted
    assert not meet(door, lost, "3").granted


def test_a_list_of_somebody_else_is_refused_and_a_device_that_carries_it_is_not() -> None:
    entry = RevocationEntry(key_hash=key_hash(key("credential").public))
    listed = issuer("stranger").revocation_document({"door": RevocationData(APPEND, entries=(entry,))}, VALID)
    door = lock()
    with pytest.raises(DocumentRefusedError):
        door.take_revocations(listed, Situation(now=NOW))
    assert meet(door, fob(document(), listed), "1").granted


def test_an_issuer_that_is_no_longer_trusted_counts_at_once() -> None:
    memory, device = RamMemory(), fob(document())
    assert meet(lock(memory), device, "1").granted
    door = Lock(reader(), memory, Trust.of(()), SETTINGS)
    outcome = meet(door, device, "2")
    assert (outcome.granted, outcome.is_fast, outcome.status) == (False, False, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED)
    assert len(door.keys) == 0


def test_a_key_that_is_cleared_is_no_longer_fast() -> None:
    names = {key("credential").public: "Ada"}
    device, door = fob(None), lock(registered=names)
    assert meet(door, device, "1").granted
    names.clear()
    door.forget(key("credential").public)
    assert not meet(door, device, "2").granted
    assert len(door.keys) == 0


def test_a_lock_that_lost_the_document_asks_for_it_again_within_the_transaction() -> None:
    memory, device = RamMemory(), fob(document())
    door = lock(memory)
    assert meet(door, device, "1").granted
    memory.commit({name: None for name in memory.names() if name.startswith("document/")})
    outcome = meet(door, device, "2")
    assert (outcome.granted, outcome.is_fast) == (True, False)
    assert steps(device)[:3] == [Ins.SELECT, Ins.AUTH0, Ins.AUTH1]


def test_kept_keys_beyond_the_capacity_take_their_documents_with_them() -> None:
    memory = RamMemory()
    settings = Settings(elements=("door",), capacity=2)
    door = Lock(reader(), memory, Trust.of((ISSUER.public,)), settings)
    for name in ("a", "b", "c"):
        device = Device(records(name))
        data = AccessData(rules=(AccessRule(Capability.UNSECURE),))
        device.records.kept["access/0"] = issuer().access_document(key(name).public, {"door": data}, VALID).build()
        assert meet(door, device, name).granted
    kept = [name for name in memory.names() if name.startswith("document/")]
    assert sorted(kept) == sorted(f"document/{key(name).public.point.hex()}" for name in ("b", "c"))


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("at", range(5))
def test_a_cut_at_any_exchange_leaves_both_sides_such_that_the_next_time_opens(*, at: int, delivered: bool) -> None:
    memory, device = RamMemory(), fob(document())
    with pytest.raises(LinkError):
        drive(lock(memory).unlock(fresh("1"), Situation(now=NOW)), cut_at(device, at, delivered=delivered))
    device.reset()
    # The key is kept before the device is told: a lost last answer costs nothing.
    assert (memory.load("kept") is not None) == (at == 4)
    outcome = meet(lock(memory), device, "2")
    assert (outcome.granted, outcome.is_fast) == (True, at == 4)


def test_a_memory_that_cannot_be_read_is_named() -> None:
    with pytest.raises(StoreError, match="kept by the lock"):
        lock(RamMemory({"kept": b"\0" * 7}))


def test_no_record_of_a_kept_key_shows_it() -> None:
    secret = b"0123456789ABCDEF" * 2
    for shown in (PersistentRecord(b"\0", secret, bytes(32)), _KeptRecord(bytes(65), secret, b"", b"")):
        assert "0123456789" not in f"{shown!r} {shown}"


def test_the_keys_for_ranging_are_those_of_the_device() -> None:
    device, door = fob(document()), lock()
    for seed in ("1", "2"):
        outcome = meet(door, device, seed)
        assert device.session.survivors is not None
        assert (outcome.ursk, outcome.ble) == (device.session.survivors.ursk, device.session.survivors.ble)


# ---- what can break -------------------------------------------------------------------------------------------


class _Failing:
    """A memory that has no room from some commit on."""

    def __init__(self) -> None:
        self.fails = False
        self._ram = RamMemory()
        self.load, self.names = self._ram.load, self._ram.names

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        if self.fails:
            raise StoreError("no room")
        self._ram.commit(changes)


def test_a_memory_that_fails_opens_nothing_keeps_nothing_and_the_device_is_told() -> None:
    memory, device = _Failing(), fob(document())
    door = lock(memory)
    memory.fails = True
    with pytest.raises(StoreError, match="no room"):
        meet(door, device, "1")
    assert device.session.reader_status == ReaderStatus.HARDWARE
    assert device.session.survivors is None
    assert (len(door.keys), memory.names()) == (0, [])
    memory.fails = False
    assert [(one.granted, one.is_fast) for one in (meet(door, device, "2"), meet(door, device, "3"))] == [
        (True, False),
        (True, True),
    ]


def test_a_memory_that_fails_to_keep_a_third_key_has_lost_none_of_two() -> None:
    memory = _Failing()
    settings = Settings(elements=("door",), capacity=2)
    names = {key(name).public: name for name in ("a", "b", "c")}
    door = Lock(reader(), memory, Trust.of((ISSUER.public,)), settings, registered=names)
    for name in ("a", "b"):
        assert meet(door, Device(records(name)), name).granted
    memory.fails = True
    with pytest.raises(StoreError):
        meet(door, Device(records("c")), "c")
    assert [one.credential for one in door.keys] == [key(name).public for name in ("b", "a")]


def test_a_memory_that_fails_to_forget_still_refuses_at_once() -> None:
    memory, device = _Failing(), fob(document())
    door = lock(memory)
    assert meet(door, device, "1").granted
    memory.fails = True
    with pytest.raises(StoreError):
        door.forget(key("credential").public)
    assert len(door.keys) == 0


@pytest.mark.parametrize("damage", [b"", b"\xa0", b"no CBOR"])
def test_a_kept_document_that_is_damaged_is_shown_again_and_hides_no_revocation(damage: bytes) -> None:
    memory, device = RamMemory(), fob(document())
    door = lock(memory)
    assert meet(door, device, "1").granted
    name = f"document/{key('credential').public.point.hex()}"
    whole = memory.load(name)
    memory.commit({name: damage})
    again = meet(door, device, "2")
    assert (again.granted, again.is_fast, memory.load(name)) == (True, False, whole)
    memory.commit({name: damage})
    entry = RevocationEntry(key_hash=key_hash(key("credential").public))
    listed = issuer().revocation_document({"door": RevocationData(APPEND, entries=(entry,))}, VALID)
    assert door.take_revocations(listed, Situation(now=NOW)) == [key("credential").public]
    assert not meet(door, device, "3").granted


def test_a_newer_document_without_a_timestamp_opens_when_the_kept_one_has_ended() -> None:
    device, door = fob(document()), lock()
    assert meet(door, device, "1").granted
    later = NOW + 90_000
    device.records.kept["access/0"] = document(validity=Validity(later - 60, later - 60, later + 86_400)).build()
    renewed = meet(door, device, "2", now=later)
    assert (renewed.granted, renewed.is_fast) == (True, False)
    assert meet(door, device, "3", now=later).is_fast


def test_a_clock_that_jumps_lets_nobody_in_and_once_right_costs_one_standard_transaction() -> None:
    device, door = fob(document()), lock()
    assert meet(door, device, "1").granted
    for seed, wrong in (("2", 0), ("3", NOW + 10**8), ("4", NOW - 3600)):
        outcome = meet(door, device, seed, now=wrong)
        assert (outcome.granted, outcome.status) == (False, ReaderStatus.PUBLIC_KEY_EXPIRED)
    for seed, fast in (("5", False), ("6", True)):
        right = meet(door, device, seed)
        assert (right.granted, right.is_fast) == (True, fast)


def test_a_lock_that_loses_the_time_goes_by_what_needs_none() -> None:
    device, door = fob(document()), lock()
    assert meet(door, device, "1").granted
    assert meet(door, device, "2", now=None).is_fast
    rule = AccessRule(Capability.UNSECURE, allow=1)
    timed, other = fob(document(rule, schedules=(Schedule(NOW - 60, NOW + 600),))), lock()
    assert meet(other, timed, "3").granted
    without = meet(other, timed, "4", now=None)
    assert (without.granted, without.status) == (False, ReaderStatus.ACCESS_RIGHTS)
    assert meet(other, timed, "5").is_fast


def test_an_entry_that_has_expired_revokes_again_for_a_clock_that_is_set_back() -> None:
    device, door = fob(document()), lock()
    entry = RevocationEntry(key_hash=key_hash(key("credential").public), expiry=NOW + 100)
    listed = issuer().revocation_document({"door": RevocationData(APPEND, entries=(entry,))}, VALID)
    door.take_revocations(listed, Situation(now=NOW))
    for seed, now, granted in (("1", NOW, False), ("2", NOW + 100, True), ("3", NOW + 99, False), ("4", None, False)):
        assert meet(door, device, seed, now=now).granted is granted


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_power_lost_at_any_commit_of_a_revocation_lets_nobody_in(*, at: int, after: bool) -> None:
    ram, device = RamMemory(), fob(document())
    memory = CutMemory(ram)
    door = lock(memory)
    assert meet(door, device, "1").granted
    entry = RevocationEntry(key_hash=key_hash(key("credential").public))
    listed = issuer().revocation_document({"door": RevocationData(APPEND, entries=(entry,))}, VALID)
    memory.commits, memory.cut_before, memory.cut_after = 0, 0 if after else at, at if after else 0
    with contextlib.suppress(PowerCut):
        door.take_revocations(listed, Situation(now=NOW))
    # The list is the first commit; the kept key, which is the second, counts for nothing once it is there.
    told = memory.commits >= 1
    for seed in ("2", "3"):
        assert meet(lock(ram), device, seed).granted is not told


@pytest.mark.parametrize("after", [False, True])
def test_power_lost_in_the_memory_of_the_lock_leaves_a_door_that_opens_the_next_time(*, after: bool) -> None:
    ram, device = RamMemory(), fob(document())
    memory = CutMemory(ram, cut_before=0 if after else 1, cut_after=1 if after else 0)
    with pytest.raises(PowerCut):
        meet(lock(memory), device, "1")
    outcome = meet(lock(ram), device, "2")
    assert (outcome.granted, outcome.is_fast) == (True, after)
