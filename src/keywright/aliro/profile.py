"""What public sources disagree about or leave open, each behind one name. The defaults are the reference's choice."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec


class Interface(IntEnum):
    """The byte of the salts that names the transport."""

    NFC = 0x5E
    BLE = 0xC3


V1_0: Final = 0x0100
V0_9: Final = 0x0009
"""A version of before the standard, which phones spoke first."""


class Profile(msgspec.Struct, frozen=True):
    """Choices that both ends of one installation must share, except where the text says whose they are."""

    salt_has_issuer_key: bool = True
    """With a reader certificate, the salts begin with X of the issuer's key (aliro-actuator); False: with X of the
    reader's own key (python-aliro-reader). Without a certificate it is the reader's own either way."""
    vendor_in_persistent: bool = True
    """The vendor TLVs of AUTH0 go into the derivation of Kpersistent too (aliro-actuator); False: they do not."""
    seals_empty: bool = False
    """An empty message travels as a bare tag; False: as nothing (python-aliro-reader)."""
    signaling_bytes: int = 2
    """Device: width of tag 5E in AUTH1; 1 in the draft whose worked example is published."""
    demands_le: bool = True
    """Device: a command without Le is refused with 6700, where Le is due."""
    raw_step_up: bool = False
    """Device: DO'53' carries the bare ciphertext instead of CBOR SessionData. A reader accepts both."""
    expedited_limit: int = 0xFFFF
    """The last counter of a direction of the expedited channel (aliro-actuator)."""


DEFAULT: Final = Profile()
