"""STORE DATA of the issuer domain: another AID, and the personalisation fields of the CPLC."""

from __future__ import annotations

import pytest

from keywright.globalplatform.profile import CardProfile
from keywright.store import RamMemory
from support.cards import ISD, Session, Terminal, contents, element
from support.content import DOMAIN, FILE, INSTANCE, MODULE, ContentHost, package

NEW = bytes.fromhex("A00000015100000099")
AT = {0x9F66: 34, 0x9F67: 26}


def store(session: Session, data: str, p1: int = 0x80) -> int:
    """Status word of one STORE DATA."""
    return session(0x80, 0xE2, p1, 0x00, bytes.fromhex(data)).sw


def named(aid: bytes) -> str:
    """An AID under 4F, in hex."""
    return f"4F{len(aid):02X}{aid.hex()}"


def managed(memory: RamMemory) -> ContentHost:
    """A session on an element with an application and a domain."""
    manager = ContentHost(Terminal(element(memory=memory)).authenticate())
    manager.load(package(FILE, [MODULE]))
    manager.install(FILE, MODULE, INSTANCE)
    manager.make_domain()
    return manager


@pytest.mark.parametrize("p1", [0x80, 0x90])
def test_a_new_name_is_in_the_registry_and_in_select_from_now_on(p1: int) -> None:
    memory = RamMemory()
    manager = managed(memory)
    session = manager.session
    assert store(session, named(NEW), p1) == 0x9000
    assert session(0x80, 0xF2, 0x80, 0x02, b"\x4f\0").data[2:13] == b"\x4f\x09" + NEW
    assert b"\xcc\x09" + NEW in session(0x80, 0xF2, 0x40, 0x02, b"\x4f\0").data
    assert ISD + b"\x9f" not in session(0x80, 0xF2, 0x20, 0x02, b"\x4f\0").data
    for card in (session.terminal.card, element(memory=memory)):
        card.reset()
        here = Terminal(card)
        assert NEW in here.select().data
        assert here.select(ISD + b"\x77").sw == 0x6A82
        here.select(NEW)
        here.authenticate()


def test_what_was_below_the_old_name_is_managed_under_the_new_one() -> None:
    manager = managed(RamMemory())
    assert store(manager.session, named(NEW)) == 0x9000
    assert manager.session(0x80, 0xE4, 0x00, 0x00, b"\x4f" + bytes((len(INSTANCE),)) + INSTANCE).sw == 0x9000
    manager.load(package(INSTANCE, [MODULE]), INSTANCE)
    assert manager.session(0x80, 0xF0, 0x40, 0x80, DOMAIN).sw == 0x9000


def test_another_channel_to_the_issuer_goes_on_under_the_new_name() -> None:
    manager = managed(RamMemory())
    card = manager.session.terminal.card
    first = Terminal(card)
    first(0x00, 0x70, 0x00, 0x00, b"", 1)
    other = Terminal(card, 1)
    beside = other.authenticate()
    assert store(manager.session, named(NEW)) == 0x9000
    assert beside(0x80, 0xF2, 0x80, 0x02, b"\x4f\0").data[4:13] == NEW
    other.authenticate()


@pytest.mark.parametrize("aid", [b"", NEW[:4], bytes(17), INSTANCE, DOMAIN, FILE])
def test_an_aid_that_is_none_or_taken_is_6a80_and_nothing_changes(aid: bytes) -> None:
    memory = RamMemory()
    manager = managed(memory)
    before = contents(memory, counters=False)
    assert store(manager.session, named(aid)) == 0x6A80
    assert contents(memory, counters=False) == before


def test_its_own_name_again_changes_nothing() -> None:
    memory = RamMemory()
    manager = managed(memory)
    before = contents(memory, counters=False)
    assert store(manager.session, named(ISD)) == 0x9000
    assert contents(memory, counters=False) == before


def test_a_bad_object_beside_the_name_keeps_the_old_name() -> None:
    manager = managed(RamMemory())
    assert store(manager.session, named(NEW) + "9F0101AA") == 0x6A80
    assert manager.session(0x80, 0xF2, 0x80, 0x02, b"\x4f\0").data[4:12] == ISD


@pytest.mark.parametrize("tag", AT)
def test_eight_bytes_of_the_cplc_change_and_no_other(tag: int) -> None:
    session = Terminal(element()).authenticate()
    before = session(0x80, 0xCA, 0x9F, 0x7F, b"", 0).data
    assert store(session, f"{tag:04X}081122334455667788") == 0x9000
    at = AT[tag] + 3
    assert (
        session(0x80, 0xCA, 0x9F, 0x7F, b"", 0).data
        == before[:at] + bytes.fromhex("1122334455667788") + before[at + 8 :]
    )


@pytest.mark.parametrize("value", ["07" + "11" * 7, "09" + "11" * 9, "00"])
def test_cplc_fields_of_another_length_are_6a80(value: str) -> None:
    session = Terminal(element()).authenticate()
    assert store(session, "9F66" + value) == 0x6A80


@pytest.mark.parametrize("data", [named(NEW), "9F66081122334455667788", "9F67081122334455667788"])
def test_a_card_without_these_objects_and_a_domain_refuse_them(data: str) -> None:
    strict = CardProfile(issuer_objects=False)
    assert store(Terminal(element(profile=strict)).authenticate(), data) == 0x6A80
    here = Terminal(managed(RamMemory()).session.terminal.card)
    here.select(DOMAIN)
    assert store(here.authenticate(), data) == 0x6A80
