"""Records of a device: the standard's exchange from each end alone, then what a device may do and what it may not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import WireError
from keywright.mesh.messages import RecordResponse, RecordsList, build_pdu
from keywright.mesh.pb_adv.messages import PbAdvPdu, TransactionContinuation, TransactionStart, fcs, parse_generic
from keywright.mesh.provisioner import Ended, Provisioned, Provisioner
from keywright.mesh.record_fetch import LONGEST_PART, Answer, FetchLimits, answer_in, ask, fetch_records
from keywright.mesh.records import Records, RecordStatus
from support.mesh import make_device, make_provisioner
from support.vectors import load, unhex

TRACE = [unhex(step["provisioning_pdu"]) for step in load("mesh/provisioning_records_trace.json")]
STANDARDS = FetchLimits(part=0x3A)


class Fetching:
    """The provisioner's end of the records alone, spoken to in PDUs."""

    def __init__(self, limits: FetchLimits | None = None) -> None:
        self.provisioner = make_provisioner()
        self.dialogue = fetch_records(lambda _: True, limits)
        self.records: dict[int, bytes] | None = None
        ask(self.provisioner, next(self.dialogue), 0.0)

    def asks(self) -> bytes:
        (pdu,) = self.provisioner.outgoing(0.0)
        return pdu

    def told(self, pdu: bytes) -> None:
        """Take an answer of the device. Raises what ends the session or the dialogue."""
        self.provisioner.receive(pdu, 0.0)
        for event in self.provisioner.events():
            if isinstance(event, Ended):
                raise event.error
            answer = answer_in(event)
            assert answer is not None
            try:
                ask(self.provisioner, self.dialogue.send(answer), 0.0)
            except StopIteration as stop:
                self.records = stop.value


def fetched(contents: dict[int, bytes], limits: FetchLimits | None = None, most: int = 1461) -> dict[int, bytes]:
    fetching, device = Fetching(limits), make_device(records=Records(contents, most))
    while fetching.records is None:
        device.receive(fetching.asks(), 0.0)
        for pdu in device.outgoing(0.0):
            fetching.told(pdu)
    return fetching.records


# ---- the standard's exchange -------------------------------------------------------------------------------------


def test_the_provisioner_asks_as_in_the_standard() -> None:
    fetching = Fetching(STANDARDS)
    assert fetching.asks() == TRACE[0]
    fetching.told(TRACE[1])
    assert fetching.asks() == TRACE[2]
    fetching.told(TRACE[3])
    assert fetching.asks() == bytes.fromhex("0a0001003a003a")  # on from where the answer ended


def test_the_device_answers_as_in_the_standard() -> None:
    begin = RecordResponse.parse(TRACE[3][1:])
    whole = begin.data + bytes(begin.total - len(begin.data))  # the standard prints the first answer alone
    device = make_device(records=Records({2: b"\x30", 1: whole}))
    for question, answer in ((TRACE[0], TRACE[1]), (TRACE[2], TRACE[3])):
        device.receive(question, 0.0)
        assert device.outgoing(0.0) == [answer]


def test_the_packets_of_the_standard_give_its_pdus() -> None:
    for step, pdu in zip(load("mesh/provisioning_records_trace.json"), TRACE, strict=True):
        parts = [parse_generic(PbAdvPdu.parse(unhex(packet)).generic) for packet in step["packets"]]
        start = parts[0]
        assert isinstance(start, TransactionStart)
        data = b"".join(part.data for part in parts if isinstance(part, TransactionStart | TransactionContinuation))
        assert (data, start.total, start.fcs) == (pdu, len(pdu), fcs(pdu))


# ---- what a device may do ----------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=900), max_size=6),
    st.integers(20, LONGEST_PART),
    st.integers(20, LONGEST_PART),
)
def test_every_record_comes_whole(contents: dict[int, bytes], part: int, most: int) -> None:
    assert fetched(contents, FetchLimits(part=part), most) == contents


def test_only_what_is_wanted_is_fetched() -> None:
    dialogue = fetch_records(lambda record: record == 2)
    next(dialogue)
    request = dialogue.send(RecordsList(0, (1, 2, 0xFFFF)))
    assert build_pdu(request) == bytes.fromhex("0a0002000000c8")
    with pytest.raises(StopIteration) as stop:
        dialogue.send(RecordResponse(0, 2, 0, 1, b"x"))
    assert stop.value.value == {2: b"x"}


