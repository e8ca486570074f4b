"""Templates: messages whose fields are BER-TLV, each found by its tag.

    class AppInfo(Template, frozen=True):
        aid: Annotated[bytes, tag(0x4F)]
        life_cycle: Annotated[int, tag(0x9F70, size=1)]
        modules: Annotated[tuple[bytes, ...], tag(0x84)] = ()
        privileges: Annotated[bytes | None, tag(0xC5)] = None

A field is bytes, int, bool (there or not, with no value), another message, whatever `record` knows (`raw`, `prefixed`,
`Rest` beside the tag), or a tuple of these: the tag once for each element. A field that has its default is not written.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from msgspec.structs import astuple

from keywright.codec.ber import find, item, items, length, spans, tag_bytes
from keywright.codec.markers import Others, Rest, Tag, Unsigned, tag
from keywright.codec.message import Build, Codec, Compiled, Field, Message, Read, fields, maker, unwrapped
from keywright.codec.values import greedy, message_putter, mistyped, put_each, value_codec, whole, whole_parser
from keywright.errors import DecodeError

__all__ = ["Others", "Template", "find", "item", "items", "length", "tag"]

_ABSENT: Any = msgspec.NODEFAULT
_WIDEST = 8


class Template(Message, frozen=True):
    """The inside of a constructed TLV. Derive with `frozen=True`.

    Fields are read in any order and unknown tags are skipped; with `strict = True` in the class body the order of the
    body is demanded and unknown tags are refused. A tag given twice is always refused, unless its field is a tuple.
    """

    strict: ClassVar[bool] = False

    @classmethod
    def _compile(cls) -> Compiled:
        described = fields(cls)
        entries = [_entry(cls, field) for field in described]
        _check(cls, entries)
        codec = greedy(_reader(cls, entries), message_putter(cls))
        return Compiled(whole_parser(codec), _builder(entries), codec)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field as the closures need it.

    number: None for `Others`; read: None for bare bytes; absent: what stands for a missing tag, `_ABSENT` if none can.
    """

    name: str
    number: int | None
    read: Read | None
    put: Build
    many: bool
    absent: Any


def _entry(cls: type[Template], field: Field) -> _Entry:
    name = f"{cls.__name__}.{field.name}"
    marks = [marker for marker in field.markers if isinstance(marker, Tag)]
    try:
        if field.markers == (Others(),):
            return _Entry(name, None, None, _put_others(cls), many=True, absent=_absent(field, many=True))
        (mark,) = marks
        return _tagged(name, field, mark, tuple(marker for marker in field.markers if marker is not mark))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {error}" if len(marks) == 1 else f"{name}: one tag(...) is due") from None


def _tagged(name: str, field: Field, mark: Tag, markers: tuple[Any, ...]) -> _Entry:
    kind, many = field.kind, typing.get_origin(field.kind) is tuple and not markers
    if many:
        arguments = typing.get_args(kind)
        kind, markers, optional = unwrapped(arguments[0])
        if optional or kind is bool or arguments[1:] != (Ellipsis,):
            raise TypeError("tuples are written tuple[X, ...], where X is neither bool nor None")
    codec = _value(kind, mark, markers)
    bare = kind is bytes and not markers
    read = None if bare else whole(codec)
    put = _put_bytes(tag_bytes(mark.number)) if bare else _put_item(tag_bytes(mark.number), codec)
    return _Entry(name, mark.number, read, _put_many(put) if many else put, many, _absent(field, many=many))


def _absent(field: Field, *, many: bool) -> Any:
    if not (many or field.optional or field.kind is bool):
        return field.default
    natural: Any = () if many else None if field.optional else False
    if field.default is not _ABSENT and field.default != natural:
        raise TypeError(f"its default can only be {natural}")
    return natural


def _value(kind: Any, mark: Tag, markers: tuple[Any, ...]) -> Codec:
    if mark.size is not None and (kind is not int or markers):
        raise TypeError("size is for plain integers")
    if markers or kind not in (bytes, bool, int):
        return value_codec(kind, markers, "big")
    if kind is bytes:
        return value_codec(bytes, (Rest(),), "big")
    if kind is bool:
        return greedy(_read_presence, _put_presence)
    return greedy(_read_integer, _put_integer) if mark.size is None else value_codec(int, (Unsigned(mark.size),), "big")


def _check(cls: type[Template], entries: list[_Entry]) -> None:
    numbers = [entry.number for entry in entries]
    if len(set(numbers)) != len(numbers):
        raise TypeError(f"{cls.__name__}: two fields for one tag")
    if None in numbers and cls.strict:
        raise TypeError(f"{cls.__name__}: strict refuses what Others would keep")


