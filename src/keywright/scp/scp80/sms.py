"""Short messages that carry packets: TPDUs, user data headers, addresses (3GPP TS 23.040, TS 31.115 4)."""

from __future__ import annotations

from typing import Annotated, Final, Self, TypeVar

import msgspec

from keywright.codec.message import Message
from keywright.codec.record import U8, Record, Rest, prefixed, raw
from keywright.errors import DecodeError

PID: Final = 0x7F
"""Protocol identifier: (U)SIM data download."""
DCS: Final = 0xF6
"""Data coding scheme: 8-bit data, class 2 (for the card)."""
USER_DATA_MOST: Final = 140
"""Bytes of user data in one message, header included."""

DELIVER: Final = 0x00
SUBMIT: Final = 0x01
_MTI: Final = 0x03
NO_MORE: Final = 0x04
"""In DELIVER: no more messages wait."""
UDHI: Final = 0x40
"""The user data begins with a header."""
_VALIDITY: Final = 0x18

INTERNATIONAL: Final = 0x91
"""Type of address: international number, E.164."""

CONCATENATED: Final = 0x00
CONCATENATED_WIDE: Final = 0x08
"""Information elements of concatenation, with a reference of one and of two bytes."""


class Address(msgspec.Struct, frozen=True):
    """A number as TP-OA and TP-DA have it: digits 0 to 9, *, #, a, b, c."""

    digits: str
    kind: int = INTERNATIONAL

    @classmethod
    def take(cls, data: bytes, start: int) -> tuple[Self, int]:
        """The address at `start` and the position after it; its length counts digits. Raises DecodeError."""
        if start + 2 > len(data):
            raise DecodeError("address cut short", len(data))
        count = data[start]
        end = start + 2 + (count + 1) // 2
        if end > len(data):
            raise DecodeError("address cut short", len(data))
        return cls(_digits(data[start + 2 : end], count, start + 2), data[start + 1]), end

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """A whole TP address. Raises DecodeError."""
        address, end = cls.take(data, 0)
        if end != len(data):
            raise DecodeError(f"{len(data) - end} bytes after the address", end)
        return address

    def build(self) -> bytes:
        """As TP-OA or TP-DA. Raises ValueError for a letter that is no digit."""
        return bytes((len(self.digits), self.kind)) + _semi_octets(self.digits)

    @classmethod
    def of_value(cls, data: bytes) -> Self:
        """As a toolkit object has it (TS 102 223 8.1): type and digits, no length. Raises DecodeError."""
        if not data:
            raise DecodeError("an address has a type at least")
        count = 2 * (len(data) - 1) - (data[-1] >> 4 == 0xF and len(data) > 1)
        return cls(_digits(data[1:], count, 1), data[0])

    def value(self) -> bytes:
        """Inverse of `of_value`."""
        return bytes((self.kind,)) + _semi_octets(self.digits)


_ALPHABET: Final = "0123456789*#abc"


def _digits(data: bytes, count: int, offset: int) -> str:
    nibbles = [nibble for byte in data for nibble in (byte & 0xF, byte >> 4)]
    if any(nibble == 0xF for nibble in nibbles[:count]) or any(nibble != 0xF for nibble in nibbles[count:]):
        raise DecodeError("digits and their number do not agree", offset)
    return "".join(_ALPHABET[nibble] for nibble in nibbles[:count])


def _semi_octets(digits: str) -> bytes:
    nibbles = [_ALPHABET.index(digit) for digit in digits] + [0xF] * (len(digits) % 2)
    return bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


class InformationElement(Record, frozen=True):
    """One element of a user data header."""

    identifier: U8
    data: Annotated[bytes, prefixed(1)]


class UserData(Record, frozen=True):
    """User data that begins with a header."""

    header: Annotated[tuple[InformationElement, ...], prefixed(1)]
    body: Annotated[bytes, Rest()]


class DeliverTail(Record, frozen=True):
    """SMS-DELIVER after the originating address."""

    pid: U8
    dcs: U8
    time: Annotated[bytes, raw(7)]
    user_data: Annotated[bytes, prefixed(1)]


class SubmitTail(Record, frozen=True):
    """SMS-SUBMIT after the destination address, without a validity period."""

    pid: U8
    dcs: U8
    user_data: Annotated[bytes, prefixed(1)]


