"""Sealed boxes: opened by one key, for one purpose, unaltered."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import X25519Key
from keywright.crypto.box import open_box, seal_box
from keywright.errors import AuthenticationError

OWN = X25519Key(bytes(range(32)))


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_what_was_sealed_comes_out(plaintext: bytes, purpose: bytes) -> None:
    box = seal_box(OWN.public, plaintext, purpose, os.urandom)
    assert open_box(OWN, box, purpose) == plaintext
    assert len(box) == 32 + len(plaintext) + 16
    with pytest.raises(AuthenticationError):
        open_box(X25519Key(os.urandom(32)), box, purpose)
    with pytest.raises(AuthenticationError):
        open_box(OWN, box, purpose + b"!")


def test_every_bit_and_byte_counts() -> None:
    box = seal_box(OWN.public, b"component", b"ceremony", os.urandom)
    for size in range(len(box)):
        with pytest.raises(AuthenticationError):
            open_box(OWN, box[:size], b"ceremony")
    # The top bit of a public key is not part of it (RFC 7748 5), but it is part of the derivation here.
    for at in range(len(box)):
        for bit in (0, 7):
            with pytest.raises(AuthenticationError):
                open_box(OWN, box[:at] + bytes((box[at] ^ 1 << bit,)) + box[at + 1 :], b"ceremony")


def test_no_two_boxes_are_alike_and_a_bad_key_is_refused() -> None:
    assert len({seal_box(OWN.public, b"x", b"", os.urandom) for _ in range(5)}) == 5
    with pytest.raises(AuthenticationError):
        seal_box(bytes(32), b"x", b"", os.urandom)