def _reader(cls: type[Template], entries: list[_Entry]) -> Read:
    make, known = maker(cls), _known(entries)
    finish = _finisher(cls, entries)
    lists = [index for index, entry in enumerate(entries) if entry.many]
    blank = [_ABSENT] * len(entries)
    simple = not (lists or cls.strict)

    def read_fields(data: bytes, start: int, end: int) -> Any:
        values = blank[:]
        for index in lists:
            values[index] = []
        found = spans(data, start, end)
        for number, begin, stop in found:
            if number not in known:
                continue
            index, read = known[number]
            try:
                value = data[begin:stop] if read is None else read(data, begin, stop)
            except DecodeError as error:
                raise DecodeError(f"{entries[index].name}: {error}", error.offset) from None
            if values[index] is _ABSENT:
                values[index] = value
            elif index in lists:
                values[index].append(value)
            else:
                raise DecodeError(f"{entries[index].name}: tag {number:X} twice", begin)
        if not simple or _ABSENT in values:
            finish(values, data, found, end)
        return make(*values)

    return read_fields


def _known(entries: list[_Entry]) -> dict[int, tuple[int, Read | None]]:
    return {entry.number: (index, entry.read) for index, entry in enumerate(entries) if entry.number is not None}


def _finisher(
    cls: type[Template], entries: list[_Entry]
) -> Callable[[list[Any], bytes, list[tuple[int, int, int]], int], None]:
    """What is left to do when the known tags are read: order, other tags, missing tags, lists to tuples."""
    known, name, strict = _known(entries), cls.__name__, cls.strict

    def finish(values: list[Any], data: bytes, found: list[tuple[int, int, int]], end: int) -> None:
        if strict:
            _demand_order(name, known, found)
        for index, entry in enumerate(entries):
            if entry.number is None:
                values[index] = [(tag, data[begin:stop]) for tag, begin, stop in found if tag not in known]
            if entry.many:
                values[index] = tuple(values[index])
            elif values[index] is _ABSENT:
                if entry.absent is _ABSENT:
                    raise DecodeError(f"{entry.name}: tag {entry.number:X} missing", end)
                values[index] = entry.absent

    return finish


def _demand_order(name: str, known: dict[int, tuple[int, Read | None]], found: list[tuple[int, int, int]]) -> None:
    last = 0
    for number, begin, _ in found:
        if number not in known:
            raise DecodeError(f"{name}: unknown tag {number:X}", begin)
        index = known[number][0]
        if index < last:
            raise DecodeError(f"{name}: tag {number:X} out of order", begin)
        last = index


def _builder(entries: list[_Entry]) -> Build:
    puts = [(entry.name, entry.put, entry.absent) for entry in entries]

    def build(self: Any) -> bytes:
        parts = []
        for (name, put, absent), value in zip(puts, astuple(self), strict=True):
            if value == absent:
                continue
            try:
                parts.append(put(value))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return b"".join(parts)

    return build


def _put_item(coded_tag: bytes, codec: Codec) -> Build:
    put = codec.put
    if codec.size is not None:
        head = coded_tag + length(codec.size)
        return lambda value: head + put(value)

    def put_item(value: Any) -> bytes:
        body = put(value)
        return coded_tag + length(len(body)) + body

    return put_item


def _put_bytes(coded_tag: bytes) -> Build:
    def put(value: Any) -> bytes:
        if not isinstance(value, bytes):
            raise mistyped(value, "bytes")
        return coded_tag + length(len(value)) + value

    return put


def _put_many(put: Build) -> Build:
    return lambda values: put_each(values, put)


def _put_others(cls: type[Template]) -> Build:
    def put_pair(pair: Any) -> bytes:
        match pair:
            case (int(number), bytes(value)) if isinstance(pair, tuple):
                if number in numbers():
                    raise ValueError(f"tag {number:X} has a field of its own")
                return item(number, value)
        raise mistyped(pair, "a pair of tag and bytes")

    @functools.cache
    def numbers() -> frozenset[int]:
        marks = [marker for field in fields(cls) for marker in field.markers]
        return frozenset(mark.number for mark in marks if isinstance(mark, Tag))

    return _put_many(put_pair)


def _read_presence(_data: bytes, start: int, end: int) -> bool:
    if start != end:
        raise DecodeError(f"{end - start} bytes where none is due", start)
    return True


def _put_presence(value: Any) -> bytes:
    if value is not True:
        raise mistyped(value, "bool")
    return b""


def _read_integer(data: bytes, start: int, end: int) -> int:
    size = end - start
    if size == 1:
        return data[start]
    if not 1 <= size <= _WIDEST:
        raise DecodeError(f"integer of {size} bytes", start)
    return int.from_bytes(data[start:end], "big")


def _put_integer(value: Any) -> bytes:
    if not isinstance(value, int):
        raise mistyped(value, "int")
    if not 0 <= value < 1 << 8 * _WIDEST:
        raise ValueError(f"{value} does not fit {_WIDEST} bytes")
    return value.to_bytes((value.bit_length() + 7) // 8 or 1, "big")
