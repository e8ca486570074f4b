"""Delegated management on card: tokens checked before anything is done, receipts given for what was (GPCS 9.1.3.3, C).

The token key is the one with the usage of one (81), else KVN 70 KID 01, of the security domain with the token
verification privilege; the receipt key likewise has usage 44, else KVN 71 KID 01 of the one with receipt generation.
"""

from __future__ import annotations

from keywright.codec.ber import length
from keywright.codec.tlv import find
from keywright.crypto.des import TripleDesKey
from keywright.element.card import Card
from keywright.element.key_material import signing_key, verifying_key
from keywright.element.registry import Registry
from keywright.element.rights import Actor, holders
from keywright.element.state import CONFIRMATION, KeyRecord, RegistryEntry, Transaction
from keywright.errors import AuthenticationError, DecodeError
from keywright.globalplatform.confirmation import no_confirmation
from keywright.globalplatform.install import ControlReference
from keywright.globalplatform.key_data import KeyUsage
from keywright.globalplatform.messages import Tag
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.receipts import MAX_COUNTER, Done, make_receipt
from keywright.globalplatform.tokens import verify_token
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

TOKEN_KEY = (0x70, 0x01)
RECEIPT_KEY = (0x71, 0x01)
DAP_KEY = (0x73, 0x01)
CIPHER_KEY = (0x75, 0x01)
_CONTROL = 0xB6


def find_key(card: Card, owner: RegistryEntry, usage: int, default: tuple[int, int]) -> KeyRecord | None:
    """A key of a security domain by what it is for, else by its conventional place (GPCS 11.1.9)."""
    domain = card.domain(owner.aid)
    for kvn in domain.kvns():
        for key in domain.keys(kvn):
            if key.usage and _usage(key) == usage:
                return key
    return domain.key(*default)


def nearest(registry: Registry, start: RegistryEntry, privilege: Privilege) -> RegistryEntry | None:
    """Whoever holds a privilege on the way up from a domain, else anywhere on the card."""
    found = holders(registry, privilege)
    above = [entry for entry in found if registry.under(start.aid, entry.aid)]
    return next(iter(above or found), None)


def check_token(card: Card, actor: Actor, signed: bytes, token: bytes) -> None:
    """What a domain without authorised management must show (GPCS 9.1.3.3).

    A token that a domain with authorised management sends along is not looked at. Refuses with 6982 for a missing or
    wrong token, 6985 when nobody on the card can check it.
    """
    if not actor.is_delegated:
        return
    if not token:
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
    owner = nearest(actor.registry, actor.entry, Privilege.TOKEN_VERIFICATION)
    record = None if owner is None else find_key(card, owner, KeyUsage.TOKEN_VERIFICATION, TOKEN_KEY)
    key = verifying_key(record)
    if key is None or isinstance(key, TripleDesKey):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    try:
        verify_token(key, signed, token)
    except AuthenticationError:
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED) from None


def named_token(parameters: bytes) -> bytes:
    """The identifier of the token (93) in the control reference (B6) of INSTALL parameters; none if it has none."""
    try:
        control = ControlReference.parse(find(parameters, _CONTROL) or b"")
    except DecodeError:
        return b""
    return control.token or b""


def confirm(card: Card, actor: Actor, change: Transaction, done: Done, token_id: bytes = b"") -> bytes:
    """Answer data: a receipt for what a delegated domain did, where a domain generates them, else 00.

    Whether the card gives any, and whether they end with the identifier of the token, the profile tells.
    The confirmation counter goes up in the same commit as what it confirms. Refuses with 6985 when it is spent.
    """
    if not actor.is_delegated or not card.profile.receipts:
        return no_confirmation()
    owner = nearest(actor.registry, actor.entry, Privilege.RECEIPT_GENERATION)
    record = None if owner is None else find_key(card, owner, KeyUsage.RECEIPT_GENERATION, RECEIPT_KEY)
    key = signing_key(record)
    if owner is None or key is None:
        return no_confirmation()
    count = int.from_bytes(change.read(CONFIRMATION) or b"")
    if count >= MAX_COUNTER:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    domain = card.domain(owner.aid)
    provider = (domain.data(Tag.IIN) or b"") + (domain.data(Tag.CIN) or b"")
    token = token_id if card.profile.receipt_tells_token else b""
    answer = make_receipt(key, count, done, domain=provider, token=token).build()
    change.write(CONFIRMATION, (count + 1).to_bytes(2))
    return length(len(answer)) + answer if card.profile.confirmation_length else answer


def _usage(key: KeyRecord) -> int:
    return key.usage >> 8 if key.usage > 0xFF else key.usage
