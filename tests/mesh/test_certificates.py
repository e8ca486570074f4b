"""Device certificates: the standard's sample, a path of every length, and each rule broken alone."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.ber import item, items
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.inspection import inspect_certificate
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.mesh.certificates import check_path, check_root, read_device_certificate
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.pki import TEST_POLICY, Authority
from support.mesh_pki import (
    AT,
    COMPANY,
    NAME,
    PRODUCT,
    UUID,
    VALIDITY,
    Forgery,
    authority,
    device_certificate,
    forge,
    key,
    p384_key,
    root,
    rsa_key,
    usage,
)
from support.vectors import load, unhex

SAMPLE = load("mesh/certificate_based.json")[0]
SAMPLE_DER = unhex(SAMPLE["certificate_der"])
SAMPLE_UUID = unhex(SAMPLE["device_uuid"])
NAMES = x509.NameOID
OWN_CA = x509.Name([x509.NameAttribute(NAMES.COMMON_NAME, "Own CA")])
ROOT_NAME = x509.load_der_x509_certificate(root().root).subject


# ---- the standard's sample ---------------------------------------------------------------------------------------


def test_the_standards_sample_keeps_every_rule() -> None:
    found = read_device_certificate(SAMPLE_DER, SAMPLE_UUID)
    assert (found.company, found.product) == (int(SAMPLE["cid"], 16), int(SAMPLE["pid"], 16))
    assert found.public_key == EcPrivateKey.from_scalar("P-256", unhex(SAMPLE["device_private_key"])).public
    assert found.public_key.point[1:] == unhex(SAMPLE["device_public_key"])
    assert (found.not_before, found.not_after) == (SAMPLE["not_before"], SAMPLE["not_after"])
    assert inspect_certificate(SAMPLE_DER).common_names == (SAMPLE["common_name"],)


def test_the_standards_sample_has_a_path_to_no_root_of_ours() -> None:
    """Its CA is not published: the time is checked, then the issuer's name, then the signature."""
    in_time = "2023-06-01T00:00:00Z"
    with pytest.raises(AuthenticationError, match="expired at 2024-03-29T08:18:40Z"):
        check_path(SAMPLE_DER, (), (root().root,), uuid=SAMPLE_UUID, at=AT)
    with pytest.raises(AuthenticationError, match="no trusted root is its issuer"):
        check_path(SAMPLE_DER, (), (root().root,), uuid=SAMPLE_UUID, at=in_time)
    name = x509.load_der_x509_certificate(SAMPLE_DER).issuer
    namesake = forge_ca(subject=name, issuer=name)
    with pytest.raises(AuthenticationError, match="of its issuer's name did not sign it"):
        check_path(SAMPLE_DER, (), (namesake,), uuid=SAMPLE_UUID, at=in_time)


# ---- good paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2, 15])
def test_a_path_of_every_length_is_accepted(depth: int) -> None:
    issuer = authority(depth)
    der = device_certificate(key("device").public, issuer=issuer)
    found = check_path(der, issuer.intermediates, (root().root,), uuid=UUID, at=AT)
    assert (found.public_key, found.vendor) == (key("device").public, "Vendor")
    assert (found.company, found.product) == (COMPANY, PRODUCT)
    assert repr(found) == f"<DeviceCertificate of {NAME}>"


def test_a_vendors_intermediate_may_be_what_is_trusted() -> None:
    issuer = authority(2)
    der = device_certificate(key("device").public, issuer=issuer)
    for trusted in issuer.intermediates:
        check_path(der, issuer.intermediates, (trusted,), uuid=UUID, at=AT)
    check_path(der, (), (issuer.intermediates[0],), uuid=UUID, at=AT)


def test_our_own_certificates_say_what_the_sample_says() -> None:
    ours = inspect_certificate(device_certificate(key("device").public))
    sample = inspect_certificate(SAMPLE_DER)
    assert ours.usage() == sample.usage() == frozenset({"keyAgreement"})
    assert ours.constraints() == sample.constraints() == (False, None)
    assert ours.signature_algorithm == sample.signature_algorithm
    assert set(ours.extensions) == set(sample.extensions)
    assert ours.extensions["2.5.29.32"].is_critical


