"""Network PDUs: sealed under the EncryptionKey, their header hidden under the PrivacyKey (MshPRT 3.4.4, 3.9.7)."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from keywright.errors import AuthenticationError, DecodeError
from keywright.mesh.network.keys import NetKey

IV_INDEX_LAST: Final = 0xFFFFFFFF
SEQ_LAST: Final = 0xFFFFFF
TTL_LAST: Final = 0x7F
UNASSIGNED: Final = 0x0000
UNICAST_LAST: Final = 0x7FFF
VIRTUAL_FIRST: Final = 0x8000
GROUP_FIRST: Final = 0xC000
ALL_PROXIES: Final = 0xFFFC
ALL_FRIENDS: Final = 0xFFFD
ALL_RELAYS: Final = 0xFFFE
ALL_NODES: Final = 0xFFFF

NETWORK: Final = 0x00
PROXY: Final = 0x03
"""Types of nonce: a network PDU, or a proxy configuration message."""
_SHORTEST: Final = 14
_CONTROL: Final = 0x80
_HEADER: Final = struct.Struct(">BHBH")
_NONCE: Final = struct.Struct(">B6sxxI")
_PRIVACY: Final = struct.Struct(">5xI7s")


class NetworkPdu(msgspec.Struct, frozen=True):
    """One network PDU in clear."""

    ctl: bool
    """Whether it carries a control message; its MIC then has 8 octets, else 4."""
    ttl: int
    seq: int
    src: int
    dst: int
    transport: bytes
    """The lower transport PDU, 1 to 16 octets (control: to 12)."""


def seal_network(key: NetKey, iv_index: int, pdu: NetworkPdu, kind: int = NETWORK) -> bytes:
    """The PDU as it goes on the air.

    kind: `NETWORK` or `PROXY`. A source address and sequence number must never be used twice under one IV index. Raises
    ValueError for a field out of range.
    """
    if not (0 <= pdu.ttl <= TTL_LAST and 0 <= pdu.seq <= SEQ_LAST and UNASSIGNED < pdu.src <= UNICAST_LAST):
        raise ValueError(f"TTL {pdu.ttl}, SEQ {pdu.seq:06X}, SRC {pdu.src:04X}: out of range")
    header = _HEADER.pack(pdu.ctl << 7 | pdu.ttl, pdu.seq >> 8, pdu.seq & 0xFF, pdu.src)
    sealed = key.encryption_key.seal(
        _nonce(kind, header, iv_index), pdu.dst.to_bytes(2) + pdu.transport, mic_bytes=8 if pdu.ctl else 4
    )
    return bytes(((iv_index & 1) << 7 | key.nid,)) + _obfuscate(key, iv_index, sealed, header) + sealed


def open_network(key: NetKey, iv_index: int, data: bytes, kind: int = NETWORK) -> NetworkPdu:
    """The PDU in clear. iv_index: the one it was sent under; see `sent_under`.

    Raises DecodeError for what is none, AuthenticationError for a PDU under another key or changed on its way.
    """
    if len(data) < _SHORTEST:
        raise DecodeError(f"a network PDU has at least {_SHORTEST} octets, not {len(data)}")
    if data[0] != (iv_index & 1) << 7 | key.nid:
        raise AuthenticationError("network PDU not accepted")
    sealed = data[7:]
    header = _obfuscate(key, iv_index, sealed, data[1:7])
    control_ttl, high, low, src = _HEADER.unpack(header)
    ctl = control_ttl >= _CONTROL
    clear = key.encryption_key.open(_nonce(kind, header, iv_index), sealed, mic_bytes=8 if ctl else 4)
    if len(clear) <= 2 or not UNASSIGNED < src <= UNICAST_LAST:
        raise DecodeError("network PDU without a transport PDU, or from an address that is none", 7)
    return NetworkPdu(ctl, control_ttl & TTL_LAST, high << 8 | low, src, int.from_bytes(clear[:2]), clear[2:])


def sent_under(data: bytes, iv_index: int) -> int:
    """The IV index that a PDU was sent under, of the current one and the one before (MshPRT 3.4.4.1).

    Never below 0: a PDU that claims an index before the first cannot be opened.
    """
    return iv_index if (data[0] >> 7) == iv_index & 1 else max(0, iv_index - 1)


def _nonce(kind: int, header: bytes, iv_index: int) -> bytes:
    # A proxy configuration message has a pad where others have CTL and TTL (MshPRT 3.9.5.4).
    return _NONCE.pack(kind, header if kind == NETWORK else b"\x00" + header[1:], iv_index)


def _obfuscate(key: NetKey, iv_index: int, sealed: bytes, header: bytes) -> bytes:
    mask = key.privacy_key.encrypt_blocks(_PRIVACY.pack(iv_index, sealed[:7]))
    return (int.from_bytes(mask[:6]) ^ int.from_bytes(header)).to_bytes(6)
