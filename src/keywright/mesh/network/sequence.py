"""What a node counts: its own sequence numbers, and the last it heard from each other node (MshPRT 3.4.4.5, 3.9.8).

Sequence numbers are taken from memory in blocks, so that one is on the disk before any of it is used: after a crash the
rest of a block is lost, and nothing is used twice.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.errors import SequenceError, StoreError
from keywright.mesh.network.pdu import SEQ_LAST
from keywright.store.memory import Memory

BLOCK: Final = 256
"""Sequence numbers taken from memory at once."""
_SEQUENCE: Final = "sequence"
_REPLAY: Final = "replay"


@final
class SequenceNumbers:
    """The sequence numbers of one node under the current IV index."""

    def __init__(self, memory: Memory, block: int = BLOCK) -> None:
        self._memory = memory
        self._block = block
        self._next = self._end = int.from_bytes(memory.load(_SEQUENCE) or b"\x00")

    @property
    def left(self) -> int:
        """How many there are yet before the IV index has to change."""
        return SEQ_LAST + 1 - self._next

    def take(self) -> int:
        """The next one. Raises SequenceError when there are none left, StoreError if the memory does not take it."""
        if self._next > SEQ_LAST:
            raise SequenceError("no sequence number is left under this IV index", hint="update the IV index")
        if self._next == self._end:
            end = min(self._next + self._block, SEQ_LAST + 1)
            self._memory.commit({_SEQUENCE: end.to_bytes(4)})
            self._end = end
        number, self._next = self._next, self._next + 1
        return number

    def restart(self) -> None:
        """Begin at 0 again, because a new IV index is used for sending."""
        self._memory.commit({_SEQUENCE: (0).to_bytes(4)})
        self._next = self._end = 0


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """The last that was heard from a source, and the last message in segments that was taken from it."""

    iv_index: int
    seq: int
    whole_iv_index: int = 0
    whole_seq: int = -1


@final
class ReplayList:
    """Replay protection: what has been heard last from whom; a message is taken once (MshPRT 3.9.8).

    `size`: how many sources it has room for; a message of one more is refused, as the clause demands.
    """

    def __init__(self, memory: Memory, size: int = 1024) -> None:
        self._memory = memory
        self._size = size
        kept = memory.load(_REPLAY)
        self._heard: dict[int, Heard] = msgspec.msgpack.decode(kept, type=dict[int, Heard]) if kept else {}

    def is_fresh(self, src: int, iv_index: int, seq: int, seq_auth: int | None = None) -> bool:
        """Whether such a PDU has not been heard and may be taken.

        seq_auth: for a segment, the sequence number of its message, of which no part may have been taken as a whole.
        """
        last = self._heard.get(src)
        if last is None:
            return len(self._heard) < self._size
        if seq_auth is not None and (iv_index, seq_auth) <= (last.whole_iv_index, last.whole_seq):
            return False
        return (iv_index, seq) > (last.iv_index, last.seq)

    def note(self, src: int, iv_index: int, seq: int, seq_auth: int | None = None) -> None:
        """Remember a message that was taken, before anything is done because of it. Raises StoreError.

        seq: of the PDU that completed it. seq_auth: of its first segment, if it came in segments.
        """
        last = self._heard.get(src)
        iv_last, seq_last = max((iv_index, seq), (last.iv_index, last.seq) if last else (0, -1))
        whole = (last.whole_iv_index, last.whole_seq) if last else (0, -1)
        if seq_auth is not None:
            whole = max(whole, (iv_index, seq_auth))
        self._heard[src] = Heard(iv_last, seq_last, *whole)
        try:
            self._memory.commit({_REPLAY: msgspec.msgpack.encode(self._heard)})
        except StoreError:
            if last is None:
                del self._heard[src]
            else:
                self._heard[src] = last
            raise

    def forget(self, first: int, last: int) -> None:
        """Forget sources, as when their addresses are given to another node."""
        self._heard = {src: heard for src, heard in self._heard.items() if not first <= src <= last}
        self._memory.commit({_REPLAY: msgspec.msgpack.encode(self._heard)})
