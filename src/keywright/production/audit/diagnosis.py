"""What was done to a log whose chain breaks, as far as what is left of it tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["edit", "deletion", "insertion", "reordering", "truncation", "clock", "checkpoint", "format"]


class Seen(NamedTuple):
    """An entry as it stands in a log: its leaf hash, and what its body says of itself; seq is None if unreadable."""

    leaf: bytes
    seq: int | None
    prev: str


class Break(NamedTuple):
    """The first wrong position, what was done there, and in words."""

    position: int
    kind: Kind
    text: str


def diagnose(position: int, before: bytes | None, rest: Sequence[Seen], last: bytes) -> Break:
    """Say why the entry at `position`, the first of `rest`, does not follow the one before.

    `before`: leaf hash of the entry before, None for the first; `last`: the leaf hash that the log's head has for its
    last entry, empty if it is not known.
    """
    here = rest[0]
    after = rest[1] if len(rest) > 1 else None
    if here.seq is None:
        return Break(position, "edit", f"entry {position} cannot be read")
    if here.seq == position:
        return _wrong_chain(position, before, here, after, last)
    return _wrong_number(position, before, rest, last)


def _wrong_chain(position: int, before: bytes | None, here: Seen, after: Seen | None, last: bytes) -> Break:
    """The right number, but chained to something else."""
    if after is not None and after.seq == position and after.prev == _prev(before):
        return Break(position, "insertion", f"a foreign entry stands before entry {position}")
    is_intact = after.prev == here.leaf.hex() if after is not None else here.leaf == last
    if is_intact and before is not None:
        return Break(position - 1, "edit", f"entry {position - 1} is not the one that entry {position} follows")
    return Break(position, "edit", f"entry {position} was changed: neither neighbour knows it")


def _wrong_number(position: int, before: bytes | None, rest: Sequence[Seen], last: bytes) -> Break:
    here, others = rest[0], rest[1:]
    if here.seq is None:
        raise AssertionError("an entry without a number was seen to before")
    after = others[0] if others else None
    is_followed = after.prev == here.leaf.hex() if after is not None else here.leaf == last
    is_numbered_on = after is None or after.seq == position + 1
    if here.prev == _prev(before) and is_numbered_on and not is_followed:
        return Break(position, "edit", f"entry {position} says that it is entry {here.seq}")
    numbers = [other.seq for other in others]
    if here.seq < position or here.seq in numbers:
        return Break(position, "insertion", f"entry {here.seq} stands a second time, where entry {position} belongs")
    if position in numbers:
        return Break(position, "reordering", f"entry {here.seq} stands where entry {position} belongs")
    missing = f"entry {position}" if here.seq == position + 1 else f"entries {position} to {here.seq - 1}"
    return Break(position, "deletion", f"{missing} missing")


def _prev(before: bytes | None) -> str:
    return "" if before is None else before.hex()
