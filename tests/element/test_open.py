"""What the OPEN answers before any application is asked, and how it selects one."""

from __future__ import annotations

import pytest

from keywright.iso7816.atr import Atr
from keywright.store import RamMemory
from support.cards import ECHO_AID, ISD, OTHER_AID, EchoApplet, Terminal, contents, element

FCI = bytes.fromhex("6F118408A000000151000000A5059F65020800")


def terminal(**parameters: object) -> Terminal:
    return Terminal(element(**parameters))


@pytest.mark.parametrize("raw", ["", "00", "00A404", "00A4040008A000", "80CA00000000", "8050000009FF"])
def test_bytes_that_are_no_command_are_6700(raw: str) -> None:
    assert terminal().raw(raw).hex() == "6700"


@pytest.mark.parametrize("cla", ["FF", "20", "3F", "A0", "BF"])
def test_a_class_that_cannot_be_is_6e00(cla: str) -> None:
    assert terminal().sw(f"{cla}CA006600") == 0x6E00


@pytest.mark.parametrize(
    ("cla", "ins"), [("80", "A4"), ("80", "70"), ("00", "50"), ("00", "F2"), ("00", "D8"), ("00", "82"), ("00", "E4")]
)
def test_a_known_instruction_in_the_other_class_is_6e00(cla: str, ins: str) -> None:
    assert terminal().sw(f"{cla}{ins}000000") == 0x6E00


@pytest.mark.parametrize("cla", ["01", "03", "40", "4F", "83", "C0", "CF"])
def test_a_channel_that_is_not_open_is_6881(cla: str) -> None:
    assert terminal().sw(f"{cla}CA006600") == 0x6881


@pytest.mark.parametrize("raw", ["800B000000", "00FE000000", "84EE0200", "80EC0000", "80220000", "002A0000"])
def test_an_unknown_instruction_is_6d00(raw: str) -> None:
    assert terminal().sw(raw) == 0x6D00


@pytest.mark.parametrize("cla", ["08", "0C", "88", "8C"])
def test_iso_secure_messaging_is_6882(cla: str) -> None:
    assert terminal().sw(f"{cla}CA006600") == 0x6882


@pytest.mark.parametrize("raw", ["04A4040000", "0470000001", "8450000008010203040506070800", "60A4040000"])
def test_select_manage_channel_and_initialize_update_take_no_secure_messaging(raw: str) -> None:
    here = terminal()
    here.raw("0070000400")
    assert here.sw(raw) == 0x6882


def test_an_element_has_the_issuer_domain_selected_after_reset() -> None:
    here = terminal(applets=[EchoApplet()])
    here.select(ECHO_AID)
    assert here.card.reset() == here.card.atr
    assert here.sw("80CA006600") == 0x9000


def test_the_default_atr_offers_t1_and_says_who_made_it() -> None:
    atr = Atr.parse(element().atr)
    assert atr.protocols == (1,)
    assert atr.historical.endswith(b"keywright")


@pytest.mark.parametrize("name", [b"", ISD, ISD[:5], ISD[:7]])
def test_select_finds_the_issuer_domain_by_nothing_its_aid_or_the_beginning_of_it(name: bytes) -> None:
    answer = terminal().select(name)
    assert (answer.data, answer.sw) == (FCI, 0x9000)


