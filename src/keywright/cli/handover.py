"""Verbs of `keywright campaign` for what comes after production: ledger, closing, records, labels."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from keywright.cli.options import Json
from keywright.cli.passphrases import PassphraseFile, now_ms, opened
from keywright.cli.text import bad, good, note, pairs, say, show_json, table
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import StoreError, UsageError
from keywright.production.campaign import notary_of
from keywright.production.control.admission import recipe_of
from keywright.production.handover import outbox
from keywright.production.handover.closing import Standing, close, needs_people, operation, standing_of
from keywright.production.handover.disposal import STATE_AFTER, Disposal, disposable, dispose
from keywright.production.handover.disposal import operation as disposal_operation
from keywright.production.handover.label_drawing import size_of
from keywright.production.handover.labels import Kind, first_prints, print_labels, reprints
from keywright.production.handover.labels import operation as label_operation
from keywright.production.handover.ledger import MEANING
from keywright.production.handover.manifest import public_pem, write_manifest
from keywright.production.handover.receivers import receiver_for
from keywright.production.handover.unit_record import signer_of
from keywright.production.keystores.keystore_uri import open_keystore
from keywright.production.people.approvals import Operation
from keywright.production.people.consent import Consent, given_or_asked
from keywright.production.people.people import Directory
from keywright.production.private_file import READABLE, replace_file
from keywright.production.readiness import lot_in
from keywright.production.reports.report import reading
from keywright.production.unit_store.units import UnitStore

app = typer.Typer(rich_markup_mode=None)

NOT_DONE = 1
_WAIT_S = 5.0

Store = Annotated[str, typer.Option("--store", metavar="URL", help="The lot's store.")]
PeopleFile = Annotated[
    Path | None, typer.Option("--people", metavar="FILE", help="The directory of people, for a production lot.")
]
AskedBy = Annotated[
    Path | None, typer.Option("--by", metavar="KEY", help="The key file of who asks for it, if it was not asked for.")
]
KeystoreOption = Annotated[
    str, typer.Option("--keystore", metavar="KEYSTORE", help="The lot's keystore: PATH, software:PATH or pkcs11:LABEL.")
]


WitnessFile = Annotated[
    Path | None,
    typer.Option("--witness", metavar="FILE", help="Where checkpoints go, if not beside the store."),
]
Serials = Annotated[list[str], typer.Argument(metavar="SERIAL...", help="The units.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the records.")]


@app.command()
def ledger(*, store: Store, json: Json = False) -> None:
    """Show where every unit and every record of a lot is, by double entry, and what keeps it from being closed."""
    with UnitStore.open(store, readonly=True) as units:
        stands = standing_of(units)
    if json:
        show_json(msgspec.to_builtins(stands))
        return
    _say_standing(stands)


def _dispose(
    what: Disposal,
    serials: list[str],
    store: str,
    why: str,
    people: Path | None,
    by: Path | None,
    files: list[Path] | None,
    *,
    as_json: bool,
) -> None:
    if not why.strip():
        raise UsageError("--why is empty", hint="say why: --why 'failed the pull test'")
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        lot = lot_in(units, store)
        chosen = disposable(units, what, serials)
        wanted = disposal_operation(lot, what, chosen, why)
        consent = _consent(units, wanted, people, by, files) if needs_people(lot) else Consent()
        dispose(units, what, chosen, why, consent, at=time.time())
    if as_json:
        show_json({"units": [unit.serial for unit in chosen], "state": STATE_AFTER[what], "approval": consent.approval})
        return
    say(f"{len(chosen)} units are {STATE_AFTER[what]}")


@app.command()
def destroy(
    serials: Serials,
    *,
    store: Store,
    why: Why,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Record that units were destroyed, for good. A production lot takes two signatures: --by asks, another allows."""
    _dispose("destroy", serials, store, why, people, by, passphrase_file, as_json=json)


