"""An open SCP10 session, off-card end (GPCS F.3.2)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, final

from keywright.codec.ber import item
from keywright.errors import AuthenticationError, LinkError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.level import Level
from keywright.scp.scp10.keys import BLOCK, SessionKeys
from keywright.scp.scp10.messages import SCP10
from keywright.scp.scp10.messaging import (
    MAC_OBJECT,
    MAC_OBJECT_BYTES,
    Broken,
    command_mac,
    encrypt,
    le_object,
    open_response,
    protected_class,
)
from keywright.scp.scp10.profile import Profile

_SHORT_LC: Final = 255
_MAX_DATA: Final = {0: 255, Level.C_MAC: 239, Level.C_DEC: 247, Level.C_MAC | Level.C_DEC: 231}
"""Plain bytes that leave room for the objects, that of Le included, by protection of commands."""


@final
class HostChannel:
    """An open secure channel seen from the host. `secure` is the layer to put under a dialogue."""

    __slots__ = ("_keys", "_profile", "channel", "i", "is_open", "level")

    def __init__(self, keys: SessionKeys, i: int, level: int, channel: int, profile: Profile) -> None:
        self._keys = keys
        self._profile = profile
        self.i = i
        self.level = level
        self.channel = channel
        self.is_open = True

    @property
    def scp(self) -> int:
        """16: the protocol's number is hexadecimal 10."""
        return SCP10

    @property
    def kvn(self) -> int:
        """0: the session runs on keys of its own."""
        return 0

    @property
    def sensitive_block(self) -> int:
        """8."""
        return BLOCK

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks under the session's DEK (GPCS F.3.2). Raises ValueError for a rest, PolicyError without it."""
        if self._keys.dek is None:
            raise PolicyError("this session has no data encryption key", hint="ask for one when the session is opened")
        return self._keys.dek.encrypt(data)

    @property
    def max_data(self) -> int:
        """Plain bytes that fit one short command at this level."""
        return _MAX_DATA[self.level & (Level.C_MAC | Level.C_DEC)]

    def close(self) -> None:
        """Forget the session; every later use raises SequenceError. The card's end lives until a new initiation."""
        self.is_open = False

    def wrap(self, command: Command) -> Command:
        """Protect one command (GPCS F.3.2). Raises SequenceError when closed, ValueError when too long."""
        if not self.is_open:
            raise SequenceError("this secure channel is closed", hint="open a new session")
        answered = bool(self.level & Level.R_MAC)
        le = 0 if command.le is not None or answered else None
        objects = self._objects(command, answered=answered and self._profile.le_object_for_r_mac)
        cla, ins, p1, p2, extended = command.cla, command.ins, command.p1, command.p2, command.extended
        has_mac = bool(self.level & Level.C_MAC)
        if not has_mac and not objects:
            return Command(cla, ins, p1, p2, command.data, le if command.le is None else command.le, extended)
        size = len(objects) + (MAC_OBJECT_BYTES if has_mac else 0)
        if size > _SHORT_LC and not extended:
            raise ValueError(f"{len(command.data)} bytes do not fit one command; at this level {self.max_data} do")
        if has_mac:
            objects += MAC_OBJECT + command_mac(self._keys.c_mac, command, objects, self._profile)
        return Command(protected_class(cla, mac=has_mac), ins, p1, p2, objects, le, extended)

    def _objects(self, command: Command, *, answered: bool) -> bytes:
        """The data objects before the MAC; none when the level leaves the command as it is."""
        level, data = self.level, command.data
        mac, enc = level & Level.C_MAC, level & Level.C_DEC
        if not mac and not (enc and data):
            return b""
        le = le_object(command, answered=answered)
        value = encrypt(self._keys.c_enc, data) if enc and data else data
        objects = item((0x87 if mac else 0x86) if enc else 0x81, value) if data else b""
        return objects if le is None else objects + item(0x97 if mac else 0x96, le)

    def unwrap(self, response: Response) -> Response:
        """Check and open one answer (GPCS F.3.2). Raises AuthenticationError, after which it is closed."""
        try:
            return open_response(self._keys, self.level, response, bare_counts=self._profile.bare_answers_count)
        except Broken:
            self.close()
            raise AuthenticationError(
                "answer refused: its protection is missing or wrong; the session is closed"
            ) from None

    def secure(self, command: Command) -> Generator[Command, Response, Response]:
        """Layer for `through`: one command under this channel. A lost answer closes it: the counters may differ."""
        try:
            response = yield self.wrap(command)
        except LinkError:
            self.close()
            raise
        return self.unwrap(response)
