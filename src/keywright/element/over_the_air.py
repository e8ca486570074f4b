"""A security domain managed from the air: what SCP80 packets and SCP81 scripts execute (TS 102 226 8, AmdB 3.3.3).

Scripts have a logical context of their own, which a reader's session never sees: another basic channel is in its place
while one of their commands runs. The domain takes commands with the session of the transport; an application that
the script selects gets none, and needs a secure channel of its own inside.
"""

from __future__ import annotations

from typing import Final, final

from keywright.element import interpreter
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.errors import DecodeError
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import SHORT_LE, Command, Response
from keywright.iso7816.channels import channel_of, is_secured
from keywright.iso7816.status import SW
from keywright.scp.transport import TransportSession

_OPENING: Final = frozenset(
    (Ins.INITIALIZE_UPDATE, Ins.EXTERNAL_AUTHENTICATE, Ins.INTERNAL_AUTHENTICATE, Ins.PERFORM_SECURITY_OPERATION)
)
_MOST_PARTS: Final = 256
_ASIDE: Final = 0x100
"""Where the reader's basic channel is meanwhile; no class byte has this number."""


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
        """Run one command, all of its answer at once. The domain opens no secure channel to itself (6985)."""
        if channel_of(command.cla) or command.ins == Ins.MANAGE_CHANNEL:
            return Response(b"", SW.CHANNEL_NOT_SUPPORTED)
        channel = self._channel
        if self._is_own():
            if command.ins in _OPENING:
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
