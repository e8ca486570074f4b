"""Instructions of the OPEN itself: SELECT and MANAGE CHANNEL (GPCS 6.4, 11.7, 11.9), and selection without SELECT."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from keywright.codec.tlv import item, items
from keywright.element.applet import Applet, Context
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.memory_quota import check_records
from keywright.element.registry import LOCKED, is_domain
from keywright.element.state import Kind, RegistryEntry, Transaction
from keywright.errors import DecodeError
from keywright.globalplatform.life_cycle import ApplicationState, CardState
from keywright.globalplatform.messages import Fci, FciProprietary, Tag, card_data
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import MAX_CHANNEL, channel_of
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_BY_NAME = 0x04
_FIRST, _NEXT = 0x00, 0x02
_NO_ANSWER = 0x0C
_SHORTEST_NAME = 5
_CLOSE = 0x80
_IMPLICIT_SELECTION: Final = 0xCF
_CHANNEL_MASK: Final = 0x1F
_FINAL_APPLICATION: Final = (1, 0x02)
_CARD_RESET: Final = (0, 0x04)


def select(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """SELECT by AID, by the beginning of one, or the issuer security domain with none (GPCS 11.9).

    P2 tells which occurrence, and by ISO 7816-4 7.1.1 which template is wanted: the FCI is what there is to give for
    FCI, FCP (04) and FMD (08), nothing for 0C.
    Refuses with 6A82 (nothing selectable matches), 6A81 (the card is locked and this is not the final application),
    6985 (selected on another channel and not multiselectable), 6999 (the application refuses).
    """
    occurrence = command.p2 & ~_NO_ANSWER
    if command.p1 != _BY_NAME or occurrence not in (_FIRST, _NEXT):
        raise Refusal(SW.INCORRECT_P1P2)
    entry = _find(card, channel, command.data, after_current=occurrence == _NEXT)
    locked = card.life() == CardState.CARD_LOCKED
    if locked and not _has(entry, _FINAL_APPLICATION):
        raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
    answer = _enter(card, channel, entry, change)
    wanted = command.p2 & _NO_ANSWER != _NO_ANSWER
    return Response(answer if wanted else b"", SW.SELECTED_BUT_INVALIDATED if locked else SW.OK)


def manage_channel(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """MANAGE CHANNEL: open the next free channel or a given one, or close one (ISO 7816-4 7.1.2, GPCS 11.7).

    A channel that is opened from another than the basic one has the same application selected. Refuses with 6985 when
    that one has been locked meanwhile.
    """
    if command.data:
        raise Refusal(SW.WRONG_LENGTH)
    if command.p1 == _CLOSE:
        return _close(card, command)
    if command.p1 or command.p2 > MAX_CHANNEL:
        raise Refusal(SW.INCORRECT_P1P2)
    if card.life() == CardState.CARD_LOCKED:
        raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
    opened = card.new_channel(_free_number(card, command.p2))
    if channel.number:
        entry = card.registry().application(channel.aid)
        if entry is None or not _is_selectable(card, entry):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        _enter(card, opened, entry, change)
    else:
        enter_default(card, opened, change)
    card.channels[opened.number] = opened
    return Response(b"" if command.p2 else bytes((opened.number,)))


def enter_default(card: Card, channel: Channel, change: Transaction) -> None:
    """Select what a channel has before any SELECT (GPCS 6.4.1.1): the application with an implicit selection parameter
    for it, on the basic channel else the one with the card reset privilege, on a locked card the final application, and
    the issuer security domain where that one cannot be selected.
    """
    entry = _default(card, channel.number)
    if entry is None or entry.kind == Kind.ISSUER_DOMAIN:
        return
    try:
        _enter(card, channel, entry, change)
    except Refusal:
        return


def _default(card: Card, number: int) -> RegistryEntry | None:
    selectable = [entry for entry in card.registry() if _is_selectable(card, entry)]
    if card.life() == CardState.TERMINATED:
        return None
    if card.life() == CardState.CARD_LOCKED:
        return next((entry for entry in selectable if is_domain(entry) and _has(entry, _FINAL_APPLICATION)), None)
    chosen = [entry for entry in selectable if number in _implicit_channels(entry)]
    if not chosen and not number:
        chosen = [entry for entry in selectable if _has(entry, _CARD_RESET)]
    return chosen[-1] if chosen else None


def _implicit_channels(entry: RegistryEntry) -> list[int]:
    if not entry.parameters:
        return []
    try:
        found = items(entry.parameters)
    except DecodeError:
        return []
    return [value[0] & _CHANNEL_MASK for number, value in found if number == _IMPLICIT_SELECTION and value]


def _free_number(card: Card, wanted: int) -> int:
    if wanted:
        if wanted in card.channels:
            raise Refusal(SW.INCORRECT_P1P2)
        return wanted
    free = [number for number in range(1, MAX_CHANNEL + 1) if number not in card.channels]
    if not free:
        raise Refusal(SW.FUNCTION_NOT_SUPPORTED)
    return free[0]


def _close(card: Card, command: Command) -> Response:
    number = command.p2 or channel_of(command.cla)
    if not 0 < number <= MAX_CHANNEL:
        raise Refusal(SW.INCORRECT_P1P2)
    if card.channels.pop(number, None) is None:
        return Response(b"", SW.LOGICAL_CHANNEL_CLOSED)
    return Response(b"")


def _find(card: Card, channel: Channel, name: bytes, *, after_current: bool) -> RegistryEntry:
    registry = card.registry()
    if not name:
        if after_current:
            raise Refusal(SW.NOT_FOUND)
        return registry.issuer
    if len(name) < _SHORTEST_NAME:
        raise Refusal(SW.NOT_FOUND)
    whole = None if after_current else registry.application(name)
    if whole is not None and _is_selectable(card, whole):
        return whole
    passed = not after_current
    for entry in registry:
        if passed and entry.aid.startswith(name) and _is_selectable(card, entry):
            return entry
        passed = passed or (entry.aid == channel.aid and entry.kind != Kind.LOAD_FILE)
    raise Refusal(SW.NOT_FOUND)


def _is_selectable(card: Card, entry: RegistryEntry) -> bool:
    if entry.kind == Kind.ISSUER_DOMAIN:
        return True
    if entry.kind == Kind.LOAD_FILE or entry.life_cycle & LOCKED or entry.life_cycle == ApplicationState.INSTALLED:
        return False
    return is_domain(entry) or card.applet(entry) is not None


def _enter(card: Card, channel: Channel, entry: RegistryEntry, change: Transaction) -> bytes:
    """Select on `channel`; returns the FCI. Nothing of the channel changes before the applet's writes are durable."""
    domain = card.domain_of(entry)
    if is_domain(entry):
        channel.enter(entry.aid, domain, None, {})
        return fci(card, entry.aid)
    applet = card.applet(entry)
    assert applet is not None, "selectable only with its code"
    _refuse_second_selection(card, channel, applet)
    volatile = dict(channel.volatile) if _is_sibling(channel, applet) else {}
    try:
        answer = applet.select(
            Context(entry.aid, change, volatile=volatile, channel_number=channel.number, around=card.services)
        )
    except Refusal:
        raise Refusal(SW.SELECT_FAILED) from None
    check_records(card, change)
    change.commit()
    channel.enter(entry.aid, domain, applet, volatile)
    return answer


