"""The verbs that persons run on their own terminals: host, enter, confirm, abort."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from keywright.cli.ceremony.looking import show_ceremony
from keywright.cli.options import Json, Yes
from keywright.cli.passphrases import PassphraseFile, People, now_ms, opened
from keywright.cli.person import ask, ask_hidden, is_attended
from keywright.cli.text import heading, note, say
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import DecodeError, KeywrightError, PolicyError
from keywright.production.ceremony.host import Host
from keywright.production.ceremony.opening import open_target
from keywright.production.ceremony.parts import Part, Receiver, same_part, taken
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.record import title
from keywright.production.ceremony.secrecy import keep_memory_private
from keywright.production.ceremony.states import CeremonyError, Event, State
from keywright.production.ceremony.transcript import Transcript
from keywright.production.people.people import Directory
from keywright.production.people.person_key import PersonKey

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The ceremony's folder.")]
By = Annotated[Path, typer.Option("--by", metavar="KEY", help="Your key file.")]
Minutes = Annotated[int, typer.Option("--timeout", metavar="MINUTES", help="Give up after so long.")]

_POLL_S: Final = 0.1
_TRIES: Final = 3


def host(
    folder: Folder,
    *,
    people: People,
    by: By,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    timeout: Minutes = 60,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Hold the ceremony: wait for all parts, combine them, wait for the witnesses, change the keystore.

    Runs until the ceremony is over. Killed, it leaves nothing of any part; run it again and all parts are entered anew.
    """
    keep_memory_private()
    transcript = Transcript(folder, Directory.load(people))
    plan = transcript.read().plan
    (key,) = opened([by], passphrase_file)
    target = open_target(plan, unlock_with(unlock, passphrase=passphrase))
    run = Host(transcript, key, target, clock_ms=now_ms)
    try:
        run.open()
        end = time.monotonic() + timeout * 60

        def wait() -> None:
            if time.monotonic() > end:
                run.abort(f"nobody came within {timeout} min")
            time.sleep(_POLL_S)

        ceremony = run.run(wait, _tell)
    finally:
        run.close()
    show_ceremony(ceremony, as_json=json)
    _check_sealed(ceremony)


def enter(
    folder: Folder, *, people: People, by: By, timeout: Minutes = 60, passphrase_file: PassphraseFile = None
) -> None:
    """Enter your own part, or get it: on your own terminal, with nobody else looking.

    A part is typed without being shown, or read as one line from a pipe; it is never an argument.
    """
    keep_memory_private()
    transcript = Transcript(folder, Directory.load(people))
    (key,) = opened([by], passphrase_file)
    ceremony = transcript.read()
    index = _part_of(ceremony, key)
    note(f"{title(ceremony.plan)}; you are custodian of part {index} of {len(ceremony.plan.custodians)}")
    if ceremony.plan.entry == "type":
        part = _typed(ceremony)
    elif ceremony.plan.entry == "draw":
        part = _written_down(Part.drawn(ceremony.plan, os.urandom), ceremony)
    else:
        part = _written_down(_dealt(transcript, key, index, timeout), ceremony)
    try:
        if ceremony.plan.entry == "deal":
            transcript.write(key, Event.LOAD, lambda now: taken(now, index, part), now_ms())
        else:
            transcript.write(key, Event.LOAD, lambda now: part.sealed(now, index, os.urandom), now_ms())
    finally:
        part.wipe()
    say(f"part {index} is in; its check value is {part.check}")


def confirm(folder: Folder, *, people: People, by: By, passphrase_file: PassphraseFile = None) -> None:
    """Compare the check value, as a witness: type what the host's screen shows. Another value ends the ceremony."""
    transcript = Transcript(folder, Directory.load(people))
    (key,) = opened([by], passphrase_file)
    ceremony = transcript.read()
    if ceremony.state is not State.COMBINED:
        raise CeremonyError(f"the ceremony is {ceremony.state}: there is nothing to confirm yet")
    if key.name not in ceremony.plan.witnesses:
        raise CeremonyError(f"{key.name} is no witness", hint=f"witnesses: {', '.join(ceremony.plan.witnesses)}")
    shown = str(ceremony.combined["check"])
    typed = _check_value()
    if typed != shown.rpartition(" ")[2]:
        transcript.write(key, Event.ABORT, lambda _: {"why": "a witness read another check value"}, now_ms())
        raise CeremonyError(
            "this is not the check value: the ceremony is aborted", hint="find out why, then begin anew"
        )
    after = transcript.write(key, Event.CONFIRM, lambda _: {"check": shown}, now_ms())
    say(f"confirmed {shown}; the ceremony is {after.state}")


