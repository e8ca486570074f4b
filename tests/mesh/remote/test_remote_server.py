"""The Remote Provisioning Server alone: every status, every message in every state, scans, and lost reports."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Sequence

import pytest

from keywright.codec.record import LittleRecord
from keywright.mesh.advertising import MESH_BEACON, PB_ADV, URI, ad_structures, build_ad
from keywright.mesh.beacons import unprovisioned
from keywright.mesh.bearer import PduReceived
from keywright.mesh.ends import CloseReason
from keywright.mesh.network.access import LONGEST, AccessMessage
from keywright.mesh.pb_adv.link import PbAdvLink, Timing
from keywright.mesh.pb_adv.messages import PbAdvPdu
from keywright.mesh.remote import messages as m
from keywright.mesh.remote.messages import LinkState, Status
from keywright.mesh.remote.scanning import ITEMS, Client, Own
from keywright.mesh.remote.server import TABLE, RemoteServer
from support.mesh import counting

UUID, OTHER, OWN = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
C, D = Client(0x0001, 0), Client(0x0002, 0)
URL = b"\x17//example.com"
PDU = b"\x00\x05"
TIMING = Timing(delay_s=(0.0, 0.0), transaction_s=5.0)


class Bench:
    """A server, what it says, and a device on a link."""

    def __init__(self, **options: object) -> None:
        self.said: list[tuple[Client, LittleRecord]] = []
        self.numbers: list[int] = []
        self.now = 0.0
        self.loses = False
        self.device: PbAdvLink | None = None
        self.server = RemoteServer(
            Own(OWN, 0x0102, URL),
            self._say,
            random=random.Random(1).random,
            random_bytes=counting(),
            timing=TIMING,
            **options,  # type: ignore[arg-type]  # as the server has them
        )

    def _say(self, message: AccessMessage, client: Client, acknowledged: bool, now: float) -> int:  # noqa: FBT001 - as `Say` has it
        self.said.append((client, m.parse_message(message)))
        number = len(self.said)
        if acknowledged:
            self.numbers.append(number)
        return number

    def ask(self, message: LittleRecord, client: Client = C) -> list[LittleRecord]:
        """What is said at once."""
        before = len(self.said)
        self.server.handle(m.build_message(message), client, self.now)
        return [one for _, one in self.said[before:]]

    def report(self, *, is_delivered: bool = True) -> None:
        """The reports so far have arrived, or not."""
        numbers, self.numbers = self.numbers, []
        for number in numbers:
            self.server.arrived(number, self.now, is_delivered=is_delivered)

    def run(self, seconds: float) -> list[LittleRecord]:
        """Let time go on with the device; what is said in it."""
        before, until = len(self.said), self.now + seconds
        while self.now < until:
            for frame in self.server.outgoing(self.now):
                if self.device is None:
                    self._accept(frame)
                elif not self.loses:
                    self.device.receive(frame, self.now)
            for frame in self.device.outgoing(self.now) if self.device is not None else ():
                self.server.hear(frame, self.now)
            if not self.loses:
                self.report()
            self.now += 0.05
        return [one for _, one in self.said[before:]]

    def _accept(self, frame: bytes) -> None:
        ((kind, content),) = ad_structures(frame)
        if kind == PB_ADV and not self.loses:
            self.device = PbAdvLink.accept(
                PbAdvPdu.parse(content).link_id, self.now, random=random.Random(1).random, timing=TIMING
            )

    def open(self) -> Bench:
        """With an open link."""
        assert self.ask(m.LinkOpen(UUID)) == [m.LinkStatus(0, LinkState.OPENING)]
        assert self.run(1.0) == [m.LinkReport(0, LinkState.ACTIVE)]
        return self

    def received(self) -> list[bytes]:
        assert self.device is not None
        return [event.pdu for event in self.device.events() if isinstance(event, PduReceived)]


def in_state(state: int) -> Bench:
    bench = Bench()
    if state == LinkState.OPENING:
        bench.ask(m.LinkOpen(UUID))
    elif state != LinkState.IDLE:
        bench.open()
    if state == LinkState.TRANSFER:
        bench.ask(m.PduSend(1, PDU))
    elif state == LinkState.CLOSING:
        bench.ask(m.LinkClose(0))
    assert bench.server.state == state
    return bench


IDLE, OPENING, ACTIVE, TRANSFER, CLOSING = range(5)
BUSY = Status.INVALID_STATE
ANSWERS: dict[tuple[int, str], tuple[int, int] | None] = {
    # (state, question): status and state of the answer, None without one
    (IDLE, "get"): (0, IDLE),
    (OPENING, "get"): (0, OPENING),
    (ACTIVE, "get"): (0, ACTIVE),
    (TRANSFER, "get"): (0, TRANSFER),
    (CLOSING, "get"): (0, CLOSING),
    (IDLE, "open"): (0, OPENING),
    (OPENING, "open"): (0, OPENING),
    (ACTIVE, "open"): (0, ACTIVE),
    (TRANSFER, "open"): (0, TRANSFER),
    (CLOSING, "open"): (BUSY, CLOSING),
    (IDLE, "open another"): (0, OPENING),
    (OPENING, "open another"): (BUSY, OPENING),
    (ACTIVE, "open another"): (BUSY, ACTIVE),
    (TRANSFER, "open another"): (BUSY, TRANSFER),
    (CLOSING, "open another"): (BUSY, CLOSING),
    (IDLE, "close"): (0, IDLE),
    (OPENING, "close"): (0, CLOSING),
    (ACTIVE, "close"): (0, CLOSING),
    (TRANSFER, "close"): (0, CLOSING),
    (CLOSING, "close"): (0, CLOSING),
    (IDLE, "send"): None,
    (OPENING, "send"): None,
    (ACTIVE, "send"): None,
    (TRANSFER, "send"): None,
    (CLOSING, "send"): None,
}
QUESTIONS = {
    "get": m.LinkGet(),
    "open": m.LinkOpen(UUID),
    "open another": m.LinkOpen(OTHER),
    "close": m.LinkClose(2),
    "send": m.PduSend(7, PDU),
}


@pytest.mark.parametrize(("state", "question"), ANSWERS, ids=str)
def test_every_question_in_every_state_of_the_link(state: int, question: str) -> None:
    bench = in_state(state)
    wanted = ANSWERS[state, question]
    assert bench.ask(QUESTIONS[question]) == ([] if wanted is None else [m.LinkStatus(*wanted)])


@pytest.mark.parametrize("state", range(1, 5))
def test_another_client_changes_nothing(state: int) -> None:
    bench = in_state(state)
    for question in (m.LinkOpen(UUID), m.LinkClose(0)):
        assert bench.ask(question, D) == [m.LinkStatus(Status.INVALID_STATE, state)]
    assert bench.ask(m.PduSend(1, PDU), D) == []
    assert bench.server.state == state


@pytest.mark.parametrize(
    "message",
    [
        m.LinkOpen(UUID + b"\x00"),
        m.LinkOpen(UUID + b"\x3d"),
        m.LinkOpen(b"\x03"),
        m.LinkClose(1),
        m.LinkClose(3),
        m.ScanStart(0, 0),
        m.ExtendedScanStart(0, b""),
        m.ExtendedScanStart.of(b"\x24\x24"),
        m.ExtendedScanStart.of(b"\x08"),
        m.ExtendedScanStart.of(bytes(range(0x10, 0x21))),
        m.ExtendedScanStart.of(b"\x24", UUID, 0),
        m.ExtendedScanStart.of(b"\x24", UUID, 22),
        m.ExtendedScanStart(2, b"\x24"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_prohibited_value_is_not_answered(message: LittleRecord) -> None:
    bench = Bench()
    assert bench.ask(message) == []
    assert (bench.server.state, bench.server.deadline()) == (LinkState.IDLE, None)


def test_what_a_server_says_is_no_question_to_another() -> None:
    bench = Bench()
    for opcode, kind in m.MESSAGES.items():
        for size in range(40):
            if kind not in TABLE:
                bench.server.handle(AccessMessage(opcode, bytes(size)), C, 0.0)
    assert bench.said == []


# ---- the link -----------------------------------------------------------------------------------------------------


def test_pdus_go_both_ways_each_once() -> None:
    bench = Bench().open()
    assert bench.device is not None
    assert bench.ask(m.PduSend(2, PDU)) == []  # not the next number
    bench.ask(m.PduSend(1, PDU))
    bench.ask(m.PduSend(1, PDU))
    assert bench.run(1.0) == [m.PduOutboundReport(1)]
    assert bench.ask(m.PduSend(1, PDU)) == [m.PduOutboundReport(1)]  # the report was lost
    bench.report()
    bench.device.send(b"\x01" + bytes(11), bench.now)
    assert bench.run(1.0) == [m.PduReport(1, b"\x01" + bytes(11))]
    bench.ask(m.PduSend(2, b"\x02" + bytes(5)))
    assert bench.run(1.0) == [m.PduOutboundReport(2)]
    assert bench.received() == [PDU, b"\x02" + bytes(5)]


@pytest.mark.parametrize("reason", [CloseReason.SUCCESS, CloseReason.FAIL])
def test_the_client_closes_the_link(reason: int) -> None:
    bench = Bench().open()
    assert bench.ask(m.LinkClose(reason)) == [m.LinkStatus(0, LinkState.CLOSING)]
    assert bench.run(1.0) == [m.LinkReport(Status.LINK_CLOSED_BY_CLIENT, LinkState.IDLE)]
    assert bench.device is not None
    assert bench.device.state == "closed"
    assert bench.ask(m.LinkGet()) == [m.LinkStatus(0, LinkState.IDLE)]


def test_the_device_closes_the_link() -> None:
    bench = Bench().open()
    assert bench.device is not None
    bench.device.close(CloseReason.TIMEOUT, bench.now)
    assert bench.run(1.0) == [m.LinkReport(Status.LINK_CLOSED_BY_DEVICE, LinkState.IDLE, b"\x01")]


@pytest.mark.parametrize(("octets", "seconds"), [(UUID, 10.0), (UUID + b"\x02", 2.0), (UUID + b"\x3c", 60.0)])
def test_a_device_that_does_not_answer(octets: bytes, seconds: float) -> None:
    bench = Bench()
    bench.loses = True
    bench.ask(m.LinkOpen(octets))
    assert bench.run(seconds - 0.1) == []
    assert bench.run(0.4) == [m.LinkReport(Status.LINK_OPEN_FAILED, LinkState.IDLE)]


def test_a_device_that_may_not_be_linked_to() -> None:
    bench = Bench(can_open=lambda uuid: uuid != UUID)
    assert bench.ask(m.LinkOpen(UUID)) == [m.LinkStatus(Status.LINK_CANNOT_OPEN, LinkState.IDLE)]
    assert bench.ask(m.LinkOpen(b"\x00")) == [m.LinkStatus(Status.LINK_CANNOT_OPEN, LinkState.IDLE)]  # no interface
    assert bench.ask(m.LinkOpen(OTHER)) == [m.LinkStatus(0, LinkState.OPENING)]


def test_a_pdu_that_the_device_does_not_take() -> None:
    bench = Bench().open()
    bench.loses = True
    bench.ask(m.PduSend(1, PDU))
    assert bench.run(TIMING.transaction_s + 1.0) == [m.LinkReport(Status.CANNOT_SEND_PDU, LinkState.IDLE)]


def test_no_pdu_at_all_cannot_be_sent() -> None:
    bench = Bench().open()
    bench.ask(m.PduSend(1, b""))
    assert bench.run(1.0) == [m.LinkReport(Status.CANNOT_SEND_PDU, LinkState.IDLE)]


def test_a_device_that_says_more_than_the_client_takes() -> None:
    bench = Bench().open()
    assert bench.device is not None
    for number in range(5):
        bench.device.send(bytes((number,)), bench.now)
    real, bench.report = bench.report, lambda *, is_delivered=True: None  # type: ignore[method-assign]  # nothing arrives
    bench.run(2.0)
    bench.report = real  # type: ignore[method-assign]  # everything does
    said = bench.run(2.0)
    assert bench.server.state == LinkState.IDLE
    assert m.LinkReport(Status.CANNOT_RECEIVE_PDU, LinkState.IDLE) in said


@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        ("report", Status.CANNOT_DELIVER_PDU_REPORT),
        ("outbound", Status.CANNOT_DELIVER_PDU_OUTBOUND_REPORT),
        ("open", Status.LINK_CLOSED_BY_SERVER),
    ],
)
def test_a_report_that_does_not_arrive_closes_the_link(prepare: str, status: int) -> None:
    bench = Bench()
    if prepare != "open":
        bench.open()
    real, bench.report = bench.report, lambda *, is_delivered=True: None  # type: ignore[method-assign]  # nothing arrives
    if prepare == "open":
        bench.ask(m.LinkOpen(UUID))
    elif prepare == "outbound":
        bench.ask(m.PduSend(1, PDU))
    elif bench.device is not None:
        bench.device.send(PDU, bench.now)
    bench.run(1.0)
    for _ in range(4):
        assert bench.server.state in {LinkState.ACTIVE, LinkState.TRANSFER}
        real(is_delivered=False)
    assert bench.run(1.0)[-1] == m.LinkReport(status, LinkState.IDLE)


# ---- scans --------------------------------------------------------------------------------------------------------


def beacon(uuid: bytes, uri: bytes = b"") -> bytes:
    return build_ad(MESH_BEACON, unprovisioned(uuid, 0x0102, uri))


def heard(bench: Bench, *frames: bytes) -> Sequence[LittleRecord]:
    before = len(bench.said)
    for frame in frames:
        bench.server.hear(frame, bench.now, -60)
    return [one for _, one in bench.said[before:]]


def test_a_scan_tells_each_device_once() -> None:
    bench = Bench()
    assert bench.ask(m.ScanCapabilitiesGet()) == [m.ScanCapabilitiesStatus(ITEMS, 1)]
    assert bench.ask(m.ScanGet()) == [m.ScanStatus(0, 0, 0, 0)]
    assert heard(bench, beacon(UUID)) == []
    assert bench.ask(m.ScanStart(2, 10)) == [m.ScanStatus(0, 1, 2, 10)]
    reports = [m.ScanReport(0xC4, UUID, 0x0102), m.ScanReport(0xC4, OTHER, 0x0102)]
    assert heard(bench, beacon(UUID), beacon(UUID), beacon(OTHER), beacon(OWN)) == reports
    bench.now = 4.0
    assert bench.ask(m.ScanGet(), D) == [m.ScanStatus(0, 1, 2, 6)]
    bench.now = 10.0
    assert heard(bench, beacon(OWN)) == []
    assert bench.ask(m.ScanGet()) == [m.ScanStatus(0, 0, 0, 0)]


def test_a_scan_for_one_device() -> None:
    bench = Bench()
    assert bench.ask(m.ScanStart(0, 10, UUID)) == [m.ScanStatus(0, 2, 0, 10)]
    (report,) = heard(bench, beacon(OTHER), beacon(UUID, URL))
    assert isinstance(report, m.ScanReport)
    assert (report.uuid, len(report.uri_hash)) == (UUID, 4)
    assert bench.ask(m.ScanStop(), D) == [m.ScanStatus(Status.INVALID_STATE, 2, 0, 10)]
    assert bench.ask(m.ScanStop()) == [m.ScanStatus(0, 0, 0, 0)]


def test_scans_that_cannot_be() -> None:
    bench = Bench()
    assert bench.ask(m.ScanStart(ITEMS + 1, 10)) == [m.ScanStatus(Status.LIMITED_RESOURCES, 0, 0, 0)]
    bench.ask(m.ScanStart(0, 10))
    assert bench.ask(m.ScanStart(0, 10), D) == [m.ScanStatus(Status.LIMITED_RESOURCES, 1, 0, 10)]
    off = Bench(can_scan=lambda: False)
    assert off.ask(m.ScanStart(0, 10)) == [m.ScanStatus(Status.SCANNING_CANNOT_START, 0, 0, 0)]
    assert off.ask(m.ExtendedScanStart.of(b"\x24", UUID, 5)) == [
        m.ExtendedScanReport(Status.SCANNING_CANNOT_START, UUID)
    ]


def test_an_extended_scan_gathers_what_is_asked_for() -> None:
    bench = Bench()
    uri = build_ad(URI, URL)
    own = m.ExtendedScanReport(0, OWN, b"\x02\x01" + uri)
    assert bench.ask(m.ExtendedScanStart.of(b"\x24")) == [own]
    assert bench.ask(m.ExtendedScanStart.of(b"\x09")) == [m.ExtendedScanReport(0, OWN, b"\x02\x01")]
    assert bench.ask(m.ExtendedScanStart.of(b"\x24", UUID, 5)) == []
    assert bench.ask(m.ExtendedScanStart.of(b"\x24", OTHER, 5), D) == [
        m.ExtendedScanReport(Status.LIMITED_RESOURCES, OTHER)
    ]
    assert heard(bench, build_ad(URI, b"\x17//other"), beacon(UUID, URL), build_ad(URI, b"\x17//other")) == []
    assert heard(bench, uri) == [m.ExtendedScanReport(0, UUID, b"\x02\x01" + uri)]
    bench.ask(m.ExtendedScanStart.of(b"\x09\x0a", UUID, 5))
    assert heard(bench, build_ad(0x0A, b"\x04") + beacon(UUID)) == []
    bench.now = 5.0
    bench.server.outgoing(5.0)
    assert bench.said[-1][1] == m.ExtendedScanReport(0, UUID, b"\x02\x01" + build_ad(0x0A, b"\x04"))
    bench.now = 6.0
    bench.ask(m.ExtendedScanStart.of(b"\x24", UUID, 5))
    bench.server.outgoing(11.0)
    assert bench.said[-1][1] == m.ExtendedScanReport(0, UUID)  # not heard


def test_every_status_is_provoked_above() -> None:
    source = pathlib.Path(__file__).read_text(encoding="utf-8")
    names = [name for name, value in vars(Status).items() if isinstance(value, int) and value]
    assert len(names) == 12
    assert all(f"Status.{name}" in source for name in names)


@pytest.mark.parametrize("octets", [377, 378, 1469])
def test_a_pdu_that_no_report_has_room_for_closes_the_link(octets: int) -> None:
    bench = Bench().open()
    assert bench.device is not None
    bench.device.send(bytes(octets), bench.now)
    said = bench.run(5.0)
    if octets == 377:
        assert said == [m.PduReport(1, bytes(octets))]
    else:
        assert said == [m.LinkReport(Status.CANNOT_RECEIVE_PDU, LinkState.IDLE)]


def test_an_extended_report_leaves_out_what_it_has_no_room_for() -> None:
    bench = Bench()
    types = bytes(range(0x30, 0x40))
    bench.ask(m.ExtendedScanStart.of(types, UUID, 5))
    beacon = build_ad(MESH_BEACON, unprovisioned(UUID, 0, b""))
    longest = {kind: build_ad(kind, bytes(29)) for kind in types[1:]}
    bench.server.hear(beacon + bytes((201, types[0])) + bytes(200) + b"".join(longest.values()), bench.now)
    ((_, report),) = bench.said
    assert report == m.ExtendedScanReport(
        Status.SUCCESS, UUID, bytes(2) + b"".join(longest[kind] for kind in types[1:12])
    )
    assert len(m.build_message(report).build()) <= LONGEST
