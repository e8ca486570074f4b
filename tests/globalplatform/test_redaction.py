"""What a trace may not show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.globalplatform.messages import build_dgi
from keywright.globalplatform.redaction import is_secret, masked
from keywright.iso7816.apdu import Command

SECRET = bytes.fromhex("00112233445566778899AABBCCDDEEFF")


@pytest.mark.parametrize(
    "command",
    [
        Command(0x80, 0xD8, 0, 0x81, SECRET, 0),
        Command(0x84, 0xD8, 0, 0x81, SECRET + bytes(8), 0),
        Command(0x00, 0x20, 0, 0x80, SECRET),
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
