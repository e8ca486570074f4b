"""A unit's exchange as a sequence diagram: an SVG that says who told whom what, and what went protected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, final

import msgspec
from markupsafe import Markup

from keywright.errors import DecodeError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.explain import Explanation, Transcript
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, is_ok, is_warning, meaning
from keywright.production.reports.rendering import render
from keywright.production.reports.sequence import AUTHORITY, FOB, HOST, KEYSTORE, STORE, Step

Explain = Callable[[Command, Response | None], Explanation]

EXCHANGES_SHOWN: Final = 250
"""Rows of a diagram; a longer exchange is cut there and says so."""

_FIRST_LANE: Final = 122
_NEAR: Final = 108
_FAR: Final = 330
_NOTES: Final = 372
_TOP: Final = 42
_HEIGHTS: Final = {"band": 28, "exchange": 38, "aside": 26}
_LABEL: Final = 50
_NOTE: Final = 52
_ASIDE: Final = 60
_LONG_HEX: Final = re.compile(r"\b([0-9A-F]{8})[0-9A-F]{9,}")
_GET_RESPONSE: Final = f"{Ins.GET_RESPONSE:02X}"
_MORE: Final = "61"
_NOTHING_THERE: Final = frozenset({SW.REFERENCED_DATA_NOT_FOUND, SW.NOT_FOUND})
"""Refusals that are an answer: there is no such object, key set or application."""


class Lane(msgspec.Struct, frozen=True):
    """Who takes part, and where its line stands."""

    name: str
    x: int


class Row(msgspec.Struct, kw_only=True):
    """One line of the picture: a band with a step's name, an exchange, or a message aside. Positions in pixels."""

    kind: str
    label: str
    y: int = 0
    start: int = 0
    to: int = 0
    time: str = ""
    secured: bool = False
    answered: bool = False
    answer_secured: bool = False
    status: str = ""
    tone: str = ""
    note: str = ""
    full: str = ""


def sequence_svg(steps: Iterable[Step], explain: Explain | None = None, *, standalone: bool = False) -> Markup:
    """Draw steps in the order of their times; empty when there are none.

    `explain` puts an exchange into words; by default it knows GlobalPlatform and the credential applet. Standalone,
    the drawing brings its own colours and can be a file; otherwise the page around it has `sequence.css`.
    """
    known = sorted(steps, key=lambda step: step.t)
    if not known:
        return Markup("")
    lanes = _lanes(known)
    begin = next((step.t for step in known if step.dir == "command"), known[0].t)
    rows = list(_Drawing(begin, {lane.name: lane.x for lane in lanes}, explain or Transcript(KNOWN).explain)(known))
    y = _TOP
    for row in rows:
        row.y = y
        y += _HEIGHTS[row.kind]
    style = render("colours.css") + render("sequence.css") if standalone else ""
    width = lanes[-1].x + _NOTES
    return render(
        "sequence.svg", lanes=lanes, rows=rows, width=width, height=y + 12, style=style, title=describe(known)
    )


def describe(steps: Iterable[Step]) -> str:
    """How many exchanges there are, and how many of them protected, in words."""
    commands = [step for step in steps if step.dir == "command"]
    return f"{len(commands)} exchanges, {sum(step.is_protected for step in commands)} of them under secure messaging"


def _lanes(steps: list[Step]) -> list[Lane]:
    """Left to right: what the host asks aside, the host, and the device, with room for words before it."""
    seen = {name for step in steps for name in (step.who, step.to)}
    aside = [name for name in (STORE, KEYSTORE, AUTHORITY) if name in seen]
    others = sorted(seen - {*aside, HOST, FOB})
    names = [*aside, *others, *(name for name in (HOST, FOB) if name in seen)]
    lanes = [Lane(name, _FIRST_LANE + _NEAR * index) for index, name in enumerate(names)]
    if len(lanes) > 1:
        lanes[-1] = Lane(names[-1], lanes[-2].x + _FAR)
    return lanes


