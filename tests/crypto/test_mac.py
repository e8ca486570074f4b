"""HMAC and comparison."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import equal, hmac_tag, verify_hmac
from keywright.errors import AuthenticationError


@given(a=st.binary(max_size=20), b=st.binary(max_size=20))
def test_equal_is_equality(a: bytes, b: bytes) -> None:
    assert equal(a, b) is (a == b)
    assert equal(a, bytes(a)) is True


def test_equal_takes_the_same_time_for_every_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[bytes, bytes]] = []

    def recorded(a: bytes, b: bytes) -> bool:
        calls.append((a, b))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    assert not equal(b"1", b"2")
    assert calls == [(b"1", b"2")]


def test_hmac_is_that_of_rfc_4231_case_1() -> None:
    tag = hmac_tag(b"\x0b" * 20, b"Hi There")
    assert tag.hex() == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"


@given(key=st.binary(max_size=80), message=st.binary(max_size=80), size=st.integers(8, 32), bit=st.integers(0, 255))
def test_a_changed_or_shortened_tag_is_refused(key: bytes, message: bytes, size: int, bit: int) -> None:
    tag = hmac_tag(key, message)[:size]
    verify_hmac(tag, key, message, tag_bytes=size)
    flipped = int.from_bytes(tag) ^ 1 << bit % (8 * size)
    for wrong in (flipped.to_bytes(size), tag[:-1], tag + b"\0", b""):
        with pytest.raises(AuthenticationError, match=r"^HMAC not accepted$"):
            verify_hmac(wrong, key, message, tag_bytes=size)


@pytest.mark.parametrize("size", [0, 1, 7, 33])
def test_tags_of_other_sizes_are_not_checked(size: int) -> None:
    with pytest.raises(ValueError, match="tag of 8 to 32 bytes"):
        verify_hmac(hmac_tag(b"k", b"m")[:size], b"k", b"m", tag_bytes=size)
