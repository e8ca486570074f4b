"""What an application on the element looks like, and what it is given to work with."""

from __future__ import annotations

from typing import Protocol, final

from keywright.element.state import LIFE, Transaction, applet_name
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.session import CardSession


class Surroundings(Protocol):
    """What the element does for an application beside keeping its records."""

    def state(self, aid: bytes, change: Transaction, /) -> int:
        """Life cycle state of an application, as the command has left it so far."""
        ...

    def set_state(self, aid: bytes, state: int, change: Transaction, /) -> None:
        """An application sets its own state. Refuses with 6985."""
        ...

    def serve(self, context: Context, service: bytes, request: bytes, /) -> bytes:
        """Ask the application that offers a global service. Refuses with 6A88 when none does."""
        ...

    def forward(self, context: Context, aid: bytes, command: Command, /) -> Response:
        """Hand a command on to another application of the same domain. Refuses with 6985."""
        ...


@final
class Context:
    """What an applet may know and do while it handles one command. Valid during that call only."""

    __slots__ = ("_around", "_session", "aid", "change", "channel_number", "volatile")

    def __init__(
        self,
        aid: bytes,
        change: Transaction,
        session: CardSession | None = None,
        *,
        volatile: dict[str, object] | None = None,
        channel_number: int = 0,
        around: Surroundings | None = None,
    ) -> None:
        """aid: whose records; change: the command's transaction; session: the channel's secure session, if any."""
        self.aid = aid
        self.change = change
        self._session = session
        self._around = around
        self.channel_number = channel_number
        self.volatile: dict[str, object] = {} if volatile is None else volatile
        """The applet's own RAM on this channel: gone at the next SELECT there, unless to one of its `ram_group` (see
        `Applet`), at reset and at power loss."""

    @property
    def is_authenticated(self) -> bool:
        """Whether the host has proven to the associated security domain, on this channel, who it is (GPCS 10.2)."""
        return self._session is not None and self._session.authentication != 0

    @property
    def level(self) -> int:
        """Level bits of the session (Amd D 7.1.2.1): how this command was and its answer will be protected, or 0."""
        return 0 if self._session is None else self._session.level or 0

    @property
    def card_state(self) -> int:
        """Life cycle state of the card."""
        life = self.change.read(LIFE)
        return life[0] if life else 0

    @property
    def state(self) -> int:
        """Life cycle state of the application (GPCS table 11-4)."""
        return self._outside().state(self.aid, self.change)

    def set_state(self, state: int) -> None:
        """Set the application's own state: 07 with bits of its own above, or locked. Refuses with 6985 (GPCS 5.3.1)."""
        self._outside().set_state(self.aid, state, self.change)

    def serve(self, service: bytes, request: bytes) -> bytes:
        """Use a global service (GPCS 8.1): what `Applet.provide` of its application returns.

        Refuses with 6A88 when no application offers it, and as that one does.
        """
        return self._outside().serve(self, service, request)

    def forward(self, aid: bytes, command: Command) -> Response:
        """As a receiving entity, with the trusted path privilege, hand a command to an application (GPCS 6.6.2).

        Refuses with 6985 without the privilege, or when the application is not selectable or of another domain.
        """
        return self._outside().forward(self, aid, command)

    def on_behalf_of(self, aid: bytes) -> Context:
        """The same command and session, for another application's records."""
        return Context(aid, self.change, self._session, channel_number=self.channel_number, around=self._around)

    def _outside(self) -> Surroundings:
        if self._around is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        return self._around

    def require(self, level: int) -> None:
        """Refuse with 6982 unless an authenticated session has all bits of `level`."""
        if not self.is_authenticated or self.level & level != level:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)

    def decrypt(self, data: bytes) -> bytes:
        """Open data encrypted under the session's data encryption key (GPCS 11.8.2.3), padding left in place.

        Refuses with 6982 without a session, 6A80 when `data` is no whole number of blocks.
        """
        if self._session is None:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        return self._session.decrypt_sensitive(data)

    def read(self, name: str) -> bytes | None:
        """One of the applet's own persistent records, as this command has left it so far."""
        return self.change.read(applet_name(self.aid, name))

    def write(self, name: str, value: bytes | None) -> None:
        """Change a record (None deletes). Committed with all others when the command ends well, else dropped."""
        self.change.write(applet_name(self.aid, name), value)

    def write_first(self, name: str, value: bytes | None) -> None:
        """Commit a record now and alone, even if the command fails: retry counters before anything is compared."""
        self.change.write_first(applet_name(self.aid, name), value)


class Applet(Protocol):
    """An application. It keeps no state of its own: `Context` has its records and its RAM, so that one object may
    serve many elements and a power cut needs no help from it.

    The element takes care of channels, secure messaging (through the associated security domain: the commands that open
    a session never reach an applet), chaining, GET RESPONSE and Le.

    An attribute `multiselectable` that is False keeps it from being selected on two channels at once; an attribute
    `ram_group` names the applets among which RAM outlives a SELECT from one to the other on one channel, as among the
    applets of a Java Card package (CLEAR_ON_DESELECT). A method `installed(context, parameters)` is called with the
    installation parameters (C9) and may refuse the installation; a method `provide(service, request, context) -> bytes`
    offers global services (CB).
    """

    @property
    def aid(self) -> bytes:
        """Its AID, 5 to 16 bytes."""
        ...

    def select(self, context: Context) -> bytes:
        """Called for SELECT; returns the data of the answer, usually `6F{84 AID ...}`.

        After a Refusal SELECT is answered 6999, and what was selected before stays.
        """
        ...

    def process(self, command: Command, context: Context) -> Response:
        """Handle one command, its secure messaging opened: the class is 00 or 80, whatever channel or protection.

        Writes are committed when the answer is 9000, 61xx, 62xx or 63xx. A Refusal or another status drops them.
        Answer 6D00 or 6E00 by Refusal for what it does not know.
        """
        ...
