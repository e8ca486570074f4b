"""Secure messaging of SCP02, host end: C-MAC, C-DEC and the R-MAC chain (GPCS E.3, E.4)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, final

import msgspec

from keywright.crypto.compare import equal
from keywright.crypto.des import TripleDesKey
from keywright.errors import AuthenticationError, LinkError, PolicyError, SequenceError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp, secured, with_channel
from keywright.iso7816.status import SW, check
from keywright.scp.level import Level
from keywright.scp.padding import pad80
from keywright.scp.scp02.keys import (
    BLOCK,
    NO_IV,
    R_MAC,
    KeySet,
    SessionKeys,
    command_mac,
    derive,
    mac_of_aid,
    next_icv,
    response_mac,
)
from keywright.scp.scp02.messages import (
    BEGIN_P2,
    BEGIN_R_MAC_SESSION,
    COLLECT,
    END_R_MAC_SESSION,
    END_SESSION,
    EVERY_RESPONSE,
    GO_ON,
    MAC_BYTES,
    MAX_R_MAC_DATA,
    SCP02,
    BeginRMacSession,
    I,
    may_have_data,
)
from keywright.scp.scp02.profile import Profile

_SHORT_LC = 255

CounterOfRMac = Literal["current", "session"]


class _Chain(msgspec.Struct):
    """One possible R-MAC chain: two until the first R-MAC tells which counter the card's key is made of."""

    key: TripleDesKey
    mac: bytes
    counter: CounterOfRMac


class Start(msgspec.Struct, frozen=True):
    """What a host session begins with, explicit or implicit. `icv`: of its first C-MAC."""

    keys: KeySet
    session: SessionKeys
    i: int
    counter: int
    icv: bytes
    aid: bytes
    kvn: int
    channel: int
    profile: Profile


