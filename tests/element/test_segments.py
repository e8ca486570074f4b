"""A GlobalPlatform command in several segments: joined as they come, protected as a whole (GPCS 11.1.5.1)."""

from __future__ import annotations

import pytest

from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.apdu import Command
from keywright.scp.scp03 import KeySet
from keywright.store import RamMemory
from support.cards import OWN, Session, Terminal, contents, element, key_field

LONG = KeySet.of(bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96)))


def put_key(*, times: int = 1) -> Command:
    """PUT KEY of three keys of 32 bytes, of more than 255 bytes if `times` is more than one."""
    dek = KeySet.gp_test().dek
    keys = (LONG.enc, LONG.mac, LONG.dek) * times
    body = b"\x30" + b"".join(key_field(key, dek) for key in keys)
    return Command(0x80, 0xD8, 0x00, 0x81, body, 0, extended=len(body) > 200)


def segments(whole: Command, size: int) -> list[Command]:
    """The segments of a command that is protected already."""
    parts = [whole.data[at : at + size] for at in range(0, len(whole.data), size)]
    p1s = [whole.p1 | 0x80] * (len(parts) - 1) + [whole.p1]
    return [Command(whole.cla, whole.ins, p1, whole.p2, part) for p1, part in zip(p1s, parts, strict=True)]


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x33])
@pytest.mark.parametrize("times", [1, 3])
def test_segments_are_one_command_with_one_c_mac_at_the_end(level: int, times: int) -> None:
    session = Terminal(element()).authenticate(level)
    here = session.terminal
    whole = put_key(times=times)
    *first, last = segments(session.host.wrap(whole), 60)
    for part in first:
        answer = here.exchange(part)
        assert (answer.data, answer.sw) == (b"", 0x9000)
    answer = session.host.unwrap(here.exchange(last))
    assert answer.sw == 0x9000
    assert answer.data[0] == 0x30
    assert session(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x33])
def test_segments_may_also_be_protected_each_by_itself(level: int) -> None:
    session = Terminal(element()).authenticate(level)
    *first, last = segments(put_key(times=3), 60)
    for part in first:
        answer = session.send(part)
        assert (answer.data, answer.sw) == (b"", 0x9000)
    assert session.send(last).sw == 0x9000
    assert session(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000


def test_segments_of_both_kinds_do_not_mix() -> None:
    memory = RamMemory()
    session = Terminal(element(memory=memory)).authenticate()
    before = contents(memory)
    first, second, last = segments(put_key(), 50)
    assert session.send(first).sw == 0x9000
    assert session.terminal.exchange(Command(0x84, 0xD8, 0x80, 0x81, second.data)).sw == 0x9000
    assert session.terminal.exchange(session.host.wrap(last)).sw == 0x6982
    assert contents(memory) == before


def test_another_command_between_two_segments_protected_each_by_itself_is_6985() -> None:
    session = Terminal(element()).authenticate()
    first, second, _ = segments(put_key(), 50)
    assert session.send(first).sw == 0x9000
    assert session(0x80, 0xCA, 0x00, 0xE0).sw == 0x6985
    assert session.send(second).sw == 0x9000
    assert session(0x80, 0xD8, 0x00, 0x81, b"").sw == 0x6A80


def begun() -> tuple[Session, list[Command], RamMemory]:
    memory = RamMemory()
    session = Terminal(element(memory=memory)).authenticate()
    return session, segments(session.host.wrap(put_key()), 60), memory


INTRUDERS = {
    "another instruction": Command(0x84, 0xE4, 0x00, 0x81, b"\xd2\x01\x31"),
    "another P2": Command(0x84, 0xD8, 0x00, 0x82, bytes(20)),
    "another P1": Command(0x84, 0xD8, 0x01, 0x81, bytes(20)),
    "a bare one": Command(0x80, 0xD8, 0x00, 0x81, bytes(20)),
    "the same, of another kind": Command(0x80, 0xD8, 0x80, 0x81, bytes(20)),
    "GET DATA": Command(0x84, 0xCA, 0x00, 0xE0, bytes(8)),
}


@pytest.mark.parametrize("other", INTRUDERS.values(), ids=INTRUDERS)
def test_another_command_between_two_segments_is_6985_and_drops_them(other: Command) -> None:
    session, parts, memory = begun()
    here = session.terminal
    before = contents(memory)
    assert here.exchange(parts[0]).sw == 0x9000
    assert here.exchange(other).sw == 0x6985
    assert here.exchange(parts[-1]).sw == 0x6982
    assert contents(memory) == before


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 1, 2), (1, 2), (0, 2)])
def test_segments_missing_doubled_or_out_of_order_fail_the_c_mac(order: tuple[int, ...]) -> None:
    session, parts, memory = begun()
    before = contents(memory)
    assert len(parts) == 3
    answers = [session.terminal.exchange(parts[number]).sw for number in order]
    assert answers[-1] == 0x6982
    assert contents(memory) == before


def test_a_segment_is_refused_where_its_command_would_be() -> None:
    here = Terminal(element())
    assert here(0x80, 0xD8, 0x80, 0x81, b"\x30").sw == 0x6982
    session = Terminal(element(profile=CardProfile(changes_need_mac=True))).authenticate(0x00)
    assert session(0x80, 0xD8, 0x80, 0x81, b"\x30").sw == 0x6982
    session = Terminal(element(life_cycle=0x7F)).authenticate()
    assert session(0x80, 0xD8, 0x80, 0x81, b"\x30").sw == 0x6985
    session = here.authenticate()
    assert here(0x80, 0xD8, 0x80, 0x81, b"\x30").sw == 0x6982


def test_segments_of_two_channels_do_not_mix() -> None:
    here = Terminal(element())
    here.raw("00700001")
    one, two = here.authenticate(), Terminal(here.card, 1).authenticate()
    left = segments(one.host.wrap(put_key()), 60)
    whole = put_key()
    right = segments(two.host.wrap(Command(0x81, 0xD8, 0x00, 0x81, b"\x31" + whole.data[1:], 0)), 60)
    answers = [here.exchange(part).sw for pair in zip(left, right, strict=True) for part in pair]
    assert set(answers) == {0x9000}
    assert here.initialize_update(kvn=0x31).sw == 0x9000


def test_more_than_an_extended_command_holds_is_6700() -> None:
    session = Terminal(element()).authenticate()
    part = Command(0x84, 0xD8, 0x80, 0x81, bytes(40_000), None, extended=True)
    assert session.terminal.exchange(part).sw == 0x9000
    assert session.terminal.exchange(part).sw == 0x6700


def test_without_authentication_no_segment_is_kept() -> None:
    here = Terminal(element())
    assert here(0x80, 0xE4, 0x80, 0x00, b"\xd2\x01").sw == 0x6982
    session = here.authenticate()
    session.put_keys(0x31, OWN)
    assert session(0x80, 0xE4, 0x00, 0x00, b"\x31").sw == 0x6A80
