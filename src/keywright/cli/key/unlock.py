"""`keywright key unlock` and `enrol`: a fob at a lock."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from keywright.aliro.access import Situation
from keywright.aliro.carrying import transmit_as_announced
from keywright.aliro.lock import Outcome
from keywright.aliro.matter.cluster import CredentialType
from keywright.aliro.messages import READER_STATUSES, ReaderStatus
from keywright.aliro.reader import Plan, authenticate, finish
from keywright.cli.key.locks import demand
from keywright.cli.key.options import At, Evictable, LockFile, action_in, time_in
from keywright.cli.links import opened
from keywright.cli.options import Json, Link, Trace
from keywright.cli.text import bad, good, pairs, say, show_json
from keywright.errors import KeywrightError
from keywright.fob.lock import opened_lock
from keywright.sansio.dialogue import drive

app = typer.Typer(rich_markup_mode=None)

REFUSED = 3
"""Exit code when the lock stayed shut."""


@app.command()
def unlock(
    lock: LockFile,
    *,
    link: Link,
    at: At = "",
    action: Annotated[str, typer.Option("--action", metavar="NAME", help="What the lock is to do.")] = "unsecure",
    standard: Annotated[bool, typer.Option("--standard", help="Do not try the fast phase.")] = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Hold a fob to a lock. Ends with 0 if it opened, with 3 if it stayed shut.

    Example: keywright key unlock door.lock --link 'sim:fob?serial=KW-F1-000001&memory=demo-lot/lot.db.fobs'
    """
    situation = Situation(action=action_in(action, "--action"), now=time_in(at, "--at"))
    with opened_lock(lock, os.urandom) as reader, opened(link, trace) as fob:
        plan = Plan(fast=not standard)
        outcome = drive(reader.lock().unlock(reader.fresh(), situation, plan), transmit_as_announced(fob))
    if json:
        show_json(document_of(outcome))
    else:
        tell(outcome)
    if not outcome.granted:
        raise typer.Exit(REFUSED)


@app.command()
def enrol(
    lock: LockFile,
    *,
    link: Link,
    evictable: Evictable = False,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Register the fob that is held to the lock: it proves its key, and the key opens from now on without a document.

    The fob must know the lock's reader group, which the recipe step `aliro` gives it.

    Example: keywright key enrol door.lock --link pcsc:
    """
    kind = CredentialType.EVICTABLE if evictable else CredentialType.NON_EVICTABLE
    with opened_lock(lock, os.urandom) as reader, opened(link, trace) as fob:
        send, aliro = transmit_as_announced(fob), reader.lock()
        found = drive(authenticate(reader.reader(), Plan(fast=False), reader.fresh(), aliro.keys), send)
        try:
            demand(reader.add(kind, found.credential), "SetCredential")
        except KeywrightError:
            drive(finish(found, ReaderStatus.HARDWARE), send)
            raise
        drive(finish(found, ReaderStatus.SECURED), send)
    if json:
        show_json({"registered": found.credential.point.hex()})
        return
    say(f"{good('registered')} {found.credential.point.hex()}")


def document_of(outcome: Outcome) -> dict[str, Any]:
    """A transaction as JSON."""
    return {
        "granted": outcome.granted,
        "phase": "fast" if outcome.is_fast else "standard",
        "reader_status": f"{outcome.status:04X}",
        "reason": outcome.reason,
        "credential": outcome.credential.point.hex(),
        "element": outcome.decision.element if outcome.decision else None,
    }


def tell(outcome: Outcome) -> None:
    """A transaction in words."""
    say(good("open") if outcome.granted else bad("shut"))
    status = READER_STATUSES.get(outcome.status, "")
    say(
        "\n".join(
            pairs(
                [
                    ("why", outcome.reason),
                    ("phase", "expedited fast" if outcome.is_fast else "expedited standard"),
                    ("told", f"{outcome.status:04X} {status}".rstrip()),
                    ("credential", outcome.credential.point.hex()),
                ]
            )
        )
    )
