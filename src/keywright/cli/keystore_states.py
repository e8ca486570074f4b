"""`keywright keystore activate|suspend|deactivate|compromise|affected`: the life of a key, and what came from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import typer

from keywright.cli.keystore_text import record_document
from keywright.cli.options import Json, Yes
from keywright.cli.passphrases import PassphraseFile, now_ms, opened
from keywright.cli.person import ask, is_attended
from keywright.cli.text import bad, note, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.production.keystores.affected import AffectedLot, affected_lot, affected_units, concerned, freeze
from keywright.production.keystores.key_states import KeyState, check_transition
from keywright.production.keystores.keystore import Keystore
from keywright.production.keystores.keystore_uri import open_keystore
from keywright.production.keystores.registry import KeyRecord
from keywright.production.people import approval_file
from keywright.production.people.approvals import Approval, Operation, request
from keywright.production.people.people import Directory
from keywright.production.unit_store.units import UnitStore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Where: TypeAlias = Annotated[str, typer.Argument(metavar="KEYSTORE", help="The keystore: software:PATH, pkcs11:LABEL.")]
Name: TypeAlias = Annotated[str, typer.Argument(metavar="KEY", help="The key's name, as show has it.")]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the key.")]
ApprovalFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--approval", metavar="FILE", help="Production keys: asked for with --by, signed, then used."),
]
People: TypeAlias = Annotated[Path | None, typer.Option("--people", metavar="FILE", help="The directory of people.")]
By: TypeAlias = Annotated[Path | None, typer.Option("--by", metavar="KEY", help="The key file of who asks.")]
Stores: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--store", metavar="URL", help="A lot whose units are listed; again for more."),
]


class Signing(msgspec.Struct, frozen=True):
    """What is needed to have a change approved, as far as it was given."""

    approval: Path | None
    people: Path | None
    by: Path | None
    passphrase_file: list[Path] | None


@app.command()
def activate(
    keystore: Where,
    name: Name,
    *,
    reason: Reason,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    approval: ApprovalFile = None,
    people: People = None,
    by: By = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Let a key make something new: one that was brought in, or that was suspended."""
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    signing = Signing(approval, people, by, passphrase_file)
    _change(held, name, KeyState.ACTIVE, reason, signing, json=json)


