"""What a user device holds between the commands of one transaction: nothing of it outlives the loss of the field."""

from __future__ import annotations

from enum import Enum
from typing import Final, final

from keywright.aliro.credential import CredentialRecord
from keywright.aliro.keys import DerivationKey, Direction
from keywright.aliro.mailbox import Mailbox
from keywright.aliro.messages import Auth0, Auth0Answer
from keywright.crypto.ec import EcPrivateKey

_SUCCESS: Final = 0x01
"""High byte of a reader status that is no failure."""


class State(Enum):
    """Where a transaction stands, for the table of `user_device`."""

    IDLE = "nothing selected"
    SELECTED = "selected"
    AUTH0 = "AUTH0 answered"
    LOADED = "certificate loaded"
    OPEN = "expedited channel open"
    ATOMIC = "atomic session of the mailbox open"
    STEP_UP_SELECTED = "step-up selected"
    STEP_UP = "step-up channel open"
    ENDED = "status of the reader received"


@final
class Survivors:
    """Keys that outlive the access protocol, for a device that goes on over Bluetooth and UWB."""

    __slots__ = ("ble", "ursk")

    def __init__(self, ble: DerivationKey, ursk: DerivationKey) -> None:
        self.ble = ble
        self.ursk = ursk


@final
class Session:
    """A transaction as the user device sees it. `erase` is what every error does to it."""

    __slots__ = (
        "answer",
        "certificate",
        "channel",
        "command",
        "credential",
        "ephemeral",
        "from_reader",
        "group_key",
        "mailbox",
        "number",
        "proprietary",
        "reader_status",
        "signaling",
        "state",
        "step_up",
        "survivors",
        "to_reader",
        "ursk_ready",
    )

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """What SELECT does: nothing of before is left."""
        self.proprietary = b""
        """TLV A5 as it was sent."""
        self.reader_status: int | None = None
        """What the reader said at the end."""
        self.erase()

    def erase(self) -> None:
        """Forget keys and everything learnt since SELECT; a mailbox session is rolled back.

        Another AUTH0 is taken only where SELECT of the expedited phase came before.
        """
        self.state = State.SELECTED if self.proprietary else State.IDLE
        self.channel = State.OPEN
        """The state that an atomic session of the mailbox goes back to."""
        self.ursk_ready = False
        """Whether the reader said that it has the URSK."""
        self.survivors: Survivors | None = None
        self.command: Auth0 | None = None
        self.answer: Auth0Answer | None = None
        self.ephemeral: EcPrivateKey | None = None
        self.certificate: bytes | None = None
        self.number: int | None = None
        self.credential: CredentialRecord | None = None
        self.group_key: bytes | None = None
        self.from_reader: Direction | None = None
        self.to_reader: Direction | None = None
        self.step_up: DerivationKey | None = None
        self.mailbox: Mailbox | None = None
        self.signaling = 0

    def end(self, status: int | None) -> None:
        """The reader has said how it ended; after a success (01xx) the keys for what comes next survive."""
        survivors, ursk_ready = self.survivors, self.ursk_ready
        self.erase()
        if status is not None and status >> 8 == _SUCCESS:
            self.survivors, self.ursk_ready = survivors, ursk_ready
        self.reader_status = status
        self.state = State.ENDED
