"""An element from the air: what SCP80 packets and SCP81 scripts find in it (TS 102 226 8, AmdB 3.3.3).

`OverTheAir` tells the domains, their TARs, keys and counters; `DomainExecutor` runs the commands of scripts.

Scripts have a logical context of their own, which a reader's session never sees: another basic channel is in its place
while one of their commands runs. The domain takes commands with the session of the transport; an application that
the script selects gets none, and needs a secure channel of its own inside.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, final

import msgspec

from keywright.codec.record import Record, Rest, raw
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.element import interpreter, scp81_parameters
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import Domain
from keywright.element.key_material import DES_TYPES
from keywright.element.openers import in_service
from keywright.element.parameters import SIM_TOOLKIT, UICC_TOOLKIT, values
from keywright.element.registry import is_domain
from keywright.element.state import KeyRecord, RegistryEntry, air_counter_name, key_set_name
from keywright.errors import DecodeError
from keywright.globalplatform.key_data import ComponentType
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import SHORT_LE, Command, Response
from keywright.iso7816.channels import channel_of, is_secured
from keywright.iso7816.status import SW
from keywright.scp.scp80.keys import KeySet, OtaKey, des_key
from keywright.scp.scp80.profile import Profile
from keywright.scp.scp80.toolkit_parameters import (
    SimToolkitParameters,
    UiccToolkitParameters,
    minimum_security_level,
    tars,
)
from keywright.scp.scp81.keys import Psk
from keywright.scp.scp81.parameters import DnsParameters, StoredParameters
from keywright.scp.transport import TransportSession

_OPENING: Final = frozenset(
    (Ins.INITIALIZE_UPDATE, Ins.EXTERNAL_AUTHENTICATE, Ins.INTERNAL_AUTHENTICATE, Ins.PERFORM_SECURITY_OPERATION)
)
_MOST_PARTS: Final = 256
_ASIDE: Final = 0x100
"""Where the reader's basic channel is meanwhile; no class byte has this number."""
KEY_VERSIONS: Final = range(0x01, 0x10)
"""Key version numbers of SCP80 (TS 102 226 8.2.1.5): what 4 bits of KIc and KID can name."""
_KIC, _KID, _KIK = 1, 2, 3
_TAR_IN_AID: Final = slice(12, 15)
"""Bytes 13 to 15 of an AID (TS 101 220 Annex D)."""
_FINGERPRINT_BYTES: Final = 8


class AirCounterRecord(Record, frozen=True):
    """The last counter taken with a key set (5 bytes), and which keys it was: new ones begin at 0."""

    counter: Annotated[bytes, raw(5)]
    keys: Annotated[bytes, Rest(8, 8)]


class AirDomain(msgspec.Struct, frozen=True):
    """A security domain as packets name it. `msl`: minimum security level, None where its installation says none."""

    aid: bytes
    tars: tuple[bytes, ...]
    is_issuer: bool
    msl: int | None = None


@final
class OverTheAir:
    """What the radio side of a card asks its element: `SecureElement.air`."""

    def __init__(self, card: Card) -> None:
        self._card = card

    @property
    def profile(self) -> Profile:
        """How this kind of card does SCP80."""
        return self._card.profile.scp80

    def executor(self, aid: bytes = b"") -> DomainExecutor:
        """What runs scripts in a security domain, the issuer's if none is named. Raises ValueError for an unknown."""
        return DomainExecutor(self._card, aid or self._card.registry().issuer.aid)

    def domains(self) -> tuple[AirDomain, ...]:
        """Every security domain: the issuer's first, each with the TARs of its installation, or that of its AID."""
        return tuple(_air_domain(entry) for entry in self._card.registry() if is_domain(entry))

    def key_owner(self, aid: bytes) -> bytes:
        """The domain whose keys protect packets to `aid`: itself, or the next above with keys of SCP80."""
        registry = self._card.registry()
        while not any(kvn in KEY_VERSIONS for kvn in self._card.domain(aid).kvns()):
            entry = registry.domain(aid)
            if entry is None or registry.domain(entry.domain) is None or entry.domain == aid:
                break
            aid = entry.domain
        return aid

    def key_set(self, aid: bytes, kvn: int) -> KeySet | None:
        """KIc, KID and KIK of a domain's key set (identifiers 1, 2, 3), None unless it is one of SCP80."""
        records = {key.kid: key for key in self._card.domain(aid).keys(kvn)} if kvn in KEY_VERSIONS else {}
        if not records:
            return None
        kic, kid, kik = (
            _ota_key(records.get(number), label) for number, label in ((_KIC, "KIc"), (_KID, "KID"), (_KIK, "KIK"))
        )
        return KeySet(kic, kid, kik)

    def parameters(self, aid: bytes) -> tuple[tuple[StoredParameters, ...], DnsParameters]:
        """What completes a trigger for a domain: its own parameters, then the issuer's (Amd B 3.7.2)."""
        own, names = scp81_parameters.parameters(self._card.domain(aid))
        issuer = self._card.issuer()
        if aid == issuer.aid:
            return (own,), names
        return (own, scp81_parameters.parameters(issuer)[0]), names

    def psk(self, aid: bytes, kvn: int, kid: int) -> Psk | None:
        """A domain's pre-shared key for SCP81 (type 85), None if it has none of this name."""
        record = self._card.domain(aid).key(kvn, kid)
        return Psk(record.value) if record is not None and record.type == ComponentType.PSK_TLS else None

    def counter(self, aid: bytes, owner: bytes) -> int:
        """The last counter that a domain has taken, by what it belongs to: a key version number, or a TAR.

        0 for a key set whose keys are other ones by now (TS 102 225 5.1.4).
        """
        domain = self._card.domain(aid)
        value = domain.read(air_counter_name(owner))
        record = AirCounterRecord.parse(value) if value else None
        return int.from_bytes(record.counter) if record and equal(record.keys, _fingerprint(domain, owner)) else 0

    def commit(self, aid: bytes, owner: bytes, counter: int) -> None:
        """Keep a counter, durably on return. Raises StoreError."""
        domain = self._card.domain(aid)
        record = AirCounterRecord(counter.to_bytes(5), _fingerprint(domain, owner))
        self._card.storage.commit({domain.name(air_counter_name(owner)): record.build()})


