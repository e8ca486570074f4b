"""What records and templates share: a class body becomes a parser and a builder at its first use.

`Message.parse` and `Message.build` compile the class and put the compiled functions in their own place, so that every
later call goes straight to a closure. `Codec` is how one value lies in bytes: the piece that both kinds are made of.
"""

from __future__ import annotations

import inspect
import threading
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self, cast

import msgspec

Parse = Callable[[bytes], Any]
Build = Callable[[Any], bytes]
Read = Callable[[bytes, int, int], Any]
Take = Callable[[bytes, int, int], tuple[Any, int]]


@dataclass(frozen=True, slots=True)
class Codec:
    """How one value lies in bytes.

    take(data, start, end) gives the value and the position after it, or raises DecodeError with a position in `data`;
    read(data, start, end), where there is this shorter way, the value that takes all of that.
    put(value) gives its bytes, or raises ValueError.
    size: length in bytes, where it never varies; least: the fewest bytes; greedy: takes all there is.
    lengths: those that bare bytes to the end may have, empty for any.
    form: the `struct` code that carries it, where one does ("10s", "H"); load: from what `struct` gives to the value,
    where these differ.
    """

    take: Take
    put: Build
    size: int | None = None
    least: int = 0
    greedy: bool = False
    lengths: tuple[int, ...] | None = None
    form: str = ""
    load: Parse | None = None
    read: Read | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """The closures of one message class; `codec` is the class as a field of another one."""

    parse: Parse
    build: Build
    codec: Codec


@dataclass(frozen=True, slots=True)
class Field:
    """One field as its annotation states it: `kind` without `Annotated` and `None`, and what `Annotated` added."""

    name: str
    kind: Any
    markers: tuple[Any, ...]
    optional: bool
    default: Any = msgspec.NODEFAULT


class Message(msgspec.Struct, frozen=True):
    """Base of `Record`, `LittleRecord` and `Template`, not of a message: a message derives from one of these three."""

    def __init_subclass__(cls, **config: Any) -> None:
        """Refuse a message that inherits from a message, and one that has its own `parse` or `build`."""
        super().__init_subclass__(**config)
        if Message in cls.__bases__:
            return
        if any(Message not in base.__bases__ for base in cls.__bases__):
            raise TypeError(f"{cls.__name__}: a message does not inherit from a message")
        if {"parse", "build"} & vars(cls).keys():
            raise TypeError(f"{cls.__name__}: parse and build belong to the codec")

    @classmethod
    def _compile(cls) -> Compiled:
        raise TypeError(f"{cls.__name__} is neither a Record nor a Template")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The value that all of `data` stands for. Raises DecodeError, and nothing else, for any bytes."""
        return cast("Self", compiled(cls).parse(data))

    def build(self) -> bytes:
        """The bytes of this value. Raises ValueError naming the field whose value has a wrong size or type."""
        return compiled(type(self)).build(self)


_done: dict[type[Message], Compiled] = {}
_under_way: list[type[Message]] = []
_lock = threading.RLock()


def compiled(cls: type[Message]) -> Compiled:
    """The closures of `cls`, made once. Raises TypeError if the class body cannot be a message."""
    with _lock:
        if cls in _done:
            return _done[cls]
        if cls in _under_way:
            raise TypeError(f"{cls.__name__} contains itself: input could nest it without end")
        _under_way.append(cls)
        try:
            result = _done[cls] = cls._compile()
        finally:
            _under_way.pop()
        type.__setattr__(cls, "parse", staticmethod(result.parse))
        type.__setattr__(cls, "build", result.build)
        return result


def fields(cls: type[Message]) -> list[Field]:
    """The fields of a message class in the order of its body. Raises NameError for a name not at module level."""
    hints = typing.get_type_hints(cls, include_extras=True)
    names, defaults = cls.__struct_fields__, cls.__struct_defaults__
    without = (msgspec.NODEFAULT,) * (len(names) - len(defaults))
    return [
        Field(name, *unwrapped(hints[name]), default)
        for name, default in zip(names, (*without, *defaults), strict=True)
    ]


def unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """What a type hint says: the type itself, the markers around it, and whether it may be None."""
    markers: tuple[Any, ...] = ()
    optional = False
    while True:
        origin = typing.get_origin(hint)
        if origin is Annotated:
            markers = (*hint.__metadata__, *markers)
            hint = hint.__origin__
        elif origin in (typing.Union, types.UnionType) and type(None) in hint.__args__ and len(hint.__args__) == 2:
            optional = True
            hint = next(argument for argument in hint.__args__ if argument is not type(None))
        else:
            return hint, markers, optional


def maker(cls: type[Message]) -> Callable[..., Any]:
    """What makes an instance from all field values in order: the class itself, unless its fields are keyword-only."""
    if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in inspect.signature(cls).parameters.values()):
        names = cls.__struct_fields__
        return lambda *values: cls(**dict(zip(names, values, strict=True)))
    return cls
