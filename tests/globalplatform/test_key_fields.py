"""Keys that somebody else encrypted are carried as our own are."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from keywright.crypto.aes import AesKey
from keywright.globalplatform.key_fields import WrappedKey, key_field, wrapped_field
from keywright.globalplatform.profile import PROFILES
from keywright.scp.scp03.keys import KeySet

DEK = KeySet.gp_test()


@pytest.mark.parametrize(("name", "size"), [*itertools.product(PROFILES, (16, 24, 32))])
def test_a_wrapped_key_is_carried_as_the_same_key_in_memory(name: str, size: int) -> None:
    profile, key = PROFILES[name], AesKey(bytes(range(size)))
    ciphertext = DEK.encrypt_sensitive(key.reveal() + bytes(-size % 16))
    wrapped = WrappedKey(size, ciphertext, key.kcv(profile.scp03.kcv))
    assert wrapped_field(wrapped, profile=profile).build() == key_field(key, DEK, profile=profile).build()


def test_a_key_that_was_padded_has_its_length_whatever_the_profile() -> None:
    bare = msgspec.structs.replace(PROFILES["default"], aes_inner_length=False)
    padded, whole = WrappedKey(24, bytes(32), bytes(3)), WrappedKey(32, bytes(32), bytes(3))
    assert wrapped_field(padded, profile=bare).parts[0].value == b"\x18" + bytes(32)
    assert wrapped_field(whole, profile=bare).parts[0].value == bytes(32)
