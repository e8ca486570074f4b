"""Secure messaging of SCP03, one class for each end (Amd D 6.2); SCP11 runs on the same two.

A session begins with its keys, a chaining value and a level, whoever agreed on them: in SCP03 the chaining value is
zero, in SCP11 it is the receipt.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, LinkError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import GP, is_secured, plain, secured, with_channel
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW, check
from keywright.scp.level import LEVELS, Level
from keywright.scp.padding import pad80, unpad80
from keywright.scp.scp03.keys import HostKeys, SessionKeys
from keywright.scp.scp03.messages import (
    ANSWERED,
    BEGIN_R_MAC_SESSION,
    END_R_MAC_SESSION,
    END_SESSION,
    FIRST_AND_ONLY,
    NO_IV,
)

SHORT_LC: Final = 255
"""Most data bytes of a short command."""


def _covered(command: Command, length: int) -> bytes:
    """Header and Lc as a C-MAC covers them: of channel 0, with secure messaging, and with the data's final length."""
    cla, ins, p1, p2 = 0x84 if command.cla & GP else 0x04, command.ins, command.p1, command.p2
    if command.extended:
        return bytes((cla, ins, p1, p2, 0, length >> 8, length & 0xFF))
    return bytes((cla, ins, p1, p2, length))


def room_for_data(level: int, mac_length: int) -> int:
    """Plain bytes that fit one short command at a security level."""
    if not level & Level.C_MAC:
        return SHORT_LC
    room = SHORT_LC - mac_length
    return room - room % 16 - 1 if level & Level.C_DEC else room


class HostMessaging:
    """The host end of an open session: wraps commands, opens answers. `secure` is the layer to put under a dialogue.

    `mac_length`: 8 (S8) or 16 (S16). `pads_empty`: send an empty data field under C-DEC as one encrypted block of
    padding, as yubikit does, and not as nothing (Amd D 6.2.6); cards take both or one of them.
    """

    __slots__ = (
        "_chaining",
        "_counter",
        "_is_asked",
        "_keys",
        "_mac_length",
        "_pads_empty",
        "channel",
        "is_open",
        "level",
    )

    def __init__(
        self,
        keys: HostKeys,
        mac_length: int,
        level: int,
        channel: int,
        chaining: bytes = NO_IV,
        *,
        pads_empty: bool = False,
    ) -> None:
        self._keys = keys
        self._mac_length = mac_length
        self._chaining = chaining
        self._counter = 0
        self._pads_empty = pads_empty
        self._is_asked = False
        self.channel = channel
        self.level = level
        self.is_open = True

    @property
    def max_data(self) -> int:
        """Plain bytes that fit one short command at this level."""
        return room_for_data(self.level, self._mac_length)

    def close(self) -> None:
        """Forget the session; every later use raises SequenceError."""
        self.is_open = False

    def expect(self) -> None:
        """Take the next answer as one to a command that went in the clear, before these keys were known."""
        self._is_asked = True

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
        if level & Level.C_DEC and (data or self._pads_empty):
            # The ICV is the encrypted counter: CBC over counter and data from zero gives it as its first block.
            data = self._keys.enc.encrypt_cbc(NO_IV, self._counter.to_bytes(16) + pad80(data))[16:]
        return self._with_mac(command, data)

    def _with_mac(self, command: Command, data: bytes) -> Command:
        length = self._mac_length
        self._is_asked = True
        self._chaining = mac = self._keys.mac.cmac(self._chaining + _covered(command, len(data) + length) + data)
        cla, extended = secured(command.cla), command.extended
        return Command(cla, command.ins, command.p1, command.p2, data + mac[:length], command.le, extended)

    def unwrap(self, response: Response) -> Response:
        """Check and open one answer (Amd D 6.2.5, 6.2.7). Raises AuthenticationError, after which it is closed.

        Raises SequenceError for a second answer to one command: its R-MAC would be as right as that of the first.
        """
        sw = response.sw
        if not self.level & Level.R_MAC:
            return response
        if not self._is_asked:
            raise SequenceError("an answer without a command")
        self._is_asked = False
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

    def begin_r_mac(self, *, encrypted: bool = False) -> Generator[Command, Response, None]:
        """BEGIN R-MAC SESSION (Amd D 7.1.3): R-MAC, or R-MAC and R-ENC, from the next command on.

        Raises SequenceError when answers are protected already or commands are not protected as they must be first,
        StatusError when the card refuses (6985); the session goes on as it was.
        """
        added = Level.R_MAC | Level.R_ENC if encrypted else Level.R_MAC
        if self.level & Level.R_MAC or self.level | added not in LEVELS:
            raise SequenceError(
                f"no R-MAC session can begin at security level {self.level:02X}", hint="open the session at 01 or 03"
            )
        cla = with_channel(0x80, self.channel)
        check((yield from self.secure(Command(cla, BEGIN_R_MAC_SESSION, added, FIRST_AND_ONLY))), "BEGIN R-MAC SESSION")
        self.level |= added

    def end_r_mac(self, *, covered: bool = True) -> Generator[Command, Response, None]:
        """END R-MAC SESSION (Amd D 7.1.4): its own answer is the last protected one, or the first bare (`Profile`).

        Raises SequenceError when answers are not protected, StatusError when the card refuses.
        """
        if not self.level & Level.R_MAC:
            raise SequenceError("no R-MAC session runs")
        command = Command(with_channel(0x80, self.channel), END_R_MAC_SESSION, 0, END_SESSION, le=0)
        after = self.level & (Level.C_MAC | Level.C_DEC)
        answer = yield self.wrap(command)
        if not covered:
            self.level = after
        check(self.unwrap(answer), "END R-MAC SESSION")
        self.level = after


class CardMessaging:
    """The card end: opens commands, protects answers, changes the level where R-MAC sessions are on offer.

    `level` None: the host has not authenticated. `levels`: those that R-MAC sessions may change to. `covered_end`:
    whether END R-MAC SESSION answers protected still. After a `Refusal` from `unwrap` the caller must drop the session.
    """

    __slots__ = ("_chaining", "_counter", "_keys", "_levels", "_mac_length", "_next_level", "covered_end", "level")

    def __init__(
        self,
        keys: SessionKeys,
        mac_length: int,
        level: int | None,
        levels: tuple[int, ...],
        chaining: bytes = NO_IV,
    ) -> None:
        self.covered_end = True
        self._keys = keys
        self._mac_length = mac_length
        self._levels = levels
        self._next_level: int | None = None
        self._chaining = chaining
        self._counter = 0
        self.level = level

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
        length, whole = self._mac_length, command.data
        data = whole[:-length]
        expected = self._keys.mac.cmac(self._chaining + _covered(command, len(whole)) + data)
        if not equal(whole[-length:], expected[:length]):
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
        if level & Level.R_MAC or level | p1 not in self._levels:
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
        if not self.covered_end:
            self.level = self._next_level
        return b""
