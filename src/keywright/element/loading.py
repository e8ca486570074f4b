"""INSTALL [for load] and LOAD: a load file comes in blocks, is checked whole, and enters the registry (GPCS 9.3, 11.6).

Nothing of a load is kept before its last block is checked, and any other command on the channel ends it. In a combined
process it is not kept before the INSTALL that ends the process either.
"""

from __future__ import annotations

from typing import final

from keywright.codec.tlv import item
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.delegation import CIPHER_KEY, DAP_KEY, check_token, confirm, find_key, named_token, nearest
from keywright.element.key_material import secret_key, verifying_key
from keywright.element.memory_quota import CODE, check_room, kept_by_applications, taken
from keywright.element.package import Package, parse_package
from keywright.element.registry import LOCKED, Registry
from keywright.element.rights import Actor, demand_unrestricted, held, holders
from keywright.element.state import (
    REGISTRY,
    Kind,
    ModuleRecord,
    RegistryEntry,
    Transaction,
    load_file_name,
)
from keywright.errors import AuthenticationError, DecodeError
from keywright.globalplatform.confirmation import no_confirmation
from keywright.globalplatform.dap import HASH_BYTES, check_load_hash, decipher_load_block, verify_dap
from keywright.globalplatform.install import (
    Combined,
    InstallForLoad,
    LoadParameters,
    LoadSystemParameters,
    memory_quota,
)
from keywright.globalplatform.key_data import KeyUsage
from keywright.globalplatform.life_cycle import LOADED
from keywright.globalplatform.load_file import LAST_BLOCK, DapBlock, LoadFile, parse_load_file
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.receipts import loaded
from keywright.globalplatform.tokens import install_input
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_SHORTEST_AID, _LONGEST_AID = 5, 16
_CODE_SIZE_BYTES = 4


@final
class Loading:
    """A load under way on a channel. `result` is the checked file of a combined process that waits for its INSTALL."""

    __slots__ = ("announcement", "code", "data", "domain", "expected", "request", "result")

    def __init__(self, announcement: Command, request: InstallForLoad, domain: bytes, code: int) -> None:
        self.announcement = announcement
        self.request = request
        self.domain = domain
        self.code = code
        self.expected = 0
        self.data = bytearray()
        self.result: tuple[RegistryEntry, bytes] | None = None

    @property
    def is_combined(self) -> bool:
        """Whether the INSTALL that installs is still to come, and nothing is kept before."""
        return self.announcement.p2 == Combined.FIRST


def announce(card: Card, channel: Channel, command: Command, request: InstallForLoad, change: Transaction) -> Response:
    """INSTALL [for load] (GPCS 11.5.2.3.1).

    Refuses with 6985 (no management, AID taken, not this domain's to load for), 6A80 (AID, hash, parameters), 6A88 (no
    such security domain), 6A84 (it cannot fit), 6982 (token).
    """
    actor = Actor(card, channel, change)
    actor.demand_management()
    if not _SHORTEST_AID <= len(request.load_file) <= _LONGEST_AID or len(request.hash) not in (
        0,
        *HASH_BYTES.values(),
    ):
        raise Refusal(SW.INCORRECT_DATA)
    domain = _place(actor, request.load_file, request.security_domain or actor.aid)
    demand_unrestricted(domain, card.profile.restrict.load)
    code = _code_size(request.parameters)
    if code > card.identity.persistent - taken(actor.registry, kept_by_applications(card)).persistent:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    if actor.is_delegated and not request.hash:
        raise Refusal(SW.INCORRECT_DATA)
    if command.p2 != Combined.FIRST:
        check_token(card, actor, install_input(command), request.token)
    channel.loading = Loading(command, request, domain.aid, code)
    return Response(no_confirmation())


