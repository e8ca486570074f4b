"""Host and element with somebody between them who drops, repeats, swaps, flips and replays.

Neither end ever takes a message that the other did not send at that place; a session that was touched is dead at the
end that noticed and useless at the other; counters never go back, and what was stored is what the host stored last.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keywright.errors import AuthenticationError
from keywright.iso7816.apdu import Command, Response
from keywright.store import RamMemory
from support.cards import Session, Terminal, element

levels = st.sampled_from([0x01, 0x03, 0x11, 0x13, 0x33])


class Conversation(RuleBasedStateMachine):
    """What the host knows, what the element has, and every secured command ever sent."""

    session: Session | None = None
    stored = b""
    number = 0
    seen_attempts = 0
    seen_sequence = 0

    @initialize()
    def meet(self) -> None:
        self.memory = RamMemory()
        self.card = element(memory=self.memory)
        self.terminal = Terminal(self.card)
        self.sent: list[Command] = []

    @rule(level=levels)
    def open(self, level: int) -> None:
        self.session = self.terminal.authenticate(level)

    @rule()
    def reset(self) -> None:
        self.card.reset()
        self.session = None

    def store(self) -> tuple[Session, Command, bytes]:
        """A secured STORE DATA of a value never used before; not yet sent."""
        assert self.session is not None
        self.number += 1
        value = self.number.to_bytes(4)
        command = self.session.wrap(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x04" + value)
        self.sent.append(command)
        return self.session, command, value

    def refused(self, command: Command) -> None:
        """The element refuses, and from then on it refuses the host too."""
        assert self.terminal.exchange(command).sw == 0x6982
        if self.session is not None:
            assert self.terminal.exchange(self.session.wrap(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00")).sw == 0x6982
        self.session = None

    @precondition(lambda self: self.session)
    @rule()
    def deliver(self) -> None:
        session, command, value = self.store()
        assert session.host.unwrap(self.terminal.exchange(command)).sw == 0x9000
        self.stored = value

    @precondition(lambda self: self.session)
    @rule()
    def lose_the_answer(self) -> None:
        _, command, value = self.store()
        assert self.terminal.exchange(command).sw == 0x9000
        self.stored = value

    @precondition(lambda self: self.session)
    @rule()
    def lose_the_command(self) -> None:
        self.store()
        _, command, _ = self.store()
        self.refused(command)

    @precondition(lambda self: self.session)
    @rule()
    def swap(self) -> None:
        _, first, _ = self.store()
        _, second, _ = self.store()
        assert self.terminal.exchange(second).sw == 0x6982
        self.refused(first)

    @precondition(lambda self: self.session)
    @rule(bit=st.integers(0, 10_000))
    def flip_in_the_command(self, bit: int) -> None:
        _, command, _ = self.store()
        data = bytearray(command.data)
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        self.refused(Command(command.cla, command.ins, command.p1, command.p2, bytes(data)))

    @precondition(lambda self: self.session)
    @rule(p1=st.integers(1, 255))
    def change_the_header(self, p1: int) -> None:
        _, command, _ = self.store()
        self.refused(Command(command.cla, command.ins, command.p1 ^ p1, command.p2, command.data))

    @precondition(lambda self: self.session)
    @rule()
    def strip_the_protection(self) -> None:
        self.store()
        self.refused(Command(0x80, 0xE2, 0x90, 0x00, b"\xdf\x01\x04ugly"))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 1000))
    def replay(self, which: int) -> None:
        self.refused(self.sent[which % len(self.sent)])

    @precondition(lambda self: self.session and self.session.host.level & 0x10)
    @rule(bit=st.integers(0, 10_000), status=st.booleans())
    def touch_the_answer(self, bit: int, *, status: bool) -> None:
        session, command, value = self.store()
        answer = self.terminal.exchange(command)
        self.stored = value
        data = bytearray(answer.data)
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            session.host.unwrap(Response(answer.data, 0x6283) if status else Response(bytes(data), answer.sw))
        assert not session.host.is_open
        self.session = None

    @invariant()
    def memory_holds_what_the_host_stored_last_and_counters_only_grow(self) -> None:
        assert (self.memory.load("data/DF01") or b"") == self.stored
        sequence = int.from_bytes((self.memory.load("counter/FF") or b"")[:4])
        assert sequence >= self.seen_sequence
        assert self.card.attempts >= self.seen_attempts
        self.seen_sequence, self.seen_attempts = sequence, self.card.attempts


TestConversation = Conversation.TestCase
