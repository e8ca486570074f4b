"""Card content management, off-card: dialogues that run plainly or through a secure channel.

Every function is a dialogue over `Command` and `Response`; put it under a channel with
`through(dialogue, channel.secure)`. Refusals raise `StatusError` naming the command.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import msgspec

from keywright.codec.tlv import Template
from keywright.crypto.compare import equal
from keywright.errors import DecodeError, SequenceError, WireError
from keywright.globalplatform.messages import (
    MULTIPLE_KEYS,
    ApplicationEntry,
    CardData,
    Cplc,
    DeleteKey,
    Fci,
    Ins,
    KeyInformation,
    KeyType,
    PutKey,
    PutKeyField,
    PutKeyResponse,
    StatusList,
    StatusQuery,
    StatusScope,
    StoreData,
    Tag,
    unwrapped,
)
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, check, status_error
from keywright.sansio.dialogue import through
from keywright.scp.scp03.host import HostChannel
from keywright.scp.scp03.keys import KeySet

Asked = TypeVar("Asked")
Dialogue = Generator[Command, Response, Asked]

MAX_PAGES = 256
"""Answers to one GET STATUS; more means that the card loops."""

_SELECT_P1 = 0x04
_LISTS_MORE = 0x01
_TLV_FORMAT = 0x02
_ABSENT = (SW.REFERENCED_DATA_NOT_FOUND, SW.NOT_FOUND, SW.INCORRECT_P1P2)
Message = TypeVar("Message", bound=Template)


class KcvMismatchError(WireError):
    """The card confirmed other keys than the ones that were sent: the unit is suspect and must not go on."""

    code = "kcv-mismatch"
    hint = "set the card aside; neither key set is certain until each is probed by INITIALIZE UPDATE"


def select(aid: bytes = b"") -> Dialogue[Fci | None]:
    """SELECT by AID; empty selects the issuer security domain (GPCS 11.9). Ends the session on the channel.

    Returns the file control information, or None when the application gives none. 6283 (card locked) passes.
    """
    response = yield Command(0x00, Ins.SELECT, _SELECT_P1, 0x00, aid, 0)
    if response.sw != SW.SELECTED_BUT_INVALIDATED:
        check(response, f"SELECT {aid.hex().upper() or 'issuer security domain'}")
    if not response.data:
        return None
    return decoded(Fci, Tag.FCI, response.data)


def get_data(tag: int) -> Dialogue[bytes | None]:
    """GET DATA, GlobalPlatform class: the whole object (tag, length, value); None when the card has none."""
    response = yield Command(0x80, Ins.GET_DATA, tag >> 8, tag & 0xFF, b"", 0)
    if response.sw in _ABSENT:
        return None
    return check(response, f"GET DATA {tag:04X}")


def get_value(tag: int) -> Dialogue[bytes | None]:
    """Value of a data object; None when the card has none. Raises WireError for an answer of another object."""
    data = yield from get_data(tag)
    return None if data is None else _value(tag, data)


def _value(tag: int, data: bytes) -> bytes:
    try:
        return unwrapped(tag, data)
    except DecodeError as error:
        raise WireError(f"GET DATA {tag:04X}: {error}") from error


def decoded(kind: type[Message], tag: int, data: bytes) -> Message:
    """The message inside object `tag` of a card's answer. Raises WireError when it does not parse."""
    try:
        return kind.parse(unwrapped(tag, data))
    except DecodeError as error:
        raise WireError(f"object {tag:04X} of the card: {error}") from error


class Identity(msgspec.Struct, frozen=True):
    """What a card tells about itself without a key. Absent objects are None."""

    fci: Fci | None
    cplc: Cplc | None
    card_data: CardData | None
    keys: KeyInformation | None
    iin: bytes | None
    cin: bytes | None

    @property
    def uid(self) -> str:
        """Hex of what tells this card from others: the chip of CPLC, or IIN and CIN. Empty when neither is there."""
        if self.cplc is not None and any(self.cplc.ic_serial):
            return self.cplc.chip_id.hex()
        return ((self.iin or b"") + (self.cin or b"")).hex()


def identify(aid: bytes = b"") -> Dialogue[Identity]:
    """SELECT the issuer security domain and read everything public. Changes nothing, needs no key."""
    fci = yield from select(aid)
    cplc = yield from get_value(Tag.CPLC)
    data = yield from get_data(Tag.CARD_DATA)
    keys = yield from key_information()
    iin = yield from get_value(Tag.IIN)
    cin = yield from get_value(Tag.CIN)
    try:
        life_cycle = None if cplc is None else Cplc.parse(cplc)
    except DecodeError as error:
        raise WireError(f"CPLC of the card: {error}") from error
    card_data = None if data is None else decoded(CardData, Tag.CARD_DATA, data)
    return Identity(fci, life_cycle, card_data, keys, iin, cin)


def key_information() -> Dialogue[KeyInformation | None]:
    """Which keys the security domain holds; None when it does not say."""
    data = yield from get_data(Tag.KEY_INFORMATION)
    return None if data is None else decoded(KeyInformation, Tag.KEY_INFORMATION, data)


