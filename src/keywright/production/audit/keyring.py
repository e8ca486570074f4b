"""The keys of a log as its verifier follows them: which is in force, by what the entries themselves say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, final

from keywright.errors import DecodeError
from keywright.production.audit.diagnosis import Kind
from keywright.production.audit.events import Body
from keywright.production.audit.log_key import KEY
from keywright.production.audit.note import NoteKey


class Doubt(NamedTuple):
    """Something wrong about a key, and the entry from which on."""

    position: int
    kind: Kind
    text: str


@final
class Keyring:
    """The keys that a file names, and the ones that an auditor was given."""

    def __init__(self, trusted: Iterable[NoteKey]) -> None:
        """`trusted`: the log's keys as the auditor was given them; none: those in the file are taken."""
        self.trusted = tuple(trusted)
        self.known: dict[str, NoteKey] = {key.name: key for key in self.trusted}
        self.current: NoteKey | None = None
        """The key in force, as far as the log was read."""
        self.changes: list[Body] = []
        """The entries by which the log got another key than its first."""
        self._since = 0
        self._is_sure = False
        self.is_partial = False
        """Whether entries were given up: one of them may have named a key."""

    def head(self, key: str, earlier: Iterable[str]) -> Iterator[Doubt]:
        """Take in what the head of the file says. Raises DecodeError for a text that is no key."""
        told = [NoteKey.parse(text) for text in (*earlier, key) if text]
        if self.trusted and not set(told) & set(self.trusted):
            yield Doubt(0, "checkpoint", f"the log's key is {key or 'none'}, not the one that was given")
        for one in told:
            if self.known.setdefault(one.name, one) != one and not self.trusted:
                yield Doubt(0, "checkpoint", f"two keys of the log have the name {one.name}")
        self.current = self.known[told[0].name] if told else (self.trusted[0] if self.trusted else None)

    def said(self, body: Body) -> Iterator[Doubt]:
        """Take in an entry."""
        if body.action != KEY:
            return
        try:
            key = NoteKey.parse(body.object.id)
        except DecodeError as error:
            yield Doubt(body.seq, "checkpoint", f"entry {body.seq} names a key that is none: {error}")
            return
        if self._is_sure:
            self.changes.append(body)
            self._since = body.seq
        elif self.current is not None and key != self.current:
            yield Doubt(body.seq, "checkpoint", f"entry {body.seq} names {key.name}, not the key of this log")
        self._is_sure = True
        self.current = self.known.setdefault(key.name, key)

    def of_note(self, note: str) -> NoteKey | None:
        """The key that has to have signed a checkpoint which stands here, None if no key of the log may have."""
        found = self.known.get(note.partition("\n")[0])
        if found is not None and self.is_partial and not self._is_sure:
            self.current = found
        return found if found == self.current else self.current

    def end(self) -> Iterator[Doubt]:
        """After the last entry: whether the auditor knows the key that is in force."""
        if self.trusted and self.current is not None and self.current not in self.trusted and self.changes:
            last = self.changes[-1]
            yield Doubt(
                self._since,
                "checkpoint",
                f"from entry {self._since} on another key signs, {self.current}, which was not given: {_why(last)}",
            )

    def notes(self) -> Iterator[str]:
        """What an auditor ought to know of keys."""
        for body in self.changes:
            yield f"entry {body.seq} gave the log another key: {_why(body)}"


def _why(body: Body) -> str:
    return f"{body.actor.id}: {body.reason or 'no reason'}"
