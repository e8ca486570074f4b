"""The Merkle tree of RFC 9162 section 2.1 over SHA-256: roots, and proofs made and checked.

Everything takes leaf *hashes*, 32 bytes each. A tree only grows: `Edge` is all of it that an append needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, final

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 9162 2.1.1)."""

Range = tuple[int, int]
"""First leaf, and the one after the last."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(00 || data) (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(01 || left || right) (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@final
class Edge:
    """The right edge of a tree: the roots of its full subtrees, largest first, one for each bit set in its size."""

    __slots__ = ("_stack", "size")

    def __init__(self, size: int = 0, stack: bytes = b"") -> None:
        """Go on with a tree of `size` leaves whose edge is `stack`, as `stack` gave it. Raises DecodeError."""
        if size < 0 or len(stack) != HASH_BYTES * size.bit_count():
            raise DecodeError(f"{len(stack)} bytes are no edge of a tree of {size} leaves")
        self.size = size
        self._stack = [stack[at : at + HASH_BYTES] for at in range(0, len(stack), HASH_BYTES)]

    def append(self, leaf: bytes) -> None:
        """Add a leaf at the right."""
        size, stack = self.size, self._stack
        while size & 1:
            leaf = hashlib.sha256(b"\x01" + stack.pop() + leaf).digest()
            size >>= 1
        stack.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree as it is now, 32 bytes."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in self._stack[-2::-1]:
            root = node_hash(left, root)
        return root

    @property
    def stack(self) -> bytes:
        """What to keep besides the size: 32 bytes for each full subtree."""
        return b"".join(self._stack)


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes in their order."""
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    return edge.root()


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose roots are the inclusion proof of a leaf, in the proof's order (RFC 9162 2.1.3.1).

    Raises ValueError if the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    found: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose roots prove that a tree of `new` leaves begins with one of `old` (RFC 9162 2.1.4.1).

    Raises ValueError unless 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"there is no proof from {old} leaves to {new}")
    found: list[Range] = []
    start, end, is_whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, is_whole = middle, False
    # The verifier has the old root already when the old tree is a subtree by itself.
    if not is_whole:
        found.append((start, end))
    return found[::-1]


def roots_of(ranges: Sequence[Range], leaves: Iterable[bytes]) -> list[bytes]:
    """The roots of disjoint ranges, in their order, from one pass over all leaf hashes of the tree.

    Raises ValueError if there are fewer leaves than the ranges ask for.
    """
    waiting = sorted(range(len(ranges)), key=lambda which: ranges[which], reverse=True)
    found: dict[int, bytes] = {}
    edge = Edge()
    for at, leaf in enumerate(leaves):
        if not waiting:
            break
        start, end = ranges[waiting[-1]]
        if at < start:
            continue
        edge.append(leaf)
        if at + 1 == end:
            found[waiting.pop()] = edge.root()
            edge = Edge()
    if waiting:
        raise ValueError("the tree has fewer leaves than the proof is for")
    return [found[which] for which in range(len(ranges))]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion proof of one leaf in the tree of all `leaves`."""
    return roots_of(inclusion_ranges(index, len(leaves)), leaves)


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """The proof that the tree of all `leaves` begins with the tree of the first `old`."""
    return roots_of(consistency_ranges(old, len(leaves)), leaves)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise AuthenticationError unless `path` proves that leaf `index` of the tree is `leaf` (RFC 9162 2.1.3.2)."""
    place, last = index, size - 1
    if not 0 <= index < size:
        raise AuthenticationError(f"a tree of {size} leaves has no leaf {index}")
    found = leaf
    for step in path:
        if last == 0:
            raise AuthenticationError("the inclusion proof is too long")
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    if last or not equal(found, root):
        raise AuthenticationError(f"the inclusion proof of leaf {index} does not lead to the root of {size} leaves")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise AuthenticationError unless `path` proves that the new tree begins with the old one (RFC 9162 2.1.4.2).

    Every tree begins with the empty one, by an empty proof.
    """
    if 0 < old < new:
        found = _both_roots(old, new, path if old & (old - 1) else [old_root, *path])
        proven = found is not None and equal(found[0], old_root) and equal(found[1], new_root)
    else:
        proven = 0 <= old <= new and not path and equal(old_root, new_root if old else EMPTY_ROOT)
    if not proven:
        raise AuthenticationError(f"the tree of {new} leaves is not proven to begin with the tree of {old}")


def _both_roots(old: int, new: int, steps: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of both trees that a proof leads to, or None for one that is too short or too long."""
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not steps:
        return None
    old_found = new_found = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old_found, new_found = node_hash(step, old_found), node_hash(step, new_found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new_found = node_hash(new_found, step)
        place, last = place >> 1, last >> 1
    return None if last else (old_found, new_found)


def _split(size: int) -> int:
    """The largest power of two strictly less than `size`, for sizes of two and more."""
    return 1 << ((size - 1).bit_length() - 1)
