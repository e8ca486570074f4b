"""What a device holds between the commands of one session: nothing of it outlives the loss of the field."""

from __future__ import annotations

from enum import Enum
from typing import final

from keywright.aliro.keys import DerivationKey
from keywright.aliro.mailbox import Mailbox
from keywright.ccc.keys import Transaction
from keywright.ccc.messages import SpakeRequest
from keywright.ccc.records import KeyRecord
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.spake2plus import Prover
from keywright.scp.scp03.messaging import CardMessaging


class State(Enum):
    """Where a session stands, for the table of `device`."""

    IDLE = "nothing selected"
    FRAMEWORK = "framework selected"
    REQUESTED = "SPAKE2+ requested"
    PAIRING = "channel of owner pairing open"
    CREATED = "key made"
    SELECTED = "applet selected"
    AUTH0 = "AUTH0 answered"
    OPEN = "channel of the transaction open"
    ATOMIC = "atomic session of a mailbox open"
    ENDED = "ended by the vehicle"


@final
class Session:
    """A session as the device sees it. `erase` is what every error does to it."""

    __slots__ = (
        "channel",
        "ephemeral",
        "key",
        "mailboxes",
        "number",
        "prover",
        "request",
        "state",
        "status",
        "transaction",
        "ursk",
        "ursk_ready",
    )

    def __init__(self) -> None:
        self.begin()
        self.state = State.IDLE

    def begin(self) -> None:
        """What SELECT does: nothing of before is left."""
        self.status: int | None = None
        """What the vehicle said at the end."""
        self.ursk: DerivationKey | None = None
        """Survives the end of the transaction, for ranging."""
        self.ursk_ready = False
        self.erase()

    def erase(self) -> None:
        """Forget keys and everything learnt since SELECT; sessions of mailboxes are rolled back."""
        self.state = State.IDLE
        self.request: SpakeRequest | None = None
        self.prover: Prover | None = None
        self.transaction: Transaction | None = None
        self.ephemeral: EcPrivateKey | None = None
        self.number: int | None = None
        self.key: KeyRecord | None = None
        self.channel: CardMessaging | None = None
        self.mailboxes: dict[str, Mailbox] = {}
        """Those that were used, by the name of their record."""

    def fail(self) -> None:
        """What every error does: `erase`, and no ranging either."""
        self.begin()

    @property
    def is_atomic(self) -> bool:
        """Whether an atomic session of a mailbox is open."""
        return any(mailbox.is_atomic for mailbox in self.mailboxes.values())
