"""Refusals name their likely cause; a key is told by what the card answered."""

from __future__ import annotations

import pytest

from keywright.errors import StatusError
from keywright.globalplatform.instructions import INSTRUCTIONS
from keywright.globalplatform.messages import Ins
from keywright.globalplatform.remedies import REMEDIES, demand, refusal, remedy, wrong_keys
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, meaning


@pytest.mark.parametrize(("ins", "sw"), REMEDIES)
def test_every_entry_is_of_a_command_we_know_and_says_more_than_the_status_word(ins: int, sw: int) -> None:
    assert ins in INSTRUCTIONS
    assert REMEDIES[ins, sw] != (meaning(sw).text, meaning(sw).hint)
    assert sw != SW.OK


def test_the_same_status_word_means_another_thing_to_another_command() -> None:
    causes = {remedy(ins, SW.CONDITIONS_NOT_SATISFIED).cause for ins in (Ins.INSTALL, Ins.DELETE, Ins.LOAD)}
    assert len(causes) == 3


def test_what_is_not_in_the_table_is_told_by_its_status_word() -> None:
    assert remedy(Ins.GET_DATA, 0x6985) == (meaning(0x6985).text, meaning(0x6985).hint)


def test_a_refusal_carries_cause_and_hint() -> None:
    command = Command(0x80, Ins.DELETE, 0, 0)
    error = refusal(command, 0x6985, "DELETE 0102")
    assert (error.sw, error.hint) == (0x6985, REMEDIES[Ins.DELETE, 0x6985].hint)
    assert "DELETE 0102: status 6985 (something on the card still uses it" in str(error)
    assert demand(command, Response(b"a"), "DELETE") == b"a"
    with pytest.raises(StatusError):
        demand(command, Response(b"a", 0x6310), "DELETE")


@pytest.mark.parametrize(
    ("asked", "answered", "test_set", "words"),
    [
        (0x01, 0x30, True, "the test key set, but the card answered with KVN 30: it probably has keys of its own"),
        (0x00, 0xFF, False, "KVN FF: it probably still has its initial keys"),
        (0x30, 0x31, False, "KVN 30 was asked for, but the card answered with KVN 31"),
        (0x00, 0x30, False, "is a diversification scheme missing"),
        (0x00, 0xFF, True, "does not match the keys of KVN FF"),
    ],
)
def test_wrong_keys_are_told_by_the_version_the_card_answered(
    asked: int, answered: int, words: str, *, test_set: bool
) -> None:
    found = wrong_keys(asked, answered, "KVN 01", is_test_set=test_set)
    assert words in found.cause
    assert "card keys detect" in found.hint
