"""The sending entity: recorded packets first, then against our card, with losses, replays and forged answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from keywright.errors import AuthenticationError, LinkError, PolicyError, SequenceError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.scp80.applications import Format
from keywright.scp.scp80.card import ReceivingEntity
from keywright.scp.scp80.compact import Management
from keywright.scp.scp80.host import (
    JUMP,
    Await,
    Channel,
    Commit,
    OtaStatusError,
    Request,
    SendingEntity,
    Transmit,
    send_packet,
)
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import (
    BINDINGS,
    LAST_COUNTER,
    SMS_PP,
    Binding,
    Check,
    CounterMode,
    PorMode,
    SecuredResponse,
    Spi,
    Status,
)
from keywright.scp.scp80.packet import Header, Suite, response_suite, seal_response
from keywright.scp.scp80.remote_management import RemoteManagement
from keywright.scp.scp80.scripts import ScriptReport, send_script
from keywright.scp.transport import TransportSession
from support.over_the_air import (
    OLD,
    Recorder,
    Rooms,
    binding_of,
    flipped,
    header_of,
    key_set_of,
    receiving,
    sending_settings,
)
from support.vectors import Case, load, unhex

CASES = load("scp/ota_scp80_packets.json")
KEYS = KeySet.aes(bytes(range(16)), bytes(range(16, 32)))
SD, EXPANDED_SD = bytes(3), bytes.fromhex("B20100")
OWNER = b"\x01"

LEGAL = [case for case in CASES if case["type"] == "command"]


@pytest.mark.parametrize("case", LEGAL, ids=[case["name"] for case in LEGAL])
def test_the_host_sends_the_bytes_of_the_recording(case: Case) -> None:
    sender = SendingEntity(**sending_settings(case))
    assert sender.seal(unhex(case["secured_data"]), int(case["cntr"], 16)) == unhex(case["packet"])


RESPONSES = [case for case in CASES if case["type"] == "response" and "spi" in case]


@pytest.mark.parametrize("case", RESPONSES, ids=[case["name"] for case in RESPONSES])
def test_the_host_reads_a_recorded_answer(case: Case) -> None:
    at = header_of(case)
    keys = key_set_of(case)
    if keys.kic is None or keys.kid is None:  # only what the answer needs was recorded
        keys = KeySet(keys.kic or KEYS.kic, keys.kid or KEYS.kid)
    plain = at.spi.por_check == Check.NONE and not at.spi.por_ciphered
    spi = Spi(0 if plain else at.spi.first, at.spi.second)
    kic = at.kic if spi.ciphered else 0
    sender = SendingEntity(keys, at.tar, spi=spi, kic=kic, kid=at.kid, binding=binding_of(case), profile=OLD)
    receipt = sender.open(unhex(case["packet"]), at.cntr)
    assert (receipt.status, receipt.data) == (int(case["status"], 16), unhex(case["secured_data"]))
    assert receipt.authentic == (at.spi.por_check == Check.CC)


CLEAR = [case for case in CASES if case["type"] == "response" and "spi" not in case]


@pytest.mark.parametrize("case", CLEAR, ids=[case["name"] for case in CLEAR])
def test_an_error_is_taken_without_protection_too(case: Case) -> None:
    receipt = SendingEntity(KEYS, SD).open(unhex(case["packet"]), int(case["cntr"], 16))
    assert (receipt.status, receipt.data, receipt.authentic) == (int(case["status"], 16), b"", False)


@pytest.mark.parametrize("case", [case for case in CASES if case["type"] == "response_negative"])
def test_a_tampered_answer_is_refused(case: Case) -> None:
    settings = sending_settings(case, tar=bytes.fromhex("B00011"))
    with pytest.raises(AuthenticationError):
        SendingEntity(**settings).open(unhex(case["packet"]), 0)


# ---- one packet against our card ------------------------------------------------------------------------------


class Air:
    """Drives a dialogue against a card end; keeps what was asked; `lose` says which answers are lost."""

    def __init__(self, card: ReceivingEntity, lose: Sequence[int] = ()) -> None:
        self.card = card
        self.lose = lose
        self.asked: list[Request] = []
        self.sent = 0

    def __call__(self, request: Request) -> bytes | None:
        self.asked.append(request)
        if not isinstance(request, Transmit):
            return None
        self.sent += 1
        answer = self.card.handle(request.packet)
        return None if self.sent - 1 in self.lose or not answer.packet else answer.packet


def card(stored: int = 0, application: Recorder | None = None, **settings: Any) -> tuple[Air, Recorder, Rooms]:
    rooms, behind = Rooms({1: KEYS}, {OWNER: stored}), application or Recorder(b"answer")
    return Air(receiving(rooms, behind, **settings)), behind, rooms


@pytest.mark.parametrize("at", list(BINDINGS.values()), ids=lambda at: at.name)
@pytest.mark.parametrize("check", [Check.NONE, Check.RC, Check.CC])
@pytest.mark.parametrize("ciphered", [False, True])
@pytest.mark.parametrize("mode", list(CounterMode))
@pytest.mark.parametrize("protected", [False, True])
def test_every_legal_spi_works_from_host_to_card_and_back(
    at: Binding, check: Check, mode: CounterMode, *, ciphered: bool, protected: bool
) -> None:
    spi = Spi.of(
        check,
        ciphered=ciphered,
        counter=mode,
        por_check=check if protected else Check.NONE,
        por_ciphered=ciphered and protected,
    )
    keys = KeySet.des(bytes(16), bytes(range(16)))
    kid = 0x11 if check == Check.RC else 0x15
    sender = SendingEntity(keys, SD, spi=spi, kic=0x15, kid=kid, binding=at)
    application = Recorder(b"answer")
    air = Air(receiving(Rooms({1: keys}), application, binding=at))
    receipt, counter = drive(send_packet(sender, b"command", 0), air)
    assert receipt is not None
    assert receipt.data == b"answer"
    assert receipt.authentic == (protected and check == Check.CC)
    assert application.got[0][0] == b"command"
    assert counter == (0 if mode == CounterMode.NONE else 1)


def test_a_counter_is_committed_before_its_packet_leaves() -> None:
    air, _, rooms = card(stored=40)
    _, counter = drive(send_packet(SendingEntity(KEYS, SD), b"command", 40), air)
    assert air.asked[0] == Commit(41)
    assert isinstance(air.asked[1], Transmit)
    assert counter == rooms.counters[OWNER] == 41


def test_a_low_counter_is_moved_on_once() -> None:
    air, behind, rooms = card(stored=1000)
    _, counter = drive(send_packet(SendingEntity(KEYS, SD), b"command", 3), air)
    assert counter == rooms.counters[OWNER] == 4 + JUMP
    assert len(behind.got) == 1
    assert [request for request in air.asked if isinstance(request, Commit)] == [Commit(4), Commit(4 + JUMP)]
    air, behind, _ = card(stored=10 * JUMP)
    with pytest.raises(OtaStatusError, match="counter low"):
        drive(send_packet(SendingEntity(KEYS, SD), b"command", 3), air)
    assert air.sent == 2
    assert not behind.got


def forging(status: int, cntr: int = 4) -> Callable[[Request], bytes | None]:
    """A network that answers everything itself, in clear."""

    def answer(request: Request) -> bytes | None:
        if not isinstance(request, Transmit):
            return None
        return seal_response(SD, SecuredResponse(cntr, 0, status, b""), Suite(), SMS_PP)

    return answer


def test_a_forged_low_counter_sends_nothing_twice() -> None:
    with pytest.raises(OtaStatusError, match="nothing proves") as error:
        drive(send_packet(SendingEntity(KEYS, SD), b"command", 3), forging(Status.COUNTER_LOW))
    assert not error.value.authentic


def test_a_forged_ok_is_refused() -> None:
    with pytest.raises(AuthenticationError):
        drive(send_packet(SendingEntity(KEYS, SD), b"command", 3), forging(Status.OK))


def test_every_refusal_has_a_name() -> None:
    for status in set(range(1, 256)) - {Status.MORE_TIME, Status.BY_SMS_SUBMIT, Status.BY_USSD}:
        with pytest.raises(OtaStatusError) as error:
            drive(send_packet(SendingEntity(KEYS, SD), b"command", 3), forging(status))
        assert error.value.status == status


def test_the_counter_high_is_not_guessed_at() -> None:
    air, behind, _ = card(stored=1)
    sender = SendingEntity(KEYS, SD, spi=Spi.of(counter=CounterMode.NEXT))
    with pytest.raises(OtaStatusError, match="counter high"):
        drive(send_packet(sender, b"command", 5), air)
    air, behind, _ = card(stored=9)
    with pytest.raises(OtaStatusError, match="counter low"):
        drive(send_packet(sender, b"command", 5), air)
    assert air.sent == 1
    assert not behind.got


def test_a_lost_answer_is_not_followed_by_the_same_commands() -> None:
    air, behind, rooms = card()
    air.lose = (0,)
    with pytest.raises(LinkError) as error:
        drive(send_packet(SendingEntity(KEYS, SD), b"command", 0), air)
    assert error.value.delivered is None
    assert air.sent == len(behind.got) == 1
    assert rooms.counters[OWNER] == 1


def test_a_repeat_tells_that_the_first_one_had_arrived_and_runs_nothing_again() -> None:
    air, behind, _ = card()
    air.lose = (0,)
    with pytest.raises(LinkError) as error:
        drive(send_packet(SendingEntity(KEYS, SD), b"command", 0, repeats=2), air)
    assert error.value.delivered is True
    assert len(behind.got) == 1
    packets = {request.packet for request in air.asked if isinstance(request, Transmit)}
    assert len(packets) == 1


def test_a_repeat_brings_what_the_first_one_did_not() -> None:
    air, behind, _ = card()
    sent = []

    def dropping(request: Request) -> bytes | None:
        sent.append(request)
        if len(sent) == 2:
            raise LinkError("lost on the way")
        return air(request)

    receipt, counter = drive(send_packet(SendingEntity(KEYS, SD), b"command", 0, repeats=1), dropping)
    assert receipt is not None
    assert (receipt.data, counter, len(behind.got)) == (b"answer", 1, 1)


@pytest.mark.parametrize("mode", [CounterMode.NONE, CounterMode.UNCHECKED])
def test_no_repeat_where_the_card_would_execute_it_twice(mode: CounterMode) -> None:
    sender = SendingEntity(KEYS, SD, spi=Spi.of(counter=mode), profile=OLD)
    with pytest.raises(PolicyError, match="twice"):
        drive(send_packet(sender, b"", 0, repeats=1), card()[0])


def test_what_was_not_sent_is_said_to_be_not_sent() -> None:
    def dead(request: Request) -> bytes | None:
        if isinstance(request, Transmit):
            raise LinkError("no network", delivered=False)
        return None

    with pytest.raises(LinkError) as error:
        drive(send_packet(SendingEntity(KEYS, SD), b"", 0), dead)
    assert error.value.delivered is False


@pytest.mark.parametrize("counter", [LAST_COUNTER - 1, LAST_COUNTER])
def test_the_host_never_uses_up_the_counter(counter: int) -> None:
    with pytest.raises(SequenceError):
        drive(send_packet(SendingEntity(KEYS, SD), b"", counter), card()[0])


@pytest.mark.parametrize(
    ("status", "channel"),
    [
        (Status.MORE_TIME, Channel.REPORT),
        (Status.BY_SMS_SUBMIT, Channel.SUBMIT),
        (Status.BY_USSD, Channel.USSD),
    ],
)
def test_the_real_answer_is_awaited_where_it_comes(status: Status, channel: Channel) -> None:
    suite = response_suite(Header(Spi.of(), 0x12, 0x12, SD), KEYS)
    asked: list[Request] = []

    def slow(request: Request) -> bytes | None:
        asked.append(request)
        if isinstance(request, Commit):
            return None
        last = isinstance(request, Await)
        response = SecuredResponse(1, 0, Status.OK if last else status, b"late" if last else b"")
        return seal_response(SD, response, suite, SMS_PP)

    receipt, _ = drive(send_packet(SendingEntity(KEYS, SD), b"", 0), slow)
    assert receipt is not None
    assert receipt.data == b"late"
    assert asked[2] == Await(channel)


def test_a_card_that_wants_time_without_end_is_given_up() -> None:
    with pytest.raises((WireError, LinkError)):
        drive(send_packet(SendingEntity(KEYS, SD), b"", 3), forging(Status.MORE_TIME))

    def for_ever(request: Request) -> bytes | None:
        return None if isinstance(request, Commit) else forging(Status.MORE_TIME)(Transmit(b"", None))

    with pytest.raises(WireError, match="without end"):
        drive(send_packet(SendingEntity(KEYS, SD), b"", 3), for_ever)


@pytest.mark.parametrize("by_submit", [False, True])
def test_the_driver_is_told_where_the_answer_comes(*, by_submit: bool) -> None:
    air, _, _ = card()
    drive(send_packet(SendingEntity(KEYS, SD, spi=Spi.of(by_submit=by_submit)), b"", 0), air)
    assert isinstance(air.asked[1], Transmit)
    assert air.asked[1].answer == (Channel.SUBMIT if by_submit else Channel.REPORT)


def test_without_a_proof_of_receipt_nothing_is_confirmed() -> None:
    for por in (PorMode.NEVER, PorMode.ON_ERROR):
        air, behind, _ = card()
        receipt, _ = drive(send_packet(SendingEntity(KEYS, SD, spi=Spi.of(por=por)), b"x", 0), air)
        assert receipt is None
        assert len(behind.got) == 1


def test_no_flipped_bit_of_an_answer_is_taken_for_an_answer() -> None:
    sender = SendingEntity(KEYS, SD)
    answer = receiving(Rooms({1: KEYS}), Recorder(b"answer")).handle(sender.seal(b"command", 1)).packet
    assert sender.open(answer, 1).data == b"answer"
    for bit in range(len(answer) * 8):
        with pytest.raises((AuthenticationError, WireError)):
            sender.open(flipped(answer, bit), 1)


def test_an_answer_to_another_command_or_from_another_application_is_refused() -> None:
    sender = SendingEntity(KEYS, SD)
    answer = receiving(Rooms({1: KEYS}), Recorder(b"answer")).handle(sender.seal(b"command", 1)).packet
    with pytest.raises(WireError, match="another counter"):
        sender.open(answer, 2)
    with pytest.raises(WireError, match="application"):
        SendingEntity(KEYS, EXPANDED_SD).open(answer, 1)
    with pytest.raises(WireError, match="no response"):
        sender.open(b"", 1)


def test_a_host_refuses_parameters_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        SendingEntity(KEYS, b"\0\0")
    with pytest.raises(PolicyError):
        SendingEntity(KEYS, SD, kic=0x22)


# ---- scripts --------------------------------------------------------------------------------------------------


class Files:
    """An executor: every command is answered with its own data, `fails` with 6A82."""

    def __init__(self, fails: int = -1) -> None:
        self.ran: list[Command] = []
        self.fails = fails
        self.started = 0

    def start(self) -> None:
        self.started += 1

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        self.ran.append(command)
        if len(self.ran) - 1 == self.fails:
            return Response(b"", 0x6A82)
        return Response(command.data if command.le is not None else b"")


def run(commands: Sequence[Command], tar: bytes, files: Files, **settings: Any) -> tuple[ScriptReport, Air]:
    compact = settings.pop("compact", tar == SD)
    application = RemoteManagement(files, compact=compact, msl=0x16, chaining=settings.pop("card_chains", True))
    rooms = Rooms({1: KEYS})
    air = Air(ReceivingEntity({tar: application}, rooms, rooms))
    return drive(send_script(SendingEntity(KEYS, tar), commands, 0, **settings), air), air


def store(size: int, le: int | None = 0) -> Command:
    return Command(0x80, 0xE2, 0x80, 0, bytes(size), le)


def test_an_expanded_script_brings_every_answer() -> None:
    files = Files()
    report, air = run([store(3), store(5), store(1, None)], EXPANDED_SD, files)
    assert report == ScriptReport((Response(bytes(3)), Response(bytes(5)), Response(b"")), 3, 1)
    assert files.ran == [store(3), store(5), store(1, None)]
    assert air.sent == 1


def test_a_compact_script_brings_the_last_answer() -> None:
    files = Files()
    commands = [store(3), store(5), Command(0x80, 0xC0, 0, 0, b"", 0)]
    report, _ = run(commands, SD, files)
    assert report == ScriptReport((Response(bytes(5)),), 3, 1)


@pytest.mark.parametrize("tar", [SD, EXPANDED_SD])
@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("fails", range(6))
def test_a_script_in_many_packets_ends_at_the_first_failure(tar: bytes, fails: int, *, chained: bool) -> None:
    files = Files(fails)
    report, air = run([store(80)] * 6, tar, files, limit=230, chained=chained)
    assert len(files.ran) == fails + 1
    assert report.executed == fails + 1
    assert report.responses[-1].sw == 0x6A82
    assert report.counter == air.sent == fails // 2 + 1
    assert files.started == (1 if chained and tar == EXPANDED_SD else air.sent)


def test_a_card_that_does_not_chain_is_told_without() -> None:
    with pytest.raises(WireError, match="chain"):
        run([store(80)] * 6, EXPANDED_SD, Files(), limit=230, card_chains=False)
    report, _ = run([store(80)] * 6, EXPANDED_SD, Files(), limit=230, card_chains=False, chained=False)
    assert report.executed == 6
    report, _ = run([store(80)] * 2, EXPANDED_SD, Files(), limit=230, card_chains=False)
    assert report.executed == 2


def test_a_script_without_commands_sends_nothing() -> None:
    report, air = run([], SD, Files())
    assert (report.responses, report.executed, air.sent) == ((), 0, 0)


def test_get_response_stays_with_what_it_asks_after() -> None:
    pair = [store(80), Command(0x80, 0xC0, 0, 0, b"", 80)]
    report, air = run(pair * 3, SD, Files(), limit=128)
    assert air.sent == 3
    assert report.responses == (Response(bytes(80)),) * 3


def test_a_command_that_fits_no_packet_is_refused_before_anything_leaves() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        run([store(1), store(200)], EXPANDED_SD, Files(), limit=140)


def test_the_format_of_an_application_without_a_row_must_be_said() -> None:
    own = bytes.fromhex("C00203")
    with pytest.raises(PolicyError, match="no scripts"):
        run([store(1)], own, Files())
    report, _ = run([store(1)], own, Files(), form=Format.EXPANDED, compact=False)
    assert report.executed == 1
    report, _ = run([store(1)], own, Files(), form=Format.COMPACT, management=Management.APPLICATIONS, compact=True)
    assert report.executed == 1


def test_an_answer_in_the_wrong_format_is_refused() -> None:
    with pytest.raises(WireError, match="response"):
        run([store(1)], EXPANDED_SD, Files(), form=Format.COMPACT, compact=False)
    with pytest.raises(WireError):
        run([store(1)], SD, Files(), form=Format.EXPANDED, compact=True)


def test_a_script_without_proof_of_receipt_is_not_confirmed() -> None:
    files = Files()
    application = RemoteManagement(files, compact=False)
    rooms = Rooms({1: KEYS})
    air = Air(ReceivingEntity({EXPANDED_SD: application}, rooms, rooms))
    sender = SendingEntity(KEYS, EXPANDED_SD, spi=Spi.of(por=PorMode.NEVER))
    report = drive(send_script(sender, [store(1)], 0), air)
    assert report == ScriptReport((), None, 1, confirmed=False)
    assert len(files.ran) == 1
