"""Parity of DES keys, and the keys that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import TripleDesKey
from keywright.crypto.des_keys import _BAD, check_des_key, has_odd_parity, odd_parity
from keywright.crypto.single_des import DesKey
from keywright.errors import PolicyError

GOOD = bytes.fromhex("0123456789ABCDEF 23456789ABCDEF01 456789ABCDEF0123")


@given(st.binary(min_size=16, max_size=16))
def test_parity_is_odd_and_changes_neither_cipher_nor_check_value(key: bytes) -> None:
    fixed = odd_parity(key)
    assert has_odd_parity(fixed)
    assert all(byte.bit_count() % 2 for byte in fixed)
    assert [a & 0xFE for a in fixed] == [a & 0xFE for a in key]
    assert has_odd_parity(key) == (key == fixed)
    assert TripleDesKey(fixed).encrypt_blocks(b"12345678") == TripleDesKey(key).encrypt_blocks(b"12345678")
    assert TripleDesKey(fixed).kcv() == TripleDesKey(key).kcv()


def test_the_listed_keys_are_weak_or_undo_each_other() -> None:
    assert len(set(_BAD)) == 16
    block = b"12345678"
    for number, key in enumerate(_BAD):
        assert has_odd_parity(key)
        partner = key if number < 4 else _BAD[number ^ 1]
        assert DesKey(partner).encrypt_blocks(DesKey(key).encrypt_blocks(block)) == block


@pytest.mark.parametrize("bad", _BAD, ids=bytes.hex)
@pytest.mark.parametrize("at", [0, 8, 16])
def test_a_weak_part_is_refused_whatever_its_parity_bits(bad: bytes, at: int) -> None:
    for part in (bad, bytes(byte ^ 1 for byte in bad)):
        with pytest.raises(PolicyError, match="weak"):
            check_des_key(GOOD[:at] + part + GOOD[at + 8 :])


def test_equal_neighbours_are_refused_and_two_key_tdes_written_as_three_is_not() -> None:
    k1, k2, k3 = GOOD[:8], GOOD[8:16], GOOD[16:]
    for key in (k1 + k1, k1 + bytes(b ^ 1 for b in k1), k1 + k1 + k3, k1 + k2 + k2):
        with pytest.raises(PolicyError, match="single DES"):
            check_des_key(key)
    check_des_key(k1 + k2)
    check_des_key(k1 + k2 + k1)
    check_des_key(GOOD)
    with pytest.raises(ValueError, match="16 or 24"):
        check_des_key(k1)
