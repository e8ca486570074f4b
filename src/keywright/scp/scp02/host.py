"""SCP02, off-card entity: open a session, explicitly by challenge and cryptograms or implicitly (GPCS appendix E).

SCP02 is legacy: single DES in its chains, two bytes of counter, and known padding-oracle attacks on cards. Every way
to open a session refuses unless the caller allows it by name.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError, PolicyError, SequenceError, UsageError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.iso7816.status import SW, check, status_error
from keywright.scp.failure import SCP_AT, CardCryptogramError, OtherProtocolError
from keywright.scp.level import Level
from keywright.scp.scp02.keys import (
    KeySet,
    SessionKeys,
    card_cryptogram,
    derive_session,
    first_icv,
    host_cryptogram,
    pseudo_random_challenge,
)
from keywright.scp.scp02.messages import (
    CHALLENGE_BYTES,
    EXTERNAL_AUTHENTICATE,
    GET_DATA,
    INITIALIZE_UPDATE,
    LEVELS,
    SCP02,
    SEQUENCE_COUNTER_TAG,
    I,
    InitializeUpdateResponse,
    SequenceCounter,
    allowed_levels,
)
from keywright.scp.scp02.messaging import HostChannel, Start
from keywright.scp.scp02.profile import HOST, Profile

DEFAULT_I = 0x15
"""Three keys, explicit, ICV encryption: what most cards have whose card data do not say."""


class Opening(msgspec.Struct, frozen=True):
    """A card that answered INITIALIZE UPDATE with the right cryptogram: ready for `external_authenticate`."""

    answer: InitializeUpdateResponse
    start: Start
    host_cryptogram: bytes

    @property
    def session(self) -> SessionKeys:
        """The session keys."""
        return self.start.session


def initialize_update(
    keys: KeySet,
    host_challenge: bytes,
    *,
    i: int = DEFAULT_I,
    kvn: int = 0,
    channel: int = 0,
    aid: bytes | None = None,
    profile: Profile = HOST,
    allow_legacy: bool = False,
) -> Generator[Command, Response, Opening]:
    """INITIALIZE UPDATE, and the card cryptogram checked (GPCS E.5.1). Costs no try.

    `i` is not in the answer; card data (GET DATA 66) have it. `aid`, of the selected application, is needed where the
    first ICV is made of it; a well-known pseudo-random challenge is checked against it if given. Raises PolicyError
    without `allow_legacy`, UsageError for keys or AID that "i" does not fit, StatusError (6A88: no such key set),
    WireError for another protocol or key version, CardCryptogramError when the keys are not the card's.
    """
    answer = yield from request_challenge(
        host_challenge, kvn=kvn, channel=channel, profile=profile, allow_legacy=allow_legacy
    )
    return verify_card(
        keys, host_challenge, answer, i=i, channel=channel, aid=aid, profile=profile, allow_legacy=allow_legacy
    )


def request_challenge(
    host_challenge: bytes,
    *,
    kvn: int = 0,
    channel: int = 0,
    profile: Profile = HOST,
    allow_legacy: bool = False,
) -> Generator[Command, Response, InitializeUpdateResponse]:
    """Only the exchange of INITIALIZE UPDATE: the keys to be used may depend on its answer (KDD)."""
    _refuse_unless(allowed=allow_legacy)
    if len(host_challenge) != CHALLENGE_BYTES:
        raise ValueError("a host challenge of SCP02 has 8 bytes")
    command = Command(with_channel(0x80, channel), INITIALIZE_UPDATE, kvn, 0, host_challenge, 0)
    response = yield command
    if response.sw != SW.OK:
        raise status_error(response.sw, f"INITIALIZE UPDATE (KVN {kvn:02X})")
    if len(response.data) > SCP_AT and response.data[SCP_AT] != SCP02:
        raise OtherProtocolError(response.data[SCP_AT], SCP02)
    try:
        answer = InitializeUpdateResponse.parse(response.data)
    except DecodeError as error:
        raise WireError(f"INITIALIZE UPDATE answered {len(response.data)} bytes that are no SCP02 answer") from error
    if kvn and answer.kvn != kvn and not profile.any_kvn:
        raise WireError(f"asked for KVN {kvn:02X}, the card answered for KVN {answer.kvn:02X}")
    return answer


def verify_card(
    keys: KeySet,
    host_challenge: bytes,
    answer: InitializeUpdateResponse,
    *,
    i: int = DEFAULT_I,
    channel: int = 0,
    aid: bytes | None = None,
    profile: Profile = HOST,
    allow_legacy: bool = False,
) -> Opening:
    """Derive the session and check the card cryptogram. Raises CardCryptogramError, and as `initialize_update`."""
    _refuse_unless(allowed=allow_legacy)
    if not i & I.EXPLICIT:
        raise UsageError(f"SCP02 i={i:02X} has no INITIALIZE UPDATE", hint="open the session implicitly")
    counter, challenge = answer.sequence_counter, answer.card_challenge
    session = derive_session(keys.fit(i), counter)
    if not equal(card_cryptogram(session.enc, host_challenge, counter, challenge), answer.card_cryptogram):
        raise CardCryptogramError(f"card cryptogram wrong (KVN {answer.kvn:02X}, SCP02)")
    if aid is not None and i & I.PSEUDO_RANDOM and not equal(pseudo_random_challenge(session.mac, aid), challenge):
        raise CardCryptogramError("card challenge is not the pseudo-random one of this counter and application")
    icv = first_icv(session.mac, i, _needed(aid, i))
    start = Start(keys, session, i, counter, icv, aid or b"", answer.kvn, channel, profile)
    return Opening(answer, start, host_cryptogram(session.enc, host_challenge, counter, challenge))


def external_authenticate(
    opening: Opening, level: int = Level.C_MAC | Level.C_DEC
) -> Generator[Command, Response, HostChannel]:
    """EXTERNAL AUTHENTICATE (GPCS E.5.2): the one command that a card counts as a try.

    Raises ValueError for a level that does not exist, PolicyError when "i" does not offer it (no silent downgrade),
    AuthenticationError when the card refuses (6300, 6982), StatusError otherwise.
    """
    if level not in LEVELS:
        raise ValueError(f"security level {level:02X} does not exist in SCP02")
    start = opening.start
    if level not in allowed_levels(start.i):
        raise PolicyError(
            f"the card (SCP02 i={start.i:02X}) does not offer security level {level:02X}",
            hint="choose a level without response protection, if the product allows it",
        )
    session = HostChannel(start, level)
    cla = with_channel(0x80, start.channel)
    response = yield session.authenticate(Command(cla, EXTERNAL_AUTHENTICATE, level, 0, opening.host_cryptogram))
    if response.sw in (SW.AUTHENTICATION_FAILED, SW.SECURITY_STATUS_NOT_SATISFIED):
        raise AuthenticationError(
            f"EXTERNAL AUTHENTICATE refused: {response.sw:04X}",
            hint="the card may have counted this; do not repeat it with the same keys",
        )
    check(response, "EXTERNAL AUTHENTICATE")
    return session


def open_channel(
    keys: KeySet,
    host_challenge: bytes,
    *,
    i: int = DEFAULT_I,
    kvn: int = 0,
    level: int = Level.C_MAC | Level.C_DEC,
    channel: int = 0,
    aid: bytes | None = None,
    profile: Profile = HOST,
    allow_legacy: bool = False,
) -> Generator[Command, Response, HostChannel]:
    """`initialize_update` and `external_authenticate` in one dialogue."""
    answer = yield from request_challenge(
        host_challenge, kvn=kvn, channel=channel, profile=profile, allow_legacy=allow_legacy
    )
    opening = verify_card(
        keys, host_challenge, answer, i=i, channel=channel, aid=aid, profile=profile, allow_legacy=allow_legacy
    )
    return (yield from external_authenticate(opening, level))


def open_implicit(
    keys: KeySet,
    counter: int,
    *,
    i: int,
    aid: bytes,
    kvn: int = 0,
    channel: int = 0,
    profile: Profile = HOST,
    allow_legacy: bool = False,
) -> HostChannel:
    """A session that its own first command opens on the card (GPCS E.1.2.2): nothing is sent here.

    `counter`: the card's sequence counter as it stands, see `read_counter`; the first command moves it on by one.
    `aid`: of the selected application. The level is C-MAC. Nothing tells that the keys are wrong but the card's 6982
    to the first command. Raises PolicyError without `allow_legacy`, UsageError for keys that "i" does not fit,
    SequenceError when the counter is used up.
    """
    _refuse_unless(allowed=allow_legacy)
    if i & I.EXPLICIT:
        raise UsageError(f"SCP02 i={i:02X} opens with INITIALIZE UPDATE", hint="open the session explicitly")
    if counter >= profile.max_counter:
        raise SequenceError(f"sequence counter {counter:04X} is used up", hint="replace the key set: that resets it")
    return HostChannel(implicit_start(keys, counter, i, aid, kvn, channel, profile), Level.C_MAC)


def implicit_start(
    keys: KeySet, counter: int, i: int, aid: bytes, kvn: int = 0, channel: int = 0, profile: Profile = HOST
) -> Start:
    """What an implicit session begins with; arguments as for `open_implicit`, checked there."""
    session = derive_session(keys.fit(i), counter, counter + 1)
    return Start(keys, session, i, counter + 1, first_icv(session.mac, i, aid), aid, kvn, channel, profile)


def read_counter(*, channel: int = 0) -> Generator[Command, Response, int]:
    """Sequence counter of the card's default key set, by GET DATA C1 (GPCS H.5).

    Raises StatusError when the card keeps it to itself, WireError for an answer that is no counter of two bytes.
    """
    p1, p2 = divmod(SEQUENCE_COUNTER_TAG, 0x100)
    response = yield Command(with_channel(0x80, channel), GET_DATA, p1, p2, le=0)
    check(response, "GET DATA C1")
    try:
        value = SequenceCounter.parse(response.data).value
    except DecodeError as error:
        raise WireError("GET DATA C1 answered no sequence counter") from error
    if len(value) != 2:
        raise WireError(f"GET DATA C1 answered a counter of {len(value)} bytes; SCP02 has 2")
    return int.from_bytes(value)


def _needed(aid: bytes | None, i: int) -> bytes:
    if aid is None and i & I.ICV_OF_AID:
        raise UsageError(
            f"SCP02 i={i:02X} begins its C-MAC with the AID of the selected application", hint="name that AID"
        )
    return aid or b""


def _refuse_unless(*, allowed: bool) -> None:
    if not allowed:
        raise PolicyError(
            "SCP02 is legacy: triple DES, and known attacks on its padding",
            hint="use SCP03 or SCP11; for a card that has nothing else, allow legacy protocols explicitly",
        )
