"""`keywright card script`: a plain file of commands, with variables and expectations, run on one card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, final

import msgspec
import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.look import change_of
from keywright.cli.card.options import access, changing
from keywright.cli.card.script_language import (
    Assign,
    CloseSession,
    Expect,
    OpenSession,
    Place,
    Reset,
    Select,
    Send,
    Step,
    command_of,
    read_script,
    wrong,
)
from keywright.cli.card.session import Wish
from keywright.cli.exchanges import as_document, as_lines
from keywright.cli.text import bad, faint, good, say, show_json, width
from keywright.codec.hexa import unhex
from keywright.errors import KeywrightError, UsageError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.explain import Explanation, Transcript
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, meaning

app = typer.Typer(rich_markup_mode=None)

_SELECT_BY_NAME: Final = 0x04
_OK: Final = "9000"


class ExpectationError(KeywrightError):
    """A card answered otherwise than a script expects; the script ended there."""

    code = "expectation"
    hint = "look at the answer above; the commands before it were sent"


@app.command()
@changing
def script(
    card: Card,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The script.")],
    *,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=HEX", help="Set a variable; repeatable. Never a key.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read and check the script; send nothing.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show the bytes and fields of every exchange.")] = False,
) -> None:
    """Run a file of commands with expectations.

    All of it is read and checked before anything is sent.

    A line is a command in hex or one of: $NAME = HEX, ${NAME}, select [AID], open-session [level=33 ...], send HEX,
    expect 9000 [DATA with ?? and ..], $NAME = answer[3:6], close-session, reset, include FILE. [...] in hex puts a
    length byte before what is inside. A command without expect must be answered with 9000.

    Example: keywright card script read.script --link pcsc: --keys card.toml
    """
    variables = dict(map(_given, given or ()))
    steps = read_script(file, variables)
    if check:
        card.tell(f"{file}: {len(steps)} steps, nothing is wrong", {"steps": len(steps)})
        return
    confirm_steps(card, steps, variables)
    runner = Runner(card, variables, full=full)
    for step in steps:
        runner.run(step)
    sent = f"{runner.sent} commands, all answered as expected"
    card.tell(good(sent), {"done": True, "commands": runner.sent})


def _given(text: str) -> tuple[str, bytes]:
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise UsageError(f"--set {text!r}: a variable is set like this: NAME=HEX")
    return name, unhex(value, f"--set {name}")


def confirm_steps(card: Card, steps: Sequence[Step], variables: Mapping[str, bytes]) -> None:
    """Ask before commands that may change a real card. Raises PolicyError for a no."""
    known = dict(variables)
    for step in steps:
        if isinstance(step, Assign) and step.value is not None and all(one.name in known for one in step.value.names):
            known[step.name] = step.value.value(known)
        elif isinstance(step, Assign):
            known.pop(step.name, None)
        elif _may_change(step, known):
            count = sum(isinstance(one, Send) for one in steps)
            card.confirm("send a command that may change it" if count == 1 else "send commands that may change it")
            return


def _may_change(step: Step, variables: Mapping[str, bytes]) -> bool:
    if not isinstance(step, Send):
        return False
    if any(variable.name not in variables for variable in step.command.names):
        return True
    return bool(change_of(command_of(step, variables)))


@final
class Runner:
    """Runs steps on a card, one after the other; a shell runs single ones."""

    def __init__(self, card: Card, variables: dict[str, bytes] | None = None, *, full: bool = False) -> None:
        self._card = card
        self.variables = dict(variables or {})
        self._answer: Response | None = None
        self._transcript = Transcript(KNOWN)
        self._full = full
        self.sent = 0

    def run(self, step: Step, *, strict: bool = True) -> None:
        """One step. Raises ExpectationError; with `strict` off, a refusal without expectation is an answer."""
        match step:
            case Assign():
                self.variables[step.name] = self._assigned(step)
            case Send():
                self._send(step, command_of(step, self.variables), step.expect, strict=strict)
            case Select():
                self._card.drop()
                command = Command(0x00, Ins.SELECT, _SELECT_BY_NAME, 0x00, step.aid.value(self.variables), 0)
                self._send(step, command, step.expect, strict=strict)
            case OpenSession():
                self._open(step)
            case CloseSession():
                self._card.drop()
                self._note("session closed")
            case Reset():
                self._card.reset()
                self._transcript.reset()
                self._note("reset")

    def _assigned(self, step: Assign) -> bytes:
        if step.value is not None:
            return step.value.value(self.variables)
        if self._answer is None:
            raise wrong(step.place, "there is no answer yet", "send a command before")
        data = self._answer.data
        if max(step.start, step.end or 0) > len(data):
            raise wrong(step.place, f"the answer has {len(data)} bytes")
        return data[step.start : step.end]

    def _open(self, step: OpenSession) -> None:
        try:
            asked = _wished(self._card.access.wish, dict(step.words))
        except KeywrightError as error:
            raise wrong(step.place, str(error), error.hint) from error
        session = self._card.open(asked, self._card.access.means())
        self._note(f"SCP{session.scp:02X} KVN {session.kvn:02X}, level {session.level:02X}")

    def _send(self, step: Step, command: Command, expect: Expect | None, *, strict: bool) -> None:
        self.sent += 1
        response = self._answer = self._card.send(command)
        told = self._transcript.explain(command, response)
        expected = expect or Expect(place=step.place, status=(_OK,))
        fits = expected.fits(response.sw, response.data) or (expect is None and not strict)
        self._show(step.place, command, response, told, fits=fits)
        if not fits:
            raise ExpectationError(f"{expected.place}: expected {expected}, got {_got(response, expected)}")

    def _show(self, place: Place, command: Command, response: Response, told: Explanation, *, fits: bool) -> None:
        raw, answer = command.encode(), response.encode()
        if self._card.access.json:
            show_json({"line": place.line, "file": place.file, "as_expected": fits, **as_document(raw, answer, told)})
            return
        for line in as_lines(raw, answer, told) if self._full else _short(place, told, response, fits=fits):
            say(line)

    def _note(self, text: str) -> None:
        if self._card.access.json:
            show_json({"note": text})
        else:
            say(faint(f"      -- {text}"))


def _wished(wish: Wish, words: dict[str, str]) -> Wish:
    """The session of the command line, with what a line of the script says otherwise. Raises UsageError."""
    said = access({**words, "session_kvn": words.get("kvn", "")}).wish
    fields = {"aid" if name == "domain" else name for name in words}
    return msgspec.structs.replace(wish, **{name: getattr(said, name) for name in fields})


def _short(place: Place, told: Explanation, response: Response, *, fits: bool) -> Iterator[str]:
    status = f"{response.sw:04X}" if response.sw == SW.OK else f"{response.sw:04X} {meaning(response.sw).name}"
    room = max(width() - len(status) - 9, 20)
    title = told.title if len(told.title) <= room else f"{told.title[: room - 3]}..."
    yield f"{place.line:5} {title:{room}}  {(good if fits else bad)(status)}"


def _got(response: Response, expected: Expect) -> str:
    data = response.data.hex().upper()
    shown = f" {data}" if expected.data is not None else ""
    return f"{response.sw:04X}{shown} ({meaning(response.sw).name})"
