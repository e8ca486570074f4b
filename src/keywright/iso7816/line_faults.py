"""A line that fails as planned, block by block: damage, loss, doubling, cutting, stretched time, parity.

`link.fault` does this to whole exchanges; here the block protocols are what must survive it. A plan names frames by
their number on the line, both directions counted together from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, assert_never, final

import msgspec

from keywright.iso7816.line import Arrival, Sender

Kind = Literal["flip", "lose", "double", "cut", "late", "parity"]
MAX_REPEATS = 3
"""How often a character is repeated after the error signal of T=0 before both sides give it up (7816-3 7.3)."""


@final
class LineFault(msgspec.Struct, frozen=True):
    """One planned failure of frame number `frame`.

    flip: the bits `bits` are inverted, 0 being b8 of the first byte; they wrap round. lose: it does not arrive.
    double: it arrives twice. cut: its first `size` bytes arrive. late: it arrives `seconds` later, and what follows in
    its direction not before it. parity: the character at `size` is wrong `repeats` times; with T=0 it is repeated up to
    three times and is then as good as sent, or given up with all that follow.
    """

    frame: int
    kind: Kind
    bits: tuple[int, ...] = ()
    size: int = 0
    seconds: float = 0.0
    repeats: int = MAX_REPEATS + 1


@final
class FaultyLine:
    """A channel for `Line` that does what the plan says; several faults of one frame act in the order of the plan.

    is_noticed: whether the receiver can tell that a damaged frame is damaged. Damage that no check can show is not
    done: it is counted in `hidden`; so are pieces of a damaged frame that together look like a good one. `made` lists
    the faults that have struck.
    """

    def __init__(self, plan: Iterable[LineFault], is_noticed: Callable[[bytes], bool]) -> None:
        self._plan: dict[int, list[LineFault]] = {}
        for fault in plan:
            self._plan.setdefault(fault.frame, []).append(fault)
        self._is_noticed = is_noticed
        self._count = 0
        self.made: list[LineFault] = []
        self.hidden = 0

    def __call__(self, sender: Sender, frame: bytes) -> Iterable[Arrival]:  # noqa: ARG002 - both directions fail alike
        """What becomes of one frame."""
        faults = self._plan.get(self._count)
        self._count += 1
        arrivals = [Arrival(frame)]
        for fault in faults or ():
            made = len(self.made)
            arrivals = [after for arrival in arrivals for after in self._strike(fault, arrival)]
            del self.made[made + 1 :]
        if len(arrivals) > 1 and arrivals[0].data != frame and not self._is_noticed(b"".join(a.data for a in arrivals)):
            self.hidden += 1
            return [Arrival(frame)]
        return arrivals

    def _strike(self, fault: LineFault, arrival: Arrival) -> list[Arrival]:
        match fault.kind:
            case "flip" | "cut":
                return [self._damaged(fault, arrival)]
            case "lose":
                after: list[Arrival] = []
            case "double":
                after = [arrival, arrival]
            case "late":
                after = [Arrival(arrival.data, arrival.delay + fault.seconds, arrival.has_parity_error)]
            case "parity":
                after = self._parity(fault, arrival)
            case _:
                assert_never(fault.kind)
        self.made.append(fault)
        return after

    def _damaged(self, fault: LineFault, arrival: Arrival) -> Arrival:
        data = arrival.data[: fault.size] if fault.kind == "cut" else flipped(arrival.data, fault.bits)
        if data != arrival.data and not self._is_noticed(data):
            self.hidden += 1
            return arrival
        self.made.append(fault)
        return Arrival(data, arrival.delay, arrival.has_parity_error)

    def _parity(self, fault: LineFault, arrival: Arrival) -> list[Arrival]:
        if fault.repeats <= MAX_REPEATS:
            return [arrival]
        good = arrival.data[: fault.size]
        error = Arrival(b"", arrival.delay, has_parity_error=True)
        return [Arrival(good, arrival.delay), error] if good else [error]


def flipped(data: bytes, bits: Iterable[int]) -> bytes:
    """`data` with some bits inverted; empty data stays empty."""
    if not data:
        return data
    changed = bytearray(data)
    for bit in bits:
        byte, shift = divmod(bit % (8 * len(data)), 8)
        changed[byte] ^= 0x80 >> shift
    return bytes(changed)
