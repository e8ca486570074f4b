"""Concatenated messages put together again, as an endpoint: parts may come in any order, twice, or never."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import msgspec

from keywright.errors import DecodeError
from keywright.scp.scp80.messages import COMMAND_IE
from keywright.scp.scp80.sms import UDHI, Address, Deliver, Submit, UserData, part_of

TIME_LIMIT_S: Final = 600.0
"""How long the first part waits for the last one; a choice of ours."""
MOST_WAITING: Final = 8
"""Unfinished packets that are kept; the oldest gives way."""


class Whole(msgspec.Struct, frozen=True):
    """A packet that is complete, and who sent it."""

    packet: bytes
    sender: Address


class Lost(msgspec.Struct, frozen=True):
    """A packet whose other parts did not come in time, or that gave way to newer ones."""

    sender: Address
    reference: int
    missing: tuple[int, ...]


class _Waiting:
    def __init__(self, sender: Address, reference: int, count: int, until: float) -> None:
        self.sender = sender
        self.reference = reference
        self.parts: list[bytes | None] = [None] * count
        self.marked = False
        self.until = until

    @property
    def missing(self) -> tuple[int, ...]:
        return tuple(number for number, part in enumerate(self.parts, 1) if part is None)


@final
class Reassembly:
    """Receives TPDUs and gives out packets with the mark `identifier` (70 commands, 71 responses).

    A part that contradicts one that is there already begins the packet anew: references come round again.
    """

    def __init__(
        self, identifier: int = COMMAND_IE, *, time_limit_s: float = TIME_LIMIT_S, most_waiting: int = MOST_WAITING
    ) -> None:
        self._identifier = identifier
        self._time_limit_s = time_limit_s
        self._most = most_waiting
        self._waiting: dict[tuple[str, int, int, int], _Waiting] = {}
        self._events: list[Whole | Lost] = []

    def receive(self, data: bytes, now: float) -> None:
        """Take an SMS-DELIVER or SMS-SUBMIT. What is neither, or carries no packet, is dropped."""
        self._expire(now)
        try:
            message = Submit.parse(data) if data and data[0] & 3 == 1 else Deliver.parse(data)
            if not message.flags & UDHI:
                return
            user_data = UserData.parse(message.user_data)
            part = part_of(user_data)
        except DecodeError:
            return
        sender = message.originator if isinstance(message, Deliver) else message.destination
        marked = any(element.identifier == self._identifier for element in user_data.header)
        if part.count == 1:
            if marked:
                self._events.append(Whole(user_data.body, sender))
            return
        key = (sender.digits, sender.kind, part.reference, part.count)
        waiting = self._waiting.get(key)
        if waiting is None or waiting.parts[part.number - 1] not in (None, user_data.body):
            waiting = self._begin(key, _Waiting(sender, part.reference, part.count, now + self._time_limit_s))
        waiting.parts[part.number - 1] = user_data.body
        waiting.marked |= marked
        if not waiting.missing:
            del self._waiting[key]
            if waiting.marked:
                self._events.append(Whole(b"".join(part or b"" for part in waiting.parts), sender))

    def _begin(self, key: tuple[str, int, int, int], waiting: _Waiting) -> _Waiting:
        replaced = self._waiting.pop(key, None)
        if replaced is None and len(self._waiting) >= self._most:
            replaced = self._waiting.pop(next(iter(self._waiting)))
        if replaced is not None:
            self._lose(replaced)
        self._waiting[key] = waiting
        return waiting

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Nothing ever goes out; packets whose time is over are given up."""
        self._expire(now)
        return ()

    def deadline(self) -> float | None:
        """When the next packet is given up."""
        return min((waiting.until for waiting in self._waiting.values()), default=None)

    def events(self) -> Sequence[Whole | Lost]:
        """Packets that are complete, and those that never will be."""
        events, self._events = self._events, []
        return events

    def _expire(self, now: float) -> None:
        for key in [key for key, waiting in self._waiting.items() if waiting.until <= now]:
            self._lose(self._waiting.pop(key))

    def _lose(self, waiting: _Waiting) -> None:
        self._events.append(Lost(waiting.sender, waiting.reference, waiting.missing))
