"""What auditors look at: entries that somebody has to have seen, and the sign-off that says that an auditor has.

A sign-off is a row with the auditor's signature over the range of entries and the root of the tree up to its end, and
an entry that speaks of the row; so it holds for these very entries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import sqlalchemy as sa

from keywright.crypto.curve25519 import verify_ed25519
from keywright.errors import AuthenticationError, PolicyError, UsageError
from keywright.production.audit.checkpoints import Store
from keywright.production.audit.entries import Wanted, entries
from keywright.production.audit.events import Body
from keywright.production.audit.merkle import root_of
from keywright.production.people.people import Directory, PeopleError
from keywright.production.people.person_key import PersonKey
from keywright.production.unit_store.handover_tables import review
from keywright.production.unit_store.review_rows import Reviewed
from keywright.production.unit_store.tables import audit, audit_head

ROLE: Final = "auditor"
_KINDS: Final = (
    ("approval", "approval.*"),
    ("key", "key.*"),
    ("key", "log.key"),
    ("ceremony", "ceremony.*"),
    ("log", "clock.*"),
    ("log", "log.give-up"),
    ("stop", "lot.stop"),
    ("lot", "lot.wait"),
    ("lot", "lot.approve"),
    ("lot", "lot.accept"),
    ("lot", "lot.release"),
    ("lot", "lot.recipe"),
    ("lot", "lot.reopen"),
    ("lot", "lot.remake"),
    ("lot", "campaign.close"),
    ("stock", "ledger.move"),
    ("stock", "unit.destroy"),
    ("stock", "unit.return"),
    ("label", "label.reprint"),
)
"""Actions that are looked at, and what they are; besides these whatever did not end well."""


class Item(msgspec.Struct, frozen=True):
    """An entry to be looked at, and why: `exception`, or one of the kinds of actions."""

    kind: str
    body: Body


def kind_of(body: Body) -> str:
    """Why an entry is to be looked at; empty if it need not be."""
    if body.result not in ("ok", "noted"):
        return "exception"
    return next((kind for kind, pattern in _KINDS if fnmatchcase(body.action, pattern)), "")


def reviews(reader: sa.Connection) -> list[Reviewed]:
    """All sign-offs, oldest first."""
    rows = reader.execute(sa.select(review).order_by(review.c.size))
    return [Reviewed(**row._mapping) for row in rows]  # noqa: SLF001 - the documented name of a row's mapping


def check_review(done: Reviewed, directory: Directory) -> None:
    """Raise AuthenticationError unless the person's key in the directory signed it, PeopleError if they are unknown."""
    verify_ed25519(directory.person(done.person).public_key, done.signature, done.content())


def reviewed_up_to(reader: sa.Connection) -> int:
    """So many entries, from the first, have been signed off."""
    return reader.execute(sa.select(sa.func.max(review.c.size))).scalar() or 0


def to_review(reader: sa.Connection, first: int | None = None, end: int | None = None) -> Iterator[Item]:
    """What is to be looked at, from the last sign-off on, or from entry `first`; up to `end`, not included."""
    begin = reviewed_up_to(reader) if first is None else first
    for body in entries(reader, Wanted(first=begin, last=None if end is None else end - 1)):
        if kind := kind_of(body):
            yield Item(kind, body)


def sign_off(
    store: Store, by: PersonKey, directory: Directory, text: str, *, at_ms: int, end: int | None = None
) -> Reviewed:
    """Sign off the entries since the last sign-off, up to `end` (not included) or all; in the log when this returns.

    Raises PeopleError for somebody who is no auditor, UsageError if there is nothing to sign off or no text,
    PolicyError if the auditor's own acts are among what is to be looked at.
    """
    person = directory.of_key(by)
    if not person.has((ROLE,)):
        raise PeopleError(f"{person.name} is no {ROLE}", hint="reviews are signed off by an auditor")
    if not text.strip():
        raise UsageError("a text is missing", hint="say with --why what was looked at, and what came of it")
    with store.reading() as reader:
        first = reviewed_up_to(reader)
        size: int = reader.execute(sa.select(audit_head.c.size)).scalar_one()
        size = size if end is None else end
        if not first < size:
            raise UsageError(f"the entries up to {first} have been signed off", hint="there is nothing new to sign off")
        leaves = reader.execution_options(yield_per=1000).execute(sa.select(audit.c.leaf).order_by(audit.c.seq))
        hashes = [row.leaf for row in itertools.islice(leaves, size)]
        if len(hashes) < size:
            raise UsageError(f"the log has {len(hashes)} entries, not {size}", hint="give the number of an entry")
        for item in to_review(reader, first, size):
            if item.body.actor.id == person.name and item.body.actor.auth == "ed25519":
                raise PolicyError(
                    f"entry {item.body.seq} is what {person.name} did: nobody reviews their own acts",
                    hint="have another auditor sign off",
                )
    done = Reviewed(size, first, root_of(hashes), directory.id, person.name, at_ms, text)
    done = msgspec.structs.replace(done, signature=by.sign(done.content()))
    store.commit([done])
    return done


def is_good(done: Reviewed, directory: Directory) -> bool:
    """Whether `check_review` finds nothing wrong."""
    try:
        check_review(done, directory)
    except (AuthenticationError, PeopleError):
        return False
    return True
