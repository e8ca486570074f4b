"""What of T=0 differs between hosts and cards, as one value for both ends."""

from __future__ import annotations

from typing import Literal

import msgspec

from keywright.iso7816.atr import DEFAULT_WI, Atr
from keywright.iso7816.timing import Speed

TURN_AROUND_ETU = 16
"""Between characters in opposite directions: EMV's figure; ISO is less strict [?]."""


class T0Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of an end of T=0; the defaults follow ISO 7816-3 section 12 and our reference."""

    speed: Speed = Speed()
    waiting_integer: int = DEFAULT_WI
    extra_guard: int = 0
    """TC1."""
    turn_around: int = TURN_AROUND_ETU
    lax_acknowledge: bool = False
    """Host: take INS^01 for INS as an acknowledgement, as openct and the CCID driver do for cards of old."""
    get_response_class: Literal["channel", "copy"] = "channel"
    """Host: class of GET RESPONSE: 0X with the logical channel, or that of the command (Java, apdu4j). GSM's class A0
    is always copied."""
    fetch_after_ok: bool = True
    """Host: send GET RESPONSE when a case 4 command is answered 9000 without data, for cards that keep the data and do
    not say 61xx (12.2.4). A card that has none refuses, and the answer is 9000."""
    fetch_after_warning: bool = False
    """Host: the same after 62xx; some cards keep the FCI of a locked application."""
    closing_envelope: bool = False
    """Host: end what ENVELOPE carried with an empty ENVELOPE; many stacks leave it out."""
    max_nulls: int = 10_000
    """Host: NULL bytes of one command before `Failure.ENDLESS`; the standard has no bound."""
    max_rounds: int = 1024
    """Host: TPDUs of one command, likewise."""
    nulls: int = 0
    """Card: NULL bytes before every acknowledgement."""
    nulls_before_status: int = 0
    """Card: NULL bytes before the status word of a command that took data, or after the data of one that sent some.
    openct takes the latter for data."""
    single: int = 0
    """Card: bytes acknowledged one by one (INS^FF) before the rest; more than there are: all of them."""
    announces: Literal["61", "9F", "status"] = "61"
    """Card: what says that data waits: 61xx, GSM's 9Fxx, or the status word itself with the data kept silently."""
    envelope_ends: Literal["length", "empty"] = "length"
    """Card: what ends a command in ENVELOPEs: its own length fields, or an empty ENVELOPE. By length, a case 4 command
    whose last piece holds nothing but its Le is taken as case 3; our host never cuts there."""
    max_command: int = 65_544
    """Card: bytes of the longest command taken in ENVELOPEs; more is answered with 6700."""

    @property
    def wait(self) -> float:
        """WT in seconds."""
        return self.speed.waiting_time(self.waiting_integer)

    @property
    def guard(self) -> float:
        """Turn-around in seconds."""
        return self.turn_around * self.speed.etu

    def duration(self, characters: bytes) -> float:
        """Seconds that characters of the host take, all but the last."""
        return (len(characters) - 1) * self.speed.guard_time(self.extra_guard)


def of_atr(atr: Atr, speed: Speed | None = None) -> T0Profile:
    """The profile that an ATR asks for. speed: what a PPS has settled."""
    return T0Profile(
        speed=speed or Speed(), waiting_integer=atr.waiting_integer or DEFAULT_WI, extra_guard=atr.extra_guard_time
    )
