"""Chains of certificates: what each link says, what issues it, and what is not accepted."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.chains import (
    ChainCertificate,
    issue_certificate,
    key_identifier,
    read_certificate,
    verify_with_issuer,
    verify_with_key,
)
from keywright.crypto.ec import CURVES, EcPrivateKey
from keywright.errors import AuthenticationError, DecodeError

VALIDITY = (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2046, 1, 1, tzinfo=dt.UTC))
POLICIES = ("1.2.840.114283.100.0.10.2.1.20", "1.2.3")
ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (EcPrivateKey.from_scalar("P-256", bytes((n,)) * 32) for n in (1, 2, 3))


def issued(
    key: EcPrivateKey = ROOT_KEY, issuer: ChainCertificate | None = None, of: EcPrivateKey | None = None, **changes: Any
) -> ChainCertificate:
    values: dict[str, Any] = {"subject": "name", "serial_number": 5, "validity": VALIDITY} | changes
    return read_certificate(issue_certificate(key, issuer, public_key=(of or key).public, **values))


ROOT = issued(path_length=1, policies=POLICIES, subject="root")
MIDDLE = issued(ROOT_KEY, ROOT, MIDDLE_KEY, path_length=0, subject="middle", serial_number=2**100)
LEAF = issued(MIDDLE_KEY, MIDDLE, LEAF_KEY, subject="leaf")


def test_a_certificate_says_what_it_was_issued_with() -> None:
    assert (ROOT.may_sign, ROOT.may_agree, ROOT.path_length, ROOT.policies) == (True, False, 1, POLICIES)
    assert (MIDDLE.may_sign, MIDDLE.may_agree, MIDDLE.path_length, MIDDLE.policies) == (True, False, 0, ())
    assert (LEAF.may_sign, LEAF.may_agree, LEAF.path_length) == (False, True, None)
    assert (MIDDLE.serial_number, LEAF.serial_number) == (2**100, 5)
    assert (LEAF.valid_from, LEAF.valid_until) == ("20260101", "20460101")
    assert LEAF.public_key == LEAF_KEY.public
    assert ROOT.issuer == ROOT.subject == MIDDLE.issuer != MIDDLE.subject == LEAF.issuer


def test_key_identifiers_link_a_chain() -> None:
    assert ROOT.authority_key_id == ROOT.subject_key_id == key_identifier(ROOT_KEY.public)
    assert MIDDLE.authority_key_id == ROOT.subject_key_id
    assert LEAF.authority_key_id == MIDDLE.subject_key_id
    assert len(ROOT.subject_key_id) == 20


@pytest.mark.parametrize("curve", CURVES)
def test_keys_of_every_curve_issue_and_are_verified(curve: str) -> None:
    key = EcPrivateKey.from_scalar(curve, b"\x07" * 20)
    root = issued(key, path_length=0)
    leaf = issued(key, root, LEAF_KEY)
    for certificate in (root, leaf):
        verify_with_key(certificate, key.public)
        verify_with_issuer(certificate, root)


def test_a_link_is_verified_by_its_issuer_and_by_nothing_else() -> None:
    for certificate, key, issuer in ((ROOT, ROOT_KEY, ROOT), (MIDDLE, ROOT_KEY, ROOT), (LEAF, MIDDLE_KEY, MIDDLE)):
        verify_with_key(certificate, key.public)
        verify_with_issuer(certificate, issuer)
    other_curve = EcPrivateKey.from_scalar("P-384", b"\x01" * 32)
    for certificate, wrong in ((LEAF, ROOT_KEY), (MIDDLE, MIDDLE_KEY), (ROOT, LEAF_KEY), (LEAF, other_curve)):
        with pytest.raises(AuthenticationError):
            verify_with_key(certificate, wrong.public)
    for certificate, above in ((LEAF, ROOT), (MIDDLE, MIDDLE), (LEAF, LEAF)):
        with pytest.raises(AuthenticationError):
            verify_with_issuer(certificate, above)


def test_who_may_not_issue_is_no_issuer() -> None:
    agreeing = issued(MIDDLE_KEY, ROOT, MIDDLE_KEY, subject="middle")
    with pytest.raises(AuthenticationError, match="may not issue"):
        verify_with_issuer(issued(MIDDLE_KEY, agreeing, LEAF_KEY), agreeing)


def test_every_flipped_bit_is_found() -> None:
    for bit in range(len(LEAF.der) * 8):
        flipped = bytearray(LEAF.der)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((AuthenticationError, DecodeError)):
            verify_with_key(read_certificate(bytes(flipped)), MIDDLE_KEY.public)


@pytest.mark.parametrize("serial", [b"\x00", b"\x85"])
def test_a_serial_number_is_positive(serial: bytes) -> None:
    assert LEAF.der.count(b"\x02\x01\x05") == 1
    with pytest.raises(DecodeError, match="positive"):
        read_certificate(LEAF.der.replace(b"\x02\x01\x05", b"\x02\x01" + serial))


def test_a_signature_is_a_whole_number_of_bytes() -> None:
    """With its last bit zero, the number of unused bits could be one, and the library would not mind."""
    drawn = (issued(MIDDLE_KEY, MIDDLE, LEAF_KEY, subject="leaf") for _ in range(200))
    leaf = next(leaf for leaf in drawn if leaf.der[-1] & 1 == 0)
    signature = x509.load_der_x509_certificate(leaf.der).signature
    changed = leaf.der.removesuffix(b"\x00" + signature) + b"\x01" + signature
    assert x509.load_der_x509_certificate(changed).signature == signature
    with pytest.raises(DecodeError, match="whole number"):
        read_certificate(changed)


def build(key: Any, *extensions: tuple[Any, bool], by: Any = None) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, *VALIDITY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(by or key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_the_upper_end_of_a_chain_may_have_an_rsa_key() -> None:
    key = rsa.generate_private_key(65537, 1024)
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    root = read_certificate(build(key, (x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)))
    assert root.public_key is None
    below = read_certificate(build(LEAF_KEY.library_key(), by=key))
    verify_with_issuer(below, root)
    for wrong in (LEAF, ROOT):
        with pytest.raises(AuthenticationError):
            verify_with_issuer(wrong, root)
    with pytest.raises(AuthenticationError):
        verify_with_key(below, LEAF_KEY.public)


def test_a_certificate_without_extensions_may_do_nothing() -> None:
    bare = read_certificate(build(LEAF_KEY.library_key()))
    assert (bare.may_sign, bare.may_agree, bare.subject_key_id, bare.authority_key_id) == (False, False, b"", b"")


def test_a_critical_extension_that_means_nothing_here_is_refused() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    read_certificate(build(LEAF_KEY.library_key(), (unknown, False)))
    with pytest.raises(DecodeError, match=r"1\.2\.3\.4"):
        read_certificate(build(LEAF_KEY.library_key(), (unknown, True)))


@given(data=st.binary(max_size=60), cut=st.integers(0, 300))
def test_any_other_bytes_are_a_decode_error(data: bytes, cut: int) -> None:
    for attempt in (data, LEAF.der[:cut], LEAF.der + b"\x00", LEAF.der[:cut] + data):
        with pytest.raises(DecodeError):
            read_certificate(attempt)