@final
class HostChannel:
    """An SCP02 session seen from the host. `secure` is the layer to put under a dialogue.

    `r_mac_counter` says, once an R-MAC after BEGIN R-MAC SESSION was checked, which counter the card's key was made
    of; pass it on in the profile of this card's next session.
    """

    __slots__ = (
        "_chains",
        "_command",
        "_icv",
        "_r_icv",
        "_session",
        "_start",
        "is_open",
        "level",
        "r_mac_counter",
    )

    def __init__(self, start: Start, level: int) -> None:
        self._start = start
        self._session = start.session
        self._icv = start.icv
        self._r_icv = b"" if start.i & I.EXPLICIT else mac_of_aid(start.session.rmac, start.aid)
        self._chains: list[_Chain] = []
        self._command: Command | None = None
        self.level = level
        self.is_open = True
        self.r_mac_counter: CounterOfRMac | None = None

    @property
    def scp(self) -> int:
        """2."""
        return SCP02

    @property
    def i(self) -> int:
        """The "i" parameter the session was opened with."""
        return self._start.i

    @property
    def kvn(self) -> int:
        """Key version number; 0 where an implicit session was told none."""
        return self._start.kvn

    @property
    def channel(self) -> int:
        """Logical channel."""
        return self._start.channel

    @property
    def keys(self) -> KeySet:
        """The static keys."""
        return self._start.keys

    @property
    def sensitive_block(self) -> int:
        """8."""
        return BLOCK

    def encrypt_sensitive(self, data: bytes) -> bytes:
        """Whole blocks under the session DEK: ECB, or CBC with ICV 0 when implicit (GPCS E.4.7)."""
        dek = self._session.dek
        return dek.encrypt_blocks(data) if self.i & I.EXPLICIT else dek.encrypt_cbc(NO_IV, data)

    @property
    def max_data(self) -> int:
        """Plain bytes that fit one short command at this level."""
        if not self.level & Level.C_MAC:
            return _SHORT_LC
        room = _SHORT_LC - MAC_BYTES
        return room - room % BLOCK - 1 if self.level & Level.C_DEC else room

    def close(self) -> None:
        """Forget the session; every later use raises SequenceError."""
        self.is_open = False

    def authenticate(self, command: Command) -> Command:
        """EXTERNAL AUTHENTICATE with its C-MAC, the first of the session. Its own answer carries no R-MAC."""
        mac = self._mac(command)
        self._r_icv = mac
        if self.level & Level.R_MAC:
            self._chains = [_Chain(self._session.rmac, mac, "session")]
        return Command(secured(command.cla), command.ins, command.p1, command.p2, command.data + mac)

    def wrap(self, command: Command) -> Command:
        """Protect one command (GPCS E.4.4, E.4.6). Raises SequenceError when closed, ValueError when too long.

        The C-MAC covers plain data; they are encrypted afterwards. A command without Le gets one where its answer
        will have an R-MAC.
        """
        if not self.is_open:
            raise SequenceError("this secure channel is closed", hint="open a new session")
        level, data = self.level, command.data
        if not command.extended and len(data) > self.max_data:
            raise ValueError(f"{len(data)} bytes do not fit one command; at this level {self.max_data} do")
        self._command = command
        cla, le = command.cla, command.le
        if level & Level.R_MAC and le is None:
            le = 0
        if level & Level.C_MAC:
            mac = self._mac(command)
            if data and level & Level.C_DEC:
                data = self._session.enc.encrypt_cbc(NO_IV, pad80(data, BLOCK))
            cla, data = secured(cla), data + mac
        return Command(cla, command.ins, command.p1, command.p2, data, le, command.extended)

    def _mac(self, command: Command) -> bytes:
        key, i = self._session.mac, self.i
        mac = command_mac(key, self._icv, i, command)
        self._icv = next_icv(key, i, mac)
        return mac

    def unwrap(self, response: Response) -> Response:
        """Check one answer (GPCS E.4.5). Raises AuthenticationError, after which the session is closed."""
        command, self._command = self._command, None
        if command is None:
            raise SequenceError("an answer without a command")
        ok, ins = response.sw == SW.OK, command.ins if is_gp(command.cla) else 0
        if self._chains:
            if ok and ins == END_R_MAC_SESSION:
                return self._ended(command, response)
            return self._checked(command, response)
        if ok and ins == BEGIN_R_MAC_SESSION:
            self._begun(command, response)
        return response

    def _begun(self, command: Command, response: Response) -> None:
        """Both chains that the card may have begun; BEGIN is covered, its own answer carries nothing."""
        start = self._start
        candidates: list[tuple[TripleDesKey, CounterOfRMac]] = [(self._session.rmac, "session")]
        if start.i & I.EXPLICIT:
            later = min(start.counter + 1, start.profile.max_counter)
            candidates.append((derive(start.keys.mac, R_MAC, later, "S-RMAC"), "current"))
        self._chains = [
            _Chain(key, response_mac(key, self._r_icv, command, response), counter) for key, counter in candidates
        ]
        if command.p1 == EVERY_RESPONSE:
            self.level |= Level.R_MAC

    def _ended(self, command: Command, response: Response) -> Response:
        self._keep(response.data)
        if command.p2 == END_SESSION:
            self._chains = []
            self.level &= ~Level.R_MAC
        return response

    def _checked(self, command: Command, response: Response) -> Response:
        sw, data, mac = response.sw, response.data, b""
        error = not may_have_data(sw)
        bare = error and not data and not self._start.profile.r_mac_on_errors
        due = bool(self.level & Level.R_MAC) and not bare
        if due:
            data, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
        if error and data:
            self._refuse()
        plain = Response(data, sw)
        for chain in self._chains:
            chain.mac = response_mac(chain.key, chain.mac, command, plain)
        if due:
            self._keep(mac)
        return plain

    def _keep(self, mac: bytes) -> None:
        """Only the chains that gave this R-MAC go on."""
        left = [chain for chain in self._chains if equal(chain.mac, mac)]
        if not left:
            self._refuse()
        self._chains = left
        if len(left) == 1:
            self.r_mac_counter = left[0].counter

    def _refuse(self) -> None:
        self.close()
        raise AuthenticationError("answer refused: its R-MAC is missing or wrong; the session is closed")

    def secure(self, command: Command) -> Generator[Command, Response, Response]:
        """Layer for `through`: one command under this channel. A lost answer closes it: the chains may differ."""
        try:
            response = yield self.wrap(command)
        except LinkError:
            self.close()
            raise
        return self.unwrap(response)

    def begin_r_mac(self, data: bytes = b"", *, every: bool = True) -> Generator[Command, Response, None]:
        """BEGIN R-MAC SESSION (GPCS E.5.3): from the next answer on with an R-MAC, or only END returns it.

        `data`: at most 24 bytes that the chain covers first. Raises PolicyError when "i" has no R-MAC, SequenceError
        when an R-MAC session runs, StatusError when the card refuses.
        """
        if not self.i & I.R_MAC:
            raise PolicyError(f"SCP02 i={self.i:02X} has no R-MAC")
        if self._chains:
            raise SequenceError("an R-MAC session runs already", hint="end it first")
        if len(data) > MAX_R_MAC_DATA:
            raise ValueError(f"BEGIN R-MAC SESSION takes at most {MAX_R_MAC_DATA} bytes")
        cla, p1 = with_channel(0x80, self.channel), EVERY_RESPONSE if every else COLLECT
        response = yield from self.secure(
            Command(cla, BEGIN_R_MAC_SESSION, p1, BEGIN_P2, BeginRMacSession(data).build())
        )
        check(response, "BEGIN R-MAC SESSION")

    def end_r_mac(self, *, go_on: bool = False) -> Generator[Command, Response, bytes]:
        """END R-MAC SESSION (GPCS E.5.4): the R-MAC over everything since it began, checked, 8 bytes.

        `go_on`: the R-MAC session stays. Raises AuthenticationError when it is not the one expected, SequenceError
        when none runs, StatusError when the card refuses.
        """
        if not self._chains:
            raise SequenceError("no R-MAC session runs")
        cla, p2 = with_channel(0x80, self.channel), GO_ON if go_on else END_SESSION
        response = yield from self.secure(Command(cla, END_R_MAC_SESSION, 0, p2, le=0))
        check(response, "END R-MAC SESSION")
        return response.data
