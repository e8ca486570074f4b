"""A session of SCP02 seen by a third party that has its keys: opens both directions and sends nothing.

SCP02 is deterministic: a command is opened by decrypting it and shown to be right by protecting it again.
"""

from __future__ import annotations

from typing import Final, final

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured, plain
from keywright.scp.level import Level
from keywright.scp.padding import unpad80
from keywright.scp.scp02.keys import BLOCK, NO_IV
from keywright.scp.scp02.messages import MAC_BYTES, I
from keywright.scp.scp02.messaging import HostChannel, Start

OPTIONS: Final = (
    I.THREE_KEYS | I.EXPLICIT | I.ICV_ENCRYPTED,
    I.THREE_KEYS | I.EXPLICIT,
    I.THREE_KEYS | I.EXPLICIT | I.ICV_ENCRYPTED | I.UNMODIFIED,
    I.THREE_KEYS | I.EXPLICIT | I.UNMODIFIED,
)
"""The kinds of "i" whose commands differ once the ICV is zero; "i" does not travel, so an observer tries them."""
IMPLICIT: Final = tuple(i & ~I.EXPLICIT | I.ICV_OF_AID for i in OPTIONS)
"""The same of sessions that their first command opens."""


@final
class Observer:
    """Follows one session: `authenticate` if it is explicit, then `command` and `answer` in turn, whole ones only.

    level: of an implicit one, which needs no opening.
    """

    def __init__(self, start: Start, level: int | None = None) -> None:
        self._start = start
        self._host: HostChannel | None = None if level is None else HostChannel(start, level)

    @property
    def level(self) -> int | None:
        """Protection of commands and answers; None before EXTERNAL AUTHENTICATE."""
        return None if self._host is None else self._host.level

    def authenticate(self, command: Command) -> bytes:
        """Check the C-MAC of EXTERNAL AUTHENTICATE; returns the host cryptogram. Raises AuthenticationError."""
        cryptogram = command.data[:-MAC_BYTES]
        host = HostChannel(self._start, command.p1)
        bare = Command(plain(command.cla), command.ins, command.p1, command.p2, cryptogram)
        if not equal(host.authenticate(bare).data, command.data):
            raise AuthenticationError("the C-MAC of EXTERNAL AUTHENTICATE is wrong")
        self._host = host
        return cryptogram

    def command(self, command: Command) -> Command:
        """The command as the host meant it. Raises AuthenticationError: not of this session, or changed."""
        host = self._host
        if host is None or bool(host.level & Level.C_MAC) != is_secured(command.cla):
            raise AuthenticationError("the command is not protected as this session's are")
        opened = self._opened(command, host.level)
        try:
            again = host.wrap(opened)
        except ValueError as error:
            raise AuthenticationError("the command is longer than a session can carry") from error
        if not equal(again.data, command.data):
            raise AuthenticationError("the C-MAC or padding of the command is wrong")
        return opened

    def _opened(self, command: Command, level: int) -> Command:
        if not level & Level.C_MAC:
            return command
        data = command.data[:-MAC_BYTES]
        if data and level & Level.C_DEC:
            data = self._decrypted(data)
        return Command(plain(command.cla), command.ins, command.p1, command.p2, data, command.le, command.extended)

    def _decrypted(self, data: bytes) -> bytes:
        if len(data) % BLOCK:
            raise AuthenticationError("the data of the command are no whole blocks")
        try:
            return unpad80(self._start.session.enc.decrypt_cbc(NO_IV, data))
        except ValueError:
            raise AuthenticationError("the padding of the command is wrong") from None

    def answer(self, response: Response) -> Response:
        """The answer as the card meant it. Raises AuthenticationError for a wrong R-MAC."""
        if self._host is None:
            raise AuthenticationError("the session is not open")
        return self._host.unwrap(response)
