"""`keywright audit`: take the log of a store out, and judge it anywhere."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli import audit_witness
from keywright.cli.decisions import AskedBy, PeopleFile, ask_for
from keywright.cli.options import Json
from keywright.cli.passphrases import By, PassphraseFile, People, now_ms, opened
from keywright.cli.text import bad, caution, faint, good, note, printable, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import DecodeError, KeywrightError, UsageError
from keywright.production.audit.cosignature import is_cosigned
from keywright.production.audit.entries import Wanted, entries
from keywright.production.audit.events import Body
from keywright.production.audit.evidence import Report, evidence
from keywright.production.audit.evidence_html import write_evidence
from keywright.production.audit.export import export as write_export
from keywright.production.audit.key_file import PUBLIC_SUFFIX, signer_for
from keywright.production.audit.log_key import key_of
from keywright.production.audit.note import NOTE_BYTES, NoteKey, Signer
from keywright.production.audit.proofs import prove_consistency, prove_inclusion
from keywright.production.audit.retention import give_up
from keywright.production.audit.review import is_good, reviews, sign_off, to_review
from keywright.production.audit.second_host import witness_key as key_of_witness
from keywright.production.audit.verdict import Finding, Verdict
from keywright.production.audit.verify import verify as judge
from keywright.production.audit.witness import read_notes
from keywright.production.control.rekey import rekey as give_key
from keywright.production.keystores.keystore_uri import open_keystore
from keywright.production.people.people import Directory
from keywright.production.private_file import read_plain
from keywright.production.unit_store.units import UnitStore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_witness.app, name="witness", help="The second host that cosigns checkpoints.")

NOT_WHOLE: Final = 1
_WAIT_S: Final = 5.0
IN_FOLDER: Final = "audit-export"
"""The name of an export in a folder that was given as its place."""

Store = Annotated[str, typer.Option("--store", metavar="URL", help="Where the lot is kept.")]
Out = Annotated[Path, typer.Option("--out", metavar="PATH", help="The file to write, or a folder for it.")]
Place = Annotated[Path | None, typer.Argument(metavar="PATH", help="What audit export wrote.")]
Key = Annotated[
    list[Path] | None,
    typer.Option(
        "--key", metavar="FILE", help="The log's public key, as it was given to you; again for one it had before."
    ),
]
KeystoreOption = Annotated[
    str, typer.Option("--keystore", metavar="KEYSTORE", help="Show the states of its keys, too.")
]
WitnessFile = Annotated[
    Path | None, typer.Option("--witness", metavar="FILE", help="Where checkpoints go, if not beside the store.")
]
Witness = Annotated[
    Path | None, typer.Option("--witness", metavar="FILE", help="Checkpoints that were kept elsewhere.")
]


@app.command()
def export(*, store: Store, out: Out, json: Json = False) -> None:
    """Write the whole log of a store, and the rows it speaks of, to a file that verify can judge without the store."""
    path = out / IN_FOLDER if out.is_dir() else out
    with UnitStore.open(store, readonly=True) as units:
        done = write_export(units, path, _sealer(units))
    if json:
        found = {"path": str(path), "size": done.size, "root": done.root.hex(), "checkpoints": done.checkpoints}
        show_json(found | {"sealed": done.is_sealed})
        return
    say(f"Wrote {printable(str(path))}: {done.size} entries, {done.checkpoints} checkpoints")
    say(f"Root  {done.root.hex()}")


def _sealer(units: UnitStore) -> Signer | None:
    """The log's key, if this account has it; whoever only reads a store exports without a seal, and is told so."""
    try:
        known = key_of(units)
        if known is not None:
            return signer_for(known, units.path)
        why = "the log has no key yet"
    except KeywrightError as error:
        why = str(error)
    note(f"not sealed: {printable(why)}; verify takes it for whole only with --unsealed")
    return None


