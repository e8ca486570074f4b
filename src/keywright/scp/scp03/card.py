"""SCP03, card end: answer INITIALIZE UPDATE, check the host, open commands and protect answers (Amd D).

It holds one session and nothing persistent: counting sessions and tries is the security domain's business.
A `Refusal` tells the status word to send; after a failed check the session is gone.
"""

from __future__ import annotations

from functools import cache
from typing import final

from keywright.crypto.compare import equal
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp, is_secured, plain
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import LEVELS, Level
from keywright.scp.padding import pad80, unpad80
from keywright.scp.scp03.keys import (
    CARD_CRYPTOGRAM,
    HOST_CRYPTOGRAM,
    KeySet,
    SessionKeys,
    derive,
    derive_session,
)
from keywright.scp.scp03.messages import (
    ANSWERED,
    END_SESSION,
    NO_IV,
    SCP03,
    I,
    InitializeUpdateResponse8,
    InitializeUpdateResponse16,
)


@cache
def allowed_levels(i: int) -> tuple[int, ...]:
    """Security levels a key set with this "i" may be opened at (Amd D 5.1)."""
    return tuple(
        level
        for level in LEVELS
        if not (level & Level.R_MAC and not i & I.R_MAC) and not (level & Level.R_ENC and not i & I.R_ENC)
    )


