"""Recordings as pcapng files, which Wireshark opens: an APDU is a packet of its `iso7816` dissector.

Packets have link type 252 (exported PDU): tags name the dissector (12) and the direction (35), the APDU follows. An
interface is a link; what is no APDU (open, reset, loss, close) is a packet too, told by its comment, so that a
recording comes back as it was, its times to the microsecond.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from keywright.errors import DecodeError, UsageError
from keywright.link.trace import Direction, Event, read_trace

SECTION: Final = 0x0A0D0D0A
INTERFACE: Final = 1
PACKET: Final = 6
"""Block types (draft-ietf-opsawg-pcapng 4)."""
BYTE_ORDER: Final = 0x1A2B3C4D

EXPORTED_PDU: Final = 252
"""Link type: a PDU of the dissector that its tags name."""
APDU, ATR, DATA = "iso7816", "iso7816.atr", "data"
"""Dissectors."""

_TAG_END, _TAG_DISSECTOR, _TAG_DIRECTION = 0, 12, 35
_SENT, _RECEIVED = 0, 1
_COMMENT, _IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 1, 2, 3, 9
_MICROSECONDS: Final = 6
_DISSECTORS: Final[dict[Direction, str]] = {
    "command": APDU,
    "answer": APDU,
    "open": ATR,
    "reset": ATR,
    "lost": DATA,
    "close": DATA,
}
_LARGEST: Final = 1 << 24
"""No block of ours comes near; a longer one is damage, not data."""


class _About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a packet's comment keeps of an event; an APDU that nothing is noted of needs none."""

    event: Direction
    note: str = ""
    delivered: bool | None = None


class _Interface(NamedTuple):
    """What packets refer to by number; ticks: of its clock in a second."""

    who: str
    link: str
    ticks: int
    link_type: int


# ---- writing


def dump(events: Iterable[Event]) -> Iterator[bytes]:
    """The blocks of a pcapng file: one section, an interface for every link, a packet for every event."""
    yield _block(SECTION, struct.pack("<IHHq", BYTE_ORDER, 1, 0, -1))
    interfaces: dict[tuple[str, str], int] = {}
    for event in events:
        key = (event.who, event.link)
        if key not in interfaces:
            interfaces[key] = len(interfaces)
            yield _interface(event)
        yield _packet(event, interfaces[key])


def write_pcapng(path: str | os.PathLike[str], events: Iterable[Event]) -> int:
    """Write a new file that only its owner may read (0600) and return how many events it holds.

    Raises UsageError if it is there already or cannot be written.
    """
    count = 0

    def counted() -> Iterator[Event]:
        nonlocal count
        for event in events:
            count += 1
            yield event

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.writelines(dump(counted()))
    except OSError as error:
        hint = "give the path of a new file" if isinstance(error, FileExistsError) else ""
        raise UsageError(f"{os.fspath(path)}: cannot be written: {error.strerror}", hint=hint) from error
    return count


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options) + bytes(4)


def _interface(event: Event) -> bytes:
    options = _options(
        (_IF_NAME, _text(event.link)), (_IF_DESCRIPTION, _text(event.who)), (_IF_TSRESOL, bytes((_MICROSECONDS,)))
    )
    return _block(INTERFACE, struct.pack("<HHI", EXPORTED_PDU, 0, 0) + options)


def _packet(event: Event, interface: int) -> bytes:
    data = _tagged(event) + event.data
    time = round(event.time * 10**_MICROSECONDS)
    about = _About(event.direction, event.note, event.delivered)
    plain = event.direction in ("command", "answer") and not event.note and event.delivered is None
    options = b"" if plain else _options((_COMMENT, msgspec.json.encode(about)))
    head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    return _block(PACKET, head + _padded(data) + options)


def _tagged(event: Event) -> bytes:
    """Tags of an exported PDU, big-endian (Wireshark epan/exported_pdu.h)."""
    towards_card = event.direction == "command"
    tags = (
        (_TAG_DISSECTOR, _padded(_DISSECTORS[event.direction].encode())),
        (_TAG_DIRECTION, (_SENT if towards_card else _RECEIVED).to_bytes(4)),
        (_TAG_END, b""),
    )
    return b"".join(struct.pack(">HH", tag, len(value)) + value for tag, value in tags)


def _text(text: str) -> bytes:
    return text.encode(errors="backslashreplace")[:0xFFFF]


# ---- reading


def is_pcapng(data: bytes) -> bool:
    """Whether a file that begins like this is a pcapng file."""
    return data[:4] == SECTION.to_bytes(4)


def read_pcapng(path: str | os.PathLike[str]) -> Iterator[Event]:
    """The events of a file: ours, or APDUs that another program exported. Other packets are left out.

    Raises UsageError if the file cannot be read, DecodeError naming the byte where it is damaged.
    """
    name = os.fspath(path)
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    try:
        yield from load(data)
    except DecodeError as error:
        raise DecodeError(f"{name}: {error}", error.offset) from error


