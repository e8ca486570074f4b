"""Order files: which units a lot consists of, read row by row and refused as a whole when one row is wrong.

An order is CSV (comma, double quotes, a header line) or, with the suffix `.jsonl`, one JSON object per line. Every
message names file, line and column, because the person who reads it has the file open in a spreadsheet.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from keywright.errors import OrderError
from keywright.production.order_names import NAMES, STATIC_OOB, fault, normal

REQUIRED: Final = ("serial", "model", "owner_group")
VALUE_BYTES: Final = 255
"""Longest model or owner group in UTF-8; the owner group is written to the unit."""
SERIAL_BYTES: Final = 64
"""Longest serial, in bytes of UTF-8: the limit of a name in a certificate's subject (RFC 5280 A.1), as it is counted
by the library that makes them. Frames and journals, which count bytes too, take more."""

_LINE_BYTES: Final = 1 << 16
_CONTROL: Final = ("Cc", "Cs")
"""Categories of control characters and of halves of a surrogate pair."""
_FORMULA: Final = "=+-@"
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class OrderRow(msgspec.Struct, frozen=True):
    """One unit as ordered. `n` counts from 1 without gaps; `extra` holds the optional columns as they are."""

    n: int
    serial: str
    model: str
    owner_group: str
    extra: dict[str, str] = {}


class OrderFacts(msgspec.Struct, frozen=True):
    """What a whole, sound order file is: name without folders, SHA-256 of its bytes (hex), rows, columns."""

    name: str
    digest: str
    rows: int
    columns: tuple[str, ...]


class _Place(msgspec.Struct):
    """Where reading stands, for messages."""

    path: Path
    line: int = 1
    columns: tuple[str, ...] = ()

    def refuse(self, why: str, column: int = 1, *, hint: str = "") -> NoReturn:
        """Raise OrderError for this line; `column` counts from 1."""
        name = f" ({self.columns[column - 1]})" if 0 < column <= len(self.columns) else ""
        raise OrderError(f"{self.path}: line {self.line}, column {column}{name}: {why}", hint=hint)


def read_order(path: Path | str) -> Iterator[OrderRow]:
    """Yield the rows of an order file, in constant memory but for one digest per serial.

    Raises OrderError at the first fault, which may come after good rows: import them in one transaction, or call
    `check_order` before.
    """
    place = _Place(Path(path))
    read = _read_json if place.path.suffix == ".jsonl" else _read_csv
    first_lines: dict[bytes, int] = {}
    n = 0
    for n, values in enumerate(read(place), 1):
        row = _row(place, n, values)
        _refuse_duplicate(place, "serial", row.serial, first_lines)
        for name in NAMES:
            if value := row.extra.get(name):
                _refuse_duplicate(place, name, value, first_lines)
        yield row
    if not n:
        place.refuse("the order has no units", hint="add one line for each unit")


def check_order(path: Path | str) -> OrderFacts:
    """Read an order file to its end and keep nothing. Raises OrderError for any fault in it."""
    place = _Place(Path(path))
    digest = order_digest(path)
    rows = 0
    columns: tuple[str, ...] = REQUIRED
    for row in read_order(path):
        rows, columns = row.n, (*REQUIRED, *row.extra)
    return OrderFacts(place.path.name, digest, rows, columns)


def without_oob(row: OrderRow) -> OrderRow:
    """The row as a lot keeps it that has no use for a static OOB value, and no key to seal it with."""
    has_none = not row.extra.get(STATIC_OOB)
    return row if has_none else msgspec.structs.replace(row, extra=row.extra | {STATIC_OOB: ""})


def order_digest(path: Path | str) -> str:
    """SHA-256 of the file's bytes, hex. Raises OrderError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(Path(path), error) from error


def _unreadable(path: Path, error: OSError) -> OrderError:
    return OrderError(f"{path}: cannot be read: {error.strerror}", hint="give the path of an order file (--order)")


def _lines(place: _Place) -> Iterator[str]:
    """Lines that are not blank, decoded, without line end; `place.line` follows."""
    try:
        with place.path.open("rb") as file:
            number = 0
            while raw := file.readline(_LINE_BYTES + 1):
                number += 1
                place.line = number
                if number == 1:
                    raw = _without_mark(place, raw)
                if len(raw) > _LINE_BYTES:
                    place.refuse(f"the line is longer than {_LINE_BYTES} bytes", hint="end every row with a line feed")
                text = _decode(place, raw).rstrip("\r\n")
                if text.strip():
                    yield text
    except OSError as error:
        raise _unreadable(place.path, error) from error


def _without_mark(place: _Place, raw: bytes) -> bytes:
    if raw.startswith(_UTF16):
        place.refuse("this is UTF-16", hint="save the file as UTF-8 (in a spreadsheet: CSV UTF-8)")
    return raw.removeprefix(_BOM)


