"""SCP80, receiving entity: check a packet in the one order there is, run it, and answer (TS 102 225, TS 31.115).

The counter is committed before anything is executed. What is found wrong before the sender is known is answered in
clear, and never with a deciphered counter: that would decipher for whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol, final

import msgspec

from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.scp.level import Level
from keywright.scp.scp80.keys import KeySet, KeySets, PacketDek
from keywright.scp.scp80.messages import (
    LAST_COUNTER,
    SCP80,
    SMS_PP,
    UNAUTHENTICATED,
    Binding,
    Check,
    CommandBody,
    CounterMode,
    PorMode,
    SecuredCommand,
    SecuredResponse,
    Spi,
    Status,
    meets,
)
from keywright.scp.scp80.packet import (
    CipheringError,
    Header,
    Suite,
    command_suite,
    open_command,
    read_command,
    response_suite,
    seal_response,
)
from keywright.scp.scp80.profile import STRICT, Profile
from keywright.scp.transport import TransportSession

_NO_KEYS: Final = KeySet()


class Counters(Protocol):
    """Memory of counters. `owner`: a key version number, or a TAR where the profile counts per application."""

    def counter(self, owner: bytes, /) -> int:
        """The last counter that was accepted; 0 for new keys."""
        ...

    def commit(self, owner: bytes, counter: int, /) -> None:
        """Store it durably before returning: what follows is executed once."""
        ...


class Application(Protocol):
    """Who is behind a TAR."""

    @property
    def msl(self) -> int:
        """Minimum security level, the least SPI1 it takes."""
        ...

    def receive(self, data: bytes, session: TransportSession, /) -> bytes:
        """Run secured data; the data of the answer. `session` is what the packet was worth. Total."""
        ...


class Answer(msgspec.Struct, frozen=True):
    """What a packet led to: the response packet, empty if there is none, and how it goes out."""

    packet: bytes = b""
    status: int | None = None
    by_submit: bool = False


SILENCE: Final = Answer()


def level_of(spi: Spi) -> int:
    """Security level of a command by its packet: CC authenticates, RC and nothing authenticate nobody. Unsure."""
    if spi.check != Check.CC:
        return 0
    return Level.AUTHENTICATED | Level.C_MAC | (Level.C_DEC if spi.ciphered else 0)


@final
class ReceivingEntity:
    """The card end. `applications` by TAR (3 bytes). Holds no state of its own: that is the counters' memory."""

    def __init__(
        self,
        applications: Mapping[bytes, Application],
        keys: KeySets,
        counters: Counters,
        *,
        binding: Binding = SMS_PP,
        profile: Profile = STRICT,
    ) -> None:
        self.applications = applications
        self.keys = keys
        self.counters = counters
        self.binding = binding
        self.profile = profile

    def handle(self, packet: bytes, /) -> Answer:
        """Take one command packet. What is no packet is dropped: `SILENCE`. Total."""
        try:
            received = _Packet(self, read_command(packet, self.binding))
        except DecodeError:
            return SILENCE
        for check in CHECKS:
            status = check(received)
            if status is not None:
                return received.answer(status, b"")
        data = received.application.receive(received.inner.rest, received.session)
        return received.answer(Status.OK, data)


class _Packet:
    """A packet on its way through the checks; each finds what the next one needs."""

    application: Application

    def __init__(self, card: ReceivingEntity, body: CommandBody) -> None:
        self.card = card
        self.body = body
        self.header = Header(Spi.parse(body.spi), body.kic, body.kid, body.tar)
        self.keys = _NO_KEYS
        self.suite = Suite()
        self.inner = SecuredCommand(0, 0, b"")

    @property
    def owner(self) -> bytes:
        """What the counter belongs to."""
        return self.header.tar if self.card.profile.counter_per == "application" else bytes((self.header.kvn,))

    @property
    def session(self) -> TransportSession:
        """What the packet was worth, once it has passed the checks."""
        kik = PacketDek(self.keys.kik, self.card.profile) if self.keys.kik else None
        return TransportSession(SCP80, level_of(self.header.spi), self.header.kvn, kik)

    def answer(self, status: Status, data: bytes) -> Answer:
        """The proof of receipt, if SPI2 wants one."""
        spi = self.header.spi
        wanted = (PorMode.ALWAYS,) if status == Status.OK else (PorMode.ALWAYS, PorMode.ON_ERROR)
        if spi.por not in wanted:
            return Answer(b"", status)
        suite = Suite()
        if status not in UNAUTHENTICATED or not self.card.profile.errors_in_clear:
            suite = self._response_suite()
        response = SecuredResponse(self._counter(status), 0, status, data)
        packet = seal_response(self.header.tar, response, suite, self.card.binding)
        return Answer(packet, status, spi.by_submit)

    def _response_suite(self) -> Suite:
        try:
            return response_suite(self.header, self.keys, self.card.profile)
        except PolicyError:
            return Suite()

    def _counter(self, status: Status) -> int:
        """The command's counter, as far as an answer may tell it: a ciphered one only to who sent it."""
        if status not in UNAUTHENTICATED:
            return self.inner.cntr
        if self.header.spi.ciphered:
            return 0
        return int.from_bytes(self.body.secured[:5]) if len(self.body.secured) >= 5 else 0


def _known(packet: _Packet) -> Status | None:
    application = packet.card.applications.get(packet.header.tar)
    if application is None:
        return Status.TAR_UNKNOWN
    packet.application = application
    return None


def _level(packet: _Packet) -> Status | None:
    return None if meets(packet.header.spi.first, packet.application.msl) else Status.INSUFFICIENT_LEVEL


def _parameters(packet: _Packet) -> Status | None:
    header, card = packet.header, packet.card
    packet.keys = card.keys.key_set(header.kvn, header.tar) or _NO_KEYS
    try:
        packet.suite = command_suite(header, packet.keys, card.profile)
    except PolicyError:
        return Status.SECURITY_ERROR
    return None


def _opened(packet: _Packet) -> Status | None:
    try:
        packet.inner = open_command(packet.body, packet.suite, packet.card.binding)
    except CipheringError:
        return Status.CIPHERING_ERROR
    except AuthenticationError:
        return Status.CHECK_FAILED
    return None


def _fresh(packet: _Packet) -> Status | None:
    mode, received = packet.header.spi.counter, packet.inner.cntr
    if mode < CounterMode.HIGHER:
        return None
    stored = packet.card.counters.counter(packet.owner)
    if stored == LAST_COUNTER:
        return Status.COUNTER_BLOCKED
    if received <= stored:
        return Status.COUNTER_LOW
    if mode == CounterMode.NEXT and received > stored + 1:
        return Status.COUNTER_HIGH
    return None


def _stored(packet: _Packet) -> Status | None:
    mode = packet.header.spi.counter
    counters = packet.card.counters
    if mode == CounterMode.UNCHECKED and packet.card.profile.unchecked_stores:
        checked = packet.inner.cntr > counters.counter(packet.owner)
    else:
        checked = mode >= CounterMode.HIGHER
    if checked:
        counters.commit(packet.owner, packet.inner.cntr)
    return None


CHECKS: Final[tuple[Callable[[_Packet], Status | None], ...]] = (_known, _level, _parameters, _opened, _fresh, _stored)
"""In this order, and none before the one in front of it has passed; the first status is the answer."""
