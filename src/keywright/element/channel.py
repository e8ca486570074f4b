"""One logical channel: what is selected on it, its secure session, and what it holds between commands."""

from __future__ import annotations

from typing import final

from keywright.element.applet import Applet
from keywright.element.delivery import Delivery
from keywright.iso7816.apdu import Command
from keywright.scp.scp03.card import CardChannel


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

    `applet` None means the issuer security domain. `session` is None, challenged (INITIALIZE UPDATE answered) or
    authenticated; `kvn` is the key set it runs on. `volatile` belongs to the selected applet until the next SELECT.
    """

    __slots__ = ("aid", "applet", "blocks", "chain", "delivery", "kvn", "number", "session", "volatile")

    def __init__(self, number: int, aid: bytes, *, character_level: bool) -> None:
        self.number = number
        self.delivery = Delivery(character_level=character_level)
        self.chain: Command | None = None
        self.enter(aid, None, {})

    def enter(self, aid: bytes, applet: Applet | None, volatile: dict[str, object]) -> None:
        """Make an application the selected one; the session of the one before is gone."""
        self.aid = aid
        self.applet = applet
        self.volatile = volatile
        self.blocks: BlockChain | None = None
        self.drop_session()

    def drop_session(self) -> None:
        """Forget session keys, level and any pending challenge."""
        self.session: CardChannel | None = None
        self.kvn = 0

    @property
    def phase(self) -> int:
        """0 no session, 1 challenged, 2 authenticated."""
        session = self.session
        if session is None:
            return 0
        return 1 if session.level is None else 2
