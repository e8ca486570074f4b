"""A dialogue with nodes over a stack, as one endpoint: each question is sent until it is answered.

Frames are network PDUs. Time is the endpoint's; the same conversation runs in virtual time and on a radio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Generic, TypeAlias, TypeVar, final

import msgspec

from keywright.errors import DecodeError, KeywrightError, LinkError
from keywright.mesh.models import configuration as c
from keywright.mesh.models.configuration_client import Ask, describe
from keywright.mesh.network.keyring import Keyring
from keywright.mesh.network.stack import Delivered, Received, Stack, StackEvent, Undelivered

Result = TypeVar("Result")


class Done(msgspec.Struct, Generic[Result], frozen=True):
    """The dialogue has ended with this."""

    result: Result


class Stopped(msgspec.Struct, frozen=True):
    """The dialogue has ended with an error."""

    error: KeywrightError


ConversationEvent: TypeAlias = Done[Result] | Stopped | StackEvent


@final
class Conversation(Generic[Result]):
    """Endpoint: ends with `Done` or `Stopped`; what the stack tells besides is passed on."""

    def __init__(
        self,
        stack: Stack,
        dialogue: Generator[Ask, c.Message, Result],
        now: float,
        *,
        keyring: Callable[[], Keyring] | None = None,
    ) -> None:
        """keyring(): the keys to ask with, taken anew before each question, for a dialogue that changes keys."""
        self.stack = stack
        self._dialogue = dialogue
        self._keyring = keyring
        self._ask: Ask | None = None
        self._again_at: float | None = None
        self._tries_left = 0
        self._sent: set[int] = set()
        self._events: list[ConversationEvent[Result]] = []
        self._go_on(lambda: next(dialogue), now)

    @property
    def is_over(self) -> bool:
        """Whether the dialogue has ended."""
        return self._ask is None

    def receive(self, data: bytes, now: float) -> None:
        """Take one network PDU."""
        self.stack.receive(data, now)
        self._turn(now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Network PDUs to send now."""
        self._turn(now)
        if self._again_at is not None and now >= self._again_at:
            self._try(now)
        frames = self.stack.outgoing(now)
        self._turn(now)
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = (self._again_at, self.stack.deadline())
        return min((time for time in times if time is not None), default=None)

    def events(self) -> Sequence[ConversationEvent[Result]]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _turn(self, now: float) -> None:
        for event in self.stack.events():
            match event:
                case Received() if self._takes(event, now):
                    pass
                case Delivered() | Undelivered() if event.number in self._sent:
                    # The timer goes on all the same: what was delivered may still be answered, or not.
                    self._sent.discard(event.number)
                case _:
                    self._events.append(event)

    def _takes(self, event: Received, now: float) -> bool:
        asked = self._ask
        if asked is None or event.app_index is not None or event.src != asked.target.address:
            return False
        try:
            answer = c.parse_message(event.message)
        except DecodeError:
            return False
        if not asked.is_answered_by(answer):
            return False
        self._go_on(lambda: self._dialogue.send(answer), now)
        return True

    def _go_on(self, step: Callable[[], Ask], now: float) -> None:
        self._ask, self._again_at = None, None
        try:
            self._ask = step()
        except StopIteration as stop:
            self._events.append(Done(stop.value))
        except KeywrightError as error:
            self._events.append(Stopped(error))
        else:
            self._tries_left = max(1, self._ask.target.patience.tries)
            # Sent by the next `outgoing`, so that a dialogue of many errors does not nest.
            self._again_at = now

    def _try(self, now: float) -> None:
        asked = self._ask
        if asked is None:
            return
        target = asked.target
        if not self._tries_left:
            silent = LinkError(
                f"{describe(asked.message)} to {target.address:04X} was not answered in "
                f"{target.patience.tries} tries of {target.patience.timeout_s:.0f} s",
                hint="is the node on, in reach, and still in this network?",
            )
            self._go_on(lambda: self._dialogue.throw(silent), now)
            return
        self._tries_left -= 1
        self._again_at = now + target.patience.timeout_s
        if self._keyring is not None:
            self.stack.keyring = self._keyring()
        try:
            message = c.build_message(asked.message)
            number = self.stack.send(message, target.address, now, device=target.address, net_index=target.net_index)
        except KeywrightError as error:
            self._go_on(lambda error=error: self._dialogue.throw(error), now)  # type: ignore[misc]  # bound early
        else:
            self._sent.add(number)
