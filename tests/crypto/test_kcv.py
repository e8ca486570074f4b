"""Key check values: every rule, and never one rule's against another's."""

from __future__ import annotations

import itertools
import operator

import pytest

from keywright.crypto import AesKey, TripleDesKey
from keywright.crypto.kcv import VALUE_BYTES, Kcv, Rule, ceremony_check_value, identifier, key_check_value
from keywright.errors import DecodeError, PolicyError
from support.vectors import Case, load, unhex, vectors

KEY = bytes.fromhex("404142434445464748494A4B4C4D4E4F")
RULES = {"TDES zero": Rule.TDES_ZERO, "AES ones": Rule.AES_ONES, "AES zero": Rule.AES_ZERO, "AES cmac": Rule.AES_CMAC}


@vectors("factory/keys.json", "kcv")
def test_published_values(case: Case) -> None:
    raw = unhex(case["key"])
    rule = RULES[f"{case['alg']} {case['rule']}"]
    key = TripleDesKey(raw) if case["alg"] == "TDES" else AesKey(raw)
    value = key_check_value(key, rule)
    assert value == Kcv(rule, unhex(case["kcv"]))
    assert str(value) == f"{rule} {case['kcv']}"
    assert Kcv.parse(str(value)) == value


def test_the_published_values_are_of_all_rules_for_keys_and_differ() -> None:
    cases = load("factory/keys.json", "kcv")
    assert {f"{case['alg']} {case['rule']}" for case in cases} == set(RULES)
    same_key = [unhex(case["kcv"])[:3] for case in cases if unhex(case["key"]) == KEY]
    assert len(same_key) == len(set(same_key)) == 4


def test_no_value_has_more_bytes_than_its_rule_says() -> None:
    assert VALUE_BYTES == {"tdes-zero": 3, "aes-ones": 3, "aes-zero": 3, "aes-cmac": 5, "sha256-id": 8}
    for rule, size in VALUE_BYTES.items():
        for wrong in (size - 1, size + 1, 16):
            with pytest.raises(ValueError, match="has"):
                Kcv(rule, bytes(wrong))


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(Rule, 2)))
def test_values_of_two_rules_are_never_compared(a: Rule, b: Rule) -> None:
    one, other = Kcv(a, bytes(VALUE_BYTES[a])), Kcv(b, bytes(VALUE_BYTES[b]))
    with pytest.raises(PolicyError, match="cannot be compared"):
        one.is_same(other)
    for compare in (operator.eq, operator.ne):
        with pytest.raises(PolicyError, match="cannot be compared"):
            compare(one, other)


def test_values_of_one_rule_are_compared() -> None:
    one = ceremony_check_value(AesKey(KEY))
    assert one == ceremony_check_value(AesKey(KEY))
    assert one != ceremony_check_value(AesKey(bytes(16)))
    assert len({one, ceremony_check_value(AesKey(KEY))}) == 1
    assert one != KEY


def test_a_rule_is_for_keys_of_its_algorithm() -> None:
    for key, rule in (
        (TripleDesKey(KEY), Rule.AES_ZERO),
        (AesKey(KEY), Rule.TDES_ZERO),
        (AesKey(KEY), Rule.SHA256_ID),
    ):
        with pytest.raises(PolicyError, match="not a rule for"):
            key_check_value(key, rule)


def test_ceremonies_use_cmac_for_aes_and_zeros_for_tdes() -> None:
    assert ceremony_check_value(AesKey(KEY)).rule is Rule.AES_CMAC
    assert ceremony_check_value(TripleDesKey(KEY)) == ceremony_check_value(TripleDesKey(KEY + KEY[:8]))
    assert ceremony_check_value(TripleDesKey(KEY)).rule is Rule.TDES_ZERO


def test_an_identifier_is_of_label_and_content() -> None:
    value = identifier(b"hsm identity", b"spki")
    assert (value.rule, len(value.value)) == (Rule.SHA256_ID, 8)
    assert value != identifier(b"hsm identit", b"spki")


@pytest.mark.parametrize("text", ["", "aes-cmac", "6F2F9BE174", "cmac 6F2F9BE174", "aes-cmac 6F2F9B", "aes-cmac zz"])
def test_a_text_without_rule_or_value_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        Kcv.parse(text)
