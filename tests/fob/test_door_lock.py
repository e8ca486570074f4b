"""A lock in a memory: what a command to its cluster takes away, whatever moment the power is lost at."""

from __future__ import annotations

import contextlib
import json

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Validity
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.lock import Outcome
from keywright.aliro.matter.cluster import CredentialType, Invoke, Slot
from keywright.fob.lock import DoorReader
from keywright.store.memory import Memory, RamMemory
from support.aliro import GROUP, Device, key, records, stream
from support.power import CutMemory, PowerCut

NOW = 1_790_000_000
PUBLIC = key("credential").public


def door(memory: Memory) -> DoorReader:
    return DoorReader(memory, stream("door"))


def fob() -> Device:
    device = Device(records())
    issuer = CredentialIssuer(key("credential issuer"), stream("issuer"))
    data = AccessData(rules=(AccessRule(Capability.UNSECURE),))
    valid = Validity(NOW - 60, NOW - 60, NOW + 3600)
    device.records.kept["access/0"] = issuer.access_document(PUBLIC, {"door": data}, valid).build()
    return device


def configured(kind: int) -> RamMemory:
    memory = RamMemory()
    here = door(memory)
    here.configure(
        json.dumps({"reader": {"groupIdentifier": GROUP.hex(), "groupResolvingKey": "00" * 16}}), key("reader")
    )
    here.add(kind, key("credential issuer").public if kind == CredentialType.ISSUER else PUBLIC)
    return memory


def visit(here: DoorReader, device: Device) -> Outcome:
    device.reset()
    return device.run(here.lock().unlock(here.fresh(), Situation(now=NOW)))


def test_a_lock_is_taken_up_again_as_it_was() -> None:
    memory, device = configured(CredentialType.ISSUER), fob()
    here = door(memory)
    here.elements = ("cellar", "door")
    assert visit(here, device).granted
    again = door(memory)
    assert again.elements == ("cellar", "door")
    assert (again.reader().identifier, again.reader().key.public) == (
        here.reader().identifier,
        here.reader().key.public,
    )
    outcome = visit(again, device)
    assert (outcome.granted, outcome.is_fast) == (True, True)


CLEARS = {
    "an issuer": (CredentialType.ISSUER, Slot(CredentialType.ISSUER, 1)),
    "a key": (CredentialType.NON_EVICTABLE, Slot(CredentialType.NON_EVICTABLE, 1)),
    "an evictable key": (CredentialType.EVICTABLE, Slot(CredentialType.EVICTABLE, 1)),
}


@pytest.mark.parametrize("what", CLEARS)
def test_whoever_is_cleared_is_out_at_once_and_nothing_of_it_is_kept(what: str) -> None:
    kind, slot = CLEARS[what]
    memory, device = configured(kind), fob()
    here = door(memory)
    if kind != CredentialType.ISSUER:
        device.records.kept.pop("access/0")
    assert [visit(here, device).is_fast for _ in range(2)] == [False, True]
    here.clear(slot)
    assert len(here.lock().keys) == 0
    assert not [name for name in memory.names() if name.startswith("document/")]
    assert not visit(here, device).granted


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("what", CLEARS)
def test_power_lost_while_somebody_is_cleared_leaves_them_in_or_out_and_never_half(
    what: str, at: int, *, after: bool
) -> None:
    kind, slot = CLEARS[what]
    ram, device = configured(kind), fob()
    if kind != CredentialType.ISSUER:
        device.records.kept.pop("access/0")
    assert visit(door(ram), device).granted
    memory = CutMemory(ram, cut_before=0 if after else at, cut_after=at if after else 0)
    with contextlib.suppress(PowerCut):
        door(memory).clear(slot)
    assert memory.fired
    cleared = memory.commits >= 1
    for _ in range(2):
        assert visit(door(ram), device).granted is not cleared


def test_a_lock_that_is_cleared_altogether_has_no_reader_and_lets_nobody_in_after_it_has_one_again() -> None:
    memory, device = configured(CredentialType.ISSUER), fob()
    here = door(memory)
    assert visit(here, device).granted
    here.invoke(Invoke.CLEAR_CREDENTIAL, {0: None})
    assert len(here.lock().keys) == 0
    assert not visit(door(memory), device).granted
