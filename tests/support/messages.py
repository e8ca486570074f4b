"""What every message class promises, checked from its annotations: one line of test for a module of messages.

    @pytest.mark.parametrize("cls", all_messages(messages))
    def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
        check_message(cls)

The annotations are read here a second time, without the compiler of the codec, so that the two check each other.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from keywright.codec.markers import Others, Prefixed, Raw, Rest, Tag, Unsigned
from keywright.codec.message import Message
from keywright.errors import DecodeError

M = TypeVar("M", bound=Message)
Parsed = TypeVar("Parsed")

_UNKNOWN_TAGS = (0x02, 0x3E, 0xDD, 0x5F7E, 0xDF6E, 0xDF8102, 0xFFFFFF7E)


def all_messages(module: types.ModuleType) -> list[type[Message]]:
    """The message classes that `module` itself defines, in the order of its text. Raises LookupError if none."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Message) and value.__module__ == module.__name__
    ]
    if not found:
        raise LookupError(f"{module.__name__} defines no message")
    return found


def values(cls: type[M]) -> SearchStrategy[M]:
    """Values of a message class, made from its annotations; each of them can be built."""
    return _values(cls, tight=False)


def check_message(cls: type[Message]) -> None:
    """Round trip, every proper prefix, changed bytes and random bytes."""
    check_round_trip_and_prefixes(cls)
    check_changed_bytes(cls)
    check_random_bytes(cls)


def check_round_trip_and_prefixes(cls: type[Message]) -> None:
    """`parse(build(x)) == x`; a proper prefix raises DecodeError or gives a value whose `build()` is that prefix."""

    @_quickly
    @given(values(cls))
    def check(value: Message) -> None:
        data = value.build()
        assert cls.parse(data) == value
        for size in range(len(data)):
            short = parsed(cls.parse, data[:size])
            assert short is None or short.build() == data[:size]

    check()


def check_changed_bytes(cls: type[Message]) -> None:
    """Bytes of a value with one bit flipped, one byte left out or put in: DecodeError, or a value that is stable."""

    @_quickly
    @given(values(cls), st.data())
    def check(value: Message, choose: st.DataObject) -> None:
        data = bytearray(value.build())
        at = choose.draw(st.integers(0, max(0, len(data) - 1)))
        change = choose.draw(st.sampled_from(["flip", "drop", "insert"]))
        if change == "insert":
            data.insert(at, choose.draw(st.integers(0, 255)))
        elif change == "drop":
            del data[at : at + 1]
        elif data:
            data[at] ^= 1 << choose.draw(st.integers(0, 7))
        _stable_or_refused(cls, bytes(data))

    check()


def check_random_bytes(cls: type[Message]) -> None:
    """Any bytes: DecodeError, or a value that is stable."""

    @_quickly
    @given(st.binary(max_size=80))
    def check(data: bytes) -> None:
        _stable_or_refused(cls, data)

    check()


def _stable_or_refused(cls: type[Message], data: bytes) -> None:
    value = parsed(cls.parse, data)
    assert value is None or cls.parse(value.build()) == value


def parsed(parse: Callable[[bytes], Parsed], data: bytes) -> Parsed | None:
    """The value, or None for a DecodeError whose offset lies in the data; every other exception is a failure."""
    try:
        return parse(data)
    except DecodeError as error:
        offset = error.offset
    assert 0 <= offset <= len(data)
    return None


def _quickly(test: Callable[[], None]) -> Callable[[], None]:
    """A quarter of the profile's examples: there are many message classes, and each is checked in three ways."""
    count = max(10, settings.default.max_examples // 4) if settings.default else 25
    return settings(max_examples=count, deadline=None, database=None)(test)


def _values(cls: type[M], *, tight: bool) -> SearchStrategy[M]:
    hints = typing.get_type_hints(cls, include_extras=True)
    names, defaults = cls.__struct_fields__, cls.__struct_defaults__
    declared = {mark.number for name in names for mark in _markers(hints[name]) if isinstance(mark, Tag)}
    fields = {name: _field(hints[name], declared, tight=tight) for name in names}
    for name, default in zip(reversed(names), reversed(defaults), strict=False):
        if default is not msgspec.NODEFAULT:
            fields[name] = st.just(default) | fields[name]
    return st.builds(cls, **fields)


def _field(hint: Any, declared: set[int], *, tight: bool) -> SearchStrategy[Any]:
    kind, markers, optional = _plain(hint), _markers(hint), _optional(hint)
    if Others() in markers:
        tags = st.sampled_from([tag for tag in _UNKNOWN_TAGS if tag not in declared])
        return st.lists(st.tuples(tags, st.binary(max_size=5)), max_size=3).map(tuple)
    tight = tight or any(isinstance(mark, Prefixed) for mark in markers)
    if typing.get_origin(kind) is tuple:
        widths = [mark for mark in markers if isinstance(mark, Tag)]
        element = _field(Annotated[typing.get_args(kind)[0], *widths, None], set(), tight=tight)
        some: SearchStrategy[Any] = st.lists(element, max_size=3).map(tuple)
    elif kind is bytes:
        some = _bytes(markers, tight=tight)
    elif kind is int:
        some = st.integers(0, (1 << 8 * _width(markers)) - 1)
    elif kind is bool:
        some = st.booleans()
    elif isinstance(kind, type) and issubclass(kind, Message):
        some = _values(kind, tight=tight)
    else:
        raise TypeError(f"no values of {hint!r}")
    return st.none() | some if optional else some


def _bytes(markers: list[Any], *, tight: bool) -> SearchStrategy[bytes]:
    for mark in markers:
        match mark:
            case Raw(size=size):
                return st.binary(min_size=size, max_size=size)
            case Rest(lengths=lengths) if lengths:
                return st.sampled_from(lengths).flatmap(lambda size: st.binary(min_size=size, max_size=size))
            case Prefixed(form=form):
                edges = [127, 128, 254, 255] if form == 1 else [127, 128, 254, 255, 256]
                return st.binary(max_size=12) | st.sampled_from(edges).map(bytes)
    return st.binary(max_size=8) if tight else st.binary(max_size=12) | st.sampled_from([127, 128, 255, 256]).map(bytes)


def _width(markers: list[Any]) -> int:
    for mark in markers:
        match mark:
            case Unsigned(size=int(size)) | Tag(size=int(size)):
                return size
    return 8


def _optional(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        return _optional(hint.__origin__)
    return type(None) in typing.get_args(hint)


def _plain(hint: Any) -> Any:
    if typing.get_origin(hint) is Annotated:
        return _plain(hint.__origin__)
    if _optional(hint):
        return _plain(next(part for part in typing.get_args(hint) if part is not type(None)))
    return hint


def _markers(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is Annotated:
        return [*_markers(hint.__origin__), *hint.__metadata__]
    if _optional(hint):
        return _markers(next(part for part in typing.get_args(hint) if part is not type(None)))
    return []
