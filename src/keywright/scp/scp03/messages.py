"""What SCP03 puts on the wire (GlobalPlatform Card Specification, Amendment D)."""

from __future__ import annotations

from typing import Annotated, Final

from keywright.codec.record import U8, Record, Rest, raw

SCP03 = 0x03

INITIALIZE_UPDATE = 0x50
EXTERNAL_AUTHENTICATE = 0x82
BEGIN_R_MAC_SESSION = 0x7A
END_R_MAC_SESSION = 0x78

FIRST_AND_ONLY: Final = 0x01
"""P2 of BEGIN R-MAC SESSION."""
END_SESSION: Final = 0x03
"""P2 of END R-MAC SESSION: the R-MAC session ends (Amd D 7.1.4)."""


class I:  # noqa: E742 - the standard's own name
    """Bits of the "i" parameter (Amd D 5.1). Plain integers: `&` with an IntFlag costs a microsecond each time."""

    S16: Final = 0x01
    PSEUDO_RANDOM: Final = 0x10
    R_MAC: Final = 0x20
    R_ENC: Final = 0x40


NO_IV: Final = bytes(16)
"""What chaining begins with."""
ANSWERED: Final = 1 << 127
"""Set in the command counter for the ICV of an answer (Amd D 6.2.7)."""


class InitializeUpdateResponse8(Record, frozen=True):
    """Answer to INITIALIZE UPDATE in S8 mode (Amd D 7.1.1.6)."""

    kdd: Annotated[bytes, raw(10)]
    kvn: U8
    scp: U8
    i: U8
    card_challenge: Annotated[bytes, raw(8)]
    card_cryptogram: Annotated[bytes, raw(8)]
    sequence_counter: Annotated[bytes, Rest(0, 3)] = b""


class InitializeUpdateResponse16(Record, frozen=True):
    """Answer to INITIALIZE UPDATE in S16 mode (Amd D v1.2 7.1.1.6)."""

    kdd: Annotated[bytes, raw(10)]
    kvn: U8
    scp: U8
    i: U8
    card_challenge: Annotated[bytes, raw(16)]
    card_cryptogram: Annotated[bytes, raw(16)]
    sequence_counter: Annotated[bytes, Rest(0, 3)] = b""


InitializeUpdateResponse = InitializeUpdateResponse8 | InitializeUpdateResponse16
