"""SCP03, off-card entity: open a secure channel and protect what goes through it (Amd D).

The card cryptogram is always checked before EXTERNAL AUTHENTICATE leaves: a wrong key costs no try on the card.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import final

import msgspec

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError, LinkError, PolicyError, SequenceError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp, secured, with_channel
from keywright.iso7816.status import SW, check, status_error
from keywright.scp.level import LEVELS, Level
from keywright.scp.padding import pad80, unpad80
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
    ANSWERED,
    EXTERNAL_AUTHENTICATE,
    INITIALIZE_UPDATE,
    NO_IV,
    SCP03,
    I,
    InitializeUpdateResponse,
    InitializeUpdateResponse8,
    InitializeUpdateResponse16,
)

_SHORT_LC = 255


class CardCryptogramError(AuthenticationError):
    """The card does not hold the keys we tried. No EXTERNAL AUTHENTICATE was sent, so the card counted nothing."""

    code = "card-cryptogram"
    hint = "these are not this card's keys; find the right set before trying again (nothing was counted on the card)"


class Opening(msgspec.Struct, frozen=True):
    """A card that answered INITIALIZE UPDATE with the right cryptogram: ready for `external_authenticate`."""

    answer: InitializeUpdateResponse
    session: SessionKeys
    host_cryptogram: bytes
    channel: int
    keys: KeySet


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
    kind = InitializeUpdateResponse8 if len(host_challenge) == 8 else InitializeUpdateResponse16
    try:
        answer = kind.parse(response.data)
    except DecodeError as error:
        raise WireError(f"INITIALIZE UPDATE answered {len(response.data)} bytes that are no SCP03 answer") from error
    if answer.scp != SCP03:
        raise WireError(f"the card speaks SCP{answer.scp:02X} with this key set, not SCP03")
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


def external_authenticate(opening: Opening, level: int = 0x33) -> Generator[Command, Response, HostChannel]:
    """EXTERNAL AUTHENTICATE (Amd D 7.1.2): the one command that a card counts as a try.

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
    channel = HostChannel(opening, level)
    response = yield channel.authenticate(opening.host_cryptogram, level)
    if response.sw in (SW.AUTHENTICATION_FAILED, SW.SECURITY_STATUS_NOT_SATISFIED):
        raise AuthenticationError(
            f"EXTERNAL AUTHENTICATE refused: {response.sw:04X}",
            hint="the card may have counted this; do not repeat it with the same keys",
        )
    check(response, "EXTERNAL AUTHENTICATE")
    return channel


def open_channel(
    keys: KeySet,
    host_challenge: bytes,
    *,
    kvn: int = 0,
    level: int = 0x33,
    channel: int = 0,
    aid: bytes | None = None,
) -> Generator[Command, Response, HostChannel]:
    """`initialize_update` and `external_authenticate` in one dialogue."""
    answer = yield from request_challenge(host_challenge, kvn=kvn, channel=channel)
    opening = verify_card(keys, host_challenge, answer, channel=channel, aid=aid)
    return (yield from external_authenticate(opening, level))


@final
class HostChannel:
    """An open secure channel seen from the host. `secure` is the layer to put under a dialogue."""

    __slots__ = ("_chaining", "_counter", "_keys", "_mac_length", "channel", "i", "is_open", "keys", "kvn", "level")

    def __init__(self, opening: Opening, level: int) -> None:
        answer = opening.answer
        self._keys = opening.session
        self._mac_length = len(answer.card_cryptogram)
        self._chaining = NO_IV
        self._counter = 0
        self.keys = opening.keys
        self.kvn = answer.kvn
        self.i = answer.i
        self.channel = opening.channel
        self.level = level
        self.is_open = True

    @property
    def scp(self) -> int:
        """3."""
        return SCP03

    @property
    def sensitive_block(self) -> int:
        """16."""
        return self.keys.sensitive_block

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks under the static K-DEK (Amd D 6.2.8). Raises ValueError for a rest."""
        return self.keys.encrypt_sensitive(data)

    def authenticate(self, host_cryptogram: bytes, level: int) -> Command:
        """EXTERNAL AUTHENTICATE, the first command under the C-MAC."""
        command = Command(with_channel(0x80, self.channel), EXTERNAL_AUTHENTICATE, level, 0, host_cryptogram)
        return self._with_mac(command, host_cryptogram)

    @property
    def max_data(self) -> int:
        """Plain bytes that fit one short command at this level."""
        if not self.level & Level.C_MAC:
            return _SHORT_LC
        room = _SHORT_LC - self._mac_length
        return room - room % 16 - 1 if self.level & Level.C_DEC else room

    def close(self) -> None:
        """Forget the session; every later use raises SequenceError."""
        self.is_open = False

    def wrap(self, command: Command) -> Command:
        """Protect one command (Amd D 6.2.4, 6.2.6). Raises SequenceError when closed, ValueError when too long."""
        if not self.is_open:
            raise SequenceError("this secure channel is closed", hint="open a new session")
        level, data = self.level, command.data
        if not level & Level.C_MAC:
            return command
        if not command.extended and len(data) > self.max_data:
            raise ValueError(f"{len(data)} bytes do not fit one command; at this level {self.max_data} do")
        self._counter += 1
        if data and level & Level.C_DEC:
            # The ICV is the encrypted counter: CBC over counter and data from zero gives it as its first block.
            data = self._keys.enc.encrypt_cbc(NO_IV, self._counter.to_bytes(16) + pad80(data))[16:]
        return self._with_mac(command, data)

    def _with_mac(self, command: Command, data: bytes) -> Command:
        length = len(data) + self._mac_length
        cla, ins, p1, p2 = command.cla, command.ins, command.p1, command.p2
        lc = b"\0" + length.to_bytes(2) if command.extended else bytes((length,))
        mac = self._keys.mac.cmac(self._chaining + bytes((0x84 if is_gp(cla) else 0x04, ins, p1, p2)) + lc + data)
        self._chaining = mac
        return Command(secured(cla), ins, p1, p2, data + mac[: self._mac_length], command.le, command.extended)

    def unwrap(self, response: Response) -> Response:
        """Check and open one answer (Amd D 6.2.5, 6.2.7). Raises AuthenticationError, after which it is closed."""
        sw = response.sw
        if not self.level & Level.R_MAC:
            return response
        if sw != SW.OK and sw >> 8 not in (0x62, 0x63):
            return Response(b"", sw)
        length = self._mac_length
        body, mac = response.data[:-length], response.data[-length:]
        expected = self._keys.rmac.cmac(self._chaining + body + sw.to_bytes(2))[:length]
        if not equal(mac, expected):
            self.close()
            raise AuthenticationError("answer refused: its R-MAC is missing or wrong; the session is closed")
        if not body or not self.level & Level.R_ENC:
            return Response(body, sw)
        enc = self._keys.enc
        icv = enc.encrypt_cbc(NO_IV, (self._counter | ANSWERED).to_bytes(16))
        try:
            return Response(unpad80(enc.decrypt_cbc(icv, body)), sw)
        except ValueError:
            self.close()
            raise AuthenticationError("answer refused: its R-MAC is missing or wrong; the session is closed") from None

    def secure(self, command: Command) -> Generator[Command, Response, Response]:
        """Layer for `through`: one command under this channel. A lost answer closes it: the counters may differ."""
        try:
            response = yield self.wrap(command)
        except LinkError:
            self.close()
            raise
        return self.unwrap(response)
