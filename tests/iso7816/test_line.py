"""Both ends of a transport on one line: what it does to time, to a dead line, and to what a host asks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from keywright.errors import LinkError, WireError
from keywright.iso7816.edc import LRC
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Reader
from keywright.iso7816.line import Arrival, Line, LineExchange, Sender, is_end
from keywright.iso7816.t0 import T0Card, T0Host
from keywright.iso7816.t1 import T1Card, T1Host, T1Profile
from keywright.iso7816.transport import (
    Answered,
    Deselected,
    Failed,
    Failure,
    HostEvent,
    Muted,
    Outbox,
    Present,
    Resynchronised,
    SizeAgreed,
    earliest,
)
from keywright.sansio.endpoint import Endpoint, run_endpoint
from support.blocks import Recorder

OK = b"\x90\x00"
STORE = bytes.fromhex("80E2900003010203")


def line() -> Line:
    return Line(T1Host(), T1Card(Recorder({0xE2: OK})))


def test_frames_arrive_in_their_order_although_one_is_late() -> None:
    def slow(sender: Sender, frame: bytes) -> Iterable[Arrival]:
        return [Arrival(frame, 0.5 if sender == "host" and not arrived else 0.0), Arrival(frame)]

    arrived: list[float] = []

    class Ear(Recorder):
        def handle(self, request: bytes) -> bytes:
            arrived.append(here.now)
            return super().handle(request)

    here = Line(T1Host(), T1Card(Ear({0xE2: OK})), slow)
    assert here.command(STORE) == [Answered(OK)]
    assert arrived == [pytest.approx(0.5, abs=0.01)]
    assert here.now >= 0.5


def test_a_line_on_which_nothing_will_happen_says_so() -> None:
    here = line()
    with pytest.raises(WireError, match="without a deadline"):
        here.settle()


def test_an_exchange_without_end_is_cut() -> None:
    here = Line(T1Host(T1Profile(ifsc=1)), T1Card(Recorder(), T1Profile(ifsc=1)), max_frames=20)
    with pytest.raises(WireError, match="more than 20 frames"):
        here.command(bytes(100))


def test_a_reset_forgets_what_is_on_the_way() -> None:
    here = Line(T1Host(), T1Card(Recorder({0xE2: OK})), lambda _, frame: [Arrival(frame, 50.0)])
    assert isinstance(here.command(STORE)[-1], Failed)
    here.channel = lambda _, frame: [Arrival(frame)]
    here.reset()
    assert here.command(STORE) == [Answered(OK)]


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (Answered(b""), True),
        (Failed(Failure.SILENCE, None, ""), True),
        (SizeAgreed(254), True),
        (Present(), True),
        (Deselected(), True),
        (Resynchronised(may_have_run=True), False),
        (Resynchronised(may_have_run=False, is_over=True), True),
    ],
)
def test_what_ends_what_a_host_asked(event: HostEvent, *, ends: bool) -> None:
    assert is_end(event) is ends


def test_a_line_is_asked_as_a_link_is() -> None:
    there = LineExchange(line(), "here")
    assert there.exchange(STORE) == OK
    there.line.channel = lambda *_: ()
    with pytest.raises(LinkError, match=r"here: .*silence") as raised:
        there.exchange(STORE)
    assert raised.value.delivered is None
    there.line.channel = lambda _, frame: [Arrival(frame)]
    there.reset()
    assert there.exchange(STORE) == OK


def test_an_exchange_without_end_is_a_link_error_until_a_reset() -> None:
    ends = T1Host(T1Profile(ifsc=1)), T1Card(Recorder({0xE2: OK}), T1Profile(ifsc=1))
    there = LineExchange(Line(*ends, max_frames=20))
    for _ in range(2):
        with pytest.raises(LinkError) as raised:
            there.exchange(bytes(100))
        assert (raised.value.delivered, raised.value.hint) == (None, "reset the card")
    there.reset()
    assert there.exchange(STORE[:4]) == OK


def test_a_mute_card_says_so_once() -> None:
    card = T0Card(Recorder())
    card.parity_error(0.0)
    card.parity_error(0.0)
    assert len(card.events()) == 1
    assert isinstance(Line(T0Host(), card).command(STORE)[-1], Failed)
    assert not [event for event in card.events() if isinstance(event, Muted)]


def test_two_blocks_at_once_are_answered_by_one() -> None:
    """On a half-duplex line: an end that heard two blocks before it could speak says what the later one asks for."""
    card = T1Card(Recorder({0xE2: OK}))
    block = bytes.fromhex("00000880E290000301020300")
    block = block[:-1] + LRC.compute(block[:-1])
    card.receive(block, 0.0)
    card.receive(block, 0.0)
    assert [frame.hex() for frame in card.outgoing(1.0)] == ["00900090"]
    card.receive(bytes.fromhex("00820082"), 1.0)
    assert [frame.hex() for frame in card.outgoing(2.0)] == ["000002900092"]


def test_nothing_leaves_an_outbox_before_its_time() -> None:
    box = Outbox()
    assert box.deadline() is None
    box.put(b"a", 1.0)
    box.put(b"b", 2.0)
    assert (box.deadline(), list(box.take(1.9)), list(box.take(2.0)), list(box.take(3.0))) == (
        2.0,
        [],
        [b"a", b"b"],
        [],
    )
    box.put(b"c", 4.0)
    box.replace(b"d", 5.0)
    assert (list(box.take(4.0)), list(box.take(5.0))) == ([], [b"d"])
    box.put(b"e", 6.0)
    box.clear()
    assert box.deadline() is None


@pytest.mark.parametrize(("times", "first"), [((), None), ((None,), None), ((3.0, None, 2.0), 2.0), ((0.0, None), 0.0)])
def test_the_earliest_of_some_times(times: tuple[float | None, ...], first: float | None) -> None:
    assert earliest(*times) == first


@pytest.mark.parametrize("host", [T0Host(), T1Host(), Iso14443Reader()], ids=lambda host: type(host).__name__)
def test_a_host_end_runs_over_a_blocking_port_too(host: T0Host | T1Host | Iso14443Reader) -> None:
    """The driver of `sansio`, with a card that answers the very bytes at once."""
    ends: dict[type, type] = {T0Host: T0Card, T1Host: T1Card, Iso14443Reader: Iso14443Card}
    card = ends[type(host)](Recorder({0xE2: OK}))
    now = 0.0
    answers: list[bytes] = []

    def receive(timeout: float | None) -> bytes | None:
        nonlocal now
        for _ in range(3):
            if answers:
                return answers.pop(0)
            now += 0.01
            answers.extend(card.outgoing(now))
        now += timeout or 0.0
        return None

    host.command(STORE, now)
    endpoint: Endpoint[HostEvent] = host
    events = run_endpoint(endpoint, send=lambda frame: card.receive(frame, now), receive=receive, clock=lambda: now)
    assert next(iter(events)) == Answered(OK)