def test_forged_certificates_are_good_but_for_what_is_broken() -> None:
    allowed = (
        (x509.SubjectKeyIdentifier(bytes(20)), False),
        (x509.AuthorityKeyIdentifier(bytes(20), None, None), False),
        (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(TEST_POLICY), None)]), True),
        (x509.IssuerAlternativeName([x509.DNSName("vendor.example")]), False),
        (crl(x509.CRLDistributionPoints), False),
        (crl(x509.FreshestCRL), False),
        (x509.AuthorityInformationAccess([access("1.3.6.1.5.5.7.48.2")]), False),
        (x509.SubjectInformationAccess([access("1.3.6.1.5.5.7.48.5")]), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),
    )
    found = check_path(forge(more=allowed), (), (root().root,), uuid=UUID, at=AT)
    assert (found.company, found.product) == (None, None)


def access(method: str) -> x509.AccessDescription:
    return x509.AccessDescription(
        x509.ObjectIdentifier(method), x509.UniformResourceIdentifier("https://vendor.example/")
    )


def crl(kind: type[x509.CRLDistributionPoints | x509.FreshestCRL]) -> x509.ExtensionType:
    place = x509.UniformResourceIdentifier("https://vendor.example/crl")
    return kind([x509.DistributionPoint([place], None, None, None)])


# ---- each rule of a device certificate, broken alone ---------------------------------------------------------------


