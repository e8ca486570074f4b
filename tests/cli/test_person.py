"""Who is asked, and what it means when nobody is there."""

from __future__ import annotations

import io
import os
import pty
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.cli.campaign import _swap
from keywright.cli.person import ask, ask_hidden, ask_passphrase, is_attended
from keywright.errors import PolicyError
from keywright.production.hsm.pin import read_pin
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


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal at standard input; what is written to it is typed."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        yield ours
    os.close(ours)


def test_a_new_passphrase_is_typed_until_two_agree_and_what_is_typed_early_is_kept(
    typing: int, capsys: pytest.CaptureFixture[str]
) -> None:
    os.write(typing, b"horse\nhorsf\n\nb\xc3\xa4r\nb\xc3\xa4r\n")
    assert ask_passphrase("New passphrase", twice=True) == "bär".encode()
    assert "These two are not the same.\n" in capsys.readouterr().err


def test_the_end_of_the_input_is_no_passphrase(typing: int) -> None:
    os.write(typing, b"\x04")
    with pytest.raises(PolicyError, match="nothing was typed"):
        ask_passphrase("Passphrase")


def test_the_pin_of_a_token_is_typed_at_the_terminal_which_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setattr("keywright.production.hsm.pin.TERMINAL", Path(os.ttyname(theirs)))
    monkeypatch.delenv("KEYWRIGHT_PIN_FILE", raising=False)
    monkeypatch.setattr(
        "keywright.production.hsm.pin._line",
        lambda terminal: os.write(ours, b"24680\n") and terminal.readline().decode().strip(),
    )
    assert read_pin("") == "24680"
    seen = os.read(ours, 100)
    os.close(theirs)
    os.close(ours)
    assert b"PIN of the token: " in seen
    assert b"24680" not in seen