class Deliver(msgspec.Struct, frozen=True):
    """SMS-DELIVER, network to phone. `time`: TP-SCTS, 7 bytes. The lengths of header and user data must agree."""

    originator: Address
    user_data: bytes
    pid: int = PID
    dcs: int = DCS
    time: bytes = bytes(7)
    flags: int = DELIVER | NO_MORE | UDHI

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """A TPDU. Raises DecodeError."""
        if not data or data[0] & _MTI != DELIVER:
            raise DecodeError("no SMS-DELIVER")
        address, at = Address.take(data, 1)
        tail = _tail(DeliverTail, data, at)
        return cls(address, tail.user_data, tail.pid, tail.dcs, tail.time, data[0])

    def build(self) -> bytes:
        """The TPDU. Raises ValueError for user data that does not fit."""
        tail = DeliverTail(self.pid, self.dcs, self.time, _fitting(self.user_data))
        return bytes((self.flags,)) + self.originator.build() + tail.build()


class Submit(msgspec.Struct, frozen=True):
    """SMS-SUBMIT, phone to network, without a validity period."""

    destination: Address
    user_data: bytes
    reference: int = 0
    pid: int = PID
    dcs: int = DCS
    flags: int = SUBMIT | UDHI

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """A TPDU. Raises DecodeError, also for one with a validity period."""
        if len(data) < 2 or data[0] & _MTI != SUBMIT or data[0] & _VALIDITY:
            raise DecodeError("no SMS-SUBMIT without a validity period")
        address, at = Address.take(data, 2)
        tail = _tail(SubmitTail, data, at)
        return cls(address, tail.user_data, data[1], tail.pid, tail.dcs, data[0])

    def build(self) -> bytes:
        """The TPDU. Raises ValueError for user data that does not fit."""
        tail = SubmitTail(self.pid, self.dcs, _fitting(self.user_data))
        return bytes((self.flags, self.reference)) + self.destination.build() + tail.build()


def _fitting(user_data: bytes) -> bytes:
    if len(user_data) > USER_DATA_MOST:
        raise ValueError(f"{len(user_data)} bytes of user data; a message takes {USER_DATA_MOST}")
    return user_data


_Tail = TypeVar("_Tail", bound=Message)


def _tail(kind: type[_Tail], data: bytes, at: int) -> _Tail:
    try:
        return kind.parse(data[at:])
    except DecodeError as error:
        raise DecodeError(str(error), at + error.offset) from error


class Part(msgspec.Struct, frozen=True):
    """What a user data header says about concatenation: part `number` of `count`; both 1 where it says nothing."""

    reference: int
    count: int
    number: int


def part_of(user_data: UserData) -> Part:
    """Raises DecodeError for an element of a wrong length or a part that cannot be."""
    for element in user_data.header:
        size = {CONCATENATED: 1, CONCATENATED_WIDE: 2}.get(element.identifier)
        if size is None:
            continue
        value = element.data
        if len(value) != size + 2 or not 1 <= value[-1] <= value[-2]:
            raise DecodeError("concatenation that cannot be")
        return Part(int.from_bytes(value[:size]), value[-2], value[-1])
    return Part(0, 1, 1)


def split(packet: bytes, identifier: int, reference: int) -> list[bytes]:
    """User data of the messages for one packet: the mark of a packet stands in the first one only.

    `reference`: 0 to 255, another one for each packet to the same receiver. Raises ValueError past 255 messages.
    """
    mark = InformationElement(identifier, b"")
    single = UserData((mark,), packet).build()
    if len(single) <= USER_DATA_MOST:
        return [single]
    first = USER_DATA_MOST - len(_part(mark, reference, 1, 1, b""))
    other = USER_DATA_MOST - len(_part(None, reference, 1, 1, b""))
    count = 1 + -(-(len(packet) - first) // other)
    if count > 0xFF:
        raise ValueError(f"{len(packet)} bytes do not fit 255 messages")
    cuts = [0, *(first + other * number for number in range(count - 1)), len(packet)]
    return [
        _part(None if number else mark, reference, count, number + 1, packet[cuts[number] : cuts[number + 1]])
        for number in range(count)
    ]


def _part(mark: InformationElement | None, reference: int, count: int, number: int, body: bytes) -> bytes:
    elements = [InformationElement(CONCATENATED, bytes((reference, count, number)))]
    return UserData((*elements, mark) if mark else tuple(elements), body).build()


def messages_for(size: int) -> int:
    """How many messages a packet of `size` bytes takes."""
    return len(split(bytes(size), 0, 0))


def most_in(count: int) -> int:
    """The longest packet that `count` messages carry. Raises ValueError for a count that is not 1 to 255."""
    if not 1 <= count <= 0xFF:
        raise ValueError(f"{count} messages; 1 to 255 can be concatenated")
    return USER_DATA_MOST - 3 if count == 1 else 132 + 134 * (count - 1)