@final
class _Drawing:
    """Turns steps into rows: a command and its answer are one."""

    def __init__(self, begin: float, lanes: dict[str, int], explain: Explain) -> None:
        self._begin = begin
        self._lanes = lanes
        self._explain = explain
        self._band = ""
        self._count = 0
        self._asked: Step | None = None
        self._answer: Step | None = None

    def __call__(self, steps: Iterable[Step]) -> Iterator[Row]:
        for step in steps:
            if self._count >= EXCHANGES_SHOWN:
                yield Row(kind="band", label=f"cut after {EXCHANGES_SHOWN} rows")
                return
            yield from self._step(step)
        yield from self._settled()

    def _step(self, step: Step) -> Iterator[Row]:
        if step.dir == "command":
            if self._answer is None or step.hex[2:4] != _GET_RESPONSE:
                yield from self._settled()
                yield from self._enter(step)
                self._asked = step
        elif step.dir in ("answer", "lost"):
            # 61xx is held back: what GET RESPONSE brings belongs to the same exchange.
            self._answer = _joined(self._answer, step)
            if step.dir == "lost" or step.hex[-4:-2] != _MORE:
                yield from self._settled()
        else:
            yield from self._settled()
            if step.dir == "message":
                yield from self._enter(step)
                yield self._aside(step, step.note)
            elif step.dir == "reset":
                yield self._aside(step, "power on, reset")

    def _settled(self) -> Iterator[Row]:
        """The exchange that waits for its end, if one does."""
        asked, answer = self._asked, self._answer
        self._asked = self._answer = None
        if asked is not None:
            yield self._exchange(asked, answer)

    def _enter(self, step: Step) -> Iterator[Row]:
        if step.step and step.step != self._band:
            self._band = step.step
            yield Row(kind="band", label=step.step.replace("_", " "))

    def _aside(self, step: Step, text: str) -> Row:
        row = self._row("aside", step)
        row.label, row.full = _clipped(text, _ASIDE), text
        return row

    def _exchange(self, asked: Step, answer: Step | None) -> Row:
        row = self._row("exchange", asked)
        row.secured = asked.is_protected
        command, response = _command(asked), _response(answer)
        if command is None:
            row.label = f"{len(asked.hex) // 2} bytes that are no command"
        else:
            told = self._explain(command, response)
            row.label = _clipped(told.title.removesuffix(" (protected)"), _LABEL)
            row.note = _clipped(_LONG_HEX.sub(r"\1…", " · ".join(_said(told.answered or told.asked))), _NOTE)
            row.full = " · ".join((told.title, *_said(told.lines)))
        if answer is None or answer.dir == "lost":
            row.status, row.tone = _clipped(answer.note if answer else "no answer", _NOTE), "bad"
        else:
            row.answered, row.answer_secured = True, answer.is_protected
            row.status, row.tone = _status(response)
        return row

    def _row(self, kind: str, step: Step) -> Row:
        self._count += 1
        return Row(
            kind=kind,
            label="",
            start=self._lanes[step.who],
            to=self._lanes[step.to],
            time=_elapsed(step.t - self._begin) if step.t >= self._begin else "",
        )


def _joined(before: Step | None, step: Step) -> Step:
    """An answer with what came before it in pieces; one that was opened is whole already."""
    if before is None or step.plain or step.dir == "lost":
        return step
    return msgspec.structs.replace(step, hex=before.hex[:-4] + step.hex)


def _command(step: Step) -> Command | None:
    try:
        return Command.parse(bytes.fromhex(step.plain or step.hex))
    except DecodeError:
        return None


def _response(step: Step | None) -> Response | None:
    try:
        return Response.parse(bytes.fromhex(step.plain or step.hex)) if step is not None else None
    except DecodeError:
        return None


def _status(response: Response | None) -> tuple[str, str]:
    """Status and size in words, and how good that is."""
    if response is None:
        return "no answer of a card", "bad"
    if response.sw in _NOTHING_THERE:
        tone = "calm"
    else:
        tone = "good" if is_ok(response.sw) else "warn" if is_warning(response.sw) else "bad"
    size = f" · {len(response.data)} bytes" if response.data else ""
    return f"{response.sw:04X} {meaning(response.sw).name}{size}", tone


def _said(lines: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name.strip()} {value}" for name, value in lines]


def _elapsed(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
