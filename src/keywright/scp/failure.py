"""What goes wrong while a secure channel opens, whatever its protocol."""

from __future__ import annotations

from typing import Final

from keywright.errors import AuthenticationError, WireError

SCP_AT: Final = 11
"""Where an answer to INITIALIZE UPDATE names its protocol, in SCP02 and SCP03 alike."""


class CardCryptogramError(AuthenticationError):
    """The card does not hold the keys we tried. No EXTERNAL AUTHENTICATE was sent, so the card counted nothing."""

    code = "card-cryptogram"
    hint = "these are not this card's keys; find the right set before trying again (nothing was counted on the card)"


class OtherProtocolError(WireError):
    """The card answers INITIALIZE UPDATE in another protocol than the one asked for. scp: its number."""

    code = "other-protocol"
    hint = "the key set decides: open the session in the protocol that the card named"

    def __init__(self, scp: int, asked: int) -> None:
        super().__init__(f"the card speaks SCP{scp:02X} with this key set, not SCP{asked:02X}")
        self.scp = scp
