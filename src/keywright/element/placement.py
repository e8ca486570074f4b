"""INSTALL [for extradition], [for registry update] and [for personalization] (GPCS 11.5.2.3.4 to 11.5.2.3.6)."""

from __future__ import annotations

from keywright.element.card import Card
from keywright.element.channel import Channel, Receiver
from keywright.element.delegation import check_token, confirm, named_token
from keywright.element.memory_quota import check_room, check_sizes
from keywright.element.parameters import check_services, registry_parameters, replaced
from keywright.element.registry import LOCKED, Registry, changed
from keywright.element.rights import Actor, asked_privileges, demand_unrestricted, grant, held
from keywright.element.state import REGISTRY, Kind, RegistryEntry, Transaction
from keywright.globalplatform.confirmation import no_confirmation
from keywright.globalplatform.install import (
    InstallForExtradition,
    InstallForPersonalization,
    InstallForRegistryUpdate,
)
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.receipts import extradited, registry_updated
from keywright.globalplatform.tokens import install_input
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW


def extradite(
    card: Card, channel: Channel, command: Command, request: InstallForExtradition, change: Transaction
) -> Response:
    """Move an application, domain or load file under another security domain (GPCS 9.4.1).

    Refuses with 6A88 (no such content or domain), 6985 (no management, not this domain's, there already, below itself,
    restricted, locked domain), 6982 (token).
    """
    actor = Actor(card, channel, change)
    actor.demand_management()
    check_token(card, actor, install_input(command), request.token)
    entry = _content(actor.registry, request.application)
    registry = _moved(card, actor, entry, request.security_domain)
    change.write(REGISTRY, registry.build())
    done = extradited(entry.domain, entry.aid, request.security_domain)
    return Response(confirm(card, actor, change, done, named_token(request.parameters)))


def update_registry(
    card: Card, channel: Channel, command: Command, request: InstallForRegistryUpdate, change: Transaction
) -> Response:
    """Change privileges, parameters or domain of an application (GPCS 9.4.2). An empty AID means the acting domain.

    Refuses with 6A88 (no such content or domain), 6985 (no management, not this domain's, restricted), 6A80 (a conflict
    of privileges, or one that makes or unmakes a security domain), 6982 (token).
    """
    actor = Actor(card, channel, change)
    actor.demand_management()
    check_token(card, actor, install_input(command), request.token)
    entry = _content(actor.registry, request.application) if request.application else actor.entry
    _demand_own(actor, entry, card.profile.restrict.registry_update)
    registry = actor.registry
    if request.security_domain not in (b"", entry.domain):
        registry = _moved(card, actor, entry, request.security_domain)
        entry = _content(registry, entry.aid)
    privileges = asked_privileges(request.privileges) if request.privileges else held(entry)
    if (privileges ^ held(entry)) & Privilege.SECURITY_DOMAIN:
        raise Refusal(SW.INCORRECT_DATA)
    parameters = replaced(entry.parameters, registry_parameters(request.parameters))
    check_sizes(parameters)
    check_services(registry, entry.aid, privileges, parameters)
    entry = changed(entry, parameters=parameters)
    registry = registry.with_entry(entry)
    if entry.kind != Kind.LOAD_FILE:
        registry = grant(card, registry, entry, privileges)
    check_room(card, registry)
    change.write(REGISTRY, registry.build())
    done = registry_updated(request.security_domain, entry.aid, int(privileges).to_bytes(3))
    return Response(confirm(card, actor, change, done, named_token(request.parameters)))


def personalize(card: Card, channel: Channel, request: InstallForPersonalization, change: Transaction) -> Response:
    """The STORE DATA that follow are for an application of this domain (GPCS 7.3.2).

    Refuses with 6A88 (no such application), 6985 (of another domain, locked, or restricted).
    """
    actor = Actor(card, channel, change)
    entry = actor.registry.application(request.application)
    if entry is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if entry.life_cycle & LOCKED or entry.kind == Kind.ISSUER_DOMAIN or not actor.owns(entry.domain):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    demand_unrestricted(entry, card.profile.restrict.personalization)
    channel.receiver = Receiver(entry.aid)
    return Response(no_confirmation())


def _content(registry: Registry, aid: bytes) -> RegistryEntry:
    entry = registry.application(aid) or registry.load_file(aid)
    if entry is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return entry


def _demand_own(actor: Actor, entry: RegistryEntry, restriction: int) -> None:
    """Refuses with 6985 for what is not below the acting domain, or was restricted for good (D9)."""
    actor.demand_own(entry, Privilege.GLOBAL_REGISTRY)
    demand_unrestricted(entry, restriction)


def _moved(card: Card, actor: Actor, entry: RegistryEntry, target: bytes) -> Registry:
    if entry.kind == Kind.ISSUER_DOMAIN:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    _demand_own(actor, entry, card.profile.restrict.extradition)
    domain = actor.registry.domain(target)
    if domain is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    circular = entry.kind == Kind.DOMAIN and actor.registry.under(target, entry.aid)
    if circular or entry.domain == target or domain.life_cycle & LOCKED:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    registry = actor.registry.with_entry(changed(entry, domain=target))
    check_room(card, registry)
    return registry
