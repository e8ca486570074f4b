"""An element that can be reset by blocking its keys, as a YubiKey can."""

from __future__ import annotations

from typing import Any

from keywright.element import SecureElement
from keywright.scp.scp03 import KeySet
from keywright.store import RamMemory
from support.cards import HOST_CHALLENGE, OWN, Terminal, contents, element

LIMIT = 3


def card(**parameters: Any) -> SecureElement:
    return element(resets=True, try_limit=LIMIT, **parameters)


def blocked(here: Terminal, kvn: int = 0) -> list[int]:
    """Status words of INITIALIZE UPDATE until the card says that the key is blocked."""
    words: list[int] = []
    while not words or words[-1] == 0x9000:
        words.append(here.initialize_update(kvn=kvn).sw)
    return words


def test_sessions_begun_and_not_opened_block_a_set_and_an_open_one_forgives() -> None:
    here = Terminal(card())
    for _ in range(LIMIT * 2):
        here.initialize_update()
        here.authenticate()
    assert blocked(here) == [0x9000] * LIMIT + [0x6983]


def test_the_last_set_that_is_blocked_brings_back_the_first_one() -> None:
    memory = RamMemory()
    here = Terminal(card(memory=memory))
    first = contents(memory, counters=False)
    here.authenticate().put_keys(0x30, OWN)
    assert here.initialize_update(kvn=0xFF).sw == 0x6A88
    blocked(here)
    assert contents(memory, counters=False) == first
    here.authenticate(keys=KeySet.gp_test(), kvn=0xFF)


def test_a_set_beside_others_only_goes() -> None:
    here = Terminal(card(initial_keys_stay=True))
    here.authenticate().put_keys(0x30, OWN)
    blocked(here, kvn=0x30)
    assert here.initialize_update(kvn=0x30).sw == 0x6A88
    here.authenticate(kvn=0xFF)
    blocked(here)
    here.authenticate(kvn=0xFF)


def test_a_challenge_does_not_outlive_the_key_it_was_for() -> None:
    here = Terminal(card())
    blocked(here)
    assert here(0x84, 0x82, 0x00, 0x00, HOST_CHALLENGE * 2).sw == 0x6985


def test_without_it_a_blocked_set_stays_blocked() -> None:
    memory = RamMemory()
    here = Terminal(element(try_limit=1, memory=memory))
    here.initialize_update()
    here(0x84, 0x82, 0x00, 0x00, HOST_CHALLENGE * 2)
    before = contents(memory)
    assert here.initialize_update().sw == 0x6983
    assert contents(memory) == before


def test_it_outlives_power() -> None:
    memory = RamMemory()
    here = Terminal(card(memory=memory))
    here.authenticate().put_keys(0x30, OWN)
    again = Terminal(element(memory=memory))
    blocked(again)
    again.authenticate(kvn=0xFF)
