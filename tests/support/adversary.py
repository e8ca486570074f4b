"""Someone between host and card who drops, repeats and flips commands and answers by himself."""

from __future__ import annotations

from typing import Protocol

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from keywright.errors import AuthenticationError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.session import HostSession


class CardUnderAttack(Protocol):
    """A card end: what came through its session is in `received`, and it gives `answer` to each of them."""

    received: list[Command]
    answer: Response

    @property
    def session(self) -> object | None:
        """The open session, or None."""
        ...

    def __call__(self, command: Command, /) -> Response:
        """Answer; a failed check ends the session."""
        ...


class Adversary(RuleBasedStateMachine):
    """Whatever he does: the card accepts only what the host sent, in order and once; what the host takes for a good
    answer the card gave to that command.

    A subclass opens the session: its initializing rule sets `host` and `card`.
    """

    host: HostSession
    card: CardUnderAttack

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Command] = []
        self.wire: list[Command] = []

    def repeatable(self) -> list[Command]:
        """What he may send once more."""
        return self.wire

    @precondition(lambda self: self.host.is_open)
    @rule(data=st.binary(max_size=40), answer=st.binary(max_size=40))
    def honest(self, data: bytes, answer: bytes) -> None:
        """Let one exchange through."""
        self.card.answer = Response(answer)
        self.dropped(data)
        response = self.card(self.wire[-1])
        if response.sw != 0x9000:
            assert self.card.session is None
            self.host.close()
            return
        assert self.host.unwrap(response) == self.card.answer

    @precondition(lambda self: self.host.is_open)
    @rule(data=st.binary(max_size=40))
    def dropped(self, data: bytes) -> None:
        """Keep a command back."""
        self.sent.append(Command(0x80, 0xE2, 0, 0, data, 0))
        self.wire.append(self.host.wrap(self.sent[-1]))

    @precondition(lambda self: self.repeatable())
    @rule(pick=st.integers(min_value=0, max_value=50))
    def repeated(self, pick: int) -> None:
        """Send a command once more, or one that was kept back."""
        commands = self.repeatable()
        self.card(commands[pick % len(commands)])

    @precondition(lambda self: self.wire)
    @rule(pick=st.integers(min_value=0, max_value=50), bit=st.integers(min_value=0, max_value=300))
    def flipped(self, pick: int, bit: int) -> None:
        """Send a command with one bit changed."""
        command = self.wire[pick % len(self.wire)]
        if not command.data:
            return
        data = bytearray(command.data)
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        before = len(self.card.received)
        self.card(replace(command, data=bytes(data)))
        assert len(self.card.received) == before

    @precondition(lambda self: self.host.is_open)
    @rule(data=st.binary(max_size=40), forged=st.binary(max_size=40))
    def answered_by_another(self, data: bytes, forged: bytes) -> None:
        """Answer in the card's place."""
        self.dropped(data)
        with pytest.raises(AuthenticationError):
            self.host.unwrap(Response(forged))
        with pytest.raises(SequenceError):
            self.host.wrap(self.sent[-1])

    @invariant()
    def accepted_is_a_prefix_of_sent(self) -> None:
        """The card took what the host sent, in order and once."""
        if hasattr(self, "card"):
            assert self.card.received == self.sent[: len(self.card.received)]
