"""Secure messaging of SCP10 (GPCS F.3.2): data objects of ISO 7816-4, the parts that both ends compute alike."""

from __future__ import annotations

from typing import Final

from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp, secured
from keywright.iso7816.status import SW
from keywright.scp.level import Level
from keywright.scp.padding import pad80, unpad80
from keywright.scp.scp10.keys import BLOCK, NO_IV, MacKey, SessionKeys
from keywright.scp.scp10.messages import ProtectedCommand, ProtectedResponse
from keywright.scp.scp10.profile import Profile

PADDED: Final = b"\x01"
"""Padding indicator: 80, then zeros (ISO 7816-4)."""
MAC_OBJECT: Final = b"\x8e\x08"
MAC_OBJECT_BYTES: Final = 10
_FURTHER: Final = 0x40
_SM_FURTHER: Final = 0x20
_SM_FIRST: Final = 0x0C
_SM_FIRST_NO_MAC: Final = 0x08
_SM_MAC: Final = 0x04


class Broken(Exception):  # noqa: N818 - it becomes a refusal at the card and an error at the host
    """What came does not verify or does not open; nothing says why."""


def protected_class(cla: int, *, mac: bool) -> int:
    """`cla` with the bits of secure messaging: b4 b3 = 11 with a MAC, 10 without; channels 4 to 19 have b6 for both."""
    return secured(cla) if cla & _FURTHER else cla | (_SM_FIRST if mac else _SM_FIRST_NO_MAC)


def is_protected(cla: int) -> bool:
    """Whether the class says that the command carries these data objects; `is_secured` misses those without a MAC."""
    return bool(cla & (_SM_FURTHER if cla & _FURTHER else _SM_FIRST))


def contradicts(cla: int, *, mac: bool) -> bool:
    """Whether the class denies the MAC that is there, or claims one: its b3, on channels 0 to 3."""
    return not cla & _FURTHER and bool(cla & _SM_MAC) is not mac


def bears_protection(sw: int) -> bool:
    """Whether an answer with this status word is protected: 9000 and warnings are, errors go bare."""
    return sw == SW.OK or sw >> 8 in (0x62, 0x63)


def encrypt(key: TripleDesKey | None, data: bytes) -> bytes:
    """Value of 86 or 87: padding indicator and cryptogram (GPCS F.3.2). Raises Broken without a key."""
    if key is None:
        raise Broken
    return PADDED + key.encrypt_cbc(NO_IV, pad80(data, BLOCK))


def decrypt(key: TripleDesKey | None, value: bytes) -> bytes:
    """Inverse of `encrypt`. Raises Broken."""
    cryptogram = value[1:]
    if key is None or value[:1] != PADDED or not cryptogram or len(cryptogram) % BLOCK:
        raise Broken
    try:
        return unpad80(key.decrypt_cbc(NO_IV, cryptogram))
    except ValueError:
        raise Broken from None


def command_mac(key: MacKey | None, command: Command, objects: bytes, profile: Profile) -> bytes:
    """C-MAC over the header, padded, and the objects (GPCS F.3.2). Raises Broken without a key."""
    if key is None:
        raise Broken
    covered = 0x80 if is_gp(command.cla) else 0x00
    if profile.mac_class == "sent":
        covered |= _SM_FIRST
    return key.next_mac(pad80(bytes((covered, command.ins, command.p1, command.p2)), BLOCK) + objects)


def check_command_mac(keys: SessionKeys, command: Command, profile: Profile) -> None:
    """Check the C-MAC at the end of a protected command's data. Raises Broken."""
    objects, mac = command.data[:-MAC_OBJECT_BYTES], command.data[-MAC_OBJECT_BYTES:]
    expected = command_mac(keys.c_mac, command, objects, profile)
    if not equal(mac, MAC_OBJECT + expected):
        raise Broken


def read_command(command: Command) -> ProtectedCommand:
    """The objects of a protected command. Raises Broken, also when they contradict each other."""
    try:
        objects = ProtectedCommand.parse(command.data)
    except DecodeError:
        raise Broken from None
    data = [value for value in (objects.plain, objects.cryptogram, objects.bare_cryptogram) if value is not None]
    under_mac = objects.plain is not None or objects.cryptogram is not None or objects.le is not None
    without = objects.bare_cryptogram is not None or objects.bare_le is not None
    if len(data) > 1 or (under_mac and without) or (objects.mac is None) != without:
        raise Broken
    return objects


def le_object(command: Command, *, answered: bool) -> bytes | None:
    """Value of 97 or 96: Le in 1 byte, in 2 for an extended command; 00 when only the protection makes an answer."""
    width = 2 if command.extended else 1
    if command.le is None:
        return bytes(width) if answered else None
    return (command.le % (1 << 8 * width)).to_bytes(width)


def protect_response(keys: SessionKeys, level: int, response: Response, *, bare_counts: bool) -> Response:
    """Card: protect an answer as the level asks (GPCS F.3.2). Raises Broken without a key."""
    if not bears_protection(response.sw):
        if level & Level.R_MAC and keys.r_mac and bare_counts:
            keys.r_mac.counter.take()
        return response
    objects = _data_objects(keys, level, response.data)
    if not level & Level.R_MAC:
        return Response(objects.build(), response.sw) if level & Level.R_ENC else response
    if keys.r_mac is None:
        raise Broken
    body = objects.build() + ProtectedResponse(sw=response.sw.to_bytes(2)).build()
    return Response(body + MAC_OBJECT + keys.r_mac.next_mac(body), response.sw)


def _data_objects(keys: SessionKeys, level: int, data: bytes) -> ProtectedResponse:
    if not data:
        return ProtectedResponse()
    if not level & Level.R_ENC:
        return ProtectedResponse(plain=data)
    cryptogram = encrypt(keys.r_enc, data)
    return (
        ProtectedResponse(cryptogram=cryptogram) if level & Level.R_MAC else ProtectedResponse(None, None, cryptogram)
    )


def open_response(keys: SessionKeys, level: int, response: Response, *, bare_counts: bool) -> Response:
    """Host: inverse of `protect_response`. Raises Broken."""
    if not bears_protection(response.sw):
        if level & Level.R_MAC and keys.r_mac and bare_counts:
            keys.r_mac.counter.take()
        return Response(b"", response.sw)
    if not level & (Level.R_MAC | Level.R_ENC):
        return response
    try:
        objects = ProtectedResponse.parse(response.data)
    except DecodeError:
        raise Broken from None
    if level & Level.R_MAC:
        _check_response_mac(keys, response)
    plain, wanted = _response_data(objects, level), response.sw.to_bytes(2) if level & Level.R_MAC else None
    if objects.sw != wanted or (objects.mac is None) != (wanted is None):
        raise Broken
    return Response(decrypt(keys.r_enc, plain) if plain and level & Level.R_ENC else plain, response.sw)


def _check_response_mac(keys: SessionKeys, response: Response) -> None:
    body, mac = response.data[:-MAC_OBJECT_BYTES], response.data[-MAC_OBJECT_BYTES:]
    if keys.r_mac is None or not equal(mac, MAC_OBJECT + keys.r_mac.next_mac(body)):
        raise Broken


def _response_data(objects: ProtectedResponse, level: int) -> bytes:
    """The value of the one data object that the level calls for, empty when there is none."""
    due = "plain" if not level & Level.R_ENC else "cryptogram" if level & Level.R_MAC else "bare_cryptogram"
    given = {name for name in ("plain", "cryptogram", "bare_cryptogram") if getattr(objects, name) is not None}
    if given - {due}:
        raise Broken
    value: bytes | None = getattr(objects, due)
    return value or b""
