"""An open SCP10 session, card end (GPCS F.3.2)."""

from __future__ import annotations

from typing import Final, NoReturn, final

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import plain
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level
from keywright.scp.scp10.keys import BLOCK, SessionKeys
from keywright.scp.scp10.messages import SCP10, ProtectedCommand
from keywright.scp.scp10.messaging import (
    Broken,
    check_command_mac,
    contradicts,
    decrypt,
    is_protected,
    protect_response,
    read_command,
)
from keywright.scp.scp10.profile import Profile

_COMMANDS: Final = Level.C_MAC | Level.C_DEC


@final
class CardChannel:
    """A session as EXTERNAL or INTERNAL AUTHENTICATE opened it. After a refusal of `unwrap` the caller drops it.

    `level` is the current security level: that of the session, and for a command that came with more protection than
    it asks for, that of the command (GPCS 10.4.2).
    """

    __slots__ = ("_keys", "_profile", "_required", "authentication", "i", "level")

    def __init__(self, keys: SessionKeys, i: int, level: int, authentication: int, profile: Profile) -> None:
        self._keys = keys
        self._profile = profile
        self._required = level
        self.i = i
        self.level: int | None = level
        self.authentication = authentication
        """`Level.AUTHENTICATED` for the application's own provider, else `Level.ANY_AUTHENTICATED` (GPCS 10.4.2)."""

    @property
    def scp(self) -> int:
        """16: the protocol's number is hexadecimal 10."""
        return SCP10

    @property
    def sensitive_block(self) -> int:
        """8."""
        return BLOCK

    def unwrap(self, command: Command) -> Command:
        """Check and open one command; more protection than the level asks for is taken if there are keys for it.

        Refuses with 6982 for less, and for whatever does not verify or open, after which the caller drops the session.
        """
        try:
            opened, present = self._open(command)
        except Broken:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED) from None
        # There is nothing to encrypt in a command without data (F.3.2).
        satisfied = present if opened.data else present | Level.C_DEC
        if self._required & _COMMANDS & ~satisfied:
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        self.level = self._required | present
        return opened

    def _open(self, command: Command) -> tuple[Command, int]:
        """The plain command and the protection that it came with."""
        if not is_protected(command.cla):
            return command, 0
        objects = read_command(command)
        if contradicts(command.cla, mac=objects.mac is not None):
            raise Broken
        if objects.mac is not None:
            check_command_mac(self._keys, command, self._profile)
        data, encrypted = self._data(objects)
        value = objects.le if objects.le is not None else objects.bare_le
        le = None if value is None else _le(value)
        opened = Command(plain(command.cla), command.ins, command.p1, command.p2, data, le, command.extended)
        return opened, (Level.C_MAC if objects.mac is not None else 0) | (Level.C_DEC if encrypted else 0)

    def _data(self, objects: ProtectedCommand) -> tuple[bytes, bool]:
        cryptogram = objects.cryptogram if objects.cryptogram is not None else objects.bare_cryptogram
        if cryptogram is None:
            return objects.plain or b"", False
        return decrypt(self._keys.c_enc, cryptogram), True

    def wrap(self, response: Response) -> Response:
        """Protect one answer: only 9000, 62xx and 63xx are; every other status goes bare (GPCS F.3.2)."""
        return protect_response(self._keys, self._required, response, bare_counts=self._profile.bare_answers_count)

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Open whole blocks under the data encryption key (GPCS F.3.2).

        Refuses with 6A80 for a rest, 6985 when the session has no such key.
        """
        if self._keys.dek is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        if len(data) % BLOCK:
            raise Refusal(SW.INCORRECT_DATA)
        return self._keys.dek.decrypt(data)

    def begin_r_mac(self, p1: int, data: bytes) -> NoReturn:
        """Refuses with 6D00: the level of SCP10 is that of its initiation, and no command changes it."""
        del p1, data
        raise Refusal(SW.INS_NOT_SUPPORTED)

    def end_r_mac(self, p2: int) -> NoReturn:
        """Refuses with 6D00, see `begin_r_mac`."""
        del p2
        raise Refusal(SW.INS_NOT_SUPPORTED)


def _le(value: bytes) -> int:
    if len(value) not in (1, 2):
        raise Broken
    return int.from_bytes(value)
