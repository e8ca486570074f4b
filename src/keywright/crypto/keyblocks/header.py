"""The readable part of a key block: 16 characters and optional blocks (ANSI X9.143, TR-31:2018 5, ISO 20038).

D0112P0AE00E0000
|    |||| ||
|    |||| |number of optional blocks, then key context and a reserved 0
|    |||| exportability
|    |||key version number
|    ||mode of use
|    |algorithm
|    key usage
version, then the length of the whole block in decimal
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Final, Self

import msgspec

from keywright.errors import DecodeError

HEADER_CHARACTERS: Final = 16
MAX_CHARACTERS: Final = 9999
"""What four decimal digits of length can say."""

VERSIONS: Final[Mapping[str, str]] = {
    "A": "TDES, key variants (deprecated)",
    "B": "TDES, derived keys",
    "C": "TDES, key variants",
    "D": "AES, derived keys, CBC",
    "E": "AES, derived keys, CTR (ISO 20038)",
}
ALGORITHMS: Final[Mapping[str, str]] = {
    "A": "AES",
    "D": "DES",
    "E": "elliptic curve",
    "H": "HMAC",
    "R": "RSA",
    "S": "DSA",
    "T": "TDES",
}
MODES: Final[Mapping[str, str]] = {
    "B": "encrypt and decrypt, or wrap and unwrap",
    "C": "generate and verify MACs",
    "D": "decrypt or unwrap",
    "E": "encrypt or wrap",
    "G": "generate MACs",
    "N": "no special restriction",
    "S": "sign",
    "T": "sign and decrypt",
    "V": "verify",
    "X": "derive keys",
    "Y": "make key variants",
}
EXPORTABILITY: Final[Mapping[str, str]] = {
    "E": "exportable under a trusted key",
    "N": "not exportable",
    "S": "sensitive: exportable, also under other keys",
}
CONTEXTS: Final[Mapping[str, str]] = {"0": "storage or exchange", "1": "storage", "2": "exchange"}
"""First of the two reserved characters (X9.143)."""

USAGES: Final[Mapping[str, str]] = {
    "20": "GlobalPlatform secure channel master (ours)",
    "21": "GlobalPlatform card key (ours)",
    "B0": "base derivation key (DUKPT)",
    "B1": "initial DUKPT key",
    "B2": "base key variant",
    "B3": "key derivation key",
    "C0": "card verification key",
    "D0": "symmetric data encryption",
    "D1": "asymmetric data encryption",
    "E0": "EMV master: application cryptograms",
    "E1": "EMV master: secure messaging, confidentiality",
    "E2": "EMV master: secure messaging, integrity",
    "E3": "EMV master: data authentication code",
    "E4": "EMV master: dynamic numbers",
    "E5": "EMV master: card personalisation (KMC)",
    "E6": "EMV master: other",
    "I0": "initialisation vector",
    "K0": "key encryption or wrapping",
    "K1": "key block protection (TR-31)",
    "K2": "TR-34 asymmetric key",
    "K3": "asymmetric key agreement or wrapping",
    "K4": "key block protection (ISO 20038)",
    "M0": "ISO 16609 MAC algorithm 1",
    "M1": "ISO 9797-1 MAC algorithm 1",
    "M3": "ISO 9797-1 MAC algorithm 3",
    "M6": "CMAC",
    "M7": "HMAC",
    "P0": "PIN encryption",
    "S0": "signature key pair",
    "S1": "certificate authority key pair",
    "S2": "signature key pair, other",
    "V0": "PIN verification, other",
    "V1": "PIN verification, IBM 3624",
    "V2": "PIN verification, Visa PVV",
}
"""What we have words for; other usages of the standard are read, but neither written nor asked for."""

PADDING_BLOCK: Final = "PB"
BLOCKS: Final[Mapping[str, str]] = {
    "AL": "asymmetric key life",
    "BI": "base derivation key identifier",
    "CT": "certificate",
    "DA": "derivations allowed",
    "DK": "derivation constants",
    "FL": "flags",
    "HM": "hash of the HMAC",
    "IK": "initial key identifier",
    "KC": "check value of the wrapped key",
    "KP": "check value of the protection key",
    "KS": "key set identifier",
    "LB": "label",
    "PB": "padding",
    "PK": "protection key check value (exported key)",
    "TC": "time of creation",
    "TS": "time stamp",
    "WP": "wrapping pedigree",
}

_ALPHANUMERIC: Final = frozenset(string.ascii_uppercase + string.digits)
_HEX: Final = frozenset("0123456789ABCDEF")
_DIGITS: Final = frozenset(string.digits)
_SHORT: Final = 255
"""Longest optional block whose length fits into two hex digits; longer ones have it after 00 and its own width."""
_LONG_HEAD: Final = 10
"""Characters before the data of a long optional block as we write it: id, 00, 04, four digits."""


class OptionalBlock(msgspec.Struct, frozen=True):
    """One optional block. `data`: printable ASCII, without id and length."""

    id: str
    data: str

    def build(self) -> str:
        """Id, length and data. Raises ValueError for an id or data that no block has."""
        if len(self.id) != 2 or not _ALPHANUMERIC.issuperset(self.id):
            raise ValueError("the id of an optional block is two capitals or digits")
        if not is_printable(self.data):
            raise ValueError(f"the data of optional block {self.id} are printable ASCII")
        length = 4 + len(self.data)
        if length <= _SHORT:
            return f"{self.id}{length:02X}{self.data}"
        return f"{self.id}0004{_LONG_HEAD + len(self.data):04X}{self.data}"


class Header(msgspec.Struct, frozen=True):
    """All of the header but the length, and without padding: that of a block is made when the block is."""

    version: str
    usage: str
    algorithm: str
    mode: str
    key_version: str = "00"
    exportability: str = "N"
    blocks: tuple[OptionalBlock, ...] = ()
    context: str = "0"

    @property
    def alignment(self) -> int:
        """Characters to whose multiple the optional blocks are padded: the cipher's block size."""
        return 8 if self.version in "ABC" else 16

    @property
    def is_component(self) -> bool:
        """Whether the block carries a component of a key (key version `c` and a digit)."""
        return self.key_version[0] == "c"

    def block(self, identifier: str) -> str | None:
        """Data of the optional block with that id, None if there is none."""
        return next((block.data for block in self.blocks if block.id == identifier), None)

    def build(self, rest: int = 0) -> str:
        """The header of a block whose ciphertext and MAC take `rest` characters. Raises ValueError.

        Optional blocks are followed by a padding block of zeros where they do not fill whole cipher blocks.
        """
        fixed = (self.usage, self.algorithm, self.mode, self.key_version, self.exportability)
        if any(block.id == PADDING_BLOCK for block in self.blocks):
            raise ValueError("the padding block is made here, not given")
        parts = [block.build() for block in self.blocks]
        short = -sum(map(len, parts)) % self.alignment
        if short:
            parts.append(OptionalBlock(PADDING_BLOCK, "0" * ((short - 4) % self.alignment)).build())
        length = HEADER_CHARACTERS + sum(map(len, parts)) + rest
        if length > MAX_CHARACTERS:
            raise ValueError(f"a key block of {length} characters is longer than {MAX_CHARACTERS}")
        text = f"{self.version}{length:04}{''.join(fixed)}{len(parts):02}{self.context}0{''.join(parts)}"
        if Header.parse(text)[0] != self:
            raise ValueError("a field of the header has a wrong length")
        return text

    @classmethod
    def parse(cls, text: str) -> tuple[Self, int]:
        """The header at the start of a block, and where it ends. Raises DecodeError with the offset of what is wrong.

        The length field is not compared with `text`: that is the block's.
        """
        if len(text) < HEADER_CHARACTERS:
            raise DecodeError(f"key block header of {len(text)} characters, not {HEADER_CHARACTERS}", len(text))
        _known("version", text, 0, VERSIONS)
        length_of(text)
        _all_in("key usage", text, 5, 7, _ALPHANUMERIC)
        _known("algorithm", text, 7, ALGORITHMS)
        _known("mode of use", text, 8, MODES)
        if not is_printable(text[9:11]):
            raise DecodeError("key block: the key version number is not printable", 9)
        _known("exportability", text, 11, EXPORTABILITY)
        _all_in("number of optional blocks", text, 12, 14, _DIGITS)
        _known("key context", text, 14, CONTEXTS)
        if text[15] != "0":
            raise DecodeError("key block: the last reserved character is not 0", 15)
        blocks, end = _optional_blocks(text, int(text[12:14]), 8 if text[0] in "ABC" else 16)
        return cls(text[0], text[5:7], text[7], text[8], text[9:11], text[11], blocks, text[14]), end


