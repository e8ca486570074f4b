"""Whether an exported log is whole: offline, from the file alone, in one pass; the first wrong position first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, final

import msgspec

from keywright.errors import AuthenticationError, DecodeError, UsageError
from keywright.production.audit.books import Wrong
from keywright.production.audit.diagnosis import Kind, Seen, diagnose
from keywright.production.audit.events import Body, decode_body, encode_body
from keywright.production.audit.keyring import Doubt, Keyring
from keywright.production.audit.lines import LINE_BYTES, End, Head, Line, parse_line
from keywright.production.audit.log import STEPPED_BACK, is_step_back
from keywright.production.audit.merkle import HASH_BYTES, Edge, leaf_hash
from keywright.production.audit.note import Checkpoint, NoteKey, open_note
from keywright.production.audit.standing import Standing
from keywright.production.audit.subjects import BY_TYPE, UNIT_RECORD
from keywright.production.audit.verdict import Finding, Verdict
from keywright.production.audit.witness import checkpoints_of
from keywright.production.private_file import open_plain

T = TypeVar("T")

FINDINGS: Final = 100
"""So many are listed; the first is what matters."""
_LOOK_AHEAD: Final = 100_000
"""Entries read after a break, to say what was done."""


class _StopReading(Exception):  # noqa: N818 - ends the reading, is no error
    """Nothing after this can be judged."""


class _Judged(msgspec.Struct):
    """A checkpoint of the tree as it is, until the next entry shows that the last one is sound."""

    checkpoint: Checkpoint
    line: int
    is_outside: bool


@final
class Verifier:
    """Reads one export, once."""

    def __init__(
        self, keys: Iterable[NoteKey] = (), witness: list[str] | None = None, *, need_seal: bool = False
    ) -> None:
        """`keys`: the log's, as an auditor was given them; `witness`: notes that were kept elsewhere.

        `need_seal`: an export that the log's key did not seal is not taken for whole.
        """
        self._keys = Keyring(keys)
        self._need_seal = need_seal
        self._is_sealed = False
        self._notes_outside = witness
        self._witness: dict[int, Checkpoint] = {}
        self._edge = Edge()
        self._last: bytes | None = None
        self._before: Body | None = None
        self._owed: Body | None = None
        self._line = 0
        self._begun = self._ended = 0
        self._good = self._witnessed = self._checkpoints = self._given_up = 0
        self._largest = 0
        self._judged: list[_Judged] = []
        self._standing = Standing()
        self._is_after = False
        self._digest = hashlib.sha256()
        self._findings: list[Finding] = []
        self._doubts: list[Finding] = []
        self._of_rows: list[Finding] = []
        self._notes: list[str] = []

    def read(self, file: BinaryIO) -> Verdict:
        """Judge a whole export."""
        with suppress(_StopReading):
            try:
                self._read(file)
            except DecodeError as error:
                self._find(self._edge.size, "format", str(error))
        self._limits()
        return Verdict(
            whole=not self._findings,
            size=self._edge.size,
            root=self._edge.root().hex(),
            key="" if self._keys.current is None else str(self._keys.current),
            sealed=self._is_sealed,
            checkpoints=self._checkpoints,
            checkpointed=self._good,
            witnessed=self._witnessed,
            begun=self._begun,
            ended=self._ended,
            findings=tuple(sorted(self._findings, key=_order)[:FINDINGS]),
            notes=tuple(self._notes),
        )

    # ---- lines

    def _read(self, file: BinaryIO) -> None:
        lines = self._lines(file)
        first = next(lines, None)
        if first is None or first.word != "head":
            raise DecodeError("line 1: not an audit export", hint="give a file that keywright audit export wrote")
        self._head(first)
        for line in lines:
            if line.word == "end":
                self._row(line)
                self._end(line)
                if next(lines, None) is not None:
                    self._find(self._edge.size, "insertion", "there are lines after the last one")
                return
            self._line_of(line, lines)
        self._settle()
        text = f"the file ends after entry {self._edge.size - 1}, without its last line"
        self._find(self._edge.size, "truncation", text)

    def _lines(self, file: BinaryIO) -> Iterator[Line]:
        while data := file.readline(LINE_BYTES):
            self._line += 1
            line = parse_line(self._line, data)
            if line.word != "end":
                self._digest.update(data)
            yield line

    def _head(self, line: Line) -> None:
        head = _decoded(line, Head)
        self._doubts_of_keys(self._keys.head(head.key, head.keys))
        if self._notes_outside is not None:
            self._outside(self._notes_outside)

    def _outside(self, notes: list[str]) -> None:
        """What the witness has of this log; nothing at all is a finding, because then it is another log."""
        try:
            self._witness = checkpoints_of(notes, *self._keys.known.values())
        except (AuthenticationError, DecodeError) as error:
            self._find(0, "checkpoint", f"the witness file: {error}")
            return
        if not self._witness:
            self._find(0, "checkpoint", "the witness file has no checkpoint of this log")

    def _line_of(self, line: Line, lines: Iterator[Line]) -> None:
        if self._owed is not None:
            self._row(line)
            if line.word == "row":
                return
        match line.word:
            case "leaf" | "hash" if not self._is_after:
                self._leaf(line, lines)
            case "checkpoint":
                self._checkpoint(line)
            case "row" if not self._is_after:
                self._doubt(self._edge.size, "insertion", f"line {line.number}: no entry before it speaks of this row")
            case "now" | "extra":
                self._settle()
                self._after(line)
            case _:
                raise DecodeError(f"line {line.number}: out of place")

    # ---- entries

    def _leaf(self, line: Line, lines: Iterator[Line]) -> None:
        position = self._edge.size
        if line.word == "hash":
            leaf, body = _unhex(line), None
            self._given_up += 1
            self._standing.is_partial = self._keys.is_partial = True
        else:
            leaf, body = leaf_hash(line.payload), _body(line.payload)
        before = self._last
        if line.word == "leaf" and (body is None or body.seq != position or body.prev != _hex(before)):
            self._break(position, Seen(leaf, *_said(body)), lines)
        self._settle()
        self._edge.append(leaf)
        self._last = leaf
        if position + 1 in self._witness:
            self._judged.append(_Judged(self._witness.pop(position + 1), line.number, is_outside=True))
        if body is not None:
            self._clock(position, body)
            self._standing.said(body)
            self._doubts_of_keys(self._keys.said(body))
            rows = BY_TYPE.get(body.object.type)
            if rows is not None and not rows.is_changing and body.after_hash:
                self._owed = body
        self._before = body

    def _break(self, position: int, here: Seen, lines: Iterator[Line]) -> None:
        """The chain ends here: say why from what follows."""
        line, rest, last = self._line, [here], b""
        with suppress(DecodeError):
            for following in lines:
                if following.word == "leaf" and len(rest) < _LOOK_AHEAD:
                    rest.append(Seen(leaf_hash(following.payload), *_said(_body(following.payload))))
                elif following.word == "end":
                    last = _bytes(_decoded(following, End).last)
        found = diagnose(position, self._last, rest, last)
        self._findings.append(Finding(found.position, found.position, line, found.kind, found.text))
        raise _StopReading

    def _clock(self, position: int, body: Body) -> None:
        before = self._before
        self._begun = self._begun or body.t
        self._ended = body.t
        if before is None or not is_step_back(before.t, before.host, body.t, body.host):
            same = before is not None and before.actor.session == body.actor.session and before.host == body.host
            if before is not None and same and body.mono < before.mono:
                self._find(position, "clock", f"entry {position}: the monotonic clock of {body.host} ran backwards")
            return
        text = f"entry {position}: the clock of {body.host} went back by {before.t - body.t} ms"
        if body.action == STEPPED_BACK:
            self._notes.append(f"{text}; the log noted it itself")
        else:
            self._find(position, "clock", text)

    def _row(self, line: Line) -> None:
        """The row that the entry before speaks of."""
        body, self._owed = self._owed, None
        if body is None:
            return
        name = f"{body.object.type} {body.object.id}"
        if line.word != "row":
            self._doubt(body.seq, "deletion", f"the line with the row of {name} is missing")
        elif line.payload == b"null":
            self._find(body.seq, "deletion", f"the row of {name} is no longer in the store")
        elif hashlib.sha256(line.payload).hexdigest() != body.after_hash:
            self._find(body.seq, "edit", f"the row of {name} is not the one that entry {body.seq} was written for")
        elif body.object.type == UNIT_RECORD.type:
            self._standing.posted(line.payload, body.seq)

    # ---- checkpoints

    def _checkpoint(self, line: Line) -> None:
        self._checkpoints += 1
        note = _decoded(line, str)
        key = self._keys.of_note(note)
        if key is None:
            raise DecodeError(f"line {line.number}: a checkpoint, but no key to check it with")
        try:
            checkpoint = Checkpoint.parse(open_note(note, key))
        except (AuthenticationError, DecodeError) as error:
            self._find(self._edge.size, "checkpoint", f"the checkpoint in line {line.number} is not good: {error}")
            return
        if checkpoint.origin != key.name or checkpoint.size <= self._largest:
            self._find(self._edge.size, "checkpoint", f"the checkpoint in line {line.number} is out of place")
            return
        self._largest = checkpoint.size
        if checkpoint.size == self._edge.size:
            self._judged.append(_Judged(checkpoint, line.number, is_outside=False))
        elif checkpoint.size < self._edge.size:
            self._find(checkpoint.size, "checkpoint", f"the checkpoint in line {line.number} is out of place")
        else:
            self._settle()
            self._cut(checkpoint, f"the checkpoint in line {line.number}")

    def _settle(self) -> None:
        """Judge checkpoints of the tree as it is now: the next entry has just shown that the last one is sound.

        What looked wrong about rows since then is wrong, and no sign of an entry put in or taken out.
        """
        self._findings += self._doubts
        self._doubts.clear()
        for judged in self._judged:
            size = judged.checkpoint.size
            if judged.checkpoint.root != self._edge.root():
                which = "a witnessed checkpoint" if judged.is_outside else f"the checkpoint in line {judged.line}"
                first = max((good for good in (self._good, self._witnessed) if good < size), default=0)
                text = f"the first {size} entries are not those of {which}: they were written anew"
                self._findings.append(Finding(first, size - 1, judged.line, "edit", text))
                self._judged.clear()
                raise _StopReading
            if judged.is_outside:
                self._witnessed = size
            else:
                self._good = size
        self._judged.clear()

    def _cut(self, checkpoint: Checkpoint, which: str) -> None:
        size = self._edge.size
        self._find(size, "truncation", f"there are {size} entries; {which} speaks for {checkpoint.size}")

    # ---- rows and the end

    def _after(self, line: Line) -> None:
        self._is_after = True
        size = self._edge.size
        kind, _, payload = line.payload.partition(b" ")
        if line.word == "extra" and len(self._of_rows) <= FINDINGS:
            text = f"no entry speaks of this row of {kind.decode()}: {payload.decode()}"
            self._of_rows.append(Finding(size, size, line.number, "insertion", text))
            return
        try:
            self._wrong(self._standing.stands(kind.decode(), payload, size))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DecodeError(f"line {line.number}: not a row") from error

    def _end(self, line: Line) -> None:
        end = _decoded(line, End)
        size = self._edge.size
        if self._last is not None and end.size == size and end.last != self._last.hex():
            self._find(size - 1, "edit", f"entry {size - 1}, the last, is not the one that the log's head names")
            return
        self._settle()
        self._seal(end, line)
        self._doubts_of_keys(self._keys.end())
        self._wrong(self._standing.left())
        # A log that was cut off says nothing about rows that changed later.
        if end.size <= size and not any(found.kind == "truncation" for found in self._findings):
            self._findings += self._of_rows
        if end.size > size:
            self._find(size, "truncation", f"there are {size} entries; the log's head says {end.size}")
        elif end.size < size or end.root != self._edge.root().hex():
            first = max(self._good, self._witnessed)
            text = f"the log's head, with {end.size} entries, is not that of these {size}"
            self._findings.append(Finding(first, max(size - 1, first), line.number, "edit", text))
        if end.checkpoints != self._checkpoints:
            self._find(size, "deletion", f"{end.checkpoints} checkpoints were exported, {self._checkpoints} are there")
        if end.digest != self._digest.hexdigest() and not self._findings:
            self._find(size, "edit", "a line was changed after the export that no entry speaks of")
        for checkpoint in self._witness.values():
            if checkpoint.size > size:
                self._cut(checkpoint, "a witnessed checkpoint")
                break

    def _seal(self, end: End, line: Line) -> None:
        """What the log's key says of the whole file: only whoever has it can make an end that fits another log."""
        size, key = self._edge.size, self._keys.current
        if not end.seal:
            if self._need_seal:
                first = max(self._good, self._witnessed)
                text = "the log's key did not seal this export: entries could be left out at its end, or put on anew"
                self._findings.append(Finding(min(first, size), size, line.number, "checkpoint", text))
            return
        try:
            self._is_sealed = key is not None and open_note(end.seal, key) == end.sealed_text(key.name)
        except (AuthenticationError, DecodeError):
            self._is_sealed = False
        if not self._is_sealed:
            self._find(size, "checkpoint", "the seal of the export is not the log key's, or seals something else")

    def _doubts_of_keys(self, found: Iterator[Doubt]) -> None:
        for position, kind, text in found:
            self._find(position, kind, text)

    def _wrong(self, found: Iterator[Wrong]) -> None:
        for position, kind, text in found:
            self._of_rows.append(Finding(position, position, self._line, kind, text))
            if len(self._of_rows) > FINDINGS:
                break

    def _doubt(self, position: int, kind: Kind, text: str) -> None:
        """A finding, unless the next entry shows that it is one of another kind."""
        self._doubts.append(Finding(position, position, self._line, kind, text))

    def _find(self, position: int, kind: Kind, text: str) -> None:
        self._findings.append(Finding(position, position, self._line, kind, text))
        if len(self._findings) > FINDINGS:
            raise _StopReading

    def _limits(self) -> None:
        """What even a whole log cannot tell."""
        size = self._edge.size
        if self._given_up:
            self._notes.append(f"{self._given_up} entries were given up after their time; their hashes stand")
        self._notes += self._keys.notes()
        if not self._keys.trusted and self._keys.current is not None:
            self._notes.append("checked with the key in the file; compare it with the one you were given (--key)")
        if self._witnessed < size:
            self._notes.append(
                f"entries from {self._witnessed} on could be missing at the end, or written anew by whoever has the "
                "audit key, without being found: no witnessed checkpoint speaks for them (--witness)"
            )


