"""The element without its command interpreter: what the instructions work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, final

import msgspec

from keywright.element.applet import Applet, Surroundings
from keywright.element.channel import Channel
from keywright.element.domain import Domain
from keywright.element.recording_applet import RecordingApplet
from keywright.element.registry import Registry, is_domain
from keywright.element.state import (
    ATTEMPTS,
    ELEMENT,
    FORMAT,
    LIFE,
    REGISTRY,
    ElementRecord,
    Kind,
    RegistryEntry,
    Storage,
    Transaction,
)
from keywright.errors import StoreError
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816.atr import Atr
from keywright.scp.scp02.messages import I as I02
from keywright.scp.scp03.messages import I
from keywright.scp.scp11.messages import SCP11
from keywright.scp.scp11.profile import Profile as Scp11Profile

Rng: TypeAlias = Callable[[int], bytes]


Factory: TypeAlias = Callable[[bytes], Applet]
"""Makes the application of an executable module, given its instance AID."""


@final
class Card:
    """Persistent records, the code of applications, and the open logical channels."""

    __slots__ = (
        "_applets",
        "_domains",
        "_registry",
        "atr",
        "channels",
        "character_level",
        "factories",
        "given",
        "identity",
        "profile",
        "rng",
        "services",
        "storage",
    )

    def __init__(
        self,
        storage: Storage,
        applets: Sequence[Applet],
        rng: Rng | None,
        factories: Mapping[bytes, Factory],
        profile: CardProfile,
    ) -> None:
        """Take the element that `storage` holds.

        Raises StoreError if it holds none in a format that we read, ValueError if it needs `rng` and has none.
        """
        record = storage.read(ELEMENT)
        if record is None or record[0] != FORMAT:
            raise StoreError("this memory holds no element of a format that this version reads")
        self.storage = storage
        self.identity = ElementRecord.parse(record)
        self.atr = self.identity.atr
        self.character_level = Atr.parse(self.atr).protocols == (0,)
        self.given = {applet.aid: applet for applet in applets}
        self.factories = factories
        self.profile = profile
        self.rng = rng
        self.services: Surroundings | None = None
        self.channels: dict[int, Channel] = {}
        self.power_up()
        self._need_rng()

    def power_up(self) -> None:
        """What a reset leaves: the basic channel with its default application, nothing volatile."""
        self.storage.forget()
        self._registry: tuple[bytes | None, Registry] = (None, Registry(()))
        self._domains: dict[bytes, Domain] = {}
        self._applets: dict[bytes, Applet] = {}
        self.channels = {0: self.new_channel(0)}

    def new_channel(self, number: int) -> Channel:
        """A channel with the issuer security domain selected; not yet among `channels`."""
        return Channel(number, self.issuer(), character_level=self.character_level)

    def close_sessions(self) -> None:
        """End every secure session on every channel."""
        for channel in self.channels.values():
            channel.drop_session()

    def life(self) -> int:
        """Card life cycle state."""
        value = self.storage.read(LIFE)
        return value[0] if value else 0

    def attempts(self) -> int:
        """Authentication commands (82) ever received."""
        return int.from_bytes(self.storage.read(ATTEMPTS) or b"")

    def registry(self, change: Transaction | None = None) -> Registry:
        """Everything with an AID, as committed or as the command under way has left it."""
        raw = self.storage.read(REGISTRY) if change is None else change.read(REGISTRY)
        if raw is not self._registry[0]:
            self._registry = raw, Registry.parse(raw or b"")
        return self._registry[1]

    def issuer(self) -> Domain:
        """The issuer security domain."""
        return self.domain(self.registry().issuer.aid)

    def domain(self, aid: bytes) -> Domain:
        """The records of the security domain with this AID."""
        known = self._domains.get(aid)
        if known is None:
            known = self._domains[aid] = Domain(self.storage, aid, issuer=aid == self.registry().issuer.aid)
        return known

    def domain_of(self, entry: RegistryEntry) -> Domain:
        """The domain that opens sessions for an entry: itself, or the one it is associated with (GPCS 7.3)."""
        return self.domain(entry.aid if is_domain(entry) else entry.domain)

    def key_domain(self, domain: Domain) -> Domain:
        """Whose symmetric keys open a session with a domain: its own, or those of the next above that has some."""
        if domain.is_issuer or not self.profile.inherit_keys:
            return domain
        registry = self.registry()
        while domain.default_kvn() is None:
            entry = registry.domain(domain.aid)
            above = registry.domain(entry.domain) if entry is not None else None
            if above is None:
                break
            domain = self.domain(above.aid)
        return domain

    def scp11_profile(self, domain: Domain) -> Scp11Profile:
        """The profile of SCP11 with the "i" that a domain offers."""
        profile, i = self.profile.scp11, domain.i_of(SCP11)
        return profile if i in (None, profile.i) else msgspec.structs.replace(profile, i=i)

    def applet(self, entry: RegistryEntry) -> Applet | None:
        """The code of an application: given, made by a factory, or a recorder for what was loaded without code.

        None for a security domain, and for an application that the caller once gave and did not give again.
        """
        if entry.kind != Kind.APPLICATION:
            return None
        given = self.given.get(entry.aid) if not entry.load_file else None
        if given is not None or not entry.load_file:
            return given
        made = self._applets.get(entry.aid)
        if made is None:
            factory = self.factories.get(entry.module)
            made = self._applets[entry.aid] = factory(entry.aid) if factory else RecordingApplet(entry.aid)
        return made

    def forget(self, aid: bytes) -> None:
        """Drop what RAM holds of an application or a domain that is gone."""
        self._domains.pop(aid, None)
        self._applets.pop(aid, None)

    def _need_rng(self) -> None:
        for entry in self.registry():
            if is_domain(entry):
                need_rng(tuple(self.domain(entry.aid).offers().items()), self.rng)


def need_rng(offers: Sequence[tuple[int, int]], rng: Rng | None) -> None:
    """Raises ValueError when a protocol's challenges or keys are random by "i" and nothing makes them."""
    for scp, i in offers:
        if rng is None and _is_random(scp, i):
            raise ValueError(f"SCP{scp:02X} with i={i:02X} has random challenges: rng is needed")


def _is_random(scp: int, i: int) -> bool:
    match scp:
        case 0x03:
            return not i & I.PSEUDO_RANDOM
        case 0x02:
            return bool(i & I02.EXPLICIT and not i & I02.PSEUDO_RANDOM)
        case 0x80 | 0x81:  # nothing of these protocols opens a session on the card itself
            return False
    return True
