"""Every state of either end of T=1 against every kind of block: what the end does, as a short word."""

from __future__ import annotations

from collections.abc import Callable

from keywright.iso7816.edc import LRC
from keywright.iso7816.t1 import T1Card, T1Host
from keywright.iso7816.t1.block import ABORT, IFS, RESYNCH, WTX, i_pcb, r_pcb, seal
from keywright.iso7816.transport import CardEnd, HostEnd
from support.blocks import Clock, Recorder

CHAIN = b"\x80\xe2\x00\x00\x46" + bytes(70)
SHORT = b"\x80\xcb\x00\x00"
PLAIN = b"\x80\xe2\x00\x00\x00"


def sealed(pcb: int, inf: bytes = b"", nad: int = 0) -> bytes:
    return seal(LRC, nad, pcb, inf)


BLOCKS: dict[str, bytes] = {
    "I(0,0)": sealed(i_pcb(0, more=False), b"\x90\x00"),
    "I(1,0)": sealed(i_pcb(1, more=False), b"\x90\x00"),
    "I(0,1)": sealed(i_pcb(0, more=True), b"\x90\x00"),
    "R(0)": sealed(r_pcb(0)),
    "R(1)": sealed(r_pcb(1)),
    "RESYNCH?": sealed(RESYNCH),
    "IFS?": sealed(IFS, b"\x20"),
    "ABORT?": sealed(ABORT),
    "WTX?": sealed(WTX, b"\x02"),
    "RESYNCH!": sealed(RESYNCH | 0x20),
    "IFS!": sealed(IFS | 0x20, b"\x20"),
    "ABORT!": sealed(ABORT | 0x20),
    "WTX!": sealed(WTX | 0x20, b"\x02"),
    "VPP": sealed(0xE4),
    "damaged": sealed(r_pcb(0))[:-1] + b"\x55",
    "foreign NAD": sealed(r_pcb(0), nad=0x34),
}
"""One block of each kind; ? is a request, ! its response."""


def word(frame: bytes | None) -> str:
    """A block that an end sends, as in `BLOCKS`, with R's error bits behind a plus."""
    if frame is None:
        return "-"
    pcb = frame[1]
    if not pcb & 0x80:
        return f"I({pcb >> 6},{pcb >> 5 & 1})"
    if not pcb & 0x40:
        return f"R({pcb >> 4 & 1})" + (f"+{pcb & 3}" if pcb & 3 else "")
    name = {RESYNCH: "RESYNCH", IFS: "IFS", ABORT: "ABORT", WTX: "WTX"}[pcb & ~0x20]
    return name + ("!" if pcb & 0x20 else "?")


def reaction(end: HostEnd | CardEnd, clock: Clock, frame: bytes) -> str:
    """What an end does with a frame: the block it sends, or the event that ends what was under way."""
    end.receive(frame, clock.now)
    events = [type(event).__name__ for event in end.events() if type(event).__name__ not in ("Ran", "Resynchronised")]
    said = end.outgoing(clock.now)
    clock.now += 0.01
    said = said or end.outgoing(clock.now)
    return " ".join([word(said[0] if said else None), *events]).removeprefix("- ")


def host_in(state: str) -> tuple[T1Host, Clock]:
    host, clock = T1Host(), Clock()
    host.command(CHAIN if state in ("chain", "abort") else SHORT, 0.0)
    if state == "idle":
        clock.next_frame(host)
        host.receive(BLOCKS["I(0,0)"], clock.now)
        host.events()
        return host, clock
    if state in ("ifs", "resynch"):
        host.reset(0.0)
        _ask(host, state)
    if state == "abort":
        clock.next_frame(host)
        host.abort()
        host.receive(BLOCKS["R(1)"], clock.now)
    if state == "receiving":
        clock.next_frame(host)
        host.receive(BLOCKS["I(0,1)"], clock.now)
    clock.next_frame(host)
    return host, clock


def _ask(host: T1Host, state: str) -> None:
    if state == "ifs":
        host.request_ifs(0x20, 0.0)
    else:
        host.resynchronise(0.0)


def card_in(state: str) -> tuple[T1Card, Clock]:
    card, clock = T1Card(Recorder()), Clock()
    if state == "fresh":
        return card, clock
    prepare: dict[str, Callable[[], None]] = {
        "wtx": lambda: card.ask_time(2),
        "ifs": lambda: card.ask_ifs(0x20),
        "abort": card.abort,
    }
    prepare.get(state, lambda: None)()
    more = state in ("receiving", "abort")
    apdu = SHORT if state == "sending" else PLAIN
    card.receive(sealed(i_pcb(0, more=more), apdu), clock.now)
    clock.next_frame(card)
    return card, clock