def raw(oid: str, value: str) -> x509.UnrecognizedExtension:
    """An extension whose value the library would not build."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))


def forbidden(extension: x509.ExtensionType) -> Forgery:
    return lambda: forge(more=((extension, False),))


def version_1() -> bytes:
    (signed, algorithm, signature) = (item(*part) for part in items(items(forge())[0][1]))
    ((_, fields),) = items(signed)
    kept = b"".join(item(tag, value) for tag, value in items(fields) if tag not in (0xA0, 0xA3))
    return item(0x30, item(0x30, kept) + algorithm + signature)


def common(text: str | tuple[str, ...]) -> Forgery:
    return lambda: forge(names={NAMES.COMMON_NAME: text})


BROKEN: dict[str, tuple[Forgery, str]] = {
    "version 1": (version_1, "X.509 version 1, not 3"),
    "version 2": (lambda: forge().replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020101")), "X.509 version 2"),
    "signed with SHA-384": (lambda: forge(algorithm=hashes.SHA384()), "another algorithm than ecdsa-with-SHA256"),
    "signed with RSA": (lambda: forge(signer=rsa_key()), "another algorithm than ecdsa-with-SHA256"),
    "a key of RSA": (lambda: forge(public_key=rsa_key().public_key()), "its key is not on P-256"),
    "a key of another curve": (lambda: forge(public_key=p384_key().public_key()), "its key is not on P-256"),
    "no keyUsage": (lambda: forge(key_usage=None), "it has no keyUsage"),
    "another keyUsage": (lambda: forge(key_usage=usage("digital_signature")), "keyUsage is digitalSignature, not"),
    "one keyUsage too many": (
        lambda: forge(key_usage=usage("key_agreement", "digital_signature")),
        "keyUsage is digitalSignature, keyAgreement, not keyAgreement alone",
    ),
    "keyAgreement limited": (lambda: forge(key_usage=usage("key_agreement", "encipher_only")), "encipherOnly"),
    "keyAgreement limited in the second octet": (
        lambda: forge(key_usage=usage("key_agreement", "decipher_only")),
        "keyUsage is decipherOnly, keyAgreement",
    ),
    "a keyUsage of nothing": (lambda: forge(key_usage=raw("2.5.29.15", "03020700")), "keyUsage is empty"),
    "no basicConstraints": (lambda: forge(basic=None), "it has no basicConstraints"),
    "a CA": (lambda: forge(basic=x509.BasicConstraints(ca=True, path_length=None)), "basicConstraints say CA"),
    "a path length": (lambda: forge(basic=raw("2.5.29.19", "3003020100")), "basicConstraints have a path length"),
    "subjectAltName": (forbidden(x509.SubjectAlternativeName([x509.DNSName("a.example")])), "subjectAltName"),
    "policyMappings": (forbidden(raw("2.5.29.33", "3000")), "policyMappings"),
    "nameConstraints": (
        forbidden(x509.NameConstraints([x509.DNSName("a.example")], None)),
        "the extension nameConstraints",
    ),
    "policyConstraints": (forbidden(x509.PolicyConstraints(0, None)), "policyConstraints"),
    "extendedKeyUsage": (
        forbidden(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
        "extendedKeyUsage",
    ),
    "inhibitAnyPolicy": (forbidden(x509.InhibitAnyPolicy(0)), "inhibitAnyPolicy"),
    "something critical": (lambda: forge(more=((raw("1.2.3.4", "0500"), True),)), "critical extension 1.2.3.4"),
    "no organization": (lambda: forge(names={NAMES.ORGANIZATION_NAME: ()}), "names one organization"),
    "two organizations": (lambda: forge(names={NAMES.ORGANIZATION_NAME: ("A", "B")}), "names one organization"),
    "no common name": (common(()), "has one common name"),
    "two common names": (common((NAME, NAME)), "has one common name"),
    "a common name in capitals": (common(NAME.upper()), "a UUID in lower case"),
    "a common name without hyphens": (common(NAME.replace("-", "")), "a UUID in lower case"),
    "a company without a product": (common(f"{NAME} BCID:8001"), "BCID and BPID or neither"),
    "a product without a company": (common(f"{NAME} BPID:03ff"), "BCID and BPID or neither"),
    "product before company": (common(f"{NAME} BPID:03ff BCID:8001"), "BCID and BPID or neither"),
    "a short company": (common(f"{NAME} BCID:801 BPID:03ff"), "BCID and BPID or neither"),
    "a common name with more": (common(f"{NAME} BCID:8001 BPID:03ff "), "BCID and BPID or neither"),
    "another device": (common("70cf7c97-32a3-45b6-9149-4810d2e9cbf5"), f"the device is {NAME}"),
    "not yet valid": (
        lambda: forge(validity=(dt.datetime(2027, 1, 1, tzinfo=dt.UTC), VALIDITY[1])),
        "valid from 2027-01-01T00:00:00Z, and it is 2026-06-01",
    ),
    "expired": (
        lambda: forge(validity=(VALIDITY[0], dt.datetime(2026, 5, 31, 23, 59, 59, tzinfo=dt.UTC))),
        "it expired at 2026-05-31T23:59:59Z",
    ),
    "another issuer": (
        lambda: forge(issuer=x509.Name([x509.NameAttribute(NAMES.COMMON_NAME, "Other")])),
        "no trusted root is its issuer",
    ),
    "another signer": (lambda: forge(signer=key("nobody").library_key()), "did not sign it"),
    "another signature": (lambda: forge()[:-1] + bytes((forge()[-1] ^ 1,)), "did not sign it"),
    "no certificate": (lambda: b"\x30\x03\x02\x01\x00", "not a certificate that can be read"),
    "nothing": (lambda: b"", "RFC 5280 4"),
    "more behind it": (lambda: forge() + b"\x05\x00", "RFC 5280 4"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_certificate_that_breaks_one_rule_is_refused_by_its_name(rule: str) -> None:
    make, why = BROKEN[rule]
    with pytest.raises(AuthenticationError, match=f"^device certificate not accepted: .*{why}"):
        check_path(make(), (), (root().root,), uuid=UUID, at=AT)


# ---- each rule of the path, broken alone -----------------------------------------------------------------------------


def forge_ca(
    *,
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
    signer: str = "root",
    path_length: int | None = None,
    **changes: object,
) -> bytes:
    """A CA certificate for the key "CA", below the root, good but for what is given."""
    values: dict[str, object] = {
        "subject": subject or OWN_CA,
        "public_key": key("CA").public.library_key(),
        "basic": x509.BasicConstraints(ca=True, path_length=path_length),
        "key_usage": usage("key_cert_sign"),
        "signer": key(signer).library_key(),
        "issuer": issuer,
    }
    return forge(**(values | changes))  # type: ignore[arg-type]  # as forge takes them


def below_ca(signer: str = "CA") -> bytes:
    return forge(issuer=OWN_CA, signer=key(signer).library_key())


def test_a_forged_intermediate_is_good_but_for_what_is_broken() -> None:
    check_path(below_ca(), (forge_ca(),), (root().root,), uuid=UUID, at=AT)


PATHS: dict[str, tuple[tuple[bytes, ...], str]] = {
    "none": ((), "device certificate .* no trusted root is its issuer"),
    "a root": ((root().root,), "intermediate certificate 1 .* it is a root"),
    "a root behind": ((forge_ca(), root().root), "intermediate certificate 2 .* it is a root"),
    "another's": ((authority(1).intermediates[0],), "its issuer is another than the intermediate certificate 1"),
    "a namesake": ((forge_ca(public_key=key("x").public.library_key()),), "intermediate certificate 1 did not sign it"),
    "no CA": ((forge_ca(basic=x509.BasicConstraints(ca=False, path_length=None)),), "not that of a CA"),
    "no basicConstraints": ((forge_ca(basic=None),), "not that of a CA"),
    "no keyCertSign": ((forge_ca(key_usage=usage("crl_sign")),), "not that of a CA"),
    "expired": ((forge_ca(validity=(VALIDITY[0], dt.datetime(2026, 2, 1, tzinfo=dt.UTC))),), "1 .* it expired at 2026"),
    "a short hash": ((forge_ca(algorithm=hashes.SHA224()),), r"signed with 1\.2\.840\.10045\.4\.3\.1, which is not"),
    "name constraints": (
        (forge_ca(more=((x509.NameConstraints([x509.DNSName("a.example")], None), True),)),),
        "intermediate certificate 1 .* the extension nameConstraints",
    ),
    "something critical": ((forge_ca(more=((raw("1.2.3.4", "0500"), True),)),), "1 .* a critical extension 1.2.3.4"),
    "junk": ((b"\x30\x00",), "intermediate certificate 1 not accepted"),
    "sixteen": (authority(15).intermediates * 2, "30 intermediate certificates .* at most 15"),
}


@pytest.mark.parametrize("rule", PATHS)
def test_a_path_that_breaks_one_rule_is_refused_by_its_name(rule: str) -> None:
    intermediates, why = PATHS[rule]
    with pytest.raises(AuthenticationError, match=why):
        check_path(below_ca(), intermediates, (root().root,), uuid=UUID, at=AT)


def test_intermediates_stand_in_order() -> None:
    issuer = authority(2)
    der = device_certificate(key("device").public, issuer=issuer)
    with pytest.raises(AuthenticationError, match="its issuer is another than the intermediate certificate 1"):
        check_path(der, issuer.intermediates[::-1], (root().root,), uuid=UUID, at=AT)


@pytest.mark.parametrize("length", [0, 1])
def test_a_path_length_limits_those_below(length: int) -> None:
    upper = forge_ca(path_length=length)
    lower_name = x509.Name([x509.NameAttribute(NAMES.COMMON_NAME, "Lower CA")])
    lower = forge_ca(
        subject=lower_name, issuer=OWN_CA, signer="CA", public_key=key("lower").public.library_key(), path_length=0
    )
    der = forge(issuer=lower_name, signer=key("lower").library_key())
    for intermediates, roots in (((lower, upper), (root().root,)), ((lower,), (upper,))):
        if length:
            check_path(der, intermediates, roots, uuid=UUID, at=AT)
            continue
        with pytest.raises(AuthenticationError, match="its path length is 0, and 1 CA certificates follow it"):
            check_path(der, intermediates, roots, uuid=UUID, at=AT)


def test_a_trusted_root_expires_too_and_has_no_namesake() -> None:
    old = (VALIDITY[0], dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
    expired = forge_ca(subject=ROOT_NAME, validity=old, public_key=key("root").public.library_key())
    with pytest.raises(AuthenticationError, match="trusted root not accepted: it expired"):
        check_path(forge(), (), (expired,), uuid=UUID, at=AT)
    namesake = forge_ca(subject=ROOT_NAME)
    with pytest.raises(AuthenticationError, match="of its issuer's name did not sign it"):
        check_path(forge(), (), (namesake,), uuid=UUID, at=AT)
    check_path(forge(), (), (namesake, root().root), uuid=UUID, at=AT)


def test_what_is_no_ca_is_no_root() -> None:
    check_root(root().root)
    for der in (forge(), b"\x30\x00"):
        with pytest.raises(PolicyError, match="trusted root not accepted"):
            check_root(der)


@pytest.mark.parametrize("at", ["", "2026-06-01", "2026-06-01T00:00:00+00:00", "20260601000000Z"])
def test_a_time_has_one_form(at: str) -> None:
    with pytest.raises(ValueError, match="a time as 2026"):
        check_path(forge(), (), (root().root,), uuid=UUID, at=at)


# ---- any bytes -----------------------------------------------------------------------------------------------------


@given(st.integers(0, len(SAMPLE_DER) - 1), st.integers(1, 255))
def test_a_changed_octet_gives_an_error_of_ours_or_the_same_promises(place: int, change: int) -> None:
    der = bytearray(SAMPLE_DER)
    der[place] ^= change
    try:
        found = read_device_certificate(bytes(der), SAMPLE_UUID)
    except AuthenticationError:
        return
    assert found.uuid == SAMPLE_UUID


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_apart_or_refused(data: bytes) -> None:
    for junk in (data, SAMPLE_DER[: len(data)] + data):
        with pytest.raises(DecodeError):
            inspect_certificate(junk)


# ---- after provisioning, and the issuing side ------------------------------------------------------------------------


def test_the_node_is_what_its_certificate_says() -> None:
    found = check_path(
        device_certificate(key("device").public), authority().intermediates, (root().root,), uuid=UUID, at=AT
    )
    element = (Element(0, (0,)),)
    found.check_composition(Composition(COMPANY, PRODUCT, 1, 10, 0, element))
    for cid, pid in ((COMPANY, PRODUCT + 1), (COMPANY ^ 1, PRODUCT)):
        with pytest.raises(AuthenticationError, match=f"CID {cid:04X} PID {pid:04X}, certified is BCID 8001 BPID 03FF"):
            found.check_composition(Composition(cid, pid, 1, 10, 0, element))
    check_path(forge(), (), (root().root,), uuid=UUID, at=AT).check_composition(Composition(1, 2, 1, 10, 0, element))


def test_an_authority_issues_no_more_than_it_may() -> None:
    narrow = Authority.begin(key("root"), "Vendor", serial_number=1, validity=VALIDITY, path_length=0)
    with pytest.raises(ValueError, match="no other below it"):
        narrow.subordinate(key("CA"), "CA", serial_number=2, validity=VALIDITY)
    with pytest.raises(ValueError, match="no other below it"):
        authority(15).subordinate(key("CA"), "CA", serial_number=2, validity=VALIDITY)
    with pytest.raises(ValueError, match="a key on P-256"):
        Authority.begin(EcPrivateKey.generate("P-384"), "Vendor", serial_number=1, validity=VALIDITY)
    with pytest.raises(ValueError, match="company and product, or neither"):
        root().certify(UUID, key("device").public, serial_number=2, validity=VALIDITY, company=1)
    assert repr(root()) == "<Authority of Vendor>"


def test_records_of_a_device_are_in_order() -> None:
    issuer = authority(2)
    der = device_certificate(key("device").public, issuer=issuer)
    assert issuer.records(der) == {1: der, 2: issuer.intermediates[0], 3: issuer.intermediates[1]}
    assert issuer.records(der, b"\x17//vendor.example")[0] == b"\x17//vendor.example"
