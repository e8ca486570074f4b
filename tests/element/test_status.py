"""GET STATUS and SET STATUS, and what a locked or terminated card still does."""

from __future__ import annotations

import pytest

from keywright.element.state import Kind, RegistryEntry, RegistryRecord
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.life_cycle import CARD_TRANSITIONS, DOMAIN_TRANSITIONS, CardState
from keywright.globalplatform.privileges import Privilege
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, OTHER_AID, EchoApplet, Session, Terminal, contents, element
from support.content import DOMAIN, INNER, ContentHost


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


class TestPages:
    """A card that tells at most two entries in one answer."""

    AIDS = tuple(bytes.fromhex(f"F06B7700000{number}") for number in range(1, 6))

    def prepared(self, **parameters: object) -> Session:
        return opened(page=2, applets=[EchoApplet(aid) for aid in self.AIDS], **parameters)

    @pytest.mark.parametrize("form", [0x00, 0x02])
    def test_a_long_list_comes_in_pages_with_6310_until_the_last(self, form: int) -> None:
        session = self.prepared()
        answers = [session(0x80, 0xF2, 0x40, form | next_, b"\x4f\x00") for next_ in (0, 1, 1)]
        assert [answer.sw for answer in answers] == [0x6310, 0x6310, 0x9000]
        data = b"".join(answer.data for answer in answers)
        assert [data.count(aid) for aid in self.AIDS] == [1] * 5
        assert session(0x80, 0xF2, 0x40, form | 1, b"\x4f\x00").sw == 0x6A88

    @pytest.mark.parametrize(
        ("p1", "p2", "data"), [(0x80, 0x03, b"\x4f\x00"), (0x40, 0x01, b"\x4f\x00"), (0x40, 0x03, b"\x4f\x01\xf0")]
    )
    def test_the_next_page_is_asked_as_the_first_was(self, p1: int, p2: int, data: bytes) -> None:
        session = self.prepared()
        assert session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00").sw == 0x6310
        assert session(0x80, 0xF2, p1, p2, data).sw == 0x6A88
        assert session(0x80, 0xF2, 0x40, 0x03, b"\x4f\x00").sw == 0x6A88

    def test_a_list_ends_with_its_session(self) -> None:
        session = self.prepared()
        session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00")
        assert session.terminal.authenticate()(0x80, 0xF2, 0x40, 0x03, b"\x4f\x00").sw == 0x6A88

    def test_without_a_page_size_a_page_is_what_fits_an_answer(self) -> None:
        memory = RamMemory()
        session = opened(memory=memory, applets=[])
        entries = RegistryRecord.parse(memory.load("registry") or b"").entries
        more = [RegistryEntry(Kind.APPLICATION, b"\xf0" + n.to_bytes(15), 7, domain=ISD) for n in range(1000)]
        memory.commit({"registry": RegistryRecord((*entries, *more)).build()})
        session.terminal.card.reset()
        session = session.terminal.authenticate()
        first = session(0x80, 0xF2, 0x40, 0x02, b"\x4f\x00", 0)
        rest = session(0x80, 0xF2, 0x40, 0x03, b"\x4f\x00", 0)
        assert (first.sw, rest.sw) == (0x6310, 0x9000)
        assert 0x7FC0 < len(first.data) <= 0x7FFF
        assert (first.data + rest.data).count(b"\x9f\x70") == 1000


class TestCardPrivileges:
    """A domain that is not the issuer's sets the card's state only as its privileges say."""

    def acting(self, privileges: Privilege, life_cycle: int) -> Session:
        terminal = Terminal(element(life_cycle=CardState.OP_READY))
        ContentHost(terminal.authenticate()).make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | privileges)
        issuer = terminal.authenticate()
        for state in (CardState.INITIALIZED, CardState.SECURED, CardState.CARD_LOCKED):
            if state <= life_cycle:
                assert issuer(0x80, 0xF0, 0x80, int(state)).sw == 0x9000
        terminal.select(DOMAIN)
        return terminal.authenticate()

    @pytest.mark.parametrize("privileges", [Privilege(0), Privilege.CARD_LOCK, Privilege.CARD_TERMINATE])
    @pytest.mark.parametrize("now", [CardState.OP_READY, CardState.INITIALIZED, CardState.SECURED])
    def test_each_transition_needs_its_privilege(self, privileges: Privilege, now: CardState) -> None:
        needed = {CardState.CARD_LOCKED: Privilege.CARD_LOCK, CardState.TERMINATED: Privilege.CARD_TERMINATE}
        for new in CardState:
            session = self.acting(privileges, now)
            allowed = (now, new) in CARD_TRANSITIONS and new in needed and needed[new] in privileges
            assert session(0x80, 0xF0, 0x80, int(new)).sw == (0x9000 if allowed else 0x6985), (now, new)

    def test_a_final_application_that_may_lock_unlocks_and_one_that_may_not_does_not(self) -> None:
        final = Privilege.FINAL_APPLICATION
        for privileges, sw in ((final | Privilege.CARD_LOCK, 0x9000), (final, 0x6985)):
            session = self.acting(privileges, CardState.CARD_LOCKED)
            assert session(0x80, 0xF0, 0x80, CardState.SECURED).sw == sw

    def test_the_issuer_itself_needs_the_privileges_too(self) -> None:
        session = opened(life_cycle=CardState.SECURED, privileges=bytes.fromhex("804000"))
        assert session(0x80, 0xF0, 0x80, CardState.CARD_LOCKED).sw == 0x6985
        assert session(0x80, 0xF0, 0x80, CardState.TERMINATED).sw == 0x6985


