"""What an end can do, and how one value of each kind is chosen out of what two ends can."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from keywright.errors import WireError
from keywright.uwb.grid import OVERHEAD_SLOTS, Grid, Hopping
from keywright.uwb.keys import RANGING_PROTOCOL, RangingConfiguration

CHANNELS: Final = {0x01: 5, 0x02: 9}
"""Bit of the channel bitmask to the UWB channel."""
CHAPS: Final = (3, 4, 6, 8, 9, 12, 24)
"""Chaps of a slot by their bit in the slot bitmask, lowest first (general knowledge of CCC, not checked)."""
SLOTS_PER_ROUND: Final = (6, 8, 9, 12, 16, 18, 24, 32, 36, 48, 72, 96)
"""Slots that we give a round (as `CHAPS`); any number that divides a block is accepted."""
NO_HOPPING: Final = 0x80
CONTINUOUS: Final = 0x40
ADAPTIVE: Final = 0x20
DEFAULT_SEQUENCE: Final = 0x10
AES_SEQUENCE: Final = 0x08
_MODES: Final = {
    NO_HOPPING: Hopping.NONE,
    CONTINUOUS | DEFAULT_SEQUENCE: Hopping.CONTINUOUS,
    ADAPTIVE | DEFAULT_SEQUENCE: Hopping.ADAPTIVE,
}
_TWO_ROUNDS: Final = 0x80
_OFFSET: Final = 0x7F


class Capabilities(msgspec.Struct, frozen=True):
    """What an end can do; lists are best first."""

    config_ids: tuple[int, ...] = (0,)
    pulse_shapes: tuple[int, ...] = (0x11,)
    channels: int = 0x03
    sync_codes: int = 0x00000F00
    """Bit n-1 is SYNC code n; 9 to 12."""
    ran_multiplier: int = 2
    """The least number of 96 ms that a block may have."""
    slots: int = 0x7F
    """Bits of `CHAPS`."""
    hopping: int = NO_HOPPING | CONTINUOUS | ADAPTIVE | DEFAULT_SEQUENCE


class Wishes(msgspec.Struct, frozen=True):
    """What a reader wants of what both can do."""

    responders: int = 1
    hopping: tuple[Hopping, ...] = (Hopping.CONTINUOUS, Hopping.NONE)
    round_offset: int = 0
    """Rounds between two of a block; 0: one is enough."""


class Terms(NamedTuple):
    """What both ends have agreed on: with a URSK, a ranging session."""

    session_id: int
    config_id: int
    pulse_shape: int
    channel: int
    sync_code: int
    grid: Grid
    uwb_time0: int
    """Microseconds of the device's UWB clock, when block 0 begins."""

    @property
    def configuration(self) -> RangingConfiguration:
        """As it goes into the keys."""
        grid = self.grid
        return RangingConfiguration(
            RANGING_PROTOCOL,
            self.config_id,
            self.session_id,
            grid.sts_index0,
            grid.responders,
            grid.ran_multiplier,
            grid.slots_per_round,
            grid.chaps_per_slot,
            self.pulse_shape,
        )


def first_common(name: str, mine: tuple[int, ...], theirs: tuple[int, ...]) -> int:
    """The best of mine that is one of theirs. Raises WireError that names what there is none of."""
    for one in mine:
        if one in theirs:
            return one
    raise WireError(f"no common {name}", hint=f"here: {_listed(mine)}; there: {_listed(theirs)}")


def common_bits(name: str, mine: int, theirs: int) -> int:
    """The bits that both have. Raises WireError if there are none."""
    if not mine & theirs:
        raise WireError(f"no common {name}", hint=f"here: {mine:#x}; there: {theirs:#x}")
    return mine & theirs


def only_bit(name: str, value: int) -> int:
    """The value, which has exactly one bit. Raises WireError."""
    if not value or value & value - 1:
        raise WireError(f"{name} {value:#x} is not one choice")
    return value


def only(name: str, values: tuple[int, ...]) -> int:
    """The one value of a list. Raises WireError."""
    if len(values) != 1:
        raise WireError(f"{len(values)} values of {name} are not one choice")
    return values[0]


def hopping_of(selected: int) -> Hopping:
    """The mode that M3 chose. Raises WireError for none, for several, and for the AES sequence, which is not public."""
    if selected & AES_SEQUENCE:
        raise WireError("the AES hopping sequence is forbidden in Aliro", hint="choose the default sequence")
    if selected not in _MODES:
        raise WireError(f"hopping {selected:#x} is not one mode with its sequence")
    return _MODES[selected]


def hopping_bits(mode: Hopping) -> int:
    """How M3 says that mode."""
    return next(bits for bits, known in _MODES.items() if known is mode)


def choose_hopping(wishes: tuple[Hopping, ...], mine: int, theirs: int) -> Hopping:
    """The first mode wished for that both can do. Raises WireError if there is none."""
    for mode in wishes:
        bits = hopping_bits(mode)
        if bits & mine & theirs == bits:
            return mode
    raise WireError("no common hopping mode", hint=f"here: {mine:#x}; there: {theirs:#x}")


def choose_grid(wishes: Wishes, slots: int, ran_multiplier: int, hopping: Hopping) -> Grid:
    """A grid with the shortest slots and rounds that fit; STS_Index0 and hop key are the device's to say.

    Raises WireError if none fits.
    """
    for chaps in chaps_of(slots):
        for per_round in SLOTS_PER_ROUND:
            if per_round < wishes.responders + OVERHEAD_SLOTS:
                continue
            try:
                return Grid(0, wishes.responders, ran_multiplier, per_round, chaps, hopping, 0, wishes.round_offset)
            except ValueError:
                continue
    raise WireError(f"no round of {wishes.responders} responders fits a block of {ran_multiplier} * 96 ms")


def chaps_of(slots: int) -> tuple[int, ...]:
    """The numbers of chaps that a slot bitmask names."""
    return tuple(chaps for bit, chaps in enumerate(CHAPS) if slots >> bit & 1)


def mac_mode(round_offset: int) -> int:
    """The MAC mode attribute for rounds so far apart, 0 for one round. How its octet is laid out is not public.

    Ours: the top bit is a second round, the rest its offset. Only 0 (one round) is known to be right.
    Raises ValueError above 127.
    """
    if not 0 <= round_offset <= _OFFSET:
        raise ValueError(f"a round offset of {round_offset}")
    return _TWO_ROUNDS | round_offset if round_offset else 0


def round_offset(mode: int) -> int:
    """The inverse of `mac_mode`. Raises WireError for an octet that it never gives."""
    offset = mode & _OFFSET
    if bool(offset) != bool(mode & _TWO_ROUNDS):
        raise WireError(f"MAC mode {mode:#04x} is neither one round nor two")
    return offset


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(f"{value:#x}" for value in values) or "none"
