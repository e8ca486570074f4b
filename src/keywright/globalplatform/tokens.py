"""Tokens of delegated management: the exact bytes that are signed, signing them off card and checking them on card.

The input is cut out of the command as it was sent, never built anew: lengths may be written in more than one way
(GPCS C.4).
"""

from __future__ import annotations

from typing import Final, TypeAlias

from keywright.codec.ber import item, read_length, spans
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import DecodeError
from keywright.globalplatform.signatures import sign, verify
from keywright.iso7816.apdu import Command

TokenSigner: TypeAlias = RsaPrivateKey | EcPrivateKey | AesKey
TokenVerifier: TypeAlias = RsaPublicKey | EcPublicKey | AesKey

TOKEN_TAG: Final = 0x9E
"""Tag of the token in DELETE (GPCS 11.2.2.3.1)."""
_MORE: Final = 0x80
_ONE_BYTE: Final = 0xFF
_LV_128: Final = 0x80


def split_install(data: bytes) -> tuple[bytes, bytes]:
    """Data of INSTALL as what a token covers, and the token: the last of its fields. Raises DecodeError."""
    at, start, end = 0, 0, 0
    while at < len(data):
        start, (size, begin) = at, _length(data, at)
        at, end = begin + size, begin
    if at != len(data) or not data:
        raise DecodeError("data of INSTALL are cut short", min(start, len(data)))
    return data[:start], data[end:]


def split_delete(data: bytes) -> tuple[bytes, bytes]:
    """Data of DELETE as what a token covers, and the token (9E), empty when there is none. Raises DecodeError."""
    fields, token, at = b"", b"", 0
    for number, begin, stop in spans(data, 0, len(data)):
        if number == TOKEN_TAG:
            token = data[begin:stop]
        else:
            fields += data[at:stop]
        at = stop
    return fields, token


def token_input(p1: int, p2: int, fields: bytes) -> bytes:
    """P1, P2, length and fields of one command (GPCS C.4). Bit 80 of P1, "more follows", is left out.

    The length is that of the fields, without the token and its own length: one byte, or 00 and two bytes from 256 on.
    """
    size = len(fields)
    coded = bytes((size,)) if size <= _ONE_BYTE else b"\0" + size.to_bytes(2)
    return bytes((p1 & ~_MORE, p2)) + coded + fields


def install_input(command: Command) -> bytes:
    """Token input of one INSTALL, whatever it is for, its data whole. Raises DecodeError."""
    return token_input(command.p1, command.p2, split_install(command.data)[0])


def combined_input(first: Command, last: Command) -> bytes:
    """Token input of a combined load, install and make selectable process: those of both INSTALL joined (GPCS C.4)."""
    return install_input(first) + install_input(last)


def delete_input(command: Command) -> bytes:
    """Token input of DELETE of an object: its AID and, if there, its control reference (GPCS C.4)."""
    return token_input(command.p1, command.p2, split_delete(command.data)[0])


def with_install_token(data: bytes, token: bytes) -> bytes:
    """Data of INSTALL with the token in its last field. Raises DecodeError."""
    fields, _ = split_install(data)
    return fields + item(TOKEN_TAG, token)[1:]


def with_delete_token(data: bytes, token: bytes) -> bytes:
    """Data of DELETE with the token at its end. Raises DecodeError."""
    fields, _ = split_delete(data)
    return fields + item(TOKEN_TAG, token)


def sign_token(key: TokenSigner, signed: bytes) -> bytes:
    """Token over an input, by whoever holds the token key."""
    return sign(key, signed)


def verify_token(key: TokenVerifier, signed: bytes, token: bytes) -> None:
    """Check a token, as the security domain with token verification does. Raises AuthenticationError."""
    verify(key, signed, token)


def _length(data: bytes, at: int) -> tuple[int, int]:
    if data[at] == _LV_128:
        return _LV_128, at + 1
    return read_length(data, at, len(data))