@app.command("return")
def return_(
    serials: Serials,
    *,
    store: Store,
    why: Why,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Record that units left the lot: blanks given back, or sealed ones that came back. Signed as `destroy` is."""
    _dispose("return", serials, store, why, people, by, passphrase_file, as_json=json)


@app.command("close")
def close_(
    *,
    store: Store,
    counted: Annotated[
        list[str] | None,
        typer.Option(
            "--counted", metavar="ACCOUNT=N", help="Units counted, for each account; not needed if simulated."
        ),
    ] = None,
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    witness: WitnessFile = None,
    json: Json = False,
) -> None:
    """Close a lot: only with nothing undecided and no difference between ledger, store and what was counted.

    A production lot takes two persons: --by asks for it with the counts, another one signs the same counts.
    """
    given = [_count(text) for text in counted or ()]
    numbers = dict(given)
    if len(numbers) != len(given):
        raise UsageError("--counted names an account twice", hint="give each account once, with all its units")
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        lot = lot_in(units, store)
        if counted is None and needs_people(lot):
            raise UsageError("--counted is missing: real units have to be counted", hint="for example sealed=100")
        stands = standing_of(units)
        numbers = numbers if counted is not None else dict(stands.books[0].accounts)
        consent = Consent()
        notary = notary_of(units, lot.lot, witness)
        stands = standing_of(units, numbers)
        if needs_people(lot) and not stands.obstacles:
            consent = _consent(units, operation(lot, numbers, stands.books), people, by, passphrase_file)
        close(units, numbers, consent, at=time.time())
        notary.make()
        stands = standing_of(units)
    if json:
        show_json(msgspec.to_builtins(stands) | {"counted": numbers, "approval": consent.approval})
        return
    say(good(f"Lot {stands.lot} is closed; counted {sum(numbers.values())} units, no difference."))
    if stands.unsent:
        note(f"{stands.unsent} records have not been acknowledged yet: keywright campaign send --store {store} --to …")


@app.command()
def send(
    *,
    store: Store,
    to: Annotated[str, typer.Option("--to", metavar="URI", help="file:FOLDER, http://… or https://…")],
    retry_dead: Annotated[
        bool, typer.Option("--retry-dead", help="Also those that were put aside after too many tries.")
    ] = False,
    json: Json = False,
) -> None:
    """Send the signed records of sealed units, in order; may be repeated until none is left.

    A record leaves the outbox only when the receiver has acknowledged it. Exit code 1 while some have not been.
    """
    receiver = receiver_for(to)
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        if retry_dead:
            with reading(units) as connection:
                aside = outbox.set_aside(connection)
            units.commit(outbox.revived(aside, now=time.time()))

        def next_due(now: float, after: int) -> list[outbox.Sent]:
            with reading(units) as connection:
                return outbox.due(connection, now=now, after=after)

        tally = outbox.send(next_due, units.commit, receiver, clock=time.time, rng=os.urandom)
        with reading(units) as connection:
            left = outbox.counts(connection)
            withheld = outbox.withheld(connection)
            troubles = list(outbox.troubles(connection))
    if json:
        show_json(msgspec.to_builtins(tally) | {"left": left, "withheld": withheld, "troubles": troubles})
    else:
        _say_sent(tally, left, troubles, withheld)
    if sum(left.values()):
        raise typer.Exit(NOT_DONE)


@app.command()
def manifest(
    *,
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The manifest: a JSON array of JWS.")],
    keystore: KeystoreOption = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    identity: Annotated[
        str, typer.Option("--identity", metavar="NAME", help="The key that signed them, if not the recipe's.")
    ] = "",
    json: Json = False,
) -> None:
    """Write the signed records of all sealed units as one file, and beside it the key that checks them (FILE.pem)."""
    with UnitStore.open(store, readonly=True) as units:
        held = open_keystore(keystore or _beside(units), unlock_with(unlock, passphrase=passphrase))
        try:
            signer = signer_of(held, identity or recipe_of(lot_in(units, store)).identity)
            if signer is None:
                raise StoreError(
                    "the keystore has no identity: it signs no records", hint="give the lot's own keystore"
                )
            count = write_manifest(units, out, signer.public)
            key = out.with_name(f"{out.name}.pem")
            replace_file(key, "key", public_pem(signer.public).encode(), READABLE)
        finally:
            held.close()
    if json:
        show_json({"file": str(out), "key": str(key), "units": count, "kid": signer.kid})
        return
    say(f"wrote {out}, {count} units; checked by {key} (kid {signer.kid})")


@app.command()
def labels(
    *,
    store: Store,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="A new PDF; or a new folder, for --svg.")],
    svg: Annotated[
        bool, typer.Option("--svg", help="A picture for each label in place of a PDF with a page for each.")
    ] = False,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="The size of a label in mm.")] = "50x25",
    unit: Annotated[list[str] | None, typer.Option("--unit", metavar="SERIAL", help="Only these units.")] = None,
    reprint: Annotated[
        list[str] | None, typer.Option("--reprint", metavar="SERIAL", help="Print a label again, marked as such.")
    ] = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why it is printed again.")] = "",
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Write labels with a QR code for sealed units that have none yet; each is read back before it counts as printed.

    A label is printed once. Printing it again (--reprint) takes an approval on a production lot, and says so on it.
    """
    if reprint and (unit or not why):
        raise UsageError("--reprint takes --why, and no --unit", hint="say why: --why 'the first one was torn'")
    measures = size_of(size)
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        lot = lot_in(units, store)
        consent = Consent()
        if reprint:
            wanted = reprints(units, reprint)
            if needs_people(lot):
                consent = _consent(units, label_operation(lot, wanted, why), people, by, passphrase_file)
        else:
            wanted = first_prints(units, unit or ())
        if not wanted:
            raise UsageError("no sealed unit is without a label", hint="to print one again: --reprint SERIAL")
        kind: Kind = "svg" if svg else "pdf"
        count = print_labels(units, wanted, out, kind=kind, size=measures, consent=consent, at=time.time())
    if json:
        show_json({"file": str(out), "labels": count, "approval": consent.approval})
        return
    say(f"wrote {out}: {count} labels of {measures.width_mm:g} x {measures.height_mm:g} mm, every code read back")


def _beside(units: UnitStore) -> str:
    if units.path is None:
        raise UsageError("--keystore is missing", hint="give the lot's keystore")
    return f"{units.path}.keystore"


def _consent(
    units: UnitStore, wanted: Operation, people: Path | None, by: Path | None, files: list[Path] | None
) -> Consent:
    """The approval of an operation on a production lot. Raises AskedError when it has only now been asked for."""
    if people is None:
        raise UsageError("--people is missing: this takes two persons", hint="give the directory of people")
    directory = Directory.load(people)
    key = opened([by], files)[0] if by is not None else None
    return given_or_asked(units, wanted, directory, key, at_ms=now_ms())


def _count(text: str) -> tuple[str, int]:
    account, _, number = text.partition("=")
    if ("units", account) not in MEANING or not number.isdecimal():
        accounts = " ".join(name for book, name in MEANING if book == "units")
        raise UsageError(f"--counted {text}: not ACCOUNT=N", hint=f"accounts: {accounts}")
    return account, int(number)


def _say_standing(stands: Standing) -> None:
    say(f"lot {stands.lot}, {stands.state}")
    rows: list[tuple[str, ...]] = []
    for book in stands.books:
        rows += [(book.book, name, MEANING.get((book.book, name), ""), str(n)) for name, n in book.accounts.items()]
        rows.append((book.book, "", "came into the lot", str(book.supplied)))
    for line in table(("book", "account", "which is", "units"), rows):
        say(line)
    if stands.unsent:
        say(f"  {stands.unsent} records wait to be sent")
    for obstacle in stands.obstacles:
        say(bad(f"  not to be closed: {obstacle}"))
    if not stands.obstacles:
        say(good("  it can be closed"))


def _say_sent(tally: outbox.Tally, left: dict[str, int], troubles: list[dict[str, Any]], withheld: int) -> None:
    for line in pairs([("stored", str(tally.stored)), ("known already", str(tally.same))]):
        say(line)
    for name, number in left.items():
        if number:
            say(bad(f"  {number} {_LEFT[name]}"))
    for trouble in troubles[:5]:
        say(f"  unit {trouble['unit']}: {trouble['tries']} tries, {trouble['last_error']}")
    if withheld:
        say(bad(f"  {withheld} are withheld: a key that reached their units is compromised"))
    if not sum(left.values()):
        say(good("  every record has been acknowledged" if not withheld else "  every other one has been acknowledged"))


_LEFT = {
    "waiting": "wait for their next try",
    "dead": "were put aside after too many tries (--retry-dead sends them again)",
    "conflict": "are another record than the receiver has of the same unit: an incident, look into it",
}
