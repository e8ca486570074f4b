"""Keys as the chip uses them, made from the records that hold them (GPCS 11.1.8)."""

from __future__ import annotations

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.element.state import KeyComponentsRecord, KeyRecord
from keywright.errors import DecodeError
from keywright.globalplatform.key_data import CURVE_REFERENCES, ComponentType
from keywright.globalplatform.signatures import SecretKey, SigningKey, VerifyingKey

_RSA_TYPES = range(ComponentType.RSA_PUBLIC_EXPONENT, ComponentType.RSA_CRT_DQ1 + 1)
_CRT = (
    ComponentType.RSA_CRT_P,
    ComponentType.RSA_CRT_Q,
    ComponentType.RSA_CRT_DP1,
    ComponentType.RSA_CRT_DQ1,
    ComponentType.RSA_CRT_PQ,
)
DES_TYPES = (ComponentType.DES, ComponentType.DES_ECB, ComponentType.DES_CBC)
"""Key types of DES and triple DES keys."""


def components(record: KeyRecord) -> dict[int, bytes]:
    """Value of each component by its type; a key of one component has its own type."""
    if record.type not in _RSA_TYPES:
        return {record.type: record.value}
    return {part.type: part.value for part in KeyComponentsRecord.parse(record.value).parts}


def secret_key(record: KeyRecord | None) -> SecretKey | None:
    """An AES or triple DES key; None for any other."""
    if record is None:
        return None
    if record.type == ComponentType.AES:
        return AesKey(record.value)
    if record.type in DES_TYPES:
        return TripleDesKey(record.value)
    return None


def private_key(record: KeyRecord | None) -> EcPrivateKey | None:
    """An EC private key; None for any other."""
    curve = None if record is None else CURVE_REFERENCES.get(record.curve)
    if record is None or record.type != ComponentType.EC_PRIVATE or curve is None:
        return None
    try:
        return EcPrivateKey.from_scalar(curve, record.value)
    except DecodeError:
        return None


def public_key(record: KeyRecord | None) -> EcPublicKey | None:
    """An EC public key; None for any other."""
    curve = None if record is None else CURVE_REFERENCES.get(record.curve)
    if record is None or record.type != ComponentType.EC_PUBLIC or curve is None:
        return None
    try:
        return EcPublicKey.from_point(curve, record.value)
    except DecodeError:
        return None


def verifying_key(record: KeyRecord | None) -> VerifyingKey | None:
    """What checks a token or a DAP: an RSA or EC public key, or a secret key (GPCS C.1); None for any other."""
    if record is None:
        return None
    found = components(record)
    if ComponentType.RSA_PUBLIC_MODULUS in found and ComponentType.RSA_PUBLIC_EXPONENT in found:
        try:
            return RsaPublicKey.from_numbers(
                found[ComponentType.RSA_PUBLIC_MODULUS], found[ComponentType.RSA_PUBLIC_EXPONENT]
            )
        except DecodeError:
            return None
    return public_key(record) or secret_key(record)


def rsa_private_key(record: KeyRecord | None) -> RsaPrivateKey | None:
    """An RSA private key, from modulus and exponent or from the five CRT components; None for any other.

    Whoever put it into the record has tested its primes.
    """
    if record is None:
        return None
    found = components(record)
    try:
        if found.keys() >= set(_CRT):
            return RsaPrivateKey.from_crt(*(found[kind] for kind in _CRT), known=True)
        modulus, exponent = (
            found.get(kind) for kind in (ComponentType.RSA_PRIVATE_MODULUS, ComponentType.RSA_PRIVATE_EXPONENT)
        )
        return None if modulus is None or exponent is None else RsaPrivateKey.from_numbers(modulus, exponent)
    except DecodeError:
        return None


def signing_key(record: KeyRecord | None) -> SigningKey | None:
    """What makes a receipt: an RSA or EC private key or a secret key (GPCS C.5); None for any other."""
    return rsa_private_key(record) or private_key(record) or secret_key(record)
