"""Certificates of SCP10 in every profile: what is issued verifies, and nothing else does."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.ber import item
from keywright.errors import AuthenticationError, DecodeError
from keywright.scp.scp10 import Certificate, Holder, Profile, issue_certificate, verify_certificate
from keywright.scp.scp10.certificates import Kind
from support.scp10 import HOST, ISSUER, TRANSPORT, key, step
from support.vectors import unhex

PROFILE = Profile()
KINDS: tuple[Kind, ...] = get_args(Kind)
every_kind = pytest.mark.parametrize("kind", KINDS)
SIGNER = key("tp_ex_1024")


def holder(kind: Kind) -> Holder:
    described = kind in ("A", "C")
    return Holder(HOST, key("oce_1024").public, ISSUER, b"\x80" if described else b"")


@every_kind
def test_what_is_issued_is_read_back(kind: Kind) -> None:
    certificate = issue_certificate(kind, holder(kind), SIGNER, PROFILE)
    assert certificate.form == (0xBE if kind in ("A", "C") else 0xAE)
    assert certificate.verify(SIGNER.public, PROFILE) == holder(kind)


def test_profile_a_issues_the_certificate_of_the_vector() -> None:
    expected = unhex(step(TRANSPORT, "PERFORM SECURITY OPERATION verify")["certificate"])
    assert issue_certificate("A", holder("A"), SIGNER, PROFILE) == Certificate(expected)


@every_kind
def test_another_signer_is_refused(kind: Kind) -> None:
    certificate = issue_certificate(kind, holder(kind), key("sd_1024"), PROFILE)
    with pytest.raises(AuthenticationError):
        certificate.verify(SIGNER.public, PROFILE)


@every_kind
def test_no_changed_bit_is_accepted(kind: Kind) -> None:
    certificate = issue_certificate(kind, holder(kind), SIGNER, PROFILE)
    encoded = certificate.encoded
    for bit in range(0, len(encoded) * 8, 5):
        changed = bytearray(encoded)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((AuthenticationError, DecodeError)):
            verify_certificate(bytes(changed), certificate.form, SIGNER.public, PROFILE)


@every_kind
def test_a_certificate_presented_in_the_other_form_is_refused(kind: Kind) -> None:
    certificate = issue_certificate(kind, holder(kind), SIGNER, PROFILE)
    with pytest.raises((AuthenticationError, DecodeError)):
        verify_certificate(certificate.encoded, certificate.form ^ 0xBE ^ 0xAE, SIGNER.public, PROFILE)


@every_kind
@pytest.mark.parametrize("form", [0xBE, 0xAE])
def test_cut_short_or_extended_it_does_not_parse(kind: Kind, form: int) -> None:
    encoded = issue_certificate(kind, holder(kind), SIGNER, PROFILE).encoded
    for wrong in (b"", encoded[:-1], encoded + b"\0", encoded + encoded, encoded[4:], item(0x7F21, b"")):
        with pytest.raises(DecodeError):
            verify_certificate(wrong, form, SIGNER.public, PROFILE)


@given(data=st.binary(max_size=60), form=st.sampled_from([0xBE, 0xAE]))
def test_any_other_bytes_are_a_decode_or_an_authentication_error(data: bytes, form: int) -> None:
    for encoded in (data, item(0x7F21, data), item(0x7F21, data + item(0x9E, bytes(128)))):
        with pytest.raises((AuthenticationError, DecodeError)):
            verify_certificate(encoded, form, SIGNER.public, PROFILE)


def test_the_hash_is_that_of_the_profile() -> None:
    longer = Profile(certificate_hash="sha256")
    for kind in ("A", "B"):
        certificate = issue_certificate(kind, holder(kind), SIGNER, longer)
        assert certificate.verify(SIGNER.public, longer) == holder(kind)
        with pytest.raises(AuthenticationError):
            certificate.verify(SIGNER.public, PROFILE)


def test_values_are_cut_as_the_profile_says() -> None:
    profile = Profile(issuer_bytes=3, holder_bytes=11, exponent_bytes=4)
    subject = Holder(b"hostname...", key("oce_1024").public, b"abc")
    for kind in ("B", "C values"):
        certificate = issue_certificate(kind, subject, SIGNER, profile)
        assert certificate.verify(SIGNER.public, profile) == subject
        assert certificate.verify(SIGNER.public, profile).identifier(profile) == b"tname..."
        with pytest.raises(ValueError, match="references of 8 and 8 bytes"):
            issue_certificate(kind, subject, SIGNER, PROFILE)
    with pytest.raises(ValueError, match="exponent of 2 bytes"):
        issue_certificate("B", holder("B"), SIGNER, Profile(exponent_bytes=2))


def test_values_too_short_for_a_key_are_refused() -> None:
    content = bytes(19)
    value = item(0x5F4E, content) + item(0x9E, SIGNER.sign(content, "sha1"))
    with pytest.raises(DecodeError, match="too short"):
        verify_certificate(item(0x7F21, value), 0xAE, SIGNER.public, PROFILE)


def test_a_certified_key_has_to_be_a_key() -> None:
    body = bytes.fromhex("4200 5F2000 5F4C00 7F4907 810301C001 820103")
    value = body + item(0x9E, SIGNER.sign(body, "sha1"))
    with pytest.raises(DecodeError):
        verify_certificate(item(0x7F21, value), 0xBE, SIGNER.public, PROFILE)


def test_an_identifier_is_one_end_of_the_reference() -> None:
    subject = Holder(b"0123456789", key("oce_1024").public)
    assert subject.identifier(PROFILE) == b"23456789"
    assert subject.identifier(Profile(identifier_end="first")) == b"01234567"
    with pytest.raises(DecodeError, match="gives no identifier"):
        Holder(b"0123456", key("oce_1024").public).identifier(PROFILE)
