"""Scripts and their responses, compact and expanded, against those of other people's tools and cards."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp80 import compact, expanded
from keywright.scp.scp80.applications import TARGETS, Format, target
from keywright.scp.scp80.compact import (
    INSTRUCTIONS,
    P3,
    CompactResponse,
    Management,
    UnknownInstructionError,
    compact_commands,
    compact_string,
)
from keywright.scp.scp80.expanded import (
    CHAINING,
    EARLY_RESPONSE,
    ERROR_ACTION,
    IMMEDIATE_ACTION,
    PROACTIVE_SESSION,
    TRUNCATED,
    Chaining,
    Script,
    ScriptResponse,
    is_expanded,
)
from keywright.scp.scp80.profile import Profile
from keywright.scp.scp80.remote_management import RemoteManagement
from keywright.scp.transport import TransportSession
from support.messages import all_messages, check_message, parsed
from support.vectors import Case, load, unhex

CASES = load("scp/ota_remote_format.json")
SESSION = TransportSession(0x80, 0x83)


def cases(*starts: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["hex"].startswith(starts)]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


class Card:
    """An executor that answers from a list and keeps what it was asked."""

    def __init__(self, *answers: Response, always: Response | None = None) -> None:
        self.answers = list(answers)
        self.always = always
        self.ran: list[Command] = []
        self.started = 0

    def start(self) -> None:
        self.started += 1

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        assert session == SESSION
        self.ran.append(command)
        return self.always or self.answers[len(self.ran) - 1]


def application(card: Card, **settings: Any) -> RemoteManagement:
    defaults: dict[str, Any] = {"compact": False, "act": lambda _: True}
    return RemoteManagement(card, **(defaults | settings))


def keeping(actions: list[bytes]) -> Callable[[bytes], bool]:
    def act(action: bytes) -> bool:
        actions.append(action)
        return True

    return act


OK = Response(b"")


# ---- expanded -------------------------------------------------------------------------------------------------


@cases("AA0A", "AA14", "AA81CB", "AE", "AA07", "AA0D", "AA0C")
def test_a_command_script_is_read_and_written_as_recorded(case: Case) -> None:
    raw, due = unhex(case["hex"]), case["meaning"]
    script = Script.parse(raw)
    assert script.build() == raw
    assert script.indefinite == due.get("indefinite", False)
    if "commands" in due:
        assert [command.encode().hex().upper() for command in script.commands] == due["commands"]
    for tag, name in (
        (CHAINING, "script_chaining"),
        (IMMEDIATE_ACTION, "immediate_action"),
        (ERROR_ACTION, "error_action"),
    ):
        found = script.get(tag)
        assert (found.hex().upper() if found is not None else None) == due.get(name)
    again = Script.of(
        script.commands,
        chaining=Chaining(script.get(CHAINING)[0]) if script.get(CHAINING) else None,  # type: ignore[index]  # just seen
        immediate_action=script.get(IMMEDIATE_ACTION),
        error_action=script.get(ERROR_ACTION),
        indefinite=script.indefinite,
    )
    assert again == script


@cases("AA0A", "AA14", "AA81CB", "AE", "AA07", "AA0D8301", "AA0C")
def test_a_card_runs_a_recorded_script(case: Case) -> None:
    card = Card(always=OK)
    subject = application(card)
    if case["meaning"].get("script_chaining") in ("02", "03"):
        assert ScriptResponse.parse(subject.receive(unhex(case["hex"]), SESSION)).chaining == 1
        assert not card.ran
        subject.receive(Script.of([], chaining=Chaining.FIRST).build(), SESSION)
    response = ScriptResponse.parse(subject.receive(unhex(case["hex"]), SESSION))
    assert card.ran == list(Script.parse(unhex(case["hex"])).commands)
    assert response.responses == (OK,) * len(card.ran)
    assert response.indefinite == case["hex"].startswith("AE")


@cases("AB", "AF")
def test_a_response_script_is_read_and_written_as_recorded(case: Case) -> None:
    raw, due = unhex(case["hex"]), dict(case["meaning"])
    response = ScriptResponse.parse(raw)
    assert response.build() == raw
    assert [answer.encode().hex().upper() for answer in response.responses] == due.get("responses", [])
    assert response.truncated == due.get("truncated", False)
    assert response.indefinite == due.get("indefinite", False)
    found = (response.executed, response.bad_format, response.immediate_action, response.chaining)
    names = ("executed", "bad_format", "immediate_action_response", "script_chaining_response")
    assert found == tuple(due.get(name) for name in names)


def test_every_case_of_the_file_has_its_test() -> None:
    read_here = ("AA0", "AA14", "AA81CB", "AE", "AB", "AF", "A0A4", "016132", "016E00", "0A9000")
    elsewhere = ("EF22", "0100000100", "80EC")
    assert [case["name"] for case in CASES if not case["hex"].startswith(read_here + elsewhere)] == []


def case_of(hex_start: str) -> Case:
    return next(case for case in CASES if case["hex"].startswith(hex_start))


def test_a_card_answers_as_the_recorded_responses() -> None:
    one = Script.of([Command(0x00, 0xA4, 0, 4, b"\x3f\x00")]).build()
    assert application(Card(Response(b"", 0x6132))).receive(one, SESSION) == unhex("AB0780010123026132")
    two = Script.of([Command(0x00, 0xA4, 0, 4, b"\x3f\x00", 0), Command(0x00, 0xA4, 0, 4, b"\x2f\x00", 0)] * 2).build()
    card = Card(Response(b"\x6f\x21"), Response(b"", 0x6A82))
    assert application(card).receive(two, SESSION) == unhex("AB0D80010223046F21900023026A82")
    assert len(card.ran) == 2
    card = Card(Response(b"\x6f\x21"), Response(b"\xaa\xbb", TRUNCATED))
    assert application(card).receive(two, SESSION) == unhex("AB0F80010223046F2190002304AABB62F1")
    long = Card(Response(bytes(range(198))))
    assert application(long).receive(one, SESSION).hex().upper() == case_of("AB81CE")["hex"]
    chained = Script.of([], chaining=Chaining.FIRST).build()
    assert application(Card(), chaining=False).receive(chained, SESSION)[-3:] == unhex("830102")
    acting = Script.of([], immediate_action=PROACTIVE_SESSION).build()
    assert application(Card(), act=None).receive(acting, SESSION) == unhex("AB06800101810101")


@pytest.mark.parametrize(
    ("raw", "response"),
    [
        ("", "AB06800100900101"),
        ("00A40000", "AB06800100900101"),
        ("AA", "AB06800100900102"),
        ("AA05220580", "AB06800100900102"),
        ("AA022001", "AB06800100900102"),
        ("AA022000", "AB06800100900101"),
        ("AA0122", "AB06800100900103"),
        ("AA03228F00", "AB06800100900102"),
        ("AA0522048000", "AB06800100900102"),
        ("AA0A220480CA00008801002200", "AB06800100900102"),
        ("AA0A220480CA00008901002200", "AB06800100900102"),
        ("AE80", "AB06800100900102"),
        ("AA0383020100", "AB06800100900102"),
        ("AA04220222F2", "AB078001012302" + "6700"),
    ],
)
def test_what_is_wrong_with_a_script_is_said(raw: str, response: str) -> None:
    assert application(Card(always=OK)).receive(bytes.fromhex(raw), SESSION).hex().upper() == response


def test_what_ran_before_a_fault_is_counted_and_answered() -> None:
    raw = bytes.fromhex("AA0A220580CA000000" + "210122")
    answer = ScriptResponse.parse(application(Card(always=OK)).receive(raw, SESSION))
    assert (answer.executed, answer.responses, answer.bad_format) == (1, (OK,), 1)


@pytest.mark.parametrize(
    ("sw", "profile", "ends"),
    [
        (0x9000, Profile(), False),
        (0x6110, Profile(), False),
        (0x6283, Profile(), False),
        (0x63C2, Profile(), False),
        (0x6283, Profile(warnings_stop=True), True),
        (TRUNCATED, Profile(), True),
        (0x6A82, Profile(), True),
        (0x6F00, Profile(), True),
    ],
)
def test_a_script_ends_at_the_first_error(sw: int, profile: Profile, *, ends: bool) -> None:
    acted: list[bytes] = []
    card = Card(Response(b"", sw), OK)
    subject = application(card, act=keeping(acted), profile=profile)
    script = Script.of([Command(0x80, 0xCA, 0, 0x66, b"", 0)] * 2, error_action=b"\x01")
    answer = ScriptResponse.parse(subject.receive(script.build(), SESSION))
    assert len(card.ran) == len(answer.responses) == (1 if ends else 2)
    assert bool(acted) == (ends and sw != TRUNCATED)


def test_a_response_that_does_not_fit_is_cut_and_ends_the_script() -> None:
    card = Card(always=Response(bytes(100)))
    subject = application(card, limit=200)
    raw = subject.receive(Script.of([Command(0x80, 0xCA, 0, 0x66, b"", 0)] * 5).build(), SESSION)
    answer = ScriptResponse.parse(raw)
    assert len(raw) <= 200
    assert answer.truncated
    assert len(card.ran) == len(answer.responses) == 2


def test_a_response_of_indefinite_length_counts_only_where_the_profile_says_so() -> None:
    script = Script.of([Command(0x80, 0xCA, 0, 0x66, b"", 0)], indefinite=True).build()
    assert application(Card(OK)).receive(script, SESSION) == unhex("AF80230290000000")
    counting = application(Card(OK), profile=Profile(count_in_indefinite=True))
    assert counting.receive(script, SESSION) == unhex("AF8080010123029000" + "0000")


CHAIN = {
    (False, 0x01): None,
    (False, 0x11): None,
    (False, 0x02): 1,
    (False, 0x03): 1,
    (True, 0x01): None,
    (True, 0x11): None,
    (True, 0x02): None,
    (True, 0x03): None,
}


@pytest.mark.parametrize("is_open", [False, True])
def test_a_chain_of_scripts_takes_what_its_table_says_and_nothing_else(*, is_open: bool) -> None:
    for value in range(256):
        card = Card(always=OK)
        subject = application(card)
        if is_open:
            subject.receive(Script.of([], chaining=Chaining.FIRST).build(), SESSION)
        begun = card.started
        raw = Script(((CHAINING, bytes((value,))), (0x22, unhex("80CA006600")))).build()
        answer = ScriptResponse.parse(subject.receive(raw, SESSION))
        due = CHAIN.get((is_open, value), 3)
        assert answer.chaining == due
        assert len(card.ran) == (due is None)
        assert card.started - begun == (due is None and value in (0x01, 0x11))


def test_a_reset_forgets_a_chain_unless_it_was_to_be_kept() -> None:
    more = Script.of([], chaining=Chaining.MORE).build()
    for first, refused in ((Chaining.FIRST, 1), (Chaining.FIRST_KEPT, None)):
        subject = application(Card())
        subject.receive(Script.of([], chaining=first).build(), SESSION)
        subject.reset()
        assert ScriptResponse.parse(subject.receive(more, SESSION)).chaining == refused


def test_the_last_script_and_a_script_alone_end_a_chain() -> None:
    more = Script.of([], chaining=Chaining.MORE).build()
    for ending in (Script.of([], chaining=Chaining.LAST), Script.of([])):
        subject = application(Card())
        subject.receive(Script.of([], chaining=Chaining.FIRST).build(), SESSION)
        subject.receive(ending.build(), SESSION)
        assert ScriptResponse.parse(subject.receive(more, SESSION)).chaining == 1


@pytest.mark.parametrize("raw", ["8100", "81028300", "AA028100", "AA0481028300", "AA058103B30100"])
def test_a_trigger_is_no_action_and_no_script(raw: str) -> None:
    taken: list[bytes] = []
    subject = application(Card(), trigger=taken.append, act=None)
    subject.receive(bytes.fromhex(raw), SESSION)
    assert len(taken) == 1


@pytest.mark.parametrize("raw", ["AA03810181", "AA03810182"])
def test_an_action_is_no_trigger(raw: str) -> None:
    taken: list[bytes] = []
    acted: list[bytes] = []
    application(Card(), trigger=taken.append, act=keeping(acted)).receive(bytes.fromhex(raw), SESSION)
    assert not taken
    assert acted in ([PROACTIVE_SESSION], [EARLY_RESPONSE])


def test_some_cards_want_other_tags_for_commands() -> None:
    script = Script.of([Command(0x80, 0xCA, 0, 0x66, b"", 0)], comprehension_tags=True)
    assert script.build() == unhex("AA07A20580CA006600")
    card = Card(OK)
    application(card).receive(script.build(), SESSION)
    assert card.ran == list(script.commands)


@given(st.binary(max_size=40))
def test_a_card_answers_any_data(data: bytes) -> None:
    for compactly in (False, True):
        card = Card(always=Response(b"data"))
        answer = application(card, compact=compactly).receive(data, SESSION)
        if compactly:
            CompactResponse.parse(answer)
        else:
            ScriptResponse.parse(answer)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_script_or_refused(data: bytes) -> None:
    for raw in (data, b"\xaa" + bytes((len(data),)) + data, b"\xab" + bytes((len(data),)) + data):
        script, response = parsed(Script.parse, raw), parsed(ScriptResponse.parse, raw)
        assert script is None or Script.parse(script.build()) == script
        assert response is None or ScriptResponse.parse(response.build()) == response


# ---- compact --------------------------------------------------------------------------------------------------


@cases("A0A4")
def test_a_compact_string_is_cut_and_joined_as_recorded(case: Case) -> None:
    commands = list(compact_commands(unhex(case["hex"]), Management.FILES))
    assert [command.encode().hex().upper() for command in commands] == case["meaning"]["commands"]
    assert compact_string(commands, Management.FILES) == unhex(case["hex"])


@cases("016132", "016E00", "0A9000")
def test_a_compact_response_is_read_and_written_as_recorded(case: Case) -> None:
    response = CompactResponse.parse(unhex(case["hex"]))
    due = case["meaning"]
    assert (response.executed, response.sw, response.data) == (due["executed"], int(due["sw"], 16), unhex(due["data"]))
    assert response.build() == unhex(case["hex"])


def test_a_card_answers_a_compact_string_as_recorded() -> None:
    select = compact_string([Command(0x00, 0xA4, 0, 4, b"\x3f\x00")], Management.FILES)
    files = {"compact": True, "management": Management.FILES}
    assert application(Card(Response(bytes(0x32))), **files).receive(select, SESSION) == unhex("016132")
    assert application(Card(Response(b"", 0x6E00)), **files).receive(select, SESSION) == unhex("016E00")
    assert application(Card(always=OK), **files).receive(select * 10, SESSION) == unhex("0A9000")


def test_get_response_fetches_what_waits_and_nothing_twice() -> None:
    read = bytes.fromhex("00A40004023F00" + "00C0000002" + "00C0000002")
    card = Card(always=Response(b"\x62\x05"))
    answer = application(card, compact=True, management=Management.FILES).receive(read[:12], SESSION)
    assert CompactResponse.parse(answer) == CompactResponse(2, 0x9000, b"\x62\x05")
    answer = application(card, compact=True, management=Management.FILES).receive(read, SESSION)
    assert CompactResponse.parse(answer) == CompactResponse(3, 0x6985, b"")
    wrong = bytes.fromhex("A0A40000023F00" + "A0C0000010")
    answer = application(card, compact=True, management=Management.FILES).receive(wrong, SESSION)
    assert CompactResponse.parse(answer) == CompactResponse(2, 0x6C02, b"")
    answer = application(card, compact=True, management=Management.FILES).receive(wrong[:7], SESSION)
    assert CompactResponse.parse(answer).sw == 0x9F02


@pytest.mark.parametrize(("raw", "sw"), [("00A4", 0x6700), ("00A40004053F00", 0x6700), ("00010000023F00", 0x6D00)])
def test_a_compact_string_that_cannot_be_cut_ends_there(raw: str, sw: int) -> None:
    card = Card(always=OK)
    subject = application(card, compact=True, management=Management.FILES)
    answer = subject.receive(bytes.fromhex("00A40004023F00" + raw), SESSION)
    assert CompactResponse.parse(answer) == CompactResponse(2, sw, b"")
    assert len(card.ran) == 1


@pytest.mark.parametrize("management", list(Management))
def test_every_instruction_is_in_the_table_or_refused(management: Management) -> None:
    for ins in range(256):
        kind = INSTRUCTIONS[management].get(ins)
        raw = bytes((0x80, ins, 0, 0, 2, 0xAA, 0xBB))
        if kind is None:
            with pytest.raises(UnknownInstructionError):
                list(compact_commands(raw, management))
            with pytest.raises(ValueError, match="no place"):
                compact_string([Command(0x80, ins, 0, 0)], management)
        elif kind is P3.LC:
            assert list(compact_commands(raw, management)) == [Command(0x80, ins, 0, 0, b"\xaa\xbb")]
            with pytest.raises(ValueError, match="Lc"):
                compact_string([Command(0x80, ins, 0, 0, b"", 5)], management)
        else:
            assert next(compact_commands(raw, management)) == Command(0x80, ins, 0, 0, b"", 2)
            with pytest.raises(ValueError, match="Le"):
                compact_string([Command(0x80, ins, 0, 0, b"\xaa", 0)], management)


def test_f2_is_status_to_a_file_system_and_get_status_to_a_security_domain() -> None:
    assert INSTRUCTIONS[Management.FILES][0xF2] is P3.LE
    assert INSTRUCTIONS[Management.APPLICATIONS][0xF2] is P3.LC


def test_extended_length_has_no_place_in_the_compact_format() -> None:
    with pytest.raises(ValueError, match="extended"):
        compact_string([Command(0x80, 0xE2, 0, 0, bytes(300), None, True)], Management.APPLICATIONS)


# ---- which application, which format ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tar", "form"),
    [("000000", Format.COMPACT), ("B20100", Format.EXPANDED), ("B00011", Format.COMPACT), ("BFFF01", Format.OWN)],
)
def test_the_format_follows_from_the_tar(tar: str, form: Format) -> None:
    row = target(bytes.fromhex(tar))
    assert row is not None
    assert row.format is form


def test_targets_do_not_overlap_and_others_have_no_format() -> None:
    rows = sorted(TARGETS, key=lambda row: row.first)
    assert all(row.first <= row.last for row in rows)
    assert all(before.last < after.first for before, after in itertools.pairwise(rows))
    assert target(bytes.fromhex("C00203")) is None
    assert is_expanded(b"\xaa\x00")
    assert is_expanded(b"\xae\x80")
    assert not is_expanded(b"\xa0\xa4")


@pytest.mark.parametrize("cls", all_messages(compact))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_offsets_of_scripts_lie_in_their_data() -> None:
    for raw in ("AA0522", "AB05", "AF80", "AA81"):
        with pytest.raises(DecodeError) as error:
            expanded.content(bytes.fromhex(raw), 0xAA, 0xAE)
        assert 0 <= error.value.offset <= len(raw) // 2
