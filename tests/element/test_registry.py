"""GET STATUS and SET STATUS, and what a locked or terminated card still does."""

from __future__ import annotations

import pytest

from keywright.globalplatform.life_cycle import CARD_TRANSITIONS, CardState
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, OTHER_AID, EchoApplet, Session, Terminal, contents, element


def opened(**parameters: object) -> Session:
    return Terminal(element(**({"applets": [EchoApplet(ECHO_AID), EchoApplet(OTHER_AID)]} | parameters))).authenticate()


class TestGetStatus:
    def test_the_issuer_domain_has_an_entry_with_life_cycle_and_privileges(self) -> None:
        answer = opened(life_cycle=CardState.SECURED)(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0)
        assert answer.data.hex() == "e3134f08a0000001510000009f70010fc5039c4e00"

    def test_applications_are_listed_with_their_domain(self) -> None:
        answer = opened()(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00", 0)
        entry = "e31b4f06{}9f700107c503000000cc08a000000151000000"
        assert answer.data.hex() == entry.format(ECHO_AID.hex()) + entry.format(OTHER_AID.hex())

    def test_the_old_form_is_length_aid_state_privilege(self) -> None:
        session = opened()
        assert session(0x80, 0xF2, 0x80, 0x00, b"\x4f\x00").data.hex() == "08a000000151000000019c"
        assert (
            session(0x80, 0xF2, 0x40, 0x00, b"\x4f\x00").data.hex()
            == "06f06b7700000107" + "00" + "06f06b7700000207" + "00"
        )

    def test_an_aid_or_its_beginning_filters(self) -> None:
        session = opened()
        assert session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x06" + OTHER_AID).data.count(b"\xe3") == 1
        assert session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x04" + OTHER_AID[:4]).data.count(b"\xe3") == 2
        assert session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x08" + ISD).sw == 0x6A88

    def test_a_tag_list_leaves_out_what_it_does_not_name(self) -> None:
        query = b"\x4f\x06" + ECHO_AID + bytes.fromhex("5C044F9F70C5")
        assert opened()(0x80, 0xF2, 0x40, 0x02, query).data.hex() == "e3114f06f06b770000019f700107c503000000"

    @pytest.mark.parametrize(("p1", "p2"), [(0x20, 0x02), (0x10, 0x02), (0x80, 0x03), (0x40, 0x01)])
    def test_where_there_is_nothing_it_is_6a88(self, p1: int, p2: int) -> None:
        assert opened()(0x80, 0xF2, p1, p2, b"\x4f\x00").sw == 0x6A88

    @pytest.mark.parametrize(("p1", "p2"), [(0x00, 0x02), (0xC0, 0x02), (0x80, 0x04), (0x01, 0x02)])
    def test_other_parameters_are_6a86(self, p1: int, p2: int) -> None:
        assert opened()(0x80, 0xF2, p1, p2, b"\x4f\x00").sw == 0x6A86

    @pytest.mark.parametrize("data", [b"", b"\x4f", b"\x4f\x05\x00", b"\x5c\x00"])
    def test_bad_criteria_are_6a80(self, data: bytes) -> None:
        assert opened()(0x80, 0xF2, 0x80, 0x02, data).sw == 0x6A80

    def test_it_needs_an_authenticated_session_of_any_level(self) -> None:
        session = opened()
        assert session.terminal.authenticate(0x00)(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").sw == 0x9000
        session.terminal.card.reset()
        assert session.terminal.sw("80F28002024F00") == 0x6982


class TestCardLife:
    @pytest.mark.parametrize("now", [state for state in CardState if state != CardState.TERMINATED])
    def test_it_takes_the_transitions_that_exist_and_no_other(self, now: CardState) -> None:
        for new in [*CardState, 0x00, 0x03, 0x8F]:
            memory = RamMemory()
            session = opened(life_cycle=now, memory=memory)
            answer = session(0x80, 0xF0, 0x80, int(new), ISD)
            allowed = (now, new) in CARD_TRANSITIONS
            assert answer.sw == (0x9000 if allowed else 0x6985)
            assert session.terminal.card.life_cycle == (new if allowed else now)
            assert element(memory=memory).life_cycle == session.terminal.card.life_cycle

    @pytest.mark.parametrize("p1", [0x00, 0x20, 0x10, 0xC0])
    def test_other_scopes_are_6a86(self, p1: int) -> None:
        assert opened()(0x80, 0xF0, p1, 0x07).sw == 0x6A86


class TestApplicationLife:
    def test_a_locked_application_is_listed_and_not_selectable_until_unlocked(self) -> None:
        memory = RamMemory()
        session = opened(memory=memory)
        assert session(0x80, 0xF0, 0x40, 0x80, ECHO_AID).sw == 0x9000
        assert session(0x80, 0xF2, 0x40, 0x00, b"\x4f\x06" + ECHO_AID).data[-2] == 0x87
        here = Terminal(element(memory=memory, applets=[EchoApplet()]))
        assert here.select(ECHO_AID).sw == 0x6A82
        assert here.authenticate()(0x80, 0xF0, 0x40, 0x00, ECHO_AID).sw == 0x9000
        assert here.select(ECHO_AID).sw == 0x9000

    def test_locking_twice_or_unlocking_what_is_not_locked_is_6985(self) -> None:
        session = opened()
        assert session(0x80, 0xF0, 0x40, 0x07, ECHO_AID).sw == 0x6985
        session(0x80, 0xF0, 0x40, 0x80, ECHO_AID)
        assert session(0x80, 0xF0, 0x40, 0x80, ECHO_AID).sw == 0x6985

    def test_an_unknown_application_is_6a88(self) -> None:
        assert opened()(0x80, 0xF0, 0x40, 0x80, ECHO_AID[:5]).sw == 0x6A88


class TestLockedCard:
    def locked(self, **parameters: object) -> Session:
        return opened(life_cycle=CardState.CARD_LOCKED, **parameters)

    def test_only_the_issuer_domain_is_selectable_and_with_a_warning(self) -> None:
        here = self.locked().terminal
        answer = here.select()
        assert (answer.sw, answer.data[:4].hex()) == (0x6283, "6f118408")
        assert here.select(ECHO_AID).sw == 0x6A81
        assert here.select(bytes(7)).sw == 0x6A82

    def test_no_channel_is_opened(self) -> None:
        here = self.locked().terminal
        assert here.sw("0070000001") == 0x6A81

    def test_it_is_unlocked_by_an_authenticated_host_and_does_nothing_else_for_it(self) -> None:
        memory = RamMemory()
        session = self.locked(memory=memory)
        before = contents(memory)
        for ins in (0xD8, 0xE4, 0xE2):
            assert session(0x80, ins, 0x90, 0x00, b"\xdf\x01\x01\x00").sw == 0x6985
        assert contents(memory) == before
        assert session(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00").sw == 0x9000
        assert session(0x80, 0xF0, 0x80, CardState.SECURED).sw == 0x9000
        assert session.terminal.select(ECHO_AID).sw == 0x9000

    def test_an_application_selected_before_the_lock_answers_6985(self) -> None:
        session = opened(life_cycle=CardState.SECURED)
        session.terminal.raw("00700001")
        other = Terminal(session.terminal.card, 1)
        other.select(ECHO_AID)
        assert other(0x80, 0x10).sw == 0x9000
        session(0x80, 0xF0, 0x80, CardState.CARD_LOCKED)
        assert other(0x80, 0x10).sw == 0x6985


class TestTerminatedCard:
    def test_the_command_that_terminates_is_answered_under_its_session_and_then_all_are_gone(self) -> None:
        session = opened()
        session.terminal.raw("00700001")
        other = Terminal(session.terminal.card, 1).authenticate()
        assert session(0x80, 0xF0, 0x80, CardState.TERMINATED).sw == 0x9000
        for one in (session, other):
            assert one.terminal.exchange(one.wrap(0x80, 0xCA, 0x00, 0xE0)).sw == 0x6982

    def test_only_get_data_is_left(self) -> None:
        session = opened()
        session(0x80, 0xF0, 0x80, CardState.TERMINATED)
        here = session.terminal
        assert here.raw("80CA9F7F00")[:3].hex() == "9f7f2a"
        assert here.initialize_update().sw == 0x6985
        assert here.select().sw == 0x6A81
        assert here.sw("0070000001") == 0x6A81
        assert here.sw("80F28002024F00") == 0x6985
        here.card.reset()
        assert here.initialize_update().sw == 0x6985