def length_of(text: str) -> int:
    """What the length field says. Raises DecodeError."""
    _all_in("length", text, 1, 5, _DIGITS)
    return int(text[1:5])


def is_printable(text: str) -> bool:
    """Whether every character is printable ASCII, blanks included."""
    return all(" " <= character <= "~" for character in text)


def _optional_blocks(text: str, count: int, alignment: int) -> tuple[tuple[OptionalBlock, ...], int]:
    at, found = HEADER_CHARACTERS, list[OptionalBlock]()
    for number in range(count):
        block, end = _optional_block(text, at)
        if any(block.id == other.id for other in found):
            raise DecodeError(f"key block: a second optional block {block.id}", at)
        if block.id == PADDING_BLOCK and number != count - 1:
            raise DecodeError("key block: the padding block is not the last optional block", at)
        found.append(block)
        at = end
    if (at - HEADER_CHARACTERS) % alignment:
        raise DecodeError(f"key block: the optional blocks do not fill whole {alignment} characters", at)
    return tuple(block for block in found if block.id != PADDING_BLOCK), at


def _optional_block(text: str, at: int) -> tuple[OptionalBlock, int]:
    _all_in("id of an optional block", text, at, at + 2, _ALPHANUMERIC)
    data_at, length = at + 4, _hex_number(text, at + 2, 2)
    if length == 0:
        width = _hex_number(text, at + 4, 2)
        if not 1 <= width <= 8:
            raise DecodeError("key block: the length of an optional block has 1 to 8 digits", at + 4)
        data_at, length = at + 6 + width, _hex_number(text, at + 6, width)
    end = at + length
    if end < data_at:
        raise DecodeError("key block: an optional block is shorter than its own head", at + 2)
    if end > len(text):
        raise DecodeError("key block: an optional block goes beyond the end", len(text))
    data = text[data_at:end]
    if not is_printable(data):
        raise DecodeError("key block: an optional block is not printable", data_at)
    return OptionalBlock(text[at : at + 2], data), end


def _hex_number(text: str, at: int, digits: int) -> int:
    _all_in("length of an optional block", text, at, at + digits, _HEX)
    return int(text[at : at + digits], 16)


def _all_in(what: str, text: str, start: int, end: int, allowed: frozenset[str]) -> None:
    field = text[start:end]
    if len(field) != end - start:
        raise DecodeError(f"key block: the {what} is cut short", len(text))
    if not allowed.issuperset(field):
        raise DecodeError(f"key block: the {what} has a character that it cannot have", start)


def _known(what: str, text: str, at: int, known: Mapping[str, str]) -> None:
    if text[at] not in known:
        raise DecodeError(f"key block: no {what} that we know", at)