@pytest.mark.parametrize("part", [0, -1, LONGEST_PART + 1])
def test_parts_fit_into_an_answer(part: int) -> None:
    with pytest.raises(ValueError, match="parts of 1 to 1461 octets"):
        FetchLimits(part=part)


# ---- what it may not ---------------------------------------------------------------------------------------------

GOOD = RecordResponse(0, 1, 0, 100, bytes(58))
LIES: dict[str, tuple[list[Answer], str]] = {
    "a list with a record twice": ([RecordsList(0, (1, 2, 1))], "a record twice.*5.4.1.14"),
    "a list without end": ([RecordsList(0, tuple(range(65)))], "65 records.*5.4.1.14"),
    "not the record asked for": ([RecordResponse(0, 2, 0, 100, bytes(58))], "another request.*5.4.1.12"),
    "the first octets again": ([GOOD, GOOD], "another request than record 0001 from 58"),
    "octets after those asked for": ([GOOD, RecordResponse(0, 1, 60, 100, bytes(40))], "another request"),
    "more than asked for": ([RecordResponse(0, 1, 0, 100, bytes(59))], "another request"),
    "more than its length": ([GOOD, RecordResponse(0, 1, 58, 100, bytes(43))], "43 octets from 58 of 100"),
    "nothing at all": ([GOOD, RecordResponse(0, 1, 58, 100)], "0 octets from 58 of 100"),
    "a length that grows": ([GOOD, RecordResponse(0, 1, 58, 200, bytes(58))], "was 100 and is 200.*5.4.2.6"),
    "a length that shrinks": ([GOOD, RecordResponse(0, 1, 58, 90, bytes(30))], "was 100 and is 90"),
    "a record too long": ([RecordResponse(0, 1, 0, 4097, bytes(58))], "4097 octets, more than 4096"),
    "listed and not there": ([RecordResponse(RecordStatus.NOT_PRESENT, 1, 0, 0)], "in the list and not present"),
    "out of its own bounds": ([GOOD, RecordResponse(RecordStatus.OUT_OF_BOUNDS, 1, 58, 100)], "out of bounds, it says"),
    "a refusal with data": ([RecordResponse(RecordStatus.NOT_PRESENT, 1, 0, 0, b"x")], "a refusal has no data"),
    "a prohibited status": ([RecordResponse(3, 1, 0, 100, bytes(58))], "status 03 is prohibited"),
    "no record at all": ([RecordsList(0, (1,))], "Records List while fetching"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_device_that_lies_is_refused_by_name(lie: str) -> None:
    said, why = LIES[lie]
    fetching = Fetching(STANDARDS)
    fetching.asks()
    if not isinstance(said[0], RecordsList) or lie == "no record at all":
        fetching.told(build_pdu(RecordsList(0, (1,))))
        fetching.asks()
    for answer in said[:-1]:
        fetching.told(build_pdu(answer))
        fetching.asks()
    with pytest.raises(WireError, match=why):
        fetching.told(build_pdu(said[-1]))


def test_an_octet_at_a_time_comes_to_an_end() -> None:
    with pytest.raises(WireError, match="no end after 512 requests"):
        fetched({1: bytes(600)}, most=1)


def test_all_records_together_are_bounded() -> None:
    with pytest.raises(WireError, match=r"record 0004 .* more than 16384 octets"):
        fetched({number: bytes(4096) for number in range(6)}, FetchLimits(part=1461))


def test_random_answers_end_in_an_error_or_in_records() -> None:
    """Any octets as answers: the dialogue ends, and nothing but an error of ours comes out of it."""
    rng = random.Random(5)
    for _ in range(300):
        fetching = Fetching()
        try:
            for _ in range(20):
                fetching.asks()
                head = rng.choice((b"\x0d\0\0", b"\x0b\0\0\1\0\0", b"\x09", b""))
                fetching.told(head + rng.randbytes(rng.randrange(12)))
                if fetching.records is not None:
                    break
        except WireError:
            continue


def test_what_is_not_about_records_is_no_answer() -> None:
    assert answer_in(Provisioned()) is None


def test_records_are_asked_for_before_the_invitation_alone() -> None:
    provisioner = make_provisioner()
    assert isinstance(provisioner, Provisioner)
    provisioner.invite(0, 0.0)
    with pytest.raises(WireError, match="Records Get while inviting"):
        ask(provisioner, next(fetch_records(lambda _: True)), 0.0)
