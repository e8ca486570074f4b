"""What an applet is given, what it may change, and what the element does for it."""

from __future__ import annotations

import pytest

from keywright.store import RamMemory
from support.cards import ECHO_AID, OTHER_AID, EchoApplet, Terminal, contents, element

VALUE = f"applet/{ECHO_AID.hex().upper()}/value"


def terminal(**parameters: object) -> Terminal:
    here = Terminal(element(**({"applets": [EchoApplet()]} | parameters)))
    here.select(ECHO_AID)
    return here


def test_select_answers_what_the_applet_says_and_commits_what_it_writes() -> None:
    memory = RamMemory()
    here = Terminal(element(applets=[EchoApplet()], memory=memory))
    assert here.select(ECHO_AID).data == b"\x6f\x08\x84\x06" + ECHO_AID
    assert contents(memory)[f"applet/{ECHO_AID.hex().upper()}/selected"] == b"\x00"


def test_an_unwilling_applet_is_6999_and_what_was_selected_stays() -> None:
    memory = RamMemory()
    here = terminal(memory=memory, applets=[EchoApplet(), EchoApplet(OTHER_AID)])
    memory.commit({f"applet/{OTHER_AID.hex().upper()}/unwilling": b"!"})
    session = here.authenticate()
    assert here.select(OTHER_AID).sw == 0x6999
    assert session(0x80, 0x16).data[0] == 1


def test_an_applet_sees_class_00_or_80_whatever_channel_and_protection() -> None:
    here = terminal()
    assert here.raw("80100000").hex() == "809000"
    assert here.raw("00100000").hex() == "009000"
    here.raw("00700004")
    other = Terminal(here.card, 4)
    other.select(ECHO_AID)
    assert other(0x80, 0x10).data == b"\x80"
    assert other.authenticate()(0x00, 0x10).data == b"\x00"


def test_writes_of_a_good_command_are_committed_and_visible_after_restart() -> None:
    memory = RamMemory()
    here = terminal(memory=memory)
    assert here(0x80, 0x11, data=b"new").sw == 0x9000
    assert terminal(memory=memory)(0x80, 0x15).data == b"new"
    here(0x80, 0x11)
    assert VALUE not in contents(memory)


@pytest.mark.parametrize(("ins", "sw"), [(0x12, 0x6985), (0x14, 0x6A80)])
def test_writes_of_a_refused_command_are_dropped(ins: int, sw: int) -> None:
    memory = RamMemory()
    here = terminal(memory=memory)
    before = contents(memory)
    assert here(0x80, ins, data=b"new").sw == sw
    assert contents(memory) == before


def test_what_is_written_first_stays_though_the_command_fails() -> None:
    here = terminal()
    assert here(0x80, 0x13, 0x05).sw == 0x63C2
    assert here(0x80, 0x15).data == b"\x05"


def test_records_of_two_applets_are_apart() -> None:
    here = terminal(applets=[EchoApplet(), EchoApplet(OTHER_AID)])
    here(0x80, 0x11, data=b"mine")
    here.select(OTHER_AID)
    assert here(0x80, 0x15).data == b""


def test_ram_of_an_applet_is_gone_at_the_next_select_and_at_reset_and_apart_on_each_channel() -> None:
    here = terminal()
    assert [here(0x80, 0x17).data[0] for _ in range(2)] == [1, 2]
    here.raw("00700001")
    other = Terminal(here.card, 1)
    other.select(ECHO_AID)
    assert other(0x80, 0x17).data[0] == 1
    here.select(ECHO_AID)
    assert here(0x80, 0x17).data[0] == 1
    here.card.reset()
    here.select(ECHO_AID)
    assert here(0x80, 0x17).data[0] == 1


@pytest.mark.parametrize("level", [0x00, 0x01, 0x33])
def test_it_knows_the_session_and_the_state_of_the_card(level: int) -> None:
    here = terminal(life_cycle=0x0F)
    assert here(0x80, 0x16).data == b"\x00\x00\x0f"
    assert here.authenticate(level)(0x80, 0x16).data == bytes((1, level, 0x0F))


def test_it_may_demand_a_level() -> None:
    here = terminal()
    assert here(0x80, 0x1B).sw == 0x6982
    assert here.authenticate(0x00)(0x80, 0x1B).sw == 0x6982
    assert here.authenticate(0x01)(0x80, 0x1B).sw == 0x9000


def test_sensitive_data_is_decrypted_under_the_session_keys_dek() -> None:
    here = terminal()
    assert here(0x80, 0x19, data=bytes(16)).sw == 0x6982
    session = here.authenticate()
    secret = session.keys.dek.encrypt_cbc(bytes(16), bytes(range(32)))
    assert session(0x80, 0x19, data=secret).data == bytes(range(32))
    assert session(0x80, 0x19, data=secret[:31]).sw == 0x6A80


def test_while_it_is_selected_only_what_opens_a_session_or_selects_is_the_elements() -> None:
    here = terminal()
    assert here.raw("80CA006600").hex() == "6d00"
    assert here.raw("00A4000000").hex() == "6d00"
    assert here.raw("0050000000").hex() == "6d00"
    assert here.raw("8070000000").hex() == "6d00"
    assert here.raw("0070000001").hex() == "019000"
    assert here.raw("8482330010" + "00" * 16).hex() == "6985"
    assert here.raw("84CA006608" + "00" * 8).hex() == "6982"


def test_a_new_applet_joins_the_registry_and_one_without_its_code_is_listed_but_not_selectable() -> None:
    memory = RamMemory()
    terminal(memory=memory)
    here = Terminal(element(memory=memory, applets=[EchoApplet(OTHER_AID)]))
    assert here.select(ECHO_AID).sw == 0x6A82
    assert here.select(OTHER_AID).sw == 0x9000
    here.select()
    assert here.authenticate()(0x80, 0xF2, 0x40, 0x00, b"\x4f\x00").data.count(b"\xf0\x6b\x77") == 2
