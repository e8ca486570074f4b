"""What a trace may not show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.globalplatform.messages import build_dgi
from keywright.globalplatform.redaction import Redactor, is_secret, masked
from keywright.iso7816.apdu import Command

SECRET = bytes.fromhex("00112233445566778899AABBCCDDEEFF")


@pytest.mark.parametrize(
    "command",
    [
        Command(0x80, 0xD8, 0, 0x81, SECRET, 0),
        Command(0x84, 0xD8, 0, 0x81, SECRET + bytes(8), 0),
        Command(0x00, 0x20, 0, 0x80, SECRET),
        Command(0x00, 0x21, 0, 0x80, SECRET),
        Command(0x00, 0x24, 0, 0x80, SECRET),
        Command(0x00, 0x2C, 0, 0x80, SECRET),
        Command(0x80, 0xE2, 0x88, 0, build_dgi(((0x8113, SECRET),))),
        Command(0x84, 0xE2, 0x88, 0, build_dgi(((0x8113, SECRET),)) + bytes(8)),
        Command(0x80, 0xE2, 0x88, 0, build_dgi(((0xDF01, b"north"), (0x8010, SECRET)))),
        Command(0x80, 0xE2, 0x08, 0, build_dgi(((0x8113, SECRET * 20),))[:200]),
        Command(0x80, 0xE2, 0xE0, 0, SECRET),
        Command(0x80, 0xD8, 0, 0x81, SECRET, 0, True),
    ],
)
def test_what_may_hold_keys_is_masked_and_keeps_its_shape(command: Command) -> None:
    raw = command.encode()
    hidden = masked(raw)
    assert is_secret(command)
    assert SECRET not in hidden
    assert len(hidden) == len(raw)
    assert hidden[:4] == raw[:4]


@pytest.mark.parametrize(
    "command",
    [
        Command(0x00, 0xA4, 4, 0, SECRET, 0),
        Command(0x80, 0xE2, 0x88, 0, build_dgi(((0xDF01, SECRET),))),
        Command(0x80, 0x50, 0, 0, SECRET[:8], 0),
        Command(0x80, 0xD8, 0, 0x81),
        Command(0x80, 0xCA, 0x00, 0x66, b"", 0),
    ],
)
def test_everything_else_stays(command: Command) -> None:
    assert masked(command.encode()) == command.encode()


@given(st.binary(max_size=300))
def test_any_bytes_are_masked_or_left(raw: bytes) -> None:
    assert len(masked(raw)) == len(raw)


@given(st.binary(max_size=40))
def test_masking_twice_is_masking_once(data: bytes) -> None:
    raw = Command(0x80, 0xD8, 0, 0x81, data).encode()
    assert masked(masked(raw)) == masked(raw)


@pytest.mark.parametrize("ins", [0xD8, 0x20, 0xE2])
def test_a_command_whose_lengths_do_not_fit_shows_no_key_either(ins: int) -> None:
    raw = bytes((0x80, ins, 0, 0x81, 99)) + SECRET
    assert masked(raw) == raw[:5] + bytes(16)
    assert Redactor().masked(raw) == raw[:5] + bytes(16)


# ---- along an exchange


def shown(*commands: Command) -> list[bool]:
    """Of every command of an exchange, whether a recording shows it as it was."""
    card = Redactor()
    return [card.masked(command.encode()) == command.encode() for command in commands]


GROUP = build_dgi(((0x8113, SECRET * 20),))
PLAIN = build_dgi(((0xDF01, b"north"),))


def test_a_key_group_that_goes_on_in_further_blocks_is_masked_to_its_end() -> None:
    blocks = [Command(0x80, 0xE2, 0x08, 0, GROUP[:200]), Command(0x80, 0xE2, 0x88, 1, GROUP[200:])]
    assert shown(*blocks, Command(0x80, 0xE2, 0x88, 0, PLAIN)) == [False, False, True]


def test_the_blocks_of_another_channel_are_not_masked_with_them() -> None:
    assert shown(Command(0x80, 0xE2, 0x08, 0, GROUP[:200]), Command(0x81, 0xE2, 0x88, 0, PLAIN)) == [False, True]


def test_the_parts_of_a_chained_command_share_its_fate() -> None:
    parts = [Command(0x90, 0xE2, 0x88, 0, GROUP[:200]), Command(0x80, 0xE2, 0x88, 0, GROUP[200:])]
    assert shown(*parts, Command(0x80, 0xE2, 0x88, 0, PLAIN)) == [False, False, True]
    assert shown(Command(0x90, 0xD8, 0, 0x81, SECRET), Command(0x80, 0xD8, 0, 0x81, SECRET)) == [False, False]


@pytest.mark.parametrize(("level", "visible"), [(0x01, True), (0x11, True), (0x03, False), (0x33, False)])
def test_store_data_that_nobody_can_read_is_masked(level: int, visible: bool) -> None:  # noqa: FBT001 - a case
    authenticate = Command(0x84, 0x82, level, 0, bytes(16))
    stored = Command(0x84, 0xE2, 0x88, 0, PLAIN + bytes(8))
    assert shown(authenticate, stored) == [True, visible]
    assert shown(stored) == [False]
    assert shown(authenticate, Command(0x00, 0xA4, 4, 0), stored) == [True, True, False]


def test_a_packet_that_travels_in_an_envelope_is_masked() -> None:
    packet = Command(0x80, 0xC2, 0, 0, b"\xd1\x10" + SECRET)
    assert shown(packet, Command(0x81, 0xC2, 0, 0, SECRET[:4])) == [False, False]
    assert shown(*(Command(0x80, 0xC2, 0, 0, bytes((tag, 2)) + SECRET[:2]) for tag in (0xD3, 0xD4, 0xD6, 0xD7))) == (
        [True] * 4
    )
    assert Redactor().masked(bytes.fromhex("80C20000FF0102")) == bytes.fromhex("80C20000FF0000")


def test_a_session_by_certificates_is_taken_for_an_encrypting_one() -> None:
    agreed = Command(0x80, 0x82, 0x01, 0x11, bytes(16))
    stored = Command(0x84, 0xE2, 0x88, 0, PLAIN + bytes(8))
    assert shown(Command(0x84, 0x82, 1, 0, bytes(16)), agreed, stored) == [True, True, False]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_exchange_keeps_its_lengths_and_headers(commands: list[bytes]) -> None:
    card = Redactor()
    for raw in commands:
        hidden = card.masked(raw)
        assert len(hidden) == len(raw)
        assert hidden[:5] == raw[:5]
    card.reset()
