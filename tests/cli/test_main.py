"""The entry point: what is loaded, what a wrong command line says, and that no failure shows a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_group

from keywright import __version__
from keywright.cli import main as entry
from keywright.cli.failure import failure_of
from keywright.cli.nouns import NOUNS
from keywright.errors import (
    AuthenticationError,
    DecodeError,
    KeywrightError,
    LinkError,
    PolicyError,
    StatusError,
    StoreError,
    UsageError,
)
from support.commands import Keywright, Program, environment

HEAVY = ("typer", "pydantic", "msgspec", "sqlalchemy", "alembic", "numpy", "rich", "cryptography", "jinja2", "asyncio")
_ASK = f"""
import sys
from keywright.cli.main import main
main(sys.argv[1:])
print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


def loaded_by(*words: str) -> set[str]:
    asked = [sys.executable, "-c", _ASK, *words]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment())
    return set(done.stderr.splitlines()[-1].split())


def test_help_loads_nothing_that_takes_time() -> None:
    assert loaded_by("--help") == set()


def test_version_loads_nothing_that_takes_time() -> None:
    assert loaded_by("--version") == set()


@pytest.mark.parametrize("noun", ["card", "element", "decode"])
def test_a_noun_without_a_lot_loads_no_database(noun: str) -> None:
    assert not loaded_by(noun, "--help") & {"sqlalchemy", "alembic", "numpy", "rich", "jinja2"}


def test_help_names_every_noun_and_verb(keywright: Keywright) -> None:
    ran = keywright("--help")
    assert ran.code == 0
    for name, noun in NOUNS.items():
        assert f"  {name}" in ran.out
        assert noun.verbs in " ".join(ran.out.split())
    assert max(map(len, ran.out.splitlines())) <= 80


def test_no_words_show_the_help_and_are_a_usage_error(keywright: Keywright) -> None:
    assert keywright() == (2, keywright("--help").out, "")


