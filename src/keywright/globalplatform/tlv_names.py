"""Names of data objects by tag and by the template they stand in, and any BER-TLV data as lines.

Where a message class exists it tells more; this is for the objects and templates that have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keywright.codec.tlv import items
from keywright.errors import DecodeError

NAMES: Final[Mapping[int, str]] = {
    0x06: "object identifier",
    0x42: "issuer identification number",
    0x45: "card image number",
    0x4F: "AID",
    0x50: "application label",
    0x53: "discretionary data",
    0x5C: "tag list",
    0x5F20: "subject identifier",
    0x5F24: "valid until",
    0x5F25: "valid from",
    0x5F37: "signature",
    0x5F38: "public key remainder",
    0x5F49: "public key",
    0x5F50: "manager URL",
    0x61: "application template",
    0x66: "card data",
    0x67: "card capabilities",
    0x6F: "file control information",
    0x70: "list",
    0x73: "discretionary data",
    0x7F21: "certificate",
    0x7F49: "public key",
    0x83: "key identifier and version",
    0x84: "AID",
    0x86: "receipt",
    0x9E: "token",
    0x9F65: "max data",
    0x9F6E: "life cycle data",
    0x9F70: "life cycle",
    0x9F7F: "card production life cycle",
    0xA5: "proprietary",
    0xA6: "control reference",
    0xB6: "digital signature template",
    0xB9: "key",
    0xBF20: "authorisation",
    0xBF21: "certificates",
    0xC1: "sequence counter",
    0xC2: "confirmation counter",
    0xC3: "load file data block signature",
    0xC4: "load file",
    0xC5: "privileges",
    0xC6: "code memory",
    0xC7: "volatile memory quota",
    0xC8: "non-volatile memory quota",
    0xC9: "application parameters",
    0xCA: "SIM toolkit parameters",
    0xCB: "global service",
    0xCC: "security domain",
    0xCD: "load file data format",
    0xCE: "version",
    0xCF: "key diversification data",
    0xD0: "key identifier",
    0xD2: "key version",
    0xD3: "security level",
    0xD4: "ciphered load file data block",
    0xD7: "volatile memory reserved",
    0xD8: "non-volatile memory reserved",
    0xD9: "restrictions",
    0xE0: "key information",
    0xE2: "DAP block",
    0xE3: "registry entry",
    0xEA: "UICC parameters",
    0xEF: "system parameters",
    0xFF21: "card resources",
    0xFF33: "CA-KLOC identifiers",
    0xFF34: "CA-KLCC identifiers",
}
"""Names that hold wherever the tag stands, unless `INSIDE` says otherwise."""

INSIDE: Final[Mapping[int, Mapping[int, str]]] = {
    0x66: {0x73: "card recognition data"},
    0x73: {
        0x60: "card management",
        0x63: "card identification",
        0x64: "secure channel",
        0x65: "card configuration",
        0x66: "chip details",
    },
    0x67: {
        0xA0: "secure channel",
        0x81: "domain privileges",
        0x82: "application privileges",
        0x83: "hashes",
        0x84: "load file ciphers",
        0x85: "tokens",
        0x86: "receipts",
        0x87: "DAP",
        0x88: "key parameters",
    },
    0xA0: {0x80: "protocol", 0x81: "options", 0x82: "key sizes"},
    0xA6: {
        0x80: "key type",
        0x81: "key length",
        0x84: "host identifier",
        0x90: "protocol and parameters",
        0x91: "initial counter",
        0x95: "key usage",
    },
    0x70: {0x93: "certificate serial number"},
    0x7F21: {0x93: "certificate serial number", 0x42: "CA identifier", 0x95: "key usage"},
    0x7F49: {0xB0: "point", 0xF0: "curve"},
    0xB6: {0x93: "token identifier", 0x5F20: "application provider"},
    0xB9: {
        0x95: "key usage",
        0x96: "key access",
        0x80: "key type",
        0x81: "key length",
        0x82: "key identifier",
        0x83: "key version",
        0x84: "key check value",
    },
    0xE0: {0xC0: "key"},
    0xE3: {0x84: "module", 0xC4: "load file", 0xCF: "implicit selection"},
    0xEA: {0x80: "toolkit parameters", 0x81: "access parameters", 0x82: "administrative access parameters"},
    0xEF: {0xCF: "implicit selection"},
    0xFF21: {0x81: "applications", 0x82: "free non-volatile memory", 0x83: "free volatile memory"},
}
"""Names by the template around."""

_CONSTRUCTED: Final = 0x20
_DEPTH: Final = 8


def name_of(number: int, around: int = 0) -> str:
    """Name of a tag inside the template `around`; empty for one that is not known."""
    return INSIDE.get(around, {}).get(number) or NAMES.get(number, "")


def is_known(data: bytes, around: int = 0) -> bool:
    """Whether data are data objects whose tags all have names."""
    try:
        found = items(data)
    except DecodeError:
        return False
    return bool(found) and all(name_of(number, around) for number, _ in found)


def tlv_lines(data: bytes, around: int = 0, depth: int = 0) -> Iterator[tuple[str, str]]:
    """A line for every data object: tag and name, and its value or, indented below it, what is inside.

    Raises DecodeError for bytes that are no data objects.
    """
    for number, value in items(data):
        label = f"{'  ' * depth}{number:02X} {name_of(number, around)}".rstrip()
        inside = list(_inside(number, value, depth))
        yield label, "" if inside else value.hex().upper() or "empty"
        yield from inside


def _inside(number: int, value: bytes, depth: int) -> Iterator[tuple[str, str]]:
    first = number >> 8 * ((number.bit_length() + 7) // 8 - 1) if number else 0
    if not first & _CONSTRUCTED or depth >= _DEPTH or not value:
        return
    try:
        yield from list(tlv_lines(value, number, depth + 1))
    except DecodeError:
        return
