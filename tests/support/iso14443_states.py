"""Every state of either end of ISO 14443-4 against every kind of block: what the end does, as a short word."""

from __future__ import annotations

from keywright.iso7816.edc import CRC_A
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Reader
from keywright.iso7816.iso14443.block import Block, Kind
from keywright.iso7816.transport import CardEnd, HostEnd
from support.blocks import Clock, Recorder

CHAIN = b"\x80\xe2\x00\x00\x46" + bytes(70)
SHORT = b"\x80\xcb\x00\x00"
PLAIN = b"\x80\xe2\x00\x00\x00"


def closed(block: Block) -> bytes:
    return CRC_A.close(block.build())


BLOCKS: dict[str, bytes] = {
    "I0": closed(Block(Kind.I, 0, inf=b"\x90\x00")),
    "I1": closed(Block(Kind.I, 1, inf=b"\x90\x00")),
    "I0+": closed(Block(Kind.I, 0, more=True, inf=b"\x90\x00")),
    "ACK0": closed(Block(Kind.ACK, 0)),
    "ACK1": closed(Block(Kind.ACK, 1)),
    "NAK0": closed(Block(Kind.NAK, 0)),
    "NAK1": closed(Block(Kind.NAK, 1)),
    "WTX": closed(Block(Kind.WTX, inf=b"\x03")),
    "DESELECT": closed(Block(Kind.DESELECT)),
    "damaged": closed(Block(Kind.ACK, 0))[:-1] + b"\x55",
    "no block": CRC_A.close(b"\xf0"),
    "foreign CID": closed(Block(Kind.ACK, 0, cid=5)),
}


def word(frame: bytes | None) -> str:
    """A block that an end sends, as in `BLOCKS`."""
    if frame is None:
        return "-"
    found = Block.parse(frame[:-2])
    if found.kind in (Kind.WTX, Kind.DESELECT):
        return found.kind.name
    return f"{found.kind.name}{found.number}" + ("+" if found.more else "")


def reaction(end: HostEnd | CardEnd, clock: Clock, frame: bytes) -> str:
    """What an end does with a frame: the block it sends at once, and the event that ends what was under way."""
    end.receive(frame, clock.now)
    said = end.outgoing(clock.now)
    events = [type(event).__name__ for event in end.events() if type(event).__name__ != "Ran"]
    return " ".join([word(said[0] if said else None), *events]).removeprefix("- ")


def reader_in(state: str) -> tuple[Iso14443Reader, Clock]:
    reader, clock = Iso14443Reader(), Clock()
    match state:
        case "presence":
            reader.check_presence(0.0)
        case "deselect":
            reader.deselect(0.0)
        case "chain":
            reader.command(CHAIN, 0.0)
        case _:
            reader.command(SHORT, 0.0)
    clock.next_frame(reader)
    if state in ("idle", "receiving"):
        reader.receive(BLOCKS["I0" if state == "idle" else "I0+"], clock.now)
        reader.events()
        clock.next_frame(reader)
    return reader, clock


def card_in(state: str) -> tuple[Iso14443Card, Clock]:
    card, clock = Iso14443Card(Recorder()), Clock()
    if state == "fresh":
        return card, clock
    if state == "wtx":
        card.ask_time(3)
    apdu = SHORT if state == "sending" else PLAIN
    card.receive(closed(Block(Kind.I, 0, more=state == "receiving", inf=apdu)), clock.now)
    clock.next_frame(card)
    if state == "asleep":
        card.receive(BLOCKS["DESELECT"], clock.now)
        clock.next_frame(card)
        card.events()
    return card, clock
