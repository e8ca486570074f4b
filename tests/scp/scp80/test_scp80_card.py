"""The receiving entity: recorded packets first, then everything that can be wrong with one, in order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.scp.level import Level
from keywright.scp.scp80.card import CHECKS, SILENCE, level_of
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import (
    BINDINGS,
    LAST_COUNTER,
    RESPONSE_UDH,
    SMS_PP,
    Binding,
    Check,
    CommandBody,
    CounterMode,
    PorMode,
    SecuredCommand,
    Spi,
    Status,
    meets,
)
from keywright.scp.scp80.packet import Header, Suite, command_suite, open_response, read_response, seal_command
from keywright.scp.scp80.profile import STRICT, Profile
from keywright.scp.transport import TransportSession
from support.over_the_air import OLD, Recorder, Rooms, binding_of, flipped, header_of, key_set_of, receiving
from support.vectors import Case, load, unhex

CASES = load("scp/ota_scp80_packets.json")
COMMANDS = [case for case in CASES if case["type"] == "command"]
RESPONSES = {case["name"]: case for case in CASES if case["type"] == "response"}


@pytest.mark.parametrize("case", COMMANDS, ids=[case["name"] for case in COMMANDS])
def test_a_recorded_command_is_executed_once(case: Case) -> None:
    at = header_of(case)
    rooms = Rooms({at.kvn: key_set_of(case)}, {bytes((at.kvn,)): at.cntr - 1 if at.cntr else 0})
    application = Recorder()
    card = receiving(rooms, application, at.tar, OLD, binding_of(case))
    card.handle(unhex(case["packet"]))
    assert application.got == [(unhex(case["secured_data"]), level_of(at.spi))]
    checked = at.spi.counter >= CounterMode.HIGHER
    assert rooms.commits == ([(bytes((at.kvn,)), at.cntr)] if checked else [])
    again = card.handle(unhex(case["packet"]))
    assert len(application.got) == (1 if checked else 2)
    assert (again.status == Status.COUNTER_LOW) is checked


PAIRS = [case for case in COMMANDS if case["name"] + " (response, with UDH)" in RESPONSES]


@pytest.mark.parametrize("case", PAIRS, ids=[case["name"] for case in PAIRS])
def test_a_card_gives_the_answer_that_the_recorded_card_gave(case: Case) -> None:
    due = RESPONSES[case["name"] + " (response, with UDH)"]
    at = header_of(case)
    card = receiving(Rooms({at.kvn: key_set_of(case)}), Recorder(unhex(due["secured_data"])), at.tar, OLD)
    assert RESPONSE_UDH + card.handle(unhex(case["packet"])).packet == unhex(due["packet"])


ERRORS = [case for case in CASES if case["name"].startswith("PoR ") and case["name"].endswith(", plain")]
KEYS = KeySet.aes(bytes(range(16)), bytes(range(16, 32)))
OWNER = b"\x01"


def sealed(
    spi: Spi | None = None,
    cntr: int = 7,
    data: bytes = b"data",
    tar: bytes = bytes(3),
    kic: int = 0x12,
    kid: int = 0x12,
) -> bytes:
    at = Header(Spi.of() if spi is None else spi, kic, kid, tar, cntr)
    return seal_command(at, data, command_suite(at, KEYS, OLD), SMS_PP)


PLAIN = Spi.of(Check.NONE, ciphered=False, counter=CounterMode.UNCHECKED, por_check=Check.NONE, por_ciphered=False)
CHECKED = Spi.of(ciphered=False, por_ciphered=False)


@pytest.mark.parametrize("case", ERRORS, ids=[case["name"] for case in ERRORS])
def test_errors_found_before_the_sender_is_known_are_answered_in_clear(case: Case) -> None:
    provoke = {
        "01": (flipped(sealed(CHECKED), -1 % (len(sealed(CHECKED)) * 8)), {1: KEYS}, 0, bytes(3)),
        "06": (sealed(CHECKED), {}, 0, bytes(3)),
        "09": (sealed(CHECKED), {1: KEYS}, 0, b"\1\2\3"),
        "0A": (sealed(CHECKED), {1: KEYS}, 0x16, bytes(3)),
    }
    if case["status"] == "05":
        packet = bytearray(sealed(CHECKED))
        packet[15] = 1  # PCNTR, where nothing is ciphered
        provoke["05"] = (bytes(packet), {1: KEYS}, 0, bytes(3))
    packet_, keys, msl, tar = provoke[case["status"]]
    application = Recorder(msl=msl)
    answer = receiving(Rooms(keys), application, tar).handle(packet_)
    assert RESPONSE_UDH + answer.packet == unhex(case["packet"])
    assert not application.got


def test_a_ciphered_counter_is_told_only_to_who_sent_it() -> None:
    packet = flipped(sealed(), 8 * 20)
    answer = receiving(Rooms({1: KEYS}), Recorder()).handle(packet)
    inner = open_response(read_response(answer.packet, SMS_PP), Suite(), SMS_PP)
    assert inner.status in (Status.CHECK_FAILED, Status.CIPHERING_ERROR)
    assert inner.cntr == 0


def test_an_old_card_protects_such_errors_too() -> None:
    old = Profile(errors_in_clear=False)
    answer = receiving(Rooms({1: KEYS}), Recorder(msl=0x1F), profile=old).handle(sealed(CHECKED))
    assert read_response(answer.packet, SMS_PP).header_length == 0x0A
    broken = flipped(sealed(CHECKED), 8 * 17)
    answer = receiving(Rooms({1: KEYS}), Recorder(), profile=old).handle(broken)
    assert read_response(answer.packet, SMS_PP).header_length == 0x12


@pytest.mark.parametrize("spi", [Spi.of(), CHECKED, Spi.of(counter=CounterMode.NEXT)], ids=["all", "CC", "next"])
def test_no_flipped_bit_is_executed_and_no_counter_moves(spi: Spi) -> None:
    packet = sealed(spi, cntr=1)
    for bit in range(len(packet) * 8):
        rooms, application = Rooms({1: KEYS}), Recorder()
        answer = receiving(rooms, application).handle(flipped(packet, bit))
        assert not application.got, bit
        assert not rooms.commits, bit
        assert answer.status in (None, 1, 5, 6, 9), bit
        assert (answer == SILENCE) == (answer.status is None)
    assert receiving(Rooms({1: KEYS}), Recorder()).handle(packet).status == Status.OK


def test_every_kind_of_flipped_bit_has_its_status() -> None:
    packet = sealed(CHECKED)
    fields: dict[int, set[int | None]] = {
        0: {None},
        2: {None, 1},
        3: {1, 5, 6},
        4: {1, 6},
        5: {1, 6},
        6: {1, 6},
        7: {9},
        8: {9},
        9: {9},
        10: {1},
        15: {5},
    }
    for byte, statuses in fields.items():
        for bit in range(8):
            answer = receiving(Rooms({1: KEYS}), Recorder()).handle(flipped(packet, byte * 8 + bit))
            assert answer.status in statuses, (byte, bit)


COUNTERS = [
    (CounterMode.HIGHER, 5, 4, Status.COUNTER_LOW),
    (CounterMode.HIGHER, 5, 5, Status.COUNTER_LOW),
    (CounterMode.HIGHER, 5, 6, Status.OK),
    (CounterMode.HIGHER, 5, LAST_COUNTER, Status.OK),
    (CounterMode.HIGHER, LAST_COUNTER, LAST_COUNTER, Status.COUNTER_BLOCKED),
    (CounterMode.NEXT, 5, 5, Status.COUNTER_LOW),
    (CounterMode.NEXT, 5, 6, Status.OK),
    (CounterMode.NEXT, 5, 7, Status.COUNTER_HIGH),
    (CounterMode.NEXT, LAST_COUNTER - 1, LAST_COUNTER, Status.OK),
    (CounterMode.NEXT, LAST_COUNTER, 1, Status.COUNTER_BLOCKED),
    (CounterMode.UNCHECKED, 5, 1, Status.OK),
    (CounterMode.NONE, LAST_COUNTER, 0, Status.OK),
]


@pytest.mark.parametrize(("mode", "stored", "received", "status"), COUNTERS)
def test_counters(mode: CounterMode, stored: int, received: int, status: Status) -> None:
    rooms, application = Rooms({1: KEYS}, {OWNER: stored}), Recorder()
    answer = receiving(rooms, application, profile=OLD).handle(sealed(Spi.of(counter=mode), received))
    assert answer.status == status
    assert bool(application.got) == (status == Status.OK)
    commits = status == Status.OK and mode >= CounterMode.HIGHER
    assert rooms.commits == ([(OWNER, received)] if commits else [])


def test_the_counter_is_committed_before_the_data_is_executed() -> None:
    rooms = Rooms({1: KEYS})

    class Looking(Recorder):
        def receive(self, data: bytes, session: TransportSession, /) -> bytes:
            assert rooms.commits == [(OWNER, 7)]
            return super().receive(data, session)

    application = Looking()
    receiving(rooms, application).handle(sealed())
    assert application.got


def test_a_counter_may_belong_to_the_application() -> None:
    rooms = Rooms({1: KEYS})
    receiving(rooms, Recorder(), profile=Profile(counter_per="application")).handle(sealed())
    assert rooms.commits == [(bytes(3), 7)]


@pytest.mark.parametrize(("stored", "commits"), [(5, [(OWNER, 7)]), (7, []), (9, [])])
def test_mode_01_stores_only_where_the_profile_says_so_and_never_less(
    stored: int, commits: list[tuple[bytes, int]]
) -> None:
    spi = Spi.of(counter=CounterMode.UNCHECKED)
    for profile, due in (
        (Profile(aes_needs_counter=False), []),
        (Profile(aes_needs_counter=False, unchecked_stores=True), commits),
    ):
        rooms = Rooms({1: KEYS}, {OWNER: stored})
        assert receiving(rooms, Recorder(), profile=profile).handle(sealed(spi)).status == Status.OK
        assert rooms.commits == due


ALL_WRONG = [  # what is wrong, in the order of the checks; the packet and the card change bit by bit
    Status.TAR_UNKNOWN,
    Status.INSUFFICIENT_LEVEL,
    Status.SECURITY_ERROR,
    Status.CHECK_FAILED,
    Status.COUNTER_LOW,
]


@pytest.mark.parametrize("first", range(len(ALL_WRONG) + 1))
def test_the_first_fault_in_the_order_of_checks_is_the_answer(first: int) -> None:
    wrong = [number >= first for number in range(len(ALL_WRONG))]
    packet = sealed(CHECKED)
    if wrong[3]:
        packet = flipped(packet, len(packet) * 8 - 1)
    rooms = Rooms({} if wrong[2] else {1: KEYS}, {OWNER: 9 if wrong[4] else 0})
    application = Recorder(msl=0x16 if wrong[1] else 0x12)
    card = receiving(rooms, application, b"\1\1\1" if wrong[0] else bytes(3))
    status = card.handle(packet).status
    assert status == ([*ALL_WRONG, Status.OK][first])
    assert bool(application.got) == (first == len(ALL_WRONG))


def test_the_order_of_checks_is_the_table() -> None:
    names = [check.__name__ for check in CHECKS]
    assert names == ["_known", "_level", "_parameters", "_opened", "_fresh", "_stored"]


@pytest.mark.parametrize("msl", range(0x20))
def test_the_minimum_security_level_is_held(msl: int) -> None:
    for check, ciphered, counter in itertools.product((Check.NONE, Check.CC), (False, True), (2, 3)):
        spi = Spi.of(check, ciphered=ciphered, counter=CounterMode(counter), por_check=Check.NONE, por_ciphered=False)
        application = Recorder(msl=msl)
        status = receiving(Rooms({1: KEYS}), application).handle(sealed(spi, cntr=1)).status
        enough = meets(spi.first, msl)
        assert (status == Status.OK) == enough == bool(application.got)
        assert enough or status == Status.INSUFFICIENT_LEVEL


@pytest.mark.parametrize("por", list(PorMode))
@pytest.mark.parametrize("fails", [False, True])
def test_an_answer_comes_when_it_was_asked_for(por: PorMode, *, fails: bool) -> None:
    spi = Spi.of(por=por)
    if por == PorMode.RESERVED:
        packet = flipped(flipped(sealed(), 4 * 8 + 6), 4 * 8 + 7)  # 01 -> 10
        assert receiving(Rooms({1: KEYS}), Recorder()).handle(packet).status == Status.CHECK_FAILED
        return
    answer = receiving(Rooms({1: KEYS}, {OWNER: 9 if fails else 0}), Recorder()).handle(sealed(spi))
    assert bool(answer.packet) == (por == PorMode.ALWAYS or (fails and por == PorMode.ON_ERROR))
    assert answer.status == (Status.COUNTER_LOW if fails else Status.OK)


def test_an_answer_by_sms_submit_says_so() -> None:
    for by_submit in (False, True):
        answer = receiving(Rooms({1: KEYS}), Recorder()).handle(sealed(Spi.of(by_submit=by_submit)))
        assert answer.by_submit is by_submit


@pytest.mark.parametrize(
    ("spi", "level"),
    [
        (Spi.of(), Level.AUTHENTICATED | Level.C_MAC | Level.C_DEC),
        (CHECKED, Level.AUTHENTICATED | Level.C_MAC),
        (Spi.of(Check.RC), 0),
        (Spi.of(Check.NONE), 0),
        (PLAIN, 0),
    ],
)
def test_only_a_cryptographic_checksum_authenticates(spi: Spi, level: int) -> None:
    assert level_of(spi) == level


@pytest.mark.parametrize("at", list(BINDINGS.values()), ids=lambda at: at.name)
def test_every_binding_is_served_and_no_other(at: Binding) -> None:
    header = Header(Spi.of(), 0x12, 0x12, bytes(3), 7)
    packet = seal_command(header, b"data", command_suite(header, KEYS), at)
    for other in BINDINGS.values():
        application = Recorder(b"answer")
        answer = receiving(Rooms({1: KEYS}), application, binding=other).handle(packet)
        same = (other.command_identifier, other.wide) == (at.command_identifier, at.wide)
        assert bool(application.got) == same
        assert same or answer == SILENCE or answer.status in (1, 5, 6, 9)


@given(st.binary(max_size=60))
def test_any_bytes_are_answered_or_dropped(data: bytes) -> None:
    for profile in (STRICT, OLD):
        application = Recorder(msl=2)
        receiving(Rooms({1: KEYS}), application, profile=profile).handle(data)
        framed = receiving(Rooms({1: KEYS}), application, profile=profile).handle(SMS_PP.frame(b"", data))
        assert framed.status != Status.OK
        assert not application.got


def test_every_prefix_and_extension_of_a_packet_is_dropped() -> None:
    packet = sealed()
    for size in range(len(packet)):
        assert receiving(Rooms({1: KEYS}), Recorder()).handle(packet[:size]) == SILENCE
    assert receiving(Rooms({1: KEYS}), Recorder()).handle(packet + b"\0") == SILENCE


def test_padding_that_is_more_than_the_data_is_a_ciphering_error() -> None:
    at = Header(Spi.of(), 0x12, 0x12, bytes(3), 7)
    suite = command_suite(at, KEYS)
    head = CommandBody(0x15, at.spi.build(), 0x12, 0x12, bytes(3), b"").build()
    clear, data = SecuredCommand(7, 3, b"").build(), b"\0\0"
    before = SMS_PP.before(b"", len(head) + 16) + head
    packet = before + suite.encrypt(clear + suite.compute(before + clear + data) + data)
    application = Recorder()
    assert receiving(Rooms({1: KEYS}), application).handle(packet).status == Status.CIPHERING_ERROR
    assert not application.got
