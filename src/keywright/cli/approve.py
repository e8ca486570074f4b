"""`keywright approve`: what somebody asked for, in words, and one's own signature under it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from keywright.cli.options import Json, Yes
from keywright.cli.passphrases import By, PassphraseFile, People, now_ms, opened
from keywright.cli.person import ask, is_attended
from keywright.cli.text import note, pairs, say, show_json, table
from keywright.errors import PolicyError, UsageError
from keywright.production.people import approval_file
from keywright.production.people.approvals import Approval, approve, signed
from keywright.production.people.consent import signed_entry
from keywright.production.people.people import Directory
from keywright.production.reports.report import reading
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.units import UnitStore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(metavar="APPROVAL", help="The id of an approval in the store, or a file.")]
Store = Annotated[str, typer.Option("--store", metavar="URL", help="The lot's store.")]


@app.command("list")
def list_(
    *, store: Store, used: Annotated[bool, typer.Option("--used", help="Also those used.")] = False, json: Json = False
) -> None:
    """Show what has been asked for in a store, newest first."""
    with UnitStore.open(store, readonly=True) as units, reading(units) as connection:
        found = list(approval_rows.listed(connection, used=None if used else False))
        states = [_state(one, is_used=approval_rows.is_used(connection, one.id)) for one in found]
    if json:
        show_json([_document(one, state) for one, state in zip(found, states, strict=True)])
        return
    rows = [
        (one.id, one.operation.action, one.operation.object, one.requested.person, state)
        for one, state in zip(found, states, strict=True)
    ]
    for line in table(("approval", "action", "object", "asked by", "state"), rows):
        say(line)


@app.command()
def show(approval: Which, *, store: Store = "", json: Json = False) -> None:
    """Show in words exactly what an approval allows, and who signed it."""
    found, is_used = _found(approval, store)
    state = _state(found, is_used=is_used)
    if json:
        show_json(_document(found, state))
        return
    for line in _lines(found, state):
        say(line)


@app.command()
def sign(
    approval: Which,
    *,
    by: By,
    people: People,
    store: Store = "",
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Allow it: put one's own signature under exactly what `show` shows. Valid for 30 minutes from the request."""
    found, is_used = _found(approval, store)
    if is_used:
        raise PolicyError(f"the approval {found.id} has been used", hint="ask for a new one")
    if len(by) != 1:
        raise UsageError("one person signs at a time", hint="give one --by")
    for line in _lines(found, _state(found, is_used=False)):
        note(line)
    if not yes and (not is_attended() or ask("Sign this? Type yes:").strip() != "yes"):
        raise PolicyError("not signed", hint="type yes at a terminal, or give --yes")
    directory = Directory.load(people)
    (key,) = opened(by, passphrase_file)
    more = approve(found, key, directory, at_ms=now_ms())
    if store:
        with UnitStore.open(store, wait_s=_WAIT_S) as units:
            units.commit([signed(more, more.approved[-1]), signed_entry(more)])
    else:
        approval_file.write(Path(approval), more)
    state = _state(more, is_used=False)
    if json:
        show_json(_document(more, state))
    else:
        say(f"signed {more.id}: {state}")


_WAIT_S = 5.0


def _found(approval: str, store: str) -> tuple[Approval, bool]:
    """The approval and whether it has been used."""
    if not store:
        path = Path(approval)
        return approval_file.read(path), path.with_name(f"{path.name}.used").exists()
    with UnitStore.open(store, readonly=True) as units, reading(units) as connection:
        found = approval_rows.found(connection, approval)
        if found is None:
            raise UsageError(f"there is no approval {approval}", hint=f"keywright approve list --store {store}")
        return found, approval_rows.is_used(connection, approval)


def _state(approval: Approval, *, is_used: bool) -> str:
    if is_used:
        return "used"
    if now_ms() >= approval.expires_ms:
        return "expired"
    given, needed = len(approval.approved), approval.operation.rule.approvals
    return "approved" if given >= needed else f"{given} of {needed} signed"


def _lines(approval: Approval, state: str) -> list[str]:
    signatures = [("asked by", _who(approval.requested.person, approval.requested.at_ms))]
    signatures += [("allowed by", _who(one.person, one.at_ms)) for one in approval.approved]
    ends = ("valid until", f"{datetime.fromtimestamp(approval.expires_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC")
    return pairs([("approval", approval.id), *approval.operation.words(), *signatures, ends, ("state", state)])


def _who(person: str, at_ms: int) -> str:
    return f"{person}, {datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _document(approval: Approval, state: str) -> dict[str, Any]:
    operation = approval.operation
    return {
        "id": approval.id,
        "action": operation.action,
        "object": operation.object,
        "facts": operation.facts,
        "words": operation.rule.words,
        "digest": operation.digest.hex(),
        "requested_by": approval.requested.person,
        "approved_by": [one.person for one in approval.approved],
        "expires_ms": approval.expires_ms,
        "state": state,
    }
