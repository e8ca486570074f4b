"""PUT KEY, keys in STORE DATA, and Yubico's GENERATE EC KEY: how key sets change (GPCS 11.8, 11.11.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keywright.codec.tlv import item
from keywright.crypto.ec import EcPrivateKey
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import CHANNEL_KIDS, INITIAL_KVN, Domain, static_keys
from keywright.element.new_keys import NewKey, made_key, open_key
from keywright.element.scp11_objects import forget_key
from keywright.element.state import (
    KEYS,
    CounterRecord,
    KeyRecord,
    KeySetRecord,
    Transaction,
    air_counter_name,
    counter_name,
    key_set_name,
)
from keywright.errors import DecodeError
from keywright.globalplatform.key_data import (
    CURVE_REFERENCES,
    ENCRYPTED,
    KEY_VALUE_GROUP,
    MAX_KID,
    MAX_KVN,
    ComponentType,
    KeyField,
    KeyLoad,
    KeyLoads,
    NewKeys,
    parse_put_key,
)
from keywright.globalplatform.messages import MORE_COMMANDS, MULTIPLE_KEYS
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp11.messages import GenerateEcKey
from keywright.scp.session import CardSession

_FAMILIES: Final = (
    {ComponentType.RSA_PUBLIC_MODULUS, ComponentType.RSA_PUBLIC_EXPONENT},
    {ComponentType.RSA_PRIVATE_MODULUS, ComponentType.RSA_PRIVATE_EXPONENT},
    set(range(ComponentType.RSA_CRT_P, ComponentType.RSA_CRT_DQ1 + 1)),
    {ComponentType.EC_PUBLIC, ComponentType.EC_PARAMETERS},
    {ComponentType.EC_PRIVATE, ComponentType.EC_PARAMETERS},
)
"""Components that make one key together."""
_COUNTED_KIDS: Final = {1, 2}
"""K-ENC and K-MAC. The counter starts again with either; with neither a recorded session could be replayed."""


def put_key(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """PUT KEY: add keys under a new version number (P1 00) or replace those of version P1 (GPCS 11.8).

    With its first set of the owner complete, the domain forgets the initial set FF in the same commit, unless the
    element was made with `initial_keys_stay`. Refuses with 6A86 (P1 P2), 6A88 (nothing there to replace), 6A80 (data),
    6982 (a check value does not fit).
    """
    session = channel.session
    assert session is not None, "the table lets PUT KEY through in a session only"
    first = command.p2 & ~MULTIPLE_KEYS
    if command.p1 & MORE_COMMANDS or not first:
        raise Refusal(SW.INCORRECT_P1P2)
    request = _parse(command, first)
    fresh = [open_key(session, field, first + at, card.profile) for at, field in enumerate(request.keys)]
    install(card, channel.domain, change, fresh, kvn=request.kvn, replaces=command.p1)
    return Response(bytes((request.kvn,)) + b"".join(key.kcv for key in fresh))


def generate_ec_key(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """GENERATE EC KEY as Yubico has it: a new SK.SD.ECKA under KID P2, in place of that of version P1 (00: none).

    The answer is its public key. Refuses with 6A80 (data), 6A86 (P2), 6A88.
    """
    try:
        request = GenerateEcKey.parse(command.data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    curve = CURVE_REFERENCES.get(request.curve)
    known = curve is not None and (request.parameter_tag, request.parameter_length) == (ComponentType.EC_PARAMETERS, 1)
    if curve is None or not known or not 1 <= request.kvn <= MAX_KVN:
        raise Refusal(SW.INCORRECT_DATA)
    if not 1 <= command.p2 <= MAX_KID:
        raise Refusal(SW.INCORRECT_P1P2)
    assert card.rng is not None, "SCP11 needs it when the element is made"
    key = EcPrivateKey.draw(curve, card.rng)
    scalar = key.library_key().private_numbers().private_value.to_bytes(key.public.width)
    parts = {ComponentType.EC_PRIVATE: scalar, ComponentType.EC_PARAMETERS: bytes((request.curve,))}
    fresh = [made_key(parts, command.p2)]
    install(card, channel.domain, change, fresh, kvn=request.kvn, replaces=command.p1)
    return Response(item(ComponentType.EC_PUBLIC, key.public.point))


def store_keys(
    card: Card, domain: Domain, session: CardSession, change: Transaction, groups: Sequence[tuple[int, bytes]]
) -> None:
    """Keys by STORE DATA: group 00B9 announces them, as many groups 8113 bring them in that order (GPCS 11.11.3).

    Secret values are encrypted under the data encryption key of the session. A key that is there already is replaced.
    Refuses as PUT KEY.
    """
    try:
        announced = KeyLoads.parse(groups[0][1]).keys
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    values = groups[1:]
    if not announced or len(announced) != len(values) or any(number != KEY_VALUE_GROUP for number, _ in values):
        raise Refusal(SW.INCORRECT_DATA)
    for kvn in dict.fromkeys(load.kvn for load in announced):
        if kvn is None or not 1 <= kvn <= MAX_KVN:
            raise Refusal(SW.INCORRECT_DATA)
        loads = [(load, value) for load, (_, value) in zip(announced, values, strict=True) if load.kvn == kvn]
        fresh = [_loaded(card, session, load, value) for load, value in loads]
        install(card, domain, change, fresh, kvn=kvn, replaces=kvn if _are_there(domain, kvn, fresh) else 0)


def _loaded(card: Card, session: CardSession, load: KeyLoad, value: bytes) -> NewKey:
    if load.type is None or load.kid is None or load.length is None or not 1 <= load.kid <= MAX_KID:
        raise Refusal(SW.INCORRECT_DATA)
    size = int.from_bytes(load.length)
    if load.type in ENCRYPTED:
        value = session.decrypt_sensitive(value)
    if not len(value) - session.sensitive_block < size <= len(value):
        raise Refusal(SW.INCORRECT_DATA)
    parts, usage, access = {load.type: value[:size]}, load.usage or b"", load.access or b""
    return made_key(parts, load.kid, load.kcv or b"", usage, access, profile=card.profile)


def install(
    card: Card, domain: Domain, change: Transaction, fresh: Sequence[NewKey], *, kvn: int, replaces: int
) -> None:
    """Put keys under a version number: `replaces` 0 adds, else they take the place of those of that version.

    Refuses with 6A80 (already there, or sizes that do not go together), 6A88 (nothing there to replace).
    """
    made = {key.record.kid: key.record for key in fresh}
    if len(made) != len(fresh):
        raise Refusal(SW.INCORRECT_DATA)
    stays, left = _others(domain, replaces, kvn, made)
    record = KeySetRecord(tuple(key for _, key in sorted((stays | made).items())))
    _check_sizes(domain, record)
    kvns = list(change.read(domain.name(KEYS)) or b"")
    if kvn not in kvns:
        # In the place of the set that goes, for the oldest complete set is the default one.
        kvns.insert(kvns.index(replaces) if replaces else len(kvns), kvn)
    sets = {kvn: record} if replaces in (0, kvn) else {kvn: record, replaces: KeySetRecord(left)}
    if INITIAL_KVN in kvns and not card.identity.initial_keys_stay and static_keys(record, domain.offers()) is not None:
        sets[INITIAL_KVN] = KeySetRecord()
    for number, keys in sets.items():
        change.write(domain.name(key_set_name(number)), keys.build() if keys.keys else None)
        if not keys.keys:
            kvns.remove(number)
            change.write(domain.name(counter_name(number)), None)
    change.write(domain.name(KEYS), bytes(kvns))
    for kid in made:
        forget_key(domain, replaces or kvn, kid, change)
    if made.keys() & _COUNTED_KIDS:
        change.write(domain.name(counter_name(kvn)), CounterRecord().build())
    air = domain.name(air_counter_name(bytes((kvn,))))
    if card.profile.scp80.new_keys_count_anew and change.read(air) is not None:
        change.write(air, None)


def _parse(command: Command, first: int) -> NewKeys:
    try:
        request = parse_put_key(command.data)
    except DecodeError:
        raise Refusal(SW.INCORRECT_DATA) from None
    request = NewKeys(request.kvn, joined(request.keys))
    count = len(request.keys)
    several = bool(command.p2 & MULTIPLE_KEYS)
    if not 1 <= request.kvn <= MAX_KVN or not count or (count > 1 and not several) or first + count - 1 > MAX_KID:
        raise Refusal(SW.INCORRECT_DATA)
    return request


def joined(fields: Sequence[KeyField]) -> tuple[KeyField, ...]:
    """Keys whose components came each with a check value length of 00, put together.

    That is how GPCS 2.1.1 (9.8.2.3) had keys of several components, and how gpshell sends RSA keys still; since 2.2
    one check value stands behind all of them.
    """
    whole: list[KeyField] = []
    for field in fields:
        before = whole[-1] if whole else None
        if before is not None and _continues(before, field):
            whole[-1] = KeyField(before.parts + field.parts, field.kcv)
        else:
            whole.append(field)
    return tuple(whole)


def _continues(before: KeyField, field: KeyField) -> bool:
    types = [part.type for part in before.parts + field.parts]
    whole = any(family.issuperset(types) for family in _FAMILIES) and len(set(types)) == len(types)
    return whole and not (before.kcv or before.extended or field.extended)


def _are_there(domain: Domain, kvn: int, fresh: Sequence[NewKey]) -> bool:
    present = {key.kid for key in domain.keys(kvn)}
    return bool(present) and present >= {key.record.kid for key in fresh}


def _others(
    domain: Domain, old_kvn: int, kvn: int, fresh: dict[int, KeyRecord]
) -> tuple[dict[int, KeyRecord], tuple[KeyRecord, ...]]:
    """Keys beside the fresh ones in their set, and those that stay behind in the set of `old_kvn`.

    Checks that P1 and the data agree: a session's symmetric keys leave a set together, others one by one.
    """
    there = {key.kid: key for key in domain.keys(kvn)}
    if not old_kvn:
        if there.keys() & fresh.keys():
            raise Refusal(SW.INCORRECT_DATA)
        return there, ()
    before = {key.kid: key for key in domain.keys(old_kvn)}
    if not before.keys() >= fresh.keys():
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if kvn == old_kvn:
        return before, ()
    left = tuple(key for kid, key in before.items() if kid not in fresh)
    symmetric = fresh.keys() & set(CHANNEL_KIDS)
    if there.keys() & fresh.keys() or (symmetric and (there or left)):
        raise Refusal(SW.INCORRECT_DATA)
    return there, left


def _check_sizes(domain: Domain, record: KeySetRecord) -> None:
    keys = static_keys(record, domain.offers())
    if keys is not None and not keys.enc.size == keys.mac.size == keys.dek.size:
        raise Refusal(SW.INCORRECT_DATA)
