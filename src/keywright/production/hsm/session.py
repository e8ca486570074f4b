"""A channel whose keys are in the client process's token, as the line's process sees it."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from typing import final

from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, LinkError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.production.hsm import messages as m
from keywright.production.hsm.watchdog import HsmClient, Place
from keywright.production.keystores.keystore import KeyRef, KeystoreBusyError, KeystoreLostError
from keywright.scp.level import Level
from keywright.scp.scp03.messages import SCP03, InitializeUpdateResponse
from keywright.scp.scp03.messaging import room_for_data


@final
class Pkcs11Verified(Secret):
    """A card whose cryptogram was right: `authenticate` once, or `close`."""

    __slots__ = ("__weakref__", "_channel", "_client", "_finalizer", "_logical", "_place", "answer")

    def __init__(
        self, client: HsmClient, place: Place, channel: int, logical: int, answer: InitializeUpdateResponse
    ) -> None:
        self.answer = answer
        self._client = client
        self._place = place
        self._channel = channel
        self._logical = logical
        self._finalizer = weakref.finalize(self, client.forget, place, channel)

    def authenticate(self, level: int, *, pads_empty: bool = False) -> tuple[Pkcs11Session, Command]:
        """The session at that level, and EXTERNAL AUTHENTICATE. Raises KeystoreLostError, SequenceError."""
        question = m.Authenticate(self._channel, level, pads_empty)
        command = self._client.ask(question, Command, place=self._place, delivered=False)
        self._finalizer.detach()
        session = Pkcs11Session(self._client, self._place, self._channel, level, self._logical, self.answer)
        return session, command

    def close(self) -> None:
        """Destroy the session keys: nothing will be sent."""
        if self._finalizer.detach() is not None:
            _close(self._client, self._place, self._channel)


@final
class Pkcs11Session(Secret):
    """`scp.session.HostSession` over the HSM client. When the client ends, so does the session."""

    __slots__ = (
        "__weakref__",
        "_channel",
        "_client",
        "_finalizer",
        "_mac_length",
        "_place",
        "channel",
        "i",
        "is_open",
        "kvn",
        "level",
    )

    def __init__(
        self,
        client: HsmClient,
        place: Place,
        number: int,
        level: int,
        logical: int,
        answer: InitializeUpdateResponse,
    ) -> None:
        self._client = client
        self._place = place
        self._channel = number
        self._mac_length = len(answer.card_cryptogram)
        self.level = level
        self.channel = logical
        self.kvn = answer.kvn
        self.i = answer.i
        self.is_open = True
        self._finalizer = weakref.finalize(self, client.forget, place, number)

    @property
    def scp(self) -> int:
        """3."""
        return SCP03

    @property
    def sensitive_block(self) -> int:
        """16."""
        return 16

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Refused: a static key of a token encrypts nothing for a caller. Raises PolicyError."""
        raise PolicyError(
            f"{len(data)} bytes are not encrypted under a static key of the token",
            hint="new keys are wrapped by the keystore itself (wrap_for); send other secrets under the session's C-DEC",
        )

    @property
    def max_data(self) -> int:
        """Plain bytes that fit one short command at this level."""
        return room_for_data(self.level, self._mac_length)

    def wrap(self, command: Command) -> Command:
        """Protect one command. Raises SequenceError when closed, ValueError when too long, KeystoreLostError."""
        self._check()
        if not self.level & Level.C_MAC:
            return command
        if not command.extended and len(command.data) > self.max_data:
            raise ValueError(f"{len(command.data)} bytes do not fit one command; at this level {self.max_data} do")
        return self._ask(m.Wrap(self._channel, command), Command, delivered=False)

    def unwrap(self, response: Response) -> Response:
        """Check and open one answer. Raises AuthenticationError, after which it is closed; KeystoreLostError."""
        if not self.level & Level.R_MAC:
            return response
        self._check()
        try:
            return self._ask(m.Unwrap(self._channel, response), Response, delivered=True)
        except AuthenticationError:
            self._gone()
            raise

    def secure(self, command: Command) -> Generator[Command, Response, Response]:
        """Layer for `through`: one command under this session. A lost answer closes it."""
        try:
            response = yield self.wrap(command)
        except LinkError:
            self.close()
            raise
        return self.unwrap(response)

    def wrapped(self, ref: KeyRef, *, zeros: bool) -> tuple[m.WrappedKeyData, ...]:
        """New keys under this session's static K-DEK."""
        self._check()
        asked = m.PutKeys(self._channel, (ref,), zeros)
        (found,) = self._ask(asked, tuple[tuple[m.WrappedKeyData, ...], ...], delivered=False)
        return found

    @property
    def channel_number(self) -> int:
        """What the client calls its keys."""
        return self._channel

    @property
    def place(self) -> Place:
        """Where the client holds them."""
        return self._place

    def is_of(self, client: HsmClient) -> bool:
        """Whether that client holds its keys."""
        return self._client is client

    def close(self) -> None:
        """Destroy the session keys; every later use raises SequenceError."""
        if self.is_open:
            self._gone()
            _close(self._client, self._place, self._channel)

    def _ask(self, question: m.Question, kind: type[m.Got], *, delivered: bool) -> m.Got:
        try:
            return self._client.ask(question, kind, place=self._place, delivered=delivered)
        except (KeystoreLostError, KeystoreBusyError):
            self._gone()
            raise

    def _gone(self) -> None:
        self.is_open = False
        self._finalizer.detach()

    def _check(self) -> None:
        if not self.is_open:
            raise SequenceError("this secure channel is closed", hint="open a new session")


def _close(client: HsmClient, place: Place, channel: int) -> None:
    try:
        client.ask(m.Close(channel), type(None), place=place)
    except KeystoreLostError:
        return  # The token destroyed them with its client.
    except KeystoreBusyError:
        client.forget(place, channel)
