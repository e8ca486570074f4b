"""What differs between SCP03 cards, and what is unsure for want of a copy of the newest Amendment D."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """How one kind of card does SCP03, for both ends."""

    pads_empty: bool = False
    """A host sends an empty data field under C-DEC as one encrypted block of padding (as a YubiKey and its tools do),
    not as nothing (Amd D 6.2.6). The element reads both."""
    covered_end: bool = True
    """[?] The answer of END R-MAC SESSION is the last protected one (Amd D 7.1.4); else it is bare already."""
    challenge_status: Annotated[int, msgspec.Meta(ge=0x6000, le=0x9FFF)] = 0x6700
    """Status of INITIALIZE UPDATE whose challenge has not the length of the card's mode: Amd D 7.1.1 leaves 6700 or
    6A80. GlobalPlatformPro tries the other mode after 6700 alone."""
    kcv: Literal["ones", "zeros"] = "ones"
    """Check value of an AES key: over bytes 01 (GPCS B.6), or over zeros as some cards compute it."""
