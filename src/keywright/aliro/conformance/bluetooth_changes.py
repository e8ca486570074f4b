"""What somebody on the line does to a session over Bluetooth: to each message, and with messages of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from keywright.aliro.ble.line import Carried
from keywright.aliro.ble.messages import (
    HEADER_BYTES,
    AccessCompleted,
    ApRequest,
    ApResponse,
    Attribute,
    BleMessage,
    Event,
    GeneralError,
    InitiateAccess,
    RkeAction,
    RkeRequest,
    Source,
    State,
    StateInformation,
    StateReport,
    StatusChanged,
    envelope,
    general_error,
)
from keywright.aliro.conformance.bluetooth_meeting import Change, Meeting
from keywright.aliro.messages import Proprietary
from keywright.codec.ber import item


class Foreign(NamedTuple):
    """A message that does not belong where it comes."""

    at: int
    """The message in place of which, or before which, it comes."""
    name: str
    text: str
    octets: bytes
    alone: bool = False
    """Whether it comes in place of that message."""

    def change(self) -> Change:
        """What it does to the session."""
        return lambda _, carried: (self.octets,) if self.alone else (self.octets, carried.octets)


def _attributes(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """What is done to the attributes of a message in clear."""

    def altered(_: Meeting, carried: Carried) -> Sequence[bytes]:
        head, payload = carried.octets[:2], carried.octets[HEADER_BYTES:]
        parts = []
        while payload:
            size = 2 + payload[1]
            parts.append(payload[:size])
            payload = payload[size:]
        made = b"".join(change(parts))
        return (head + len(made).to_bytes(2) + made,)

    return altered


def _flipped(octets: bytes) -> bytes:
    """One bit changed in the middle of what follows the header."""
    raw = bytearray(octets)
    raw[HEADER_BYTES + (len(raw) - HEADER_BYTES) // 2] ^= 0x10
    return bytes(raw)


def _replayed(meeting: Meeting, _: Carried) -> Sequence[bytes]:
    """The message at the same place of the earlier session."""
    if meeting.rke not in _EARLIER:
        earlier = Meeting("earlier", rke=meeting.rke)
        earlier.run()
        _EARLIER[meeting.rke] = earlier.line.carried
    return (_EARLIER[meeting.rke][len(meeting.line.carried) - 1].octets,)


def _initiate(*attributes: Attribute) -> InitiateAccess:
    return InitiateAccess(attributes)


def _proprietary(versions: bytes) -> bytes:
    return item(Proprietary.TAG, Proprietary(0, versions).build())


_EARLIER: Final[dict[bool, list[Carried]]] = {}
_AP: Final = ("ApRequest", "ApResponse")
ACCESS: Final = ("InitiateAccess", *_AP * 3, "AccessCompleted", "TimeSync", "RangingNotice", "M1", "M2", "M3", "M4")
"""The messages of a session without a kept key, in their order."""
RKE: Final = ("InitiateRke", *_AP * 3, "AccessCompleted", "RkeRequest")
TIME_SYNC: Final = ACCESS.index("TimeSync")
"""The first message that is sealed for the reader, but for AccessCompleted the first of all."""
M1: Final = ACCESS.index("M1")
CHANGES: Final[dict[str, tuple[str, Change]]] = {
    "lost": ("does not arrive", lambda *_: ()),
    "doubled": ("arrives twice", lambda _, carried: (carried.octets, carried.octets)),
    "cut": ("lacks its last octet", lambda _, carried: (carried.octets[:-1],)),
    "changed": ("has one bit changed", lambda _, carried: (_flipped(carried.octets),)),
    "replayed": ("is that of an earlier session", _replayed),
    "sent back": ("goes back to where it is from", Meeting.send_back),
}
ATTRIBUTES: Final[dict[str, tuple[str, Change]]] = {
    "first attribute missing": ("the first attribute is missing", _attributes(lambda parts: parts[1:])),
    "last attribute missing": ("the last attribute is missing", _attributes(lambda parts: parts[:-1])),
    "attribute twice": ("the first attribute comes twice", _attributes(lambda parts: [parts[0], *parts])),
    "attribute longer": (
        "the length of the last attribute is too great",
        _attributes(lambda parts: [*parts[:-1], parts[-1][:1] + bytes((parts[-1][1] + 1,)) + parts[-1][2:]]),
    ),
    "values all zero": (
        "every value is zero",
        _attributes(lambda parts: [one[:2] + bytes(len(one) - 2) for one in parts]),
    ),
    "values all ones": (
        "every bit of a value is set",
        _attributes(lambda parts: [one[:2] + b"\xff" * (len(one) - 2) for one in parts]),
    ),
}

_A5: Final = Attribute(0, _proprietary(b"\1\0"))
_ERROR: Final = general_error(GeneralError.UNKNOWN)
_COMPLETED: Final = AccessCompleted(StateInformation(0x20, State.UNSECURED))
_CHANGED: Final = StatusChanged(StateReport(Source.THIS_DEVICE_RANGING, State.UNSECURED))


def foreign() -> Iterator[Foreign]:
    """Messages that do not belong where they come."""
    for name, text, initiate in _INITIATING:
        yield Foreign(0, f"initiate, {name}", text, envelope(initiate).build(), alone=True)
    yield Foreign(
        0, "initiate, attribute cut", "an attribute longer than the message", bytes.fromhex("020500020009"), alone=True
    )
    for at, cases in _ELSEWHERE.items():
        for name, text, message in cases:
            octets = message if isinstance(message, bytes) else envelope(message).build()
            yield Foreign(at, name, text, octets)


_INITIATING: Final = (
    ("no attribute", "InitiateAccess without A5", _initiate()),
    ("empty attribute", "A5 is empty", _initiate(Attribute(0, b""))),
    ("two attributes", "A5 twice", _initiate(_A5, _A5)),
    ("another attribute", "A5 in attribute 1", _initiate(Attribute(1, _A5.value))),
    ("no TLV", "the attribute is no TLV", _initiate(Attribute(0, _A5.value[:-1]))),
    ("another TLV", "the attribute is no A5", _initiate(Attribute(0, b"\xa6" + _A5.value[1:]))),
    ("no versions", "5C is empty", _initiate(Attribute(0, _proprietary(b"")))),
    ("unknown version", "5C names 7F.7F alone", _initiate(Attribute(0, _proprietary(b"\x7f\x7f")))),
    (
        "another version",
        "a version more than the device's own salts have",
        _initiate(Attribute(0, _proprietary(b"\2\0\1\0"))),
    ),
)
_ELSEWHERE: Final[dict[int, tuple[tuple[str, str, BleMessage | bytes], ...]]] = {
    0: (
        ("answer first", "an AP response before anything was asked", ApResponse(b"\x90\0")),
        ("request first", "an RKE request before the session has begun", RkeRequest(RkeAction.UNSECURE)),
        ("protocol unknown", "a header of protocol 5", bytes.fromhex("05000000")),
        ("message unknown", "a notification that there is not", bytes.fromhex("027F0000")),
        ("message of the reader", "AccessCompleted, from the device", _COMPLETED),
        ("busy device", "the device says that it is busy", Event(is_busy=True)),
        ("error at once", "a general error before anything", _ERROR),
    ),
    1: (
        ("completed at once", "AccessCompleted in clear, before AUTH0", _COMPLETED),
        ("state at once", "StatusChanged in clear, before AUTH0", _CHANGED),
        ("setup before access", "M1 in clear, before AUTH0", bytes.fromhex("01000000")),
        ("application before access", "data of an application, before AUTH0", bytes.fromhex("0400000100")),
        ("message of the device", "InitiateAccess, from the reader", _initiate(_A5)),
        ("command of nothing", "an AP request without an APDU", ApRequest(b"")),
        ("busy reader", "the reader says that it is busy", Event(is_busy=True)),
    ),
    2: (
        ("answer of nothing", "an AP response without an APDU", ApResponse(b"")),
        ("answer refused", "an AP response that is an error", ApResponse(b"\x69\x85")),
        ("answer of nonsense", "AUTH0 answered by what is no TLV", ApResponse(b"\xff" * 8 + b"\x90\0")),
        ("begun twice", "InitiateAccess in the middle of the access protocol", _initiate(_A5)),
        ("error in the middle", "a general error during the access protocol", _ERROR),
    ),
    TIME_SYNC: (
        ("request in clear", "an RKE request in clear after AccessCompleted", RkeRequest(RkeAction.UNSECURE)),
        ("error in clear", "a general error in clear after AccessCompleted", _ERROR),
        ("answer after all", "an AP response after AccessCompleted", ApResponse(b"\x90\0")),
        ("empty seal", "a message without the tag of its seal", bytes.fromhex("02010000")),
    ),
    M1: (
        ("command after all", "an AP request after AccessCompleted", ApRequest(b"\x80\x80\0\0\0")),
        ("completed in clear", "AccessCompleted once more, in clear", _COMPLETED),
        ("state in clear", "StatusChanged in clear", _CHANGED),
    ),
}
"""What comes before which message."""