def abort(
    folder: Folder,
    *,
    people: People,
    by: By,
    why: Annotated[str, typer.Option("--why", help="What went wrong; it stands in the record.")],
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """End the ceremony, as anybody who has a part in it may; the host wipes everything."""
    if not yes and (not is_attended() or not typer.confirm("End the ceremony for good?", err=True)):
        raise PolicyError("not aborted", hint="say --yes")
    transcript = Transcript(folder, Directory.load(people))
    (key,) = opened([by], passphrase_file)
    transcript.write(key, Event.ABORT, lambda _: {"why": why}, now_ms())
    say("aborted")


def add_to(app: typer.Typer) -> None:
    """Make them verbs."""
    for verb in (host, enter, confirm, abort):
        app.command()(verb)


def _tell(ceremony: Ceremony) -> None:
    """What the host's screen shows when something has happened."""
    last, plan = ceremony.lines[-1], ceremony.plan
    match ceremony.state:
        case State.OPEN:
            missing = [name for index, name in enumerate(plan.custodians, 1) if index not in ceremony.loads]
            note(f"{len(ceremony.loads)} of {plan.parts} parts; waiting for {', '.join(missing)}")
        case State.COMBINED if last.event is Event.COMBINE:
            note(heading(f"check value: {ceremony.combined['check']}"))
            if ceremony.combined.get("kek_check"):
                note(f"of the wrapping key: {ceremony.combined['kek_check']}")
            note(f"waiting for {' and '.join(plan.witnesses)} to compare it")
        case State.COMBINED:
            note(f"{last.person} has confirmed; one more witness")
        case _:
            note(f"{ceremony.state}")


def _part_of(ceremony: Ceremony, key: PersonKey) -> int:
    if key.name not in ceremony.plan.custodians:
        raise CeremonyError(f"{key.name} is no custodian of this key", hint="custodians enter parts, nobody else")
    if ceremony.state is not State.OPEN:
        raise CeremonyError(f"the ceremony is {ceremony.state}: no part is entered now", hint="the host has to run")
    index = ceremony.plan.custodians.index(key.name) + 1
    if index in ceremony.loads:
        raise CeremonyError(f"part {index} is there already", hint="every part is entered once")
    return index


def _typed(ceremony: Ceremony) -> Part:
    for left in range(_TRIES - 1, -1, -1):
        try:
            part = Part.typed(ceremony.plan, _hidden("Your part (it is not shown)"))
        except (DecodeError, PolicyError) as error:
            if not left or not is_attended():
                raise
            note(f"{error}; once more")
            continue
        note(f"check value of your part: {part.check}")
        if _agrees("Is this the check value on your paper?"):
            return part
        part.wipe()
        note("then it is mistyped; nothing was entered")
    raise CeremonyError("no part was entered", hint="run it again when the paper is at hand")


def _written_down(part: Part, ceremony: Ceremony) -> Part:
    """Show a part once, and see that it was written down before it counts."""
    say(f"your part, to be written down now; it is shown once:\n\n  {part.text()}\n\n  check value {part.check}\n")
    for _ in range(_TRIES):
        try:
            again = Part.typed(ceremony.plan, _hidden("Type it from your paper (it is not shown)"))
        except (DecodeError, PolicyError) as error:
            note(f"{error}")
            continue
        same = same_part(part, again)
        again.wipe()
        if same:
            _clear()
            return part
        note("this is not what was shown")
    part.wipe()
    raise CeremonyError("the part was not written down, so it does not count", hint="run it again for another one")


def _dealt(transcript: Transcript, key: PersonKey, index: int, timeout: int) -> Part:
    receiver = Receiver(index, os.urandom)
    transcript.write(key, Event.ASK, lambda _: receiver.asking(), now_ms())
    end = time.monotonic() + timeout * 60
    while time.monotonic() < end:
        ceremony = transcript.read()
        part = receiver.received(ceremony)
        if part is not None:
            return part
        if ceremony.state is not State.OPEN or ceremony.asked.get(index) is None:
            raise CeremonyError("the host began again, or the ceremony is over", hint="run it again")
        time.sleep(_POLL_S)
    raise CeremonyError("the host did not answer", hint="see that it runs, then run this again")


def _check_value() -> str:
    """Typed twice, so that a slip of a finger does not end a ceremony."""
    for _ in range(_TRIES):
        first, second = _line("Check value on the host's screen"), _line("Once more")
        one, other = (text.rpartition(" ")[2].upper() for text in (first, second))
        if one == other:
            return one
        note("these differ; once more")
    raise KeywrightError("no check value was read", hint="read it from the host's screen")


def _hidden(question: str) -> str:
    """One secret line: typed without echo, or from a pipe."""
    return _answer(ask_hidden(f"{question}:"))


def _line(question: str) -> str:
    return _answer(ask(f"{question}:"))


def _answer(text: str) -> str:
    if not text:
        raise KeywrightError("the input has ended", hint="type, or pipe, one line for each question")
    return text.strip()


def _agrees(question: str) -> bool:
    return _line(f"{question} [y/N]").lower() in ("y", "yes")


def _clear() -> None:
    """What was shown goes from the screen, and from what can be scrolled back to."""
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[2J\x1b[3J\x1b[H")
        sys.stdout.flush()


def _check_sealed(ceremony: Ceremony) -> None:
    if ceremony.state is not State.SEALED:
        raise CeremonyError(f"the ceremony is {ceremony.state}: {ceremony.why}", hint="find out why, then begin anew")
