"""One logical channel: what is selected on it, its secure session, and what it holds between commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias, final

from keywright.element.applet import Applet
from keywright.element.domain import Domain
from keywright.iso7816.apdu import Command
from keywright.iso7816.delivery import Delivery
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
class Receiver:
    """The application being personalised, and its RAM meanwhile."""

    __slots__ = ("aid", "volatile")

    def __init__(self, aid: bytes) -> None:
        self.aid = aid
        self.volatile: dict[str, object] = {}


class Listing(NamedTuple):
    """The rest of a list that GET STATUS tells in pages: what was asked (P1, format, criteria), and what is left."""

    p1: int
    form: int
    data: bytes
    entries: tuple[bytes, ...]


@final
class Channel:
    """Volatile state of a channel; a reset or MANAGE CHANNEL (close) ends it.

    `domain` opens sessions here: the selected security domain, or the one that the selected application is associated
    with. `applet` None means that the domain itself is selected. `session` is open, or there is none; `opening` is what
    the commands before it have prepared; `kvn` is the key set it runs on; `guard`, where the session has one, says
    whether the host's certificate allows an opened command. `volatile` belongs to the selected applet until the next
    SELECT.

    Sequences that a session has begun: `blocks` of STORE DATA; `segments` of a GlobalPlatform command in several, as
    they came, or `parts` that were protected each by itself, opened; `receiver`, the application that INSTALL
    [for personalization] named for the next STORE DATA; `listing`, what GET STATUS has still to tell; `loading`, a load
    under way (`loading.Loading`).
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
        "listing",
        "loading",
        "number",
        "opening",
        "parts",
        "receiver",
        "segments",
        "session",
        "volatile",
    )

    def __init__(self, number: int, domain: Domain, *, character_level: bool) -> None:
        self.number = number
        self.delivery = Delivery(character_level=character_level)
        self.chain: Command | None = None
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
        self.segments: Command | None = None
        self.parts: Command | None = None
        self.receiver: Receiver | None = None
        self.loading: object | None = None
        self.listing: Listing | None = None

    @property
    def phase(self) -> int:
        """IDLE, OPENING, AUTHENTICATED or UNAUTHENTICATED."""
        session = self.session
        if session is None:
            return IDLE if self.opening is None else OPENING
        return AUTHENTICATED if session.authentication & Level.AUTHENTICATED else UNAUTHENTICATED
