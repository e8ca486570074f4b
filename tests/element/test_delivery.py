"""How answers leave: Le, 61xx, 6Cxx and GET RESPONSE; and how chained commands come in."""

from __future__ import annotations

import pytest

from keywright.iso7816.apdu import Command
from support.cards import ECHO_AID, EchoApplet, Terminal, element

T0 = bytes.fromhex("3B00")


def terminal(atr: bytes | None = None) -> Terminal:
    parameters = {} if atr is None else {"atr": atr}
    here = Terminal(element(applets=[EchoApplet()], **parameters))
    here.select(ECHO_AID)
    here.raw("00C0000000")
    return here


def give(size: int, le: int | None, *, extended: bool = False, data: bytes = b"") -> bytes:
    """A command that the echo applet answers with `size` zeros."""
    return Command(0x80, 0x18, size >> 8, size & 0xFF, data, le, extended).encode()


class TestWholeApdus:
    """An element whose ATR offers T=1."""

    @pytest.mark.parametrize("le", [None, 0, 7, 200])
    def test_an_answer_that_fits_le_comes_at_once(self, le: int | None) -> None:
        assert terminal().raw(give(7, le)) == bytes(7) + b"\x90\x00"

    def test_256_bytes_fit_a_short_le_of_00(self) -> None:
        assert terminal().raw(give(256, 0)) == bytes(256) + b"\x90\x00"

    def test_more_than_256_bytes_come_in_pieces(self) -> None:
        here = terminal()
        assert here.raw(give(600, 0)) == bytes(256) + b"\x61\x00"
        assert here.raw("00C0000000") == bytes(256) + b"\x61\x58"
        assert here.raw("00C0000058") == bytes(88) + b"\x90\x00"
        assert here.raw("00C0000000").hex() == "6985"

    @pytest.mark.parametrize("get_response", ["00C00000", "00C0000000", "80C0000000", "84C0000000", "04C0000000"])
    def test_get_response_comes_with_any_class_of_the_channel_and_with_or_without_le(self, get_response: str) -> None:
        here = terminal()
        here.raw(give(300, 0))
        assert here.raw(get_response) == bytes(44) + b"\x90\x00"

    def test_get_response_may_ask_for_less_or_more_than_there_is(self) -> None:
        here = terminal()
        here.raw(give(300, 0))
        assert here.raw("00C0000004") == bytes(4) + b"\x61\x28"
        assert here.raw("00C00000FF") == bytes(40) + b"\x90\x00"

    def test_an_extended_le_takes_what_a_short_one_cannot(self) -> None:
        assert terminal().raw(give(5000, 0, extended=True)) == bytes(5000) + b"\x90\x00"
        assert terminal().raw(give(300, 299, extended=True)) == bytes(299) + b"\x61\x01"
        assert terminal().raw(give(0xFFFF, None, extended=True, data=b"x")) == bytes(0xFFFF) + b"\x90\x00"

    def test_too_small_a_le_is_6cxx_and_the_repeat_does_not_run_the_command_again(self) -> None:
        here = terminal()
        ram = Command(0x80, 0x17, 0, 0, b"", 0).encode()
        assert here.raw(ram).hex() == "019000"
        here.raw(give(9, 3))
        assert here.raw(give(9, 3)).hex() == "6c09"
        assert here.raw(give(9, 9)) == bytes(9) + b"\x90\x00"
        assert here.raw("0070000001").hex() == "019000"
        assert here.raw(give(256, 3)).hex() == "6c00"
        assert here.raw(give(256, 0)) == bytes(256) + b"\x90\x00"

    def test_a_case_4_command_with_too_small_a_le_gets_61xx(self) -> None:
        here = terminal()
        assert here.raw(give(9, 3, data=b"x")) == bytes(3) + b"\x61\x06"
        assert here.raw("00C0000006") == bytes(6) + b"\x90\x00"

    def test_any_other_command_drops_what_waits(self) -> None:
        here = terminal()
        here.raw(give(300, 0))
        here.raw(give(1, 0))
        assert here.raw("00C0000000").hex() == "6985"

    def test_what_waits_belongs_to_its_channel(self) -> None:
        here = terminal()
        here.raw("00700001")
        here.raw(give(300, 0))
        assert here.raw("01C0000000").hex() == "6985"
        assert here.raw("00C0000000") == bytes(44) + b"\x90\x00"

    def test_get_response_after_6cxx_is_6985(self) -> None:
        here = terminal()
        here.raw(give(9, 3))
        assert here.raw("00C0000009").hex() == "6985"