def _is_sibling(channel: Channel, applet: Applet) -> bool:
    """Whether the applet selected before shares its RAM with this one."""
    group = getattr(applet, "ram_group", None)
    return group is not None and group == getattr(channel.applet, "ram_group", None)


def _refuse_second_selection(card: Card, channel: Channel, applet: Applet) -> None:
    if getattr(applet, "multiselectable", True):
        return
    if any(other.applet is applet for other in card.channels.values() if other is not channel):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)


def _has(entry: RegistryEntry, privilege: tuple[int, int]) -> bool:
    byte, bit = privilege
    return bool(entry.privileges[byte] & bit)


def fci(card: Card, aid: bytes) -> bytes:
    """What SELECT of a security domain returns (GPCS 11.9.3.1); by the profile with its card data and life cycle."""
    if not card.profile.fci_tells_card_data:
        return _fci(aid, card.identity.max_data)
    entry = card.registry().application(aid)
    state = card.life() if entry is None or entry.kind == Kind.ISSUER_DOMAIN else entry.life_cycle
    management = card_data(tuple(card.domain(aid).offers().items())).recognition.build()
    told = FciProprietary(max_data=card.identity.max_data, life_cycle_data=bytes((state,)), management_data=management)
    return item(Tag.FCI, Fci(aid, told).build())


@lru_cache(maxsize=64)
def _fci(aid: bytes, max_data: int) -> bytes:
    return item(Tag.FCI, Fci(aid, FciProprietary(max_data=max_data)).build())
