"""How an error reaches the user: one line that says what is wrong, one that says what to do, and an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from typing import NamedTuple

import typer

from keywright.cli.text import printable
from keywright.errors import KeywrightError

_BUG = "this is a fault of keywright; run it again with --debug and report what it prints"


class Failure(NamedTuple):
    """An error as it is shown."""

    code: str
    exit_code: int
    message: str
    hint: str = ""


def report(error: Exception, *, as_json: bool) -> int:
    """Show an error, as JSON on stdout or in words on stderr, and return the exit code."""
    failure = failure_of(error)
    if as_json:
        document = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        print(json.dumps({"error": document}))  # noqa: T201 - this is the output
    else:
        sys.stdout.flush()
        print(f"keywright: {failure.message}", file=sys.stderr)  # noqa: T201 - as above
        if failure.hint:
            print(f"  next: {failure.hint}", file=sys.stderr)  # noqa: T201 - as above
    return failure.exit_code


def failure_of(error: Exception) -> Failure:
    """What to show of an error. Of one that nobody foresaw only its kind and place: its text may hold anything."""
    if isinstance(error, KeywrightError):
        return Failure(error.code, error.exit_code, printable(str(error)), printable(error.hint))
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, typer.Abort):
        return Failure("aborted", 1, "stopped; nothing more was done")
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return Failure("system", 1, printable(f"{name}{error.strerror or type(error).__name__}"))
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {place[0].filename.rpartition('/')[2]}:{place[0].lineno}" if place else ""
    return Failure("internal", 1, f"internal error: {type(error).__name__}{where}", _BUG)


def _usage(error: typer.TyperException) -> Failure:
    """What typer says of a wrong command line, without its capital and full stop, and where to read more."""
    message = error.format_message().strip().rstrip(".") or "this is not a full command"
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "keywright"
    head = message.partition(" ")[0]
    message = message if head.isupper() else message[:1].lower() + message[1:]
    return Failure("usage", error.exit_code, printable(message), f"{path} --help")
