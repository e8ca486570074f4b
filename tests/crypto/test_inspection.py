"""Certificates taken apart: what an extension says bit by bit, and bytes that are no certificate."""

from __future__ import annotations

import pytest
from cryptography import x509

from keywright.codec.ber import item, items
from keywright.crypto.inspection import USAGES, BasicConstraints, Extension, inspect_certificate
from keywright.errors import DecodeError
from support.mesh_pki import forge, key, root

GOOD = forge()


def fields() -> list[tuple[int, bytes]]:
    """What tbsCertificate of a good certificate has."""
    ((_, whole),) = items(GOOD)
    return items(items(whole)[0][1])


def built(parts: list[tuple[int, bytes]]) -> bytes:
    """A certificate of these fields, with a signature that is none of it."""
    ((_, whole),) = items(GOOD)
    _, algorithm, signature = (item(*part) for part in items(whole))
    return item(0x30, item(0x30, b"".join(item(*part) for part in parts)) + algorithm + signature)


def with_extension(oid: str, value: str) -> bytes:
    raw = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))
    return forge(basic=None, key_usage=None, more=((raw, False),))


def test_a_good_certificate_says_what_was_put_in() -> None:
    found = inspect_certificate(GOOD)
    assert (found.der, found.version, found.public_key) == (GOOD, 3, key("device").public)
    assert found.extensions["2.5.29.19"] == Extension(is_critical=True, value=bytes.fromhex("3000"))
    assert not found.extensions["2.5.29.15"].is_critical
    assert found.issuer == inspect_certificate(root().root).subject
    assert inspect_certificate(built(fields())) == found._replace(der=built(fields()))


@pytest.mark.parametrize("bit", range(9))
def test_each_bit_of_key_usage_has_its_name(bit: int) -> None:
    width = 2 if bit == 8 else 1
    bits = (0x8000 >> bit).to_bytes(2)[:width].hex()
    found = inspect_certificate(with_extension("2.5.29.15", f"03{width + 1:02x}{7 - bit % 8:02x}{bits}"))
    assert found.usage() == frozenset({USAGES[bit]})


def test_bits_that_are_unused_say_nothing() -> None:
    assert inspect_certificate(with_extension("2.5.29.15", "030203ff")).usage() == frozenset(USAGES[:5])
    assert inspect_certificate(with_extension("2.5.29.15", "030100")).usage() == frozenset()


@pytest.mark.parametrize("value", ["", "0300", "03020808", "0401ff", "030100030100", "0305"])
def test_a_key_usage_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(DecodeError):
        inspect_certificate(with_extension("2.5.29.15", value)).usage()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3000", BasicConstraints(is_ca=False, path_length=None)),
        ("30030101ff", BasicConstraints(is_ca=True, path_length=None)),
        ("3003010100", BasicConstraints(is_ca=False, path_length=None)),
        ("30060101ff020103", BasicConstraints(is_ca=True, path_length=3)),
        ("3003020105", BasicConstraints(is_ca=False, path_length=5)),
    ],
)
def test_basic_constraints_are_read_as_they_stand(value: str, expected: BasicConstraints) -> None:
    assert inspect_certificate(with_extension("2.5.29.19", value)).constraints() == expected


@pytest.mark.parametrize(
    "value", ["", "3002010c", "30030401ff", "3002 0200", "30060201030101ff", "3000 3000", "30040102ffff"]
)
def test_basic_constraints_with_something_else_are_refused(value: str) -> None:
    with pytest.raises(DecodeError):
        inspect_certificate(with_extension("2.5.29.19", value)).constraints()


def test_an_absent_extension_says_nothing() -> None:
    found = inspect_certificate(forge(basic=None, key_usage=None))
    assert found.usage() is None
    assert found.constraints() is None


def extension(content: str) -> tuple[int, bytes]:
    return 0xA3, item(0x30, bytes.fromhex(content))


BAD: dict[str, tuple[list[tuple[int, bytes]], str]] = {
    "an extension twice": ([*fields()[:-1], extension("3007 0603550403 0400" * 2)], r"an extension twice: 2\.5\.4\.3"),
    "an extension without value": ([*fields()[:-1], extension("3005 0603550403")], "an extension that is none"),
    "an extension that is a set": ([*fields()[:-1], extension("3107 0603550403 0400")], "an extension that is none"),
    "no object identifier": ([*fields()[:-1], extension("3005 0601 80 0400")], "object identifier that is none"),
    "an empty object identifier": ([*fields()[:-1], extension("3004 0600 0400")], "object identifier that is none"),
    "a field that there is not": ([*fields(), (0xA4, b"")], "a field A4"),
    "a field missing": (fields()[:5], "a field missing"),
    "no fields": ([], "a field missing"),
    "another algorithm inside": (
        [*fields()[:2], (0x30, bytes.fromhex("06082a8648ce3d040303")), *fields()[3:]],
        "two signature algorithms",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_certificate_that_is_none_is_refused_by_what_is_wrong(case: str) -> None:
    parts, why = BAD[case]
    with pytest.raises(DecodeError, match=why):
        inspect_certificate(built(parts))


def test_long_object_identifiers_are_read() -> None:
    assert "2.999.16384" in inspect_certificate(with_extension("2.999.16384", "0500")).extensions


def test_unique_identifiers_are_passed_over() -> None:
    """Nobody issues them any more; a certificate may have them (RFC 5280 4.1.2.8)."""
    parts = [*fields()[:-1], (0x81, b"\0\x01"), fields()[-1]]
    assert inspect_certificate(built(parts)).usage() == frozenset({"keyAgreement"})
