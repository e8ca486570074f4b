"""PUT KEY and DELETE (GPCS 11.8, 11.2), for AES keys."""

from __future__ import annotations

from keywright.codec.tlv import items
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.element.card import INITIAL_KVN, Card, scp03_keys
from keywright.element.channel import Channel
from keywright.element.state import (
    KEYS,
    CounterRecord,
    KeyRecord,
    KeySetRecord,
    Transaction,
    counter_name,
    key_set_name,
)
from keywright.errors import DecodeError
from keywright.globalplatform.messages import (
    MORE_COMMANDS,
    MULTIPLE_KEYS,
    DeleteKey,
    KeyType,
    PutKey,
    PutKeyField,
    PutKeyResponse,
    Tag,
)
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW

_ZERO_ICV = bytes(16)
_HIGHEST = 0x7F
_RELATED = 0x80
_DONE = b"\0"
_COUNTED_KIDS = {1, 2}
"""K-ENC and K-MAC. The counter starts again with either; with neither a recorded session could be replayed."""


def put_key(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """PUT KEY: add keys under a new version number (P1 00) or replace those of version P1 (GPCS 11.8).

    With its first set of the owner complete, the card forgets the initial set FF in the same commit, unless it was
    made with `initial_keys_stay`. Refuses with 6A86 (P1 P2, or segments of a longer command, which are not taken),
    6A88 (nothing there to replace), 6A80 (data), 6982 (a check value does not fit).
    """
    session = channel.session
    assert session is not None, "the table lets PUT KEY through in a session only"
    first = command.p2 & ~MULTIPLE_KEYS
    if command.p1 & MORE_COMMANDS or not first:
        raise Refusal(SW.INCORRECT_P1P2)
    request = _parse(command, first)
    fresh = {first + n: _open(session.static.dek, field) for n, field in enumerate(request.keys)}
    old = _replaced(card, command.p1, request.kvn, fresh)
    keys = (old | fresh).items()
    record = KeySetRecord(tuple(KeyRecord(kid, KeyType.AES, value) for kid, value in sorted(keys)))
    _check_sizes(record)
    kvns = list(card.storage.read(KEYS) or b"")
    if command.p1 not in (0, request.kvn):
        kvns[kvns.index(command.p1)] = request.kvn
        _remove(change, command.p1)
    elif request.kvn not in kvns:
        kvns.append(request.kvn)
    if INITIAL_KVN in kvns and not card.identity.initial_keys_stay and scp03_keys(record) is not None:
        kvns.remove(INITIAL_KVN)
        _remove(change, INITIAL_KVN)
    change.write(KEYS, bytes(kvns))
    change.write(key_set_name(request.kvn), record.build())
    if fresh.keys() & _COUNTED_KIDS:
        change.write(counter_name(request.kvn), CounterRecord().build())
    kcvs = b"".join(AesKey(value).kcv() for value in fresh.values())
    return Response(PutKeyResponse(request.kvn, kcvs).build())


def delete(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """DELETE of keys by KVN, KID or both (GPCS 11.2.2.3.2); the last SCP03 set cannot go (6985).

    Applications are not deleted here: 6985 for one that exists, 6A88 otherwise.
    """
    del channel
    if command.p1 or command.p2 & ~_RELATED:
        raise Refusal(SW.INCORRECT_P1P2)
    request = _parse_delete(card, command.data)
    kept, found, usable = [], False, False
    for kvn in card.storage.read(KEYS) or b"":
        record = KeySetRecord.parse(card.storage.read(key_set_name(kvn)) or b"")
        rest = tuple(key for key in record.keys if not _is_meant(request, kvn, key.kid))
        if rest:
            kept.append(kvn)
            usable = usable or scp03_keys(KeySetRecord(rest)) is not None
        if rest == record.keys:
            continue
        found = True
        if rest:
            change.write(key_set_name(kvn), KeySetRecord(rest).build())
        else:
            _remove(change, kvn)
    if not found:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if not usable:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    change.write(KEYS, bytes(kept))
    return Response(_DONE)


def _parse(command: Command, first: int) -> PutKey:
    try:
        request = PutKey.parse(command.data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    count = len(request.keys)
    several = bool(command.p2 & MULTIPLE_KEYS)
    if not 1 <= request.kvn <= _HIGHEST or not count or (count > 1 and not several) or first + count - 1 > _HIGHEST:
        raise Refusal(SW.INCORRECT_DATA)
    return request


def _parse_delete(card: Card, data: bytes) -> DeleteKey:
    try:
        objects = dict(items(data))
        if Tag.AID in objects:
            raise Refusal(_fixed_application(card, objects[Tag.AID]))
        request = DeleteKey.parse(data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    if request.kvn is None and request.kid is None:
        raise Refusal(SW.INCORRECT_DATA)
    return request


def _open(dek: AesKey, field: PutKeyField) -> bytes:
    """The key in one field, decrypted under the static K-DEK and checked (Amd D 6.2.8)."""
    if field.type != KeyType.AES or len(field.kcv) not in (0, 3) or not field.block:
        raise Refusal(SW.INCORRECT_DATA)
    size, ciphertext = field.split()
    if size not in (16, 24, 32) or len(ciphertext) != (size + 15) // 16 * 16:
        raise Refusal(SW.INCORRECT_DATA)
    value = dek.decrypt_cbc(_ZERO_ICV, ciphertext)[:size]
    if field.kcv and not equal(field.kcv, AesKey(value).kcv()):
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
    return value


def _replaced(card: Card, old_kvn: int, kvn: int, fresh: dict[int, bytes]) -> dict[int, bytes]:
    """Keys of the set that the fresh ones join or replace, by KID; checks that P1 and the data agree."""
    raw = card.storage.read(key_set_name(old_kvn or kvn))
    present = {} if raw is None else {key.kid: key.value for key in KeySetRecord.parse(raw).keys}
    if not old_kvn:
        if present.keys() & fresh.keys():
            raise Refusal(SW.INCORRECT_DATA)
        return present
    if not present.keys() >= fresh.keys():
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if kvn != old_kvn and (present.keys() != fresh.keys() or card.storage.read(key_set_name(kvn)) is not None):
        raise Refusal(SW.INCORRECT_DATA)
    return present


def _check_sizes(record: KeySetRecord) -> None:
    keys = scp03_keys(record)
    if keys is not None and not keys.enc.size == keys.mac.size == keys.dek.size:
        raise Refusal(SW.INCORRECT_DATA)


def _is_meant(request: DeleteKey, kvn: int, kid: int) -> bool:
    return request.kvn in (None, kvn) and request.kid in (None, kid)


def _remove(change: Transaction, kvn: int) -> None:
    change.write(key_set_name(kvn), None)
    change.write(counter_name(kvn), None)


def _fixed_application(card: Card, aid: bytes) -> int:
    known = [card.identity.isd_aid, *(entry.aid for entry in card.registry().entries)]
    return SW.CONDITIONS_NOT_SATISFIED if aid in known else SW.REFERENCED_DATA_NOT_FOUND
