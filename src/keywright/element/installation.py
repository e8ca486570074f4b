"""INSTALL: what it is for, and INSTALL [for install] and [for make selectable] (GPCS 11.5)."""

from __future__ import annotations

from typing import Final

from keywright.codec.tlv import items
from keywright.element import placement
from keywright.element.applet import Context
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.delegation import check_token, confirm, named_token
from keywright.element.loading import Loading, announce, enter
from keywright.element.memory_quota import check_room, check_sizes
from keywright.element.parameters import check_services, registry_parameters, replaced, system_items
from keywright.element.registry import LOCKED, changed
from keywright.element.rights import Actor, asked_privileges, demand_unrestricted, grant, held
from keywright.element.state import (
    PROTOCOLS,
    REGISTRY,
    Kind,
    ProtocolRecord,
    ProtocolsRecord,
    RegistryEntry,
    Transaction,
    data_name,
    domain_prefix,
)
from keywright.errors import DecodeError
from keywright.globalplatform.install import (
    Combined,
    InstallData,
    InstallFor,
    InstallForExtradition,
    InstallForInstall,
    InstallForLoad,
    InstallForMakeSelectable,
    InstallForPersonalization,
    InstallForRegistryUpdate,
    InstallParameters,
    install_data,
)
from keywright.globalplatform.life_cycle import ApplicationState
from keywright.globalplatform.privileges import Privilege, build_privileges, parse_privileges
from keywright.globalplatform.receipts import installed, made_selectable
from keywright.globalplatform.tokens import combined_input, install_input
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

DOMAIN_MODULES: Final = {
    bytes.fromhex("A0000001515350"): bytes.fromhex("A000000151535041"),
    bytes.fromhex("A0000000035350"): bytes.fromhex("A000000003535041"),
}
"""Load file and module of the element's own security domain code, under the AIDs that hosts ask for."""

_PROVIDER: Final = 0x5F20
_PROTOCOL: Final = 0x81
_SHORTEST_AID, _LONGEST_AID = 5, 16


