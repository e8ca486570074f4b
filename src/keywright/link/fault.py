"""A link that fails as planned, so that what must survive failure is tested on the real path."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal, assert_never, final

import msgspec

from keywright.errors import LinkError
from keywright.link.base import Exchange

Kind = Literal[
    "cut_before", "cut_after", "drop_answer", "repeat", "flip_command", "flip_answer", "truncate", "replace", "delay"
]


@final
class FaultAt(msgspec.Struct, frozen=True):
    """One planned failure of exchange number `exchange`, counted from 0 over the life of the link.

    cut_before, cut_after: the device loses power before it sees the command, or after it has carried it out; the link
    is dead until `reset`. drop_answer: the answer is lost, the power stays. repeat: the device gets the command twice
    and the second answer counts. flip_command, flip_answer: `bit` is inverted, 0 being b8 of the first byte, -1 b1 of
    the last; it wraps round. truncate: only the first `size` bytes of the answer arrive. replace: the answer is
    `answer`. delay: `seconds` pass before the answer.
    """

    exchange: int
    kind: Kind
    bit: int = 0
    size: int = 0
    answer: bytes = b""
    seconds: float = 0.0


@final
class Fault:
    """Passes exchanges on to `link` except for those of the `plan`; several faults of one exchange add up in order.

    sleep: takes seconds. `made` lists the faults that have happened.
    """

    def __init__(self, link: Exchange, plan: Iterable[FaultAt], sleep: Callable[[float], object] = time.sleep) -> None:
        self._link = link
        self._plan: dict[int, list[FaultAt]] = {}
        for fault in plan:
            self._plan.setdefault(fault.exchange, []).append(fault)
        self._sleep = sleep
        self._count = 0
        self._dead = False
        self.made: list[FaultAt] = []

    @property
    def name(self) -> str:
        """Name of the link."""
        return self._link.name

    @property
    def atr(self) -> bytes:
        """ATR of the device."""
        return self._link.atr

    @property
    def extended(self) -> bool:
        """Whether extended-length APDUs may be sent."""
        return self._link.extended

    def exchange(self, command: bytes, /) -> bytes:
        """Send a command and wait for its answer, or fail as planned. Raises LinkError."""
        if self._dead:
            raise LinkError(f"{self.name}: no power", delivered=False, hint="reset the device")
        faults = self._plan.get(self._count, ())
        self._count += 1
        for fault in faults:
            command = self._before(fault, command)
        answer = self._link.exchange(command)
        for fault in faults:
            answer = self._after(fault, command, answer)
        return answer

    def reset(self) -> bytes:
        """Reset the device, giving it power again, and return its ATR. Raises LinkError."""
        self._dead = False
        return self._link.reset()

    def close(self) -> None:
        """Give the link up."""
        self._link.close()

    def _before(self, fault: FaultAt, command: bytes) -> bytes:
        """What the device gets, once this fault has struck."""
        if fault.kind == "cut_before":
            self._cut(fault)
            raise LinkError(f"{self.name}: power cut before the command", delivered=False)
        if fault.kind == "flip_command":
            self.made.append(fault)
            return _flip(command, fault.bit)
        return command

    def _after(self, fault: FaultAt, command: bytes, answer: bytes) -> bytes:
        """What the caller gets, once this fault has struck."""
        match fault.kind:
            case "cut_before" | "flip_command":
                return answer
            case "cut_after":
                self._cut(fault)
                raise LinkError(f"{self.name}: power cut before the answer", delivered=None)
            case "drop_answer":
                self.made.append(fault)
                raise LinkError(f"{self.name}: no answer", delivered=None)
            case "repeat":
                answer = self._link.exchange(command)
            case "flip_answer":
                answer = _flip(answer, fault.bit)
            case "truncate":
                answer = answer[: fault.size]
            case "replace":
                answer = fault.answer
            case "delay":
                self._sleep(fault.seconds)
            case _:
                assert_never(fault.kind)
        self.made.append(fault)
        return answer

    def _cut(self, fault: FaultAt) -> None:
        self.made.append(fault)
        self._dead = True
        self._link.reset()


def _flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit inverted; empty data stays empty."""
    if not data:
        return data
    flipped = bytearray(data)
    byte, shift = divmod(bit % (8 * len(data)), 8)
    flipped[byte] ^= 0x80 >> shift
    return bytes(flipped)
