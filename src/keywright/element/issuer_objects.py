"""What STORE DATA may change in the issuer security domain besides its data objects: its AID, and fields of the CPLC.

Objects of issuers' tools: `gp --rename-isd` (4F), `--set-perso` (9F66) and `--set-pre-perso` (9F67) send them, and
cards of the JCOP family take them. `CardProfile.issuer_objects` tells whether this element does.
"""

from __future__ import annotations

from typing import Final

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import Domain
from keywright.element.registry import Registry, changed
from keywright.element.state import REGISTRY, Kind, Transaction, data_name
from keywright.globalplatform.messages import Tag
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

ISSUER_AID: Final = 0x4F
_PERSONALISATION: Final = {0x9F66: 34, 0x9F67: 26}
"""Tag, and where in the CPLC its 8 bytes begin: of the personaliser, of the pre-personaliser."""
_FIELDS: Final = 8
_AID_LENGTHS: Final = range(5, 17)


def takes(card: Card, domain: Domain, number: int) -> bool:
    """Whether this is such an object, for this domain."""
    known = number == ISSUER_AID or number in _PERSONALISATION
    return known and domain.is_issuer and card.profile.issuer_objects


def store(card: Card, domain: Domain, number: int, value: bytes, change: Transaction) -> None:
    """Write one. Refuses with 6A80 for a value of another length, and for an AID that something else has."""
    if number == ISSUER_AID:
        change.write(REGISTRY, _renamed(card.registry(change), value).build())
        return
    cplc = domain.data(Tag.CPLC)
    if len(value) != _FIELDS or cplc is None:
        raise Refusal(SW.INCORRECT_DATA)
    at = _PERSONALISATION[number]
    change.write(domain.name(data_name(Tag.CPLC)), cplc[:at] + value + cplc[at + _FIELDS :])


def settle(card: Card, channel: Channel, change: Transaction) -> None:
    """After the objects of one STORE DATA: bring the channels to the issuer domain under its new AID, if it has one.

    The session that renamed it goes on; what another channel had begun there is dropped.
    """
    old, new = channel.domain.aid, card.registry(change).issuer.aid
    if not channel.domain.is_issuer or old == new:
        return
    change.commit()
    card.forget(old)
    for one in card.channels.values():
        if one.domain.is_issuer:
            one.domain = card.issuer()
            one.aid = new if one.aid == old else one.aid
            one.drop_sequences()


def _renamed(registry: Registry, aid: bytes) -> Registry:
    old = registry.issuer.aid
    if len(aid) not in _AID_LENGTHS or (aid != old and registry.knows(aid)):
        raise Refusal(SW.INCORRECT_DATA)
    return Registry(
        changed(
            entry,
            aid=aid if entry.kind == Kind.ISSUER_DOMAIN else entry.aid,
            domain=aid if entry.domain == old else entry.domain,
        )
        for entry in registry
    )
