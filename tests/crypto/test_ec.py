"""Elliptic curve keys: encodings, agreement, signatures, and the curve that was asked for."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import CURVES, EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError

ORDERS = {"P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551}
WIDTHS = {"P-256": 32, "P-384": 48, "P-521": 66, "brainpoolP256r1": 32, "brainpoolP384r1": 48, "brainpoolP512r1": 64}

every_curve = pytest.mark.parametrize("curve", CURVES)


def key(curve: str, scalar: int = 0x1234) -> EcPrivateKey:
    return EcPrivateKey.from_scalar(curve, scalar.to_bytes(8))


def der(public: PublicKeyTypes) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def der_private(private: PrivateKeyTypes) -> bytes:
    encryption = serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, encryption)


def test_a_known_scalar_gives_its_known_point() -> None:
    # RFC 6979 A.2.5.
    private = EcPrivateKey.from_scalar(
        "P-256", bytes.fromhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
    )
    assert private.public.point.hex().upper() == (
        "04"
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
    )
    # The same section's signature of "sample" with SHA-256, as r || s and as DER.
    r = "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    s = "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    private.public.verify(bytes.fromhex(r + s), b"sample")
    private.public.verify_der(bytes.fromhex(f"3046022100{r}022100{s}"), b"sample")


@every_curve
def test_encodings_come_back(curve: str) -> None:
    private = EcPrivateKey.generate(curve)
    assert private.curve == private.public.curve == curve
    assert len(private.public.point) == 1 + 2 * WIDTHS[curve]
    assert EcPublicKey.from_point(curve, private.public.point) == private.public
    assert EcPublicKey.from_spki(private.public.spki()) == private.public
    assert EcPublicKey.from_spki(private.public.spki(), curve) == private.public
    assert EcPrivateKey.from_pkcs8(private.to_pkcs8()) == private
    assert EcPrivateKey.from_pkcs8(private.to_pkcs8(), curve) == private
    assert hash(EcPublicKey.from_spki(private.public.spki())) == hash(private.public)
    assert EcPrivateKey.generate(curve) != private


@every_curve
def test_a_compressed_point_is_the_same_key(curve: str) -> None:
    public = key(curve).public
    x, y = public.point[1 : 1 + public.width], public.point[1 + public.width :]
    assert EcPublicKey.from_point(curve, bytes([2 + (y[-1] & 1)]) + x) == public
    assert EcPublicKey.from_point(curve, bytes([3 - (y[-1] & 1)]) + x) != public


@every_curve
def test_two_sides_agree_on_a_secret_of_full_width(curve: str) -> None:
    one, other = key(curve, 77), EcPrivateKey.generate(curve)
    assert one.agree(other.public) == other.agree(one.public)
    assert len(one.agree(other.public)) == WIDTHS[curve]
    assert one.agree(key(curve, 1).public) == one.public.point[1 : 1 + WIDTHS[curve]]


def test_leading_zeros_of_a_secret_stay() -> None:
    shared = next(
        secret for scalar in range(1, 2000) if (secret := key("P-256", scalar).agree(key("P-256", 1).public))[0] == 0
    )
    assert len(shared) == 32


@every_curve
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_signatures_verify_in_both_forms(curve: str, hash_name: str) -> None:
    private = key(curve)
    raw = private.sign(b"data", hash_name)
    assert len(raw) == 2 * WIDTHS[curve]
    private.public.verify(raw, b"data", hash_name)
    private.public.verify_der(private.sign_der(b"data", hash_name), b"data", hash_name)


def test_any_other_data_key_hash_or_length_is_refused() -> None:
    private, raw = key("P-256"), key("P-256").sign(b"data")
    signature = private.sign_der(b"data")
    refused: list[Callable[[], None]] = [
        lambda: private.public.verify(raw, b"date"),
        lambda: private.public.verify(raw, b"data", "sha384"),
        lambda: key("P-256", 5).public.verify(raw, b"data"),
        lambda: private.public.verify(raw[:-1], b"data"),
        lambda: private.public.verify(raw + b"\0", b"data"),
        lambda: private.public.verify(b"\0" + raw, b"data"),
        lambda: private.public.verify(b"", b"data"),
        lambda: private.public.verify(bytes(64), b"data"),
        lambda: private.public.verify(signature, b"data"),
        lambda: private.public.verify_der(raw, b"data"),
        lambda: private.public.verify_der(signature + b"\0", b"data"),
        lambda: private.public.verify_der(b"", b"data"),
        lambda: private.public.verify_der(signature, b"date"),
    ]
    for attempt in refused:
        with pytest.raises(AuthenticationError, match=r"^signature not accepted$"):
            attempt()


@given(bit=st.integers(0, 511))
def test_every_flipped_bit_of_a_signature_is_refused(bit: int) -> None:
    raw = key("P-256").sign(b"data")
    with pytest.raises(AuthenticationError):
        key("P-256").public.verify((int.from_bytes(raw) ^ 1 << bit).to_bytes(64), b"data")


def test_keys_of_two_curves_do_not_agree() -> None:
    with pytest.raises(PolicyError, match="between P-256 and brainpoolP256r1"):
        key("P-256").agree(key("brainpoolP256r1").public)


def test_a_key_on_another_curve_than_expected_is_refused() -> None:
    with pytest.raises(DecodeError, match="on P-384, not on P-256"):
        EcPublicKey.from_spki(key("P-384").public.spki(), "P-256")
    with pytest.raises(DecodeError, match="on P-384, not on P-256"):
        EcPrivateKey.from_pkcs8(key("P-384").to_pkcs8(), "P-256")
    with pytest.raises(DecodeError, match="not a point of brainpoolP256r1"):
        EcPublicKey.from_point("brainpoolP256r1", key("P-256").public.point)


def test_a_curve_that_is_not_listed_is_refused() -> None:
    for attempt in (
        lambda: EcPrivateKey.generate("secp256k1"),
        lambda: EcPrivateKey.from_scalar("secp256k1", b"\1"),
        lambda: EcPublicKey.from_point("secp256k1", b""),
    ):
        with pytest.raises(ValueError, match="no curve 'secp256k1'; one of P-256"):
            attempt()
    foreign = ec.derive_private_key(7, ec.SECP256K1())
    with pytest.raises(DecodeError, match="keys on secp256k1 are not used here"):
        EcPrivateKey.from_pkcs8(der_private(foreign))
    with pytest.raises(DecodeError, match="keys on secp256k1 are not used here"):
        EcPublicKey.from_spki(der(foreign.public_key()))


def test_a_key_that_is_not_on_a_curve_is_refused() -> None:
    foreign = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(DecodeError, match="not an elliptic curve private key"):
        EcPrivateKey.from_pkcs8(der_private(foreign))
    with pytest.raises(DecodeError, match="not an elliptic curve public key"):
        EcPublicKey.from_spki(der(foreign.public_key()))


def test_a_hash_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="no ECDSA with 'sha1'"):
        key("P-256").sign(b"", "sha1")
    with pytest.raises(ValueError, match="no ECDSA with 'sha1'"):
        key("P-256").public.verify(bytes(64), b"", "sha1")


@pytest.mark.parametrize("scalar", [0, ORDERS["P-256"], ORDERS["P-256"] + 1, 2**256 - 1, 2**300])
def test_a_scalar_outside_the_group_is_refused(scalar: int) -> None:
    with pytest.raises(DecodeError, match="not a private key of P-256"):
        EcPrivateKey.from_scalar("P-256", scalar.to_bytes(40))


def test_the_largest_scalar_is_taken() -> None:
    largest = EcPrivateKey.from_scalar("P-256", (ORDERS["P-256"] - 1).to_bytes(32))
    assert largest.public.point[:33] == key("P-256", 1).public.point[:33]


@given(data=st.binary(max_size=140), cut=st.integers(0, 90))
def test_any_other_bytes_are_a_decode_error(data: bytes, cut: int) -> None:
    spki, private = key("P-256").public.spki(), key("P-256").to_pkcs8()
    for attempt in (
        lambda: EcPublicKey.from_point("P-256", data),
        lambda: EcPublicKey.from_point("P-256", key("P-256").public.point[: cut % 65]),
        lambda: EcPublicKey.from_spki(data),
        lambda: EcPublicKey.from_spki(spki[:cut]),
        lambda: EcPublicKey.from_spki(spki + b"\0"),
        lambda: EcPrivateKey.from_pkcs8(data),
        lambda: EcPrivateKey.from_pkcs8(private[:cut]),
    ):
        with pytest.raises(DecodeError):
            attempt()


def test_a_public_key_names_its_curve_and_the_start_of_its_point() -> None:
    public = key("P-256", 1).public
    assert repr(public) == "<P-256 public key 6b17d1f2>"
    assert repr(key("P-256", 1)) == "<P-256 private key of <P-256 public key 6b17d1f2>>"
    assert public != key("P-256", 1)
    assert public != public.point


def test_a_key_is_drawn_from_the_first_candidate_below_the_order() -> None:
    candidates = iter([bytes(32), ORDERS["P-256"].to_bytes(32), b"\xff" * 32, (77).to_bytes(32)])
    drawn = EcPrivateKey.draw("P-256", lambda size: next(candidates)[:size])
    assert drawn == EcPrivateKey.from_scalar("P-256", b"\x4d")


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_of_every_curve_can_be_drawn(curve: str) -> None:
    numbers = itertools.count()
    sizes = set()

    def rng(size: int) -> bytes:
        sizes.add(size)
        return hashlib.shake_256(bytes((next(numbers),))).digest(size)

    one, other = EcPrivateKey.draw(curve, rng), EcPrivateKey.draw(curve, rng)
    assert one != other
    assert sizes == {one.public.width}


def test_bits_above_the_order_are_not_drawn() -> None:
    drawn = EcPrivateKey.draw("P-521", lambda size: b"\xfe" + bytes(size - 2) + b"\x05")
    assert drawn == EcPrivateKey.from_scalar("P-521", b"\x05")


def test_a_source_that_repeats_itself_is_no_randomness() -> None:
    with pytest.raises(ValueError, match="repeats itself"):
        EcPrivateKey.draw("P-256", bytes)
