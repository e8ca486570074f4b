"""What differs between SCP03 cards, and what is unsure for want of a copy of the newest Amendment D."""

from __future__ import annotations

from typing import Literal

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """How one kind of card does SCP03, for both ends."""

    pads_empty: bool = False
    """A host sends an empty data field under C-DEC as one encrypted block of padding (as a YubiKey and its tools do),
    not as nothing (Amd D 6.2.6). The element reads both."""
    covered_end: bool = True
    """[?] The answer of END R-MAC SESSION is the last protected one (Amd D 7.1.4); else it is bare already."""
    kcv: Literal["ones", "zeros"] = "ones"
    """Check value of an AES key: over bytes 01 (GPCS B.6), or over zeros as some cards compute it."""
