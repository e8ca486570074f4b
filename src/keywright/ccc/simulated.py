"""A device alone, as whatever speaks APDUs sees it: without an element around its applet.

It does what an element does for an applet: answers leave in parts, and what a command writes is kept as a whole when
its status word is 9000, before the answer leaves. Commands do not come in parts: none is longer than one APDU.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, final

from keywright.aliro.credential import Records
from keywright.aliro.simulated import WholeRecords
from keywright.errors import DecodeError, StoreError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.delivery import Delivery
from keywright.iso7816.layers import GET_RESPONSE
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.store.memory import Memory


class Failing(Protocol):
    """A session that can be ended."""

    def fail(self) -> None:
        """Forget everything."""
        ...


S = TypeVar("S", bound=Failing)


class Applet(Protocol[S]):
    """What is simulated: `device.DigitalKey`, or that of another scheme."""

    def begin(self) -> S:
        """A session in which nothing was selected."""
        ...

    def process(self, command: Command, session: S, records: Records, /) -> Response:
        """Handle one whole command."""
        ...


@final
class SimulatedDigitalKey(Generic[S]):
    """A `Device` with a memory."""

    def __init__(self, applet: Applet[S], memory: Memory) -> None:
        """memory: what `ccc.records` describes."""
        self._applet = applet
        self.records = WholeRecords(memory)
        """For what happens at the device itself: a password is entered, a key shared; `commit` it."""
        self.reset()

    @property
    def atr(self) -> bytes:
        """None: it is met over a field or over Bluetooth."""
        return b""

    @property
    def session(self) -> S:
        """What is under way."""
        return self._session

    def reset(self) -> None:
        """The field is lost: the session is over, atomic sessions of mailboxes are rolled back."""
        self._session = self._applet.begin()
        self._delivery = Delivery(character_level=False)
        self.records.drop()

    def handle(self, request: bytes, /) -> bytes:
        """The answer to one command APDU; what it changed is durable on return."""
        try:
            return self._take(Command.parse(request))
        except DecodeError:
            sw = SW.WRONG_LENGTH
        except Refusal as refused:
            sw = refused.sw
        self._session.fail()
        return sw.to_bytes(2)

    def _take(self, command: Command) -> bytes:
        if (command.cla, command.ins) == (0, GET_RESPONSE):
            return self._delivery.more(command)
        self._delivery.drop()
        return self._delivery.send(command, self._answer(command))

    def _answer(self, command: Command) -> Response:
        answer = self._applet.process(command, self._session, self.records)
        if answer.sw != SW.OK:
            self.records.drop()
            return answer
        try:
            self.records.commit()
        except StoreError:
            self.records.drop()
            self._session.fail()
            return Response(b"", SW.MEMORY_FAILURE)
        return answer