def _fingerprint(domain: Domain, owner: bytes) -> bytes:
    """What tells the keys of a key version number from others; the same always where a counter belongs to a TAR."""
    keys = domain.read(key_set_name(owner[0])) if len(owner) == 1 else None
    return hashlib.sha256(keys or b"").digest()[:_FINGERPRINT_BYTES]


def _ota_key(record: KeyRecord | None, label: str) -> OtaKey | None:
    if record is None:
        return None
    try:
        if record.type == ComponentType.AES:
            return AesKey(record.value, label)
        return des_key(record.value, label) if record.type in DES_TYPES else None
    except ValueError:
        return None


def _air_domain(entry: RegistryEntry) -> AirDomain:
    own = (entry.aid[_TAR_IN_AID],) if len(entry.aid) >= _TAR_IN_AID.stop else ()
    try:
        toolkits: list[UiccToolkitParameters | SimToolkitParameters] = [
            kind.parse(value)
            for tag, kind in ((UICC_TOOLKIT, UiccToolkitParameters), (SIM_TOOLKIT, SimToolkitParameters))
            for value in values(entry.parameters, tag)
        ]
        named = tuple(tar for toolkit in toolkits for tar in tars(toolkit))
        levels = [minimum_security_level(toolkit) for toolkit in toolkits if toolkit.msl]
    except DecodeError:
        named, levels = (), []
    return AirDomain(entry.aid, named or own, not entry.domain, levels[0] if levels else None)


@final
class DomainExecutor:
    """An `Executor` for `RemoteManagement` and `ScriptDomains`: the security domain `aid` of a card."""

    def __init__(self, card: Card, aid: bytes) -> None:
        """Take a domain. Raises ValueError if the card has none of this name."""
        if card.registry().domain(aid) is None:
            raise ValueError(f"the card has no security domain {aid.hex().upper()}")
        self._card = card
        self._aid = aid
        self._channel = self._fresh()

    def start(self) -> None:
        """The domain is selected, no application, and nothing is open inside.

        What the domain itself has begun goes on, a load that takes many packets above all.
        """
        if not self._is_own() or not isinstance(self._channel.session, TransportSession | None):
            self._channel = self._fresh()

    def _fresh(self) -> Channel:
        return Channel(0, self._card.domain(self._aid), character_level=False)

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        """Run one command, all of its answer at once. The domain opens no secure channel to itself (6985).

        Nor does it take anything while it is locked, or on a locked card unless it is the final application (6985).
        """
        if channel_of(command.cla) or command.ins == Ins.MANAGE_CHANNEL:
            return Response(b"", SW.CHANNEL_NOT_SUPPORTED)
        channel = self._channel
        if self._is_own():
            if command.ins in _OPENING or not in_service(self._card, channel.domain):
                return Response(b"", SW.CONDITIONS_NOT_SATISFIED)
            if is_secured(command.cla):
                return Response(b"", SW.SECURITY_STATUS_NOT_SATISFIED)
            if channel.session != (session if session.authentication else None):
                channel.drop_session()
            if session.authentication:
                channel.session, channel.kvn = session, session.kvn
        answer = self._exchange(command)
        if isinstance(channel.session, TransportSession) and not self._is_own():
            channel.drop_session()
        return answer

    def _is_own(self) -> bool:
        return self._channel.aid == self._aid

    def _exchange(self, command: Command) -> Response:
        """The whole answer: what waits for GET RESPONSE is fetched, as it comes back in one piece."""
        answer = self._answer(command)
        data = bytearray(answer.data)
        for _ in range(_MOST_PARTS):
            if answer.sw >> 8 != 0x61:
                break
            answer = self._answer(Command(0, Ins.GET_RESPONSE, 0, 0, b"", answer.sw & 0xFF or SHORT_LE))
            data += answer.data
        return Response(bytes(data), answer.sw)

    def _answer(self, command: Command) -> Response:
        channels = self._card.channels
        reader = channels[0]
        # Set aside, not hidden: what is selected there must not be deleted from here.
        channels[0], channels[_ASIDE] = self._channel, reader
        try:
            return Response.parse(interpreter.answer(self._card, command.encode()))
        except (DecodeError, ValueError):
            return Response(b"", SW.WRONG_LENGTH)
        finally:
            channels[0] = channels.pop(_ASIDE)
