"""SCP03, off-card entity: open a secure channel and protect what goes through it (Amd D).

The card cryptogram is always checked before EXTERNAL AUTHENTICATE leaves: a wrong key costs no try on the card.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeVar

import msgspec

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.iso7816.status import SW, check, status_error
from keywright.scp.failure import SCP_AT, CardCryptogramError, OtherProtocolError
from keywright.scp.level import LEVELS, Level
from keywright.scp.scp03.keys import (
    CARD_CRYPTOGRAM,
    HOST_CRYPTOGRAM,
    KeySet,
    SessionKeys,
    derive,
    derive_card_challenge,
    derive_session,
)
from keywright.scp.scp03.messages import (
    EXTERNAL_AUTHENTICATE,
    INITIALIZE_UPDATE,
    SCP03,
    I,
    InitializeUpdateResponse,
    InitializeUpdateResponse8,
    InitializeUpdateResponse16,
)
from keywright.scp.scp03.messaging import HostMessaging
from keywright.scp.session import HostSession

__all__ = [
    "CardCryptogramError",
    "HostChannel",
    "Opening",
    "Verified",
    "external_authenticate",
    "initialize_update",
    "open_channel",
    "request_challenge",
    "verify_card",
]


Session_co = TypeVar("Session_co", bound=HostSession, covariant=True)


class Verified(Protocol[Session_co]):
    """A card that answered INITIALIZE UPDATE with the right cryptogram, wherever the session keys are.

    It is used once: `authenticate` for `external_authenticate`, or `close`.
    """

    @property
    def answer(self) -> InitializeUpdateResponse:
        """What the card answered."""
        ...

    def authenticate(self, level: int, *, pads_empty: bool = False) -> tuple[Session_co, Command]:
        """The session at that level, and EXTERNAL AUTHENTICATE, the first command under its C-MAC.

        `level` was checked against the card's "i". `pads_empty`: how the session sends an empty data field under C-DEC.
        """
        ...

    def close(self) -> None:
        """Forget the session keys: nothing will be sent."""
        ...


class Opening(msgspec.Struct, frozen=True):
    """`Verified` with the keys in memory."""

    answer: InitializeUpdateResponse
    session: SessionKeys
    host_cryptogram: bytes
    channel: int
    keys: KeySet

    def authenticate(self, level: int, *, pads_empty: bool = False) -> tuple[HostChannel, Command]:
        """The session at that level, and EXTERNAL AUTHENTICATE, the first command under its C-MAC."""
        channel = HostChannel(self, level, pads_empty=pads_empty)
        return channel, channel.authenticate(self.host_cryptogram, level)

    def close(self) -> None:
        """Nothing to do: what is in memory goes with its last use."""


def initialize_update(
    keys: KeySet, host_challenge: bytes, *, kvn: int = 0, kid: int = 0, channel: int = 0, aid: bytes | None = None
) -> Generator[Command, Response, Opening]:
    """INITIALIZE UPDATE, and the card cryptogram checked (Amd D 7.1.1). Costs no try.

    `host_challenge`: 8 bytes for S8, 16 for S16. `kvn` 0 asks for the card's default set. With `aid`, a
    pseudo-random card challenge is recomputed and compared. Raises StatusError (6A88: no such key set),
    WireError for another protocol or key version, CardCryptogramError when the keys are not the card's.
    """
    answer = yield from request_challenge(host_challenge, kvn=kvn, kid=kid, channel=channel)
    return verify_card(keys, host_challenge, answer, channel=channel, aid=aid)


def request_challenge(
    host_challenge: bytes, *, kvn: int = 0, kid: int = 0, channel: int = 0
) -> Generator[Command, Response, InitializeUpdateResponse]:
    """Only the exchange of INITIALIZE UPDATE: the keys to be used may depend on its answer (KDD)."""
    if len(host_challenge) not in (8, 16):
        raise ValueError("a host challenge has 8 (S8) or 16 bytes (S16)")
    command = Command(with_channel(0x80, channel), INITIALIZE_UPDATE, kvn, kid, host_challenge, 0)
    response = yield command
    if response.sw != SW.OK:
        raise status_error(response.sw, f"INITIALIZE UPDATE (KVN {kvn:02X})")
    if len(response.data) > SCP_AT and response.data[SCP_AT] != SCP03:
        raise OtherProtocolError(response.data[SCP_AT], SCP03)
    kind = InitializeUpdateResponse8 if len(host_challenge) == 8 else InitializeUpdateResponse16
    try:
        answer = kind.parse(response.data)
    except DecodeError as error:
        raise WireError(f"INITIALIZE UPDATE answered {len(response.data)} bytes that are no SCP03 answer") from error
    if kvn and answer.kvn != kvn:
        raise WireError(f"asked for KVN {kvn:02X}, the card answered for KVN {answer.kvn:02X}")
    if bool(answer.i & I.S16) != (len(host_challenge) == 16):
        raise WireError(f"i={answer.i:02X} does not fit a host challenge of {len(host_challenge)} bytes")
    return answer


def verify_card(
    keys: KeySet,
    host_challenge: bytes,
    answer: InitializeUpdateResponse,
    *,
    channel: int = 0,
    aid: bytes | None = None,
) -> Opening:
    """Derive the session and check the card cryptogram. Raises CardCryptogramError."""
    size = len(host_challenge)
    context = host_challenge + answer.card_challenge
    session = derive_session(keys, context)
    expected = derive(session.mac, CARD_CRYPTOGRAM, context, size)
    if not equal(expected, answer.card_cryptogram):
        raise CardCryptogramError(f"card cryptogram wrong (KVN {answer.kvn:02X}, SCP03 i={answer.i:02X})")
    if aid is not None and answer.i & I.PSEUDO_RANDOM:
        challenge = derive_card_challenge(keys.enc, answer.sequence_counter, aid, size)
        if not equal(challenge, answer.card_challenge):
            raise CardCryptogramError("card challenge is not the pseudo-random one of this counter and application")
    return Opening(answer, session, derive(session.mac, HOST_CRYPTOGRAM, context, size), channel, keys)


def external_authenticate(
    opening: Verified[Session_co], level: int = 0x33, *, pads_empty: bool = False
) -> Generator[Command, Response, Session_co]:
    """EXTERNAL AUTHENTICATE (Amd D 7.1.2): the one command that a card counts as a try.

    `pads_empty`: how the session sends an empty data field under C-DEC, see `HostMessaging`.
    Raises ValueError for a level that does not exist, PolicyError when the card's "i" does not offer it (no
    silent downgrade), AuthenticationError when the card refuses (6300, 6982), StatusError otherwise.
    """
    if level not in LEVELS:
        raise ValueError(f"security level {level:02X} does not exist in SCP03")
    i = opening.answer.i
    if (level & Level.R_MAC and not i & I.R_MAC) or (level & Level.R_ENC and not i & I.R_ENC):
        raise PolicyError(
            f"the card (SCP03 i={i:02X}) does not offer security level {level:02X}",
            hint="choose a level without response protection in the recipe, if the product allows it",
        )
    channel, command = opening.authenticate(level, pads_empty=pads_empty)
    try:
        response = yield command
        _check_opened(response)
    except BaseException:
        # Nobody else has the session yet: in an HSM its keys would stay.
        channel.close()
        raise
    return channel


def _check_opened(response: Response) -> None:
    if response.sw in (SW.AUTHENTICATION_FAILED, SW.SECURITY_STATUS_NOT_SATISFIED):
        raise AuthenticationError(
            f"EXTERNAL AUTHENTICATE refused: {response.sw:04X}",
            hint="the card may have counted this; do not repeat it with the same keys",
        )
    check(response, "EXTERNAL AUTHENTICATE")


def open_channel(
    keys: KeySet,
    host_challenge: bytes,
    *,
    kvn: int = 0,
    level: int = 0x33,
    channel: int = 0,
    aid: bytes | None = None,
    pads_empty: bool = False,
) -> Generator[Command, Response, HostChannel]:
    """`initialize_update` and `external_authenticate` in one dialogue."""
    answer = yield from request_challenge(host_challenge, kvn=kvn, channel=channel)
    opening = verify_card(keys, host_challenge, answer, channel=channel, aid=aid)
    return (yield from external_authenticate(opening, level, pads_empty=pads_empty))


class HostChannel(HostMessaging):
    """An open secure channel seen from the host. `secure` is the layer to put under a dialogue."""

    __slots__ = ("_static", "i", "kvn")

    def __init__(self, opening: Opening, level: int, *, pads_empty: bool = False) -> None:
        answer = opening.answer
        super().__init__(opening.session, len(answer.card_cryptogram), level, opening.channel, pads_empty=pads_empty)
        self._static = opening.keys
        self.kvn = answer.kvn
        self.i = answer.i

    @property
    def scp(self) -> int:
        """3."""
        return SCP03

    @property
    def sensitive_block(self) -> int:
        """16."""
        return self._static.sensitive_block

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks under the static K-DEK (Amd D 6.2.8). Raises ValueError for a rest."""
        return self._static.encrypt_sensitive(data)

    def authenticate(self, host_cryptogram: bytes, level: int) -> Command:
        """EXTERNAL AUTHENTICATE, the first command under the C-MAC."""
        command = Command(with_channel(0x80, self.channel), EXTERNAL_AUTHENTICATE, level, 0, host_cryptogram)
        return self._with_mac(command, host_cryptogram)
