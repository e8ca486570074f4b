"""Values of the APDU service, for both ends (docs/apdu-over-ble.md 3).

A message is a kind and some octets. Its first value has bit 8 set, the kind in the other bits, and the length of the
whole; each further one has a counter of 7 bits that begins at 1. A message is over when its octets are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, final

from keywright.codec.record import U8, U24, Record, Rest
from keywright.errors import DecodeError, WireError

_BASE: Final = "-5142-44c3-bf7f-f6b51eb3b2a6"
SERVICE: Final = (f"313d0001{_BASE}", f"313d0002{_BASE}", f"313d0003{_BASE}")
"""UUIDs: the service, the characteristic to write, the one that notifies."""

COMMAND: Final = 0x01
RESET: Final = 0x02
ANSWER: Final = 0x11
ATR: Final = 0x12
ERROR: Final = 0x1F
KINDS: Final = {COMMAND: "command", RESET: "reset", ANSWER: "answer", ATR: "answer to reset", ERROR: "error"}

LONGEST: Final = 7 + 0xFFFF + 2
"""Octets of the longest message: an extended command with its header, length and Le (ISO 7816-4 5.2)."""
LIMIT_S: Final = 20.0
"""How long a message may take from its first value to its last, and a card to begin its answer."""
LEAST_MTU: Final = 23
_ATT_OVERHEAD: Final = 3
_FIRST: Final = 0x80
_COUNTER: Final = 0x7F


class Code:
    """Codes of an error message."""

    BAD_VALUE: Final = 0x01
    """A value that is none, or out of its place. What was under way is forgotten."""
    BUSY: Final = 0x02
    """A command while another one runs."""
    TIMEOUT: Final = 0x03
    """The message was not whole in time."""


CODES: Final = {Code.BAD_VALUE: "bad value", Code.BUSY: "busy", Code.TIMEOUT: "timeout"}


class First(Record, frozen=True):
    """First value of a message."""

    header: U8
    length: U24
    data: Annotated[bytes, Rest()]


class Further(Record, frozen=True):
    """Further value of a message."""

    counter: U8
    data: Annotated[bytes, Rest()]


def cut(kind: int, message: bytes, mtu: int) -> list[bytes]:
    """The values that carry a message at an ATT_MTU. Raises ValueError for a message that is too long."""
    if mtu < LEAST_MTU:
        raise ValueError(f"ATT_MTU is {LEAST_MTU} or more, not {mtu}")
    if len(message) > LONGEST:
        raise ValueError(f"a message has at most {LONGEST} octets, not {len(message)}")
    room = mtu - _ATT_OVERHEAD
    first = First(_FIRST | kind, len(message), message[: room - 4])
    rest = [message[at : at + room - 1] for at in range(room - 4, len(message), room - 1)]
    return [first.build(), *(Further(number & _COUNTER, part).build() for number, part in enumerate(rest, 1))]


@final
class Joiner:
    """Messages from the values of one direction."""

    def __init__(self, kinds: Sequence[int]) -> None:
        """kinds: messages that may come."""
        self._kinds = kinds
        self._kind = 0
        self._length = 0
        self._size = 0
        self._number = 0
        self._parts: list[bytes] = []
        self.until: float | None = None
        """When the message under way has to be whole, None if none is."""

    def take(self, value: bytes, now: float) -> tuple[int, bytes] | None:
        """The message that a value makes whole, else None. Raises DecodeError, WireError, and forgets what it held."""
        try:
            return self._take(value, now)
        except (DecodeError, WireError):
            self.forget()
            raise

    def forget(self) -> None:
        """Drop what is held."""
        self._parts, self.until = [], None

    def _take(self, value: bytes, now: float) -> tuple[int, bytes] | None:
        if not value:
            raise DecodeError("a value has at least one octet")
        if value[0] & _FIRST:
            self._begin(First.parse(value), now)
        else:
            self._go_on(Further.parse(value))
        if self._size < self._length:
            return None
        message = (self._kind, b"".join(self._parts))
        self.forget()
        return message

    def _begin(self, first: First, now: float) -> None:
        kind = first.header & ~_FIRST
        if self.until is not None:
            raise WireError("a message begins before the one before it is whole")
        if kind not in self._kinds:
            raise WireError(f"a message of kind {kind:02X} may not come here")
        if first.length > LONGEST or len(first.data) > first.length:
            raise WireError(f"a message of {first.length} octets, {len(first.data)} in its first value")
        self._kind, self._length = kind, first.length
        self._size, self._number = len(first.data), 0
        self._parts, self.until = [first.data], now + LIMIT_S

    def _go_on(self, further: Further) -> None:
        self._number += 1
        if self.until is None or further.counter != self._number & _COUNTER or not further.data:
            raise WireError(f"value {further.counter} out of its place")
        self._size += len(further.data)
        if self._size > self._length:
            raise WireError(f"more octets than the {self._length} of the message")
        self._parts.append(further.data)
