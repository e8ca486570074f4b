"""Reader certificates: the four of the specification both ways, one CA for many readers, and what is not accepted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import certificates
from keywright.aliro.certificates import CompressedCertificate
from keywright.codec.ber import item
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError
from support.aliro_documents import share
from support.messages import check_message
from support.signers import KEYS
from support.vectors import Case, load, unhex, vectors

CA = KEYS["P-256"]
READER = EcPrivateKey.from_scalar("P-256", bytes([7] * 32)).public
FROM, UNTIL = certificates.DEFAULT_NOT_BEFORE, certificates.DEFAULT_NOT_AFTER


def issuer_of(case: Case) -> EcPublicKey:
    return EcPublicKey.from_point("P-256", unhex(case["issuer_public_key"]))


@vectors("digitalkey/aliro_reader_certificates.json")
def test_a_certificate_of_the_specification_both_ways(case: Case) -> None:
    whole, short, issuer = unhex(case["input_x509_cert"]), unhex(case["compressed_cert"]), issuer_of(case)
    assert certificates.compress(whole) == short
    assert certificates.decompress(short, issuer) == whole
    found = certificates.verify(short, issuer, now=FROM + 86400)
    assert found == certificates.verify_whole(whole, issuer) == certificates.parse(short)
    assert found.public_key.point == unhex(case["reader_public_key"])
    loaded = x509.load_der_x509_certificate(whole)
    assert (found.serial, f"CN={found.issuer}", f"CN={found.subject}") == (
        loaded.serial_number,
        loaded.issuer.rfc4514_string(),
        loaded.subject.rfc4514_string(),
    )
    assert found.not_before == loaded.not_valid_before_utc.timestamp()
    assert found.not_after == loaded.not_valid_after_utc.timestamp()


@vectors("digitalkey/aliro_reader_certificates.json")
def test_what_is_issued_with_the_values_of_an_example_differs_in_its_signature_only(case: Case) -> None:
    signer = EcPrivateKey.from_scalar("P-256", unhex(case["issuer_private_key_scalar"]))
    found = certificates.parse(unhex(case["compressed_cert"]))
    again = certificates.issue(
        signer,
        found.public_key,
        serial=found.serial,
        issuer=found.issuer,
        subject=found.subject,
        not_before=found.not_before,
        not_after=found.not_after,
    )
    expected = unhex(case["input_x509_cert"])
    signed = x509.load_der_x509_certificate(expected).tbs_certificate_bytes
    assert x509.load_der_x509_certificate(again).tbs_certificate_bytes == signed
    assert certificates.verify_whole(again, signer.public).public_key == found.public_key


@vectors("digitalkey/aliro_key_slot.json")
def test_key_slot(case: Case) -> None:
    assert certificates.key_slot(unhex(case["public_key"])) == unhex(case["key_slot"])


def test_one_reader_system_issuer_serves_many_readers() -> None:
    readers = [EcPrivateKey.from_scalar("P-256", number.to_bytes(32)).public for number in range(1, 20)]
    for number, reader in enumerate(readers, 1):
        whole = certificates.issue(CA, reader, serial=number, subject=f"Tür {number}")
        short = certificates.compress(whole)
        assert len(short) < len(whole) // 2
        assert certificates.reader_key(short, CA.public, now=FROM) == reader
        assert certificates.reader_key(short, reader) is None
        assert certificates.parse(short).subject == f"Tür {number}"


@share(4)
@given(
    st.integers(1, (1 << 159) - 1),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.integers(0, 253402300799),
    st.integers(0, 253402300799),
)
def test_any_certificate_of_the_profile_is_the_one_that_openssl_reads(
    serial: int, name: str, one: int, other: int
) -> None:
    begin, end = sorted((one, other))
    whole = certificates.issue(CA, READER, serial=serial, issuer=name, not_before=begin, not_after=end)
    short = certificates.compress(whole)
    assert certificates.decompress(short, CA.public) == whole
    found = certificates.verify(short, CA.public, now=begin)
    assert (found.serial, found.issuer, found.not_before, found.not_after) == (serial, name, begin, end)
    loaded = x509.load_der_x509_certificate(whole)
    CA.public.verify_der(loaded.signature, loaded.tbs_certificate_bytes)
    assert (loaded.serial_number, loaded.not_valid_before_utc.timestamp()) == (serial, begin)
    usage = loaded.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    authority = loaded.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == certificates.key_id(CA.public)


@pytest.mark.parametrize("now", [FROM - 1, UNTIL + 1])
def test_a_device_with_a_clock_refuses_a_certificate_outside_its_validity(now: int) -> None:
    short = certificates.compress(certificates.issue(CA, READER))
    with pytest.raises(AuthenticationError, match="not valid at this time"):
        certificates.verify(short, CA.public, now=now)
    assert certificates.reader_key(short, CA.public, now=now) is None
    assert certificates.verify(short, CA.public).public_key == READER


def test_every_byte_of_a_certificate_counts() -> None:
    whole = certificates.issue(CA, READER, serial=5, subject="lock")
    short = certificates.compress(whole)
    for data, check in ((short, certificates.verify), (whole, certificates.verify_whole)):
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises(KeywrightError) as refused:
                check(changed, CA.public)
            assert isinstance(refused.value, AuthenticationError | DecodeError)
            with pytest.raises(DecodeError):
                check(data[:at], CA.public)


def changed(**values: bytes) -> bytes:
    """A compressed certificate with other values, and whatever signature."""
    base = CompressedCertificate(public_key=b"\0" + READER.point, signature=b"\0\x30\0")
    return item(0x30, item(0x04, bytes(2)) + item(0x30, msgspec.structs.replace(base, **values).build()))


@pytest.mark.parametrize(
    "compressed",
    [
        b"",
        item(0x31, b""),
        item(0x30, b""),
        item(0x30, item(0x04, b"\0\1") + item(0x30, b"")),
        changed(serial=b""),
        changed(serial=bytes(21)),
        changed(issuer=b""),
        changed(subject=b"x" * 33),
        changed(subject=b"\xff"),
        changed(not_before=b"20200101000000Z"),
        changed(not_after=b"491301000000Z"),
        changed(not_after=b"4901010000Z"),
        changed(public_key=b"\1" + READER.point),
        changed(public_key=b"\0\x02" + READER.point[1:33]),
        changed(public_key=b"\0\x04" + bytes(64)),
        changed(signature=b""),
        changed(signature=b"\7\x30\0"),
    ],
)
def test_what_is_no_certificate_of_the_profile_is_refused_by_name(compressed: bytes) -> None:
    for take in (certificates.parse, lambda data: certificates.decompress(data, CA.public)):
        with pytest.raises(DecodeError) as refused:
            take(compressed)
        assert str(refused.value)
    assert certificates.reader_key(compressed, CA.public) is None


def test_values_in_another_order_or_unknown_ones_are_refused() -> None:
    body = changed()[8:]
    for wrong in (body + item(0x87, b""), item(0x84, b"a") + item(0x80, b"\1") + body):
        with pytest.raises(DecodeError):
            certificates.parse(item(0x30, item(0x04, bytes(2)) + item(0x30, wrong)))


def other_certificates() -> list[bytes]:
    """Certificates that are good X.509 and not of the profile."""
    import datetime as dt

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    def built(
        change: Callable[[x509.CertificateBuilder], x509.CertificateBuilder],
        *,
        usage: bool = True,
        names: tuple[str, ...] = ("subject",),
    ) -> bytes:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one) for one in names])
        start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        builder = x509.CertificateBuilder(name, name, READER.library_key(), 1, start, start.replace(year=2030))
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier(certificates.key_id(CA.public), None, None), critical=False
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=not usage, path_length=None), critical=True)
        flags = (usage, False, False, False, False, not usage, False, False, False)
        builder = change(builder.add_extension(x509.KeyUsage(*flags), critical=True))
        return builder.sign(CA.library_key(), hashes.SHA256()).public_bytes(Encoding.DER)

    good = built(lambda builder: builder)
    assert certificates.decompress(certificates.compress(good), CA.public) == good
    return [
        built(lambda builder: builder, names=("subject", "again")),
        built(lambda builder: builder, usage=False),
        built(
            lambda builder: builder.add_extension(x509.SubjectKeyIdentifier(bytes(20)), critical=False),
        ),
        unhex(load("digitalkey/aliro_reader_certificates.json")[0]["input_x509_cert"])[:-1] + b"\0\0",
    ]


def test_x509_of_another_profile_is_not_compressed() -> None:
    for der in other_certificates():
        with pytest.raises(DecodeError, match="profile 0000"):
            certificates.compress(der)


@pytest.mark.parametrize(
    "values",
    [
        {"serial": 0},
        {"serial": 1 << 159},
        {"subject": ""},
        {"subject": b"lock"},
        {"issuer": "x" * 33},
        {"not_before": UNTIL, "not_after": FROM},
        {"not_after": 1 << 40},
    ],
)
def test_values_without_room_in_the_profile_are_not_issued(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        certificates.issue(CA, READER, **values)  # type: ignore[arg-type]  # wrong values are the point
    with pytest.raises(ValueError, match="P-256"):
        certificates.issue(KEYS["P-384"], READER)


def test_the_compressed_values_keep_the_promises_of_a_codec() -> None:
    check_message(CompressedCertificate)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_decode_error(data: bytes) -> None:
    for take in (certificates.parse, certificates.compress):
        with contextlib.suppress(DecodeError):
            take(data)
