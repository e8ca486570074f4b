"""The generator of the STS: its self-check, its counter, its named mappings."""

from __future__ import annotations

import numpy as np
import pytest

from keywright.crypto.aes import AesKey
from keywright.uwb.sts import MAPPINGS, SEGMENT_PULSES, Mapping, drbg, sts
from support.vectors import document, unhex

CHECK = document("digitalkey/uwb_sts_drbg_selfcheck.json")
KEY = AesKey(unhex(CHECK["sts_key"]), "dURSK")
V = unhex(CHECK["sts_v"])


def test_first_blocks_are_those_of_the_self_check() -> None:
    assert drbg(KEY, V, 2) == unhex(CHECK["first_256_bits"])


def test_a_bit_0_is_a_positive_pulse() -> None:
    bits = f"{int.from_bytes(unhex(CHECK['first_256_bits'])):0256b}"
    pulses = sts(KEY, V, 256)
    assert pulses.dtype == np.int8
    assert pulses.tolist() == [1 if bit == "0" else -1 for bit in bits]


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_sequence_begins_alike_whatever_its_length(name: str) -> None:
    whole = sts(KEY, V, mapping=MAPPINGS[name])
    assert whole.size == SEGMENT_PULSES
    assert set(whole.tolist()) == {1, -1}
    for pulses in (1, 127, 128, 129):
        assert (sts(KEY, V, pulses, MAPPINGS[name]) == whole[:pulses]).all()


def test_mappings_differ() -> None:
    assert len({drbg(KEY, V, 1, mapping) for mapping in MAPPINGS.values()}) == len(MAPPINGS) - 1
    assert len({drbg(KEY, V, 2, mapping) for mapping in MAPPINGS.values()}) == len(MAPPINGS)


@pytest.mark.parametrize("word", range(4))
def test_the_counter_wraps_within_its_word(word: int) -> None:
    v = bytearray(range(16))
    v[4 * word : 4 * word + 4] = b"\xff\xff\xff\xff"
    first, second = bytes(v), bytearray(v)
    second[4 * word : 4 * word + 4] = bytes(4)
    made = drbg(KEY, first, 2, Mapping(counter_word=word))
    assert made == KEY.encrypt_blocks(first + bytes(second))


def test_registers_read_both_from_the_other_end() -> None:
    made = drbg(KEY, V, 2, MAPPINGS["registers-reversed"])
    count = int.from_bytes(V[:4], "little")
    blocks = [V[:3:-1] + (count + n).to_bytes(4) for n in range(2)]
    assert made == AesKey(KEY.reveal()[::-1]).encrypt_blocks(b"".join(blocks))


@pytest.mark.parametrize(("key_bytes", "v_bytes"), [(32, 16), (16, 15), (16, 17)])
def test_sizes_are_fixed(key_bytes: int, v_bytes: int) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        drbg(AesKey(bytes(key_bytes)), bytes(v_bytes), 1)
