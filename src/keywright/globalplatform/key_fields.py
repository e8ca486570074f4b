"""Keys on their way to a card: from a key of any kind to what PUT KEY carries for it (GPCS 11.8.2.3, B.6).

Secret components are encrypted under the data encryption key of the session, each by itself; public ones go in clear.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.globalplatform.key_data import (
    CURVE_REFERENCES,
    ComponentType,
    KeyField,
    KeyPart,
    joined_secret,
)
from keywright.globalplatform.profile import DEFAULT, CardProfile
from keywright.scp.scp81.keys import Psk
from keywright.scp.session import Dek

_REFERENCES: Final = {curve: bytes((number,)) for number, curve in CURVE_REFERENCES.items()}


CardKey: TypeAlias = AesKey | TripleDesKey | Psk | RsaPublicKey | RsaPrivateKey | EcPublicKey | EcPrivateKey


class WrappedKey(msgspec.Struct, frozen=True):
    """An AES key that is encrypted under a card's data encryption key already, by whoever holds both.

    `size`: its length in bytes. `ciphertext`: the key, filled with zeros to whole blocks, in CBC with ICV 0. `kcv`: 3
    bytes, over what the card's profile says.
    """

    size: int
    ciphertext: bytes
    kcv: bytes


def wrapped_field(key: WrappedKey, *, profile: CardProfile = DEFAULT) -> KeyField:
    """A wrapped key as PUT KEY carries it, in the form that the profile says."""
    with_length = profile.aes_inner_length or len(key.ciphertext) != key.size
    value = joined_secret(key.size, key.ciphertext) if with_length else key.ciphertext
    return KeyField((KeyPart(ComponentType.AES, value),), key.kcv)


def key_field(
    key: CardKey,
    dek: Dek,
    *,
    inner_length: bool | None = None,
    usage: bytes = b"",
    access: bytes = b"",
    profile: CardProfile = DEFAULT,
) -> KeyField:
    """One key as PUT KEY carries it; in the extended format when `usage` or `access` is given.

    inner_length: whether the length of a secret stands before its ciphertext. None: for AES keys as the profile says,
    for PSK keys always, for others where padding was needed. Raises ValueError for a curve that has no reference.
    """
    extended = bool(usage or access)
    if isinstance(key, AesKey):
        kcv = key.kcv(profile.scp03.kcv)
        inner_length = profile.aes_inner_length if inner_length is None else inner_length
    else:
        kcv = key.kcv() if isinstance(key, TripleDesKey | Psk) else b""
    parts = _parts(key, dek, inner_length=inner_length)
    return KeyField(parts, kcv, extended=extended, usage=usage, access=access)


def _parts(key: CardKey, dek: Dek, *, inner_length: bool | None) -> tuple[KeyPart, ...]:
    match key:
        case AesKey() | TripleDesKey() | Psk():
            return (_symmetric(key, dek, inner_length=inner_length),)
        case EcPublicKey():
            return KeyPart(ComponentType.EC_PUBLIC, key.point), _curve(key.curve)
        case EcPrivateKey():
            scalar = key.library_key().private_numbers().private_value.to_bytes(key.public.width)
            return (
                _secret(ComponentType.EC_PRIVATE, scalar, dek, with_length=bool(inner_length)),
                _curve(key.curve),
            )
        case RsaPublicKey():
            return (
                KeyPart(ComponentType.RSA_PUBLIC_MODULUS, key.modulus),
                KeyPart(ComponentType.RSA_PUBLIC_EXPONENT, key.exponent),
            )
        case RsaPrivateKey():
            return _crt(key, dek, with_length=bool(inner_length))


def _symmetric(key: AesKey | TripleDesKey | Psk, dek: Dek, *, inner_length: bool | None) -> KeyPart:
    match key:
        case AesKey():
            return _secret(ComponentType.AES, key.reveal(), dek, with_length=inner_length is not False)
        case TripleDesKey():
            return _secret(ComponentType.DES, key.reveal(), dek, with_length=bool(inner_length))
        case Psk():
            return _secret(ComponentType.PSK_TLS, key.reveal(), dek, with_length=True)


def _curve(name: str) -> KeyPart:
    if name not in _REFERENCES:
        raise ValueError(f"the curve {name} has no reference (GPCS B.4.3)")
    return KeyPart(ComponentType.EC_PARAMETERS, _REFERENCES[name])


def _crt(key: RsaPrivateKey, dek: Dek, *, with_length: bool) -> tuple[KeyPart, ...]:
    numbers = key.library_key().private_numbers()
    half = (key.public.bits + 15) // 16
    components = (
        (ComponentType.RSA_CRT_P, numbers.p),
        (ComponentType.RSA_CRT_Q, numbers.q),
        (ComponentType.RSA_CRT_PQ, numbers.iqmp),
        (ComponentType.RSA_CRT_DP1, numbers.dmp1),
        (ComponentType.RSA_CRT_DQ1, numbers.dmq1),
    )
    return tuple(_secret(kind, number.to_bytes(half), dek, with_length=with_length) for kind, number in components)


def _secret(kind: int, value: bytes, dek: Dek, *, with_length: bool) -> KeyPart:
    rest = -len(value) % dek.sensitive_block
    ciphertext = dek.encrypt_sensitive(value + bytes(rest))
    return KeyPart(kind, joined_secret(len(value), ciphertext) if with_length or rest else ciphertext)
