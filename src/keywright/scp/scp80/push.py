"""PUSH: a short message that makes a card open a channel and call (ETSI TS 102 226 9)."""

from __future__ import annotations

import enum
from typing import Final, Self

import msgspec

from keywright.codec.ber import length, read_length
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command
from keywright.scp.comprehension import (
    ADDRESS,
    BEARER,
    BUFFER_SIZE,
    IDENTIFICATION,
    NETWORK_NAME,
    TRANSPORT,
    address_text,
    address_value,
    comprehension_item,
    comprehension_tags,
    one,
)

PUSH: Final = 0xEC
_CLASS: Final = 0x80
IDENTIFICATION_PACKET: Final = b"\x03"
"""Identifier of the packet by which a card introduces itself (IPI)."""


class Request(enum.IntEnum):
    """What the card is asked for (P2)."""

    OPEN_CHANNEL = 1
    CAT_TP_LINK = 2
    TCP_CONNECTION = 3
    IDENTIFICATION = 4


class Push(msgspec.Struct, frozen=True):
    """One request with its COMPREHENSION-TLVs, (tag, value) as they are; none: the card's defaults."""

    request: Request
    objects: tuple[tuple[int, bytes], ...] = ()

    @classmethod
    def open_channel(cls, *objects: tuple[int, bytes]) -> Self:
        """Open a BIP channel with the objects of OPEN CHANNEL, or with the card's defaults."""
        return cls(Request.OPEN_CHANNEL, objects)

    @classmethod
    def cat_tp(cls, port: int) -> Self:
        """Open a CAT_TP link to a port. Raises OverflowError for a port of more than 2 bytes."""
        return cls(Request.CAT_TP_LINK, ((TRANSPORT, b"\0" + port.to_bytes(2)),))

    @classmethod
    def tcp(cls, address: str, port: int, *, network: bytes = b"") -> Self:
        """Open a TCP connection over the default bearer; `network` as `network_value` makes it. Raises ValueError."""
        objects = [
            (BEARER, b"\x03"),
            (TRANSPORT, b"\x02" + port.to_bytes(2)),
            (ADDRESS, address_value(address)),
        ]
        if network:
            objects.append((NETWORK_NAME, network))
        return cls(Request.TCP_CONNECTION, tuple(objects))

    @classmethod
    def identify(cls, data: bytes = b"") -> Self:
        """Send an identification packet with this data, by default with the ICCID."""
        return cls(Request.IDENTIFICATION, ((IDENTIFICATION, data),) if data else ())

    @classmethod
    def parse(cls, command: Command) -> Self:
        """A PUSH command. Raises DecodeError for another one, and for a TCP connection without port or address."""
        if (command.ins, command.p1) != (PUSH, 1) or command.p2 not in set(Request):
            raise DecodeError("not a PUSH that we know")
        push = cls(Request(command.p2), tuple(comprehension_tags(command.data)))
        if push.request is Request.TCP_CONNECTION and not (push.transport and push.get(ADDRESS)):
            raise DecodeError("a TCP connection needs port and address")
        return push

    def command(self) -> Command:
        """The command for the card."""
        data = b"".join(comprehension_item(tag, value) for tag, value in self.objects)
        return Command(_CLASS, PUSH, 1, self.request, data)

    def get(self, number: int) -> bytes | None:
        """Value of an object, None if it is not there."""
        return one(b"".join(comprehension_item(tag, value) for tag, value in self.objects), number)

    @property
    def transport(self) -> tuple[int, int] | None:
        """Transport type and port, None if not told."""
        value = self.get(TRANSPORT)
        return (value[0], int.from_bytes(value[1:])) if value and len(value) == 3 else None

    @property
    def buffer_size(self) -> int | None:
        """Bytes of the buffer, None if not told."""
        value = self.get(BUFFER_SIZE)
        return int.from_bytes(value) if value else None

    @property
    def address(self) -> str:
        """Destination in words, empty if not told. Raises DecodeError."""
        value = self.get(ADDRESS)
        return address_text(value) if value else ""

    @property
    def network(self) -> str:
        """Access point name, empty if not told. Raises DecodeError."""
        value = self.get(NETWORK_NAME)
        return network_text(value) if value else ""


def identification_packet(data: bytes) -> bytes:
    """What a card sends first on a TCP connection that PUSH made it open: usually its ICCID.

    As implementations have it; the tag is unsure.
    """
    inside = comprehension_item(IDENTIFICATION, data)
    return IDENTIFICATION_PACKET + length(len(inside)) + inside


def read_identification_packet(stream: bytes) -> tuple[bytes, bytes]:
    """The data of such a packet, and what follows it on the stream. Raises DecodeError."""
    if not stream.startswith(IDENTIFICATION_PACKET):
        raise DecodeError("an identification packet starts with 03")
    size, start = read_length(stream, 1, len(stream))
    inside = stream[start : start + size]
    if len(inside) != size:
        raise DecodeError("identification packet cut short", len(stream))
    data = one(inside, IDENTIFICATION)
    if data is None:
        raise DecodeError("nothing that identifies", start)
    return data, stream[start + size :]


def network_value(name: str) -> bytes:
    """An access point name: each label after its length (TS 23.003 9.1). Raises ValueError."""
    labels = [label.encode("ascii") for label in name.split(".")]
    if not all(1 <= len(label) < 64 for label in labels):
        raise ValueError(f"{name}: a label has 1 to 63 letters")
    return b"".join(bytes((len(label),)) + label for label in labels)


def network_text(value: bytes) -> str:
    """Inverse of `network_value`; also of a name written plainly, as some tools do. Raises DecodeError."""
    labels, at = [], 0
    while at < len(value):
        label = value[at + 1 : at + 1 + value[at]]
        if len(label) != value[at] or not label.isascii():
            if value.isascii() and value.decode("ascii").isprintable():
                return value.decode("ascii")
            raise DecodeError("an access point name cut short", at)
        labels.append(label.decode("ascii"))
        at += 1 + len(label)
    return ".".join(labels)