@final
class CardChannel:
    """One session: `initialize_update` made it, `external_authenticate` opens it."""

    __slots__ = ("_chaining", "_context", "_counter", "_keys", "_mac_length", "_next_level", "i", "level", "static")

    def __init__(self, static: KeySet, i: int, host_challenge: bytes, card_challenge: bytes) -> None:
        self.static = static
        self.i = i
        self.level: int | None = None
        self._next_level: int | None = None
        self._context = host_challenge + card_challenge
        self._mac_length = len(host_challenge)
        self._keys: SessionKeys = derive_session(static, self._context)
        self._chaining = NO_IV
        self._counter = 0

    @property
    def scp(self) -> int:
        """3."""
        return SCP03

    @property
    def authentication(self) -> int:
        """Whoever knows the keys is their owner (GPCS 10.4.2)."""
        return Level.AUTHENTICATED if self.level is not None else 0

    @property
    def sensitive_block(self) -> int:
        """16."""
        return self.static.sensitive_block

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Open whole blocks under the static K-DEK: AES-CBC, ICV 0 (Amd D 6.2.8). Refuses with 6A80 for a rest."""
        if len(data) % self.sensitive_block:
            raise Refusal(SW.INCORRECT_DATA)
        return self.static.dek.decrypt_cbc(NO_IV, data)

    @property
    def is_authenticated(self) -> bool:
        """Whether EXTERNAL AUTHENTICATE has succeeded in this session."""
        return self.level is not None

    def initialize_update(self, kdd: bytes, kvn: int, sequence_counter: bytes) -> bytes:
        """Data of the answer to INITIALIZE UPDATE. `sequence_counter`: 3 bytes, or none with random challenges."""
        cryptogram = derive(self._keys.mac, CARD_CRYPTOGRAM, self._context, self._mac_length)
        kind = InitializeUpdateResponse8 if self._mac_length == 8 else InitializeUpdateResponse16
        challenge = self._context[self._mac_length :]
        return kind(kdd, kvn, SCP03, self.i, challenge, cryptogram, sequence_counter).build()

    def external_authenticate(self, command: Command) -> None:
        """Check C-MAC, then host cryptogram; on success the session is open at level P1.

        Refuses with 6A86 (level), 6700 (length), 6982 (C-MAC) or 6300 (host cryptogram).
        """
        length = self._mac_length
        if command.p1 not in allowed_levels(self.i) or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        if len(command.data) != 2 * length:
            raise Refusal(SW.WRONG_LENGTH)
        host_cryptogram = self._check_mac(command)
        expected = derive(self._keys.mac, HOST_CRYPTOGRAM, self._context, length)
        if not equal(host_cryptogram, expected):
            raise Refusal(SW.AUTHENTICATION_FAILED)
        self.level = command.p1

    def unwrap(self, command: Command) -> Command:
        """Check and open one command. Refuses with 6982, after which the caller must drop the session.

        Accepts both styles of an empty data field under C-DEC: no ciphertext (Amd D 6.2.6) and one block
        of padding, as yubikit sends.
        """
        if self.level is None:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        if not self.level & Level.C_MAC:
            if is_secured(command.cla):
                raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
            return command
        if not is_secured(command.cla) or len(command.data) < self._mac_length:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        data = self._check_mac(command)
        self._counter += 1
        if data and self.level & Level.C_DEC:
            data = self._decrypt(data)
        return Command(plain(command.cla), command.ins, command.p1, command.p2, data, command.le, command.extended)

    def _check_mac(self, command: Command) -> bytes:
        data, mac = command.data[: -self._mac_length], command.data[-self._mac_length :]
        size = len(command.data)
        header = bytes((0x84 if is_gp(command.cla) else 0x04, command.ins, command.p1, command.p2))
        lc = b"\0" + size.to_bytes(2) if command.extended else bytes((size,))
        expected = self._keys.mac.cmac(self._chaining + header + lc + data)
        if not equal(mac, expected[: self._mac_length]):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        self._chaining = expected
        return data

    def _decrypt(self, data: bytes) -> bytes:
        if len(data) % 16:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        icv = self._keys.enc.encrypt_cbc(NO_IV, self._counter.to_bytes(16))
        try:
            return unpad80(self._keys.enc.decrypt_cbc(icv, data))
        except ValueError:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED) from None

    def wrap(self, response: Response) -> Response:
        """Protect one answer: only 9000, 62xx and 63xx are; every other status goes bare (Amd D 6.2.5)."""
        level, sw = self.level or 0, response.sw
        if self._next_level is not None:
            self.level, self._next_level = self._next_level, None
        if not level & Level.R_MAC:
            return response
        if sw != SW.OK and sw >> 8 not in (0x62, 0x63):
            return Response(b"", sw)
        data = response.data
        if data and level & Level.R_ENC:
            # The ICV is the encrypted counter: CBC over counter and data from zero gives it as its first block.
            counter = (self._counter | ANSWERED).to_bytes(16)
            data = self._keys.enc.encrypt_cbc(NO_IV, counter + pad80(data))[16:]
        mac = self._keys.rmac.cmac(self._chaining + data + sw.to_bytes(2))
        return Response(data + mac[: self._mac_length], sw)

    def begin_r_mac(self, p1: int, data: bytes) -> None:
        """BEGIN R-MAC SESSION (Amd D 7.1.3): P1 10 adds R-MAC, 30 R-MAC and R-ENC, from the next command on.

        `data` is for a host that wants it in the chain of SCP02; here it changes nothing. Refuses with 6A86 (P1), 6985
        when the level has response protection already, lacks what must come before it, or "i" does not offer it.
        """
        del data
        level = self.level or 0
        if p1 not in (Level.R_MAC, Level.R_MAC | Level.R_ENC):
            raise Refusal(SW.INCORRECT_P1P2)
        if level & Level.R_MAC or level | p1 not in allowed_levels(self.i):
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        self._next_level = level | p1

    def end_r_mac(self, p2: int) -> bytes:
        """END R-MAC SESSION (Amd D 7.1.4), P2 03: no response protection from the next command on; no data.

        Refuses with 6A86 (P2), 6985 when answers are not protected.
        """
        level = self.level or 0
        if p2 != END_SESSION:
            raise Refusal(SW.INCORRECT_P1P2)
        if not level & Level.R_MAC:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        self._next_level = level & (Level.C_MAC | Level.C_DEC)
        return b""
