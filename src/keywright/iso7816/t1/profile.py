"""What of T=1 differs between readers and cards, as one value for both ends."""

from __future__ import annotations

from typing import Literal

import msgspec

from keywright.iso7816.atr import DEFAULT_BWI, DEFAULT_CWI, DEFAULT_IFSC, Atr
from keywright.iso7816.edc import T1_CODES, Edc
from keywright.iso7816.timing import BLOCK_GUARD_ETU, Speed


class T1Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of an end of T=1. The defaults are those of ISO 7816-3 and of our reference; each may be switched."""

    edc: str = "lrc"
    """Name of the check code, one of `edc.T1_CODES`. Implementations differ in the CRC; offer LRC to strangers."""
    nad: int = 0
    """Node address of the host's blocks; a card takes that of the first valid block."""
    ifsc: int = DEFAULT_IFSC
    """Bytes of INF that the card takes, until an S(IFS) says otherwise and again after RESYNCH."""
    ifsd: int = 32
    """Bytes of INF that the host takes, likewise."""
    speed: Speed = Speed()
    bwi: int = DEFAULT_BWI
    cwi: int = DEFAULT_CWI
    extra_guard: int = 0
    """TC1."""
    max_bad: int = 2
    """Host: invalid blocks or time-outs in a row that are answered by an R-block; one more costs RESYNCH (7.4.2)."""
    max_repeats: int = 3
    """Host: how often in a row a card may ask for the same block again before RESYNCH."""
    max_requests: int = 3
    """Host: how often S(IFS), S(ABORT) or S(RESYNCH) is sent before the card is given up (6, 7.4.1)."""
    max_restarts: int = 3
    """Host: RESYNCHs in one command before the card is given up."""
    first_failure: Literal["resynch", "reset"] = "resynch"
    """Host: what follows when no valid block has come since the reset (7.4.1): RESYNCH as later, which the CCID driver
    does, or giving the card up at once, which is how the rule reads [?]."""
    silence: Literal["retry", "fatal"] = "retry"
    """Host: what the end of BWT does: rule 7.1, or give up at once as the CCID driver does."""
    after_resynch: Literal["repeat", "fail"] = "repeat"
    """Host: send the pending command again (rule 6), or end it as `Failure.RESYNCHRONISED`. A secure session on top
    cannot survive either; "fail" tells it before the command may have run twice."""
    card_resynch: Literal["resynch", "invalid"] = "resynch"
    """Host: a card that requests RESYNCH is faulty; do it for it (as the CCID driver), or take the block as invalid."""
    after_response: Literal["r-block", "response"] = "r-block"
    """Both: what follows an invalid block after an S response was sent (7.3); some cards send the response again."""
    abort_number: Literal["either", "strict"] = "either"
    """Both: whether the first I-block after an ABORT may have either N(S); implementations count differently [?]."""
    card_answers: int = 1
    """Card: invalid blocks in a row that are answered; then it is silent until a valid one comes (7.4.3)."""
    card_ifs_repeats: int = 1
    """Card: how often its S(IFS) request is repeated before the old size stays (7.6)."""
    empty_tail: bool = False
    """Card: whether every answer is a chain closed by an empty I-block; legal, and OsEID does it."""
    max_answer: int = 65_538
    """Host: bytes of the longest answer taken; more is `Failure.ENDLESS`."""
    max_command: int = 65_544
    """Card: bytes of the longest command taken; more is answered with 6700."""
    max_blocks: int = 70_000
    """Host: blocks of one command before `Failure.ENDLESS`; S(WTX) and empty blocks could go on for ever."""

    @property
    def code(self) -> Edc:
        """The check code. Raises ValueError for a name that is none."""
        if self.edc not in T1_CODES:
            raise ValueError(f"there is no check code {self.edc!r}; there are {', '.join(T1_CODES)}")
        return T1_CODES[self.edc]

    def for_sessions(self) -> T1Profile:
        """The same, for a host with secure sessions on top: RESYNCH ends the command, so that it cannot run twice."""
        return msgspec.structs.replace(self, after_resynch="fail")

    @property
    def block_guard(self) -> float:
        """BGT in seconds."""
        return BLOCK_GUARD_ETU * self.speed.etu

    @property
    def block_wait(self) -> float:
        """BWT in seconds."""
        return self.speed.block_waiting_time(self.bwi)

    @property
    def character_wait(self) -> float:
        """CWT in seconds."""
        return self.speed.character_waiting_time(self.cwi)

    def duration(self, frame: bytes) -> float:
        """Seconds that the characters of `frame` take, all but the last."""
        return (len(frame) - 1) * self.speed.guard_time(self.extra_guard, t1=True)


def of_atr(atr: Atr, speed: Speed | None = None) -> T1Profile:
    """The profile that an ATR asks for; its CRC is taken to be the most usual one. speed: what a PPS has settled."""
    t1 = atr.t1
    return T1Profile(
        edc="crc" if t1.crc else "lrc",
        ifsc=t1.ifsc if 1 <= t1.ifsc <= 254 else DEFAULT_IFSC,
        speed=speed or Speed(),
        bwi=t1.bwi,
        cwi=t1.cwi,
        extra_guard=atr.extra_guard_time,
    )