@app.command()
def verify(
    path: Place = None,
    *,
    store: Annotated[str, typer.Option("--store", metavar="URL", help="Judge a store as it is, without a file.")] = "",
    key: Key = None,
    witness: Witness = None,
    witness_key: Annotated[
        Path | None, typer.Option("--witness-key", metavar="FILE", help="Take only what this witness cosigned.")
    ] = None,
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Take an export without the seal of the log's key, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Judge an exported log, offline. Exit code 0 only if it is whole; else 1, and the first wrong position."""
    if (path is None) == (not store):
        raise UsageError("what is to be judged?", hint="give the PATH of an export, or --store URL")
    keys = [_key(one) for one in key or ()]
    if witness_key is not None and witness is None:
        raise UsageError("--witness-key without --witness", hint="give the file with the checkpoints, too")
    notes = None if witness is None else read_notes(witness)
    if notes is not None and witness_key is not None:
        trusted = key_of_witness(witness_key)
        notes = [one for one in notes if is_cosigned(one, trusted)]
    if path is not None:
        place = path / IN_FOLDER if path.is_dir() else path
        verdict = judge(place, keys=keys, witness=notes, need_seal=not unsealed)
    else:
        verdict = _judged(store, keys, notes)
    if json:
        show_json(msgspec.to_builtins(verdict))
    else:
        for line in _lines(verdict):
            say(line)
    raise typer.Exit(0 if verdict.whole else NOT_WHOLE)


def _judged(store: str, keys: list[NoteKey], notes: list[str] | None) -> Verdict:
    """What stands in the store itself: nobody could have cut anything off on the way."""
    with tempfile.TemporaryDirectory(prefix="keywright-") as folder, UnitStore.open(store, readonly=True) as units:
        place = Path(folder) / IN_FOLDER
        write_export(units, place)
        return judge(place, keys=keys, witness=notes)


def _lines(verdict: Verdict) -> Iterator[str]:
    if verdict.whole:
        yield good(f"Whole: {verdict.size} entries")
    else:
        yield bad(f"NOT WHOLE: first at {_place(verdict.findings[0])}: {verdict.findings[0].kind}")
    for finding in verdict.findings:
        yield f"  {_place(finding):>16}  {finding.kind:<11} {printable(finding.text)}"
    if verdict.size:
        yield f"Entries      {verdict.size}, from {_time(verdict.begun)} to {_time(verdict.ended)}"
    yield f"Root         {verdict.root}"
    yield f"Checkpoints  {verdict.checkpoints} in the file, good up to entry {verdict.checkpointed}"
    yield f"Sealed       {'yes, by the log key' if verdict.sealed else 'no'}"
    yield f"Witnessed    up to entry {verdict.witnessed}"
    if verdict.key:
        yield f"Key          {printable(verdict.key)}"
    for text in verdict.notes:
        yield f"Note: {printable(text)}"


def _place(finding: Finding) -> str:
    if finding.position == finding.until:
        return f"entry {finding.position}"
    return f"entries {finding.position}-{finding.until}"


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def _key(path: Path) -> NoteKey:
    try:
        return NoteKey.parse(read_plain(path, "file of the key", NOTE_BYTES).decode())
    except (DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint="give the file with the log's public key") from error


@app.command()
def prove(
    *,
    store: Store,
    entry: Annotated[int | None, typer.Option("--entry", metavar="N", help="That entry N is in the log.")] = None,
    since: Annotated[
        int | None, typer.Option("--since", metavar="SIZE", help="That the log begins with its first SIZE entries.")
    ] = None,
) -> None:
    """Prove something about the log to somebody who has a checkpoint of it (RFC 9162, as one JSON object)."""
    if (entry is None) == (since is None):
        raise UsageError("what is to be proven?", hint="give --entry N or --since SIZE")
    with UnitStore.open(store, readonly=True) as units:
        proof = prove_inclusion(units, entry) if entry is not None else prove_consistency(units, since or 0)
    show_json(msgspec.to_builtins(proof))


@app.command()
def rekey(
    *,
    store: Store,
    reason: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for whoever reads the log.")],
    people: PeopleFile = None,
    by: AskedBy = None,
    passphrase_file: PassphraseFile = None,
    witness: WitnessFile = None,
    json: Json = False,
) -> None:
    """Give the log another key: the old one is lost, or known to others, or has done its time. The log says so."""
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        key = give_key(units, reason, ask_for(people, by, passphrase_file), witness)
        public = units.path.with_name(units.path.name + PUBLIC_SUFFIX)
    if json:
        show_json({"key": str(key), "public": str(public)})
        return
    say(good("The log has another key"))
    say(f"Key  {printable(str(key))}")
    say(f"Give {printable(str(public))} to whoever verifies; they keep the one they have, too")


@app.command()
def show(
    *,
    store: Store,
    first: Annotated[int, typer.Option("--from", metavar="N", help="From entry N on.")] = 0,
    last: Annotated[int | None, typer.Option("--to", metavar="N", help="Up to entry N.")] = None,
    action: Annotated[str, typer.Option("--action", metavar="PATTERN", help="As in unit.* or lot.stop.")] = "",
    about: Annotated[
        str, typer.Option("--object", metavar="PATTERN", help="A type, or TYPE/ID: unit, unit/3, event/3/*.")
    ] = "",
    actor: Annotated[str, typer.Option("--actor", metavar="PATTERN", help="Who did it.")] = "",
    json: Json = False,
) -> None:
    """Show entries of the log, one in a line."""
    wanted = Wanted(first=first, last=last, action=action, object=about, actor=actor)
    with UnitStore.open(store, readonly=True) as units, units.reading() as reader:
        for body in entries(reader, wanted):
            if json:
                show_json(msgspec.to_builtins(body))
            else:
                say(_entry_line(body))


def _entry_line(body: Body) -> str:
    who = body.actor.id if body.actor.auth == "os" else f"{body.actor.id} ({body.actor.auth})"
    told = [body.action, f"{body.object.type} {body.object.id}", f"by {who}"]
    told += [f"result {body.result}"] * (body.result != "ok") + [f"({body.reason})"] * bool(body.reason)
    told += [f"approvals {' '.join(body.approvals)}"] * bool(body.approvals)
    return f"{body.seq:>7}  {_time(body.t)}  {printable('  '.join(told))}"


@app.command()
def review(
    *,
    store: Store,
    every: Annotated[bool, typer.Option("--all", help="From the first entry on, not from the last sign-off.")] = False,
    people: PeopleFile = None,
    json: Json = False,
) -> None:
    """List what an auditor has to look at since the last sign-off; with --people check who signed the ones before."""
    directory = None if people is None else Directory.load(people)
    with UnitStore.open(store, readonly=True) as units, units.reading() as reader:
        for done in reviews(reader):
            found = "" if directory is None else "good" if is_good(done, directory) else "NOT GOOD"
            if json:
                signed = {"first": done.first, "size": done.size, "root": done.root.hex(), "person": done.person}
                show_json({"signed_off": signed | {"at_ms": done.at_ms, "text": done.text, "signature": found}})
            else:
                text = f"Entries {done.first} to {done.size - 1} signed off by {done.person}, {_time(done.at_ms)}"
                say(printable(f"{text}: {done.text}") + (f" (signature {found})" if found else ""))
        number = 0
        for item in to_review(reader, 0 if every else None):
            number += 1
            if json:
                show_json({"kind": item.kind} | msgspec.to_builtins(item.body))
            else:
                say(f"{item.kind:<10}{_entry_line(item.body)}")
    if not json:
        say(f"{number} entries to look at" if number else good("Nothing to look at"))


@app.command(name="sign-off")
def sign_off_entries(
    *,
    store: Store,
    people: People,
    by: By,
    text: Annotated[str, typer.Option("--why", metavar="TEXT", help="What was looked at, and what came of it.")],
    end: Annotated[int | None, typer.Option("--before", metavar="N", help="Only the entries before entry N.")] = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Sign off what was listed by review, as an auditor; the log then says who has seen it."""
    if len(by) != 1:
        raise UsageError("one auditor signs off", hint="give one --by")
    directory = Directory.load(people)
    (key,) = opened(by, passphrase_file)
    with UnitStore.open(store, wait_s=_WAIT_S) as units:
        done = sign_off(units, key, directory, text, at_ms=now_ms(), end=end)
    if json:
        show_json({"first": done.first, "size": done.size, "root": done.root.hex(), "person": done.person})
    else:
        say(good(f"Entries {done.first} to {done.size - 1} signed off by {done.person}"))


@app.command(name="give-up")
def give_up_bodies(
    *,
    store: Store,
    days: Annotated[int, typer.Option("--days", metavar="DAYS", help="Keep entries of so many days.")] = 730,
    json: Json = False,
) -> None:
    """Give up what old entries say; their hashes stay, and the log stays whole. Not before a year."""
    with UnitStore.open(store) as units:
        count = give_up(units, days, at_ms=time.time_ns() // 1_000_000)
    if json:
        show_json({"given_up": count})
    else:
        say(f"{count} entries given up")


@app.command()
def controls(
    *,
    store: Store,
    keystore: KeystoreOption = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the evidence as a page.")] = None,
    json: Json = False,
) -> None:
    """Say for each control what the data of a lot show. No statement of compliance."""
    opened = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase)) if keystore else None
    with UnitStore.open(store, readonly=True) as units:
        report = evidence(units, opened)
        if html is not None:
            write_evidence(report, html, units.path)
            note(f"wrote {html}")
    if json:
        show_json(msgspec.to_builtins(report))
        return
    for line in _evidence_lines(report):
        say(line)


def _evidence_lines(report: Report) -> Iterator[str]:
    if report.test:
        yield caution("TEST: the keys of this lot protect nothing.")
    yield f"Lot {printable(report.lot)}, {report.state}; log of {report.size} entries, root {report.root}"
    for control in report.controls:
        yield f"{control.id:>3}  {control.asked} ({control.standing})"
        for line in control.lines:
            yield f"       {bad(printable(line.text)) if line.is_exception else printable(line.text)}"
        if not control.lines:
            yield faint("       not shown by the data of a lot")
