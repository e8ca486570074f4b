"""INITIALIZE UPDATE and EXTERNAL AUTHENTICATE of the symmetric protocols (GPCS E.5, Amd D 7.1).

They serve whatever application is selected on the channel, on the keys of its security domain; a pseudo-random card
challenge is made with the application's AID. The type of the keys tells the protocol: AES is SCP03, triple DES SCP02.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias, final

from keywright.crypto.compare import equal
from keywright.element.birth import MAX_SEQUENCE
from keywright.element.card import Card
from keywright.element.channel import Channel
from keywright.element.domain import Domain, StaticKeys, protocol_of
from keywright.element.factory_reset import resets
from keywright.element.state import ATTEMPTS, CounterRecord, Transaction, counter_name, key_set_name
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp02.card import CardChannel as Scp02Channel
from keywright.scp.scp02.keys import KeySet as DesKeySet
from keywright.scp.scp02.messages import CARD_CHALLENGE_BYTES, SCP02
from keywright.scp.scp02.messages import I as I02
from keywright.scp.scp03.card import CardChannel
from keywright.scp.scp03.keys import KeySet, derive_card_challenge
from keywright.scp.scp03.messages import SCP03, I
from keywright.scp.session import CardSession

MAX_ATTEMPTS = 0xFFFF_FFFF


class SymmetricSession(CardSession, Protocol):
    """A session that INITIALIZE UPDATE began; EXTERNAL AUTHENTICATE opens it."""

    def external_authenticate(self, command: Command, /) -> None:
        """Check C-MAC, then host cryptogram; on success the session is open at level P1. Refuses otherwise."""
        ...


@final
class Challenged:
    """INITIALIZE UPDATE has been answered."""

    __slots__ = ("domain", "keys", "kvn", "scp", "session")

    def __init__(self, session: SymmetricSession, kvn: int, domain: Domain, scp: int) -> None:
        """scp: the protocol of the key set."""
        self.session = session
        self.kvn = kvn
        self.keys = domain.read(key_set_name(kvn)) or b""
        self.domain = domain
        self.scp = scp


class Asked(NamedTuple):
    """What INITIALIZE UPDATE is about: whose keys, "i", their version, the selected application, the challenge."""

    domain: Domain
    i: int
    kvn: int
    aid: bytes
    challenge: bytes


Begin: TypeAlias = Callable[[Card, Asked, StaticKeys], tuple[SymmetricSession, bytes]]
"""Makes a session and the data of the answer."""


def initialize_update(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """INITIALIZE UPDATE: close the running session, count, challenge (Amd D 7.1.1).

    Refuses with 6A86 (P2), 6700 (host challenge not as long as this card's S8 or S16 mode has it), 6A88 (no such set,
    or one that lacks a key, or is for a protocol that is not offered), 6983 (blocked), 6985 (sequence counter used up).
    """
    del change
    channel.drop_session()
    domain = card.key_domain(channel.domain)
    if command.p2:
        raise Refusal(SW.INCORRECT_P1P2)
    kvn = command.p1 or domain.default_kvn()
    keys = domain.static_keys(kvn) if kvn else None
    if not kvn or keys is None:
        _check_challenge(card, SCP03, domain.i_of(SCP03) or 0, command.data)
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    scp = protocol_of(keys)
    i = domain.i_of(scp) or 0
    _check_challenge(card, scp, i, command.data)
    if scp == SCP02 and not i & I02.EXPLICIT:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    _refuse_blocked(card, domain, kvn)
    if resets(card):
        before = domain.counter(kvn)
        begun = CounterRecord(before.sequence, before.failures + 1)
        card.storage.commit({domain.name(counter_name(kvn)): begun.build()})
    session, answer = BEGIN[scp](card, Asked(domain, i, kvn, channel.aid, command.data), keys)
    channel.opening = Challenged(session, kvn, domain, scp)
    return Response(answer)


def external_authenticate(card: Card, channel: Channel, command: Command, change: Transaction) -> Response:
    """EXTERNAL AUTHENTICATE after INITIALIZE UPDATE, checked; the caller has counted it (Amd D 7.1.2).

    The try is counted against the key set before anything is verified, and the count goes back to zero on success.
    """
    opening = channel.opening
    channel.drop_session()
    if not isinstance(opening, Challenged):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    session, kvn = opening.session, opening.kvn
    if not equal(opening.domain.read(key_set_name(kvn)) or b"", opening.keys):
        # Another channel has replaced or deleted the keys that the challenge was made with.
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if isinstance(session, Scp02Channel) or card.identity.try_limit or resets(card):
        _authenticate_counted(card, opening, command, change)
    else:
        session.external_authenticate(command)
    channel.session, channel.kvn = session, kvn
    return Response(b"")


def _authenticate_counted(card: Card, opening: Challenged, command: Command, change: Transaction) -> None:
    """EXTERNAL AUTHENTICATE where a counter of the key set moves with it."""
    session, kvn, domain = opening.session, opening.kvn, opening.domain
    name, before = domain.name(counter_name(kvn)), domain.counter(kvn)
    if isinstance(session, Scp02Channel) and session.counter != before.sequence:
        # Another channel has opened a session with this counter, whose session keys are used up with it.
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    if card.identity.try_limit and not resets(card):
        _refuse_blocked(card, domain, kvn)
        change.write_first(name, CounterRecord(before.sequence, before.failures + 1).build())
        before = domain.counter(kvn)
    try:
        session.external_authenticate(command)
    except Refusal:
        _keep_sequence(card, name, CounterRecord(_sequence(session, before), before.failures), before)
        raise
    _keep_sequence(card, name, CounterRecord(_sequence(session, before)), before)


def begins_session(session: CardSession | None) -> bool:
    """Whether a secured command is none of this session's, but may be the first one of another (GPCS E.1.2.2)."""
    return session is None or (isinstance(session, Scp02Channel) and session.is_suspended)


