"""The SP0 frames of a ranging round: pre-poll and final data (CCC-TS-101 20.5; little-endian on the air).

A frame is its MHR, the sealed payload and an 8-octet MIC: AES-CCM*-64 with the MHR as associated data. The FCS is the
radio's. A pre-poll is sealed with mUPSK1, final data with the dUDSK of its round.
"""

from __future__ import annotations

import functools
from typing import Annotated, Final, NamedTuple

from keywright.codec.record import U8, U16, U32, LittleRecord, counted, raw
from keywright.crypto.aead import CcmKey
from keywright.errors import DecodeError, WireError
from keywright.uwb.keys import Uad

CCC_OUI: Final = bytes.fromhex("69DF04")
"""04DF69 as it is on the air, lowest octet first."""
ALIRO_OUI: Final = bytes.fromhex("1B194A")
"""4A191B likewise."""
PRE_POLL: Final = 1
FINAL_DATA: Final = 2
MHR_BYTES: Final = 23
MIC_BYTES: Final = 8
MOST_RESPONDERS: Final = 10
"""Records of one final data: more do not fit a frame of 127 octets."""
LAST_COUNTER: Final = 0xFFFFFFFF
_SECURITY_LEVEL: Final = b"\x06"


class Mhr(LittleRecord, frozen=True):
    """MAC header of both frames, 23 octets. What never changes is a field too; `open_frame` judges it."""

    frame_control: U16
    destination: U16
    security_control: U8
    frame_counter: U32
    key_source: Annotated[bytes, raw(4)]
    key_index: U8
    vendor_ie: U16
    oui: Annotated[bytes, raw(3)]
    message_id: U8
    payload_bytes: U8
    termination: U16


class PrePoll(LittleRecord, frozen=True):
    """Payload of a pre-poll, 13 octets."""

    session_id: U32
    poll_sts_index: U32
    """STS index of the poll one slot later."""
    block: U16
    """Index of this block, its lowest 16 bits."""
    hop_flag: U8
    round: U16


class ResponderRecord(LittleRecord, frozen=True):
    """What the initiator measured of one responder."""

    index: U8
    poll_to_response: U32
    """Ticks of the initiator from sending the poll to receiving the response."""
    uncertainty: U8
    status: U8


class FinalData(LittleRecord, frozen=True):
    """Payload of final data: 18 octets, and 7 for each record."""

    session_id: U32
    block: U16
    """Index of this block, its lowest 16 bits."""
    hop_flag: U8
    """Of the next block."""
    round: U16
    """Of the next block."""
    final_sts_index: U32
    """STS index of the final one slot earlier."""
    poll_to_final: U32
    """Ticks of the initiator from sending the poll to sending the final."""
    records: Annotated[tuple[ResponderRecord, ...], counted(1)] = ()


class RangingStatus:
    """What a record says of a response (CCC-TS-101 table 20-7)."""

    SUCCESS: Final = 0
    OVERFLOW: Final = 1
    EXPIRED: Final = 2
    INCORRECT: Final = 3


class Opened(NamedTuple):
    """A frame whose MIC fits."""

    frame_counter: int
    payload: bytes


_FRAME_CONTROL: Final = 0x2B49
_SECURITY_CONTROL: Final = 0x16
_KEY_INDEX: Final = 0xAA
_VENDOR_IE: Final = 0x0005
_TERMINATION: Final = 0x3F80
_FIXED: Final = (
    ("frame control", 0, _FRAME_CONTROL.to_bytes(2, "little")),
    ("security control", 4, bytes((_SECURITY_CONTROL,))),
    ("key index", 13, bytes((_KEY_INDEX,))),
    ("vendor IE", 14, _VENDOR_IE.to_bytes(2, "little")),
    ("termination", 21, _TERMINATION.to_bytes(2, "little")),
)
"""What never changes in an MHR, with its place."""
_OUI_AT: Final = 16