def verify(
    path: Path,
    *,
    key: NoteKey | None = None,
    keys: Iterable[NoteKey] = (),
    witness: list[str] | None = None,
    need_seal: bool = False,
) -> Verdict:
    """Judge an exported file; `key` and `keys` as `Verifier`. Raises UsageError if it cannot be read."""
    given = (*keys, key) if key is not None else tuple(keys)
    try:
        with open_plain(path, "file of an export") as file:
            return Verifier(given, witness, need_seal=need_seal).read(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="give the file of an export") from error


def _order(found: Finding) -> tuple[int, bool]:
    """By place; that the end is missing comes first, for it explains what else is wrong there."""
    return found.position, found.kind != "truncation"


def _body(payload: bytes) -> Body | None:
    """The entry, or None if it is not one in its one spelling."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        body = decode_body(payload)
        if encode_body(body) == payload:
            return body
    return None


def _said(body: Body | None) -> tuple[int | None, str]:
    return (None, "") if body is None else (body.seq, body.prev)


def _decoded(line: Line, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(line.payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"line {line.number}: {error}") from error


def _unhex(line: Line) -> bytes:
    with suppress(ValueError):
        found = bytes.fromhex(line.payload.decode())
        if len(found) == HASH_BYTES:
            return found
    raise DecodeError(f"line {line.number}: not a hash")


def _bytes(text: str) -> bytes:
    """What hex says; nothing for what is none."""
    with suppress(ValueError):
        return bytes.fromhex(text)
    return b""


def _hex(leaf: bytes | None) -> str:
    return "" if leaf is None else leaf.hex()
