"""How single values lie in bytes: from an annotation to a `Codec`."""

from __future__ import annotations

import typing
from typing import Any, Literal

from keywright.codec import ber
from keywright.codec.markers import Counted, LengthForm, Prefixed, Raw, Rest, Unsigned
from keywright.codec.message import Build, Codec, Message, Parse, Read, compiled, unwrapped
from keywright.errors import DecodeError

ByteOrder = Literal["big", "little"]


def codec_of(hint: Any, order: ByteOrder) -> Codec:
    """The codec of an annotation. Raises TypeError if it says not how the value lies in bytes."""
    kind, markers, optional = unwrapped(hint)
    if optional:
        raise TypeError("a value that may be None has no place here")
    return value_codec(kind, markers, order)


def value_codec(kind: Any, markers: tuple[Any, ...], order: ByteOrder) -> Codec:
    """The codec of a type under its markers, innermost first. Raises TypeError if there is none."""
    match markers:
        case (Prefixed(form=form),) if kind is bytes:
            return _prefixed(form, order, _rest(()))
        case (*inner, Prefixed(form=form)):
            return _prefixed(form, order, value_codec(kind, tuple(inner), order))
        case _ if typing.get_origin(kind) is tuple:
            return _tuple(kind, markers, order)
        case () if isinstance(kind, type) and issubclass(kind, Message):
            return compiled(kind).codec
    return _plain(kind, markers, order)


def _plain(kind: Any, markers: tuple[Any, ...], order: ByteOrder) -> Codec:
    match markers:
        case (Unsigned(size=size),) if kind is int:
            return _unsigned(size, order)
        case (Raw(size=size),) if kind is bytes:
            return _raw(size)
        case (Rest(lengths=lengths),) if kind is bytes:
            return _rest(lengths)
    raise TypeError(f"{kind!r} with markers {markers!r} says not how it lies in bytes")


def _tuple(kind: Any, markers: tuple[Any, ...], order: ByteOrder) -> Codec:
    match markers:
        case ():
            return _repeated(_element(kind, order))
        case (Counted(form=form),):
            return _counted(form, order, _element(kind, order))
    raise TypeError(f"a tuple with markers {markers!r} says not how it lies in bytes")


def _element(kind: Any, order: ByteOrder) -> Codec:
    arguments = typing.get_args(kind)
    if len(arguments) != 2 or arguments[1] is not Ellipsis:
        raise TypeError(f"{kind!r}: tuples are written tuple[X, ...]")
    element = codec_of(arguments[0], order)
    if element.greedy or not element.least:
        raise TypeError(f"{kind!r}: elements that may be empty, or that take all there is, cannot be told apart")
    return element


def whole(codec: Codec) -> Read:
    """A reader that demands that the value of `codec` takes all of data[start:end]."""
    if codec.read:
        return codec.read
    take = codec.take

    def read(data: bytes, start: int, end: int) -> Any:
        value, at = take(data, start, end)
        if at != end:
            raise DecodeError(f"{end - at} bytes too many", at)
        return value

    return read


def greedy(read: Read, put: Build, least: int = 0, lengths: tuple[int, ...] | None = None) -> Codec:
    """The codec of a value that takes all there is."""

    def take(data: bytes, start: int, end: int) -> tuple[Any, int]:
        return read(data, start, end), end

    return Codec(take, put, least=least, greedy=True, lengths=lengths, read=read)


def whole_parser(codec: Codec) -> Parse:
    """`whole` for all bytes of the input."""
    read = whole(codec)
    return lambda data: read(data, 0, len(data))


def message_putter(cls: type[Message]) -> Build:
    """The builder of a message inside another one. It raises ValueError for a value of any other class."""

    def put(value: Any) -> bytes:
        if type(value) is not cls:
            raise mistyped(value, cls.__name__)
        return value.build()

    return put


def _unsigned(size: int, order: ByteOrder) -> Codec:
    if not 1 <= size <= 8:
        raise TypeError(f"an integer of {size} bytes")

    def take(data: bytes, start: int, end: int) -> tuple[int, int]:
        stop = start + size
        if stop > end:
            raise DecodeError(_short(size, end - start), start)
        return int.from_bytes(data[start:stop], order), stop

    def load(data: bytes) -> int:
        return int.from_bytes(data, order)

    def put(value: Any) -> bytes:
        if not isinstance(value, int):
            raise mistyped(value, "int")
        if not 0 <= value < 1 << 8 * size:
            raise ValueError(f"{value} does not fit {size} bytes")
        return value.to_bytes(size, order)

    letter = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(size)
    if letter:
        return Codec(take, put, size, size, form=letter)
    return Codec(take, put, size, size, form=f"{size}s", load=load)


def _raw(size: int) -> Codec:
    if size < 1:
        raise TypeError(f"raw({size})")

    def take(data: bytes, start: int, end: int) -> tuple[bytes, int]:
        stop = start + size
        if stop > end:
            raise DecodeError(_short(size, end - start), start)
        return data[start:stop], stop

    def put(value: Any) -> bytes:
        return _sized(value, (size,))

    return Codec(take, put, size, size, form=f"{size}s")


