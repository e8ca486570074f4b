"""Verbs of `keywright campaign` by which persons decide: release, rework, unpin, remake, change-recipe."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from keywright.cli.options import Json
from keywright.cli.passphrases import PassphraseFile, now_ms, opened
from keywright.cli.text import good, say, show_json
from keywright.production.control import acts
from keywright.production.control.admission import AskFor
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent, given_or_asked
from keywright.production.people.people import Directory
from keywright.production.recipe import read_recipe
from keywright.production.unit_store.units import UnitStore

app = typer.Typer(rich_markup_mode=None)

_WAIT_S = 5.0

Store = Annotated[str, typer.Option("--store", metavar="URL", help="The lot's store.")]
Serial = Annotated[str, typer.Argument(metavar="SERIAL", help="The unit.")]
Reason = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for whoever reads the log.")]
PeopleFile: TypeAlias = Annotated[
    Path | None, typer.Option("--people", metavar="FILE", help="The directory of people, for a production lot.")
]
AskedBy: TypeAlias = Annotated[
    Path | None, typer.Option("--by", metavar="KEY", help="The key file of who asks for it, if it was not asked for.")
]


def ask_for(people: Path | None, by: Path | None, passphrase_file: list[Path] | None) -> AskFor | None:
    """How approvals are had: those in the store, or asked for by whose key was given. None where nobody was named."""
    if people is None:
        return None

    def ask(store: UnitStore, operation: Operation) -> Consent:
        directory = Directory.load(people)
        key = opened([by], passphrase_file)[0] if by is not None else None
        return given_or_asked(store, operation, directory, key, at_ms=now_ms())

    return ask


@app.command()
def release(
    *,
    store: Store,
    reason: Reason,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Let a lot go on that was stopped, or accept its first article. In a production lot a second person signs."""
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        stood = acts.release(units, reason, ask_for(people, by, passphrase_file), at=time.time())
    _done({"released": stood}, f"The lot may go on; it stood because: {stood}", as_json=json)


@app.command()
def rework(
    serial: Serial,
    *,
    store: Store,
    reason: Reason,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Have a quarantined unit taken up again: the next run asks its probes first, and its history is kept."""
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        unit = acts.rework(units, serial, reason, ask_for(people, by, passphrase_file), at=time.time())
    _done({"serial": serial, "n": unit.n, "state": "rework"}, f"{serial} is taken up by the next run", as_json=json)


@app.command()
def unpin(
    serial: Serial,
    *,
    store: Store,
    reason: Reason,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Let another station go on with a unit whose own is gone: it was carried to another reader. Probed first."""
    with UnitStore.open(store, station=f"unpin-{os.getpid()}") as units:  # while other stations work
        units.reap()
        stood = acts.unpin(units, serial, reason, ask_for(people, by, passphrase_file), at=time.time())
    _done({"serial": serial, "station": stood}, f"{serial} stood on {stood}; any station may take it up", as_json=json)


@app.command()
def remake(
    serial: Serial,
    *,
    new_serial: Annotated[str, typer.Option("--serial", metavar="NEW", help="Serial of the new unit.")],
    store: Store,
    reason: Reason,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make a unit anew instead of one that was rejected or scrapped: another record, with new secrets only."""
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        made = acts.remake(units, serial, new_serial, reason, ask_for(people, by, passphrase_file), at=time.time())
    text = f"{new_serial} (unit {made.n}) is made instead of {serial} by the next run"
    _done({"serial": new_serial, "n": made.n, "instead_of": serial}, text, as_json=json)


@app.command("change-recipe")
def change_recipe(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="What every unit gets (TOML).")],
    *,
    store: Store,
    reason: Reason,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Give a lot another recipe, as long as no unit of it was begun. In a production lot two persons allow it."""
    read = read_recipe(recipe)
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        acts.change_recipe(units, read, reason, ask_for(people, by, passphrase_file), at=time.time())
    _done({"recipe": read.digest}, f"The lot goes by the recipe {read.digest[:16]} now", as_json=json)


def _done(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        show_json(document)
    else:
        say(good(text))
