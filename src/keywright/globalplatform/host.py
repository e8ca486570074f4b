"""Card content management, off-card: dialogues that run plainly or through a secure channel.

Every function is a dialogue over `Command` and `Response`; put it under a channel with
`through(dialogue, channel.secure)`. Refusals raise `StatusError` naming the command.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeVar

import msgspec

from keywright.codec.tlv import Template
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.crypto.key import Key
from keywright.errors import DecodeError, LinkError, SequenceError, WireError
from keywright.globalplatform.key_information import basic, parse_keys
from keywright.globalplatform.legacy_status import parse_legacy
from keywright.globalplatform.messages import (
    CHAINED,
    MORE_COMMANDS,
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
    StatusFormat,
    StatusList,
    StatusQuery,
    StatusScope,
    StoreData,
    Tag,
    unwrapped,
)
from keywright.globalplatform.remedies import demand, refusal
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, with_channel
from keywright.iso7816.status import SW
from keywright.sansio.dialogue import through
from keywright.scp.session import Dek, HostSession

Asked = TypeVar("Asked")
Dialogue = Generator[Command, Response, Asked]

MAX_PAGES = 256
"""Answers to one GET STATUS; more means that the card loops."""

_SELECT_P1 = 0x04
_NEXT = 0x02
_ABSENT = (SW.REFERENCED_DATA_NOT_FOUND, SW.NOT_FOUND, SW.INCORRECT_P1P2)
Message = TypeVar("Message", bound=Template)


class KcvMismatchError(WireError):
    """The card confirmed other keys than the ones that were sent: the unit is suspect and must not go on."""

    code = "kcv-mismatch"
    hint = "set the card aside; neither key set is certain until each is probed by INITIALIZE UPDATE"


class ThreeKeys(Protocol):
    """A set of keys for encryption, MAC and data encryption, AES or triple DES: SCP03's or SCP02's `KeySet`."""

    @property
    def enc(self) -> Key:
        """K-ENC, or the key that takes its place."""
        ...

    @property
    def mac(self) -> Key:
        """K-MAC."""
        ...

    @property
    def dek(self) -> Key:
        """K-DEK."""
        ...

    @property
    def kcvs(self) -> bytes:
        """The check values of the three, joined."""
        ...


def select(aid: bytes = b"", *, following: bool = False) -> Dialogue[Fci | None]:
    """SELECT by AID; empty selects the issuer security domain (GPCS 11.9). Ends the session on the channel.

    An AID may be given by its beginning; `following` then selects the next application that has it (P2 02). Returns
    the file control information, or None when the application gives none. 6283 (card locked) passes.
    """
    command = Command(0x00, Ins.SELECT, _SELECT_P1, _NEXT if following else 0x00, aid, 0)
    response = yield command
    if response.sw != SW.SELECTED_BUT_INVALIDATED:
        demand(command, response, f"SELECT {aid.hex().upper() or 'issuer security domain'}")
    if not response.data:
        return None
    return decoded(Fci, Tag.FCI, response.data)


def get_data(tag: int, query: bytes = b"") -> Dialogue[bytes | None]:
    """GET DATA, GlobalPlatform class: the whole object (tag, length, value); None when the card has none.

    query: a tag list (5C) or a control reference template (A6, B6) that says which part is wanted (GPCS 11.3.2.3).
    """
    command = Command(0x80, Ins.GET_DATA, tag >> 8, tag & 0xFF, query, 0)
    response = yield command
    if response.sw in _ABSENT:
        return None
    return demand(command, response, f"GET DATA {tag:04X}")


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
    """Which keys the security domain holds; None when it does not say.

    A card that answers in the extended format is read too; `dialogues.keys.describe_keys` tells what else it says.
    """
    data = yield from get_value(Tag.KEY_INFORMATION)
    if data is None:
        return None
    try:
        return basic(parse_keys(data))
    except DecodeError as error:
        raise WireError(f"object {Tag.KEY_INFORMATION:04X} of the card: {error}") from error


def put_key_command(new: ThreeKeys, dek: Dek, *, kvn: int, replace: int = 0) -> Command:
    """PUT KEY of three AES or DES keys with identifiers 1 to 3 (GPCS 11.8), encrypted under the data encryption key.

    `kvn` is the new key version number; `replace` an existing one it takes the place of, 0 to add.
    """
    fields = tuple(_key_field(key, dek) for key in (new.enc, new.mac, new.dek))
    return Command(0x80, Ins.PUT_KEY, replace, MULTIPLE_KEYS | 0x01, PutKey(kvn, fields).build(), 0)


def _key_field(key: Key, dek: Dek) -> PutKeyField:
    """AES keys with their length before the ciphertext, DES keys without, as their hosts and cards have it."""
    raw_key = key.reveal()
    block = dek.encrypt_sensitive(raw_key + bytes(-len(raw_key) % dek.sensitive_block))
    if isinstance(key, AesKey):
        return PutKeyField(KeyType.AES, bytes((key.size,)) + block, key.kcv())
    if isinstance(key, TripleDesKey):
        return PutKeyField(KeyType.DES, block, key.kcv())
    raise TypeError(f"{key!r} is no key of a secure channel")


def put_keys(current: Dek, new: ThreeKeys, *, kvn: int, replace: int = 0) -> Dialogue[None]:
    """Send a key set, encrypted under the DEK of `current`, and compare the card's check values with ours.

    `current`: the session itself, or its static keys where those encrypt (SCP03). Raises KcvMismatchError when the card
    confirms other keys: then neither set may be relied on before a probe.
    """
    command = put_key_command(new, current, kvn=kvn, replace=replace)
    response = yield command
    data = demand(command, response, f"PUT KEY (KVN {kvn:02X})")
    confirm_keys(data, kvn, new.kcvs)


def confirm_keys(answer: bytes, kvn: int, kcvs: bytes) -> None:
    """Compare an answer to PUT KEY with what was sent. Raises KcvMismatchError when it tells of other keys.

    A card may answer less: nothing at all, or the version number alone.
    """
    found = PutKeyResponse.parse(answer) if answer else PutKeyResponse(kvn)
    if found.kvn != kvn or (found.kcvs and not equal(found.kcvs, kcvs)):
        raise KcvMismatchError(f"PUT KEY (KVN {kvn:02X}): the card confirmed other keys than were sent")


def delete_keys(kvn: int) -> Dialogue[None]:
    """DELETE every key of one version number (GPCS 11.2). Irreversible."""
    command = Command(0x80, Ins.DELETE, 0x00, 0x00, DeleteKey(kvn=kvn).build(), 0)
    response = yield command
    demand(command, response, f"DELETE KEY (KVN {kvn:02X})")


def get_status(
    scope: int, aid: bytes = b"", *, tags: bytes | None = None, legacy: bool = False
) -> Dialogue[tuple[ApplicationEntry, ...]]:
    """GET STATUS, paged; empty when nothing matches. `scope` is one of `StatusScope`.

    tags: the data objects wanted (5C); what the card likes when None. legacy: the old format without tags. Raises
    WireError for entries that do not parse, and for a card that announces more without end.
    """
    query = StatusQuery(aid, tags).build()
    found: list[ApplicationEntry] = []
    p2 = 0 if legacy else StatusFormat.TLV
    for _ in range(MAX_PAGES):
        command = Command(0x80, Ins.GET_STATUS, scope, p2, query, 0)
        response = yield command
        if response.sw == SW.REFERENCED_DATA_NOT_FOUND:
            return tuple(found)
        if response.sw not in (SW.OK, SW.MORE_DATA):
            raise refusal(command, response.sw, f"GET STATUS {scope:02X}")
        page = _status_page(response.data, scope, legacy=legacy)
        found += page
        if response.sw == SW.OK:
            return tuple(found)
        if not page:
            raise WireError("GET STATUS announces more data but returns none")
        p2 |= StatusFormat.NEXT
    raise WireError(f"GET STATUS announced more data {MAX_PAGES} times")


def _status_page(data: bytes, scope: int, *, legacy: bool) -> tuple[ApplicationEntry, ...]:
    try:
        return parse_legacy(data, scope) if legacy else StatusList.parse(data).applications
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
    command = Command(0x80, Ins.SET_STATUS, StatusScope.ISSUER_DOMAIN, state)
    response = yield command
    demand(command, response, f"SET STATUS (card to {state:02X})")


def store_data(data: bytes, *, size: int, structure: int = StoreData.DGI) -> Dialogue[None]:
    """STORE DATA in blocks of at most `size` plain bytes (GPCS 11.11), numbered from 00, the last one marked."""
    blocks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    if len(blocks) > 256:
        raise ValueError(f"{len(data)} bytes need more than 256 blocks")
    for number, block in enumerate(blocks):
        last = StoreData.LAST if number == len(blocks) - 1 else 0
        command = Command(0x80, Ins.STORE_DATA, structure | last, number, block)
        response = yield command
        demand(command, response, f"STORE DATA (block {number:02X})")


def secured(session: HostSession, dialogue: Dialogue[Asked]) -> Dialogue[Asked]:
    """Run a dialogue under a session, on its logical channel. Raises SequenceError when the session is closed."""
    if not session.is_open:
        raise SequenceError("this secure channel is closed", hint="open a new session")
    if session.channel:
        dialogue = on_channel(session.channel, dialogue)

    def protected(command: Command) -> Dialogue[Response]:
        if command.ins in CHAINED and command.p1 & MORE_COMMANDS:
            return _part(session, command)
        return session.secure(command)

    return (yield from through(dialogue, protected))


def _part(session: HostSession, command: Command) -> Dialogue[Response]:
    """A part of a command that GlobalPlatform chains: its answer may be a bare 9000, whatever the level (GPCS 11.1.5).

    Nothing is taken from it, and the answer to the last part is protected as ever.
    """
    wrapped = session.wrap(command)
    try:
        response = yield wrapped
    except LinkError:
        session.close()
        raise
    return response if response == _BARE else session.unwrap(response)


_BARE = Response(b"", SW.OK)


def on_channel(channel: int, dialogue: Dialogue[Asked]) -> Dialogue[Asked]:
    """Run a dialogue on a logical channel: its commands are written for channel 0 and moved there.

    A command that names another channel than 0 already stays where it is.
    """

    def moved(command: Command) -> Dialogue[Response]:
        if channel_of(command.cla):
            return (yield command)
        return (yield msgspec.structs.replace(command, cla=with_channel(command.cla, channel)))

    return through(dialogue, moved)