class TestT0:
    """An element whose ATR names T=0 alone."""

    @pytest.mark.parametrize("le", [None, 0, 5])
    def test_the_answer_to_a_case_4_command_waits_for_get_response(self, le: int | None) -> None:
        here = terminal(T0)
        assert here.raw(give(5, le, data=b"x")).hex() == "6105"
        assert here.raw("00C0000005") == bytes(5) + b"\x90\x00"

    def test_get_response_for_more_than_there_is_is_6cxx(self) -> None:
        here = terminal(T0)
        here.raw(give(5, None, data=b"x"))
        assert here.raw("00C0000009").hex() == "6c05"
        assert here.raw("00C0000005") == bytes(5) + b"\x90\x00"

    @pytest.mark.parametrize("le", [0, 4, 6, 255])
    def test_a_le_that_is_not_exact_is_6cxx_and_the_command_runs_once(self, le: int) -> None:
        here = terminal(T0)
        assert here.raw(give(5, le)).hex() == "6c05"
        assert here.raw(give(5, 5)) == bytes(5) + b"\x90\x00"

    def test_opening_a_channel_with_a_wrong_le_opens_one_channel(self) -> None:
        here = terminal(T0)
        assert here.raw("0070000000").hex() == "6c01"
        assert here.raw("0070000001").hex() == "019000"
        assert here.raw("0070000001").hex() == "029000"

    def test_an_exact_le_gets_the_answer(self) -> None:
        here = terminal(T0)
        assert here.raw(give(5, 5)) == bytes(5) + b"\x90\x00"
        assert here.raw(give(256, 0)) == bytes(256) + b"\x90\x00"
        assert here.raw(give(300, 0)) == bytes(256) + b"\x61\x2c"

    def test_a_secure_session_works_through_get_response(self) -> None:
        here = Terminal(element(atr=T0))
        assert here.raw("8050000008010203040506070800").hex() == "6120"
        here.card.reset()
        assert len(here.raw("8050000008010203040506070800") + here.raw("00C0000020")) == 36

    def test_a_status_alone_comes_at_once(self) -> None:
        here = terminal(T0)
        assert here.raw("80150000").hex() == "9000"
        assert here.raw("80FF0000").hex() == "6d00"

    def test_who_asks_after_9000_to_a_command_with_data_hears_once_that_there_is_nothing(self) -> None:
        here = terminal(T0)
        assert here.raw(give(0, None, data=b"x")).hex() == "9000"
        assert here.raw("00C0000000").hex() == "9000"
        assert here.raw("00C0000000").hex() == "6985"

    @pytest.mark.parametrize("between", ["80150000", "80FF0000", "80FF0000011100", "0070800100"])
    def test_any_command_between_ends_that(self, between: str) -> None:
        here = terminal(T0)
        here.raw(give(0, None, data=b"x"))
        here.raw(between)
        assert here.raw("00C0000000").hex() == "6985"

    def test_on_another_card_there_is_nothing_to_ask_for(self) -> None:
        here = terminal()
        assert here.raw(give(0, None, data=b"x")).hex() == "9000"
        assert here.raw("00C0000000").hex() == "6985"


class TestChaining:
    def test_the_parts_are_handled_as_one_command(self) -> None:
        here = terminal()
        assert here.raw("9010000002AABB").hex() == "9000"
        assert here.raw("9010000001CC").hex() == "9000"
        assert here.raw("8010000001DD00").hex() == "80aabbccdd9000"

    def test_the_answer_is_as_long_as_the_last_part_asked_for(self) -> None:
        here = terminal()
        part = Command(0x90, 0x10, 0, 0, bytes(200)).encode()
        assert here.raw(part).hex() == "9000"
        assert here.raw(Command(0x80, 0x10, 0, 0, bytes(200), 0).encode()) == b"\x80" + bytes(255) + b"\x61\x91"
        assert here.raw("00C0000000") == bytes(145) + b"\x90\x00"

    @pytest.mark.parametrize(
        "other", ["8010000101DD", "8010010001DD", "8011000001DD", "0010000001DD", "80C00000", "00A4040000"]
    )
    def test_another_command_in_a_chain_is_6883_and_drops_it(self, other: str) -> None:
        here = terminal()
        here.raw("9010000002AABB")
        assert here.raw(other).hex() == "6883"
        assert here.raw("8010000001DD").hex() == "80dd9000"

    def test_a_chain_longer_than_an_extended_command_is_6700(self) -> None:
        here = terminal()
        part = Command(0x90, 0x10, 0, 0, bytes(40_000)[:40_000], None, extended=True).encode()
        assert here.raw(part).hex() == "9000"
        assert here.raw(part).hex() == "6700"
        assert here.raw("8010000001DD").hex() == "80dd9000"

    def test_chains_of_two_channels_do_not_mix(self) -> None:
        here = terminal()
        here.raw("00700001")
        Terminal(here.card, 1).select(ECHO_AID)
        here.raw("9010000001AA")
        here.raw("9110000001BB")
        assert here.raw("8010000001CC").hex() == "80aacc9000"
        assert here.raw("8110000001DD").hex() == "80bbdd9000"

    @pytest.mark.parametrize("size", [10, 255, 256, 1000])
    def test_a_secured_command_is_protected_whole_and_chained_below(self, size: int) -> None:
        here = terminal()
        session = here.authenticate()
        whole = session.host.wrap(Command(0x80, 0x10, 0, 0, bytes(size), 0, extended=size > 230))
        parts = [whole.data[at : at + 200] for at in range(0, len(whole.data), 200)]
        for part in parts[:-1]:
            assert here.exchange(Command(0x94, 0x10, 0, 0, part)).sw == 0x9000
        answer = here.exchange(Command(0x84, 0x10, 0, 0, parts[-1], 0, extended=True))
        assert answer.sw == (0x9000 if size > 230 or len(parts) > 1 else 0x6982)
