"""Events and their file: round trip, junk, torn lines, mode 0600."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError, StoreError, UsageError
from keywright.link import Event, TraceFile, read_trace
from keywright.link.trace import Direction

events = st.builds(
    Event,
    time=st.floats(0, 4e9),
    who=st.text(max_size=8),
    link=st.text(max_size=8),
    direction=st.sampled_from(get_args(Direction)),
    data=st.binary(max_size=20),
    note=st.text(max_size=8),
    delivered=st.none() | st.booleans(),
)


@given(events)
def test_an_event_survives_its_line(event: Event) -> None:
    line = event.to_json()
    assert b"\n" not in line
    assert Event.from_json(line) == event


@given(events, st.data())
def test_a_cut_line_is_refused(event: Event, data: st.DataObject) -> None:
    line = event.to_json()
    with pytest.raises(DecodeError):
        Event.from_json(line[: data.draw(st.integers(0, len(line) - 1))])


@given(st.binary(max_size=60))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(DecodeError):
        Event.from_json(junk)


def test_a_line_has_the_documented_fields() -> None:
    line = Event(1.5, "host", "loopback", "command", b"\x00\xa4").to_json()
    assert json.loads(line) == {"t": 1.5, "who": "host", "link": "loopback", "dir": "command", "hex": "00A4"}


@pytest.mark.parametrize(
    "line",
    [
        '{"t":1,"who":"h","link":"l","dir":"sideways","hex":""}',
        '{"t":1,"who":"h","link":"l","dir":"answer","hex":"0"}',
        '{"t":1,"who":"h","link":"l","dir":"answer","hex":"zz"}',
        '{"t":"x","who":"h","link":"l","dir":"answer","hex":""}',
        '{"who":"h","link":"l","dir":"answer","hex":""}',
        "[]",
    ],
)
def test_a_line_with_a_wrong_field_is_refused(line: str) -> None:
    with pytest.raises(DecodeError, match="not a trace event"):
        Event.from_json(line.encode())


def event(number: int) -> Event:
    return Event(float(number), "host", "echo", "command", bytes([number]))


def test_a_file_gives_back_what_was_written_also_in_two_goes(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with TraceFile(path) as trace:
        trace.write(event(1))
        trace(event(2))
        assert list(read_trace(path)) == [event(1), event(2)]
    with TraceFile(path) as trace:
        trace.write(event(3))
    assert list(read_trace(path)) == [event(1), event(2), event(3)]


@pytest.mark.parametrize("before", [None, 0o644])
def test_a_trace_is_for_its_owner_only(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "trace"
    old = os.umask(0)
    try:
        if before is not None:
            path.touch(before)
        TraceFile(path).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_last_line_that_a_kill_cut_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(event(1).to_json() + b"\n" + event(2).to_json()[:-3])
    assert list(read_trace(path)) == [event(1)]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    first = event(1).to_json() + b"\n"
    path.write_bytes(first + b"\n{}\n" + first)
    with pytest.raises(DecodeError, match="trace line 3: ") as caught:
        list(read_trace(path))
    assert caught.value.offset == len(first) + 1


def test_a_path_that_cannot_be_used_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        TraceFile(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_trace(tmp_path / "missing"))


def test_a_trace_may_go_to_a_device() -> None:
    with TraceFile("/dev/null") as trace:
        trace.write(event(1))


def test_a_trace_that_cannot_be_written_is_an_error() -> None:
    with TraceFile("/dev/full") as trace, pytest.raises(StoreError, match="No space left"):
        trace.write(event(1))


def test_a_closed_trace_refuses(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "trace")
    trace.close()
    trace.close()
    with pytest.raises(StoreError, match="closed"):
        trace.write(event(1))


def test_a_trace_is_not_written_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="cannot be written"):
        TraceFile(tmp_path / "link")
    assert (tmp_path / "real").read_text() == ""
