"""The export of an audit log: a text file of lines, each a word and what it says, in a fixed order.

    head {format, version, key, keys}
                                    once; `key` is the log's key for checkpoints, as `NoteKey` writes it, or empty;
                                    `keys` are the ones that it had before
    leaf BODY                       the next entry, exactly the bytes that were hashed
    hash HEX                        the next entry whose body was given up after its time: its leaf hash
    row [values]                    after a leaf about a row that never changes: the row as the store has it, or null
    checkpoint "note"               after the entries it speaks of; one that speaks of more stands after the last entry
    now TYPE [values]               after all entries: a row that changes, as it stands
    extra TYPE [values]             a row that no entry speaks of
    end {checkpoints, digest, last, root, seal, size}
                                    what the store says of the log's head, SHA-256 of all lines before this one, and
                                    these as a note signed with the log's key, if it was at hand

UTF-8, each line ends with a line feed. Values are JSON as they are hashed: no blanks, bytes as base64.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from keywright.errors import DecodeError

FORMAT: Final = "keywright audit export"
VERSION: Final = 1
LINE_BYTES: Final = 1 << 24

Word: TypeAlias = Literal["head", "leaf", "hash", "row", "checkpoint", "now", "extra", "end"]
WORDS: Final[frozenset[str]] = frozenset(("head", "leaf", "hash", "row", "checkpoint", "now", "extra", "end"))


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    format: Literal["keywright audit export"]
    key: str
    version: Literal[1]
    keys: tuple[str, ...] = ()


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line. `last`: leaf hash of the last entry; `root`, `digest`: 32 bytes; all as hex."""

    checkpoints: int
    digest: str
    last: str
    root: str
    size: int
    seal: str = ""

    def sealed_text(self, name: str) -> str:
        """What the key of that name signs of an export: whose log, how far, its root, and the lines before."""
        return f"{name} export\n{self.size}\n{self.root}\n{self.checkpoints}\n{self.digest}\n"


class Line(NamedTuple):
    """A line taken apart; `number` counts from 1."""

    number: int
    word: Word
    payload: bytes


def line(word: Word, payload: bytes) -> bytes:
    """The bytes of a line."""
    return b"%b %b\n" % (word.encode(), payload)


def parse_line(number: int, data: bytes) -> Line:
    """Take a line apart. Raises DecodeError, naming the line."""
    word, gap, payload = data.partition(b" ")
    name = word.decode("ascii", "replace")
    if name not in WORDS or not gap or not payload.endswith(b"\n"):
        cut = "" if data.endswith(b"\n") else ", which is cut off"
        raise DecodeError(f"line {number}{cut}: not a line of an audit export")
    return Line(number, name, payload[:-1])  # type: ignore[arg-type]  # one of WORDS, as seen above
