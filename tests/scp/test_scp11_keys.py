"""The key schedule of SCP11 against another implementation of its derivation, and what it refuses."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from keywright.crypto.aes import AesKey
from keywright.errors import AuthenticationError
from keywright.scp.scp11.keys import Identifiers, derive, make_receipt, shared_info
from keywright.scp.scp11.messages import SCP11A, SCP11B, SCP11C
from keywright.scp.scp11.profile import Ecka, Profile

EPHEMERAL, STATIC = bytes(range(1, 67)), bytes(range(101, 167))
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("ecka", ["x", "sha1"])
def test_the_keys_follow_one_another_in_the_derivation(hash_name: str, size: int, ecka: Ecka) -> None:
    z = EPHEMERAL + STATIC
    if ecka == "sha1":
        z = b"".join(hashlib.sha1(x, usedforsecurity=False).digest() for x in (EPHEMERAL, STATIC))
    block = X963KDF(HASHES[hash_name], 5 * size, b"info").derive(z)
    found = derive(EPHEMERAL, STATIC, b"info", size, Profile(ecka=ecka, kdf_hash=hash_name))
    in_order = (found.receipt, found.session.enc, found.session.mac, found.session.rmac, found.dek.key)
    assert b"".join(key.reveal() for key in in_order) == block


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("ecka", ["x", "sha1"])
def test_an_agreement_that_gave_nothing_gives_no_keys(which: int, ecka: Ecka) -> None:
    shared = [EPHEMERAL, STATIC]
    shared[which] = bytes(66)
    with pytest.raises(AuthenticationError):
        derive(shared[0], shared[1], b"info", 16, Profile(ecka=ecka))


def test_identifiers_stand_after_their_lengths_each_with_its_variants() -> None:
    ids = Identifiers(b"host", b"sin", b"", b"group")
    lv, raw = Profile(), Profile(group_id="raw")
    for variant in (SCP11A, SCP11B, SCP11C):
        assert shared_info(variant, 0x34, 24, None, lv) == bytes.fromhex("348818")
    for variant in (SCP11A, SCP11B):
        for profile in (lv, raw):
            assert shared_info(variant, 0x3C, 16, ids, profile) == bytes.fromhex("3C8810") + b"\x04host\x03sin\x00"
    assert shared_info(SCP11C, 0x3C, 32, ids, lv) == bytes.fromhex("3C8820") + b"\x04host\x05group"
    assert shared_info(SCP11C, 0x3C, 32, ids, raw) == bytes.fromhex("3C8820") + b"\x04hostgroup"
    with pytest.raises(ValueError, match="255"):
        shared_info(SCP11A, 0x3C, 16, Identifiers(bytes(256)), lv)


def test_a_receipt_is_a_whole_mac_over_command_and_key() -> None:
    key = AesKey(bytes(range(16)))
    assert make_receipt(key, b"command", b"key") == key.cmac(b"commandkey")


def test_keys_do_not_show_themselves() -> None:
    found = derive(EPHEMERAL, STATIC, b"", 16, Profile())
    assert found.receipt.reveal().hex() not in repr(found)
    assert "S-DEK" in repr(found)
