"""What cards answer to content management, with and without a length around it, and nothing that is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.ber import length
from keywright.errors import DecodeError
from keywright.globalplatform.confirmation import Confirmation, read_confirmation

NOTHING = Confirmation()
DATA = bytes.fromhex("02000106494943494E")


@pytest.mark.parametrize("size", [8, 16, 112, 118, 119, 128, 256])
def test_a_receipt_is_read_with_and_without_a_length_around_it(size: int) -> None:
    told = Confirmation(bytes(range(256))[:size], DATA)
    assert read_confirmation(told.build()) == told
    assert read_confirmation(length(len(told.build())) + told.build()) == told


@pytest.mark.parametrize("data", ["", "00", "0100"])
def test_nothing_to_tell_is_nothing(data: str) -> None:
    assert read_confirmation(bytes.fromhex(data)) == NOTHING


@pytest.mark.parametrize("data", ["05AABB", "81", "84AA", "80AA", "0405AABBCC"])
def test_what_is_cut_short_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        read_confirmation(bytes.fromhex(data))


@given(st.binary(max_size=64))
def test_any_bytes_are_a_confirmation_or_refused(data: bytes) -> None:
    try:
        read_confirmation(data)
    except DecodeError:
        return