@pytest.mark.parametrize("name", [ISD + b"\0", ISD[:4], bytes.fromhex("A000000152"), ECHO_AID])
def test_select_of_what_is_not_there_is_6a82_and_changes_nothing(name: bytes) -> None:
    here = terminal()
    session = here.authenticate()
    assert here.select(name).sw == 0x6A82
    assert session(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000


@pytest.mark.parametrize(("p1", "p2"), [(0x00, 0x00), (0x02, 0x00), (0x04, 0x01), (0x04, 0x05), (0x04, 0x10)])
def test_select_by_anything_but_a_name_is_6a86(p1: int, p2: int) -> None:
    assert terminal()(0x00, 0xA4, p1, p2, ISD, 0).sw == 0x6A86


@pytest.mark.parametrize("p2", [0x04, 0x08])
def test_select_gives_the_fci_for_other_templates_too(p2: int) -> None:
    assert terminal()(0x00, 0xA4, 0x04, p2, ISD, 0) == terminal().select(ISD)


def test_select_without_wanting_an_answer_gets_none() -> None:
    assert terminal()(0x00, 0xA4, 0x04, 0x0C, ISD).data == b""


def test_select_next_walks_through_the_applications_that_match_and_then_says_6a82() -> None:
    here = terminal(applets=[EchoApplet(ECHO_AID), EchoApplet(OTHER_AID)])
    prefix = ECHO_AID[:5]
    assert here(0x00, 0xA4, 0x04, 0x00, prefix).data.endswith(ECHO_AID)
    assert here(0x00, 0xA4, 0x04, 0x02, prefix).data.endswith(OTHER_AID)
    assert here(0x00, 0xA4, 0x04, 0x02, prefix).sw == 0x6A82
    assert here(0x80, 0x10, 0, 0, b"still here").data.endswith(b"still here")
    assert here(0x00, 0xA4, 0x04, 0x02).sw == 0x6A82


def test_a_successful_select_ends_the_session_on_its_channel_only() -> None:
    here = terminal()
    assert here.raw("00700000" + "01").hex() == "019000"
    other = Terminal(here.card, 1)
    session, elsewhere = here.authenticate(), other.authenticate()
    here.select()
    assert here.exchange(session.wrap(0x80, 0xCA, 0x00, 0xE0)).sw == 0x6982
    assert elsewhere(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000


class TestManageChannel:
    def test_it_opens_nineteen_further_channels_each_with_the_issuer_domain(self) -> None:
        here = terminal()
        numbers = [here.raw("0070000001")[0] for _ in range(19)]
        assert numbers == list(range(1, 20))
        assert here.raw("0070000001").hex() == "6a81"
        assert all(Terminal(here.card, number)(0x80, 0xCA, 0x00, 0x66, le=0).sw == 0x9000 for number in numbers)

    def test_it_opens_a_given_channel_once(self) -> None:
        here = terminal()
        assert here.raw("00700007").hex() == "9000"
        assert here.raw("00700007").hex() == "6a86"
        assert here.raw("0070000001").hex() == "019000"

    def test_a_closed_channel_is_6881_and_closing_it_again_a_warning(self) -> None:
        here = terminal()
        here.raw("00700005")
        assert here.raw("00708005").hex() == "9000"
        assert here.raw("41CA006600").hex() == "6881"
        assert here.raw("00708005").hex() == "6200"

    def test_a_channel_may_close_itself_but_never_the_basic_one(self) -> None:
        here = terminal()
        here.raw("00700002")
        assert here.raw("02708000").hex() == "9000"
        assert here.raw("02CA006600").hex() == "6881"
        assert here.raw("00708000").hex() == "6a86"

    @pytest.mark.parametrize("raw", ["00700100", "00700014", "00708014", "00704000"])
    def test_other_parameters_are_6a86(self, raw: str) -> None:
        assert terminal().raw(raw).hex() == "6a86"

    def test_data_is_6700(self) -> None:
        assert terminal().raw("007000000101").hex() == "6700"

    def test_a_channel_opened_from_another_one_has_the_same_application(self) -> None:
        here = terminal(applets=[EchoApplet()])
        here.raw("00700001")
        other = Terminal(here.card, 1)
        other.select(ECHO_AID)
        assert here.raw("0170000001").hex() == "029000"
        assert Terminal(here.card, 2)(0x80, 0x10, data=b"x").data == b"\x80x"
        here.raw("0070000001")
        assert Terminal(here.card, 3)(0x80, 0x10, data=b"x").sw == 0x6D00

    def test_a_reset_closes_every_further_channel(self) -> None:
        here = terminal()
        here.raw("0070000001")
        here.card.reset()
        assert here.raw("01CA006600").hex() == "6881"


class TestSecureSessionsOnChannels:
    def test_each_channel_has_its_own_session_and_messages_do_not_cross(self) -> None:
        here = terminal()
        here.raw("00700003")
        here.raw("00700004")
        sessions = [Terminal(here.card, number).authenticate() for number in (0, 3, 4)]
        for _ in range(2):
            for session in sessions:
                assert session(0x80, 0xCA, 0x00, 0xE0).sw == 0x9000
        crossed = sessions[0].wrap(0x80, 0xCA, 0x00, 0xE0).encode()
        assert here.raw(bytes((0x87,)) + crossed[1:]).hex() == "6982"
        assert sessions[2](0x80, 0xCA, 0x00, 0xE0).sw == 0x9000

    def test_closing_a_channel_ends_its_session(self) -> None:
        here = terminal()
        here.raw("00700003")
        session = Terminal(here.card, 3).authenticate()
        here.raw("00708003")
        here.raw("00700003")
        assert here.exchange(session.wrap(0x80, 0xCA, 0x00, 0xE0)).sw == 0x6982


class TestFaults:
    def test_what_escapes_is_6f00_and_ends_every_session(self) -> None:
        seen: list[Exception] = []
        memory = RamMemory()
        here = terminal(memory=memory, applets=[EchoApplet()], on_fault=seen.append)
        here.raw("00700001")
        session = Terminal(here.card, 1).authenticate()
        here.select(ECHO_AID)
        before = contents(memory)
        assert here(0x80, 0x1A).sw == 0x6F00
        assert [str(error) for error in seen] == ["an applet with a fault"]
        assert contents(memory) == before
        assert here.exchange(session.wrap(0x80, 0xCA, 0x00, 0xE0)).sw == 0x6982

    def test_without_a_callback_it_is_6f00_all_the_same(self) -> None:
        here = terminal(applets=[EchoApplet()], on_fault=None)
        here.select(ECHO_AID)
        assert here(0x80, 0x1A).sw == 0x6F00
