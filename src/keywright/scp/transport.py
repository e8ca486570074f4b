"""A session that commands arrive in already opened: a packet (SCP80) or TLS (SCP81) has protected them on their way.

It is a `CardSession` like any other, so that a security domain serves commands from the air as it serves those of a
reader. There is nothing to unwrap; what counts is the level, and the key that opens sensitive data.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level

_PROTECTION = Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC
_WHO = Level.AUTHENTICATED | Level.ANY_AUTHENTICATED


class SensitiveKey(Protocol):
    """The key that opens sensitive data, card end."""

    @property
    def sensitive_block(self) -> int:
        """Bytes of a cipher block."""
        ...

    def decrypt_sensitive(self, data: bytes, /) -> bytes:
        """Open whole blocks. Raises ValueError for a rest."""
        ...


class TransportSession(msgspec.Struct, frozen=True):
    """What a packet or a TLS connection was worth. `protection` has all bits of `Level`; 0: nobody proved anything."""

    scp: int
    protection: int = 0
    kvn: int = 0
    dek: SensitiveKey | None = None

    @property
    def level(self) -> int | None:
        """Protection of commands and answers; None where nobody has authenticated."""
        return self.protection & _PROTECTION if self.authentication else None

    @property
    def authentication(self) -> int:
        """Who the sender is: `Level.AUTHENTICATED`, or 0."""
        return self.protection & _WHO

    @property
    def sensitive_block(self) -> int:
        """Bytes of a cipher block of the data encryption key; 1 where there is none."""
        return self.dek.sensitive_block if self.dek else 1

    def unwrap(self, command: Command, /) -> Command:
        """The command itself. Refuses with 6982 what has secure messaging of its own: there is no session inside."""
        if is_secured(command.cla):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        return command

    def wrap(self, response: Response, /) -> Response:
        """The answer itself: the transport protects it."""
        return response

    def decrypt_sensitive(self, data: bytes, /) -> bytes:
        """Open whole blocks. Refuses with 6A80 for a rest, with 6985 where there is no key for it."""
        if self.dek is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if len(data) % self.dek.sensitive_block:
            raise Refusal(SW.INCORRECT_DATA)
        return self.dek.decrypt_sensitive(data)

    def begin_r_mac(self, p1: int, data: bytes, /) -> None:
        """Refuses with 6985: the transport decides how answers are protected."""
        del p1, data
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)

    def end_r_mac(self, p2: int, /) -> bytes:
        """Refuses with 6985: likewise."""
        del p2
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