def _rest(lengths: tuple[int, ...]) -> Codec:
    if any(size < 0 for size in lengths):
        raise TypeError(f"Rest{lengths}")
    allowed = frozenset(lengths)

    def read(data: bytes, start: int, end: int) -> bytes:
        if allowed and end - start not in allowed:
            raise DecodeError(f"{end - start} bytes where {_either(lengths)} are due", start)
        return data[start:end]

    def put(value: Any) -> bytes:
        return _sized(value, lengths)

    return greedy(read, put, min(lengths, default=0), lengths)


def _prefixed(form: LengthForm, order: ByteOrder, content: Codec) -> Codec:
    prefix = _length(form, order)
    take_length, put_length = prefix.take, prefix.put
    read, put_content = whole(content), content.put

    def take(data: bytes, start: int, end: int) -> tuple[Any, int]:
        size, at = take_length(data, start, end)
        stop = at + size
        if stop > end:
            raise DecodeError(f"{size} bytes announced, {end - at} there", at)
        return read(data, at, stop), stop

    def put(value: Any) -> bytes:
        body = put_content(value)
        return put_length(len(body)) + body

    return Codec(take, put, least=prefix.least + content.least)


def _counted(form: LengthForm, order: ByteOrder, element: Codec) -> Codec:
    prefix = _length(form, order)
    take_count, take_element = prefix.take, element.take

    def take(data: bytes, start: int, end: int) -> tuple[tuple[Any, ...], int]:
        count, at = take_count(data, start, end)
        if count * element.least > end - at:
            raise DecodeError(f"{count} elements announced, {end - at} bytes there", at)
        values = []
        for _ in range(count):
            value, at = take_element(data, at, end)
            values.append(value)
        return tuple(values), at

    def put(value: Any) -> bytes:
        body = put_each(value, element.put)
        return prefix.put(len(value)) + body

    return Codec(take, put, least=prefix.least)


def _repeated(element: Codec) -> Codec:
    take_element = element.take

    def read(data: bytes, start: int, end: int) -> tuple[Any, ...]:
        values = []
        while start < end:
            value, start = take_element(data, start, end)
            values.append(value)
        return tuple(values)

    def put(value: Any) -> bytes:
        return put_each(value, element.put)

    return greedy(read, put)


def put_each(values: Any, put: Build) -> bytes:
    """The elements of a tuple one after the other. Raises ValueError naming the element."""
    if not isinstance(values, tuple):
        raise mistyped(values, "tuple")
    parts = []
    for index, value in enumerate(values):
        try:
            parts.append(put(value))
        except ValueError as error:
            raise ValueError(f"element {index}: {error}") from None
    return b"".join(parts)


def _length(form: LengthForm, order: ByteOrder) -> Codec:
    if form == "ber":
        return Codec(ber.read_length, ber.length, least=1)
    if form == "lv":
        return Codec(_take_lv_length, ber.length, least=1)
    if form == "dgi":
        return Codec(_take_dgi_length, _put_dgi_length, least=1)
    if form in (1, 2, 3, 4):
        return _unsigned(form, order)
    raise TypeError(f"{form!r} is no form of a length")


def _take_lv_length(data: bytes, start: int, end: int) -> tuple[int, int]:
    """As in TLV, which has no use for 80: there it would be the indefinite form, here it is 128 on one byte."""
    if start < end and data[start] == 0x80:
        return 0x80, start + 1
    return ber.read_length(data, start, end)


def _take_dgi_length(data: bytes, start: int, end: int) -> tuple[int, int]:
    stop = start + 1
    if start < end and data[start] == 0xFF:
        start, stop = start + 1, start + 3
    if stop > end:
        raise DecodeError("length cut short", start)
    return int.from_bytes(data[start:stop], "big"), stop


def _put_dgi_length(size: int) -> bytes:
    if size > 0xFFFF:
        raise ValueError(f"{size} bytes are more than a length of 2 bytes can say")
    return bytes((size,)) if size < 0xFF else b"\xff" + size.to_bytes(2, "big")


def _sized(value: Any, lengths: tuple[int, ...]) -> bytes:
    if not isinstance(value, bytes):
        raise mistyped(value, "bytes")
    if lengths and len(value) not in lengths:
        raise ValueError(f"{len(value)} bytes where {_either(lengths)} are due")
    return value


def _either(lengths: tuple[int, ...]) -> str:
    return " or ".join(map(str, lengths))


def _short(due: int, there: int) -> str:
    return f"{there} bytes where {due} are due"


def mistyped(value: object, due: str) -> ValueError:
    """The error of a value of the wrong type: for `build`, a wrong type is a wrong value."""
    return ValueError(f"{type(value).__name__} where {due} is due")
