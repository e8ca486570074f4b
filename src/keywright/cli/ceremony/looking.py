"""The verbs that look at a ceremony, print its record, and tell an audit log of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keywright.cli.options import Json
from keywright.cli.passphrases import People
from keywright.cli.text import bad, caution, good, heading, pairs, say, show_json, table
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.record import facts, persons, rows, title
from keywright.production.ceremony.states import FINAL, CeremonyError, State
from keywright.production.ceremony.transcript import Transcript
from keywright.production.people.people import Directory
from keywright.production.private_file import READABLE, write_new

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The ceremony's folder.")]


def show(folder: Folder, *, people: People, json: Json = False) -> None:
    """Show a ceremony: its plan, its persons and its transcript, after checking every signature in it."""
    show_ceremony(Transcript(folder, Directory.load(people)).read(), as_json=json, whole=True)


def record(
    folder: Folder,
    *,
    people: People,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The PDF; never over another file.")],
) -> None:
    """Print the record of a ceremony that is over: a PDF with every step and a line for each person's signature."""
    from keywright.production.ceremony.paper import record_pdf  # noqa: PLC0415 - for this verb alone

    ceremony = _over(folder, people)
    write_new(out, "record", record_pdf(ceremony), READABLE)
    say(f"wrote {out}, transcript {ceremony.hash}")


def log(
    folder: Folder,
    *,
    people: People,
    store: Annotated[str, typer.Option("--store", metavar="URL", help="The unit store whose audit log it goes into.")],
) -> None:
    """Write the transcript hash of a ceremony that is over into the audit log of a store."""
    from keywright.production.ceremony.audited import audit_event  # noqa: PLC0415 - loads the database, as below
    from keywright.production.unit_store.units import UnitStore  # noqa: PLC0415 - which only this verb needs

    ceremony = _over(folder, people)
    with UnitStore.open(store) as opened:
        opened.commit([audit_event(ceremony)])
    say(f"logged {ceremony.plan.id}, transcript {ceremony.hash}")


def add_to(app: typer.Typer) -> None:
    """Make them verbs."""
    for verb in (show, record, log):
        app.command()(verb)


def show_ceremony(ceremony: Ceremony, *, as_json: bool, whole: bool = False) -> None:
    """What is known of it; `whole`: with persons and transcript."""
    if as_json:
        show_json(document(ceremony))
        return
    say(heading(title(ceremony.plan)))
    for line in pairs([(name, value) for name, value in facts(ceremony) if name != "state"]):
        say(line)
    if whole:
        say()
        for line in table(("name", "duty", "key"), persons(ceremony)):
            say(line)
        say()
        for line in table(("", "time", "event", "person", "what"), ((str(row[0]), *row[1:]) for row in rows(ceremony))):
            say(line)
    say()
    say(f"  {_state(ceremony)}   transcript {ceremony.hash}")


def document(ceremony: Ceremony) -> dict[str, Any]:
    """For programs."""
    return {
        "ceremony": ceremony.plan.id,
        "state": str(ceremony.state),
        "why": ceremony.why,
        "plan": ceremony.plan.facts(),
        "check": ceremony.combined.get("check", ""),
        "stored_check": ceremony.combined.get("stored_check", ""),
        "kek_check": ceremony.combined.get("kek_check", ""),
        "loaded": sorted(ceremony.loads),
        "confirmed": sorted(ceremony.confirmed),
        "transcript": ceremony.hash,
    }


def _state(ceremony: Ceremony) -> str:
    text = str(ceremony.state) + (f": {ceremony.why}" if ceremony.why else "")
    return good(text) if ceremony.state is State.SEALED else bad(text) if ceremony.state in FINAL else caution(text)


def _over(folder: Path, people: Path) -> Ceremony:
    ceremony = Transcript(folder, Directory.load(people)).read()
    if ceremony.state not in FINAL:
        raise CeremonyError(f"the ceremony is {ceremony.state}, not over", hint="end it first, or abort it")
    return ceremony
