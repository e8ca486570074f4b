"""Receipts: the card's proof of what it did, the exact bytes that are signed, making and checking them (GPCS C.5).

What is signed is the confirmation data, then what was done, each value with its length.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.codec.ber import length
from keywright.errors import DecodeError, WireError
from keywright.globalplatform.card_objects import CounterValue
from keywright.globalplatform.confirmation import Confirmation, ConfirmationData
from keywright.globalplatform.signatures import SigningKey, VerifyingKey, sign, verify

MAX_COUNTER: Final = 0xFFFF


class Done(msgspec.Struct, frozen=True):
    """What a card did, as a receipt tells it: AIDs and other values in the order of the clause."""

    values: tuple[bytes, ...]

    def build(self) -> bytes:
        """Each value after its length."""
        return b"".join(length(len(value)) + value for value in self.values)


def loaded(load_file: bytes, security_domain: bytes) -> Done:
    """Of LOAD, after its last block (GPCS C.5)."""
    return Done((load_file, security_domain))


def installed(load_file: bytes, instance: bytes) -> Done:
    """Of INSTALL [for install], with or without make selectable (GPCS C.5)."""
    return Done((load_file, instance))


def made_selectable(instance: bytes, privileges: bytes) -> Done:
    """Of INSTALL [for make selectable] alone (GPCS C.5)."""
    return Done((instance, privileges))


def deleted(aid: bytes) -> Done:
    """Of DELETE (GPCS C.5)."""
    return Done((aid,))


def extradited(old_domain: bytes, application: bytes, new_domain: bytes) -> Done:
    """Of INSTALL [for extradition] (GPCS C.5)."""
    return Done((old_domain, application, new_domain))


def registry_updated(security_domain: bytes, application: bytes, privileges: bytes) -> Done:
    """Of INSTALL [for registry update] (GPCS C.5)."""
    return Done((security_domain, application, privileges))


def receipt_input(confirmation: bytes, done: Done) -> bytes:
    """The bytes that a receipt signs; `confirmation` as it stands in the answer."""
    return confirmation + done.build()


def make_receipt(key: SigningKey, count: int, done: Done, *, domain: bytes = b"", token: bytes = b"") -> Confirmation:
    """Answer with a receipt, by the security domain with receipt generation.

    count: the confirmation counter as it stands; the caller stores it plus one in the same commit. domain: IIN and CIN
    of the domain's provider joined. token: identifier of the token used. Raises ValueError once the counter is spent.
    """
    if not 0 <= count <= MAX_COUNTER:
        raise ValueError("the confirmation counter is spent")
    data = ConfirmationData(CounterValue(count), domain, token).build()
    return Confirmation(sign(key, receipt_input(data, done)), data)


def check_receipt(key: VerifyingKey, answer: Confirmation, done: Done, *, above: int | None = None) -> ConfirmationData:
    """Check a card's receipt off card; returns its confirmation data.

    above: the counter of the last receipt seen, which this one must exceed. Raises AuthenticationError for a wrong
    signature, WireError when there is no receipt, its data do not parse or its counter was seen before.
    """
    if not answer.receipt:
        raise WireError("the card gave no receipt")
    verify(key, receipt_input(answer.data, done), answer.receipt)
    try:
        data = ConfirmationData.parse(answer.data)
    except DecodeError as error:
        raise WireError(f"confirmation data of the card: {error}") from error
    if above is not None and data.counter.count <= above:
        raise WireError(f"receipt {data.counter.count} comes after receipt {above}: an old one was repeated")
    return data
