"""Secure channel instructions of the security domain: INITIALIZE UPDATE and EXTERNAL AUTHENTICATE (Amd D 7.1).

They serve whatever application is selected on the channel; a pseudo-random card challenge is made with its AID.
"""

from __future__ import annotations

from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.state import ATTEMPTS, CounterRecord, Transaction, counter_name
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp03.card import CardChannel
from keywright.scp.scp03.keys import KeySet, derive_card_challenge
from keywright.scp.scp03.messages import I

MAX_SEQUENCE = 0xFF_FFFF
MAX_ATTEMPTS = 0xFFFF_FFFF


def initialize_update(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """INITIALIZE UPDATE: close the running session, count, challenge (Amd D 7.1.1).

    Refuses with 6A86 (P2), 6A80 (host challenge not as long as this card's S8 or S16 mode has it), 6A88 (no such set,
    or one that lacks a key), 6983 (blocked), 6985 (sequence counter used up).
    """
    del change
    channel.drop_session()
    if command.p2:
        raise Refusal(SW.INCORRECT_P1P2)
    i = card.identity.i
    size = 16 if i & I.S16 else 8
    if len(command.data) != size:
        raise Refusal(SW.INCORRECT_DATA)
    kvn = command.p1 or card.default_kvn()
    keys = card.key_set(kvn) if kvn else None
    if not kvn or keys is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    _refuse_blocked(card, kvn)
    sequence = _next_sequence(card, kvn) if i & I.PSEUDO_RANDOM else b""
    challenge = _card_challenge(card, keys, sequence, channel.aid, size)
    session = CardChannel(keys, i, command.data, challenge)
    answer = session.initialize_update(card.identity.kdd, kvn, sequence)
    channel.session, channel.kvn = session, kvn
    return Response(answer)


def external_authenticate(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """EXTERNAL AUTHENTICATE after INITIALIZE UPDATE, checked; the caller has counted it (Amd D 7.1.2).

    The try is counted against the key set before anything is verified, and the count goes back to zero on success.
    """
    session, kvn = channel.session, channel.kvn
    channel.drop_session()
    if session is None:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if card.identity.try_limit:
        _refuse_blocked(card, kvn)
        counter = card.counter(kvn)
        tried = CounterRecord(counter.sequence, counter.failures + 1)
        change.write_first(counter_name(kvn), tried.build())
        session.external_authenticate(command)
        change.write(counter_name(kvn), CounterRecord(counter.sequence).build())
        change.commit()
    else:
        session.external_authenticate(command)
    channel.session, channel.kvn = session, kvn
    return Response(b"")


def count_attempt(card: Card) -> None:
    """One more EXTERNAL AUTHENTICATE received, whatever becomes of it."""
    received = min(card.attempts() + 1, MAX_ATTEMPTS)
    card.storage.commit({ATTEMPTS: received.to_bytes(4)})


def _refuse_blocked(card: Card, kvn: int) -> None:
    limit = card.identity.try_limit
    if limit and card.counter(kvn).failures >= limit:
        raise Refusal(SW.AUTHENTICATION_BLOCKED)


def _next_sequence(card: Card, kvn: int) -> bytes:
    counter = card.counter(kvn)
    if counter.sequence >= MAX_SEQUENCE:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    card.storage.commit({counter_name(kvn): CounterRecord(counter.sequence + 1, counter.failures).build()})
    return (counter.sequence + 1).to_bytes(3)


def _card_challenge(card: Card, keys: KeySet, sequence: bytes, aid: bytes, size: int) -> bytes:
    if sequence:
        return derive_card_challenge(keys.enc, sequence, aid, size)
    assert card.rng is not None, "checked when the element was made"
    return card.rng(size)
