"""Instructions of the OPEN itself: SELECT and MANAGE CHANNEL (GPCS 6.4, 11.7, 11.9)."""

from __future__ import annotations

from keywright.codec.tlv import item
from keywright.element.applet import Applet, Context
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.state import Transaction
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import Fci, FciProprietary, Tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import MAX_CHANNEL, channel_of
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_BY_NAME = 0x04
_FIRST, _NEXT = 0x00, 0x02
_NO_ANSWER = 0x0C
_SHORTEST_NAME = 5
_CLOSE = 0x80
LOCKED = 0x80
"""Bit of an application's life cycle state that makes it unselectable (GPCS table 11-4)."""


def select(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """SELECT by AID, by the beginning of one, or the issuer security domain with none (GPCS 11.9)."""
    occurrence = command.p2 & ~_NO_ANSWER
    if command.p1 != _BY_NAME or occurrence not in (_FIRST, _NEXT) or command.p2 & _NO_ANSWER not in (0, _NO_ANSWER):
        raise Refusal(SW.INCORRECT_P1P2)
    aid = _find(card, channel, command.data, after_current=occurrence == _NEXT)
    locked = card.life() == CardState.CARD_LOCKED
    if locked and aid != card.identity.isd_aid:
        raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
    answer = _enter(card, channel, aid, card.applets.get(aid), change)
    return Response(b"" if command.p2 & _NO_ANSWER else answer, SW.SELECTED_BUT_INVALIDATED if locked else SW.OK)


def manage_channel(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """MANAGE CHANNEL: open the next free channel or a given one, or close one (ISO 7816-4 7.1.2, GPCS 11.7)."""
    if command.data:
        raise Refusal(SW.WRONG_LENGTH)
    if command.p1 == _CLOSE:
        return _close(card, command)
    if command.p1 or command.p2 > MAX_CHANNEL:
        raise Refusal(SW.INCORRECT_P1P2)
    if card.life() == CardState.CARD_LOCKED:
        raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
    if command.p2:
        number = command.p2
        if number in card.channels:
            raise Refusal(SW.INCORRECT_P1P2)
    else:
        free = [number for number in range(1, MAX_CHANNEL + 1) if number not in card.channels]
        if not free:
            raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
        number = free[0]
    opened = card.new_channel(number)
    if channel.number and channel.applet is not None:
        _enter(card, opened, channel.aid, channel.applet, change)
    card.channels[number] = opened
    return Response(b"" if command.p2 else bytes((number,)))


def _close(card: Card, command: Command) -> Response:
    number = command.p2 or channel_of(command.cla)
    if not 0 < number <= MAX_CHANNEL:
        raise Refusal(SW.INCORRECT_P1P2)
    if card.channels.pop(number, None) is None:
        return Response(b"", SW.LOGICAL_CHANNEL_CLOSED)
    return Response(b"")


def _find(card: Card, channel: Channel, name: bytes, *, after_current: bool) -> bytes:
    isd = card.identity.isd_aid
    if not name:
        if after_current:
            raise Refusal(SW.NOT_FOUND)
        return isd
    if len(name) < _SHORTEST_NAME:
        raise Refusal(SW.NOT_FOUND)
    aids = [isd, *(e.aid for e in card.registry().entries if not e.life_cycle & LOCKED and e.aid in card.applets)]
    if after_current:
        aids = aids[aids.index(channel.aid) + 1 :] if channel.aid in aids else []
    for aid in aids:
        if aid.startswith(name):
            return aid
    raise Refusal(SW.NOT_FOUND)


def _enter(card: Card, channel: Channel, aid: bytes, applet: Applet | None, change: Transaction) -> bytes:
    """Select on `channel`; returns the FCI. Nothing of the channel changes before the applet's writes are durable."""
    if applet is None:
        channel.enter(aid, None, {})
        return fci(card)
    volatile: dict[str, object] = {}
    try:
        answer = applet.select(Context(aid, change, volatile=volatile, channel_number=channel.number))
    except Refusal:
        raise Refusal(SW.SELECT_FAILED) from None
    change.commit()
    channel.enter(aid, applet, volatile)
    return answer


def fci(card: Card) -> bytes:
    """What SELECT of the issuer security domain returns (GPCS 11.9.3.1)."""
    return item(Tag.FCI, Fci(card.identity.isd_aid, FciProprietary(max_data=card.identity.max_data)).build())
