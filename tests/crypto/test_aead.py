"""Sealing: what changes is refused, and with one text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import AesKey, SivKey, open_gcm, seal_gcm
from keywright.errors import AuthenticationError

data = st.binary(max_size=50)
NONCE = bytes(range(12))


@given(raw=st.sampled_from([16, 24, 32]).map(bytes), plain=data, associated=data, bit=st.integers(0))
def test_gcm_opens_what_it_sealed_and_nothing_else(raw: bytes, plain: bytes, associated: bytes, bit: int) -> None:
    key = AesKey(raw)
    sealed = seal_gcm(key, NONCE, plain, associated)
    assert len(sealed) == len(plain) + 16
    assert open_gcm(key, NONCE, sealed, associated) == plain
    flipped = (int.from_bytes(sealed) ^ 1 << bit % (8 * len(sealed))).to_bytes(len(sealed))
    refused = [(NONCE, flipped, associated), (NONCE, sealed, associated + b"x"), (bytes(12), sealed, associated)]
    for nonce, bytes_, other in refused:
        with pytest.raises(AuthenticationError, match=r"^sealed data not accepted$"):
            open_gcm(key, nonce, bytes_, other)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_less_than_a_tag_is_refused(size: int) -> None:
    with pytest.raises(AuthenticationError, match=r"^sealed data not accepted$"):
        open_gcm(AesKey(bytes(16)), NONCE, bytes(size))
    with pytest.raises(AuthenticationError, match=r"^sealed data not accepted$"):
        SivKey(bytes(32)).open(bytes(size))


@pytest.mark.parametrize("size", [0, 8, 11, 13, 16])
def test_gcm_takes_nonces_of_twelve_bytes_only(size: int) -> None:
    with pytest.raises(ValueError, match=f"nonce of 12 bytes here, not {size}"):
        seal_gcm(AesKey(bytes(16)), bytes(size), b"")
    with pytest.raises(ValueError, match=f"nonce of 12 bytes here, not {size}"):
        open_gcm(AesKey(bytes(16)), bytes(size), bytes(16))


@given(raw=st.sampled_from([32, 48, 64]).map(bytes), plain=data, associated=st.lists(data, max_size=4))
def test_siv_is_repeatable_and_keeps_associated_strings_apart(
    raw: bytes, plain: bytes, associated: list[bytes]
) -> None:
    key = SivKey(raw)
    sealed = key.seal(plain, associated)
    assert sealed == key.seal(plain, tuple(associated))
    assert key.open(sealed, associated) == plain
    with pytest.raises(AuthenticationError, match=r"^sealed data not accepted$"):
        key.open(sealed, [*associated, b""])


@pytest.mark.parametrize("size", [0, 16, 31, 33, 63, 65])
def test_other_sizes_than_those_of_siv_are_refused_by_name(size: int) -> None:
    with pytest.raises(ValueError, match=f"seal: an AES-SIV key has 32, 48 or 64 bytes, not {size}"):
        SivKey(bytes(size), "seal")
