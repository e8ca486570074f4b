"""The pages of the documentation that are taken from the program itself: its command line and its error codes."""

from __future__ import annotations

import functools
import inspect
import io
import pkgutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Final

from typer.main import get_command

from keywright.cli.main import PROGRAM, application, root_help
from keywright.cli.nouns import NOUNS
from keywright.errors import KeywrightError
from keywright.fob.uri import FORMS

_COLUMNS: Final = 80
_MADE: Final = "<!-- Made by `make docs` from the program; do not edit. -->\n"
_EXIT_CODES: Final = (
    (0, "done; of a lot: every unit sealed"),
    (1, "failed, or a lot is not complete"),
    (2, "what was given cannot be used"),
    (3, "authentication failed"),
    (4, "a link failed"),
    (5, "our own rules forbid it"),
    (6, "a device refused, or broke the protocol"),
    (7, "a lot is complete, some units were set aside"),
    (130, "interrupted (Ctrl-C)"),
)

_command: Final = functools.cache(lambda noun: get_command(application(noun)))
"""The program with one noun; kept, as making it takes longer than all of its help."""

_ERRORS: Final = """An error is one line on standard error, `keywright: MESSAGE`, and one that says what to do next.
With `--json` it is one object on standard output: `{"error": {"code": ..., "message": ..., "hint": ...}}`.
The codes are in [errors.md](errors.md). `--debug` adds the traceback.
"""


def pages() -> dict[str, str]:
    """File name below `docs` and content of every page made here."""
    return {"cli.md": cli_page(), "errors.md": errors_page()}


def write(folder: Path) -> list[Path]:
    """Write the pages into `folder` and return their paths."""
    written = []
    for name, content in pages().items():
        path = folder / name
        path.write_text(content, encoding="utf-8")
        written.append(path)
    return written


def cli_page() -> str:
    """Every noun and verb with its help, the forms of link URIs, and the exit codes."""
    parts = [_MADE, "# Command line\n", _block(root_help())]
    parts.append("## Links\n\nA link is named by a URI, the same everywhere.\n")
    parts.append(
        _table(
            ("URI", "what it is", "to ask", "to serve"),
            ((f"`{f.text}`", f.what, _yes(f.asks), _yes(f.serves)) for f in FORMS),
        )
    )
    parts.append("## Exit codes\n")
    parts.append(_table(("code", "meaning"), ((str(code), text) for code, text in _EXIT_CODES)))
    parts.append(_ERRORS)
    for noun, entry in NOUNS.items():
        parts.append(f"## {noun}\n")
        if not entry.verbs:
            parts.append(_block(_help(noun)))
        for verb in entry.verbs.split():
            parts += [f"### {noun} {verb}\n", _block(_help(noun, verb))]
            parts += [_block(_help(noun, verb, *inner)) for inner in _inner(noun, verb)]
    return "\n".join(parts)


def errors_page() -> str:
    """Every error code with its exit code, its meaning and what to do."""
    parts = [_MADE, "# Error codes\n", "`code` in JSON output, in logs and in the store. Each is a class of errors.\n"]
    for kind in sorted(_kinds(), key=lambda kind: kind.code):
        parts.append(f"## {kind.code}\n")
        parts.append(f"{_first_paragraph(kind)}\n")
        hint = kind.hint or "as the message says"
        parts.append(f"Exit code {kind.exit_code}. Next: {hint}.\n")
        parts.append(f"`{kind.__module__}.{kind.__qualname__}`\n")
    return "\n".join(parts)


def _kinds() -> Iterator[type[KeywrightError]]:
    """Every class of errors in the program; all of it is loaded to find them."""
    for module in pkgutil.walk_packages([str(Path(__file__).parents[1])], "keywright."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    seen: set[str] = set()
    waiting = [KeywrightError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.code not in seen and kind.__module__.startswith("keywright."):
            seen.add(kind.code)
            yield kind


def _first_paragraph(kind: type[KeywrightError]) -> str:
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _inner(noun: str, verb: str) -> list[tuple[str, ...]]:
    """The verbs below a verb, such as those of `card keys`, and those below them."""
    found = getattr(_command(noun), "commands", {})[noun].commands[verb]
    return list(_below(found))


def _below(command: object, *path: str) -> Iterator[tuple[str, ...]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield (*path, name)
        yield from _below(inner, *path, name)


def _help(*words: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        _command(words[0]).main([*words, "--help"], prog_name=PROGRAM, standalone_mode=False, terminal_width=_COLUMNS)
    return out.getvalue()


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def _yes(value: bool) -> str:  # noqa: FBT001 - the one thing that is told
    return "yes" if value else ""


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
