"""X25519 and Ed25519 beside what Wycheproof covers: public keys, signing, sizes."""

from __future__ import annotations

import pytest

from keywright.crypto import Ed25519Key, X25519Key, verify_ed25519
from keywright.errors import AuthenticationError


def test_x25519_public_key_is_that_of_rfc_7748_and_both_sides_agree() -> None:
    # RFC 7748 6.1, Bob.
    bob = X25519Key(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    alice = X25519Key(bytes(range(32)))
    assert alice.agree(bob.public) == bob.agree(alice.public)


def test_ed25519_is_the_signature_of_rfc_8032() -> None:
    # RFC 8032 7.1, test 1.
    key = Ed25519Key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = key.sign(b"")
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    verify_ed25519(key.public, signature, b"")
    for public, other, data in (
        (key.public, signature, b"x"),
        (key.public, signature[:-1], b""),
        (key.public[:-1], signature, b""),
        (Ed25519Key(bytes(32)).public, signature, b""),
    ):
        with pytest.raises(AuthenticationError, match=r"^signature not accepted$"):
            verify_ed25519(public, other, data)


@pytest.mark.parametrize("peer", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_public_key_of_another_size_or_of_low_order_is_refused(peer: bytes) -> None:
    with pytest.raises(AuthenticationError, match="not accepted for key agreement"):
        X25519Key(bytes(range(32))).agree(peer)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_other_sizes_than_32_bytes_are_refused_by_name(size: int) -> None:
    with pytest.raises(ValueError, match=f"one: an X25519 key has 32 bytes, not {size}"):
        X25519Key(bytes(size), "one")
    with pytest.raises(ValueError, match=f"two: an Ed25519 key has 32 bytes, not {size}"):
        Ed25519Key(bytes(size), "two")
