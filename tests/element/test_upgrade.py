"""A memory of format 1 goes on working, upgraded in one commit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from keywright.codec.message import Message
from keywright.element import upgrade
from keywright.element.open import DEFAULT_ATR
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, OWN, EchoApplet, Terminal, contents, element
from support.messages import all_messages, check_message
from support.power import CutMemory, PowerCut

ATR = DEFAULT_ATR


@pytest.mark.parametrize("cls", all_messages(upgrade))
def test_every_old_record_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def old_memory() -> dict[str, bytes]:
    """What an element of format 1 left: set 30, one applet, locked, counters that have run."""
    keys = b"".join(bytes((kid, 0x88, 16)) + key.reveal() for kid, key in enumerate((OWN.enc, OWN.mac, OWN.dek), 1))
    return {
        "element": bytes.fromhex("01 70 00 0005 0800")
        + bytes(range(10))
        + bytes.fromhex("9C4E00")
        + bytes((8,))
        + ISD
        + bytes((len(ATR),))
        + ATR,
        "life": b"\x0f",
        "attempts": bytes.fromhex("00000009"),
        "keys": b"\x30",
        "keys/30": keys,
        "counter/30": bytes.fromhex("000000410000"),
        "data/0042": b"old iin",
        "registry": bytes((6,)) + ECHO_AID + bytes.fromhex("87000000"),
        f"applet/{ECHO_AID.hex().upper()}/value": b"kept",
    }


def test_keys_counters_data_life_cycles_and_records_of_applets_are_as_they_were() -> None:
    memory = RamMemory(old_memory())
    here = Terminal(element(memory=memory, applets=[EchoApplet()]))
    assert here.card.attempts == 9
    assert here.card.life_cycle == 0x0F
    assert here.raw("00CA004200") == b"old iin\x90\x00"
    answer = here.initialize_update().data
    assert answer[:11] == bytes(range(10)) + b"\x30"
    assert answer[-3:] == bytes.fromhex("000042")
    session = here.authenticate(keys=OWN)
    assert session(0x80, 0xF2, 0x40, 0x00, b"\x4f\x00").data == bytes((6,)) + ECHO_AID + bytes.fromhex("8700")
    assert session(0x80, 0xF2, 0x80, 0x00, b"\x4f\x00").data == bytes((8,)) + ISD + bytes.fromhex("0F9C")
    assert session(0x80, 0xF0, 0x40, 0x07, ECHO_AID).sw == 0x9000
    assert here.select(ECHO_AID).sw == 0x9000
    assert here(0x80, 0x15).data == b"kept"


def test_it_is_one_commit_and_happens_once() -> None:
    commits: list[Mapping[str, bytes | None]] = []

    class Watched(CutMemory):
        def commit(self, changes: Mapping[str, bytes | None]) -> None:
            commits.append(changes)
            super().commit(changes)

    memory = Watched(RamMemory(old_memory()))
    element(memory=memory)
    element(memory=memory)
    assert len(commits) == 1


def test_a_cut_leaves_the_old_memory_or_the_new() -> None:
    done = RamMemory(old_memory())
    element(memory=done)
    for cut in ({"cut_before": 1}, {"cut_after": 1}):
        ram = RamMemory(old_memory())
        with pytest.raises(PowerCut):
            element(memory=CutMemory(ram, **cut))
        assert contents(ram) == (old_memory() if "cut_before" in cut else contents(done))
        Terminal(element(memory=ram)).authenticate(keys=OWN)
