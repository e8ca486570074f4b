"""A simulated UICC: a virtual element behind the commands of a phone, so that it is managed over the air.

TERMINAL PROFILE, ENVELOPE, FETCH and TERMINAL RESPONSE are answered here, everything else by the element. Packets are
for its security domains: TAR 000000 and B20100 for the issuer's, for any other the TARs of its installation, else
bytes 13 to 15 of its AID. Keys are the element's own (key versions 01 to 0F: KIc, KID and KIK as identifiers 1, 2, 3),
and so are counters, kept in its memory before anything is executed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, final

import msgspec

from keywright.element import SecureElement
from keywright.element.over_the_air import AirDomain, DomainExecutor, OverTheAir
from keywright.errors import DecodeError, PolicyError, StoreError
from keywright.fob.administration import Connection, run_agent
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import Atr
from keywright.iso7816.delivery import Delivery
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.link import plain, tls_psk
from keywright.scp.comprehension import TRANSPORT, one
from keywright.scp.level import Level
from keywright.scp.scp80.applications import Format, target
from keywright.scp.scp80.card import SILENCE, Answer, Application, ReceivingEntity
from keywright.scp.scp80.download import ENVELOPE, FETCH, TERMINAL_RESPONSE, SmsCard
from keywright.scp.scp80.expanded import COMMANDS, COMMANDS_INDEFINITE
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import SMS_PP
from keywright.scp.scp80.packet import read_command
from keywright.scp.scp80.profile import Profile
from keywright.scp.scp80.remote_management import RemoteManagement
from keywright.scp.scp81.card import AdministrationAgent, Ended, Open
from keywright.scp.scp81.domains import ScriptDomains
from keywright.scp.scp81.keys import Psk
from keywright.scp.scp81.parameters import SCP81, Settings, TriggerParameters, settle
from keywright.scp.transport import TransportSession

TERMINAL_PROFILE: Final = 0x10
_TOOLKIT: Final = frozenset((TERMINAL_PROFILE, ENVELOPE, FETCH, TERMINAL_RESPONSE))
_CLASSES: Final = (0x80, 0xA0)
_GET_RESPONSE: Final = 0xC0
_ISSUER_TARS: Final = (bytes(3), bytes.fromhex("B20100"))
_TLS_WORTH: Final = Level.AUTHENTICATED | Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC
_HTTPS: Final = 443
_DIALS: Final = 30.0

DEFAULT_MSL: Final = 0x12
"""Minimum security level of a domain whose installation names none: CC, and a counter that rises."""


class Call(msgspec.Struct, frozen=True):
    """An administration session that a packet has triggered: the card's client, and the key it calls with."""

    settings: Settings
    agent: AdministrationAgent
    psk: Psk | None


