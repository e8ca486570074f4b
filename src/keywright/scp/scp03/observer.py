"""A session of SCP03 or SCP11 seen by a third party that has its keys: opens both directions and sends nothing."""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import plain
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import LEVELS, Level
from keywright.scp.padding import unpad80
from keywright.scp.scp03.keys import SessionKeys
from keywright.scp.scp03.messages import (
    ANSWERED,
    BEGIN_R_MAC_SESSION,
    END_R_MAC_SESSION,
    NO_IV,
)
from keywright.scp.scp03.messaging import CardMessaging

_WARNINGS: Final = (0x62, 0x63)


@final
class Observer(CardMessaging):
    """Follows one session: `authenticate` if EXTERNAL AUTHENTICATE opens it, then `command` and `answer` in turn.

    `level` None: not open yet. Commands and answers are whole: what was chained or repeated is put together before.
    `is_verified` turns False at a command that cannot be read (`pass_over`): the chaining value is lost with it, so
    what follows is deciphered, and its MACs are not checked.
    """

    __slots__ = ("_asked", "is_verified")

    def __init__(self, keys: SessionKeys, mac_length: int, level: int | None = None, chaining: bytes = NO_IV) -> None:
        super().__init__(keys, mac_length, level, LEVELS, chaining)
        self._asked: Command | None = None
        self.is_verified = True

    @property
    def count(self) -> int:
        """Number of the last command, from 1."""
        return self._counter

    def authenticate(self, command: Command) -> bytes:
        """Check the C-MAC of EXTERNAL AUTHENTICATE; returns the host cryptogram. Raises AuthenticationError."""
        try:
            return self._check_mac(command)
        except Refusal as refusal:
            raise AuthenticationError("the C-MAC of EXTERNAL AUTHENTICATE is wrong") from refusal

    def opened(self, level: int) -> None:
        """The card has accepted EXTERNAL AUTHENTICATE: the session is open at this level."""
        self.level = level

    def command(self, command: Command) -> Command:
        """The command as the host meant it. Raises AuthenticationError: not of this session, or changed."""
        if not self.is_verified:
            self._asked = self._unverified(command)
            return self._asked
        try:
            self._asked = self.unwrap(command)
        except Refusal as refusal:
            raise AuthenticationError("the C-MAC or padding of the command is wrong") from refusal
        return self._asked

    def pass_over(self) -> None:
        """A command was sent that the recording does not show."""
        self._counter += 1
        self._asked, self.is_verified = None, False

    def _unverified(self, command: Command) -> Command:
        self._counter += 1
        data = command.data[: -self._mac_length]
        if data and (self.level or 0) & Level.C_DEC:
            try:
                data = self._decrypt(data)
            except Refusal as refusal:
                raise AuthenticationError("the padding of the command is wrong") from refusal
        return msgspec.structs.replace(command, cla=plain(command.cla), data=data)

    def answer(self, response: Response) -> Response:
        """The answer as the card meant it. Raises AuthenticationError for a wrong R-MAC or padding."""
        level, sw, asked = self.level or 0, response.sw, self._asked
        opened = self._open(response) if level & Level.R_MAC and _is_protected(sw) else response
        if sw == SW.OK and asked is not None and asked.ins == BEGIN_R_MAC_SESSION:
            self.level = level | asked.p1 & (Level.R_MAC | Level.R_ENC)
        elif sw == SW.OK and asked is not None and asked.ins == END_R_MAC_SESSION:
            self.level = level & (Level.C_MAC | Level.C_DEC)
        return opened

    def _open(self, response: Response) -> Response:
        length = self._mac_length
        body, mac = response.data[:-length], response.data[-length:]
        expected = self._keys.rmac.cmac(self._chaining + body + response.sw.to_bytes(2))[:length]
        if self.is_verified and not equal(mac, expected):
            raise AuthenticationError("the R-MAC of the answer is missing or wrong")
        if not body or not (self.level or 0) & Level.R_ENC:
            return Response(body, response.sw)
        icv = self._keys.enc.encrypt_cbc(NO_IV, (self._counter | ANSWERED).to_bytes(16))
        try:
            return Response(unpad80(self._keys.enc.decrypt_cbc(icv, body)), response.sw)
        except ValueError:
            raise AuthenticationError("the padding of the answer is wrong") from None


def _is_protected(sw: int) -> bool:
    return sw == SW.OK or sw >> 8 in _WARNINGS
