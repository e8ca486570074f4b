"""An element answers any bytes, never faults, and without authentication nothing but counters can be changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keywright.iso7816.apdu import Command
from keywright.store import RamMemory
from support.cards import ECHO_AID, EchoApplet, Session, Terminal, contents, element

INSTRUCTIONS = bytes.fromhex("A4705082CAF2F0D8E4E2E6E8C0102A8822847A78")
EVERYTHING = ((0x02, 0x15), (0x10, 0x01), (0x11, 0x9B06))
"""Protocols besides SCP03."""
CLASSES = (0x00, 0x80, 0x84, 0x04, 0x90, 0x94, 0x01, 0x81, 0x85, 0x40, 0xC0, 0xE0, 0x0C, 0xFF)

commands = st.builds(
    Command,
    st.sampled_from(CLASSES) | st.integers(0, 255),
    st.sampled_from(INSTRUCTIONS) | st.integers(0, 255),
    st.sampled_from((0x00, 0x04, 0x80, 0x40, 0x33, 0xFF)) | st.integers(0, 255),
    st.sampled_from((0x00, 0x02, 0x66, 0xE0, 0x81)) | st.integers(0, 255),
    st.binary(max_size=40) | st.just(bytes(8)) | st.just(ECHO_AID),
    st.none() | st.integers(0, 255),
    st.booleans(),
).map(Command.encode)
conversations = st.lists(commands | st.binary(max_size=30), max_size=25)


@given(conversations)
def test_without_keys_no_conversation_faults_or_changes_more_than_counters(raws: list[bytes]) -> None:
    memory = RamMemory()
    card = element(memory=memory, protocols=EVERYTHING, rng=bytes)
    before = contents(memory, counters=False)
    for raw in raws:
        answer = card.handle(raw)
        assert len(answer) >= 2
        assert answer[-2] >> 4 in (6, 9)
    assert contents(memory, counters=False) == before
    card.reset()
    assert Terminal(card).authenticate().host.is_open


@given(st.lists(commands, max_size=12), st.sampled_from([0x00, 0x01, 0x33]))
def test_inside_a_session_no_conversation_faults(raws: list[bytes], level: int) -> None:
    card = element(applets=[EchoApplet()], initial_keys_stay=True, protocols=EVERYTHING, rng=bytes)
    here = Terminal(card)
    for raw in raws:
        if card.life_cycle == 0xFF:
            return
        card.reset()
        session: Session = here.authenticate(level, kvn=0xFF)
        plain = Command.parse(raw)
        data = plain.data[:200]
        session.terminal.exchange(session.host.wrap(Command(0x80, plain.ins, plain.p1, plain.p2, data, plain.le)))
