"""Both ends of a block protocol played from one file of exchanges: the foreign side is the file, in virtual time."""

from __future__ import annotations

from typing import Any

from keywright.iso7816.transport import CardEnd, HostEnd, HostEvent
from support.vectors import unhex

SELECT = unhex("00A4040008A00000015100000000")
FCI = unhex("6f108408a000000151000000a5049f6501ff9000")
EIGHTY = bytes((1 + 7 * index) & 0xFF for index in range(78)) + b"\x90\x00"
ANSWERS = {0xA4: FCI, 0xE2: b"\x90\x00", 0xCB: EIGHTY, 0xDA: EIGHTY}
"""The sample commands of the file, by instruction."""


class Recorder:
    """A device that answers the sample commands and remembers what it ran."""

    def __init__(self, answers: dict[int, bytes] | None = None) -> None:
        self.ran: list[bytes] = []
        self.resets = 0
        self.answers = ANSWERS if answers is None else answers

    atr = b""

    def handle(self, request: bytes) -> bytes:
        self.ran.append(request)
        return self.answers.get(request[1], b"\x6d\x00")

    def reset(self) -> None:
        self.resets += 1


class Clock:
    """Virtual time of one end."""

    def __init__(self) -> None:
        self.now = 0.0

    def next_frame(self, end: HostEnd | CardEnd) -> bytes | None:
        """What the end sends next, as late as its deadlines make it; None if it waits for ever."""
        for _ in range(10):
            frames = end.outgoing(self.now)
            if frames:
                assert len(frames) == 1, "two frames at once"
                return frames[0]
            due = end.deadline()
            if due is None:
                return None
            self.now = max(self.now, due)
        raise AssertionError("an end whose deadlines do not end")

    def deliver(self, end: HostEnd | CardEnd, step: dict[str, Any], sent: bytes, damaged: bytes) -> None:
        """Give a frame of the file to an end in the state in which it arrives."""
        match step.get("received"):
            case "nothing":
                return
            case "parity error":
                end.parity_error(self.now)
            case "EDC wrong" | "CRC wrong":
                end.receive(damaged, self.now)
            case _:
                end.receive(sent, self.now)


def result_of(events: list[HostEvent]) -> str:
    """The last event of a host, as a word."""
    return type(events[-1]).__name__ if events else ""