def _decode(place: _Place, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        column = len(next(csv.reader([before]), [])) or 1
        place.refuse(
            f"byte {raw[error.start]:02X} at position {error.start + 1} is not UTF-8",
            column,
            hint="save the file as UTF-8 (in a spreadsheet: CSV UTF-8)",
        )


def _read_csv(place: _Place) -> Iterator[dict[str, str]]:
    for text in _lines(place):
        cells = _cells(place, text)
        if not place.columns:
            _check_header(place, tuple(cells))
            place.columns = tuple(cells)
            continue
        expected = len(place.columns)
        if len(cells) != expected:
            place.refuse(
                f"{len(cells)} fields where the header has {expected}",
                min(len(cells), expected) + 1,
                hint="put a value that contains a comma in double quotes",
            )
        yield dict(zip(place.columns, cells, strict=True))
    if not place.columns:
        place.refuse("the file is empty", hint=f"begin with the header {','.join(REQUIRED)}")


def _cells(place: _Place, text: str) -> list[str]:
    """One line is one row: a quote that stays open would otherwise swallow the rest of the file."""
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        place.refuse(
            f"not a CSV row ({error})", text.count(",") + 1, hint='close every quote on its line; write " as ""'
        )


def _check_header(place: _Place, names: tuple[str, ...]) -> None:
    for column, name in enumerate(names, 1):
        if not name.strip() or name != name.strip() or not name.isprintable():
            place.refuse(f"the column name {name!r} is empty or has spaces around it", column)
        if name in names[: column - 1]:
            place.refuse(f"the column {name!r} is there twice", column, hint="rename or remove one of the two")
    for required in REQUIRED:
        if required not in names:
            _refuse_missing(place, required, names)


def _refuse_missing(place: _Place, required: str, names: tuple[str, ...]) -> NoReturn:
    hint = f"begin with the header {','.join(REQUIRED)}"
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        hint = "separate the fields with commas"
    elif close := difflib.get_close_matches(required, names, 1):
        hint = f"rename the column {close[0]!r} to {required!r}"
    place.refuse(f"the column {required!r} is missing", len(names) + 1, hint=hint)


def _read_json(place: _Place) -> Iterator[dict[str, str]]:
    for text in _lines(place):
        pairs = _pairs(place, text)
        names = tuple(name for name, _ in pairs)
        if not place.columns:
            _check_header(place, names)
            place.columns = names
        elif sorted(names) != sorted(place.columns):
            place.refuse("other fields than the first line", hint=f"give every line {', '.join(place.columns)}")
        for column, (_, value) in enumerate(pairs, 1):
            if not isinstance(value, str):
                place.refuse("the value is not a text", column, hint="put the value in double quotes")
        values = {name: str(value) for name, value in pairs}
        yield {name: values[name] for name in place.columns}


def _pairs(place: _Place, text: str) -> list[tuple[str, object]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        column = error.colno if isinstance(error, json.JSONDecodeError) else 1
        place.refuse("not a JSON object", column, hint='write {"serial": "…", "model": "…", "owner_group": "…"}')
    if not text.lstrip().startswith("{"):
        place.refuse("not a JSON object", hint='write {"serial": "…", "model": "…", "owner_group": "…"}')
    return [(str(name), value) for name, value in pairs]


def _row(place: _Place, n: int, values: dict[str, str]) -> OrderRow:
    for column, (name, value) in enumerate(values.items(), 1):
        if not value.isprintable() and any(unicodedata.category(character) in _CONTROL for character in value):
            place.refuse("control characters are not allowed", column, hint="remove the character and save again")
        if name in REQUIRED and (not value or value != value.strip()):
            place.refuse("the value is empty or has spaces at an end", column)
        if name in REQUIRED[1:] and len(value.encode()) > VALUE_BYTES:
            place.refuse(f"the value has {len(value.encode())} bytes; at most {VALUE_BYTES} are allowed", column)
        if name in NAMES:
            if why := fault(name, value):
                place.refuse(
                    f"the {name} {value[:80]!r} {why}", column, hint="give it as the supplier lists it, in hex"
                )
            values[name] = normal(name, value)
    serial, model, owner_group = (values.pop(name) for name in REQUIRED)
    if why := fault_of_serial(serial):
        place.refuse(f"the serial {serial[:80]!r} {why}", place.columns.index("serial") + 1)
    return OrderRow(n, serial, model, owner_group, values)


def fault_of_serial(serial: str) -> str:
    """Why a serial may not name a unit, or nothing: it reaches file names, certificates, labels and spreadsheets."""
    if not serial or serial != serial.strip():
        return "is empty or has spaces at an end"
    size = len(serial.encode("utf-8", "surrogatepass"))
    if size > SERIAL_BYTES:
        return f"has {size} bytes in UTF-8; at most {SERIAL_BYTES} are allowed"
    if "/" in serial or "\\" in serial or ".." in serial:
        return "contains / or \\ or .., which would lead a file name astray"
    if serial[0] in _FORMULA:
        return f"begins with {serial[0]}, which a spreadsheet takes for a formula"
    if not serial.isprintable() or not unicodedata.is_normalized("NFC", serial):
        return "contains invisible or decomposed characters"
    return ""


def _refuse_duplicate(place: _Place, name: str, value: str, first_lines: dict[bytes, int]) -> None:
    key = hashlib.blake2b(f"{name}\0{value}".encode(), digest_size=16).digest()
    first = first_lines.setdefault(key, place.line)
    if first != place.line:
        place.refuse(
            f"the {name} {value[:80]!r} is already on line {first}",
            place.columns.index(name) + 1,
            hint=f"give every unit its own {name}",
        )
