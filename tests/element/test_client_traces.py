"""The card end against commands that foreign hosts really sent (GlobalPlatformPro, gpshell, yubikit over PC/SC).

The recorded hosts are authoritative, the throw-away card that answered them is not. With our element in the role of
that card (key set 30, test keys, the recorded counters) these are compared byte for byte, R-MAC included: every answer
to INITIALIZE UPDATE, EXTERNAL AUTHENTICATE, SELECT, PUT KEY, STORE DATA and GET DATA of objects whose content the keys
and parameters fix, and the whole of what INSTALL, LOAD and DELETE answer. GET STATUS must end as it did there (the
privileges of the issuer domain differ, and that card did not tell modules).
"""

from __future__ import annotations

import pytest

from keywright.element import SecureElement
from keywright.element.state import Kind, ModuleRecord, RegistryEntry, RegistryRecord
from keywright.globalplatform.messages import Cplc
from keywright.iso7816.apdu import Command
from keywright.store import RamMemory
from support.cards import ISD, element
from support.vectors import Case, load, unhex, vectors

DIFFERENT_OBJECTS = (0x8000CF, 0x800067, 0x040066)
"""Class and tag: KDD, which the other card lacked; capabilities, where it claimed more than it did; card data under an
ISO class, where it gave tag and length too (GPCS 11.3.3.1: the value alone, on which yubikit's other reads rely)."""


def exchanges(case: Case) -> list[tuple[bytes, bytes]]:
    return [(unhex(pair["capdu"]), unhex(pair["rapdu"])) for pair in case["exchanges"]]


INSTALLED = ("gp_list_full", "gp_uninstall", "gpshell_delete")
"""Traces of a card on which the same host had installed before."""
FILE, MODULE = bytes.fromhex("0102030405"), bytes.fromhex("0102030405060708")


def card_of(case: Case) -> SecureElement:
    memory = RamMemory()
    card = _fresh(case, memory)
    if case["name"] in INSTALLED:
        entries = RegistryRecord.parse(memory.load("registry") or b"").entries
        file = RegistryEntry(Kind.LOAD_FILE, FILE, 1, domain=ISD, version=b"\1\0", modules=(ModuleRecord(MODULE),))
        applet = RegistryEntry(Kind.APPLICATION, MODULE, 7, domain=ISD, load_file=FILE, module=MODULE)
        other = RegistryEntry(Kind.APPLICATION, bytes.fromhex("D0D1D2D3D4D501"), 7, domain=ISD)
        here = (*entries, file, other if case["name"] == "gpshell_delete" else applet)
        memory.commit({"registry": RegistryRecord(here).build()})
        card.reset()
    return card


def _fresh(case: Case, memory: RamMemory) -> SecureElement:
    counters = [answer[-5:-2] for command, answer in exchanges(case) if command[1] == 0x50]
    return element(
        memory=memory,
        kvn=0x30,
        sequence_counter=int.from_bytes(counters[0]) - 1 if counters else 0,
        max_data=0xFF,
        iin=b"12345678",
        cin=b"CIN00001",
        cplc=Cplc.parse(bytes(42)),
        life_cycle=0x0F,
    )


@vectors("scp/client_traces.json")
def test_the_card_answers_a_foreign_host_as_recorded(case: Case) -> None:
    card = card_of(case)
    compared = 0
    for raw, recorded in exchanges(case):
        answer = card.handle(raw)
        command = Command.parse(raw)
        sw = int.from_bytes(answer[-2:])
        if command.ins == 0xF2:
            assert sw == int.from_bytes(recorded[-2:])
        elif command.ins == 0xCA and (command.cla << 16 | command.p1 << 8 | command.p2) in DIFFERENT_OBJECTS:
            assert sw == 0x9000
        else:
            assert answer.hex() == recorded.hex()
            compared += 1
    assert compared >= 3


def secured(case: Case) -> list[int]:
    return [at for at, (command, _) in enumerate(exchanges(case)) if command[0] & 0x04]


SECURED = [case for case in load("scp/client_traces.json") if secured(case)]


@pytest.mark.parametrize("case", SECURED, ids=[case["name"] for case in SECURED])
def test_a_changed_byte_in_any_secured_command_is_refused_and_ends_the_session(case: Case) -> None:
    steps = exchanges(case)
    for at in secured(case):
        for place in (1, 2, 3, 5, len(steps[at][0]) // 2):
            card = card_of(case)
            for command, _ in steps[:at]:
                card.handle(command)
            changed = bytearray(steps[at][0])
            changed[place] ^= 0x10
            authenticating = steps[at][0][1] == 0x82
            answer = card.handle(bytes(changed))
            assert answer.hex() in (("6982", "6300", "6a86", "6985", "6d00") if authenticating else ("6982",))
            assert card.handle(steps[at][0]).hex() in ("6982", "6985", "6d00")
