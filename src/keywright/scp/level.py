"""Security levels, as GPCS 10.6 and every secure channel protocol code them.

Plain integers: `&` with an IntFlag costs a microsecond each time.
"""

from __future__ import annotations

from typing import Final


class Level:
    """Bits of a security level (GPCS table 10-1; P1 of EXTERNAL AUTHENTICATE has the lower six)."""

    C_MAC: Final = 0x01
    C_DEC: Final = 0x02
    R_MAC: Final = 0x10
    R_ENC: Final = 0x20
    ANY_AUTHENTICATED: Final = 0x40
    AUTHENTICATED: Final = 0x80


LEVELS: Final = (0x00, 0x01, 0x03, 0x11, 0x13, 0x33)
"""The levels of SCP03 and SCP11: every protection needs the ones before it."""
