"""The bytes of a journal file: a header, then one checksummed record for each commit.

header  = "kwjournl" | version (2) | zero (2) | salt (4) | CRC-32 of the 16 bytes before (4)
record  = "KWr1" | payload length (4) | CRC-32 (4) | payload
payload = namespace length (2) | namespace | entries
entry   = name length (1) | value length (4; FFFFFFFF: deleted) | name | value

Integers are big-endian, names UTF-8. A record's CRC covers its length and payload and starts from salt + file
offset, so a record is valid only where it was written: bytes that look like one inside a value never count as one.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from keywright.errors import StoreError

MAGIC = b"kwjournl"
VERSION = 1
HEADER_SIZE = 20
MARKER = b"KWr1"
RECORD_HEAD = struct.Struct(">4sII")
DELETED = 0xFFFFFFFF
MAX_VALUE = (1 << 24) - 1
MAX_PAYLOAD = (1 << 28) - 1

_HEADER = struct.Struct(">8sHHI")
_ENTRY = struct.Struct(">BI")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")

Found = tuple[str, int, int]
"""One entry: name, file offset of its value, value length (DELETED: no value)."""


def build_header(salt: int) -> bytes:
    """The first HEADER_SIZE bytes of a journal."""
    head = _HEADER.pack(MAGIC, VERSION, 0, salt)
    return head + _U32.pack(zlib.crc32(head))


def parse_header(head: bytes, path: str) -> int:
    """The salt of a journal. Raises StoreError if this is no journal, or one of another version."""
    if len(head) < HEADER_SIZE or not head.startswith(MAGIC):
        raise StoreError(f"{path} is not a keywright journal", hint="give the path of a journal, or of a new file")
    _, version, _, salt = _HEADER.unpack_from(head)
    if version != VERSION:
        raise StoreError(f"{path} is a journal of version {version}, this program reads version {VERSION}")
    if _U32.unpack_from(head, _HEADER.size)[0] != zlib.crc32(head[: _HEADER.size]):
        raise StoreError(f"{path}: the journal's header is damaged", hint="restore the file from a backup")
    return int(salt)


def checksum(salt: int, offset: int, payload: bytes) -> int:
    """CRC-32 of a record at file position `offset`: length, then payload."""
    return zlib.crc32(payload, zlib.crc32(_U32.pack(len(payload)), (salt + offset) & 0xFFFFFFFF))


def build_record(
    salt: int, offset: int, namespace: str, changes: Mapping[str, bytes | None]
) -> tuple[bytes, list[Found]]:
    """One record to write at `offset`, and where its values will be. Raises ValueError naming what is too long."""
    space = namespace.encode()
    if len(space) > 0xFFFF:
        raise ValueError("namespace: more than 65535 bytes")
    parts = [_U16.pack(len(space)), space]
    found: list[Found] = []
    position = offset + RECORD_HEAD.size + 2 + len(space)
    for name, value in changes.items():
        key = name.encode()
        size = DELETED if value is None else len(value)
        if len(key) > 0xFF:
            raise ValueError(f"name {name[:20]}...: more than 255 bytes")
        if value is not None and size > MAX_VALUE:
            raise ValueError(f"value of {name}: more than {MAX_VALUE} bytes")
        parts += (_ENTRY.pack(len(key), size), key)
        position += _ENTRY.size + len(key)
        found.append((sys.intern(name), position, size))
        if value is not None:
            parts.append(value)
            position += size
    payload = b"".join(parts)
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"commit: more than {MAX_PAYLOAD} bytes")
    return RECORD_HEAD.pack(MARKER, len(payload), checksum(salt, offset, payload)) + payload, found


def parse_payload(payload: bytes, start: int) -> tuple[str, list[Found]]:
    """Namespace and entries of a payload that begins at file position `start`. Raises ValueError if malformed."""
    try:
        entries_at = 2 + _U16.unpack_from(payload)[0]
        namespace = payload[2:entries_at].decode()
        found: list[Found] = []
        at, end = entries_at, len(payload)
        while at < end:
            name_size, value_size = _ENTRY.unpack_from(payload, at)
            value_at = at + _ENTRY.size + name_size
            name = sys.intern(payload[at + _ENTRY.size : value_at].decode())
            found.append((name, start + value_at, value_size))
            at = value_at if value_size == DELETED else value_at + value_size
    except struct.error as error:
        raise ValueError("cut short") from error
    if at != end:
        raise ValueError("an entry runs past the end")
    return namespace, found


def read_records(stream: BinaryIO, salt: int, end: int, found: Callable[[str, list[Found]], None], path: str) -> int:
    """Call `found(namespace, entries)` for every record; return where the valid records end.

    stream: at HEADER_SIZE. end: file size. What follows the last valid record is a torn tail, the rest of a write
    that a kill or a power cut ended. Raises StoreError naming the offset if a valid record follows an invalid one.
    """
    offset = HEADER_SIZE
    while offset < end:
        payload = _read_record(stream, salt, offset, end)
        if payload is None:
            _refuse_damage(stream, salt, offset, end, path)
            break
        start = offset + RECORD_HEAD.size
        try:
            namespace, entries = parse_payload(payload, start)
        except ValueError as error:
            raise StoreError(f"{path}: record at offset {offset} is malformed: {error}") from error
        offset = start + len(payload)
        found(namespace, entries)
    return offset


def _read_record(stream: BinaryIO, salt: int, offset: int, end: int) -> bytes | None:
    """The payload of the record at `offset`, where the stream is; None if it is not whole and valid."""
    head = stream.read(RECORD_HEAD.size)
    if len(head) < RECORD_HEAD.size:
        return None
    marker, size, crc = RECORD_HEAD.unpack(head)
    if marker != MARKER or size > end - offset - RECORD_HEAD.size:
        return None
    payload = stream.read(size)
    return payload if len(payload) == size and checksum(salt, offset, payload) == crc else None


def _refuse_damage(stream: BinaryIO, salt: int, offset: int, end: int, path: str) -> None:
    """Raise StoreError if a valid record follows the invalid one at `offset`."""
    for later in _markers(stream, offset + 1):
        stream.seek(later)
        if _read_record(stream, salt, later, end) is not None:
            raise StoreError(
                f"{path}: damaged at offset {offset} (the next good record is at {later})",
                hint="restore the file from a backup; nothing was changed",
            )


def _markers(stream: BinaryIO, start: int) -> Iterator[int]:
    """File positions, from `start` on, where a record could begin."""
    if os.fstat(stream.fileno()).st_size <= start:
        return
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        at = whole.find(MARKER, start)
        while at >= 0:
            yield at
            at = whole.find(MARKER, at + 1)
