"""What SCP02 puts on the wire, and which of its bytes a MAC covers (GPCS appendix E)."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Final

from keywright.codec.record import U8, U16, Record, prefixed, raw
from keywright.codec.tlv import Template, tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp
from keywright.iso7816.status import SW
from keywright.scp.level import Level

SCP02: Final = 0x02

INITIALIZE_UPDATE: Final = 0x50
EXTERNAL_AUTHENTICATE: Final = 0x82
BEGIN_R_MAC_SESSION: Final = 0x7A
END_R_MAC_SESSION: Final = 0x78
GET_DATA: Final = 0xCA
SEQUENCE_COUNTER_TAG: Final = 0x00C1

BEGIN_P2: Final = 0x01
"""P2 of BEGIN R-MAC SESSION (GPCS E.5.3)."""
COLLECT: Final = 0x00
"""P1 of BEGIN R-MAC SESSION: only END R-MAC SESSION returns the R-MAC."""
EVERY_RESPONSE: Final = 0x10
"""P1 of BEGIN R-MAC SESSION: every response carries its R-MAC."""
GO_ON: Final = 0x01
"""P2 of END R-MAC SESSION: return the R-MAC, the R-MAC session goes on (GPCS E.5.4)."""
END_SESSION: Final = 0x03
"""P2 of END R-MAC SESSION: return the R-MAC, the R-MAC session ends."""

MAC_BYTES: Final = 8
CHALLENGE_BYTES: Final = 8
CARD_CHALLENGE_BYTES: Final = 6
MAX_COUNTER: Final = 0xFFFF
MAX_R_MAC_DATA: Final = 24

LEVELS: Final = (0x00, 0x01, 0x03, 0x10, 0x11, 0x13)
"""The levels of SCP02: an R-MAC does not need a C-MAC here (GPCS table E-11)."""


class I:  # noqa: E742 - the standard's own name
    """Bits of the "i" parameter (GPCS table E-1). It is not in the answer to INITIALIZE UPDATE: card data have it."""

    THREE_KEYS: Final = 0x01
    UNMODIFIED: Final = 0x02
    EXPLICIT: Final = 0x04
    ICV_OF_AID: Final = 0x08
    ICV_ENCRYPTED: Final = 0x10
    R_MAC: Final = 0x20
    PSEUDO_RANDOM: Final = 0x40


OPTIONS: Final = tuple(i for i in range(0x80) if i & I.EXPLICIT or not i & I.PSEUDO_RANDOM)
"""Every value of "i" that means something: 64 explicit, 32 implicit (which have no challenge to be made somehow)."""


@cache
def allowed_levels(i: int) -> tuple[int, ...]:
    """Levels that EXTERNAL AUTHENTICATE may ask for with this "i"; the one of an implicit session (GPCS E.1)."""
    if not i & I.EXPLICIT:
        return (Level.C_MAC,)
    return tuple(level for level in LEVELS if i & I.R_MAC or not level & Level.R_MAC)


class InitializeUpdateResponse(Record, frozen=True):
    """Answer to INITIALIZE UPDATE, 28 bytes (GPCS E.5.1.6)."""

    kdd: Annotated[bytes, raw(10)]
    kvn: U8
    scp: U8
    sequence_counter: U16
    card_challenge: Annotated[bytes, raw(CARD_CHALLENGE_BYTES)]
    card_cryptogram: Annotated[bytes, raw(MAC_BYTES)]


class BeginRMacSession(Record, frozen=True):
    """Data of BEGIN R-MAC SESSION: what the R-MAC chain shall cover first, 0 to 24 bytes (GPCS E.5.3.4)."""

    data: Annotated[bytes, prefixed(1)]


class SequenceCounter(Template, frozen=True):
    """GET DATA C1: the sequence counter of the default key set (GPCS H.5)."""

    value: Annotated[bytes, tag(0xC1)]


def covered(command: Command, i: int) -> bytes:
    """What the C-MAC of a plain command covers, unpadded (GPCS E.4.4).

    The class without channel. Modified: with the secure messaging bit, and Lc as if the MAC were there. Unmodified:
    both as the command has them before its protection. Data are plain, whatever the level.
    """
    cla, size = 0x80 if is_gp(command.cla) else 0x00, len(command.data)
    if not i & I.UNMODIFIED:
        cla, size = cla | 0x04, size + MAC_BYTES
    return bytes((cla, command.ins, command.p1, command.p2)) + _lc(size, extended=command.extended) + command.data


def answered(command: Command, response: Response) -> bytes:
    """What an R-MAC covers, unpadded: a plain command without Le, and its answer (GPCS E.4.5).

    An error has no data, whatever the response says.
    """
    data = response.data if may_have_data(response.sw) else b""
    header = bytes((0x80 if is_gp(command.cla) else 0x00, command.ins, command.p1, command.p2))
    request = header + _lc(len(command.data), extended=command.extended) + command.data
    return request + bytes((len(data) & 0xFF,)) + data + response.sw.to_bytes(2)


def may_have_data(sw: int) -> bool:
    """Whether an answer with this status is no error: 9000, 62xx, 63xx."""
    return sw == SW.OK or sw >> 8 in (0x62, 0x63)


def _lc(size: int, *, extended: bool) -> bytes:
    # Always there in what a MAC covers, even where the command has none.
    return b"\0" + size.to_bytes(2) if extended else bytes((size,))
