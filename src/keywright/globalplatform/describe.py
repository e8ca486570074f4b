"""Messages and data objects as lines of name and value, by introspection of the message classes.

What a value means is told here, where hex alone would not say it; where it lies is told by its class only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from keywright.codec.markers import Unsigned
from keywright.codec.message import Field, Message, fields
from keywright.errors import DecodeError
from keywright.globalplatform import names
from keywright.globalplatform.capabilities import Capabilities, ChannelCapability
from keywright.globalplatform.install import InstallForInstall, InstallForMakeSelectable, InstallForRegistryUpdate
from keywright.globalplatform.key_information import KeyDescription, parse_keys
from keywright.globalplatform.messages import (
    ApplicationEntry,
    CardData,
    CardRecognitionData,
    Cplc,
    Fci,
    FciProprietary,
    Oid,
    Oids,
    PutKeyField,
    StatusQuery,
    Tag,
)
from keywright.globalplatform.tlv_names import is_known, name_of, tlv_lines
from keywright.scp.scp11.messages import SCP11, I

Line = tuple[str, str]
Lines = Iterator[Line]

_CAPITALS: Final = frozenset("aid cin dap ic icc iin kcv kcvs kdd kid kvn oid os scp".split())


class DataObject(NamedTuple):
    """A data object of GET DATA: its name and the class of its value, None for plain bytes."""

    name: str
    kind: type[Message] | None = None


OBJECTS: Final[Mapping[int, DataObject]] = {
    Tag.IIN: DataObject("issuer identification number"),
    Tag.CIN: DataObject("card image number"),
    Tag.CARD_DATA: DataObject("card data", CardData),
    Tag.CAPABILITIES: DataObject("card capabilities", Capabilities),
    Tag.FCI: DataObject("file control information", Fci),
    Tag.SEQUENCE_COUNTER: DataObject("sequence counter"),
    0xC2: DataObject("confirmation counter"),
    Tag.KDD: DataObject("key diversification data"),
    Tag.SECURITY_LEVEL: DataObject("security level"),
    Tag.KEY_INFORMATION: DataObject("key information"),
    Tag.APPLICATION: DataObject("registry entry", ApplicationEntry),
    0x2F00: DataObject("list of applications"),
    0x5F50: DataObject("security domain manager URL"),
    Tag.CPLC: DataObject("card production life cycle", Cplc),
    0xBF21: DataObject("certificates"),
    0xFF21: DataObject("card resources"),
}


@functools.cache
def _fields(kind: type[Message]) -> tuple[Field, ...]:
    return tuple(fields(kind))


def describe(message: Message) -> Lines:
    """Name and value of every field that is there; fields of a message inside are indented by two spaces."""
    for field in _fields(type(message)):
        value = getattr(message, field.name)
        words = _WORDS.get((type(message), field.name))
        label = _label(field.name)
        if value is None or value == ():
            continue
        if words is not None:
            yield label, words(value)
        elif isinstance(value, tuple):
            for index, element in enumerate(value, 1):
                yield from _value(f"{label} {index}" if len(value) > 1 else label, element, field)
        else:
            yield from _value(label, value, field)


def _value(label: str, value: Any, field: Field) -> Lines:
    summary = _SUMMARIES.get(type(value))
    if summary is not None:
        yield label, summary(value)
    elif isinstance(value, Message):
        yield label, ""
        yield from ((f"  {name}", text) for name, text in describe(value))
    elif isinstance(value, int):
        yield label, f"{value:0{2 * _width(field, value)}X}"
    else:
        yield label, hexed(value)


def _width(field: Field, value: int) -> int:
    """Bytes to show of an integer: as many as its field has, else as many as it needs."""
    for marker in field.markers:
        size = marker.size if isinstance(marker, Unsigned) else getattr(marker, "size", None)
        if isinstance(size, int):
            return size
    return (value.bit_length() + 7) // 8 or 1


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words) or "none"


def _privileges(value: bytes) -> str:
    return f"{hexed(value)} ({_listed(names.privileges(value))})"


def _channel_capability(value: ChannelCapability) -> str:
    sizes = [f"AES-{bits}" for bit, bits in ((1, 128), (2, 192), (4, 256)) if (value.key_sizes or 0) & bit]
    options = ", ".join(f"i={option:02X}" for option in _options(value))
    return " ".join(part for part in (f"SCP{value.scp:02X}", options, *sizes) if part)


def _options(value: ChannelCapability) -> Iterator[int]:
    """The "i" values: bytes, of SCP11 two where the first says so (Amd F)."""
    waiting = iter(value.options or b"")
    for first in waiting:
        second = next(waiting, None) if value.scp == SCP11 and first & I.SECOND else None
        yield first if second is None else first << 8 | second


def _key_field(value: PutKeyField) -> str:
    return f"{names.key_type(value.type)}, block masked ({counted(value.block)}), KCV {hexed(value.kcv)}"


def _keys(value: bytes) -> Lines:
    """Key information, basic or extended, entry by entry (GPCS 11.3.3.1.1)."""
    found = parse_keys(value)
    for number, one in enumerate(found, 1):
        yield f"keys {number}" if len(found) > 1 else "keys", key_line(one)


def key_line(told: KeyDescription) -> str:
    """Version, identifier and kind of one key."""
    return f"KVN {told.kvn:02X} KID {told.kid:02X} {names.key(told)}"


_READERS: Final[dict[int, Callable[[bytes], Lines]]] = {Tag.KEY_INFORMATION: _keys}
"""Objects whose entries have more than one form."""


_SUMMARIES: Final[dict[type, Callable[[Any], str]]] = {
    ChannelCapability: _channel_capability,
    Oid: lambda value: names.oid(value.oid),
    Oids: lambda value: _listed(tuple(names.oid(oid) for oid in value.oids)),
    PutKeyField: _key_field,
}
_WORDS: Final[dict[tuple[type, str], Callable[[Any], str]]] = {
    **{
        (kind, "privileges"): _privileges
        for kind in (ApplicationEntry, InstallForInstall, InstallForMakeSelectable, InstallForRegistryUpdate)
    },
    (Capabilities, "application_privileges"): _privileges,
    (Capabilities, "domain_privileges"): _privileges,
    (Capabilities, "hashes"): lambda value: _listed(tuple(names.HASHES.get(code, f"{code:02X}") for code in value)),
    (CardRecognitionData, "oid"): names.oid,
    (StatusQuery, "aid"): lambda value: hexed(value) if value else "any",
    (FciProprietary, "max_data"): lambda value: f"{value} bytes",
    **{
        (Cplc, name): names.production_date
        for name in ("os_date", "ic_date", "module_date", "embedding_date", "pre_perso_date", "perso_date")
    },
}


def describe_object(number: int, value: bytes, objects: Mapping[int, DataObject] = OBJECTS) -> Lines:
    """Lines of a data object's value; of one that is not known or does not parse, its hex."""
    known = objects.get(number)
    read = _READERS.get(number) if known is None or known.kind is None else _reader(known.kind)
    if known is None or read is None:
        yield from _plain_object(number, value, known)
        return
    try:
        lines = list(read(value))
    except DecodeError as error:
        yield known.name, f"{hexed(value)} (not as it should be: {error})"
    else:
        yield from lines or [(known.name, "empty")]


def _reader(kind: type[Message]) -> Callable[[bytes], Lines]:
    return lambda value: describe(kind.parse(value))


def _plain_object(number: int, value: bytes, known: DataObject | None) -> Lines:
    label = known.name if known else name_of(number) or f"object {number:02X}"
    if not is_known(value, number):
        yield label, hexed(value)
        return
    yield label, ""
    yield from tlv_lines(value, number, 1)


def hexed(data: bytes) -> str:
    """Hex, or a word for no bytes at all."""
    return data.hex().upper() or "empty"


def counted(data: bytes) -> str:
    """How many bytes there are."""
    return f"{len(data)} byte{'' if len(data) == 1 else 's'}"


def _label(name: str) -> str:
    return " ".join(word.upper() if word in _CAPITALS else word for word in name.split("_"))