def install(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """INSTALL in all its roles. Refuses with 6A86 for a P1 and P2 that are none, 6A80 for data that do not parse."""
    loading, channel.loading = channel.loading, None
    kind = install_data(command.p1, command.p2)
    if kind is None:
        raise Refusal(SW.INCORRECT_P1P2)
    try:
        request: InstallData = kind.parse(command.data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    match request:
        case InstallForLoad():
            return announce(card, channel, command, request, change)
        case InstallForInstall():
            combined = loading if command.p2 == Combined.LAST and isinstance(loading, Loading) else None
            return _install(card, channel, command, request, change, combined)
        case InstallForMakeSelectable():
            return _make_selectable(card, channel, command, request, change)
        case InstallForExtradition():
            return placement.extradite(card, channel, command, request, change)
        case InstallForRegistryUpdate():
            return placement.update_registry(card, channel, command, request, change)
        case InstallForPersonalization():
            return placement.personalize(card, channel, request, change)


def _install(
    card: Card,
    channel: Channel,
    command: Command,
    request: InstallForInstall,
    change: Transaction,
    loading: Loading | None,
) -> Response:
    """INSTALL [for install], with make selectable or without, alone or at the end of a combined process.

    Refuses with 6985 (no management, AID taken, load file of another domain, a service or an implicit selection that
    another has, no load before it), 6A88 (no such load file or module), 6A80 (AID, privileges, parameters, another
    load file than the combined process has brought), 6A84 (memory), 6982 (token), and as the application's own code
    does.
    """
    actor = Actor(card, channel, change)
    actor.demand_management()
    signed = install_input(command)
    if command.p2 == Combined.LAST:
        if loading is None or loading.result is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if request.load_file != loading.request.load_file:
            raise Refusal(SW.INCORRECT_DATA)
        signed = combined_input(loading.announcement, command)
        enter(card, actor, *loading.result, change)
        actor = Actor(card, channel, change)
    check_token(card, actor, signed, request.token)
    entry = _entry(card, actor, command, request)
    registry = grant(card, actor.registry.with_entry(entry), entry, held(entry))
    check_room(card, registry)
    change.write(REGISTRY, registry.build())
    _begin(card, channel, entry, request, change)
    done = installed(entry.load_file, entry.aid)
    return Response(confirm(card, actor, change, done, named_token(request.parameters)))


def _entry(card: Card, actor: Actor, command: Command, request: InstallForInstall) -> RegistryEntry:
    instance = request.instance or request.module
    if not _SHORTEST_AID <= len(instance) <= _LONGEST_AID:
        raise Refusal(SW.INCORRECT_DATA)
    domains = {**DOMAIN_MODULES, card.profile.domain_load_file: card.profile.domain_module}
    if domains.get(request.load_file) != request.module:
        _demand_module(card, actor, request)
    if actor.registry.application(instance) is not None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    privileges = asked_privileges(request.privileges)
    is_domain = Privilege.SECURITY_DOMAIN in privileges
    if request.load_file in domains and not is_domain:
        raise Refusal(SW.INCORRECT_DATA)
    parameters = system_items(_parameters(request.parameters))
    check_sizes(parameters)
    check_services(actor.registry, instance, privileges, parameters)
    selectable = command.p1 & InstallFor.MAKE_SELECTABLE
    return RegistryEntry(
        Kind.DOMAIN if is_domain else Kind.APPLICATION,
        instance,
        ApplicationState.SELECTABLE if selectable else ApplicationState.INSTALLED,
        int(privileges).to_bytes(3),
        actor.aid,
        request.load_file,
        request.module,
        parameters=parameters,
    )


def _demand_module(card: Card, actor: Actor, request: InstallForInstall) -> None:
    load_file = actor.registry.load_file(request.load_file)
    if load_file is None or not actor.registry.module(request.load_file, request.module):
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    actor.demand_own(load_file, Privilege(0))
    demand_unrestricted(load_file, card.profile.restrict.install)


def _parameters(data: bytes) -> InstallParameters:
    try:
        return InstallParameters.parse(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None


def _begin(card: Card, channel: Channel, entry: RegistryEntry, request: InstallForInstall, change: Transaction) -> None:
    """What a new domain or application has of its own from the start."""
    parameters = _parameters(request.parameters)
    own = parameters.application or b""
    card.forget(entry.aid)
    if entry.kind == Kind.DOMAIN:
        prefix = domain_prefix(entry.aid)
        offers = _told_offers(own) or tuple(ProtocolRecord(*pair) for pair in channel.domain.offers().items())
        change.write(prefix + PROTOCOLS, ProtocolsRecord(offers).build())
        provider = parameters.control.application_provider if parameters.control is not None else None
        if provider:
            change.write(prefix + data_name(_PROVIDER), provider)
        return
    applet = card.applet(entry)
    begins = getattr(applet, "installed", None)
    if begins is not None:
        begins(Context(entry.aid, change, channel.session, channel_number=channel.number, around=card.services), own)


def _told_offers(parameters: bytes) -> tuple[ProtocolRecord, ...]:
    """Protocols that C9 of a security domain names: 81 with the protocol number and its "i", once for each."""
    try:
        named = [value for number, value in items(parameters) if number == _PROTOCOL]
    except DecodeError:
        return ()
    return tuple(ProtocolRecord(value[0], int.from_bytes(value[1:])) for value in named if len(value) in (2, 3))


def _make_selectable(
    card: Card, channel: Channel, command: Command, request: InstallForMakeSelectable, change: Transaction
) -> Response:
    """INSTALL [for make selectable]: from INSTALLED to SELECTABLE, perhaps with more privileges (GPCS 11.5.2.3.3).

    By the profile, also only more privileges for an application that is selectable already, its state kept. Refuses
    with 6A88 (no such application), 6985 (no management, another's, locked, nothing to do), 6A80, 6A84 (memory), 6982
    (token).
    """
    actor = Actor(card, channel, change)
    actor.demand_management()
    check_token(card, actor, install_input(command), request.token)
    entry = actor.registry.application(request.instance)
    if entry is None or entry.kind == Kind.ISSUER_DOMAIN:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    actor.demand_own(entry, Privilege(0))
    demand_unrestricted(entry, card.profile.restrict.make_selectable)
    privileges = held(entry) | asked_privileges_of(request.privileges, entry)
    installed_only = entry.life_cycle == ApplicationState.INSTALLED
    more = card.profile.privileges_later and privileges != held(entry) and not entry.life_cycle & LOCKED
    if not installed_only and not more:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    entry = changed(
        entry,
        life_cycle=ApplicationState.SELECTABLE if installed_only else entry.life_cycle,
        parameters=replaced(entry.parameters, registry_parameters(request.parameters)),
    )
    check_sizes(entry.parameters)
    check_services(actor.registry, entry.aid, privileges, entry.parameters)
    registry = grant(card, actor.registry.with_entry(entry), entry, privileges)
    check_room(card, registry)
    change.write(REGISTRY, registry.build())
    done = made_selectable(entry.aid, int(privileges).to_bytes(3))
    return Response(confirm(card, actor, change, done, named_token(request.parameters)))


def asked_privileges_of(data: bytes, entry: RegistryEntry) -> Privilege:
    """Privileges added to those that an entry holds. Refuses with 6A80 for another length, or a conflict among all."""
    try:
        asked = parse_privileges(data) if data else Privilege(0)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    return asked_privileges(build_privileges(held(entry) | asked)) if asked else asked
