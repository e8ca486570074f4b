"""Triple DES with two and three keys."""

from __future__ import annotations

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import TripleDesKey
from support.vectors import Case, unhex, vectors

keys = st.sampled_from([16, 24]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
blocks = st.integers(0, 20).flatmap(lambda count: st.binary(min_size=8 * count, max_size=8 * count))
ivs = st.binary(min_size=8, max_size=8)


@vectors("scp/kcv.json")
def test_key_check_value_is_that_of_the_card_specification(case: Case) -> None:
    if case["type"] == "3des":
        assert TripleDesKey(unhex(case["key"])).kcv() == unhex(case["kcv"])


@vectors("factory/keys.json", "kcv")
def test_key_check_value_is_that_of_eight_zero_bytes(case: Case) -> None:
    if case["alg"] == "TDES":
        raw = unhex(case["key"])
        assert TripleDesKey(raw).kcv() == TripleDesKey(raw + raw[:8]).kcv() == unhex(case["kcv"])


@given(raw=keys, calls=st.lists(st.tuples(ivs, blocks), max_size=6))
def test_cbc_and_single_blocks_are_those_of_the_library(raw: bytes, calls: list[tuple[bytes, bytes]]) -> None:
    key, algorithm = TripleDesKey(raw), TripleDES(raw if len(raw) == 24 else raw + raw[:8])
    for iv, data in calls:
        sealed = Cipher(algorithm, modes.CBC(iv)).encryptor().update(data)
        assert key.encrypt_cbc(iv, data) == sealed
        assert key.decrypt_cbc(iv, sealed) == data
        assert key.decrypt_blocks(key.encrypt_blocks(data)) == data
        assert key.encrypt_blocks(data)[:8] == key.encrypt_cbc(bytes(8), data)[:8]


def test_parity_bits_do_not_matter() -> None:
    raw = bytes(range(16))
    assert TripleDesKey(raw).kcv() == TripleDesKey(bytes(octet ^ 1 for octet in raw)).kcv()


@pytest.mark.parametrize("size", [0, 8, 15, 17, 23, 25, 32])
def test_other_sizes_than_those_of_triple_des_are_refused_by_name(size: int) -> None:
    with pytest.raises(ValueError, match=f"KMC: a triple DES key has 16 or 24 bytes, not {size}"):
        TripleDesKey(bytes(size), "KMC")


@pytest.mark.parametrize("size", [1, 7, 9])
def test_incomplete_blocks_are_refused(size: int) -> None:
    key = TripleDesKey(bytes(range(16)))
    for operation in (key.encrypt_blocks, key.decrypt_blocks):
        with pytest.raises(ValueError, match="whole blocks"):
            operation(bytes(size))
    for chained in (key.encrypt_cbc, key.decrypt_cbc):
        with pytest.raises(ValueError, match="whole blocks"):
            chained(bytes(8), bytes(size))


@pytest.mark.parametrize("size", [0, 7, 16])
def test_an_iv_of_another_size_is_refused(size: int) -> None:
    key = TripleDesKey(bytes(range(16)))
    for operation in (key.encrypt_cbc, key.decrypt_cbc):
        with pytest.raises(ValueError):
            operation(bytes(size), bytes(8))


def raw_single(key: bytes, block: bytes) -> bytes:
    return Cipher(TripleDES(key * 3), modes.ECB()).encryptor().update(block)


messages = st.integers(1, 20).flatmap(lambda count: st.binary(min_size=8 * count, max_size=8 * count))


@given(raw=st.binary(min_size=16, max_size=16), calls=st.lists(st.tuples(ivs, messages), min_size=1, max_size=6))
def test_retail_mac_is_single_des_block_by_block_and_triple_des_at_the_end(
    raw: bytes, calls: list[tuple[bytes, bytes]]
) -> None:
    key = TripleDesKey(raw)
    for iv, message in calls:
        state = iv
        for at in range(0, len(message), 8):
            mixed = bytes(a ^ b for a, b in zip(state, message[at : at + 8], strict=True))
            last = at + 8 == len(message)
            state = key.encrypt_blocks(mixed) if last else raw_single(raw[:8], mixed)
        assert key.retail_mac(iv, message) == state
        assert key.encrypt_single(iv) == raw_single(raw[:8], iv)
        assert key.cbc_mac(iv, message) == key.encrypt_cbc(iv, message)[-8:]


def test_retail_mac_of_the_standard() -> None:
    """ISO/IEC 9797-1:2011 annex B, algorithm 3 with padding method 1: "Now is the time for all "."""
    key = TripleDesKey(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    assert key.retail_mac(bytes(8), b"Now is the time for all ").hex().upper() == "A1C72E74EA3FA9B6"


def test_a_mac_takes_whole_blocks_and_a_retail_mac_a_key_of_two_parts() -> None:
    two, three = TripleDesKey(bytes(16), "K-MAC"), TripleDesKey(bytes(24), "K-MAC")
    for mac in (two.retail_mac, two.cbc_mac):
        with pytest.raises(ValueError, match="pad first"):
            mac(bytes(8), b"")
        with pytest.raises(ValueError, match="whole blocks"):
            mac(bytes(8), bytes(9))
    with pytest.raises(ValueError, match="K-MAC: only a key of two parts"):
        three.retail_mac(bytes(8), bytes(8))
    with pytest.raises(ValueError, match="one block"):
        two.encrypt_single(bytes(16))
