"""DELETE of applications, security domains and load files (GPCS 9.5, 11.2); keys are `key_management`'s."""

from __future__ import annotations

from collections.abc import Iterable

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.delegation import check_token, confirm
from keywright.element.key_management import delete_keys
from keywright.element.package import parse_package
from keywright.element.registry import Registry, is_domain
from keywright.element.rights import Actor, demand_unrestricted, give_back, held
from keywright.element.state import (
    REGISTRY,
    Kind,
    RegistryEntry,
    Transaction,
    applet_name,
    domain_prefix,
    load_file_name,
)
from keywright.errors import DecodeError
from keywright.globalplatform.deletion import RELATED_OBJECTS, DeleteObject, parse_delete
from keywright.globalplatform.privileges import SINGLE, Privilege
from keywright.globalplatform.receipts import deleted
from keywright.globalplatform.tokens import delete_input
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

EVEN_LAST = 0x01
"""P2 bit of DELETE for keys, as Yubico has it."""


def delete(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """DELETE of an object or of keys. Refuses with 6A86 (P1, P2), 6A80 (data), and as the two do.

    P2 01 with keys is Yubico's: the last ones that open a session may go too.
    """
    try:
        request = parse_delete(command.data)
    except DecodeError:
        request = None
    of_keys = request is not None and not isinstance(request, DeleteObject)
    if command.p1 or command.p2 & ~(RELATED_OBJECTS | of_keys * EVEN_LAST):
        raise Refusal(SW.INCORRECT_P1P2)
    if request is None:
        raise Refusal(SW.INCORRECT_DATA)
    if not isinstance(request, DeleteObject):
        return delete_keys(channel, request, change, even_last=bool(command.p2 & EVEN_LAST))
    return _delete_object(card, channel, command, request, change)


def _delete_object(
    card: Card, channel: Channel, command: Command, request: DeleteObject, change: Transaction
) -> Response:
    """Remove content and everything it kept, in one commit.

    Refuses with 6A88 (not there), 6985 (the issuer security domain, the acting one, content of another domain,
    restricted, selected on a channel, others are made from it or import it), 6982 (token).
    """
    actor = Actor(card, channel, change)
    registry = actor.registry
    target = registry.application(request.aid) or registry.load_file(request.aid)
    if target is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if not actor.privileges & Privilege.GLOBAL_DELETE:
        actor.demand_management()
    if actor.is_delegated and (request.token or card.profile.delete_token):
        check_token(card, actor, delete_input(command), request.token or b"")
    gone = _related(registry, target) if command.p2 & RELATED_OBJECTS else [target]
    _demand_free(card, actor, target, gone)
    lost = Privilege(0)
    for entry in gone:
        lost |= held(entry) & SINGLE
        card.forget(entry.aid)
    _erase(card, change, gone)
    left = registry.without(gone)
    change.write(REGISTRY, (give_back(left, lost) if lost else left).build())
    token = request.control.token if request.control is not None and request.token else None
    return Response(confirm(card, actor, change, deleted(target.aid), token or b""))


def _related(registry: Registry, target: RegistryEntry) -> list[RegistryEntry]:
    """A load file with all that was made from it; a security domain with everything below it; each also with those
    that depend on what goes with it.
    """
    gone = [target]
    for entry in gone:
        below = registry.associated(entry.aid) if is_domain(entry) else ()
        made = registry.made_from(entry.aid) if entry.kind == Kind.LOAD_FILE else ()
        gone += [one for one in (*below, *made) if not any(one is known for known in gone)]
    return gone


def _demand_free(card: Card, actor: Actor, target: RegistryEntry, gone: Iterable[RegistryEntry]) -> None:
    going = list(gone)
    selected = {channel.aid for channel in card.channels.values()}
    for entry in going:
        if entry.kind == Kind.ISSUER_DOMAIN or (entry.kind != Kind.LOAD_FILE and entry.aid in selected):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        actor.demand_own(entry, Privilege.GLOBAL_DELETE)
        demand_unrestricted(entry, card.profile.restrict.delete)
    registry = actor.registry
    depending = registry.made_from(target.aid) if target.kind == Kind.LOAD_FILE else registry.associated(target.aid)
    if any(not any(one is entry for entry in going) for one in depending):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    files = {entry.aid for entry in going if entry.kind == Kind.LOAD_FILE}
    left = [entry for entry in registry if entry.kind == Kind.LOAD_FILE and entry.aid not in files]
    if files and any(files & set(_imports(card, entry)) for entry in left):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)


def _imports(card: Card, load_file: RegistryEntry) -> tuple[bytes, ...]:
    """AIDs of the load files that one needs; none where its block is not kept."""
    block = card.storage.read(load_file_name(load_file.aid))
    return () if block is None else parse_package(block).imports


def _erase(card: Card, change: Transaction, gone: Iterable[RegistryEntry]) -> None:
    """Every record of what goes: an application's own, a domain's keys and data, a load file's block."""
    prefixes = []
    for entry in gone:
        if entry.kind == Kind.LOAD_FILE:
            change.write(load_file_name(entry.aid), None)
        elif is_domain(entry):
            prefixes.append(domain_prefix(entry.aid))
        else:
            prefixes.append(applet_name(entry.aid, ""))
    for name in card.storage.names() if prefixes else ():
        if name.startswith(tuple(prefixes)):
            change.write(name, None)
