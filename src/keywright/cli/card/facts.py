"""What a card says about itself without a key, read leniently: what does not parse is shown as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.globalplatform import names
from keywright.globalplatform.capabilities import Capabilities
from keywright.globalplatform.card_objects import Resources
from keywright.globalplatform.describe import Line, describe, describe_object
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.key_information import KeyDescription, parse_keys
from keywright.globalplatform.messages import (
    DEFAULT_ISD,
    GP_OID,
    CardData,
    Cplc,
    Fci,
    Ins,
    Tag,
    unwrapped,
)
from keywright.iso7816.apdu import Command
from keywright.iso7816.atr import Atr
from keywright.iso7816.status import SW, check

OBJECTS: Final = (
    Tag.CPLC,
    Tag.CARD_DATA,
    Tag.CAPABILITIES,
    Tag.KEY_INFORMATION,
    Tag.IIN,
    Tag.CIN,
    Tag.KDD,
    Tag.SEQUENCE_COUNTER,
    Tag.CONFIRMATION_COUNTER,
    Tag.MANAGER_URL,
    Tag.RESOURCES,
)
_PLAIN: Final = (
    (Tag.IIN, "iin", "IIN"),
    (Tag.CIN, "cin", "CIN"),
    (Tag.KDD, "kdd", "KDD"),
    (Tag.SEQUENCE_COUNTER, "sequence_counter", "sequence counter"),
    (Tag.CONFIRMATION_COUNTER, "confirmation_counter", "confirmation counter"),
    (Tag.MANAGER_URL, "manager_url", "manager URL"),
)
_SELECT_BY_NAME: Final = 0x04

Kind = TypeVar("Kind", bound=Message)


class CardFacts(msgspec.Struct, frozen=True):
    """The answers of a card, as bytes: to reset, to SELECT, and the value of each data object it has."""

    link: str
    atr: bytes
    selected: bytes
    is_locked: bool
    objects: dict[int, bytes]
    is_ended: bool = False
    """It refuses SELECT as a card does that is terminated."""

    def parsed(self, number: int, kind: type[Kind]) -> Kind | None:
        """A data object as a message, None if it is not there or does not parse."""
        try:
            return kind.parse(self.objects[number])
        except (KeyError, DecodeError):
            return None

    @property
    def keys(self) -> tuple[KeyDescription, ...] | None:
        """What the card says of its keys, None if it says nothing that parses."""
        try:
            return parse_keys(self.objects[Tag.KEY_INFORMATION])
        except (KeyError, DecodeError):
            return None

    @property
    def fci(self) -> Fci | None:
        """File control information, None if the card gives none that parses."""
        try:
            return Fci.parse(unwrapped(Tag.FCI, self.selected))
        except DecodeError:
            return None

    @property
    def protocols(self) -> tuple[int, ...]:
        """Transmission protocols that the ATR offers."""
        try:
            return Atr.parse(self.atr).protocols
        except DecodeError:
            return ()


def read_card(link: str, atr: bytes, aid: bytes = b"") -> Dialogue[CardFacts]:
    """SELECT, and every public data object. Changes nothing. Raises StatusError when the card cannot be selected.

    A terminated card refuses SELECT and may answer GET DATA all the same (GPCS 5.1.1.5): what it says is shown.
    """
    response = yield Command(0x00, Ins.SELECT, _SELECT_BY_NAME, 0x00, aid, 0)
    locked = response.sw == SW.SELECTED_BUT_INVALIDATED
    ended = not aid and response.sw == SW.FUNCTION_NOT_SUPPORTED
    doing = f"SELECT {aid.hex().upper() or 'issuer security domain'}"
    if not locked and not ended:
        check(response, doing)
    objects = {}
    for number in OBJECTS:
        answer = yield Command(0x80, Ins.GET_DATA, number >> 8, number & 0xFF, b"", 0)
        if answer.sw == SW.OK:
            try:
                objects[number] = unwrapped(number, answer.data)
            except DecodeError:
                objects[number] = answer.data
    if not objects and not locked:
        check(response, doing)
    return CardFacts(link, atr, response.data, locked, objects, ended)


# ---- for programs


def document(facts: CardFacts) -> dict[str, Any]:
    """The facts as JSON; bytes and codes as upper-case hex, None for what the card does not say."""
    fci, data = facts.fci, facts.parsed(Tag.CARD_DATA, CardData)
    keys, cplc = facts.keys, facts.parsed(Tag.CPLC, Cplc)
    capabilities = facts.parsed(Tag.CAPABILITIES, Capabilities)
    resources = facts.parsed(Tag.RESOURCES, Resources)
    return {
        "link": facts.link,
        "atr": _hex(facts.atr),
        "protocols": [f"T={number}" for number in facts.protocols],
        "aid": None if fci is None else _hex(fci.aid),
        "locked": facts.is_locked,
        "refuses_select": facts.is_ended,
        "max_data": None if fci is None or fci.proprietary is None else fci.proprietary.max_data,
        "globalplatform": None if data is None else _version(data),
        "secure_channels": [
            {"scp": f"{scp:02X}", "i": f"{i:02X}", "text": names.secure_channel(scp, i)}
            for scp, i in (data.secure_channels if data is not None else ())
        ],
        "keys": None if keys is None else [_key_document(told) for told in keys],
        "cplc": None if cplc is None else dict(_cplc_document(cplc)),
        "capabilities": None if capabilities is None else dict(describe(capabilities)),
        "resources": None if resources is None else _resources_document(resources),
        **{key: _hex(facts.objects[number]) if number in facts.objects else None for number, key, _ in _PLAIN},
    }


def _key_document(told: KeyDescription) -> dict[str, Any]:
    return {"kvn": f"{told.kvn:02X}", "kid": f"{told.kid:02X}", "components": components_document(told)}


def components_document(told: KeyDescription) -> list[dict[str, Any]]:
    """Components of a key for programs; bits 0 where basic key information has no room for them."""
    return [{"type": names.key_type(kind), "bits": size * 8} for kind, size in told.components]


def _resources_document(resources: Resources) -> dict[str, int]:
    return {
        "applications": resources.applications,
        "free_non_volatile": resources.non_volatile,
        "free_volatile": resources.volatile,
    }


def _cplc_document(cplc: Cplc) -> Iterator[tuple[str, str]]:
    for name in cplc.__struct_fields__:
        value = getattr(cplc, name)
        yield name, value.hex().upper() if isinstance(value, bytes) else f"{value:04X}"


def _hex(data: bytes) -> str:
    return data.hex().upper()


# ---- for people


def sections(facts: CardFacts) -> Iterator[tuple[str, list[Line]]]:
    """Headings with their lines."""
    yield "Card", list(_card(facts))
    yield "Secure channels", list(_channels(facts))
    yield "Keys", list(key_lines(facts.keys))
    if Tag.CPLC in facts.objects:
        cplc = facts.parsed(Tag.CPLC, Cplc)
        yield (
            "Production (CPLC)",
            list(describe_object(Tag.CPLC, facts.objects[Tag.CPLC]) if cplc is None else _cplc(cplc)),
        )
    if Tag.CAPABILITIES in facts.objects:
        yield "Capabilities", list(describe_object(Tag.CAPABILITIES, facts.objects[Tag.CAPABILITIES]))


def _card(facts: CardFacts) -> Iterator[Line]:
    yield "link", facts.link
    if facts.atr:
        yield "ATR", facts.atr.hex(" ").upper() + "".join(f"  T={number}" for number in facts.protocols)
    fci = facts.fci
    if fci is None and not facts.is_ended:
        yield "selected", _hex(facts.selected) or "no file control information"
    elif fci is not None:
        yield "AID", _hex(fci.aid) + ("  issuer security domain" if fci.aid == DEFAULT_ISD else "")
        if fci.proprietary is not None and fci.proprietary.max_data:
            yield "longest data", f"{fci.proprietary.max_data} bytes"
    if facts.is_locked:
        yield "state", "locked (6283)"
    if facts.is_ended:
        yield "state", "terminated, or locked: it refuses SELECT (6A81)"
    data = facts.parsed(Tag.CARD_DATA, CardData)
    if data is not None and _version(data):
        yield "GlobalPlatform", f"{_version(data)}"
    yield from ((label, _hex(facts.objects[number])) for number, _, label in _PLAIN if number in facts.objects)
    resources = facts.parsed(Tag.RESOURCES, Resources)
    if resources is not None:
        yield "applications", f"{resources.applications}"
        yield "free memory", f"{resources.non_volatile:,} bytes, volatile {resources.volatile:,} bytes"


def _version(data: CardData) -> str | None:
    """Version of the card specification the card names, for example "2.3.1"."""
    management = data.recognition.management
    if management is None or not management.oid.startswith(GP_OID + b"\x02"):
        return None
    return ".".join(map(str, management.oid[len(GP_OID) + 1 :]))


def _channels(facts: CardFacts) -> Iterator[Line]:
    data = facts.parsed(Tag.CARD_DATA, CardData)
    for scp, i in data.secure_channels if data is not None else ():
        name, _, words = names.secure_channel(scp, i).partition(" (")
        yield name, words.removesuffix(")")
    if data is None or not data.secure_channels:
        yield "unknown", "the card names none"


def key_lines(told: tuple[KeyDescription, ...] | None) -> Iterator[Line]:
    """One line for each key version: what its keys are, and their identifiers."""
    if told is None:
        yield "unknown", "the card does not say"
        return
    for kvn in dict.fromkeys(one.kvn for one in told):
        kinds: dict[str, list[str]] = {}
        for one in told:
            if one.kvn == kvn:
                kinds.setdefault(names.key(one), []).append(f"{one.kid:02X}")
        words = "; ".join(f"{kind}, KID {' '.join(kids)}" for kind, kids in kinds.items())
        yield f"KVN {kvn:02X}", words + ("  (initial keys)" if kvn == 0xFF else "")
    if not told:
        yield "none", "the card lists no keys"


def _cplc(cplc: Cplc) -> Iterator[Line]:
    c = cplc
    yield "chip", f"fabricator {c.ic_fabricator:04X}, type {c.ic_type:04X}, made {names.production_date(c.ic_date)}"
    yield "", f"batch {c.ic_batch:04X}, serial {_hex(c.ic_serial)}"
    yield "operating system", f"{c.os_id:04X} level {c.os_level:04X}, released {names.production_date(c.os_date)}"
    rest = (
        ("module", c.module_fabricator, c.module_date, b""),
        ("embedding", c.icc_manufacturer, c.embedding_date, b""),
        ("pre-personalised", c.pre_personaliser, c.pre_perso_date, c.pre_perso_equipment),
        ("personalised", c.personaliser, c.perso_date, c.perso_equipment),
    )
    for label, who, date, equipment in rest:
        if not who and not date and not any(equipment):
            yield label, "not given"
            continue
        machine = f", equipment {_hex(equipment)}" if any(equipment) else ""
        yield label, f"by {who:04X}, {names.production_date(date)}{machine}"
