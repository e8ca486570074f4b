"""AES: check values, CMAC, and CBC under changing IVs on kept contexts."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import AesKey
from keywright.crypto.aes import cmac_subkeys
from support.vectors import Case, load, unhex, vectors

keys = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
blocks = st.integers(0, 20).flatmap(lambda count: st.binary(min_size=16 * count, max_size=16 * count))
ivs = st.binary(min_size=16, max_size=16)


@vectors("scp/kcv.json")
def test_key_check_value_is_that_of_the_card_specification(case: Case) -> None:
    if case["type"] == "aes":
        assert AesKey(unhex(case["key"])).kcv() == unhex(case["kcv"])


def test_both_kinds_of_check_value_are_in_the_files() -> None:
    assert {case["type"] for case in load("scp/kcv.json")} == {"aes", "3des"}


@given(raw=keys, calls=st.lists(st.tuples(st.booleans(), ivs, blocks), max_size=12))
def test_cbc_on_a_kept_context_is_cbc_on_a_fresh_one(raw: bytes, calls: list[tuple[bool, bytes, bytes]]) -> None:
    key = AesKey(raw)
    for encrypt, iv, data in calls:
        fresh = Cipher(algorithms.AES(raw), modes.CBC(iv))
        if encrypt:
            assert key.encrypt_cbc(iv, data) == fresh.encryptor().update(data)
        else:
            assert key.decrypt_cbc(iv, data) == fresh.decryptor().update(data)


@given(raw=keys, iv=ivs, data=blocks)
def test_cbc_and_single_blocks_decrypt_what_they_encrypt(raw: bytes, iv: bytes, data: bytes) -> None:
    key = AesKey(raw)
    assert key.decrypt_cbc(iv, key.encrypt_cbc(iv, data)) == data
    for some in (data, data[::-1]):
        assert key.decrypt_blocks(key.encrypt_blocks(some)) == some


@pytest.mark.parametrize(("iv_bytes", "data_bytes"), [(15, 16), (17, 16), (0, 16), (16, 15), (16, 17), (8, 0)])
def test_cbc_takes_whole_blocks_and_a_whole_iv(iv_bytes: int, data_bytes: int) -> None:
    key = AesKey(bytes(16))
    for operation in (key.encrypt_cbc, key.decrypt_cbc):
        with pytest.raises(ValueError, match="16 bytes and whole blocks"):
            operation(bytes(iv_bytes), bytes(data_bytes))
        fresh = Cipher(algorithms.AES(bytes(16)), modes.CBC(b"\x05" * 16))
        expected = (fresh.encryptor() if operation == key.encrypt_cbc else fresh.decryptor()).update(b"\x07" * 32)
        assert operation(b"\x05" * 16, b"\x07" * 32) == expected, "a refused call changes the chaining state"


@pytest.mark.parametrize("size", [1, 15, 17])
def test_single_blocks_come_whole_and_a_refused_call_leaves_nothing_behind(size: int) -> None:
    key = AesKey(bytes(16))
    for operation in (key.encrypt_blocks, key.decrypt_blocks):
        before = operation(bytes(16))
        with pytest.raises(ValueError, match="whole blocks of 16 bytes"):
            operation(bytes(size))
        assert operation(bytes(16)) == before


@pytest.mark.parametrize("size", [0, 15, 17, 31, 33])
def test_other_sizes_than_those_of_aes_are_refused_by_name(size: int) -> None:
    with pytest.raises(ValueError, match=f"K-ENC: an AES key has 16, 24 or 32 bytes, not {size}"):
        AesKey(bytes(size), "K-ENC")


@pytest.mark.parametrize(
    ("message", "mac"),
    [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
    ],
)
def test_cmac_is_that_of_rfc_4493(message: str, mac: str) -> None:
    key = AesKey(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    assert key.cmac(bytes.fromhex(message)).hex() == mac
    assert key.cmac(bytes.fromhex(message)).hex() == mac, "the kept context must not remember the first message"


def test_cmac_subkeys_are_those_of_rfc_4493() -> None:
    k1, k2 = cmac_subkeys(AesKey(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")))
    assert (k1.hex(), k2.hex()) == ("fbeed618357133667c85e08f7236a8de", "f7ddac306ae266ccf90bc11ee46d513b")


@given(raw=keys, message=ivs)
def test_cmac_of_one_block_is_the_block_cipher_of_it_and_the_first_subkey(raw: bytes, message: bytes) -> None:
    key, mac = AesKey(raw), CMAC(algorithms.AES(raw))
    mac.update(message)
    masked = int.from_bytes(message) ^ int.from_bytes(cmac_subkeys(key)[0])
    assert key.encrypt_blocks(masked.to_bytes(16)) == mac.finalize() == key.cmac(message)
