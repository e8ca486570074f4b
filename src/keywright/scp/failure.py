"""What goes wrong while a secure channel opens, whatever its protocol."""

from __future__ import annotations

from keywright.errors import AuthenticationError


class CardCryptogramError(AuthenticationError):
    """The card does not hold the keys we tried. No EXTERNAL AUTHENTICATE was sent, so the card counted nothing."""

    code = "card-cryptogram"
    hint = "these are not this card's keys; find the right set before trying again (nothing was counted on the card)"