@final
class Uicc:
    """A `Device` around an element. msl: what domains want that say nothing. mac_length: bytes of an AES CC, 8 or 4.
    profile: of SCP80; without one, that of the element.

    profile: None for that of the element. clock: seconds, for parts of messages that never come.
    """

    def __init__(
        self,
        element: SecureElement,
        *,
        msl: int = DEFAULT_MSL,
        mac_length: int = 8,
        profile: Profile | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if mac_length not in (4, 8):
            raise ValueError(f"an AES CC has 8 or 4 bytes, not {mac_length}")
        self.element = element
        self._clock = clock
        self._air = _Air(element.air, msl, mac_length, profile or element.profile.scp80)
        self._begin()

    def _begin(self) -> None:
        self._sms = SmsCard(self._air, self._clock)
        self._delivery = Delivery(character_level=Atr.parse(self.element.atr).protocols == (0,))

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self.element.atr

    def reset(self) -> bytes:
        """Power off and on: parts of messages and waiting answers are gone, counters stay; the ATR."""
        self._air.reset()
        atr = self.element.reset()
        self._begin()
        return atr

    def handle(self, command: bytes) -> bytes:
        """The answer APDU to a command APDU. Total."""
        try:
            parsed = Command.parse(command)
        except DecodeError:
            return self.element.handle(command)
        if parsed.cla in _CLASSES and parsed.ins in _TOOLKIT:
            self._delivery.drop()
            return self._delivery.send(parsed, self._toolkit(parsed))
        if self._delivery.waits and parsed.ins == _GET_RESPONSE:
            try:
                return self._delivery.more(parsed)
            except Refusal as refused:
                return refused.sw.to_bytes(2)
        self._delivery.drop()
        return self.element.handle(command)

    def _toolkit(self, command: Command) -> Response:
        if command.ins == TERMINAL_PROFILE:
            return Response(b"")
        try:
            return self._sms.execute(command)
        except StoreError:
            return Response(b"", SW.NOT_ENOUGH_MEMORY)

    def calls(self) -> Sequence[Call]:
        """The administration sessions that packets have triggered since the last call; whoever takes them runs them."""
        calls, self._air.triggered = self._air.triggered, []
        return calls


class _Air:
    """Gives each packet to the domain that its TAR names, with the keys and counters of that domain."""

    def __init__(self, air: OverTheAir, msl: int, mac_length: int, profile: Profile) -> None:
        self.triggered: list[Call] = []
        self._air = air
        self._msl = msl
        self._mac_length = mac_length
        self._profile = profile
        self._executors: dict[bytes, DomainExecutor] = {}
        self._managers: dict[tuple[bytes, bytes], list[RemoteManagement]] = {}

    def handle(self, packet: bytes, /) -> Answer:
        """Take one command packet."""
        try:
            tar = read_command(packet, SMS_PP).tar
        except DecodeError:
            return SILENCE
        domains = self._air.domains()
        domain = next((one for one in domains if tar in _tars(one)), domains[0])
        owner = _Owner(self._air, self._air.key_owner(domain.aid), self._mac_length)
        applications = {tar: self._application(domain, tar, owner.aid)} if tar in _tars(domain) else {}
        return ReceivingEntity(applications, owner, owner, profile=self._profile).handle(packet)

    def reset(self) -> None:
        """What a card reset does to chains of scripts."""
        for managers in self._managers.values():
            for manager in managers:
                manager.reset()

    def _application(self, domain: AirDomain, tar: bytes, owner: bytes) -> Application:
        managers = self._managers.get((domain.aid, tar))
        if managers is None:
            managers = self._managers[domain.aid, tar] = self._managed(domain, tar, owner)
        return managers[0] if len(managers) == 1 else _EitherFormat(*managers)

    def _managed(self, domain: AirDomain, tar: bytes, owner: bytes) -> list[RemoteManagement]:
        """The application of a TAR: in its one format, or in both where nothing says which."""
        row = target(tar)
        formats = [row.format is Format.COMPACT] if row is not None and row.format is not Format.OWN else [True, False]
        return [
            RemoteManagement(
                self._executor(domain.aid),
                msl=self._msl if domain.msl is None else domain.msl,
                compact=compact,
                trigger=lambda value: self._trigger(domain.aid, owner, value),
                profile=self._profile,
            )
            for compact in formats
        ]

    def _executor(self, aid: bytes) -> DomainExecutor:
        found = self._executors.get(aid)
        if found is None:
            found = self._executors[aid] = self._air.executor(aid)
        return found

    def _trigger(self, aid: bytes, owner: bytes, value: bytes) -> None:
        """Begin an administration session; parameters that are incomplete are rejected in silence (Amd B 3.7.2)."""
        try:
            stored, names = self._air.parameters(aid)
            settings = settle(TriggerParameters.parse(value), *stored, dns=names)
        except (DecodeError, PolicyError):
            return
        key = settings.security.key
        session = TransportSession(SCP81, _TLS_WORTH, key.kvn)
        agent = AdministrationAgent(ScriptDomains(self._air.executor(aid), session))
        agent.trigger(settings)
        self.triggered.append(Call(settings, agent, self._air.psk(owner, key.kvn, key.kid)))


def _tars(domain: AirDomain) -> tuple[bytes, ...]:
    return (*(_ISSUER_TARS if domain.is_issuer else ()), *domain.tars)


class _EitherFormat:
    """An application whose TAR says nothing about its format: the first byte of the data does."""

    def __init__(self, compact: RemoteManagement, expanded: RemoteManagement) -> None:
        self.msl = compact.msl
        self._compact = compact
        self._expanded = expanded

    def receive(self, data: bytes, session: TransportSession, /) -> bytes:
        is_expanded = bool(data) and data[0] in (COMMANDS, COMMANDS_INDEFINITE)
        return (self._expanded if is_expanded else self._compact).receive(data, session)


class _Owner:
    """Key sets and counters of one domain."""

    def __init__(self, air: OverTheAir, aid: bytes, mac_length: int) -> None:
        self.aid = aid
        self._air = air
        self._mac_length = mac_length

    def key_set(self, kvn: int, _: bytes, /) -> KeySet | None:
        found = self._air.key_set(self.aid, kvn)
        return None if found is None else msgspec.structs.replace(found, mac_length=self._mac_length)

    def counter(self, owner: bytes, /) -> int:
        return self._air.counter(self.aid, owner)

    def commit(self, owner: bytes, counter: int, /) -> None:
        self._air.commit(self.aid, owner, counter)


def call_server(
    call: Call,
    *,
    without_tls: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Ended]:
    """Run a triggered session to its end, in place of the phone: dial, and do what the card wants; how it ended.

    without_tls: on loopback, for tests. A card without the key that the trigger names does not call: `TlsError` in
    the way of a refused handshake, which nothing tries again.
    """

    def dialled(wanted: Open) -> Connection:
        host, port = wanted.address or wanted.settings.host.partition(":")[0], _port(wanted.settings.connection)
        if without_tls:
            return plain.connect(host, port)
        if call.psk is None:
            raise tls_psk.TlsError("the card has no such pre-shared key", delivered=False)
        identity = wanted.settings.security.identity.decode("utf-8", "replace")
        return tls_psk.connect(host, port, identity, call.psk.reveal(), timeout_s=_DIALS)

    return run_agent(call.agent, dialled, clock=clock, sleep=sleep)


def _port(connection: bytes) -> int:
    """The port among the objects of OPEN CHANNEL."""
    transport = one(connection, TRANSPORT)
    return int.from_bytes(transport[1:]) if transport is not None and len(transport) == 3 else _HTTPS
