"""Who is asked, and what it means when nobody is there."""

from __future__ import annotations

import io
import os
import pty
import termios
from pathlib import Path

import pytest

from keywright.cli.campaign import _swap
from keywright.cli.person import ask, ask_hidden, is_attended
from support.commands import Keywright


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stdin", "attended"), [(None, False), (io.StringIO(), False), (Terminal(), True)])
def test_only_a_terminal_has_a_person(
    monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None, *, attended: bool
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    assert is_attended() is attended


def test_a_question_stands_on_stderr_and_is_answered_by_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("one\ntwo\n"))
    assert [ask("First?"), ask("Second?"), ask("Third?")] == ["one\n", "two\n", ""]
    assert capsys.readouterr() == ("", "First? Second? Third? ")


@pytest.mark.parametrize(
    ("typed", "goes_on"), [("\n", True), ("yes\n", True), ("q\n", False), (" Q \n", False), ("", False)]
)
def test_the_next_device_is_waited_for_until_q_or_the_end_of_the_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, *, goes_on: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert _swap("K-2", "this one is K-1, sealed") is goes_on
    assert capsys.readouterr().err == ("this one is K-1, sealed\nPut the device for K-2 on, then Enter (q to stop): ")


def test_without_a_standard_input_every_question_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, keywright: Keywright, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    asked = keywright("keystore", "new", tmp_path / "keys", "--passphrase")
    assert (asked.code, "--unlock FILE" in asked.err) == (5, True)
    assert keywright("decode", "-").err.startswith("keywright: there is nothing to decode")


def test_a_secret_is_one_line_of_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("00 11\nnext\n"))
    assert [ask_hidden("Part:"), ask_hidden("Part:"), ask_hidden("Part:")] == ["00 11\n", "next\n", ""]
    assert capsys.readouterr() == ("", "Part: Part: Part: ")


def test_a_terminal_shows_nothing_of_a_secret_and_echoes_again_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, encoding="ascii") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("keywright.cli.person.ask", lambda _: os.write(ours, b"secret\n") and terminal.readline())
        before = termios.tcgetattr(theirs)
        assert ask_hidden("Part:") == "secret\n"
        assert termios.tcgetattr(theirs) == before
        os.write(ours, b"shown\n")
        terminal.readline()
        seen = os.read(ours, 100)
    os.close(ours)
    assert b"secret" not in seen
    assert b"shown" in seen
