"""The entry point: finds the noun, runs the verb, and turns every failure into one line and an exit code.

Only the noun that was asked for is loaded. `keywright --help` is answered from the table of nouns, so that it costs
little more than the start of the interpreter.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

from keywright.cli.nouns import NOUNS

if TYPE_CHECKING:
    import typer

PROGRAM: Final = "keywright"
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""
UNWRITTEN: Final = 1
"""Exit code when the output could not be written."""

_COLUMNS: Final = 80
_HELP: Final = frozenset({"-h", "--help"})
_COMPLETE: Final = "_KEYWRIGHT_COMPLETE"
_SWITCHES: Final = (
    ("--help", "Show this, or the help of a noun or verb."),
    ("--version", "Show the version."),
    ("--debug", "Show the traceback of an error."),
    ("--install-completion", "Teach the shell to complete keywright's words."),
    ("--show-completion", "Show what that would install."),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without program name; default: the process's) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    switches = words[: words.index("--")] if "--" in words else words
    debug, as_json = "--debug" in switches, "--json" in switches
    if debug:
        words.remove("--debug")
    _prepare_streams()
    try:
        code = _answered(words, debug=debug, as_json=as_json)
        sys.stdout.flush()
    except OSError as error:
        if debug and not isinstance(error, BrokenPipeError):
            raise
        return _unwritten(error)
    return code


def root_help() -> str:
    """What `keywright --help` shows."""
    lines = [
        f"Usage: {PROGRAM} NOUN [VERB] [OPTIONS]",
        "",
        "Provision what holds keys: key fobs, secure elements, cards.",
        "",
    ]
    lines.append("Nouns:")
    width = max(map(len, NOUNS)) + 2
    for name, noun in NOUNS.items():
        lines.append(f"  {name:{width}}{noun.help}")
        lines += [f"  {'':{width}}  {row}" for row in _rows(noun.verbs, _COLUMNS - width - 4)]
    lines += ["", "Options:"]
    width = max(len(name) for name, _ in _SWITCHES) + 2
    lines += [f"  {name:{width}}{text}" for name, text in _SWITCHES]
    lines += ["", f"More: {PROGRAM} NOUN --help, {PROGRAM} NOUN VERB --help"]
    return "\n".join(lines) + "\n"


def _rows(words: str, room: int) -> list[str]:
    """Words in rows of at most `room` columns."""
    rows: list[str] = []
    for word in words.split():
        if rows and len(rows[-1]) + 1 + len(word) <= room:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def application(noun: str, verb: str = "") -> typer.Typer:
    """The whole command line as a typer application, of which only `noun` is loaded; the others have their help.

    verb: the one that will be run, if it is known; verbs of another topic may then be missing.
    """
    import typer  # noqa: PLC0415 - not needed for --help, and it costs several starts of the interpreter

    app = typer.Typer(
        name=PROGRAM,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_nothing)
    for name, entry in NOUNS.items():
        if name != noun:
            app.command(name, help=entry.help)(_nothing)
            continue
        module = import_module(entry.module_of(verb))
        if entry.verbs:
            app.add_typer(module.app, name=name, help=entry.help)
        else:
            app.command(name)(module.command)
    return app


def _answered(words: list[str], *, debug: bool, as_json: bool) -> int:
    """Run the words and show what went wrong; an OSError that comes out of here is one of our output."""
    try:
        return _run(words)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _interrupted(as_json=as_json)
    except Exception as error:
        if debug:
            raise
        from keywright.cli.failure import report  # noqa: PLC0415 - loads what --help does not need

        return report(error, as_json=as_json)


def _run(words: list[str]) -> int:
    if _COMPLETE not in os.environ:
        if not words or words[0] in _HELP:
            sys.stdout.write(root_help())
            return 0 if words else 2
        if words[0] == "--version":
            from keywright import __version__  # noqa: PLC0415 - as above

            sys.stdout.write(f"{PROGRAM} {__version__}\n")
            return 0
    from typer.main import get_command  # noqa: PLC0415 - not needed for --help

    command = get_command(application(_noun(words), _verb(words)))
    try:
        result = command.main(words, prog_name=PROGRAM, complete_var=_COMPLETE, standalone_mode=False)
    except SystemExit as stop:  # shell completion, and a pipe that typer found broken
        result = stop.code
    if result == INTERRUPTED:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _noun(words: list[str]) -> str:
    """The first word that is a noun; while the shell completes, the words are in the environment."""
    if _COMPLETE in os.environ:
        words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()[1:]
    return next((word for word in words if not word.startswith("-")), "")


def _verb(words: list[str]) -> str:
    """The word behind the noun; none while the shell completes, for any may be meant."""
    return words[1] if len(words) > 1 and _COMPLETE not in os.environ else ""


def _nothing() -> None:
    """Stands for a noun that is not loaded."""


def _prepare_streams() -> None:
    """Make stdout and stderr take any text; one that was closed (`>&-`) goes nowhere.

    A closed descriptor is taken first, or the next file that is opened gets its number and what is meant for people.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - as above
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _unwritten(error: OSError) -> int:
    """Our output cannot be written. The interpreter shall not try again at exit; a reader that has gone is not told."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        with suppress(OSError):
            sys.stderr.write(f"{PROGRAM}: the output was not written: {error.strerror}\n")
    return UNWRITTEN


def _interrupted(*, as_json: bool) -> int:
    if as_json:
        sys.stdout.write('{"error": {"code": "interrupted", "message": "interrupted", "hint": ""}}\n')
    else:
        sys.stderr.write(f"\n{PROGRAM}: interrupted\n")
    return INTERRUPTED