class TestDomainLife:
    def prepared(self) -> Session:
        session = opened()
        ContentHost(session).make_domain(DOMAIN)
        return session

    def test_it_takes_the_transitions_of_the_table_and_no_other(self) -> None:
        """From above; a lock and its removal go by bit b8 alone, the state under it is kept (GPCS 11.10)."""
        ways: dict[int, list[int]] = {0x07: [], 0x0F: [0x0F], 0x87: [0x80], 0x8F: [0x0F, 0x80]}
        for old, way in ways.items():
            for asked in range(256):
                session = self.prepared()
                for step in way:
                    assert session(0x80, 0xF0, 0x40, step, DOMAIN).sw == 0x9000
                toggles = (old ^ asked) & 0x80
                allowed = toggles or (old, asked) in DOMAIN_TRANSITIONS
                if allowed or asked in (0x00, 0x03, 0x07, 0x0F, 0x1F, 0x83, 0x8F):
                    assert session(0x80, 0xF0, 0x40, asked, DOMAIN).sw == (0x9000 if allowed else 0x6985)
                    expected = old ^ 0x80 if toggles else asked if allowed else old
                    listed = session(0x80, 0xF2, 0x40, 0x00, b"\x4f\x06" + DOMAIN).data
                    assert listed[7] == expected

    def test_it_makes_itself_personalised_and_locks_itself_but_never_unlocks(self) -> None:
        session = self.prepared()
        session.terminal.select(DOMAIN)
        own = session.terminal.authenticate()
        assert own(0x80, 0xF0, 0x40, 0x0F, DOMAIN).sw == 0x9000
        assert own(0x80, 0xF0, 0x40, 0x80, DOMAIN).sw == 0x9000
        assert own(0x80, 0xF0, 0x40, 0x0F, DOMAIN).sw == 0x6982
        assert session.terminal.select(DOMAIN).sw == 0x6A82

    def test_the_global_lock_privilege_locks_what_belongs_to_others(self) -> None:
        for privileges, sw in ((Privilege.GLOBAL_LOCK, 0x9000), (Privilege(0), 0x6985)):
            session = opened()
            ContentHost(session).make_domain(DOMAIN, Privilege.SECURITY_DOMAIN | privileges)
            session.terminal.select(DOMAIN)
            assert session.terminal.authenticate()(0x80, 0xF0, 0x40, 0x80, ECHO_AID).sw == sw

    def test_a_domain_and_all_below_it_are_locked_and_unlocked_together(self) -> None:
        session = self.prepared()
        ContentHost(session).make_domain(INNER)
        ContentHost(session).run(content.extradite(ECHO_AID, INNER))
        ContentHost(session).run(content.extradite(INNER, DOMAIN))
        terminal = session.terminal
        assert session(0x80, 0xF0, 0x60, 0x80, DOMAIN).sw == 0x9000
        assert [terminal.select(aid).sw for aid in (DOMAIN, INNER, ECHO_AID)] == [0x6A82] * 3
        assert terminal.select(OTHER_AID).sw == 0x9000
        terminal.select()
        session = terminal.authenticate()
        assert session(0x80, 0xF0, 0x60, 0x80, DOMAIN).sw == 0x6985
        assert session(0x80, 0xF0, 0x60, 0x00, DOMAIN).sw == 0x9000
        assert [terminal.select(aid).sw for aid in (DOMAIN, INNER, ECHO_AID)] == [0x9000] * 3

    @pytest.mark.parametrize("aid", [ECHO_AID, ISD, INNER])
    def test_only_a_supplementary_domain_is_locked_with_what_is_below(self, aid: bytes) -> None:
        assert self.prepared()(0x80, 0xF0, 0x60, 0x80, aid).sw == 0x6A88


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
