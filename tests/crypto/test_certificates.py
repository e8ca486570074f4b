"""Certificates: what the CA says, what a device's says, and what is not accepted for one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import (
    Certificate,
    EcPrivateKey,
    EcPublicKey,
    Issuer,
    issue_ca_certificate,
    issue_device_certificate,
    load_certificate,
    verify_device_certificate,
)
from keywright.errors import AuthenticationError, DecodeError, PolicyError

UTC = dt.UTC
START, END = dt.datetime(2026, 1, 1, tzinfo=UTC), dt.datetime(2046, 1, 1, tzinfo=UTC)
CA_KEY = EcPrivateKey.from_scalar("P-256", b"\x11" * 32)
DEVICE = EcPrivateKey.from_scalar("P-256", b"\x22" * 32).public


def ca(key: EcPrivateKey = CA_KEY, name: str = "Line CA") -> bytes:
    return issue_ca_certificate(key, common_name=name, serial_number=1, not_before=START, not_after=END)


def device(key: EcPrivateKey = CA_KEY, authority: bytes | None = None, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "common_name": "keywright fob",
        "subject_serial": "KW-000017",
        "public_key": DEVICE,
        "serial_number": 17,
        "not_before": START,
        "not_after": END,
    } | changes
    return issue_device_certificate(key, ca(key) if authority is None else authority, **values)


def oids(der: bytes) -> list[tuple[str, bool]]:
    return [(one.oid.dotted_string, one.critical) for one in x509.load_der_x509_certificate(der).extensions]


USAGES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
    "encipher_only decipher_only"
).split()


def usages(loaded: x509.Certificate) -> set[str]:
    """What the key may be used for; the last two only mean something, and can only be asked, with key agreement."""
    usage = loaded.extensions.get_extension_for_class(x509.KeyUsage).value
    return {name for name in USAGES[: 9 if usage.key_agreement else 7] if getattr(usage, name)}


def test_ca_certificate_may_sign_certificates_and_nothing_below_it_may() -> None:
    loaded = x509.load_der_x509_certificate(ca())
    assert oids(ca()) == [("2.5.29.19", True), ("2.5.29.15", True), ("2.5.29.14", False)]
    assert loaded.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert usages(loaded) == {"key_cert_sign", "crl_sign"}
    loaded.verify_directly_issued_by(loaded)


def test_device_certificate_may_sign_and_agree_and_names_its_issuer() -> None:
    loaded = x509.load_der_x509_certificate(device())
    assert oids(device()) == [("2.5.29.19", True), ("2.5.29.15", True), ("2.5.29.14", False), ("2.5.29.35", False)]
    assert loaded.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    assert usages(loaded) == {"digital_signature", "key_agreement"}
    issuer_id = x509.load_der_x509_certificate(ca()).extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    authority = loaded.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert authority.value.key_identifier == issuer_id.value.digest
    assert len(issuer_id.value.digest) == 20
    assert loaded.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest != issuer_id.value.digest


def test_everything_but_the_signature_follows_from_the_arguments() -> None:
    one, other = (x509.load_der_x509_certificate(device()) for _ in range(2))
    assert one.tbs_certificate_bytes == other.tbs_certificate_bytes
    assert one.signature != other.signature
    changed = x509.load_der_x509_certificate(device(serial_number=18))
    assert changed.tbs_certificate_bytes != one.tbs_certificate_bytes


def test_a_certificate_reads_back_as_it_was_issued() -> None:
    der = device()
    assert load_certificate(der) == Certificate(
        der=der,
        subject="keywright fob",
        subject_serial="KW-000017",
        issuer="Line CA",
        serial_number=17,
        not_before=START,
        not_after=END,
        public_key=DEVICE,
        is_ca=False,
    )
    authority = load_certificate(ca())
    assert (authority.subject, authority.subject_serial, authority.issuer) == ("Line CA", "", "Line CA")
    assert (authority.is_ca, authority.public_key) == (True, CA_KEY.public)


@pytest.mark.parametrize(
    ("curve", "name"), [("P-256", "sha256"), ("brainpoolP256r1", "sha256"), ("P-384", "sha384"), ("P-521", "sha512")]
)
def test_the_hash_is_as_strong_as_the_issuers_curve(curve: str, name: str) -> None:
    key = EcPrivateKey.generate(curve)
    for der in (ca(key), device(key)):
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
        assert algorithm is not None
        assert algorithm.name == name
    verify_device_certificate(load_certificate(device(key)), load_certificate(ca(key)))


def test_a_device_certificate_of_the_ca_is_accepted() -> None:
    for at in (START, END, START + dt.timedelta(days=100), None):
        verify_device_certificate(load_certificate(device()), load_certificate(ca()), public_key=DEVICE, at=at)


def refused(certificate: bytes, authority: bytes, match: str, **expected: Any) -> None:
    with pytest.raises(AuthenticationError, match=match):
        verify_device_certificate(load_certificate(certificate), load_certificate(authority), **expected)


def test_a_certificate_for_another_key_is_refused() -> None:
    refused(device(), ca(), "it is for another key", public_key=CA_KEY.public)


def test_a_certificate_out_of_its_time_or_its_issuers_is_refused() -> None:
    second = dt.timedelta(seconds=1)
    later, sooner = START + second, END - second
    refused(device(), ca(), "not valid at that time", at=START - second)
    refused(device(), ca(), "not valid at that time", at=END + second)
    refused(device(not_before=later), ca(), "not valid at that time", at=START)
    refused(device(not_after=sooner), ca(), "not valid at that time", at=END)


def test_a_certificate_of_another_ca_is_refused_with_or_without_the_same_name() -> None:
    stranger = EcPrivateKey.from_scalar("P-256", b"\x33" * 32)
    refused(device(stranger), ca(), "not issued by Line CA")
    refused(device(stranger, ca(stranger, "Other")), ca(), "not issued by Line CA")
    refused(device(CA_KEY, ca(CA_KEY, "Other")), ca(), "not issued by Line CA")


def test_a_ca_certificate_in_the_place_of_a_device_certificate_is_refused_and_the_other_way() -> None:
    refused(ca(), ca(), "wrong kind")
    refused(device(), device(), "wrong kind")


@given(st.integers(0, 8 * 388 - 1))
def test_a_flipped_bit_is_never_accepted(bit: int) -> None:
    der = bytearray(device())
    der[bit // 8 % len(der)] ^= 1 << bit % 8
    try:
        certificate = load_certificate(bytes(der))
    except DecodeError:
        return
    with pytest.raises(AuthenticationError):
        verify_device_certificate(certificate, load_certificate(ca()), public_key=DEVICE)


@given(data=st.binary(max_size=60), cut=st.integers(0, 386))
def test_any_other_bytes_are_a_decode_error(data: bytes, cut: int) -> None:
    for junk in (data, device()[: cut % len(device())], device() + data + b"\0"):
        with pytest.raises(DecodeError):
            load_certificate(junk)


LIBRARY_KEY = DEVICE.library_key()


def by_library(
    build: Callable[[x509.CertificateBuilder], x509.CertificateBuilder],
    public: CertificatePublicKeyTypes = LIBRARY_KEY,
) -> bytes:
    """A certificate that our own code would not issue."""
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, public, 5, START, END)
    return build(builder).sign(CA_KEY.library_key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_a_certificate_for_a_key_that_is_not_on_a_curve_is_refused() -> None:
    with pytest.raises(DecodeError, match="not on an elliptic curve"):
        load_certificate(by_library(lambda one: one, public=ed25519.Ed25519PrivateKey.generate().public_key()))


def test_names_that_are_missing_are_empty() -> None:
    certificate = load_certificate(by_library(lambda one: one))
    assert (certificate.subject, certificate.subject_serial, certificate.issuer) == ("", "", "")


def usage(one: str) -> x509.KeyUsage:
    """Key usage with nothing set but `one`."""
    return x509.KeyUsage(**{name: name == one for name in USAGES})


def test_a_ca_needs_both_the_constraint_and_the_usage() -> None:
    constraint = x509.BasicConstraints(ca=True, path_length=None)
    not_ca = x509.BasicConstraints(ca=False, path_length=None)
    sign, other = usage("key_cert_sign"), usage("digital_signature")
    forms: dict[tuple[x509.ExtensionType, ...], bool] = {
        (): False,
        (constraint,): False,
        (sign,): False,
        (constraint, other): False,
        (not_ca, other): False,
        (constraint, sign): True,
    }
    for extensions, expected in forms.items():

        def build(
            builder: x509.CertificateBuilder, wanted: tuple[x509.ExtensionType, ...] = extensions
        ) -> x509.CertificateBuilder:
            for extension in wanted:
                builder = builder.add_extension(extension, critical=True)
            return builder

        assert load_certificate(by_library(build)).is_ca is expected, extensions


def test_an_issuer_takes_only_a_ca_certificate_for_its_key() -> None:
    stranger = EcPrivateKey.from_scalar("P-256", b"\x33" * 32)
    for key, certificate in ((stranger, ca()), (CA_KEY, device()), (CA_KEY, device(public_key=CA_KEY.public))):
        with pytest.raises(PolicyError, match="does not allow this key"):
            Issuer(key, certificate)
    authority = ca()
    assert Issuer(CA_KEY, authority).certificate == load_certificate(authority)


def test_a_device_certificate_lasts_no_longer_than_its_ca() -> None:
    authority, second = ca(), dt.timedelta(seconds=1)
    for change in ({"not_after": END + second}, {"not_before": START - second}):
        with pytest.raises(PolicyError, match="only while that of its CA is"):
            device(CA_KEY, authority, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"serial_number": 0},
        {"serial_number": -1},
        {"serial_number": 1 << 159},
        {"common_name": ""},
        {"common_name": "x" * 65},
        {"subject_serial": "x" * 65},
        {"subject_serial": "KW_1"},
        {"subject_serial": "é"},
        {"subject_serial": "KW\n"},
        {"not_before": END, "not_after": START},
        {"not_before": dt.datetime(2026, 2, 1)},  # noqa: DTZ001 - without a time zone on purpose
        {"not_after": dt.datetime(2026, 2, 1)},  # noqa: DTZ001 - without a time zone on purpose
    ],
)
def test_what_x509_does_not_take_is_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        device(CA_KEY, ca(), **change)


def test_a_serial_number_of_159_bits_and_no_subject_serial_are_fine() -> None:
    certificate = load_certificate(device(serial_number=(1 << 159) - 1, subject_serial=""))
    assert (certificate.serial_number, certificate.subject_serial) == ((1 << 159) - 1, "")


def test_another_curve_for_the_device_than_for_the_ca_is_fine() -> None:
    public = EcPublicKey.from_point("P-384", EcPrivateKey.generate("P-384").public.point)
    verify_device_certificate(load_certificate(device(public_key=public)), load_certificate(ca()), public_key=public)