def put_key_command(new: KeySet, dek: KeySet, *, kvn: int, replace: int = 0) -> Command:
    """PUT KEY of three AES keys with identifiers 1 to 3 (GPCS 11.8), encrypted under the K-DEK of `dek`.

    `kvn` is the new key version number; `replace` an existing one it takes the place of, 0 to add.
    """
    fields = tuple(
        PutKeyField(KeyType.AES, bytes((key.size,)) + dek.dek.encrypt_cbc(bytes(16), _padded(key.reveal())), key.kcv())
        for key in (new.enc, new.mac, new.dek)
    )
    return Command(0x80, Ins.PUT_KEY, replace, MULTIPLE_KEYS | 0x01, PutKey(kvn, fields).build(), 0)


def _padded(key: bytes) -> bytes:
    """A 24-byte key filled to whole blocks with zeros: the length field says what counts (GPCS 11.8.2.3)."""
    return key + bytes(-len(key) % 16)


def put_keys(current: KeySet, new: KeySet, *, kvn: int, replace: int = 0) -> Dialogue[None]:
    """Send a key set, encrypted under the K-DEK of `current`, and compare the card's check values with ours.

    To be run under a channel opened with `current`. Raises KcvMismatchError when the card confirms other keys:
    then neither set may be relied on before a probe.
    """
    response = yield put_key_command(new, current, kvn=kvn, replace=replace)
    data = check(response, f"PUT KEY (KVN {kvn:02X})")
    answer = PutKeyResponse.parse(data) if data else PutKeyResponse(kvn)
    if answer.kvn != kvn or (answer.kcvs and not equal(answer.kcvs, new.kcvs)):
        raise KcvMismatchError(f"PUT KEY (KVN {kvn:02X}): the card confirmed other keys than were sent")


def delete_keys(kvn: int) -> Dialogue[None]:
    """DELETE every key of one version number (GPCS 11.2). Irreversible."""
    response = yield Command(0x80, Ins.DELETE, 0x00, 0x00, DeleteKey(kvn=kvn).build(), 0)
    check(response, f"DELETE KEY (KVN {kvn:02X})")


def get_status(scope: int, aid: bytes = b"") -> Dialogue[tuple[ApplicationEntry, ...]]:
    """GET STATUS in TLV format, paged; empty when nothing matches. `scope` is one of `StatusScope`.

    Raises WireError for entries that do not parse, and for a card that announces more without end.
    """
    query = StatusQuery(aid).build()
    found: list[ApplicationEntry] = []
    p2 = _TLV_FORMAT
    for _ in range(MAX_PAGES):
        response = yield Command(0x80, Ins.GET_STATUS, scope, p2, query, 0)
        if response.sw == SW.REFERENCED_DATA_NOT_FOUND:
            return tuple(found)
        if response.sw not in (SW.OK, SW.MORE_DATA):
            raise status_error(response.sw, f"GET STATUS {scope:02X}")
        page = _status_page(response.data)
        found += page
        if response.sw == SW.OK:
            return tuple(found)
        if not page:
            raise WireError("GET STATUS announces more data but returns none")
        p2 = _TLV_FORMAT | _LISTS_MORE
    raise WireError(f"GET STATUS announced more data {MAX_PAGES} times")


def _status_page(data: bytes) -> tuple[ApplicationEntry, ...]:
    try:
        return StatusList.parse(data).applications
    except DecodeError as error:
        raise WireError(f"GET STATUS: {error}") from error


def card_state() -> Dialogue[int]:
    """Life cycle state of the card, as GET STATUS lists it for the issuer security domain."""
    entries = yield from get_status(StatusScope.ISSUER_DOMAIN)
    if not entries:
        raise WireError("GET STATUS lists no issuer security domain")
    return entries[0].life_cycle


def set_card_state(state: int) -> Dialogue[None]:
    """SET STATUS of the card (GPCS 11.10). Most transitions cannot be undone."""
    response = yield Command(0x80, Ins.SET_STATUS, StatusScope.ISSUER_DOMAIN, state)
    check(response, f"SET STATUS (card to {state:02X})")


def store_data(data: bytes, *, size: int, structure: int = StoreData.DGI) -> Dialogue[None]:
    """STORE DATA in blocks of at most `size` plain bytes (GPCS 11.11), numbered from 00, the last one marked."""
    blocks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    if len(blocks) > 256:
        raise ValueError(f"{len(data)} bytes need more than 256 blocks")
    for number, block in enumerate(blocks):
        last = StoreData.LAST if number == len(blocks) - 1 else 0
        response = yield Command(0x80, Ins.STORE_DATA, structure | last, number, block)
        check(response, f"STORE DATA (block {number:02X})")


def secured(channel: HostChannel, dialogue: Dialogue[Asked]) -> Dialogue[Asked]:
    """Run a dialogue under the channel. Raises SequenceError when the channel is closed."""
    if not channel.is_open:
        raise SequenceError("this secure channel is closed", hint="open a new session")
    return (yield from through(dialogue, channel.secure))
