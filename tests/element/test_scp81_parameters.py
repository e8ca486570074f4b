"""Stored parameters of administration sessions: the whole set, a part of it, and what a trigger is completed with."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.codec.tlv import item
from keywright.element import SecureElement
from keywright.globalplatform.messages import CardData
from keywright.scp.scp81.parameters import (
    HttpParameters,
    KeyReference,
    SecurityParameters,
    StoredParameters,
    TriggerParameters,
    settle,
    store_parameters,
)
from keywright.store import RamMemory
from support.cards import Session, Terminal, contents, element

CONNECTION = bytes.fromhex("3C03021F90") + bytes.fromhex("3E05217F000001")
WHOLE = StoredParameters(
    connection=CONNECTION,
    security=SecurityParameters(b"card-1", KeyReference(0x40, 1)),
    http=HttpParameters(b"127.0.0.1", b"//se-id/eid/1", b"/ram"),
    inactivity=bytes.fromhex("2503000010"),
)


def card(**parameters: Any) -> SecureElement:
    return element(protocols=[(0x81, 0x04)], **parameters)


def opened(**parameters: Any) -> Session:
    return Terminal(card(**parameters)).authenticate()


def stored(session: Session, value: bytes, kind: int = 0x85) -> int:
    """Status word of the last STORE DATA."""
    return [session.send(command).sw for command in store_parameters(value, kind)][-1]


def got(session: Session, tag: int, asked: bytes = b"") -> str:
    answer = session(0x00, 0xCA, 0x00, tag, asked, 0)
    return answer.data.hex() if answer.sw == 0x9000 else f"{answer.sw:04X}"


def test_the_whole_set_is_replaced_read_and_deleted() -> None:
    session = opened()
    assert got(session, 0x85) == "6A88"
    assert stored(session, WHOLE.build()) == 0x9000
    assert got(session, 0x85) == WHOLE.build().hex()
    assert stored(session, item(0x84, CONNECTION)) == 0x9000
    assert got(session, 0x85) == item(0x84, CONNECTION).hex()
    assert stored(session, b"") == 0x9000
    assert got(session, 0x85) == "6A88"


def test_a_part_replaces_only_what_it_names_and_an_empty_one_deletes() -> None:
    session = opened()
    stored(session, WHOLE.build())
    assert stored(session, item(0x8B, bytes.fromhex("2503000020")) + item(0x84, b""), 0xA5) == 0x9000
    assert got(session, 0xA5, bytes.fromhex("5C018B")) == "8b052503000020"
    assert got(session, 0xA5, bytes.fromhex("5C0184")) == "6A88"
    assert got(session, 0xA5, bytes.fromhex("5C0189")) == item(0x89, WHOLE.http.build() if WHOLE.http else b"").hex()


def test_security_parameters_of_one_kind_take_the_place_of_the_other() -> None:
    session = opened()
    stored(session, WHOLE.build())
    security = item(0x85, WHOLE.security.build() if WHOLE.security else b"")
    assert stored(session, item(0xA5, security), 0xA5) == 0x9000
    assert got(session, 0xA5, bytes.fromhex("5C0185")) == "6A88"
    assert got(session, 0xA5, bytes.fromhex("5C01A5")) == item(0xA5, security).hex()


@pytest.mark.parametrize(("tag", "asked"), [(0x85, "5C0184"), (0xA5, ""), (0xA5, "5C"), (0xA5, "4F00")])
def test_a_tag_list_is_for_the_part_alone(tag: int, asked: str) -> None:
    session = opened()
    stored(session, WHOLE.build())
    assert got(session, tag, bytes.fromhex(asked)) == "6A80"


@pytest.mark.parametrize("value", ["8403", "8A01FF", "FF0100", "850101"])
def test_what_makes_no_set_is_6a80_and_changes_nothing(value: str) -> None:
    memory = RamMemory()
    session = opened(memory=memory)
    stored(session, WHOLE.build())
    before = contents(memory, counters=False)
    assert stored(session, bytes.fromhex(value), 0xA5) == 0x6A80
    assert contents(memory, counters=False) == before


def test_a_domain_without_scp81_stores_none() -> None:
    session = Terminal(element()).authenticate()
    assert stored(session, WHOLE.build()) == 0x6A80


def test_a_trigger_is_completed_from_what_is_stored() -> None:
    made = card()
    session = Terminal(made).authenticate()
    stored(session, WHOLE.build())
    sets, names = made.air.parameters(bytes.fromhex("A000000151000000"))
    settings = settle(TriggerParameters(), *sets, dns=names)
    assert (settings.host, settings.uri, settings.security.key) == ("127.0.0.1", "/ram", KeyReference(0x40, 1))


# ---- which versions of TLS


@pytest.mark.parametrize(
    ("value", "sw", "offered"),
    [
        ("810C", 0x9000, 0x0C),
        ("8104", 0x9000, 0x04),
        ("8103", 0x6985, 0x04),
        ("8100", 0x6A80, 0x04),
        ("81", 0x6A80, 0x04),
    ],
)
def test_the_versions_of_tls_are_changed_but_not_lowered(value: str, sw: int, offered: int) -> None:
    session = opened()
    group = bytes.fromhex("C981") + bytes((len(value) // 2,)) + bytes.fromhex(value)
    assert session(0x80, 0xE2, 0x88, 0x00, group).sw == sw
    assert CardData.parse(session(0x00, 0xCA, 0x00, 0x66, le=0).data).secure_channels[-1] == (0x81, offered)


def test_a_domain_without_scp81_has_no_versions_to_change() -> None:
    session = Terminal(element()).authenticate()
    assert session(0x80, 0xE2, 0x88, 0x00, bytes.fromhex("C98102810C")).sw == 0x6A80
