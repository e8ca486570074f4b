"""`keywright card script` and `card shell` on simulated cards."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from keywright.cli import links
from keywright.cli.card import history
from keywright.cli.card.connection import Access, Card
from keywright.cli.card.history import History, is_kept
from keywright.cli.card.shell import Shell
from keywright.cli.card.verbs import app
from keywright.element import SecureElement
from keywright.fob.open import SimulatedLink, open_link
from support.commands import Keywright, Program

READ = """$ISD = A000000151000000
select ${ISD}
expect 9000 6F ?? 84 08 A000000151000000 ..
80CA00C100
$COUNTER = answer[2:5]
open-session level=33
send 80F28002 [4F00] 00
expect 9000
80CA00EE00
expect 6A88
close-session
reset
"""


@pytest.fixture
def read(tmp_path: Path) -> Path:
    path = tmp_path / "read.script"
    path.write_text(READ)
    return path


def test_a_script_runs_and_says_what_it_did(keywright: Keywright, read: Path) -> None:
    ran = keywright("card", "script", read, "--link", "sim:element")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("    2 SELECT A000000151000000")
    assert lines[0].endswith("  9000")
    assert "      -- SCP03 KVN FF, level 33" in lines
    assert lines[-1] == "4 commands, all answered as expected"


def test_full_shows_bytes_and_fields(keywright: Keywright, read: Path) -> None:
    ran = keywright("card", "script", read, "--link", "sim:element", "--full")
    assert "  > 80 CA 00 C1 00\n  < C1 03 00 00 00 90 00\n    sequence counter  000000\n" in ran.out


def test_json_is_one_object_a_line(keywright: Keywright, read: Path) -> None:
    ran = keywright("card", "script", read, "--link", "sim:element", "--json")
    documents = [json.loads(line) for line in ran.out.splitlines()]
    assert documents[0]["line"] == 2
    assert documents[0]["as_expected"] is True
    assert documents[-1]["commands"] == 4


def test_another_answer_ends_the_script_where_it_came(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("select\n80CA00C100\n  expect 9000 C1 03 000001\n80CA006600\n")
    ran = keywright("card", "script", path, "--link", "sim:element")
    assert ran.code == 1
    assert f"{path}:3:3: expected 9000 C103000001, got 9000 C103000000 (ok)" in ran.err
    assert "0066" not in ran.out


def test_a_refusal_nobody_expects_ends_the_script(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("80CA00EE00\n")
    ran = keywright("card", "script", path, "--link", "sim:element")
    assert ran.code == 1
    assert f"{path}:1:1: expected 9000, got 6A88 (referenced data not found)" in ran.err


def test_nothing_is_sent_before_all_is_read(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(uri: str) -> None:
        raise AssertionError(f"{uri} was opened")

    monkeypatch.setattr(links, "open_link", never)
    path = tmp_path / "x"
    path.write_text("select\nfrob\n")
    assert keywright("card", "script", path, "--link", "sim:element").code == 2
    path.write_text("select\n")
    ran = keywright("card", "script", path, "--check")
    assert (ran.code, ran.out) == (0, f"{path}: 1 steps, nothing is wrong\n")


def test_variables_come_from_the_command_line(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("80CA${T}00\n$A = answer[0:9]\n")
    words = ("card", "script", path, "--link", "sim:element")
    assert "the answer has 5 bytes" in keywright(*words, "--set", "T=00C1").err
    assert keywright(*words, "--set", "T").code == 2


def test_what_may_change_a_real_card_is_asked_about_once(
    keywright: Keywright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SecureElement()
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    path = tmp_path / "x"
    path.write_text("$S = 0F\n80F080${S}\nexpect 6982|9000\n")
    ran = keywright("card", "script", path, "--link", "pcsc:x")
    assert ran.code == 5
    assert "send a command that may change it on pcsc:x needs a confirmation" in ran.err
    assert keywright("card", "script", path, "--link", "pcsc:x", "--yes").code == 0
    path.write_text("80CA00C100\n")
    assert keywright("card", "script", path, "--link", "pcsc:x").code == 0


def test_wrong_options_of_a_session_are_named_in_their_line(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("select\nopen-session level=3\n")
    ran = keywright("card", "script", path, "--link", "sim:element")
    assert ran.code == 2
    assert f"{path}:2:1: --level: half a byte" in ran.err


def test_a_session_of_a_script_is_that_of_the_command_line_but_for_what_it_says(
    keywright: Keywright, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    first, second = "open-session\n80CA00D300\nexpect 9000 D30181\n", "open-session level=13\n80CA00D300\n"
    path.write_text(f"{first}{second}expect 9000 D30193\n")
    ran = keywright("card", "script", path, "--link", "sim:element", "--level", "01", "--kvn", "FF")
    assert ran.code == 0, ran.err
    ran = keywright("card", "script", path, "--link", "sim:element", "--level", "01", "--kvn", "30")
    assert ran.code == 6
    assert "KVN 30" in ran.err


# ---- shell


def piped(keywright: Keywright, monkeypatch: pytest.MonkeyPatch, lines: str, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    return keywright("card", "shell", "--link", "sim:element", *words)


def test_a_shell_keeps_its_session_over_lines(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "open-session level=33\n80F28002024F0000\nlist\nexit\nfrob\n"
    code, out, err = piped(keywright, monkeypatch, lines)
    assert (code, err) == (0, "")
    assert out.count("-- SCP03 KVN FF, level 33") == 1
    assert "GET STATUS issuer security domain\n  > 80 F2 80 02 02 4F 00 00\n" in out
    assert "Issuer security domain\n  A000000151000000" in out


def test_what_goes_wrong_ends_one_line_only(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "frob\nlist --nope\nshell\ndata get 00EE\nrun nothing\n'\nlist '\n80CA00C100\n"
    code, out, err = piped(keywright, monkeypatch, lines)
    assert code == 1
    assert "shell:1:1: 'frob' is no word of this language" in err
    assert "no such option: --nope" in err
    assert "this is a shell already" in err
    assert "the card has no object 00EE" in err
    assert "nothing: cannot be read" in err
    assert "no closing quotation" in err
    assert "sequence counter  000000" in out


def test_a_refusal_in_a_shell_is_an_answer(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = piped(keywright, monkeypatch, "80CA00EE00\n")
    assert code == 0
    assert "6A88 referenced data not found" in out


def test_a_shell_runs_scripts_and_shares_nothing_with_them(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, read: Path
) -> None:
    code, out, err = piped(keywright, monkeypatch, f"run {read}\n$T = 00C1\n80CA${{T}}00\nhelp\nhelp keys put\n")
    assert code == 0, err
    assert "sequence counter" in out
    assert "verbs of keywright card" in out
    assert "--new-kvn HEX" in out


def test_json_holds_for_every_line(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = piped(keywright, monkeypatch, "list\n80CA00C100\nlist\nfrob\n", "--json")
    assert code == 1
    documents = [json.loads(line) for line in out.splitlines()]
    assert documents[0]["issuer_domain"] == documents[2]["issuer_domain"]
    assert documents[3]["error"]["code"] == "usage"


def test_a_select_ends_the_session_here_as_it_does_on_the_card() -> None:
    with Card(Access(link="sim:element")) as card:
        shell = Shell(card, app)
        assert shell.prompt == "sim:element> "
        shell.take("open-session")
        assert shell.prompt == "sim:element SCP03 KVN FF level 33> "
        for line in ("select", "open-session", "info", "open-session", "apdu 00A4040000", "open-session", "reset"):
            shell.take(line)
            assert shell.prompt == (
                "sim:element SCP03 KVN FF level 33> " if line == "open-session" else "sim:element> "
            )
        assert not shell.failed


@pytest.mark.parametrize(
    "line",
    [
        "delete A000000003 --link sim:other",
        "list --keys gp-test",
        "info --aid A000000003",
        "list --kvn 30",
        "info --trace t",
        "list --legacy",
    ],
)
def test_an_option_that_names_another_card_or_session_is_refused(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    code, out, err = piped(keywright, monkeypatch, f"{line}\n")
    assert (code, out) == (1, "")
    flag = next(word for word in line.split() if word.startswith("--")).replace("--aid", "--domain")
    assert f"{flag}: the card is open already" in err


def test_yes_holds_for_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_link("sim:element")
    monkeypatch.setattr(links, "open_link", lambda _: device)
    with Card(Access(link="pcsc:x", keys="gp-test")) as card:
        shell = Shell(card, app)
        shell.take("create-domain A0000001515301 --yes")
        assert not shell.failed
        shell.take("delete A0000001515301")
        assert shell.failed
        assert not card.access.yes


def test_words_are_completed() -> None:
    with Card(Access(link="sim:element")) as card:
        shell = Shell(card, app)
    assert shell.complete("", "un") == ["uninstall", "unlock"]
    assert shell.complete("", "op") == ["open-session"]
    assert shell.complete("keys", "de") == ["delete", "detect"]
    assert "--new-kvn" in shell.complete("keys put", "--n")
    assert "shell" not in shell.complete("", "s")


def test_files_are_completed(tmp_path: Path) -> None:
    (tmp_path / "a.cap").touch()
    (tmp_path / ".hidden").touch()
    with Card(Access(link="sim:element")) as card:
        assert Shell(card, app).complete("cap info", f"{tmp_path}/") == [f"{tmp_path}/a.cap"]


def test_the_program_reads_lines_from_a_pipe(program: Program) -> None:
    done = program("card", "shell", "--link", "sim:element", stdin="info\n80CA00C100\n")
    assert done.returncode == 0
    assert "sequence counter  000000" in done.stdout


# ---- history

SECRET = "404142434445464748494A4B4C4D4E4F"


@pytest.mark.parametrize(
    "line",
    [
        f"80D8008113308810{SECRET}00",
        f"send 80D8008113308810{SECRET}00",
        "0020008008241234FFFFFFFFFF",
        f"$KEY = {SECRET}",
        f"send 80E28800 [{SECRET}]",
        f"data put {SECRET}{SECRET}",
        f"script x --set A={SECRET}{SECRET}",
        f"{SECRET}",
        "",
        "# nothing",
    ],
)
def test_what_may_be_a_key_is_never_kept(line: str) -> None:
    assert not is_kept(line)


@pytest.mark.parametrize(
    "line",
    ["list", "00A4040008A000000151000000", "80CA00C100", "delete A0000000030000000000000000", "open-session kvn=30"],
)
def test_other_lines_are_kept(line: str) -> None:
    assert is_kept(line)


def test_the_history_is_private_and_holds_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state" / "history"
    typed = iter(["list", f"80D8008113308810{SECRET}00", "^C", "keys"])

    def asked(_: str) -> str:
        line = next(typed, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr("builtins.input", asked)
    with History(path, lambda before, word: [f"{before}{word}x"]) as lines:
        assert [lines.ask("> ") for _ in range(4)] == ["list", f"80D8008113308810{SECRET}00", "keys", None]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().split() == ["list", "keys"]


def test_a_system_without_readline_still_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_readline", lambda: None)
    monkeypatch.setattr("builtins.input", lambda _: "list")
    with History(tmp_path / "h", lambda *_: []) as lines:
        assert lines.ask("> ") == "list"
    assert not (tmp_path / "h").exists()
