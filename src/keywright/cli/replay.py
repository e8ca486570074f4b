"""`keywright replay`: play a recorded exchange back, or compare it with a device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from keywright.cli.exchanges import as_document, as_lines
from keywright.cli.links import confirm, opened
from keywright.cli.options import Json, Trace, Yes
from keywright.cli.text import bad, faint, good, heading, say, show_json, width, wrapped
from keywright.errors import DecodeError, LinkError, UsageError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.explain import Explanation, Transcript
from keywright.globalplatform.messages import Ins
from keywright.globalplatform.redaction import MASKED
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured
from keywright.link.base import Exchange
from keywright.link.pcapng import is_pcapng, read_pcapng
from keywright.link.trace import Event
from keywright.production.reports.sequence import Step, read_sequence

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A recording: what --trace or --pcapng wrote, or a lot's .trace.jsonl.")
]
Full = Annotated[bool, typer.Option("--full", help="Show the bytes and fields of every exchange.")]
Device = Annotated[
    str, typer.Option("--link", metavar="URI", help="Send the commands to this device and compare its answers.")
]

_SAME, _DIFFERS, _LEFT_OUT = "same", "different", "left out"
_RANDOM: Final = frozenset({Ins.INITIALIZE_UPDATE})
_READING: Final = frozenset({Ins.SELECT, Ins.GET_DATA, Ins.GET_DATA_ODD, Ins.INITIALIZE_UPDATE, Ins.GET_RESPONSE})
_SESSION: Final = frozenset({Ins.EXTERNAL_AUTHENTICATE})


class Played(msgspec.Struct, frozen=True):
    """One line of the play: an exchange, a reset, a loss or a message."""

    at: float
    kind: str
    command: bytes = b""
    answer: bytes | None = None
    told: Explanation = Explanation("")
    is_masked: bool = False
    step: str = ""
    link: str = ""


def command(
    file: File, *, link: Device = "", full: Full = False, yes: Yes = False, json: Json = False, trace: Trace = None
) -> None:
    """Show a recorded exchange in order, each command and answer in words.

    With --link, commands that stand for themselves are sent to a device and its answers compared: 0 if all are the
    same, 1 otherwise. What belongs to a secure session, and what was masked, cannot be sent again and is left out.

    Example: keywright replay session.jsonl --link pcsc:
    """
    played = list(_played(_steps(file)))
    if not played:
        raise DecodeError(f"{file}: there is nothing in it", hint="record an exchange with --trace FILE")
    if link:
        _compare(played, link, yes=yes, as_json=json, trace=trace)
        return
    if json:
        for one in played:
            show_json(_document(one))
        return
    _show(file, played, full=full)


def _steps(file: Path) -> Iterator[Step]:
    """The steps of a recording, whichever kind of file it is."""
    try:
        with file.open("rb") as stream:
            binary = is_pcapng(stream.read(4))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    return map(_step, read_pcapng(file)) if binary else read_sequence(file)


def _step(event: Event) -> Step:
    return Step(
        t=event.time,
        who=event.who,
        link=event.link,
        dir=event.direction,
        hex=event.data.hex().upper(),
        note=event.note,
        delivered=event.delivered,
    )


def _played(steps: Iterator[Step]) -> Iterator[Played]:
    transcripts: dict[str, Transcript] = {}
    waiting: Step | None = None
    for step in steps:
        transcript = transcripts.setdefault(step.link, Transcript(KNOWN))
        if waiting is not None and step.dir in ("answer", "lost"):
            yield _exchange(transcripts[waiting.link], waiting, step)
            waiting = None
            continue
        if waiting is not None and step.dir != "message":
            yield _exchange(transcripts[waiting.link], waiting, None)
            waiting = None
        if step.dir == "command":
            waiting = step
        elif step.dir == "reset":
            transcript.reset()
            yield Played(step.t, "reset", told=Explanation("reset"), link=step.link)
        elif step.dir in ("message", "lost"):
            yield Played(step.t, step.dir, told=Explanation(step.note), step=step.step, link=step.link)
    if waiting is not None:
        yield _exchange(transcripts[waiting.link], waiting, None)


def _exchange(transcript: Transcript, asked: Step, answered: Step | None) -> Played:
    command = bytes.fromhex(asked.hex)
    lost = answered is None or answered.dir == "lost"
    answer = None if answered is None or lost else bytes.fromhex(answered.hex)
    told = _told(transcript, command, answer)
    if asked.plain:
        plain_answer = bytes.fromhex(answered.plain) if answered is not None and answered.plain else answer
        inner = _told(Transcript(KNOWN), bytes.fromhex(asked.plain), plain_answer)
        told = msgspec.structs.replace(inner, title=f"{inner.title} (protected)")
    if lost:
        note = answered.note if answered is not None else ""
        told = msgspec.structs.replace(told, status=f"no answer{': ' if note else ''}{note}")
    return Played(asked.t, "exchange", command, answer, told, asked.note == MASKED, asked.step, asked.link)


def _told(transcript: Transcript, command: bytes, answer: bytes | None) -> Explanation:
    try:
        return transcript.explain(Command.parse(command), None if answer is None else Response.parse(answer))
    except DecodeError as error:
        return Explanation("not an APDU", (("problem", str(error)),))


# ---- showing


def _show(file: Path, played: list[Played], *, full: bool) -> None:
    exchanges = [one for one in played if one.kind == "exchange"]
    seconds = max(one.at for one in played) - min(one.at for one in played)
    say(heading(f"{file.name}: {len(exchanges)} exchanges in {seconds:.3f} s"))
    step = link = ""
    several = len({one.link for one in played}) > 1
    start = played[0].at
    for one in played:
        if several and one.link != link:
            link = one.link
            say(heading(link))
        if one.step != step and one.step:
            step = one.step
            say(heading(f"  {step}"))
        if full and one.kind == "exchange":
            for line in as_lines(one.command, one.answer, one.told):
                say(line)
        else:
            say(_line(one, start))


def _line(one: Played, start: float) -> str:
    time = f"{(one.at - start) * 1000:9.1f} ms  "
    if one.kind != "exchange":
        return faint(time + f"-- {one.told.title}")
    room = width() - len(time)
    status = one.told.status
    sw = status[:4] if one.answer is not None else status
    is_good = one.answer is not None and one.answer[-2:] == b"\x90\x00"
    title = one.told.title
    space = room - len(status) - 2
    if len(title) > space:
        status = sw
        space = max(room - len(status) - 2, 10)
        title = title if len(title) <= space else title[: space - 3] + "..."
    return f"{time}{title:{space}}  {good(status) if is_good else bad(status)}"


def _document(one: Played) -> dict[str, Any]:
    base: dict[str, Any] = {"t": one.at, "link": one.link, "kind": one.kind, "step": one.step}
    if one.kind != "exchange":
        return {**base, "note": one.told.title}
    return {**base, **as_document(one.command, one.answer, one.told), "masked": one.is_masked}


# ---- comparing


def _compare(played: list[Played], link: str, *, yes: bool, as_json: bool, trace: Path | None) -> None:
    changing = [one for one in played if one.kind == "exchange" and not _left_out(one) and _changes(one)]
    if changing:
        confirm(link, f"send {len(changing)} commands that may change the device", yes=yes)
    counts = {_SAME: 0, _DIFFERS: 0, _LEFT_OUT: 0}
    with opened(link, trace) as device:
        for number, one in enumerate((one for one in played if one.kind in ("exchange", "reset")), 1):
            if one.kind == "reset":
                device.reset()
                continue
            verdict, answer, reason = _played_to(device, one)
            counts[verdict] += 1
            _say_verdict(number, one, answer, verdict, reason, as_json=as_json)
    if as_json:
        show_json({word.replace(" ", "_"): number for word, number in counts.items()})
    else:
        say(", ".join(f"{number} {word}" for word, number in counts.items()))
    if counts[_DIFFERS]:
        raise typer.Exit(1)


def _played_to(device: Exchange, one: Played) -> tuple[str, bytes | None, str]:
    """Verdict, answer of the device (None: none came), and why."""
    if reason := _left_out(one):
        return _LEFT_OUT, None, reason
    try:
        answer = device.exchange(one.command)
    except LinkError as error:
        return (_SAME if one.answer is None else _DIFFERS), None, str(error)
    return _verdict(one, answer), answer, ""


def _left_out(one: Played) -> str:
    """Why a command cannot be sent again, or nothing."""
    if one.is_masked:
        return "masked in the trace"
    if len(one.command) >= 2 and (is_secured(one.command[0]) or one.command[1] in _SESSION):
        return "belongs to a secure session"
    return ""


def _changes(one: Played) -> bool:
    return one.command[1:2] not in [bytes((ins,)) for ins in _READING]


def _verdict(one: Played, answer: bytes) -> str:
    """Whether the device answers as recorded; of an answer that holds random numbers only status and length count."""
    if one.answer is None:
        return _DIFFERS
    if one.command[1] in _RANDOM:
        return _SAME if (len(answer), answer[-2:]) == (len(one.answer), one.answer[-2:]) else _DIFFERS
    return _SAME if answer == one.answer else _DIFFERS


def _say_verdict(number: int, one: Played, answer: bytes | None, verdict: str, reason: str, *, as_json: bool) -> None:
    if as_json:
        got = None if answer is None else answer.hex().upper()
        show_json({**_document(one), "n": number, "verdict": verdict, "got": got, "reason": reason})
        return
    mark = {_SAME: good("="), _DIFFERS: bad("!"), _LEFT_OUT: faint("-")}[verdict]
    say(f"{mark} {one.told.title}" + (faint(f"  ({reason})") if reason else ""))
    if verdict == _DIFFERS:
        for label, data in (("recorded", one.answer), ("now", answer)):
            for line in wrapped("none" if data is None else data.hex(" ").upper(), first=f"    {label:10}", indent=14):
                say(line)
