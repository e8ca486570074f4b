"""Words for the values of GlobalPlatform messages: bits, codes and identifiers as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keywright.globalplatform.key_data import ComponentType
from keywright.globalplatform.key_information import KeyDescription
from keywright.globalplatform.life_cycle import name_of
from keywright.globalplatform.messages import GP_OID, KeyType
from keywright.globalplatform.privileges import ALL, Privilege, in_words
from keywright.scp.level import Level
from keywright.scp.scp03.messages import I
from keywright.scp.scp11.messages import SCP11, i_bytes
from keywright.scp.scp11.messages import I as I11

_SCP02_BITS: Final = (
    (0x01, "three keys"),
    (0x02, "C-MAC on unmodified APDU"),
    (0x04, "explicit initiation"),
    (0x08, "ICV is MAC over AID"),
    (0x10, "ICV encrypted"),
    (0x20, "R-MAC"),
    (0x40, "pseudo-random challenge"),
)
_SCP03_BITS: Final = ((I.PSEUDO_RANDOM, "pseudo-random challenge"), (I.R_MAC, "R-MAC"), (I.R_ENC, "R-ENC"))
_SCP11_BITS: Final = (
    (I11.A, "a"),
    (I11.B, "b"),
    (I11.C, "c"),
    (I11.CHAINS, "chains"),
    (I11.PERSISTENT_PK, "remembers our key"),
    (I11.AUTHORISATION_IN_C, "authorisation in c"),
)
_SCP11_SECOND_BITS: Final = (
    (I11.AUTHORISATION_IN_A, "authorisation in a"),
    (I11.X509, "X.509"),
    (I11.NO_GP_CERTIFICATES, "no GlobalPlatform certificates"),
)
_LEVEL_BITS: Final = ((Level.C_MAC, "C-MAC"), (Level.C_DEC, "C-DEC"), (Level.R_MAC, "R-MAC"), (Level.R_ENC, "R-ENC"))

_KEY_TYPES: Final = {
    KeyType.DES: "DES",
    0x82: "DES, 3 keys",
    ComponentType.DES_ECB: "DES ECB",
    ComponentType.DES_CBC: "DES CBC",
    ComponentType.PSK_TLS: "PSK-TLS",
    KeyType.AES: "AES",
    ComponentType.HMAC_SHA1: "HMAC SHA-1",
    ComponentType.HMAC_SHA1_160: "HMAC SHA-1, 160 bit",
    ComponentType.RSA_PUBLIC_EXPONENT: "RSA e",
    ComponentType.RSA_PUBLIC_MODULUS: "RSA n",
    ComponentType.RSA_PRIVATE_MODULUS: "RSA private n",
    ComponentType.RSA_PRIVATE_EXPONENT: "RSA d",
    ComponentType.RSA_CRT_P: "RSA p",
    ComponentType.RSA_CRT_Q: "RSA q",
    ComponentType.RSA_CRT_PQ: "RSA 1/q",
    ComponentType.RSA_CRT_DP1: "RSA dp",
    ComponentType.RSA_CRT_DQ1: "RSA dq",
    KeyType.EC_PUBLIC: "EC public",
    KeyType.EC_PRIVATE: "EC private",
    KeyType.EC_PARAMETERS: "EC parameters",
}

_WIDEST: Final = 0xFF
"""Bytes of a component that basic key information can tell; it tells 0 of a longer one."""
_RSA: Final[Mapping[frozenset[int], str]] = {
    frozenset((ComponentType.RSA_PUBLIC_MODULUS, ComponentType.RSA_PUBLIC_EXPONENT)): "RSA public",
    frozenset((ComponentType.RSA_PRIVATE_MODULUS, ComponentType.RSA_PRIVATE_EXPONENT)): "RSA private",
    frozenset(
        (
            ComponentType.RSA_CRT_P,
            ComponentType.RSA_CRT_Q,
            ComponentType.RSA_CRT_PQ,
            ComponentType.RSA_CRT_DP1,
            ComponentType.RSA_CRT_DQ1,
        )
    ): "RSA private, CRT",
}
_RSA_SIZES: Final = (
    (ComponentType.RSA_PUBLIC_MODULUS, 1),
    (ComponentType.RSA_PRIVATE_MODULUS, 1),
    (ComponentType.RSA_CRT_P, 2),
)
"""The component that tells the size of the modulus, and how many times its own that is."""
_P521_BYTES: Final = 66

HASHES: Final = {1: "SHA-1", 2: "SHA-256", 3: "SHA-384", 4: "SHA-512"}
_SECURITY_DOMAIN: Final = 0x80
_LOCKED: Final = 0x80


def secure_channel(scp: int, i: int) -> str:
    """A protocol and its "i" parameter, for example "SCP03 i=70 (S8, pseudo-random challenge, R-MAC, R-ENC)"."""
    name = f"SCP{scp:02X} i={i:02X}"
    if scp == 0x03:
        words = ["S16" if i & I.S16 else "S8", *_bits(i, _SCP03_BITS)]
    elif scp == 0x02:
        words = list(_bits(i, _SCP02_BITS))
    elif scp == SCP11:
        first, second = i_bytes(i)
        size = "S16" if first & I11.S16 else "S8"
        words = [size, *_bits(first, _SCP11_BITS), *_bits(second, _SCP11_SECOND_BITS)]
    else:
        return name
    return f"{name} ({', '.join(words)})"


def security_level(level: int) -> str:
    """A security level in words, for example "33 (C-MAC, C-DEC, R-MAC, R-ENC)"."""
    return f"{level:02X} ({', '.join(_bits(level, _LEVEL_BITS)) or 'no protection'})"


def key_type(code: int) -> str:
    """Name of a key type (GPCS table 11-16), or its number."""
    return _KEY_TYPES.get(code, f"type {code:02X}")


def key(told: KeyDescription) -> str:
    """Kind and size of a key as key information tells it, for example "AES 128 bit", "RSA public 2048 bit".

    What the extended format says besides follows: usage and access, in hex (GPCS 11.1.9, 11.1.10).
    """
    words = [_kind(told.components)]
    if told.usage:
        words.append(f"usage {told.usage.hex().upper()}")
    if told.access and any(told.access):
        words.append(f"access {told.access.hex().upper()}")
    return ", ".join(words)


def _kind(components: tuple[tuple[int, int], ...]) -> str:
    sizes = dict(components)
    rsa = _RSA.get(frozenset(sizes))
    if rsa is not None:
        size = next(sizes[kind] * times for kind, times in _RSA_SIZES if kind in sizes)
        return f"{rsa} {size * 8} bit" if size else f"{rsa}, over {_WIDEST * 8} bit"
    return " + ".join(_component(*part) for part in components if part[0] != KeyType.EC_PARAMETERS) or "no components"


def _component(kind: int, size: int) -> str:
    if not size:
        return key_type(kind)
    if kind == KeyType.EC_PUBLIC:  # a point has two coordinates, and 04 before them that some cards do not count
        size //= 2
    is_p521 = size == _P521_BYTES and kind in (KeyType.EC_PUBLIC, KeyType.EC_PRIVATE)
    return f"{key_type(kind)} {521 if is_p521 else size * 8} bit"


def privileges(data: bytes) -> tuple[str, ...]:
    """The privileges that one or three bytes grant (GPCS table 11-7 to 11-9)."""
    return in_words(Privilege(int.from_bytes(data[:3].ljust(3, b"\0")) & ALL))


def is_security_domain(data: bytes | None) -> bool:
    """Whether privileges make their owner a security domain."""
    return bool(data and data[0] & _SECURITY_DOMAIN)


def application_state(state: int, *, domain: bool = False) -> str:
    """Life cycle of an application or security domain (GPCS tables 11-4, 11-5); b8 on top means locked."""
    words = {0x03: "INSTALLED", 0x07: "SELECTABLE"} | ({0x0F: "PERSONALIZED"} if domain else {})
    free = state & ~_LOCKED
    name = words.get(free, f"{state:02X}")
    return f"LOCKED ({name})" if state & _LOCKED and free in words else name


def card_state(state: int) -> str:
    """Life cycle of the card."""
    return name_of(state)


def production_date(value: int) -> str:
    """A date of CPLC, BCD YDDD: last digit of the year and day of the year. 0000 means not given."""
    text = f"{value:04X}"
    if not value:
        return "not given"
    if not text.isdecimal() or not 1 <= int(text[1:]) <= 366:
        return f"{text} (no date)"
    return f"{text} (year ...{text[0]}, day {int(text[1:])})"


def oid(raw: bytes) -> str:
    """An object identifier in dots, with what GlobalPlatform means by it."""
    own = raw.removeprefix(GP_OID)
    if own == raw or not own:
        return _dotted(raw)
    match own[0]:
        case 1:
            what = "GlobalPlatform card"
        case 2:
            what = f"GPCS {'.'.join(map(str, own[1:]))}"
        case 3:
            what = "GlobalPlatform card identification"
        case 4 if len(own) >= 3:
            return secure_channel(own[1], int.from_bytes(own[2:]))
        case _:
            return _dotted(raw)
    return what


def _dotted(raw: bytes) -> str:
    arcs, value = [], 0
    for byte in raw:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        return raw.hex().upper()
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _bits(value: int, bits: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(word for bit, word in bits if value & bit)
