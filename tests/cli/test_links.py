"""Traces that harm no file, and the question before something irreversible."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from keywright.cli import links
from keywright.cli.links import confirm, opened, redacting
from keywright.errors import PolicyError, UsageError
from keywright.link.trace import Event

PUT_KEY = bytes.fromhex("80D80081") + bytes((20,)) + bytes(range(1, 21))
SELECT = bytes.fromhex("00A4040000")


def test_a_trace_is_made_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "t"
    for _ in range(2):
        with opened("sim:element", path) as link:
            link.exchange(SELECT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sum('"dir":"command"' in line for line in path.read_text().splitlines()) == 2


def test_a_file_that_is_no_trace_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("hello\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="there already, and no trace"), opened("sim:element", path):
        pass
    assert path.read_text() == "hello\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="symbolic link"), opened("sim:element", tmp_path / "link"):
        pass
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="symbolic link"), opened("sim:element", tmp_path / "dangling"):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_and_a_pipe_are_no_trace(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere" / "t"):
        with pytest.raises(UsageError), opened("sim:element", path):
            pass


def test_a_trace_that_cannot_be_used_stops_before_the_device_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(uri: str) -> None:
        raise AssertionError(f"{uri} was opened")

    monkeypatch.setattr(links, "open_link", never)
    with pytest.raises(UsageError), opened("sim:element", tmp_path):
        pass


def test_events_that_may_hold_keys_are_masked() -> None:
    seen: list[Event] = []
    sink = redacting(seen.append)
    sink(Event(1.0, "host", "x", "command", PUT_KEY))
    assert seen[0].data == PUT_KEY[:5] + bytes(20)
    assert seen[0].note == "data masked"
    for other in (Event(1.0, "host", "x", "command", SELECT), Event(1.0, "host", "x", "answer", PUT_KEY)):
        sink(other)
        assert seen[-1] is other


def test_each_link_of_a_recording_is_followed_by_itself() -> None:
    seen: list[Event] = []
    sink = redacting(seen.append)
    first, second = bytes.fromhex("80E20800038113FF"), bytes.fromhex("80E20001021122")
    for link, data in (("a", first), ("b", second), ("a", second)):
        sink(Event(1.0, "host", link, "command", data))
    assert [event.note for event in seen] == ["data masked", "", "data masked"]
    for event in (Event(1.0, "host", "a", "command", first), Event(1.0, "host", "a", "reset")):
        sink(event)
    sink(Event(1.0, "host", "a", "command", second))
    assert seen[-1].note == ""


@pytest.mark.parametrize("uri", ["sim:element", "pcsc:x"])
def test_a_trace_is_redacted_unless_the_card_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    with opened("sim:element") as device:
        monkeypatch.setattr(links, "open_link", lambda _: device)
        with opened(uri, tmp_path / "t") as link:
            link.exchange(PUT_KEY)
    assert (PUT_KEY.hex().upper() in (tmp_path / "t").read_text()) == uri.startswith("sim:")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_simulated_devices_ask_nothing() -> None:
    confirm("sim:fob", "erase it", yes=False)
    confirm("", "erase it", yes=False)


def test_a_yes_is_enough() -> None:
    confirm("pcsc:x", "erase it", yes=True)


def test_nobody_to_ask_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(PolicyError) as raised:
        confirm("pcsc:x", "erase it", yes=False)
    assert raised.value.hint == "repeat it with --yes"


@pytest.mark.parametrize("typed", ["y\n", "YES\n", "n\n", "\n", ""])
def test_a_person_is_asked_and_told_which_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    if typed.lower().startswith("y"):
        confirm("pcsc:x", "erase it", yes=False)
    else:
        with pytest.raises(PolicyError, match="nothing was done"):
            confirm("pcsc:x", "erase it", yes=False)
    out, err = capsys.readouterr()
    assert "This will erase it on pcsc:x." in err
    assert out == ""
