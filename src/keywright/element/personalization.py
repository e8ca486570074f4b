"""STORE DATA: to the security domain itself, or through it to the application being personalised (GPCS 7.3.2)."""

from __future__ import annotations

from keywright.element.applet import Context
from keywright.element.card import Card
from keywright.element.channel import Channel, Receiver
from keywright.element.data_objects import store_data
from keywright.element.registry import LOCKED, is_domain
from keywright.element.rights import Actor
from keywright.element.state import Transaction
from keywright.globalplatform.messages import Ins, StoreData
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW, is_ok, is_warning


def store(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """STORE DATA. After INSTALL [for personalization] it goes to the application, up to the last block.

    An application gets the command as it would get any other (`Applet.process`), its secure messaging opened, with the
    domain's session; a security domain stores as if it were selected. Refuses with 6985 when the application is gone,
    locked, or another domain's by now, and as the receiver does.
    """
    receiver = channel.receiver
    if receiver is None:
        return store_data(card, channel, command, change)
    if command.p1 & StoreData.LAST:
        channel.receiver = None
    entry = card.registry().application(receiver.aid)
    if entry is None or entry.life_cycle & LOCKED or not Actor(card, channel, change).owns(entry.domain):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if is_domain(entry):
        return _to_domain(card, channel, receiver, command, change)
    return _to_application(card, channel, receiver, command, change)


def _to_domain(card: Card, channel: Channel, receiver: Receiver, command: Command, change: Transaction) -> Response:
    acting, channel.domain = channel.domain, card.domain(receiver.aid)
    try:
        return store_data(card, channel, command, change)
    finally:
        channel.domain = acting


def _to_application(
    card: Card, channel: Channel, receiver: Receiver, command: Command, change: Transaction
) -> Response:
    entry = card.registry().application(receiver.aid)
    applet = None if entry is None else card.applet(entry)
    if applet is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    plain = Command(0x80, Ins.STORE_DATA, command.p1, command.p2, command.data, command.le, command.extended)
    context = Context(
        receiver.aid,
        change,
        channel.session,
        volatile=receiver.volatile,
        channel_number=channel.number,
        around=card.services,
    )
    response = applet.process(plain, context)
    if not (is_ok(response.sw) or is_warning(response.sw)):
        raise Refusal(response.sw)
    return response
