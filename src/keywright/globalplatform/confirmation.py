"""What a card answers to INSTALL, LOAD and DELETE: nothing to tell (00), or a receipt and its data (GPCS 11.1.6)."""

from __future__ import annotations

from typing import Annotated

from keywright.codec.ber import read_length
from keywright.codec.record import Record, Rest, prefixed
from keywright.globalplatform.card_objects import CounterValue


class Confirmation(Record, frozen=True):
    """Answer data of a content management command: the receipt with its length, then confirmation data.

    Without a receipt this is the one byte 00.
    """

    receipt: Annotated[bytes, prefixed("lv")] = b""
    data: Annotated[bytes, Rest()] = b""


class ConfirmationData(Record, frozen=True):
    """Confirmation data (GPCS 11.1.6): what makes a receipt unlike any other.

    counter: the confirmation counter; it starts at 0 and grows by one with every receipt. domain: IIN and CIN of the
    security domain provider, one after the other. token: identifier of the token that was used, `b""` if none.
    """

    counter: Annotated[CounterValue, prefixed(1)]
    domain: Annotated[bytes, prefixed(1)]
    token: Annotated[bytes, Rest()] = b""


def read_confirmation(data: bytes) -> Confirmation:
    """Answer data of a content management command, of every kind of card. Raises DecodeError.

    No data at all is taken as "nothing to tell". Some cards put the length of all that follows before it
    (`CardProfile.confirmation_length`); the two cannot be mistaken for each other, for a receipt never comes without
    confirmation data.
    """
    if not data:
        return Confirmation()
    size, start = read_length(data, 0, len(data))
    whole = size and start + size == len(data)
    return Confirmation.parse(data[start:] if whole else data)


def no_confirmation() -> bytes:
    """Answer data of a command that gives no receipt: 00."""
    return b"\0"
