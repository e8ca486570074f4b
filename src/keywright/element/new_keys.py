"""Keys as they arrive on the card, in PUT KEY or STORE DATA: opened, checked, made into records (GPCS 11.1.8, 11.8).

What a key may consist of is the table `KINDS`; whatever is not listed there is refused with 6A80.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.element.state import KeyComponentRecord, KeyComponentsRecord, KeyRecord
from keywright.errors import DecodeError
from keywright.globalplatform.key_data import (
    CURVE_REFERENCES,
    ENCRYPTED,
    ComponentType,
    KeyField,
    KeyPart,
    split_secret,
)
from keywright.globalplatform.profile import DEFAULT, CardProfile
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp81.keys import Psk
from keywright.scp.session import CardSession

KCV_BYTES: Final = 3


class NewKey(NamedTuple):
    """A key that has been opened and checked; `kcv` is its check value, empty where its kind has none."""

    record: KeyRecord
    kcv: bytes


Make: TypeAlias = Callable[[dict[int, bytes]], tuple[KeyRecord, bytes]]
"""A record without its place, and the check value, of components. Raises DecodeError or ValueError for what is none."""


def open_key(session: CardSession, field: KeyField, kid: int, profile: CardProfile = DEFAULT) -> NewKey:
    """The key in one field of PUT KEY, its secret parts decrypted under the session's data encryption key.

    Refuses with 6A80 (components that make no key), as the profile says when the check value is another one (6982).
    """
    parts = {part.type: _opened(session, part) for part in field.parts}
    if len(parts) != len(field.parts):
        raise Refusal(SW.INCORRECT_DATA)
    return made_key(parts, kid, field.kcv, field.usage, field.access, profile=profile)


def made_key(
    parts: dict[int, bytes],
    kid: int,
    kcv: bytes = b"",
    usage: bytes = b"",
    access: bytes = b"",
    *,
    profile: CardProfile = DEFAULT,
) -> NewKey:
    """A key of these components, in clear. `kcv` empty: not checked. Refuses as `open_key`."""
    make = KINDS.get(frozenset(parts))
    if make is None or len(kcv) not in (0, KCV_BYTES) or len(usage) > 2 or len(access) > 1:
        raise Refusal(SW.INCORRECT_DATA)
    try:
        record, own = make(parts)
    except (DecodeError, ValueError):
        raise Refusal(SW.INCORRECT_DATA) from None
    if record.type == ComponentType.AES:
        own = AesKey(record.value).kcv(profile.scp03.kcv)
    if kcv and not own:
        raise Refusal(SW.INCORRECT_DATA)
    if kcv and not equal(kcv, own):
        raise Refusal(profile.wrong_kcv_status)
    return NewKey(
        KeyRecord(kid, record.type, record.value, record.curve, int.from_bytes(usage), int.from_bytes(access)), own
    )


def _opened(session: CardSession, part: KeyPart) -> bytes:
    if part.type not in ENCRYPTED:
        return part.value
    try:
        size, ciphertext = split_secret(part.value, session.sensitive_block)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    return session.decrypt_sensitive(ciphertext)[:size]


def _aes(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    value = parts[ComponentType.AES]
    AesKey(value)
    return KeyRecord(0, ComponentType.AES, value), b""


def _des(kind: int) -> Make:
    def make(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
        return KeyRecord(0, kind, parts[kind]), TripleDesKey(parts[kind]).kcv()

    return make


def _psk(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    value = parts[ComponentType.PSK_TLS]
    return KeyRecord(0, ComponentType.PSK_TLS, value), Psk(value).kcv()


def _ec_public(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    reference, curve = _curve(parts)
    key = EcPublicKey.from_point(curve, parts[ComponentType.EC_PUBLIC])
    return KeyRecord(0, ComponentType.EC_PUBLIC, key.point, reference), b""


def _ec_private(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    reference, curve = _curve(parts)
    scalar = parts[ComponentType.EC_PRIVATE]
    if len(scalar) != EcPrivateKey.from_scalar(curve, scalar).public.width:
        raise DecodeError("a private key has as many bytes as a coordinate")
    return KeyRecord(0, ComponentType.EC_PRIVATE, scalar, reference), b""


def _curve(parts: dict[int, bytes]) -> tuple[int, str]:
    reference = parts[ComponentType.EC_PARAMETERS]
    if len(reference) != 1 or reference[0] not in CURVE_REFERENCES:
        raise DecodeError("a curve that is not known")
    return reference[0], CURVE_REFERENCES[reference[0]]


def _rsa_public(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    RsaPublicKey.from_numbers(parts[ComponentType.RSA_PUBLIC_MODULUS], parts[ComponentType.RSA_PUBLIC_EXPONENT])
    return _several(ComponentType.RSA_PUBLIC_MODULUS, parts), b""


def _rsa_private(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    RsaPrivateKey.from_numbers(parts[ComponentType.RSA_PRIVATE_MODULUS], parts[ComponentType.RSA_PRIVATE_EXPONENT])
    return _several(ComponentType.RSA_PRIVATE_MODULUS, parts), b""


def _rsa_crt(parts: dict[int, bytes]) -> tuple[KeyRecord, bytes]:
    RsaPrivateKey.from_crt(*(parts[kind] for kind in _CRT))
    return _several(ComponentType.RSA_CRT_P, parts), b""


def _several(kind: int, parts: dict[int, bytes]) -> KeyRecord:
    components = tuple(KeyComponentRecord(part, value) for part, value in parts.items())
    return KeyRecord(0, kind, KeyComponentsRecord(components).build())


_CRT: Final = (
    ComponentType.RSA_CRT_P,
    ComponentType.RSA_CRT_Q,
    ComponentType.RSA_CRT_DP1,
    ComponentType.RSA_CRT_DQ1,
    ComponentType.RSA_CRT_PQ,
)

KINDS: Final[dict[frozenset[int], Make]] = {
    frozenset({ComponentType.AES}): _aes,
    frozenset({ComponentType.DES}): _des(ComponentType.DES),
    frozenset({ComponentType.DES_ECB}): _des(ComponentType.DES_ECB),
    frozenset({ComponentType.DES_CBC}): _des(ComponentType.DES_CBC),
    frozenset({ComponentType.PSK_TLS}): _psk,
    frozenset({ComponentType.EC_PUBLIC, ComponentType.EC_PARAMETERS}): _ec_public,
    frozenset({ComponentType.EC_PRIVATE, ComponentType.EC_PARAMETERS}): _ec_private,
    frozenset({ComponentType.RSA_PUBLIC_MODULUS, ComponentType.RSA_PUBLIC_EXPONENT}): _rsa_public,
    frozenset({ComponentType.RSA_PRIVATE_MODULUS, ComponentType.RSA_PRIVATE_EXPONENT}): _rsa_private,
    frozenset(_CRT): _rsa_crt,
}
"""Component types that make a key, and how. HMAC keys and curves by their parameters are not taken."""
