"""Life cycles, channels and the registry from outside."""

from __future__ import annotations

import pytest

from keywright.errors import PolicyError, StatusError, WireError
from keywright.globalplatform.dialogues.channels import close_logical_channel, open_logical_channel
from keywright.globalplatform.dialogues.registry import read_registry
from keywright.globalplatform.dialogues.states import (
    bring_card_to,
    lock_application,
    lock_card,
    lock_domain_with_applications,
    make_personalized,
    set_application_state,
    terminate_card,
    unlock_application,
    unlock_card,
)
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import ApplicationEntry
from support.scripts import refused, sent, talk

AID = bytes.fromhex("0102030405060708")
ASK_CARD = "80F28002024F0000"
ASK = "80F240020A4F08010203040506070800"


def card(state: int) -> str:
    return f"E30E4F08A0000001510000009F7001{state:02X}9000"


def application(state: int, privileges: str = "000000", aid: str = "0102030405060708") -> str:
    body = f"4F{len(aid) // 2:02X}{aid}9F7001{state:02X}C5{len(privileges) // 2:02X}{privileges}"
    return f"E3{len(body) // 2:02X}{body}"


# ---- the card ---------------------------------------------------------------------------------------------------


def test_a_card_is_secured_through_every_state_between() -> None:
    steps, commands = talk(bring_card_to(CardState.SECURED), [card(0x01), "9000", "9000"])
    assert steps == (0x07, 0x0F)
    assert commands == [ASK_CARD, "80F08007", "80F0800F"]


def test_a_card_that_is_there_already_is_left_alone() -> None:
    assert talk(bring_card_to(CardState.SECURED), [card(0x0F)]) == ((), [ASK_CARD])


@pytest.mark.parametrize(("old", "new"), [(0x0F, 0x07), (0xFF, 0x0F), (0x07, 0x01)])
def test_a_state_that_no_way_leads_to_is_not_sent(old: int, new: int) -> None:
    assert isinstance(refused(bring_card_to(new), [card(old)]), PolicyError)


def test_several_steps_can_be_forbidden() -> None:
    assert isinstance(refused(bring_card_to(0x0F, through_states=False), [card(0x01)]), PolicyError)


def test_lock_unlock_and_terminate() -> None:
    assert sent(lock_card(), [card(0x0F), "9000"])[1:] == ["80F0807F"]
    assert sent(unlock_card(), [card(0x7F), "9000"])[1:] == ["80F0800F"]
    assert sent(terminate_card(), [card(0x0F), "9000"])[1:] == ["80F080FF"]
    assert isinstance(refused(unlock_card(), [card(0x0F)]), PolicyError)


# ---- applications and domains -----------------------------------------------------------------------------------


def test_an_application_is_locked_and_comes_back_to_its_state() -> None:
    assert talk(lock_application(AID), [application(0x0F) + "9000", "9000"]) == (
        0x0F,
        [ASK, "80F0408F080102030405060708"],
    )
    assert talk(unlock_application(AID), [application(0x8F) + "9000", "9000"]) == (
        0x0F,
        [ASK, "80F0400F080102030405060708"],
    )


@pytest.mark.parametrize("state", [0x03, 0x07, 0x0F])
def test_what_is_locked_is_not_locked_again(state: int) -> None:
    assert isinstance(refused(lock_application(AID), [application(state | 0x80) + "9000"]), PolicyError)
    assert isinstance(refused(unlock_application(AID), [application(state) + "9000"]), PolicyError)


@pytest.mark.parametrize("privileges", ["80", "800000"])
def test_a_domain_is_made_personalized_and_an_application_is_not(privileges: str) -> None:
    assert sent(make_personalized(AID), [application(0x07, privileges) + "9000", "9000"])[1:] == [
        "80F0400F080102030405060708"
    ]
    assert isinstance(refused(make_personalized(AID), [application(0x07) + "9000"]), PolicyError)
    assert isinstance(refused(make_personalized(AID), [application(0x03, privileges) + "9000"]), PolicyError)


def test_only_the_application_itself_leaves_selectable_for_a_state_of_its_own() -> None:
    assert isinstance(refused(set_application_state(AID, 0x17), [application(0x07) + "9000"]), PolicyError)