def seal_frame(
    key: CcmKey, uad: Uad, frame_counter: int, message_id: int, payload: bytes, *, oui: bytes = ALIRO_OUI
) -> bytes:
    """A whole frame. frame_counter: never twice with one key and source. Raises ValueError for what does not fit."""
    mhr = Mhr(
        _FRAME_CONTROL,
        uad.destination,
        _SECURITY_CONTROL,
        frame_counter,
        uad.key_source,
        _KEY_INDEX,
        _VENDOR_IE,
        oui,
        message_id,
        len(payload),
        _TERMINATION,
    ).build()
    return mhr + key.seal(_nonce(uad, frame_counter), payload, mhr, mic_bytes=MIC_BYTES)


def parse_mhr(octets: bytes, *, oui: bytes = ALIRO_OUI) -> Mhr:
    """The header in clear of a whole frame; nothing of it is proven yet.

    Raises DecodeError for what is no frame of this kind, naming the field and its place.
    """
    mhr = Mhr.parse(octets[:MHR_BYTES])
    if octets[:2] + octets[4:5] + octets[13:19] + octets[21:23] != _fixed(oui):
        raise _stranger(octets, oui)
    if len(octets) != MHR_BYTES + mhr.payload_bytes + MIC_BYTES:
        raise DecodeError(
            f"MHR announces {mhr.payload_bytes} octets, {len(octets) - MHR_BYTES} follow with the MIC", MHR_BYTES - 3
        )
    return mhr


def open_frame(
    key: CcmKey, uad: Uad, octets: bytes, message_id: int, *, after: int = -1, oui: bytes = ALIRO_OUI
) -> Opened:
    """The payload of a frame from the other end of this session.

    after: the highest frame counter accepted so far, -1 for none. Raises DecodeError for what is no such frame,
    WireError for one of another session or kind or with a counter seen before, AuthenticationError if the MIC does
    not fit.
    """
    mhr = parse_mhr(octets, oui=oui)
    if mhr.message_id != message_id:
        raise WireError(f"message {mhr.message_id} where {message_id} is due")
    if mhr.destination != uad.destination or mhr.key_source != uad.key_source:
        raise WireError("a frame of another session", hint="compare the ranging configurations and STS_Index0")
    if mhr.frame_counter <= after:
        raise WireError(f"frame counter {mhr.frame_counter} after {after}: a frame sent again")
    payload = key.open(_nonce(uad, mhr.frame_counter), octets[MHR_BYTES:], octets[:MHR_BYTES], mic_bytes=MIC_BYTES)
    return Opened(mhr.frame_counter, payload)


def record_of(data: FinalData, index: int, responders: int) -> ResponderRecord | None:
    """The record of one responder, by its index and not its place; None if the initiator has none.

    Raises WireError if any record is there twice or of a responder that the session has not.
    """
    found: dict[int, ResponderRecord] = {}
    for record in data.records:
        if record.index >= responders:
            raise WireError(f"final data: a record of responder {record.index} of {responders}")
        if record.index in found:
            raise WireError(f"final data: two records of responder {record.index}")
        found[record.index] = record
    return found.get(index)


@functools.cache
def _fixed(oui: bytes) -> bytes:
    """What never changes in the MHRs of a profile, as `parse_mhr` cuts it out."""
    frame_control, security_control, *ie, termination = (octets for _, _, octets in _FIXED)
    return frame_control + security_control + b"".join(ie) + oui + termination


def _stranger(octets: bytes, oui: bytes) -> DecodeError:
    """Which part of an MHR, which is not all ours, is another one's."""
    parts = (*_FIXED, ("OUI", _OUI_AT, oui))
    name, at, due = next(part for part in parts if not octets.startswith(part[2], part[1]))
    return DecodeError(f"MHR: {name} {octets[at : at + len(due)].hex().upper()}, not {due.hex().upper()}", at)


def _nonce(uad: Uad, frame_counter: int) -> bytes:
    return uad.source + frame_counter.to_bytes(4) + _SECURITY_LEVEL
