"""Which commands carry keys, and how they look in a trace: with everything after their length masked.

Encrypted key blocks are masked too: what protects them is often a test key, and traces travel. A `Redactor` follows
one card's exchange and sees more than one command by itself can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from keywright.errors import DecodeError
from keywright.globalplatform.messages import Ins, StoreData
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import channel_of, is_chained, is_secured, is_valid
from keywright.scp.level import Level

MASKED: Final = "data masked"
"""Note of a trace event whose data are not what travelled."""

_SECRET_INS: Final = frozenset({Ins.PUT_KEY, 0x20, 0x21, 0x24, 0x2C})
"""PUT KEY; VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER (ISO 7816-4 11.6), whose data are PINs."""
_ENVELOPE: Final = 0xC2
_NO_PACKET: Final = (b"\xd3", b"\xd4", b"\xd6", b"\xd7")
"""What an ENVELOPE holds that brings no packet: menu selection, call control, event, timer (ETSI TS 101 220 7.2)."""
_HEADER: Final = 5
_ENCRYPTED: Final = 0x60
"""P1 bits of STORE DATA: the data, or some of it, is encrypted (GPCS table 11-89)."""
_KEY_GROUPS: Final = frozenset({0x00B9, 0x8010, 0x8113, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205})
"""Data groups that hold keys or PINs (GPCS 11.11, EMV CPS)."""


def is_secret(command: Command) -> bool:
    """Whether the data of a command may hold keys or PINs: PUT KEY, PIN commands, STORE DATA with key groups."""
    if command.ins in _SECRET_INS:
        return bool(command.data)
    if command.ins != Ins.STORE_DATA:
        return False
    if command.p1 & _ENCRYPTED:
        return True
    return not _KEY_GROUPS.isdisjoint(_groups(command.data))


def masked(raw: bytes) -> bytes:
    """A command APDU with zeros for the data it must not show; unchanged if there is nothing to hide.

    Bytes whose lengths do not fit are no command, but were meant as one: from such the data are hidden by INS alone.
    """
    try:
        command = Command.parse(raw)
    except DecodeError:
        return _blanked(raw) if raw[1:2] and raw[1] in {*_SECRET_INS, Ins.STORE_DATA} else raw
    return hidden(command).encode() if is_secret(command) else raw


def hidden(command: Command) -> Command:
    """The command with zeros for its data."""
    return Command(
        command.cla, command.ins, command.p1, command.p2, bytes(len(command.data)), command.le, command.extended
    )


def _blanked(raw: bytes) -> bytes:
    return raw[:_HEADER] + bytes(len(raw[_HEADER:]))


@final
class Redactor:
    """Masks the commands of one card, in their order.

    Besides what `masked` sees: the blocks of STORE DATA that go on a key group, the parts of a chained command,
    STORE DATA of which secure messaging has encrypted what it holds, and ENVELOPE, whose over-the-air packet, or whose
    part of a long command under T=0, may be PUT KEY.
    """

    def __init__(self) -> None:
        self._opaque: dict[int, bool] = {}
        self._stored: set[int] = set()
        self._chained: dict[int, bool] = {}

    def reset(self) -> None:
        """The card was reset: sessions and chains are gone."""
        self._opaque.clear()
        self._stored.clear()
        self._chained.clear()

    def masked(self, raw: bytes) -> bytes:
        """The command as a recording may show it."""
        try:
            command = Command.parse(raw)
        except DecodeError:
            return _blanked(raw) if raw[1:2] == bytes((_ENVELOPE,)) else masked(raw)
        if not is_valid(command.cla):
            return masked(raw)
        channel = channel_of(command.cla)
        secret = self._is_secret(command, channel)
        self._follow(command, channel, secret=secret)
        return hidden(command).encode() if secret and command.data else raw

    def _is_secret(self, command: Command, channel: int) -> bool:
        if is_secret(command) or self._chained.get(channel, False):
            return True
        if command.ins == _ENVELOPE:
            return command.data[:1] not in _NO_PACKET
        if command.ins != Ins.STORE_DATA:
            return False
        return channel in self._stored or (is_secured(command.cla) and self._opaque.get(channel, True))

    def _follow(self, command: Command, channel: int, *, secret: bool) -> None:
        self._chained.pop(channel, None)
        if is_chained(command.cla):
            self._chained[channel] = secret
        if command.ins == Ins.STORE_DATA and secret and not command.p1 & StoreData.LAST:
            self._stored.add(channel)
        elif not is_chained(command.cla):
            self._stored.discard(channel)
        if command.ins == Ins.EXTERNAL_AUTHENTICATE and is_secured(command.cla):
            self._opaque[channel] = bool(command.p1 & Level.C_DEC)
        elif command.ins in (Ins.SELECT, Ins.INITIALIZE_UPDATE, Ins.EXTERNAL_AUTHENTICATE):
            self._opaque.pop(channel, None)


def _groups(data: bytes) -> Iterator[int]:
    """Identifiers of the data groups as far as the data goes: a block may be cut in the middle of one."""
    at = 0
    while at + 3 <= len(data):
        yield int.from_bytes(data[at : at + 2])
        header = 5 if data[at + 2] == 0xFF else 3
        at += header + (int.from_bytes(data[at + 3 : at + 5]) if header == 5 else data[at + 2])
