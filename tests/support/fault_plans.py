"""Seeded scenarios for the block protocols on a failing line, and the rules that each of them must keep.

One seed is one scenario: a transport with its parameters, one to four commands, and a plan of faults for the line. The
same seed gives the same scenario everywhere. `play` raises AssertionError naming the seed when a rule is broken:

- every command ends, within `MAX_FRAMES` frames, in the right answer or in a named failure;
- it runs at most once, and once more for each RESYNCH that was reported;
- a failure that says "not delivered" is one that did not run;
- after a failure that takes the card down, a reset makes everything work again; at the end, without further faults,
  one more command is answered.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command
from keywright.iso7816.ats import Limits
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Profile, Iso14443Reader
from keywright.iso7816.iso14443.block import read as read_nfc
from keywright.iso7816.line import Line
from keywright.iso7816.line_faults import FaultyLine, LineFault
from keywright.iso7816.t0 import T0Card, T0Host, T0Profile
from keywright.iso7816.t1 import T1Card, T1Host, T1Profile
from keywright.iso7816.t1.block import Invalid
from keywright.iso7816.t1.block import read as read_t1
from keywright.iso7816.transport import Answered, Failed, Failure, HostEvent, Resynchronised

TRANSPORTS = ("T=0", "T=1 LRC", "T=1 CRC", "14443-4 A", "14443-4 B")
MAX_FRAMES = 3000
BURST = {"T=1 LRC": 8, "T=1 CRC": 16, "14443-4 A": 16, "14443-4 B": 16}
"""Bits of the longest burst that the check code of a transport always shows."""
NO_DIAGNOSIS = b"\x6f\x00"
"""What a card answers when it has given up its own answer."""
_SIZES = (0, 0, 1, 5, 20, 31, 32, 33, 64, 90)
_MAX_BITS = 6


class Outcome(NamedTuple):
    """What came of one scenario."""

    transport: str
    ends: Counter[str]
    faults: Counter[str]
    resynchs: int
    frames: int
    hidden: int


class Counting:
    """A device that knows each command by P1 P2, answers it as planned, and counts."""

    atr = b""

    def __init__(self) -> None:
        self.plan: dict[bytes, bytes] = {}
        self.runs: Counter[int] = Counter()
        self.strange: list[bytes] = []

    def expect(self, command: Command, answer: bytes) -> None:
        """Answer `command`, with or without its Le, which T=0 keeps back."""
        self.plan[_without_le(command)] = answer

    def handle(self, request: bytes) -> bytes:
        try:
            command = Command.parse(request)
            answer = self.plan[_without_le(command)]
        except (DecodeError, KeyError):
            self.strange.append(request)
            return NO_DIAGNOSIS
        self.runs[command.p1 << 8 | command.p2] += 1
        return answer

    def reset(self) -> None:
        """Its counts outlive a reset."""


def _without_le(command: Command) -> bytes:
    return bytes((command.cla, command.ins, command.p1, command.p2)) + command.data


def transport_of(seed: int) -> str:
    return TRANSPORTS[seed % len(TRANSPORTS)]


def play(seed: int) -> Outcome:
    """Play one scenario to its end. Raises AssertionError."""
    return _Scenario(seed).play()


class _Scenario:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draw = random.Random(seed)
        self.transport = transport_of(seed)
        self.device = Counting()
        self.host: Any
        self.card: Any
        self.wait, is_noticed = self._ends()
        plan = self._character_faults() if self.transport == "T=0" else self._block_faults()
        self.channel = FaultyLine(plan, is_noticed)
        self.line = Line(self.host, self.card, self.channel, max_frames=MAX_FRAMES)
        self.ends: Counter[str] = Counter()
        self.resynchs = 0
        self.may_abort = self.is_quiet = False

    # ---- what is played ---------------------------------------------------------------------------------------

    def _ends(self) -> tuple[float, Callable[[bytes], bool]]:
        """Make both ends; the waiting time in seconds, and whether damage to a frame can be noticed."""
        draw = self.draw
        stretch = draw.choice((0.0, 0.0, 0.0, 0.4, 0.7, 3.5))
        if self.transport == "T=0":
            t0 = T0Profile(
                single=draw.choice((0, 0, 1, 3, 300)), nulls=draw.choice((0, 0, 1, 2)),
                nulls_before_status=draw.choice((0, 0, 1)), announces=draw.choice(("61", "61", "status", "9F")),
            )  # fmt: skip  # one parameter after the other
            self.host, self.card = T0Host(t0), T0Card(self.device, t0, work=lambda _: stretch * t0.wait)
            return t0.wait, lambda _: True
        if self.transport.startswith("T=1"):
            t1 = self._t1()
            self.host = T1Host(t1)
            self.card = T1Card(self.device, t1, work=lambda _: stretch * t1.block_wait)
            return t1.block_wait, lambda frame: isinstance(read_t1(frame, t1.code, 254), Invalid)
        kind: Any = self.transport[-1]
        limits = Limits(draw.choice((16, 24, 32, 64)), draw.choice((16, 24, 32, 64)), cid=draw.choice((None, None, 3)))
        nfc = Iso14443Profile(type=kind, limits=limits, nad=draw.choice((None, None, 0x12)))
        self.host = Iso14443Reader(nfc)
        self.card = Iso14443Card(self.device, nfc, work=lambda _: stretch * limits.fwt)
        return limits.fwt, lambda frame: read_nfc(frame, nfc.code, 256) is None

    def _t1(self) -> T1Profile:
        draw = self.draw
        return T1Profile(
            edc="lrc" if self.transport.endswith("LRC") else "crc",
            nad=draw.choice((0, 0, 0x12)),
            ifsc=draw.choice((8, 16, 32, 32, 64)),
            ifsd=draw.choice((8, 16, 32, 32, 64)),
            empty_tail=draw.choice((False, False, True)),
            after_resynch=draw.choice(("repeat", "fail")),
            after_response=draw.choice(("r-block", "response")),
            first_failure=draw.choice(("resynch", "reset")),
            silence=draw.choice(("retry", "retry", "retry", "fatal")),
        )

    def _where(self) -> list[int]:
        """The frames that fail: some here and there, or many in a row."""
        draw = self.draw
        first = draw.randrange(0, 24)
        if draw.random() < 0.25:
            return list(range(first, first + draw.randrange(2, 12)))
        return sorted(draw.randrange(0, 40) for _ in range(draw.randrange(1, 7)))

    def _block_faults(self) -> list[LineFault]:
        draw = self.draw
        longest = BURST[self.transport]
        plan = []
        for frame in self._where():
            match draw.choice(("bit", "bit", "burst", "scatter", "lose", "lose", "double", "cut", "late", "parity")):
                case "bit":
                    plan.append(LineFault(frame, "flip", bits=(draw.randrange(0, 4096),)))
                case "burst":
                    at = draw.randrange(0, 4096)
                    inner = [at + step for step in range(1, draw.randrange(1, longest)) if draw.random() < 0.5]
                    plan.append(LineFault(frame, "flip", bits=(at, *inner)))
                case "scatter":
                    bits = draw.sample(range(4096), draw.randrange(2, _MAX_BITS))
                    plan.append(LineFault(frame, "flip", bits=tuple(bits)))
                case "cut":
                    plan.append(LineFault(frame, "cut", size=draw.randrange(0, 30)))
                case "late":
                    plan.append(LineFault(frame, "late", seconds=draw.choice((0.5, 1.2, 2.5, 6.0)) * self.wait))
                case "lose":
                    plan.append(LineFault(frame, "lose"))
                case "double":
                    plan.append(LineFault(frame, "double"))
                case _:
                    plan.append(LineFault(frame, "parity", size=draw.randrange(0, 5)))
        return plan

    def _character_faults(self) -> list[LineFault]:
        """T=0 has no check code: what it can survive is what the parity of single characters shows, and silence."""
        draw = self.draw
        plan = []
        for frame in self._where():
            match draw.choice(("repeated", "repeated", "repeated", "parity", "cut", "lose", "late", "late")):
                case "repeated":
                    plan.append(LineFault(frame, "parity", size=draw.randrange(0, 30), repeats=draw.randrange(1, 4)))
                case "parity":
                    plan.append(LineFault(frame, "parity", size=draw.randrange(0, 30)))
                case "cut":
                    plan.append(LineFault(frame, "cut", size=draw.randrange(0, 30)))
                case "lose":
                    plan.append(LineFault(frame, "lose"))
                case _:
                    plan.append(LineFault(frame, "late", seconds=draw.choice((0.3, 0.9, 1.5, 4.0)) * self.wait))
        return plan

    def _command(self, number: int) -> tuple[bytes, bytes]:
        """An APDU, and what its answer must be."""
        draw = self.draw
        data = draw.randbytes(draw.choice(_SIZES))
        answer = draw.randbytes(draw.choice(_SIZES))
        if self.transport == "T=0" and data and draw.random() < 0.3:
            answer = b""
        sw = draw.choice((b"\x90\x00", b"\x90\x00", b"\x6a\x82"))
        if answer:
            sw = b"\x90\x00"
        command = Command(0x80, 0xE2 if data else 0xCA, 0, number, data, 0 if answer else None)
        self.device.expect(command, answer + sw)
        return command.encode(), answer + sw

    # ---- playing ----------------------------------------------------------------------------------------------

    def play(self) -> Outcome:
        for number in range(1, self.draw.randrange(2, 6)):
            self._wishes()
            self._one(number)
        self.channel._plan.clear()  # the last command has the line to itself
        self.is_quiet = True
        if self._one(99) != "Answered" and self._one(100) != "Answered":
            self._broken("the line does not recover")
        made: Counter[str] = Counter(fault.kind for fault in self.channel.made)
        return Outcome(self.transport, self.ends, made, self.resynchs, self.line.frames, self.channel.hidden)

    def _wishes(self) -> None:
        """What the ends want besides commands."""
        draw = self.draw
        if self.transport == "T=0":
            return
        if draw.random() < 0.2:
            self.card.ask_time(draw.randrange(1, 5))
        if not self.transport.startswith("T=1"):
            if draw.random() < 0.2:
                self.host.check_presence(self.line.now)
                self._after(self.line.settle(), "presence")
            return
        if draw.random() < 0.04:
            self.card.abort()
            self.may_abort = True
        if draw.random() < 0.1:
            self.card.ask_ifs(draw.randrange(8, 100))
        if draw.random() < 0.1:
            self.host.request_ifs(draw.randrange(8, 100), self.line.now)
            self._after(self.line.settle(), "size")
        if draw.random() < 0.05:
            self.host.resynchronise(self.line.now)
            self._after(self.line.settle(), "resynch")

    def _after(self, events: list[HostEvent], what: str) -> None:
        end = events[-1]
        self.ends[f"{what} {type(end).__name__}"] += 1
        if isinstance(end, Failed):
            self._reset_if(end)

    def _one(self, number: int) -> str:
        apdu, expected = self._command(number)
        before = self.line.frames
        self.host.command(apdu, self.line.now)
        if self.transport.startswith("T=1") and not self.is_quiet and self.draw.random() < 0.04:
            self.host.abort()
        events = self.line.settle()
        end, resynchs = events[-1], sum(isinstance(event, Resynchronised) for event in events)
        self.resynchs += resynchs
        runs = self.device.runs[number]
        if self.device.strange:
            self._broken(f"the device ran {self.device.strange[0].hex()}, which nobody sent")
        if runs > 1 + resynchs:
            self._broken(f"command {number} ran {runs} times, with {resynchs} RESYNCHs reported")
        if self.line.frames - before > MAX_FRAMES:
            self._broken("too many frames")
        if isinstance(end, Answered):
            if self.may_abort and end.data == NO_DIAGNOSIS and runs:
                self.ends["Answered 6F00 for an abort"] += 1
                return "Answered"
            if end.data != expected or not runs:
                self._broken(f"command {number} was answered {end.data.hex()} instead of {expected.hex()}")
            self.ends["Answered after RESYNCH" if resynchs else "Answered"] += 1
            return "Answered"
        if not isinstance(end, Failed):
            self._broken(f"{end} ends no command")
            return ""
        self._check_failure(end, number, runs)
        return end.failure

    def _check_failure(self, end: Failed, number: int, runs: int) -> None:
        self.ends[end.failure] += 1
        if end.failure in (Failure.DOWN, Failure.UNSENDABLE):
            self._broken(f"command {number} failed as {end.failure}")
        if end.delivered is False and runs:
            self._broken(f"command {number} ran and is said not to have been delivered")
        self._reset_if(end)

    def _reset_if(self, end: Failed) -> None:
        if end.is_down:
            self.line.reset()

    def _broken(self, text: str) -> None:
        raise AssertionError(f"seed {self.seed}, {self.transport}: {text}")