@pytest.mark.parametrize("noun", [name for name, noun in NOUNS.items() if noun.verbs])
def test_the_table_of_nouns_lists_the_verbs_there_are(noun: str) -> None:
    root = get_group(entry.application(noun))
    group = root.commands[noun]
    assert isinstance(group, TyperGroup)
    assert sorted(group.commands) == sorted(NOUNS[noun].verbs.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("crad", "info"), "no such command 'crad'. Did you mean 'card'"),
        (("card", "inof"), "no such command 'inof'. Did you mean 'info'?"),
        (("card", "info", "--lnik", "x"), "no such option: --lnik"),
        (("campaign", "run"), "missing argument 'RECIPE'"),
        (("campaign", "status"), "missing option '--store'"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_the_way_on(
    keywright: Keywright, words: tuple[str, ...], message: str
) -> None:
    ran = keywright(*words)
    assert ran.code == 2
    first, second = ran.err.splitlines()
    assert first.startswith(f"keywright: {message}")
    assert second.startswith("  next: ")
    assert second.endswith(" --help")
    assert ran.out == ""


def test_errors_are_an_object_under_json(keywright: Keywright) -> None:
    ran = keywright("card", "info", "--link", "nothing", "--json")
    assert ran.code == 2
    assert ran.err == ""
    error = json.loads(ran.out)["error"]
    assert error["code"] == "usage"
    assert set(error) == {"code", "message", "hint"}
    assert error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (KeywrightError("x"), 1),
        (UsageError("x"), 2),
        (AuthenticationError("x"), 3),
        (LinkError("x"), 4),
        (PolicyError("x"), 5),
        (StatusError(0x6A88), 6),
        (DecodeError("x"), 6),
        (StoreError("x"), 1),
        (FileNotFoundError(2, "No such file", "a"), 1),
        (RuntimeError("x"), 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: Exception, exit_code: int) -> None:
    assert failure_of(error).exit_code == exit_code


def test_the_text_of_an_unforeseen_error_is_not_shown() -> None:
    failure = failure_of(RuntimeError("0123456789abcdef-secret"))
    assert failure.code == "internal"
    assert "secret" not in failure.message + failure.hint
    assert "--debug" in failure.hint


def test_an_error_message_cannot_break_its_line_or_steer_the_terminal() -> None:
    message = failure_of(UsageError("a\nb\x1b[31mc\x07")).message
    assert message == "a b\\x1b[31mc\\x07"


def test_no_failure_shows_a_traceback_unless_debug_is_given(program: Program) -> None:
    shown = program("card", "info", "--link", "nothing")
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr
    debugged = program("card", "--debug", "info", "--link", "nothing")
    assert "Traceback" in debugged.stderr


def test_a_broken_pipe_ends_without_a_word() -> None:
    shell = f"{sys.executable} -m keywright decode 00A4040000 00A4040000 80CA006600 | true"
    done = subprocess.run(
        ["bash", "-c", f"for n in 1 2 3; do {shell}; done"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.stderr == ""


def test_the_version_is_shown(keywright: Keywright) -> None:
    assert keywright("--version").out == f"keywright {__version__}\n"


def test_a_person_who_gives_up_at_a_question_is_told_nothing_more_was_done() -> None:
    assert failure_of(typer.Abort()).message == "stopped; nothing more was done"


def test_json_after_two_dashes_is_no_switch(keywright: Keywright) -> None:
    ran = keywright("decode", "--", "--json")
    assert ran.code == 2
    assert ran.err.startswith("keywright: ")


def test_debug_raises_what_went_wrong(keywright: Keywright) -> None:
    with pytest.raises(UsageError):
        keywright("card", "info", "--link", "nothing", "--debug")


def test_an_interrupt_inside_typer_is_130_too(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keywright.cli.card.look.read_card", interrupted)
    assert keywright("card", "info", "--link", "sim:element").code == 130


def test_an_interrupt_is_130_and_one_line(
    program: Program, monkeypatch: pytest.MonkeyPatch, keywright: Keywright
) -> None:
    monkeypatch.setattr(entry, "_run", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    ran = keywright("card", "info")
    assert ran.code == 130
    assert ran.err == "\nkeywright: interrupted\n"


def test_an_interrupt_under_json_is_an_error_object(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_run", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    ran = keywright("card", "info", "--json")
    assert (ran.code, ran.err) == (130, "")
    assert json.loads(ran.out)["error"]["code"] == "interrupted"


def in_shell(words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command line of the program with redirections."""
    line = f"{sys.executable} -m keywright {words}"
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False, env=environment(**more)
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--version >&-", 0),
        ("decode 00A4040000 --json >&-", 0),
        ("card info --link x >&- 2>&-", 2),
        ("decode - <&-", 6),
    ],
)
def test_a_closed_stream_is_no_fault(words: str, code: int) -> None:
    done = in_shell(words)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "internal" not in done.stderr


@pytest.mark.parametrize("words", ["--version", "decode 00A4040000", "card info --link nothing --json"])
def test_output_that_cannot_be_written_is_one_line_and_1(words: str) -> None:
    done = in_shell(f"{words} >/dev/full")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("keywright: ")
    assert line.endswith("No space left on device")


def test_text_and_json_need_no_particular_locale() -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    shown = in_shell("decode --json fob-ü.txt", **ascii_only)
    assert json.loads(shown.stdout)["error"]["code"] != "internal"
    said = in_shell("card info --link ü", **ascii_only)
    assert (said.returncode, "Traceback" in said.stderr) == (2, False)


def complete(program: Program, line: str) -> set[str]:
    """What bash would offer for the last word of a line."""
    words = line.split(" ")
    done = program(
        _KEYWRIGHT_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
        PATH=os.environ["PATH"],
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("keywright c", {"card", "campaign", "ceremony", "cluster"}),
        ("keywright card in", {"info", "install"}),
        ("keywright card keys ", {"put", "delete", "detect", "rotate"}),
        ("keywright card info --li", {"--link"}),
        ("keywright campaign re", {"resume", "report", "release", "remake", "return", "rework"}),
    ],
)
def test_the_shell_completes_nouns_verbs_and_options(program: Program, line: str, offered: set[str]) -> None:
    assert complete(program, line) == offered


def test_a_verb_is_the_same_whether_its_topic_or_everything_is_loaded() -> None:
    noun = NOUNS["card"]
    whole: Any = get_group(entry.application("card"))
    for verb in noun.topics:
        alone: Any = get_group(entry.application("card", verb))
        shown = [
            [(one.name, one.opts, one.help) for one in app.commands["card"].commands[verb].params]
            for app in (alone, whole)
        ]
        assert shown[0] == shown[1]
        assert set(alone.commands["card"].commands) < set(noun.verbs.split())


def test_to_look_at_a_card_loads_no_verb_of_another_topic() -> None:
    code = "import sys; from keywright.cli.main import main; main(['card', 'info', '--link', 'sim:element']); "
    code += "print([name for name in sys.modules if name.startswith('keywright.cli.card.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    loaded = done.stdout.splitlines()[-1]
    assert "'keywright.cli.card.look'" in loaded
    assert not any(f"card.{other}'" in loaded for other in ("verbs", "cap", "ota", "key_verbs", "shell"))
