"""The state table: whatever it does not list is refused as it says, and changes nothing."""

from __future__ import annotations

from typing import NamedTuple, cast

import pytest

from keywright.element.table import RULES, TABLE, State, refusal
from keywright.globalplatform.life_cycle import CardState
from keywright.iso7816.apdu import Command
from keywright.scp.session import CardSession
from keywright.store import RamMemory
from support.cards import HOST_CHALLENGE, Session, Terminal, contents, element

LIFE = {State.TERMINATED: CardState.TERMINATED} | {
    state: CardState.CARD_LOCKED if "LOCKED" in state.name else CardState.OP_READY
    for state in State
    if state != State.TERMINATED
}
TRANSPORT = (0xC0,)


class Situation(NamedTuple):
    memory: RamMemory
    terminal: Terminal
    session: Session | None


class Known:
    """A session of somebody who has proven nothing: the card end of SCP03 with a lower claim."""

    def __init__(self, session: CardSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> object:
        return 0 if name == "authentication" else getattr(self._session, name)


def situation(state: State) -> Situation:
    memory = RamMemory()
    terminal = Terminal(element(memory=memory, life_cycle=LIFE[state]))
    session = None
    if state.name.endswith("CHALLENGED"):
        assert terminal.initialize_update().sw == 0x9000
    if state.name.endswith("AUTHENTICATED"):
        session = terminal.authenticate()
    if state.name.endswith("UNAUTHENTICATED"):
        channel = terminal.card._card.channels[0]
        assert channel.session is not None
        channel.session = cast("CardSession", Known(channel.session))
    return Situation(memory, terminal, session)


def is_unknown(ins: int) -> bool:
    """Whether this element, which offers SCP03 alone, does not know the instruction."""
    return ins not in RULES or RULES[ins].optional


def send(here: Situation, ins: int, data: bytes) -> int:
    """The instruction in a class that it allows, protected as the state asks for."""
    rule = RULES.get(ins)
    command = Command(0x80 if rule is None or rule.gp else 0x00, ins, 0x00, 0x00, data)
    if here.session is not None and not (rule and rule.bare):
        command = here.session.host.wrap(command)
    return here.terminal.exchange(command).sw


@pytest.mark.parametrize("data", [b"", HOST_CHALLENGE], ids=["without data", "with data"])
@pytest.mark.parametrize("state", State, ids=[state.name for state in State])
def test_every_instruction_that_is_not_listed_is_refused_and_changes_nothing(state: State, data: bytes) -> None:
    for ins in range(256):
        if (state, ins) in TABLE or ins in TRANSPORT:
            continue
        here = situation(state)
        before = contents(here.memory, counters=False)
        sw = send(here, ins, data)
        assert sw == (0x6D00 if is_unknown(ins) else refusal(state, ins)), f"{state.name} {ins:02X}"
        assert contents(here.memory, counters=False) == before
        if here.session is not None:
            assert here.session(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000


@pytest.mark.parametrize("state", State, ids=[state.name for state in State])
def test_every_instruction_that_is_listed_is_not_refused_for_the_state(state: State) -> None:
    listed = [ins for known, ins in TABLE if known == state]
    assert listed
    for ins in listed:
        if not is_unknown(ins):
            assert send(situation(state), ins, HOST_CHALLENGE) not in (0x6982, 0x6D00, 0x6E00) or ins == 0x82


@pytest.mark.parametrize("state", State, ids=[state.name for state in State])
def test_steps_of_protocols_that_are_not_offered_are_unknown_in_every_state(state: State) -> None:
    for ins in (known for known, rule in RULES.items() if rule.optional):
        assert send(situation(state), ins, HOST_CHALLENGE) == 0x6D00


def test_refusals_say_whether_authentication_would_help() -> None:
    assert refusal(State.IDLE, 0xD8) == 0x6982
    assert refusal(State.CHALLENGED, 0xF2) == 0x6982
    assert refusal(State.LOCKED, 0xF0) == 0x6982
    assert refusal(State.LOCKED, 0xD8) == 0x6985
    assert refusal(State.UNAUTHENTICATED, 0xD8) == 0x6982
    assert refusal(State.IDLE, 0x82) == 0x6985
    assert refusal(State.TERMINATED, 0x50) == 0x6985
    assert refusal(State.TERMINATED, 0xA4) == 0x6A81


def test_the_table_names_functions_and_only_known_instructions() -> None:
    assert {ins for _, ins in TABLE} == set(RULES)
    assert all(callable(entry.function) for entry in TABLE.values())
