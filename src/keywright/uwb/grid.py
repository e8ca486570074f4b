"""The grid of a ranging session: chaps, slots, rounds, blocks, their STS indices, and which round a block uses.

    slot    chaps_per_slot chaps of 1/3 ms
    round   slots_per_round slots: 0 pre-poll, 1 poll, 2+l response of responder l, N+2 final, N+3 final data
    block   ran_multiplier * 96 ms; of its rounds one is used, or two that lie `round_offset` apart (MAC mode)

Times are ticks (`uwb.twr`) from UWB_Time0 on the initiator's clock (CCC-TS-101 20.2 to 20.5).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from keywright.uwb.frames import MOST_RESPONDERS
from keywright.uwb.keys import LAST_STS_INDEX
from keywright.uwb.twr import TICK_HZ

CHAP_TICKS: Final = TICK_HZ // 3000
CHAPS_PER_96_MS: Final = 288
OVERHEAD_SLOTS: Final = 4
"""Slots of a round besides those of the responders."""
LAST_STS_INDEX0: Final = (1 << 30) - 1
"""STS_Index0 is drawn from 0 to this (CCC-TS-101, as cited by public notes)."""
LAST_TIMESTAMP: Final = (1 << 32) - 1
"""Ticks, 67 ms: what final data can say. With slots of 24 chaps that leaves seven responders."""
URSK_S: Final = 12 * 3600.0
"""How long a URSK may be used after M4, seconds."""
_MODULUS: Final = 65521


class Hopping(IntEnum):
    """How the round of a block is chosen."""

    NONE = 0
    """Round 0 in every block."""
    CONTINUOUS = 1
    """The default sequence, a new round in every block."""
    ADAPTIVE = 2
    """The same round as long as ranging works in it, else the default sequence."""


class Grid(msgspec.Struct, frozen=True):
    """The grid that both ends have agreed on. Raises ValueError for one that no session can have."""

    sts_index0: int
    responders: int
    """In one round."""
    ran_multiplier: int
    slots_per_round: int
    chaps_per_slot: int
    hopping: Hopping = Hopping.NONE
    hop_key: int = 0
    round_offset: int = 0
    """Rounds between the two that a block uses; 0: it uses one."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        chaps = self.chaps_per_slot * self.slots_per_round
        if not 1 <= self.responders <= MOST_RESPONDERS:
            raise ValueError(f"{self.responders} responders; a round has 1 to {MOST_RESPONDERS}")
        if self.slots_per_round < self.responders + OVERHEAD_SLOTS:
            raise ValueError(
                f"{self.slots_per_round} slots a round are too few for {self.responders} responders: "
                f"{self.responders + OVERHEAD_SLOTS} are due"
            )
        if min(self.ran_multiplier, self.chaps_per_slot) < 1 or self.ran_multiplier * CHAPS_PER_96_MS % chaps:
            raise ValueError(
                f"rounds of {self.slots_per_round} slots of {self.chaps_per_slot} chaps do not divide a block of "
                f"{self.ran_multiplier} * {CHAPS_PER_96_MS} chaps"
            )
        if (self.final_slot - 1) * self.slot_ticks > LAST_TIMESTAMP:
            raise ValueError(
                f"{self.responders} responders in slots of {self.chaps_per_slot} chaps: from poll to final is longer "
                "than a timestamp of 32 bits can say"
            )
        if not 0 <= self.round_offset < self.rounds:
            raise ValueError(f"two rounds {self.round_offset} apart in a block of {self.rounds}")
        if not 0 <= self.sts_index0 <= LAST_STS_INDEX:
            raise ValueError(f"STS_Index0 {self.sts_index0} is beyond {LAST_STS_INDEX}")

    @property
    def slot_ticks(self) -> int:
        """Length of a slot."""
        return self.chaps_per_slot * CHAP_TICKS

    @property
    def round_ticks(self) -> int:
        """Length of a round."""
        return self.slots_per_round * self.slot_ticks

    @property
    def block_ticks(self) -> int:
        """Length of a block."""
        return self.ran_multiplier * CHAPS_PER_96_MS * CHAP_TICKS

    @property
    def rounds(self) -> int:
        """Rounds of a block, used or not: N_Round."""
        return self.ran_multiplier * CHAPS_PER_96_MS // (self.chaps_per_slot * self.slots_per_round)

    @property
    def rounds_used(self) -> int:
        """1 or 2."""
        return 2 if self.round_offset else 1

    @property
    def indices_per_block(self) -> int:
        """STS indices of a block: one a slot, used or not."""
        return self.rounds * self.slots_per_round

    @property
    def final_slot(self) -> int:
        """The slot of the final; final data is in the next."""
        return self.responders + 2

    def response_slot(self, responder: int) -> int:
        """The slot of a responder."""
        return responder + 2

    def start_ticks(self, block: int, round_: int, slot: int = 0) -> int:
        """When a slot begins."""
        return block * self.block_ticks + round_ * self.round_ticks + slot * self.slot_ticks

    def sts_index(self, block: int, round_: int, slot: int = 0) -> int:
        """STS index of a slot: Index0 + (i * N_Round + s) * slots, and one more for each slot of the round."""
        return self.sts_index0 + (block * self.rounds + round_) * self.slots_per_round + slot

    def place(self, sts_index: int) -> tuple[int, int, int]:
        """Block, round and slot of an STS index. Raises ValueError for one before STS_Index0."""
        since = sts_index - self.sts_index0
        if since < 0:
            raise ValueError(f"STS index {sts_index} is before STS_Index0 {self.sts_index0}")
        block, rest = divmod(since, self.indices_per_block)
        return (block, *divmod(rest, self.slots_per_round))

    def is_used_up(self, block: int) -> bool:
        """Whether this block would need an STS index that a URSK has not: 2^31 - 1 ends it."""
        return self.sts_index(block + 1, 0) - 1 > LAST_STS_INDEX

    def hopped(self, block: int) -> int:
        """The round of a block by the default sequence; block 0 is not hopped."""
        if not block:
            return 0
        square = ((block + self.hop_key & 0xFFFF) ** 2) % _MODULUS
        return square * (self.rounds - self.round_offset) >> 16

    def first_round(self, block: int, before: int, *, hops: bool) -> int:
        """The first round used of a block.

        before: that of the block before, which an adaptive session keeps unless `hops`: ranging failed, or the final
        data that would have said so was not heard.
        """
        match self.hopping:
            case Hopping.NONE:
                return 0
            case Hopping.CONTINUOUS:
                return self.hopped(block)
            case Hopping.ADAPTIVE:
                return self.hopped(block) if hops else before
