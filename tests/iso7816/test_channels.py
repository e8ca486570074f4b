"""The class byte: both codings of the logical channel, and the bits around it."""

from __future__ import annotations

import itertools

import pytest

from keywright.iso7816.channels import (
    MAX_CHANNEL,
    channel_of,
    is_chained,
    is_gp,
    is_secured,
    is_valid,
    plain,
    secured,
    with_channel,
)

BASE = [0x00, 0x80, 0x04, 0x84, 0x10, 0x90, 0x14, 0x94]
"""Classes for channel 0: ISO and GlobalPlatform, plain and secured, last and chained."""

CODED = {
    (0x00, 0): 0x00,
    (0x00, 3): 0x03,
    (0x00, 4): 0x40,
    (0x00, 19): 0x4F,
    (0x80, 1): 0x81,
    (0x80, 4): 0xC0,
    (0x80, 19): 0xCF,
    (0x84, 0): 0x84,
    (0x84, 3): 0x87,
    (0x84, 4): 0xE0,
    (0x84, 19): 0xEF,
    (0x04, 4): 0x60,
    (0x0C, 2): 0x0E,
    (0x0C, 5): 0x61,
    (0x10, 4): 0x50,
    (0x94, 18): 0xFE,
    (0x90, 19): 0xDF,
}
"""(class for channel 0, channel) -> class byte, written down from GPCS 11.1.4."""


@pytest.mark.parametrize(("base", "channel"), CODED)
def test_a_class_is_moved_to_a_channel_as_the_standard_codes_it(base: int, channel: int) -> None:
    assert with_channel(base, channel) == CODED[base, channel]


@pytest.mark.parametrize(("base", "channel"), list(itertools.product(BASE, range(MAX_CHANNEL + 1))))
def test_channel_and_bits_come_back_from_every_class(base: int, channel: int) -> None:
    cla = with_channel(base, channel)
    assert channel_of(cla) == channel
    assert is_gp(cla) == bool(base & 0x80)
    assert is_secured(cla) == bool(base & 0x04)
    assert is_chained(cla) == bool(base & 0x10)
    assert channel_of(plain(cla)) == channel_of(secured(cla)) == channel
    assert plain(cla) == with_channel(base & 0x80, channel)
    assert is_secured(secured(cla))
    assert not is_secured(plain(cla))
    assert not is_chained(plain(cla))


@pytest.mark.parametrize("channel", [-1, 20, 255])
def test_there_are_no_other_channels(channel: int) -> None:
    with pytest.raises(ValueError, match="is not 0-19"):
        with_channel(0x80, channel)


def test_ff_and_the_reserved_range_are_no_class() -> None:
    no_class = {cla for cla in range(256) if not is_valid(cla)}
    assert no_class == {0xFF, *range(0x20, 0x40), *range(0xA0, 0xC0)}


def test_iso_secure_messaging_alone_is_not_globalplatforms() -> None:
    assert not is_secured(0x08)
    assert plain(0x0C) == 0x00
    assert plain(0x08) == 0x00
