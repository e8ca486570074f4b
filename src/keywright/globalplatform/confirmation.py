"""What a card answers to INSTALL, LOAD and DELETE: nothing to tell (00), or a receipt and its data (GPCS 11.1.6)."""

from __future__ import annotations

from typing import Annotated

from keywright.codec.record import U16, Record, Rest, prefixed


class Confirmation(Record, frozen=True):
    """Answer data of a content management command: the receipt with its length, then confirmation data.

    Without a receipt this is the one byte 00.
    """

    receipt: Annotated[bytes, prefixed("lv")] = b""
    data: Annotated[bytes, Rest()] = b""


class ConfirmationData(Record, frozen=True):
    """Confirmation data (GPCS table 11-17): what makes a receipt unlike any other.

    counter: the confirmation counter, with its length of two bytes. domain: IIN and CIN of the security domain
    provider, one after the other, as data object values. token: identifier of the token that was used, `b""` if none.
    """

    counter: Annotated[tuple[U16, ...], prefixed(1)]
    domain: Annotated[bytes, prefixed(1)]
    token: Annotated[bytes, Rest()] = b""


def no_confirmation() -> bytes:
    """Answer data of a command that gives no receipt: 00."""
    return b"\0"