def test_an_aid_is_not_taken_for_a_longer_one_that_begins_with_it() -> None:
    longer = application(0x07, aid="010203040506070809")
    assert "no application" in str(refused(lock_application(AID), [longer + "9000"]))
    both = longer + application(0x07) + "9000"
    assert sent(lock_application(AID), [both, "9000"])[1:] == ["80F04087080102030405060708"]


def test_a_domain_is_locked_with_all_that_is_under_it() -> None:
    assert sent(lock_domain_with_applications(AID), ["9000"]) == ["80F06080080102030405060708"]
    assert sent(lock_domain_with_applications(AID, lock=False), ["9000"]) == ["80F06000080102030405060708"]


def test_a_refused_state_says_what_it_most_likely_means() -> None:
    error = refused(lock_card(), [card(0x0F), "6985"])
    assert isinstance(error, StatusError)
    assert "cannot follow the present one" in str(error)


def test_privileges_of_two_bytes_are_the_cards_fault() -> None:
    assert isinstance(refused(lock_application(AID), [application(0x07, "8000") + "9000"]), WireError)


# ---- channels ---------------------------------------------------------------------------------------------------


def test_the_card_chooses_a_channel_or_is_told() -> None:
    assert talk(open_logical_channel(), ["019000"]) == (1, ["0070000001"])
    assert talk(open_logical_channel(7), ["9000"]) == (7, ["0070000700"])
    assert talk(open_logical_channel(on=5), ["139000"]) == (19, ["4170000001"])


@pytest.mark.parametrize("answer", ["9000", "009000", "149000", "01029000"])
def test_a_channel_that_cannot_be_is_the_cards_fault(answer: str) -> None:
    assert isinstance(refused(open_logical_channel(), [answer]), WireError)


def test_a_channel_is_closed_from_itself_or_from_another() -> None:
    assert talk(close_logical_channel(1), ["9000"]) == (True, ["01708001"])
    assert talk(close_logical_channel(4, on=0), ["6200"]) == (False, ["00708004"])
    assert "6881" in str(refused(close_logical_channel(1), ["6881"]))


@pytest.mark.parametrize("number", [-1, 20])
def test_a_channel_beyond_19_is_a_mistake(number: int) -> None:
    with pytest.raises(ValueError, match="logical channels"):
        talk(open_logical_channel(number), [])
    with pytest.raises(ValueError, match="logical channels"):
        talk(close_logical_channel(number), [])


# ---- the registry -----------------------------------------------------------------------------------------------

FILE = "E3194F0501020304059F700101CE020100CC08A000000151000000"


def test_the_registry_is_read_in_three_parts() -> None:
    found, commands = talk(read_registry(), [card(0x0F), application(0x07) + "9000", FILE + "9000"])
    assert commands == [ASK_CARD, "80F24002024F0000", "80F21002024F0000"]
    assert found.issuer_domain is not None
    assert found.issuer_domain.life_cycle == 0x0F
    assert [entry.aid for entry in found.applications] == [AID]
    assert found.packages == ((bytes.fromhex("0102030405"), b"\x01\x00"),)
    assert not found.legacy


def test_a_card_that_knows_no_tags_is_asked_in_the_old_format() -> None:
    answers = ["6A86", "08A0000001510000000F9E9000", "0801020304050607080700" + "9000", "6A88"]
    found, commands = talk(read_registry(), answers)
    assert commands == [ASK_CARD, "80F28000024F0000", "80F24000024F0000", "80F21000024F0000"]
    assert found.legacy
    assert found.applications == (ApplicationEntry(AID, 0x07, b"\0"),)


def test_a_card_that_lists_no_modules_is_asked_for_files() -> None:
    found, commands = talk(read_registry(), [card(0x0F), "6A88", "6A86", FILE + "9000"])
    assert commands[2:] == ["80F21002024F0000", "80F22002024F0000"]
    assert len(found.load_files) == 1


@pytest.mark.parametrize("answers", [["6982"], [card(15), "6982"], [card(15), "6A88", "6982"]])
def test_any_other_refusal_of_the_registry_ends_it(answers: list[str]) -> None:
    assert isinstance(refused(read_registry(), answers), StatusError)
