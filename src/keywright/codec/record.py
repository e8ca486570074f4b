"""Records: messages whose fields follow one another, with no tags. `Record` is big-endian, `LittleRecord` little.

    class Version(Record, frozen=True):
        kind: U8
        serial: Annotated[bytes, raw(4)]
        extra: Annotated[bytes, Rest(0, 3)] = b""

A field is U8 .. U64, bytes with `raw`, `prefixed` or (last) `Rest`, another message, or a tuple of any of these: to the
end, `counted`, or `prefixed`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeAlias

from msgspec.structs import astuple

from keywright.codec.markers import Rest, Unsigned, counted, prefixed, raw
from keywright.codec.message import Build, Codec, Compiled, Field, Message, Parse, Take, fields, maker
from keywright.codec.values import ByteOrder, message_putter, value_codec, whole_parser
from keywright.errors import DecodeError

__all__ = ["U8", "U16", "U24", "U32", "U64", "LittleRecord", "Record", "Rest", "counted", "prefixed", "raw"]

Step = Callable[[list[Any], bytes, int, int], int]

U8: TypeAlias = Annotated[int, Unsigned(1)]
U16: TypeAlias = Annotated[int, Unsigned(2)]
U24: TypeAlias = Annotated[int, Unsigned(3)]
U32: TypeAlias = Annotated[int, Unsigned(4)]
U64: TypeAlias = Annotated[int, Unsigned(8)]


class Record(Message, frozen=True):
    """Fields one after the other, integers big-endian. Derive with `frozen=True`."""

    @classmethod
    def _compile(cls) -> Compiled:
        return _compile(cls, "big")


class LittleRecord(Message, frozen=True):
    """Fields one after the other, integers little-endian (Bluetooth, Zigbee, UCI). Derive with `frozen=True`."""

    @classmethod
    def _compile(cls) -> Compiled:
        return _compile(cls, "little")


def _compile(cls: type[Message], order: ByteOrder) -> Compiled:
    codecs = [_field_codec(cls, field, order) for field in fields(cls)]
    if any(codec.greedy for codec in codecs[:-1]):
        raise TypeError(f"{cls.__name__}: only the last field can take the rest")
    take = _taker(cls, codecs, order)
    build = _builder(cls.__name__, cls.__struct_fields__, codecs)
    sizes = [codec.size for codec in codecs]
    size = None if None in sizes else sum(size or 0 for size in sizes)
    own = Codec(take, message_putter(cls), size, sum(codec.least for codec in codecs), any(c.greedy for c in codecs))
    parse = whole_parser(own)
    head = codecs[:-1] if codecs and codecs[-1].lengths else codecs
    if codecs and all(codec.form and not codec.load for codec in head):
        parse, build = _quick(cls, codecs, order, build)
    if size:
        own = replace(own, form=f"{size}s", load=parse)
    return Compiled(parse, build, own)


def _field_codec(cls: type[Message], field: Field, order: ByteOrder) -> Codec:
    if field.optional:
        raise TypeError(f"{cls.__name__}.{field.name}: a record has no absent fields; use Rest or a tuple")
    try:
        return value_codec(field.kind, field.markers, order)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}.{field.name}: {error}") from None


def _taker(cls: type[Message], codecs: Sequence[Codec], order: ByteOrder) -> Take:
    make = maker(cls)
    steps = []
    fixed = [bool(codec.form) for codec in codecs]
    at = 0
    for is_fixed, group in itertools.groupby(fixed):
        count = len(list(group))
        chosen = codecs[at : at + count]
        if is_fixed:
            steps.append(_fixed_step(cls.__name__, chosen, at, order))
        else:
            steps += [
                _field_step(f"{cls.__name__}.{name}", codec)
                for name, codec in zip(cls.__struct_fields__[at:], chosen, strict=False)
            ]
        at += count

    def take(data: bytes, start: int, end: int) -> tuple[Any, int]:
        values: list[Any] = []
        for step in steps:
            start = step(values, data, start, end)
        return make(*values), start

    return take


def _fixed_step(name: str, codecs: Sequence[Codec], first: int, order: ByteOrder) -> Step:
    layout = _layout(codecs, order)
    unpack_from, size = layout.unpack_from, layout.size
    loads = [(first + index, codec.load) for index, codec in enumerate(codecs) if codec.load]

    def step(values: list[Any], data: bytes, start: int, end: int) -> int:
        if end - start < size:
            raise DecodeError(f"{name}: {end - start} bytes where {size} are due", end)
        values += unpack_from(data, start)
        for index, load in loads:
            values[index] = load(values[index])
        return start + size

    return step


def _field_step(name: str, codec: Codec) -> Step:
    take = codec.take

    def step(values: list[Any], data: bytes, start: int, end: int) -> int:
        try:
            value, at = take(data, start, end)
        except DecodeError as error:
            raise DecodeError(f"{name}: {error}", error.offset) from None
        values.append(value)
        return at

    return step


def _builder(name: str, names: Sequence[str], codecs: Sequence[Codec]) -> Build:
    puts = [(f"{name}.{field}", codec.put) for field, codec in zip(names, codecs, strict=True)]

    def build(self: Any) -> bytes:
        parts = []
        for (field, put), value in zip(puts, astuple(self), strict=True):
            try:
                parts.append(put(value))
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None
        return b"".join(parts)

    return build


def _quick(cls: type[Message], codecs: Sequence[Codec], order: ByteOrder, careful: Build) -> tuple[Parse, Build]:
    """The pair for a class that one `struct.Struct` for each of its few lengths covers.

    `careful` is the builder that names the field when a value does not fit.
    """
    name, make = cls.__name__, maker(cls)
    tails = codecs[-1].lengths
    layouts = [_layout(codecs, order, tail) for tail in tails or (0,)]
    unpacks = {layout.size: layout.unpack for layout in layouts}
    packs = {tail: layout.pack for tail, layout in zip(tails or (0,), layouts, strict=True)}
    pack = layouts[0].pack
    sizes = [(index, codec.size) for index, codec in enumerate(codecs) if codec.size and codec.form.endswith("s")]

    def parse(data: bytes) -> Any:
        size = len(data)
        if size in unpacks:
            return make(*unpacks[size](data))
        due = " or ".join(map(str, sorted(unpacks)))
        raise DecodeError(f"{name}: {size} bytes where {due} are due", min(size, *unpacks))

    def build(self: Any) -> bytes:
        values = astuple(self)
        try:
            for index, due in sizes:
                if len(values[index]) != due:
                    return careful(self)
            return packs[len(values[-1])](*values) if tails else pack(*values)
        except (struct.error, TypeError, KeyError):
            return careful(self)

    return parse, build


def _layout(codecs: Sequence[Codec], order: ByteOrder, tail: int = 0) -> struct.Struct:
    """The struct of fixed codecs; tail: the bytes of a last one that is not fixed."""
    return struct.Struct((">" if order == "big" else "<") + "".join(codec.form or f"{tail}s" for codec in codecs))
