"""SCP02, card end: answer INITIALIZE UPDATE or start implicitly, check the host, open commands, chain R-MACs (GPCS E).

One session and nothing persistent. `counter` is the sequence counter as the card's memory must have it before the
answer leaves; a caller that finds it changed writes it first, and drops the session if that fails. Session keys are
made of the counter alone: a caller with several channels refuses EXTERNAL AUTHENTICATE when the counter of the key set
is no longer that of the session. A `Refusal` tells the status word to send; after one from `unwrap` or
`external_authenticate` the caller drops the session.
"""

from __future__ import annotations

from typing import Self, final

import msgspec

from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured, plain
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level
from keywright.scp.scp02.keys import (
    BLOCK,
    NO_IV,
    R_MAC,
    KeySet,
    SessionKeys,
    card_cryptogram,
    command_mac,
    derive,
    derive_session,
    first_icv,
    host_cryptogram,
    mac_of_aid,
    next_icv,
    pseudo_random_challenge,
    response_mac,
)
from keywright.scp.scp02.messages import (
    CHALLENGE_BYTES,
    COLLECT,
    END_SESSION,
    EVERY_RESPONSE,
    GO_ON,
    MAC_BYTES,
    MAX_R_MAC_DATA,
    SCP02,
    BeginRMacSession,
    I,
    InitializeUpdateResponse,
    allowed_levels,
    may_have_data,
)
from keywright.scp.scp02.profile import DEFAULT, Profile


class _Chain(msgspec.Struct):
    """An R-MAC session: its key and its last R-MAC."""

    key: TripleDesKey
    mac: bytes


