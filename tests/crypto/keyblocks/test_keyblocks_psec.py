"""A second opinion on key blocks: what we wrap psec unwraps, and the other way round.

psec reads no version E, and has the length of a long optional block in bytes where the standard's own examples
(X9.143 8.5, 8.6) have it in characters; so neither is compared here, the examples are.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psec import tr31

from keywright.crypto import AesKey, TripleDesKey
from keywright.crypto.des_keys import odd_parity
from keywright.crypto.keyblocks import Expected, Header, Kbpk, OptionalBlock, unwrap, wrap

# psec takes triple DES from where the library had it before, and with keys of two parts.
pytestmark = pytest.mark.filterwarnings("ignore:TripleDES has been moved", "ignore:Two-key TripleDES")

SIZES = [("A", 16), ("A", 24), ("A", 32), ("T", 16), ("T", 24)]
OURS = [(kbpk, *key) for kbpk in (16, 24, 32) for key in SIZES if key[0] == "T" or key[1] <= kbpk]
THEIRS = [("D", *one) for one in OURS] + [
    (version, kbpk, *key) for version in "ABC" for kbpk in (16, 24) for key in SIZES if key[0] == "T" and key[1] <= kbpk
]
ASKED = Expected(usages=("B3",), algorithms=("A", "T"), versions=("A", "B", "C", "D"))
blocks = st.dictionaries(
    st.sampled_from(["LB", "KS", "TS", "Z9", "01"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
    | st.sampled_from([247, 248, 249, 250, 251]).map(lambda size: "L" * size),
    max_size=4,
)


def key_of(algorithm: str, size: int, label: int) -> bytes:
    raw = bytes((label + 37 * at) % 256 for at in range(size))
    return odd_parity(raw) if algorithm == "T" else raw


@pytest.mark.parametrize(("kbpk_bytes", "algorithm", "size"), OURS)
@settings(max_examples=20)
@given(optional=blocks)
def test_psec_unwraps_what_we_wrap(kbpk_bytes: int, algorithm: str, size: int, optional: dict[str, str]) -> None:
    raw, key = key_of("A", kbpk_bytes, 1), key_of(algorithm, size, 2)
    header = Header("D", "B3", algorithm, "X", "07", "E", tuple(OptionalBlock(*one) for one in optional.items()))
    text = wrap(Kbpk(AesKey(raw)), header, key, os.urandom)
    theirs, out = tr31.unwrap(raw, text)
    assert out == key
    assert (theirs.key_usage, theirs.algorithm, theirs.mode_of_use) == ("B3", algorithm, "X")
    assert (theirs.version_num, theirs.exportability) == ("07", "E")
    assert {name: data for name, data in theirs.blocks.items() if name != "PB"} == optional


@pytest.mark.parametrize(("version", "kbpk_bytes", "algorithm", "size"), THEIRS)
@settings(max_examples=20)
@given(optional=blocks)
def test_we_unwrap_what_psec_wraps(
    version: str, kbpk_bytes: int, algorithm: str, size: int, optional: dict[str, str]
) -> None:
    is_aes = version == "D"
    raw, key = key_of("A" if is_aes else "T", kbpk_bytes, 1), key_of(algorithm, size, 2)
    header = tr31.Header(version, "B3", algorithm, "X", "07", "E")
    for name, data in optional.items():
        header.blocks[name] = data
    text = tr31.wrap(raw, header, key)
    out = unwrap(Kbpk(AesKey(raw) if is_aes else TripleDesKey(raw)), text, ASKED)
    assert out.reveal() == key
    assert {block.id: block.data for block in out.header.blocks} == optional