def begin_implicitly(card: Card, channel: Channel) -> CardSession | None:
    """A secured command outside any session, or in a suspended one, which it ends: SCP02 begins one where its "i" says
    implicit (GPCS E.1.2.2).

    The command itself is then opened by the session, as every other; its C-MAC is a try, counted before it is verified.
    None where no such session is offered. Refuses with 6983 (blocked), 6985 (counter used up).
    """
    channel.drop_session()
    domain = channel.domain
    i = domain.i_of(SCP02)
    if i is None or i & I02.EXPLICIT:
        return None
    kvn = domain.default_kvn()
    keys = domain.static_keys(kvn) if kvn else None
    if kvn is None or not isinstance(keys, DesKeySet):
        return None
    _refuse_blocked(card, domain, kvn)
    before = domain.counter(kvn)
    session = Scp02Channel.implicit(keys, i, before.sequence, aid=channel.aid, profile=card.profile.scp02)
    if card.identity.try_limit:
        _keep_sequence(
            card, domain.name(counter_name(kvn)), CounterRecord(before.sequence, before.failures + 1), before
        )
    channel.session, channel.kvn = session, kvn
    return session


def keep_implicit_counter(card: Card, channel: Channel) -> None:
    """Store the sequence counter that the first command of an implicit session has moved, before the answer leaves.

    Failures in a row begin again from zero.
    """
    session, domain = channel.session, channel.domain
    if not isinstance(session, Scp02Channel):
        return
    before = domain.counter(channel.kvn)
    _keep_sequence(card, domain.name(counter_name(channel.kvn)), CounterRecord(session.counter), before)


def _sequence(session: SymmetricSession, before: CounterRecord) -> int:
    """Sequence counter as the session leaves it: SCP02 moves it with the first C-MAC, SCP03 has moved it before."""
    return session.counter if isinstance(session, Scp02Channel) else before.sequence


def _keep_sequence(card: Card, name: str, after: CounterRecord, before: CounterRecord) -> None:
    if after != before:
        card.storage.commit({name: after.build()})


def count_attempt(card: Card) -> None:
    """One more authentication command received, whatever becomes of it."""
    received = min(card.attempts() + 1, MAX_ATTEMPTS)
    card.storage.commit({ATTEMPTS: received.to_bytes(4)})


def _check_challenge(card: Card, scp: int, i: int, challenge: bytes) -> None:
    if len(challenge) != (16 if scp == SCP03 and i & I.S16 else 8):
        raise Refusal(card.profile.scp03.challenge_status if scp == SCP03 else SW.WRONG_LENGTH)


def _refuse_blocked(card: Card, domain: Domain, kvn: int) -> None:
    limit = card.identity.try_limit
    if limit and domain.counter(kvn).failures >= limit:
        raise Refusal(SW.AUTHENTICATION_BLOCKED)


def _scp03(card: Card, asked: Asked, keys: StaticKeys) -> tuple[SymmetricSession, bytes]:
    """SCP03 (Amd D 7.1.1): the sequence counter goes up before a challenge is made of it."""
    assert isinstance(keys, KeySet), "protocol_of said so"
    domain, i, kvn, aid, host_challenge = asked
    sequence = _next_sequence(card, domain, kvn) if i & I.PSEUDO_RANDOM else b""
    challenge = _card_challenge(card, keys, sequence, aid, len(host_challenge))
    session = CardChannel(keys, i, host_challenge, challenge)
    session.covered_end = card.profile.scp03.covered_end
    return session, session.initialize_update(card.identity.kdd, kvn, sequence)


def _scp02(card: Card, asked: Asked, keys: StaticKeys) -> tuple[SymmetricSession, bytes]:
    """SCP02 (GPCS E.5.1): the counter stays until the host has shown its first C-MAC."""
    assert isinstance(keys, DesKeySet), "protocol_of said so"
    domain, i, kvn, aid, challenge = asked
    random = card.rng(CARD_CHALLENGE_BYTES) if card.rng is not None and not i & I02.PSEUDO_RANDOM else b""
    counter, profile = domain.counter(kvn).sequence, card.profile.scp02
    session = Scp02Channel.explicit(keys, i, challenge, counter, aid=aid, card_challenge=random, profile=profile)
    return session, session.initialize_update(card.identity.kdd, kvn)


def _next_sequence(card: Card, domain: Domain, kvn: int) -> bytes:
    counter = domain.counter(kvn)
    if counter.sequence >= MAX_SEQUENCE:
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    following = CounterRecord(counter.sequence + 1, counter.failures)
    card.storage.commit({domain.name(counter_name(kvn)): following.build()})
    return following.sequence.to_bytes(3)


def _card_challenge(card: Card, keys: KeySet, sequence: bytes, aid: bytes, size: int) -> bytes:
    if sequence:
        return derive_card_challenge(keys.enc, sequence, aid, size)
    assert card.rng is not None, "checked when the element was made"
    return card.rng(size)


BEGIN: Final[dict[int, Begin]] = {SCP02: _scp02, SCP03: _scp03}
"""By protocol number: how INITIALIZE UPDATE begins a session."""
