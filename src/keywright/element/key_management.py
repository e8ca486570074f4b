"""PUT KEY and DELETE (GPCS 11.8, 11.2), for AES keys."""

from __future__ import annotations

from keywright.codec.tlv import items
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import INITIAL_KVN, Domain, static_keys
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
from keywright.scp.session import CardSession

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
    domain = channel.domain
    first = command.p2 & ~MULTIPLE_KEYS
    if command.p1 & MORE_COMMANDS or not first:
        raise Refusal(SW.INCORRECT_P1P2)
    request = _parse(command, first)
    fresh = {first + n: _open(session, field) for n, field in enumerate(request.keys)}
    old = _replaced(domain, command.p1, request.kvn, fresh)
    made = {kid: KeyRecord(kid, KeyType.AES, value) for kid, value in fresh.items()}
    record = KeySetRecord(tuple(key for _, key in sorted((old | made).items())))
    _check_sizes(domain, record)
    kvns = list(domain.kvns())
    if command.p1 not in (0, request.kvn):
        kvns[kvns.index(command.p1)] = request.kvn
        _remove(domain, change, command.p1)
    elif request.kvn not in kvns:
        kvns.append(request.kvn)
    if INITIAL_KVN in kvns and not card.identity.initial_keys_stay and static_keys(record, domain.offers()) is not None:
        kvns.remove(INITIAL_KVN)
        _remove(domain, change, INITIAL_KVN)
    change.write(domain.name(KEYS), bytes(kvns))
    change.write(domain.name(key_set_name(request.kvn)), record.build())
    if fresh.keys() & _COUNTED_KIDS:
        change.write(domain.name(counter_name(request.kvn)), CounterRecord().build())
    kcvs = b"".join(AesKey(value).kcv() for value in fresh.values())
    return Response(PutKeyResponse(request.kvn, kcvs).build())


def delete(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """DELETE of keys by KVN, KID or both (GPCS 11.2.2.3.2); the last SCP03 set cannot go (6985).

    Applications are not deleted here: 6985 for one that exists, 6A88 otherwise.
    """
    if command.p1 or command.p2 & ~_RELATED:
        raise Refusal(SW.INCORRECT_P1P2)
    domain = channel.domain
    request = _parse_delete(card, command.data)
    kept, found, usable = [], False, False
    for kvn in domain.kvns():
        keys = domain.keys(kvn)
        rest = tuple(key for key in keys if not _is_meant(request, kvn, key.kid))
        if rest:
            kept.append(kvn)
            usable = usable or static_keys(KeySetRecord(rest), domain.offers()) is not None
        if rest == keys:
            continue
        found = True
        if rest:
            change.write(domain.name(key_set_name(kvn)), KeySetRecord(rest).build())
        else:
            _remove(domain, change, kvn)
    if not found:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if not usable:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    change.write(domain.name(KEYS), bytes(kept))
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


def _open(session: CardSession, field: PutKeyField) -> bytes:
    """The key in one field, decrypted under the session's data encryption key and checked (Amd D 6.2.8)."""
    if field.type != KeyType.AES or len(field.kcv) not in (0, 3) or not field.block:
        raise Refusal(SW.INCORRECT_DATA)
    size, ciphertext = field.split()
    if size not in (16, 24, 32) or len(ciphertext) != (size + 15) // 16 * 16:
        raise Refusal(SW.INCORRECT_DATA)
    value = session.decrypt_sensitive(ciphertext)[:size]
    if field.kcv and not equal(field.kcv, AesKey(value).kcv()):
        raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
    return value


def _replaced(domain: Domain, old_kvn: int, kvn: int, fresh: dict[int, bytes]) -> dict[int, KeyRecord]:
    """Keys of the set that the fresh ones join or replace, by KID; checks that P1 and the data agree."""
    present = {key.kid: key for key in domain.keys(old_kvn or kvn)}
    if not old_kvn:
        if present.keys() & fresh.keys():
            raise Refusal(SW.INCORRECT_DATA)
        return present
    if not present.keys() >= fresh.keys():
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if kvn != old_kvn and (present.keys() != fresh.keys() or domain.keys(kvn)):
        raise Refusal(SW.INCORRECT_DATA)
    return present


def _check_sizes(domain: Domain, record: KeySetRecord) -> None:
    keys = static_keys(record, domain.offers())
    if keys is not None and not keys.enc.size == keys.mac.size == keys.dek.size:
        raise Refusal(SW.INCORRECT_DATA)


def _is_meant(request: DeleteKey, kvn: int, kid: int) -> bool:
    return request.kvn in (None, kvn) and request.kid in (None, kid)


def _remove(domain: Domain, change: Transaction, kvn: int) -> None:
    change.write(domain.name(key_set_name(kvn)), None)
    change.write(domain.name(counter_name(kvn)), None)


def _fixed_application(card: Card, aid: bytes) -> int:
    return SW.CONDITIONS_NOT_SATISFIED if card.registry().knows(aid) else SW.REFERENCED_DATA_NOT_FOUND
