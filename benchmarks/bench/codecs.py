"""A message class against the same layout by hand."""

from __future__ import annotations

import struct

import msgspec

from bench.figures import Figure, micro
from bench.measure import Contender, Race, race
from keywright.errors import DecodeError
from keywright.scp.scp03.messages import InitializeUpdateResponse8


class ByHand(msgspec.Struct, frozen=True):
    """The fields of `InitializeUpdateResponse8`."""

    kdd: bytes
    kvn: int
    scp: int
    i: int
    card_challenge: bytes
    card_cryptogram: bytes
    sequence_counter: bytes = b""


_LAYOUT = struct.Struct(">10sBBB8s8s3s")


def parse_by_hand(data: bytes) -> ByHand:
    """The careful minimum: the length is checked, the struct does the rest."""
    if len(data) != _LAYOUT.size:
        raise DecodeError("wrong length", len(data))
    return ByHand(*_LAYOUT.unpack(data))


def build_by_hand(value: ByHand) -> bytes:
    """Without any check: `struct` pads and cuts silently."""
    return _LAYOUT.pack(
        value.kdd,
        value.kvn,
        value.scp,
        value.i,
        value.card_challenge,
        value.card_cryptogram,
        value.sequence_counter,
    )


def figures() -> list[Figure]:
    """Parsing and building the answer to INITIALIZE UPDATE."""
    data = bytes(range(_LAYOUT.size))
    declared, by_hand = InitializeUpdateResponse8.parse(data), parse_by_hand(data)
    parsing = race(
        [
            Contender("keywright", lambda: InitializeUpdateResponse8.parse(data)),
            Contender("by hand", lambda: parse_by_hand(data)),
        ]
    )
    building = race(
        [
            Contender("keywright", declared.build),
            Contender("by hand", lambda: build_by_hand(by_hand)),
        ]
    )
    return [_row("record of 32 bytes parsed", parsing), _row("record of 32 bytes built", building)]


def _row(what: str, found: Race) -> Figure:
    ours, theirs = (micro(found.median(name)) for name in ("keywright", "by hand"))
    return Figure(what, ours, f"struct by hand {theirs}", found.speed("keywright", "by hand"))
