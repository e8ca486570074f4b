"""Recording and replaying: a replay answers as the recorded link did, and says where it would have differed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import LinkError
from keywright.link import Event, Fault, FaultAt, Loopback, Recording, Replay, TraceFile, read_trace
from keywright.link.fault import Kind
from support.echo import Echo


def record(*faults: FaultAt, extended: bool = True) -> tuple[Recording, list[Event]]:
    """A recording link over an echo with these faults, and its events."""
    events: list[Event] = []
    ticks = iter(range(1000))
    link = Fault(Loopback(Echo(), "echo", extended=extended), faults)
    return Recording(link, events.append, "station 1", clock=lambda: float(next(ticks))), events


def test_a_recording_tells_everything_in_order() -> None:
    link, events = record(FaultAt(1, "drop_answer"))
    link.exchange(b"a")
    with pytest.raises(LinkError):
        link.exchange(b"b")
    link.reset()
    link.close()
    assert [(event.time, event.direction, event.data) for event in events] == [
        (0.0, "open", Echo().atr),
        (1.0, "command", b"a"),
        (2.0, "answer", b"a\x90\x00"),
        (3.0, "command", b"b"),
        (4.0, "lost", b""),
        (5.0, "reset", Echo().atr),
        (6.0, "close", b""),
    ]
    assert {(event.who, event.link) for event in events} == {("station 1", "echo")}
    assert (events[4].note, events[4].delivered) == ("echo: no answer", None)


def test_the_command_is_told_before_the_device_sees_it() -> None:
    device = Echo()
    seen: list[int] = []
    link = Recording(Loopback(device), lambda _event: seen.append(len(device.seen)))
    link.exchange(b"a")
    assert seen == [0, 0, 1]


def test_a_reset_that_fails_is_told() -> None:
    link, events = record()
    link.close()
    with pytest.raises(LinkError):
        link.reset()
    assert (events[-1].direction, events[-1].delivered) == ("lost", False)
    replay = Replay(events)
    with pytest.raises(LinkError, match="closed") as caught:
        replay.reset()
    assert caught.value.delivered is False


@given(st.lists(st.binary(min_size=1, max_size=8) | st.none(), max_size=8))
def test_a_replay_answers_as_the_recorded_link(script: list[bytes | None]) -> None:
    def play(link: Recording | Replay) -> list[bytes]:
        return [link.reset() if step is None else link.exchange(step) for step in script]

    link, events = record()
    answers = play(link)
    replay = Replay(events)
    assert play(replay) == answers
    assert replay.remaining == 0


def test_a_replay_through_a_file_is_the_same(tmp_path: Path) -> None:
    with TraceFile(tmp_path / "trace") as trace:
        link = Recording(Loopback(Echo()), trace.write)
        link.exchange(b"\x00\xa4")
    replay = Replay(read_trace(tmp_path / "trace"))
    assert replay.exchange(b"\x00\xa4") == b"\x00\xa4\x90\x00"
    assert replay.atr == Echo().atr


@pytest.mark.parametrize("extended", [True, False])
def test_a_replay_knows_whether_the_link_was_extended(*, extended: bool) -> None:
    assert Replay(record(extended=extended)[1]).extended is extended


@pytest.mark.parametrize(("kind", "delivered"), [("cut_before", False), ("cut_after", None), ("drop_answer", None)])
def test_a_recorded_loss_is_lost_again(kind: Kind, *, delivered: bool | None) -> None:
    link, events = record(FaultAt(0, kind))
    with pytest.raises(LinkError) as first:
        link.exchange(b"a")
    replay = Replay(events)
    with pytest.raises(LinkError) as second:
        replay.exchange(b"a")
    assert str(second.value) == str(first.value)
    assert second.value.delivered is first.value.delivered is delivered


def recorded() -> list[Event]:
    link, events = record()
    link.exchange(b"\x01")
    link.exchange(b"\x02")
    return events


def test_another_command_is_refused_naming_place_expected_and_got() -> None:
    replay = Replay(recorded())
    replay.exchange(b"\x01")
    with pytest.raises(LinkError, match="event 2: expected command 02, got FF") as caught:
        replay.exchange(b"\xff")
    assert caught.value.delivered is False
    assert replay.exchange(b"\x02") == b"\x02\x90\x00"


def test_long_commands_are_named_in_short() -> None:
    replay = Replay(recorded())
    with pytest.raises(LinkError, match=r"got 0000.*\.\.\. \(500 bytes\)"):
        replay.exchange(bytes(500))


def test_a_lenient_replay_answers_by_position() -> None:
    replay = Replay(recorded(), lenient=True)
    assert replay.exchange(b"\xff") == b"\x01\x90\x00"
    assert replay.reset() == Echo().atr
    assert replay.exchange(b"\xff") == b"\x02\x90\x00"


def test_the_end_of_the_recording_is_named() -> None:
    replay = Replay(recorded(), lenient=True)
    replay.exchange(b"\x01")
    replay.exchange(b"\x02")
    with pytest.raises(LinkError, match="event 4: the recording ends here, got command 03"):
        replay.exchange(b"\x03")
    assert replay.reset() == Echo().atr


def test_a_reset_that_was_not_recorded_is_refused_when_strict() -> None:
    replay = Replay(recorded())
    with pytest.raises(LinkError, match="event 0: expected command 01, got reset"):
        replay.reset()


def test_a_command_in_place_of_a_recorded_reset_is_refused_even_when_lenient() -> None:
    link, events = record()
    link.reset()
    replay = Replay(events, lenient=True)
    with pytest.raises(LinkError, match="expected reset"):
        replay.exchange(b"\x01")


def test_a_recording_that_ends_in_a_command_lost_its_answer() -> None:
    replay = Replay(recorded()[:2])
    with pytest.raises(LinkError, match="has no answer") as caught:
        replay.exchange(b"\x01")
    assert caught.value.delivered is None


def test_a_closed_replay_delivers_nothing() -> None:
    replay = Replay(recorded())
    replay.close()
    with pytest.raises(LinkError, match="closed"):
        replay.exchange(b"\x01")