def load(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """LOAD (GPCS 11.6): one block. The last one has the file checked and entered; whatever is refused ends the load.

    After block FF comes 00, as GlobalPlatformPro and pySim go on with files of more than 256 blocks.
    Refuses with 6985 (nothing was announced), 6A86 (P1), as the profile says (not the next block), 6A84 (too long),
    6A80 (structure, hash, not the package that was announced), 6982 (a DAP wrong or missing).
    """
    loading, channel.loading = channel.loading, None
    if not isinstance(loading, Loading) or loading.result is not None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if command.p1 & ~LAST_BLOCK:
        raise Refusal(SW.INCORRECT_P1P2)
    if command.p2 != loading.expected & 0xFF:
        raise Refusal(card.profile.load_order_status)
    loading.data += command.data
    loading.expected += 1
    if len(loading.data) > 2 * card.identity.persistent:
        raise Refusal(SW.NOT_ENOUGH_MEMORY)
    if not command.p1 & LAST_BLOCK:
        channel.loading = loading
        return Response(no_confirmation())
    actor = Actor(card, channel, change)
    entry, block = _checked(card, actor, loading)
    if loading.is_combined:
        loading.result = entry, block
        channel.loading = loading
        return Response(no_confirmation())
    enter(card, actor, entry, block, change)
    done = loaded(entry.aid, entry.domain)
    return Response(confirm(card, actor, change, done, named_token(loading.request.parameters)))


def enter(card: Card, actor: Actor, entry: RegistryEntry, block: bytes, change: Transaction) -> None:
    """Write a checked load file and its entry.

    Refuses with 6A84 when it does not fit, and as INSTALL [for load]: another channel may have changed the registry.
    """
    _place(actor, entry.aid, entry.domain)
    registry = actor.registry.with_entry(entry)
    check_room(card, registry)
    change.write(REGISTRY, registry.build())
    change.write(load_file_name(entry.aid), block)


def _place(actor: Actor, load_file: bytes, domain: bytes) -> RegistryEntry:
    """The domain that a load file is to be associated with, if its AID is free and the domain may be loaded for."""
    if actor.registry.knows(load_file):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    entry = actor.registry.domain(domain)
    if entry is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if not actor.owns(entry.aid) or entry.life_cycle & LOCKED:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    return entry


def _code_size(parameters: bytes) -> int:
    try:
        system = LoadParameters.parse(parameters).system or LoadSystemParameters()
        sizes = [memory_quota(v) for v in (system.code_bytes, system.volatile_bytes, system.non_volatile_bytes)]
    except (DecodeError, ValueError):
        raise Refusal(SW.INCORRECT_DATA) from None
    return sizes[0] or 0


def _checked(card: Card, actor: Actor, loading: Loading) -> tuple[RegistryEntry, bytes]:
    try:
        file = parse_load_file(bytes(loading.data))
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    block = _deciphered(card, actor.registry, loading, file) if file.ciphered else file.block
    _check_hash(loading.request.hash, block, needed=bool(file.daps) or file.ciphered)
    _check_daps(card, actor.registry, loading, file.daps)
    package = _package(block)
    if package.aid != loading.request.load_file:
        raise Refusal(SW.INCORRECT_DATA)
    code = max(loading.code, len(block)).to_bytes(_CODE_SIZE_BYTES)
    entry = RegistryEntry(
        Kind.LOAD_FILE,
        package.aid,
        LOADED,
        domain=loading.domain,
        version=package.version,
        modules=tuple(ModuleRecord(aid) for aid in package.modules),
        parameters=item(CODE, code),
    )
    return entry, block


def _package(block: bytes) -> Package:
    try:
        return parse_package(block)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None


def _deciphered(card: Card, registry: Registry, loading: Loading, file: LoadFile) -> bytes:
    """The data block of D4, under KVN 75 KID 01 of the domain with the privilege for ciphered load files."""
    target = registry.domain(loading.domain)
    owner = None if target is None else nearest(registry, target, Privilege.CIPHERED_LOAD_FILE)
    key = None if owner is None else secret_key(card.domain(owner.aid).key(*CIPHER_KEY))
    if key is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    try:
        return decipher_load_block(key, file.block, file.icv)
    except AuthenticationError:
        raise Refusal(SW.INCORRECT_DATA) from None


def _check_hash(digest: bytes, block: bytes, *, needed: bool) -> None:
    if not digest:
        if needed:
            raise Refusal(SW.INCORRECT_DATA)
        return
    try:
        check_load_hash(digest, block)
    except (AuthenticationError, ValueError):
        raise Refusal(SW.INCORRECT_DATA) from None


def _check_daps(card: Card, registry: Registry, loading: Loading, daps: tuple[DapBlock, ...]) -> None:
    """Every DAP that came is good, and every domain that demands one has it (GPCS 9.2.1, C.3)."""
    for dap in daps:
        domain = registry.domain(dap.security_domain)
        if domain is None or Privilege.DAP_VERIFICATION not in held(domain):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        key = verifying_key(find_key(card, domain, KeyUsage.DAP_VERIFICATION, DAP_KEY))
        if key is None:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        try:
            verify_dap(key, loading.request.hash, dap)
        except AuthenticationError:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED) from None
    target = registry.domain(loading.domain)
    demanding = {entry.aid for entry in holders(registry, Privilege.MANDATED_DAP)}
    if target is not None and Privilege.DAP_VERIFICATION in held(target):
        demanding.add(target.aid)
    if not demanding <= {dap.security_domain for dap in daps}:
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
