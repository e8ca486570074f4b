"""Upper transport: access messages sealed under an application or device key (MshPRT 3.6)."""

from __future__ import annotations

import struct
from typing import Final

from keywright.mesh.network.keys import AppKey

SHORT_MIC: Final = 4
LONG_MIC: Final = 8
"""Octets of the TransMIC; the long one goes with segments alone (SZMIC)."""
_APPLICATION: Final = 0x01
_DEVICE: Final = 0x02
_NONCE: Final = struct.Struct(">BBHBHHI")


def seal_access(
    key: AppKey,
    message: bytes,
    *,
    seq: int,
    src: int,
    dst: int,
    iv_index: int,
    long_mic: bool = False,
    label: bytes = b"",
) -> bytes:
    """The upper transport PDU of an access message.

    seq: sequence number of the first network PDU that carries it. label: the label UUID of a virtual destination.
    """
    nonce = _nonce(key, long_mic, seq, src, dst, iv_index)
    return key.ccm.seal(nonce, message, label, mic_bytes=LONG_MIC if long_mic else SHORT_MIC)


def open_access(
    key: AppKey,
    sealed: bytes,
    *,
    seq: int,
    src: int,
    dst: int,
    iv_index: int,
    long_mic: bool = False,
    label: bytes = b"",
) -> bytes:
    """Inverse of `seal_access`. Raises AuthenticationError if the TransMIC does not fit."""
    nonce = _nonce(key, long_mic, seq, src, dst, iv_index)
    return key.ccm.open(nonce, sealed, label, mic_bytes=LONG_MIC if long_mic else SHORT_MIC)


def _nonce(key: AppKey, long_mic: bool, seq: int, src: int, dst: int, iv_index: int) -> bytes:  # noqa: FBT001 - a field
    return _NONCE.pack(
        _DEVICE if key.is_device_key else _APPLICATION, long_mic << 7, seq >> 8, seq & 0xFF, src, dst, iv_index
    )