@final
class CardChannel:
    """One session. Made by `explicit` at INITIALIZE UPDATE, or by `implicit` at the first secured command."""

    __slots__ = (
        "_aid",
        "_chain",
        "_command",
        "_ending",
        "_host_challenge",
        "_icv",
        "_keys",
        "_next_level",
        "_profile",
        "_r_icv",
        "_silent",
        "card_challenge",
        "counter",
        "i",
        "level",
        "static",
    )

    def __init__(self, static: KeySet, i: int, counter: int, aid: bytes, profile: Profile, keys: SessionKeys) -> None:
        self.static = static.fit(i)
        self.i = i
        self.counter = counter
        self.level: int | None = None
        self.card_challenge = b""
        self._host_challenge = b""
        self._aid = aid
        self._profile = profile
        self._keys = keys
        self._icv = first_icv(keys.mac, i, aid)
        self._r_icv = NO_IV
        self._chain: _Chain | None = None
        self._command: Command | None = None
        self._next_level: int | None = None
        self._silent = self._ending = False

    @classmethod
    def explicit(
        cls,
        static: KeySet,
        i: int,
        host_challenge: bytes,
        counter: int,
        *,
        aid: bytes,
        card_challenge: bytes = b"",
        profile: Profile = DEFAULT,
    ) -> Self:
        """A session that INITIALIZE UPDATE begins (GPCS E.5.1).

        `card_challenge`: 6 random bytes; not used where "i" makes it well-known. `aid`: of the selected application.
        Refuses with 6A80 (host challenge not 8 bytes), 6985 (counter used up where a challenge is made of it).
        """
        if len(host_challenge) != CHALLENGE_BYTES:
            raise Refusal(SW.INCORRECT_DATA)
        if i & I.PSEUDO_RANDOM and counter >= profile.max_counter:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        keys = derive_session(static, counter)
        session = cls(static, i, counter, aid, profile, keys)
        session._host_challenge = host_challenge
        session.card_challenge = pseudo_random_challenge(keys.mac, aid) if i & I.PSEUDO_RANDOM else card_challenge
        return session

    @classmethod
    def implicit(cls, static: KeySet, i: int, counter: int, *, aid: bytes, profile: Profile = DEFAULT) -> Self:
        """A session that the first secured command begins: hand that to `unwrap` (GPCS E.1.2.2).

        Made when that command comes, with the counter of the key set as it is then. Refuses with 6985 when the counter
        is used up.
        """
        if counter >= profile.max_counter:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        return cls(static, i, counter, aid, profile, derive_session(static, counter, counter + 1))

    @property
    def scp(self) -> int:
        """2."""
        return SCP02

    @property
    def is_suspended(self) -> bool:
        """Whether a plain command took the C-MAC off an implicit session.

        The next secured command ends it and is the first one of another, made with the counter of the key set as that
        stands by then: other channels may have moved it (GPCS E.1.2.2).
        """
        return not self.i & I.EXPLICIT and self.level is not None and not self.level & Level.C_MAC

    @property
    def authentication(self) -> int:
        """Whoever knows the keys is their owner (GPCS 10.4.2)."""
        return Level.AUTHENTICATED if self.level is not None else 0

    @property
    def sensitive_block(self) -> int:
        """8."""
        return BLOCK

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Open whole blocks under the session DEK: ECB, CBC with ICV 0 when implicit. Refuses with 6A80 for a rest."""
        if len(data) % BLOCK:
            raise Refusal(SW.INCORRECT_DATA)
        dek = self._keys.dek
        return dek.decrypt_blocks(data) if self.i & I.EXPLICIT else dek.decrypt_cbc(NO_IV, data)

    def initialize_update(self, kdd: bytes, kvn: int) -> bytes:
        """Data of the answer to INITIALIZE UPDATE, 28 bytes."""
        challenge = self.card_challenge
        cryptogram = card_cryptogram(self._keys.enc, self._host_challenge, self.counter, challenge)
        return InitializeUpdateResponse(kdd, kvn, SCP02, self.counter, challenge, cryptogram).build()

    def external_authenticate(self, command: Command) -> None:
        """Check C-MAC, then host cryptogram; on success the session is open at level P1 and the counter has moved.

        Refuses with 6985 (open already, or implicit), 6A86 (level), 6700 (length), 6982 (C-MAC or its class bit) or
        6300 (host cryptogram); the last moves the counter only where the profile says so.
        """
        if self.level is not None or not self.i & I.EXPLICIT:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if command.p1 not in allowed_levels(self.i) or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        if len(command.data) != 2 * MAC_BYTES:
            raise Refusal(SW.WRONG_LENGTH)
        if not is_secured(command.cla):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        cryptogram = self._opened(command, decrypt=False).data
        counter, after = self.counter, min(self.counter + 1, max(self.counter, self._profile.max_counter))
        if not equal(cryptogram, host_cryptogram(self._keys.enc, self._host_challenge, counter, self.card_challenge)):
            if self._profile.count_wrong_cryptogram:
                self.counter = after
            raise Refusal(SW.AUTHENTICATION_FAILED)
        self._r_icv = command.data[MAC_BYTES:]
        if command.p1 & Level.R_MAC:
            self._chain = _Chain(self._keys.rmac, self._r_icv)
        self.counter = after
        self.level = command.p1

    def unwrap(self, command: Command) -> Command:
        """Check and open one command. Refuses with 6982, after which the caller must drop the session.

        In an implicit session a command without secure messaging passes and takes the C-MAC off the level: it
        `is_suspended`, and the next secured command is not for it.
        """
        self._command = None
        level, explicit = self.level, self.i & I.EXPLICIT
        if not is_secured(command.cla):
            if explicit and (level is None or level & Level.C_MAC):
                raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
            if level is not None:
                self.level = level & ~Level.C_MAC
            self._command = command
            return command
        if level is None and not explicit:
            return self._initiated(command)
        if level is None or not level & Level.C_MAC:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        self._command = self._opened(command, decrypt=bool(level & Level.C_DEC))
        return self._command

    def _initiated(self, command: Command) -> Command:
        """The first C-MAC of an implicit session: made with the counter before, which then moves on."""
        self._command = self._opened(command, decrypt=False)
        self._r_icv = mac_of_aid(self._keys.rmac, self._aid)
        self.counter += 1
        self.level = Level.C_MAC
        return self._command

    def _opened(self, command: Command, *, decrypt: bool) -> Command:
        """The plain command; MAC and padding wrong alike cost the same work and give the same 6982.

        Otherwise the padding tells an attacker, byte by byte, what was encrypted (Avoine and Ferreira, 2018).
        """
        data, mac = command.data[:-MAC_BYTES], command.data[-MAC_BYTES:]
        padded = True
        if data and decrypt:
            data, padded = self._decrypted(data)
        cla = plain(command.cla)
        opened = Command(cla, command.ins, command.p1, command.p2, data, command.le, command.extended)
        key = self._keys.mac
        if not equal(command_mac(key, self._icv, self.i, opened), mac) or not padded:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        self._icv = next_icv(key, self.i, mac)
        return opened

    def _decrypted(self, data: bytes) -> tuple[bytes, bool]:
        """Plain data, and whether the padding was right: 80 and zeros within the last block. If not, all but a byte."""
        if len(data) % BLOCK:
            return data, False
        clear = self._keys.enc.decrypt_cbc(NO_IV, data)
        body = clear[-BLOCK:].rstrip(b"\0")
        if body.endswith(b"\x80"):
            return clear[:-BLOCK] + body[:-1], True
        return clear[:-1], False

    def wrap(self, response: Response) -> Response:
        """Protect the answer to the command that was unwrapped last, errors too: each one is part of the R-MAC chain.

        A caller that answers a command of an R-MAC session without this leaves host and card at odds.
        """
        command, self._command = self._command, None
        chain, level, sw = self._chain, self.level or 0, response.sw
        silent, self._silent = self._silent, False
        if self._ending:
            self._chain, self._ending = None, False
        if self._next_level is not None:
            self.level, self._next_level = self._next_level, None
        if chain is None or command is None or silent:
            return response
        data = response.data if may_have_data(sw) else b""
        chain.mac = response_mac(chain.key, chain.mac, command, Response(data, sw))
        carried = level & Level.R_MAC and (may_have_data(sw) or self._profile.r_mac_on_errors)
        return Response(data + chain.mac if carried else data, sw)

    def begin_r_mac(self, p1: int, data: bytes) -> None:
        """BEGIN R-MAC SESSION (GPCS E.5.3): P1 10 puts an R-MAC on every answer from the next on, 00 collects.

        The command is part of the chain, its own answer carries nothing. Refuses with 6A86 (P1), 6A80 (data that are
        not 0 to 24 bytes behind their length), 6985 when "i" has no R-MAC or an R-MAC session runs.
        """
        if p1 not in (COLLECT, EVERY_RESPONSE):
            raise Refusal(SW.INCORRECT_P1P2)
        if data and not _is_begin_data(data):
            raise Refusal(SW.INCORRECT_DATA)
        if self.level is None or not self.i & I.R_MAC or self._chain is not None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        current = self._profile.r_mac_counter == "current"
        key = derive(self.static.mac, R_MAC, self.counter, "S-RMAC") if current else self._keys.rmac
        self._chain = _Chain(key, self._r_icv)
        if p1 == EVERY_RESPONSE:
            self._next_level = self.level | Level.R_MAC

    def end_r_mac(self, p2: int) -> bytes:
        """END R-MAC SESSION (GPCS E.5.4): the last R-MAC, 8 bytes; P2 01 goes on, 03 ends. Not part of the chain.

        Refuses with 6A86 (P2), 6985 when no R-MAC session runs.
        """
        if p2 not in (GO_ON, END_SESSION):
            raise Refusal(SW.INCORRECT_P1P2)
        if self._chain is None or self.level is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        self._silent = True
        if p2 == END_SESSION:
            self._ending = True
            self._next_level = self.level & ~Level.R_MAC
        return self._chain.mac


def _is_begin_data(data: bytes) -> bool:
    try:
        return len(BeginRMacSession.parse(data).data) <= MAX_R_MAC_DATA
    except DecodeError:
        return False