def read_recording(path: str | os.PathLike[str]) -> Iterator[Event]:
    """The events of a recording: a pcapng file or a trace, whichever it is.

    Raises UsageError if the file cannot be read, DecodeError for one that is neither or is damaged.
    """
    name = os.fspath(path)
    try:
        with Path(name).open("rb") as stream:
            begin = stream.read(4)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    if is_pcapng(begin):
        yield from read_pcapng(name)
        return
    found = False
    for event in read_trace(name):
        found = True
        yield event
    if begin and not found:
        raise DecodeError(f"{name}: no recording: neither a trace nor a pcapng file")


def load(data: bytes) -> Iterator[Event]:
    """The events of a pcapng file's bytes, of either byte order. Raises DecodeError."""
    if not is_pcapng(data):
        raise DecodeError("no pcapng file: it begins with no section header")
    interfaces: list[_Interface] = []
    order = "<"
    at = 0
    while at < len(data):
        order, kind, body, end = _next_block(data, at, order)
        try:
            if kind == SECTION:
                interfaces = []
            elif kind == INTERFACE:
                interfaces.append(_read_interface(order, body))
            elif kind == PACKET and (event := _read_packet(order, body, interfaces)) is not None:
                yield event
        except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as error:
            raise DecodeError(f"the block at byte {at} is damaged", at) from error
        at = end


def _next_block(data: bytes, at: int, order: str) -> tuple[str, int, bytes, int]:
    """Byte order, type, body and end of the block at `at`."""
    if at + 12 > len(data):
        raise DecodeError(f"the block at byte {at} is cut off", at)
    if data[at : at + 4] == SECTION.to_bytes(4):
        order = ">" if data[at + 8 : at + 12] == BYTE_ORDER.to_bytes(4) else "<"
        if struct.unpack_from(f"{order}I", data, at + 8)[0] != BYTE_ORDER:
            raise DecodeError(f"the section at byte {at} has no byte order", at + 8)
    kind, size = struct.unpack_from(f"{order}II", data, at)
    end = at + size
    if size < 12 or size % 4 or size > _LARGEST or end > len(data):
        raise DecodeError(f"the block at byte {at} is cut off", at)
    if struct.unpack_from(f"{order}I", data, end - 4)[0] != size:
        raise DecodeError(f"the block at byte {at} has two lengths", end - 4)
    return order, kind, data[at + 8 : end - 4], end


def _read_options(order: str, data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(f"{order}HH", data, at)
        if not code:
            break
        options.setdefault(code, data[at + 4 : at + 4 + size])
        at += 4 + size + -size % 4
    return options


def _read_interface(order: str, body: bytes) -> _Interface:
    (link_type,) = struct.unpack_from(f"{order}H", body)
    options = _read_options(order, body[8:])
    resolution = options.get(_IF_TSRESOL, bytes((_MICROSECONDS,)))[0]
    ticks = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    who, link = options.get(_IF_DESCRIPTION, b"host"), options.get(_IF_NAME, b"pcapng")
    return _Interface(who.decode(errors="replace"), link.decode(errors="replace"), ticks, link_type)


def _read_packet(order: str, body: bytes, interfaces: list[_Interface]) -> Event | None:
    index, high, low, size, _ = struct.unpack_from(f"{order}IIIII", body)
    interface = interfaces[index]
    if interface.link_type != EXPORTED_PDU:
        return None
    data = body[20 : 20 + size]
    dissector, direction, begin = _read_tags(data)
    if not dissector.startswith(APDU) and dissector != DATA:
        return None
    told = _about(_read_options(order, body[20 + size + -size % 4 :]).get(_COMMENT, b""))
    if told is None:
        if dissector == DATA:
            return None
        told = _About("reset" if dissector == ATR else "command" if direction == _SENT else "answer")
    time = (high << 32 | low) / interface.ticks
    return Event(time, interface.who, interface.link, told.event, data[begin:], told.note, told.delivered)


def _about(comment: bytes) -> _About | None:
    """What our comment says; None for no comment, or for what a person wrote there."""
    try:
        return msgspec.json.decode(comment, type=_About)
    except msgspec.DecodeError:
        return None


def _read_tags(data: bytes) -> tuple[str, int, int]:
    """Dissector, direction, and where the PDU begins."""
    dissector, direction, at = "", _SENT, 0
    while True:
        tag, size = struct.unpack_from(">HH", data, at)
        value = data[at + 4 : at + 4 + size]
        at += 4 + size
        if tag == _TAG_END:
            return dissector, direction, at
        if tag == _TAG_DISSECTOR:
            dissector = value.rstrip(b"\0").decode()
        elif tag == _TAG_DIRECTION:
            direction = int.from_bytes(value)
