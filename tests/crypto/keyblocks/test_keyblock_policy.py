"""The rules for key blocks, each table gone through whole."""

from __future__ import annotations

import itertools

import pytest

from keywright.crypto.keyblocks import Header, check_not_widened, check_strength, check_writable, strength
from keywright.crypto.keyblocks.header import ALGORITHMS, EXPORTABILITY, MODES, USAGES
from keywright.crypto.keyblocks.policy import RULES
from keywright.errors import PolicyError


def is_refused(check: object, *arguments: object) -> bool:
    assert callable(check)
    try:
        check(*arguments)
    except PolicyError:
        return True
    return False


def test_every_usage_with_words_has_rules() -> None:
    assert set(RULES) == set(USAGES)
    for algorithms, modes in RULES.values():
        assert set(algorithms) <= set(ALGORITHMS)
        assert set(modes) <= set(MODES) - {"N"}


def test_only_the_listed_algorithms_and_modes_of_a_usage_are_written() -> None:
    written = {
        (usage, algorithm, mode)
        for usage, algorithm, mode in itertools.product(USAGES, ALGORITHMS, MODES)
        if not is_refused(check_writable, Header("D", usage, algorithm, mode))
    }
    listed = {(usage, a, m) for usage, (algorithms, modes) in RULES.items() for a in algorithms for m in modes + "N"}
    assert written == listed
    # What must never be, spelled out.
    assert ("K1", "A", "X") not in written
    assert ("E5", "A", "B") not in written
    assert ("M6", "A", "D") not in written
    with pytest.raises(PolicyError, match="no rules for key usage"):
        check_writable(Header("D", "99", "A", "N"))


STRENGTHS = [
    ("D", 64, 0),
    ("T", 128, 80),
    ("T", 192, 112),
    ("A", 128, 128),
    ("A", 192, 192),
    ("A", 256, 256),
    ("A", 100, 0),
    ("R", 1024, 0),
    ("R", 2048, 112),
    ("R", 3072, 128),
    ("R", 7680, 192),
    ("R", 15360, 256),
    ("S", 3072, 128),
    ("E", 160, 0),
    ("E", 256, 128),
    ("E", 384, 192),
    ("E", 521, 256),
    ("H", 160, 160),
    ("H", 512, 256),
]


@pytest.mark.parametrize(("algorithm", "bits", "value"), STRENGTHS)
def test_strengths_are_those_of_the_table(algorithm: str, bits: int, value: int) -> None:
    assert strength(algorithm, bits) == value


def test_a_key_is_carried_by_none_weaker() -> None:
    for (a, a_bits, over), (b, b_bits, under) in itertools.product(STRENGTHS, STRENGTHS):
        assert is_refused(check_strength, (a, a_bits), (b, b_bits)) == (over < under)
    # The lattice in words: AES-128 carries any TDES; AES-256 only its likes and RSA-15360, EC-521.
    assert not is_refused(check_strength, ("A", 128), ("T", 192))
    assert is_refused(check_strength, ("T", 192), ("A", 128))
    carriers = {(a, bits) for a, bits, _ in STRENGTHS if not is_refused(check_strength, (a, bits), ("A", 256))}
    assert carriers == {("A", 256), ("R", 15360), ("E", 521), ("H", 512)}


def test_mode_is_never_widened() -> None:
    held = {mode: Header("D", "S2", "R", mode, exportability="E") for mode in MODES}
    allowed = {(a, b) for a in MODES for b in MODES if not is_refused(check_not_widened, held[b], held[a])}
    same = {(mode, mode) for mode in MODES}
    narrower = {("B", "D"), ("B", "E"), ("C", "G"), ("C", "V"), ("T", "S"), ("T", "D")}
    assert allowed == same | narrower | {("N", mode) for mode in MODES}


def test_exportability_is_never_widened_and_n_never_leaves() -> None:
    held = {one: Header("D", "E5", "A", "X", exportability=one) for one in EXPORTABILITY}
    allowed = {(a, b) for a in held for b in held if not is_refused(check_not_widened, held[b], held[a])}
    assert allowed == {("E", "E"), ("E", "N"), ("S", "S"), ("S", "E"), ("S", "N")}


def test_usage_algorithm_and_kind_stay() -> None:
    held = Header("D", "E5", "A", "X", exportability="E")
    for other in (
        Header("D", "B3", "A", "X", exportability="E"),
        Header("D", "E5", "T", "X", exportability="E"),
        Header("D", "E5", "A", "X", "c1", "E"),
    ):
        with pytest.raises(PolicyError):
            check_not_widened(other, held)
    check_not_widened(Header("E", "E5", "A", "X", "07", "E"), held)