@app.command()
def suspend(
    keystore: Where,
    name: Name,
    *,
    reason: Reason,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    approval: ApprovalFile = None,
    people: People = None,
    by: By = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Let a key make nothing new for the time being; lots that need it stop. It still opens."""
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    signing = Signing(approval, people, by, passphrase_file)
    _change(held, name, KeyState.SUSPENDED, reason, signing, json=json)


@app.command()
def deactivate(
    keystore: Where,
    name: Name,
    *,
    reason: Reason,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    approval: ApprovalFile = None,
    people: People = None,
    by: By = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Let a key make nothing new for good, because its time or its task is over. It still opens."""
    _sure(f"{name!r} will never make anything new again.", name, yes=yes)
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    signing = Signing(approval, people, by, passphrase_file)
    _change(held, name, KeyState.DEACTIVATED, reason, signing, json=json)


@app.command()
def compromise(
    keystore: Where,
    name: Name,
    *,
    reason: Reason,
    store: Stores = None,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    approval: ApprovalFile = None,
    people: People = None,
    by: By = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Say that a key may be known to others: it and all that came from it make nothing new.

    Lots of --store are stopped and their units marked that it reached: nothing of them is handed over any more.
    """
    _sure(f"{name!r} and every key that came from it will never make anything new again.", name, yes=yes)
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    signing = Signing(approval, people, by, passphrase_file)
    record = _changed(held, name, KeyState.COMPROMISED, reason, signing, json=json)
    if record is not None:
        for url in store or []:
            _freeze(url, held, record)
        _show_affected(held, name, store or [], record_document(record), json=json)


@app.command()
def affected(
    keystore: Where,
    name: Name,
    *,
    store: Stores = None,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    mark: Annotated[
        bool, typer.Option("--mark", help="Stop these lots and mark their units, as when it became compromised.")
    ] = False,
    json: Json = False,
) -> None:
    """List the keys that came from a key, and the units of lots that hold or were opened with any of them.

    With --mark a lot is marked that was not there, or busy, when the key became compromised.
    """
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    record = held.registry.named(name)
    if mark and record.state is not KeyState.COMPROMISED:
        raise PolicyError(
            f"{name!r} is {record.state}: units are marked for a compromised key", hint="leave --mark out"
        )
    for url in (store or []) if mark else []:
        _freeze(url, held, record)
    _show_affected(held, name, store or [], record_document(record), json=json)


def _sure(what: str, name: str, *, yes: bool) -> None:
    if yes:
        return
    note(what)
    if not is_attended() or ask("Type the key's name:").strip() != name:
        raise PolicyError("nothing was changed", hint="type the key's name at a terminal, or give --yes")


def _change(held: Keystore, name: str, to: KeyState, reason: str, signing: Signing, *, json: bool) -> None:
    record = _changed(held, name, to, reason, signing, json=json)
    if record is not None and json:
        show_json(record_document(record))


def _changed(held: Keystore, name: str, to: KeyState, reason: str, signing: Signing, *, json: bool) -> KeyRecord | None:
    """The record afterwards; None when the change was only asked for."""
    if not reason.strip():
        raise UsageError("--reason is empty", hint="say why: it is kept with the key")
    before = held.registry.named(name)
    check_transition(name, before.state, to)
    approved, known = "", ""
    if not held.test:
        facts = {"keystore": held.keystore_id, "id": before.id, "from": str(before.state), "to": str(to), "why": reason}
        found = approval_for(Operation("key.state", name, facts), signing, json=json)
        if found is None:
            return None
        approved, known = found.id, found.directory
    record = held.change_state(name, to, reason=reason, approval=approved, people=known)
    if not json:
        say(f"{record.name} is {record.state} (was {before.state})")
    return record


def approval_for(operation: Operation, signing: Signing, *, json: bool) -> Approval | None:
    """The approval that was used; None when it was only asked for."""
    file, people = signing.approval, signing.people
    if file is None or people is None:
        raise PolicyError(
            "the state of a production key is changed by two people",
            hint="ask: --people FILE --by KEY --approval FILE; have FILE signed (keywright approve sign); repeat",
        )
    directory = Directory.load(people)
    if file.exists():
        return approval_file.use(file, operation, directory, at_ms=now_ms())
    if signing.by is None:
        raise UsageError(f"{file}: there is no approval", hint="ask for it with --by KEY")
    (key,) = opened([signing.by], signing.passphrase_file)
    asked = request(operation, key, directory, at_ms=now_ms(), rng=os.urandom)
    approval_file.write(file, asked)
    if json:
        show_json({"asked": asked.id, "file": str(file)})
    else:
        say(f"asked for {operation.action} of {operation.object}; nothing was changed yet")
        say(f"  have it signed: keywright approve sign {file} --people {people} --by KEY; then repeat this command")
    return None


def _freeze(url: str, held: Keystore, record: KeyRecord) -> None:
    """Stop the lot and mark its units. One that a process has for itself stops before its next unit by itself."""
    try:
        with UnitStore.open(url, station=f"keystore-{os.getpid()}") as store:
            lot = affected_lot(store, held.keystore_id, concerned(held.registry, record.name))
            if lot is not None and freeze(store, lot, record, now_ms() / 1000):
                note(f"{url}: the lot was stopped; it goes on once it is released")
    except StoreError as error:
        note(f"{url}: could not be stopped from here ({error}); it stops before its next unit")
        note(f"  then mark its units: keywright keystore affected … {record.name} --store {url} --mark")


def _show_affected(held: Keystore, name: str, stores: list[str], document: dict[str, Any], *, json: bool) -> None:
    names = concerned(held.registry, name)
    lots = []
    for url in stores:
        with UnitStore.open(url, readonly=True) as store:
            lot = affected_lot(store, held.keystore_id, names)
            if lot is None:
                raise UsageError(f"{url}: holds no lot", hint="give the store of a lot")
            units = [list(one) for one in affected_units(store, lot)]
        lots.append({"store": url, "lot": lot.lot, "keys": list(lot.keys), "units": units})
        if not json:
            _say_lot(url, lot, units)
    if json:
        show_json({**document, "descendants": list(names[1:]), "lots": lots})
        return
    say(f"came from it: {', '.join(names[1:]) or 'no other key'}")


def _say_lot(url: str, lot: AffectedLot, units: list[list[Any]]) -> None:
    if not lot.keys:
        say(f"{url}: lot {lot.lot} has nothing to do with it")
        return
    say(bad(f"{url}: lot {lot.lot}, {len(units)} units concerned through {', '.join(lot.keys)}"))
    for n, serial in units:
        say(f"  {n}  {serial}")
