"""SCP02: every "i", level, way to begin and end R-MAC sessions (GPCS appendix E)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple

from keywright.globalplatform.dialogues.keys import put_key
from keywright.iso7816.apdu import Command, Response
from keywright.scp.level import Level
from keywright.scp.scp02.host import external_authenticate, initialize_update, open_implicit
from keywright.scp.scp02.keys import KeySet
from keywright.scp.scp02.messages import LEVELS, OPTIONS, SCP02, I, allowed_levels
from keywright.scp.scp02.messaging import HostChannel
from keywright.scp.scp03.host import HostChannel as OwnersChannel
from keywright.scp.session import HostSession
from support.cards import ISD
from support.combinations.sessions import ElementCard, Opening, Talk, loaded, turns
from support.combinations.speech import exchange

KVN = 0x30
CHALLENGE = bytes(range(8))
THREE = KeySet.of(bytes(range(16)), bytes(range(1, 17)), bytes(range(2, 18)))
BASE = KeySet.base(bytes(range(16)))
RMac = Literal["", "every answer", "collected"]


class Scp02(NamedTuple):
    """One session."""

    i: int
    level: int
    r_mac: RMac = ""
    channel: int = 0

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return "SCP02"

    @property
    def collects(self) -> bool:
        """Whether END R-MAC SESSION covers what answers do not carry."""
        return self.r_mac == "collected"

    @property
    def repeats(self) -> bool:
        """Never: the counter moves."""
        return False

    @property
    def implicit(self) -> bool:
        """Whether there is no INITIALIZE UPDATE."""
        return not self.i & I.EXPLICIT

    @property
    def is_legal(self) -> bool:
        """Whether "i" offers the level."""
        return self.level in allowed_levels(self.i)

    @property
    def keys(self) -> KeySet:
        """Three keys or the base key."""
        return THREE if self.i & I.THREE_KEYS else BASE

    def card(self) -> ElementCard:
        """An element whose owner has put the keys."""
        return ElementCard(loaded(_put_three if self.i & I.THREE_KEYS else _put_base, ((SCP02, self.i),)), self.channel)

    def open(self) -> Opening:
        """INITIALIZE UPDATE and EXTERNAL AUTHENTICATE, or nothing."""
        if self.implicit:
            return open_implicit(self.keys, 0, i=self.i, aid=ISD, channel=self.channel, allow_legacy=True)
        opening = yield from initialize_update(
            self.keys, CHALLENGE, i=self.i, kvn=KVN, channel=self.channel, aid=ISD, allow_legacy=True
        )
        return (yield from external_authenticate(opening, self.level))

    def talk(self, host: HostSession) -> Talk:
        """Two commands, inside an R-MAC session if there is one."""
        assert isinstance(host, HostChannel)
        if self.r_mac:
            yield from host.begin_r_mac(b"begin", every=self.r_mac == "every answer")
        right = yield from exchange(host)
        if self.r_mac:
            yield from host.end_r_mac()
        return right


def _put_three(session: OwnersChannel) -> Generator[Command, Response, None]:
    yield from put_key((THREE.enc, THREE.mac, THREE.dek), session, kvn=KVN, size=session.max_data)


def _put_base(session: OwnersChannel) -> Generator[Command, Response, None]:
    yield from put_key(BASE.enc, session, kvn=KVN, size=session.max_data)


def _all() -> Iterator[Scp02]:
    for i in OPTIONS:
        for level in LEVELS if i & I.EXPLICIT else allowed_levels(i):
            kind = Scp02(i, level)
            yield kind
            if kind.is_legal and i & I.R_MAC and not level & Level.R_MAC:
                yield kind._replace(r_mac="every answer")
                yield kind._replace(r_mac="collected")


def combinations(*, everything: bool = False) -> Iterator[Scp02]:
    """Each on one logical channel, the numbers taking turns; or on every one."""
    for number, kind in enumerate(_all()):
        for channel in turns(number, everything=everything):
            yield kind._replace(channel=channel)
