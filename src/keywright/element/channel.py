"""One logical channel: what is selected on it, its secure session, and what it holds between commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, final

from keywright.element.applet import Applet
from keywright.element.delivery import Delivery
from keywright.element.domain import Domain
from keywright.iso7816.apdu import Command
from keywright.scp.level import Level
from keywright.scp.session import CardSession

IDLE, OPENING, AUTHENTICATED, UNAUTHENTICATED = range(4)
"""Phases of a channel: no session; one being opened; one with the owner of the domain; one with somebody else."""


Guard: TypeAlias = Callable[[Command], bool]


class Handshake(Protocol):
    """A session that is being opened; its protocol's opener knows what comes next."""

    @property
    def scp(self) -> int:
        """Protocol number: 02, 03, 10, 11."""
        ...


@final
class BlockChain:
    """STORE DATA blocks received so far."""

    __slots__ = ("data", "expected", "kind")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.expected = 0
        self.data = bytearray()


@final
class Channel:
    """Volatile state of a channel; a reset or MANAGE CHANNEL (close) ends it.

    `domain` opens sessions here: the selected security domain, or the one that the selected application is associated
    with. `applet` None means that the domain itself is selected. `session` is open, or there is none; `opening` is what
    the commands before it have prepared; `kvn` is the key set it runs on. `volatile` belongs to the selected applet
    until the next SELECT. `segments` are those of a GlobalPlatform command in several (GPCS 11.1.5.1). `receiver` is
    the AID of the application that INSTALL [for personalization] named: the next STORE DATA are for it. `guard`, where
    the session has one, says whether the host's certificate allows an opened command.
    """

    __slots__ = (
        "aid",
        "applet",
        "blocks",
        "chain",
        "delivery",
        "domain",
        "guard",
        "kvn",
        "number",
        "opening",
        "receiver",
        "segments",
        "session",
        "volatile",
    )

    def __init__(self, number: int, domain: Domain, *, character_level: bool) -> None:
        self.number = number
        self.delivery = Delivery(character_level=character_level)
        self.chain: Command | None = None
        self.segments: Command | None = None
        self.enter(domain.aid, domain, None, {})

    def enter(self, aid: bytes, domain: Domain, applet: Applet | None, volatile: dict[str, object]) -> None:
        """Make an application the selected one; the session of the one before is gone."""
        self.aid = aid
        self.domain = domain
        self.applet = applet
        self.volatile = volatile
        self.drop_session()

    def drop_session(self) -> None:
        """Forget session keys, level, any pending handshake, and what was begun in the session."""
        self.session: CardSession | None = None
        self.opening: Handshake | None = None
        self.guard: Guard | None = None
        self.kvn = 0
        self.drop_sequences()

    def drop_sequences(self) -> None:
        """Forget STORE DATA blocks, segments and who was to be personalised."""
        self.blocks: BlockChain | None = None
        self.segments = None
        self.receiver: bytes | None = None

    @property
    def phase(self) -> int:
        """IDLE, OPENING, AUTHENTICATED or UNAUTHENTICATED."""
        session = self.session
        if session is None:
            return IDLE if self.opening is None else OPENING
        return AUTHENTICATED if session.authentication & Level.AUTHENTICATED else UNAUTHENTICATED
