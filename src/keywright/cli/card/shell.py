"""`keywright card shell`: the verbs of `card` and commands in hex, one a line, on a card that stays open."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, final

import typer
from typer.main import get_command

from keywright.cli.card.connection import Card
from keywright.cli.card.history import History
from keywright.cli.card.options import changing
from keywright.cli.card.script import Runner, confirm_steps
from keywright.cli.card.script_language import VERBS, Place, parse_line, read_script
from keywright.cli.failure import report
from keywright.cli.person import is_attended
from keywright.cli.text import faint, note, say, wrapped
from keywright.errors import UsageError

_LEAVING: Final = ("exit", "quit")
_OWN: Final = (*_LEAVING, "help", "run", *(verb for verb in VERBS if verb not in ("expect", "include")))
_NAME: Final = "shell"
_HISTORY: Final = Path(".local") / "state" / "keywright" / "history"


def shell_of(verbs: typer.Typer) -> Callable[..., None]:
    """The verb `shell`, which knows all of `verbs`."""

    @changing
    def shell(
        card: Card,
        *,
        history: Annotated[
            Path | None,
            typer.Option("--history", metavar="FILE", help="Where lines are kept; ~/.local/state/... if not."),
        ] = None,
    ) -> None:
        """Talk to a card line by line.

        The session stays open, the prompt says which. A line is a verb of `card` with its options, a command in hex, or
        one of: select [AID], open-session [level=33 ...], close-session, reset, send HEX, $NAME = HEX, run SCRIPT,
        help, exit. Tab completes. Commands that may hold keys are never kept in the history. Without a terminal lines
        are read from standard input; 1 if any failed.

        Example: keywright card shell --link pcsc: --keys card.toml
        """
        talk = Shell(card, verbs)
        if not is_attended():
            _piped(talk)
            return
        note("help shows what there is, exit leaves")
        with History(history or Path.home() / _HISTORY, talk.complete) as lines:
            _typed(talk, lines)

    return shell


def _typed(talk: Shell, lines: History) -> None:
    while not talk.is_over:
        text = lines.ask(talk.prompt)
        if text is None:
            say()
            break
        with contextlib.suppress(KeyboardInterrupt):
            talk.take(text)


def _piped(talk: Shell) -> None:
    for text in sys.stdin or ():
        talk.take(text)
        if talk.is_over:
            break
    if talk.failed:
        raise typer.Exit(1)


@final
class Shell:
    """Takes lines; what goes wrong with one is shown and ends only that one."""

    def __init__(self, card: Card, verbs: typer.Typer) -> None:
        self._card = card
        self._json, self._yes = card.access.json, card.access.yes
        self._runner = Runner(card, full=True)
        self._command = get_command(verbs)
        self._number = 0
        self.is_over = False
        self.failed = 0

    @property
    def prompt(self) -> str:
        """The link, and the session that is open."""
        session = self._card.session
        state = f" SCP{session.scp:02X} KVN {session.kvn:02X} level {session.level:02X}" if session is not None else ""
        return f"{self._card.access.uri}{state}> "

    def take(self, text: str) -> None:
        """One line."""
        self._number += 1
        bare = text.partition("#")[0].strip()
        if not bare:
            return
        try:
            code = self._run(bare)
        except typer.Exit as stop:
            code = stop.exit_code
        except Exception as error:  # noqa: BLE001 - whatever a line does, the next one can be typed
            code = report(error, as_json=self._json)
        self.failed += bool(code)

    def _run(self, text: str) -> int:
        word, _, rest = text.partition(" ")
        if word in _LEAVING:
            self.is_over = True
            return 0
        if word == _NAME:
            raise UsageError("this is a shell already", hint="exit leaves it")
        if word == "help":
            self._help(rest.strip())
            return 0
        self._card.answer(json=self._json, yes=self._yes)
        if word == "run":
            steps = read_script(Path(rest.strip()))
            confirm_steps(self._card, steps, {})
            for step in steps:
                self._runner.run(step)
            return 0
        if word in self._verbs or word.startswith("-"):
            return self._verb(text)
        try:
            step = parse_line(text, Place(_NAME, self._number))
        except UsageError as error:
            raise UsageError(str(error), hint=f"a verb, a command in hex, or: {', '.join(_OWN)}") from error
        confirm_steps(self._card, [step], self._runner.variables)
        self._runner.run(step, strict=False)
        return 0

    def _verb(self, text: str) -> int:
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(
                f"{error}".lower(), hint='quote like this: --privileges "card lock, global delete"'
            ) from None
        result = self._command.main(words, prog_name="card", standalone_mode=False, obj=self._card)
        return result if isinstance(result, int) else 0

    def _help(self, verb: str) -> None:
        if verb:
            self._verb(f"{verb} --help")
            return
        say("verbs of keywright card, with the same options (help VERB shows them):")
        for name, command in self._verbs.items():
            say(f"  {name:16} {command.get_short_help_str(60)}")
        say("and, as in scripts:")
        for line in wrapped(f"{', '.join(_OWN)}, $NAME = HEX, or a command in hex", indent=2):
            say(line)
        say(faint("without a session, commands in hex go plainly; a verb that needs one opens it"))

    @property
    def _verbs(self) -> dict[str, Any]:
        found: dict[str, Any] = getattr(self._command, "commands", {})
        return {name: command for name, command in found.items() if name != _NAME}

    def complete(self, before: str, word: str) -> list[str]:
        """What may stand for the word being typed: verbs, their verbs, their options, files."""
        typed = before.split()
        if not typed:
            return [name for name in (*self._verbs, *_OWN) if name.startswith(word)]
        command: Any = self._command
        for one in typed:
            command = getattr(command, "commands", {}).get(one, command)
        offered = sorted(getattr(command, "commands", {})) if command is not self._command else []
        if word.startswith("-") or not word:
            params = [] if command is self._command else command.params
            offered += [option for param in params for option in param.opts if option.startswith("--")]
        return [name for name in offered if name.startswith(word)] or list(_files(word))


def _files(word: str) -> Iterator[str]:
    """Paths that begin like this."""
    folder, _, name = word.rpartition("/")
    with contextlib.suppress(OSError):
        for path in sorted(Path(folder or ("/" if word.startswith("/") else ".")).iterdir()):
            if path.name.startswith(name) and (name or not path.name.startswith(".")):
                yield f"{folder}/{path.name}" if "/" in word else path.name
