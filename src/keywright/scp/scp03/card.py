"""SCP03, card end: answer INITIALIZE UPDATE, and check the host (Amd D); messaging is `CardMessaging`.

It holds one session and nothing persistent: counting sessions and tries is the security domain's business.
A `Refusal` tells the status word to send; after a failed check the session is gone.
"""

from __future__ import annotations

from functools import cache
from typing import final

from keywright.crypto.compare import equal
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import is_secured
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import LEVELS, Level
from keywright.scp.scp03.keys import (
    CARD_CRYPTOGRAM,
    HOST_CRYPTOGRAM,
    KeySet,
    derive,
    derive_session,
)
from keywright.scp.scp03.messages import (
    NO_IV,
    SCP03,
    I,
    InitializeUpdateResponse8,
    InitializeUpdateResponse16,
)
from keywright.scp.scp03.messaging import CardMessaging


@cache
def allowed_levels(i: int) -> tuple[int, ...]:
    """Security levels a key set with this "i" may be opened at (Amd D 5.1)."""
    return tuple(
        level
        for level in LEVELS
        if not (level & Level.R_MAC and not i & I.R_MAC) and not (level & Level.R_ENC and not i & I.R_ENC)
    )


@final
class CardChannel(CardMessaging):
    """One session: `initialize_update` made it, `external_authenticate` opens it."""

    __slots__ = ("_context", "i", "static")

    def __init__(self, static: KeySet, i: int, host_challenge: bytes, card_challenge: bytes) -> None:
        self.static = static
        self.i = i
        self._context = host_challenge + card_challenge
        keys = derive_session(static, self._context)
        super().__init__(keys, len(host_challenge), None, allowed_levels(i))

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

        Refuses with 6A86 (level), 6700 (length), 6982 (C-MAC or its class bit) or 6300 (host cryptogram).
        """
        length = self._mac_length
        if command.p1 not in allowed_levels(self.i) or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        if len(command.data) != 2 * length:
            raise Refusal(SW.WRONG_LENGTH)
        if not is_secured(command.cla):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        host_cryptogram = self._check_mac(command)
        expected = derive(self._keys.mac, HOST_CRYPTOGRAM, self._context, length)
        if not equal(host_cryptogram, expected):
            raise Refusal(SW.AUTHENTICATION_FAILED)
        self.level = command.p1
