"""Secure messaging of a recorded exchange taken off, by whoever has the keys; nothing is sent.

Static keys find their session in INITIALIZE UPDATE: the card cryptogram says whether they are the ones. SCP11 needs its
session keys, which find it by its receipt or by the first C-MAC that fits, or the host's private keys. An implicit
session of SCP02 is found by its first C-MAC, where the recording shows the AID and the sequence counter before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeAlias, TypeVar, final

import msgspec

from keywright.codec.tlv import items
from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError
from keywright.globalplatform.messages import Ins, Tag
from keywright.globalplatform.recorded_agreement import RecordedAgreement
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, is_secured
from keywright.iso7816.channels import plain as plain_class
from keywright.iso7816.status import SW
from keywright.scp import scp02
from keywright.scp.level import Level
from keywright.scp.scp02 import observer as observer02
from keywright.scp.scp02.host import implicit_start
from keywright.scp.scp02.host import verify_card as verify_card02
from keywright.scp.scp02.messages import SCP02, InitializeUpdateResponse
from keywright.scp.scp02.messaging import Start
from keywright.scp.scp02.profile import HOST
from keywright.scp.scp03.host import verify_card
from keywright.scp.scp03.keys import KeySet, SessionKeys
from keywright.scp.scp03.messages import NO_IV, SCP03, InitializeUpdateResponse8, InitializeUpdateResponse16
from keywright.scp.scp03.observer import Observer

MUTUAL_AUTHENTICATE: Final = 0x82
INTERNAL_AUTHENTICATE: Final = 0x88
_CONTROL: Final = 0xA6
_USAGE: Final = 0x95
_RECEIPT: Final = 0x86
_SCP_AT: Final = 11
_AID: Final = 0x84
_GP_CLASS: Final = 0x80
_COUNTER_BYTES: Final = 2
_LEVELS: Final = {
    0x34: Level.C_MAC | Level.R_MAC,
    0x3C: Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC,
    0x1C: Level.C_MAC | Level.C_DEC,
    0x74: Level.C_MAC | Level.C_DEC | Level.R_MAC,
}
"""Key usage of SCP11's command, and the level it stands for (Amd F)."""

AnyKeySet: TypeAlias = KeySet | scp02.KeySet
Told = TypeVar("Told")


class Session(Protocol):
    """One session seen from outside, whatever its protocol."""

    @property
    def level(self) -> int | None:
        """Protection of commands and answers; None before it is open."""
        ...

    def authenticate(self, command: Command, /) -> bytes:
        """Take EXTERNAL AUTHENTICATE. Raises AuthenticationError."""
        ...

    def command(self, command: Command, /) -> Command:
        """Open a command. Raises AuthenticationError."""
        ...

    def answer(self, response: Response, /) -> Response:
        """Open an answer. Raises AuthenticationError."""
        ...


class Candidate(msgspec.Struct, frozen=True):
    """Static keys that may have opened a session. kvn: their version number, 0 for any.

    `keys`: the set of the card with these diversification data (KDD, 10 bytes), or the set itself.
    """

    keys: AnyKeySet | Callable[[bytes], AnyKeySet]
    kvn: int = 0

    def of(self, kdd: bytes) -> AnyKeySet:
        """The key set for a card."""
        return self.keys if isinstance(self.keys, KeySet | scp02.KeySet) else self.keys(kdd)


class GivenSession(msgspec.Struct, frozen=True):
    """Session keys that somebody kept. receipt: of SCP11, 16 bytes, empty if it is not known which session it was."""

    keys: SessionKeys
    receipt: bytes = b""


class Unwrapped(msgspec.Struct, frozen=True):
    """A protected exchange opened: command and answer as they were meant, and how that is known or why not.

    command None: it could not be opened. response None: there was none, or it could not be opened.
    """

    command: Command | None
    response: Response | None
    note: str = ""
    is_bad: bool = False


class _Open(msgspec.Struct):
    """What is known of a logical channel: the session, or those that it may turn out to be."""

    name: str
    sessions: list[Session]
    is_open: bool = False


class _Seen(msgspec.Struct):
    """What a channel told that goes into an implicit session: the AID that is selected, counter and KDD."""

    aid: bytes = b""
    counter: int | None = None
    kdd: bytes = b""

    def see(self, command: Command, response: Response | None) -> None:
        """Take one exchange without protection."""
        if response is None or response.sw != SW.OK:
            return
        number = command.p1 << 8 | command.p2
        if command.ins == Ins.SELECT:
            self.aid = _found(response.data, Tag.FCI, _AID) or command.data
        elif command.ins == Ins.GET_DATA and number in (Tag.SEQUENCE_COUNTER, Tag.KDD):
            value = _found(response.data, number) if command.cla & _GP_CLASS else response.data
            if number == Tag.KDD:
                self.kdd = value
            elif len(value) == _COUNTER_BYTES:
                self.counter = int.from_bytes(value)

    def starts(self, candidates: Iterable[Candidate]) -> Iterator[Start]:
        """What the next implicit session may begin with."""
        if self.counter is None or self.counter >= HOST.max_counter:
            return
        for candidate in candidates:
            keys = candidate.of(self.kdd)
            if isinstance(keys, scp02.KeySet):
                yield from (implicit_start(keys, self.counter, i, self.aid) for i in observer02.IMPLICIT)


def _is_begun(start: Start, command: Command) -> bool:
    try:
        observer02.Observer(start, Level.C_MAC).command(command)
    except AuthenticationError:
        return False
    return True


def _found(data: bytes, *path: int) -> bytes:
    """The value behind tags, each in the value of the one before; empty if it is not there."""
    try:
        for number in path:
            data = dict(items(data)).get(number, b"")
    except DecodeError:
        return b""
    return data


@final
class Unwrapper:
    """Takes the whole exchanges of one card in their order (see `iso7816.assembly`) and opens what it can."""

    def __init__(
        self,
        candidates: Sequence[Candidate] = (),
        given: Sequence[GivenSession] = (),
        agreement: RecordedAgreement | None = None,
    ) -> None:
        self._candidates = candidates
        self._given = given
        self._agreement = agreement
        self._channels: dict[int, _Open] = {}
        self._seen: dict[int, _Seen] = {}

    def reset(self) -> None:
        """The card was reset: every session is gone."""
        self._channels.clear()
        self._seen.clear()

    def exchange(self, command: Command, response: Response | None, *, is_masked: bool = False) -> Unwrapped | None:
        """What a protected exchange was meant to say; None for one that carries no protection we can take off.

        is_masked: the recording does not show the data of the command. An exchange that opens a session is not
        protected: its `Unwrapped` has no command, only a note.
        """
        channel = channel_of(command.cla)
        if is_secured(command.cla):
            return self._passed_over(channel) if is_masked else self._protected(channel, command, response)
        if self._agreement is not None:
            self._agreement.see(command, response)
        self._seen.setdefault(channel, _Seen()).see(command, response)
        if command.ins == Ins.SELECT:
            self._channels.pop(channel, None)
        elif command.ins == Ins.INITIALIZE_UPDATE:
            return self._initialized(channel, command, response)
        elif command.ins in (MUTUAL_AUTHENTICATE, INTERNAL_AUTHENTICATE):
            return self._agreed(channel, command, response)
        elif self._is_answer_only(channel):
            return self._opened(channel, self._channels[channel], command, response)
        return None

    def _passed_over(self, channel: int) -> Unwrapped | None:
        """A masked command: SCP03 and SCP11 can be read on without their MACs, SCP02 cannot."""
        state = self._channels.get(channel)
        if state is None:
            return None
        kept: list[Session] = [session for session in state.sessions if isinstance(session, Observer)]
        for session in kept:
            if isinstance(session, Observer):
                session.pass_over()
        state.sessions = kept
        if not kept:
            del self._channels[channel]
        return Unwrapped(None, None, f"{state.name}: masked in the recording")

    def _is_answer_only(self, channel: int) -> bool:
        """Whether this session protects answers and not commands (SCP02, level 10)."""
        state = self._channels.get(channel)
        level = (state.sessions[0].level or 0) if state is not None and state.is_open else 0
        return bool(level & Level.R_MAC) and not level & Level.C_MAC

    def _protected(self, channel: int, command: Command, response: Response | None) -> Unwrapped | None:
        state = self._channels.get(channel)
        if command.ins == Ins.SELECT:
            self._channels.pop(channel, None)
        if state is None and command.ins != Ins.EXTERNAL_AUTHENTICATE:
            state = self._implicit(channel, command)
        if state is None:
            return Unwrapped(None, None, "no key was given for this session")
        if command.ins == Ins.EXTERNAL_AUTHENTICATE and not state.is_open:
            return self._authenticated(channel, state, command, response)
        return self._opened(channel, state, command, response)

    def _implicit(self, channel: int, command: Command) -> _Open | None:
        """An implicit session of SCP02 that this command opens: its C-MAC is the proof."""
        seen = self._seen.get(channel, _Seen())
        if seen.counter is None or not seen.aid:
            return None
        found = [start for start in seen.starts(self._candidates) if _is_begun(start, command)]
        if not found:
            return None
        seen.counter += 1
        sessions: list[Session] = [observer02.Observer(start, Level.C_MAC) for start in found]
        self._channels[channel] = _Open("implicit SCP02", sessions, is_open=True)
        return self._channels[channel]

    def _initialized(self, channel: int, command: Command, response: Response | None) -> Unwrapped | None:
        self._channels.pop(channel, None)
        if response is None or response.sw != SW.OK:
            return None
        state = self._begun(command, response)
        if state is None:
            return Unwrapped(None, None, "none of the keys given is this card's")
        self._channels[channel] = state
        return Unwrapped(None, None, f"the keys given open it: {state.name}")

    def _begun(self, command: Command, response: Response) -> _Open | None:
        """The session of INITIALIZE UPDATE with the keys that the card cryptogram proves."""
        scp = response.data[_SCP_AT] if len(response.data) > _SCP_AT else 0
        name = ""
        found: list[Session] = []
        if scp == SCP03:
            name, found = _scp03(command, response, self._candidates)
            found += [Observer(given.keys, len(command.data)) for given in self._given if not given.receipt]
        elif scp == SCP02:
            name, found = _scp02(command, response, self._candidates)
        return _Open(name or "session keys", found) if found else None

    def _authenticated(
        self, channel: int, state: _Open, command: Command, response: Response | None
    ) -> Unwrapped | None:
        fitting = list(_fitting(state.sessions, lambda session: session.authenticate(command)))
        if not fitting or response is None or response.sw != SW.OK:
            del self._channels[channel]
        if not fitting:
            return Unwrapped(None, None, f"{state.name}: the C-MAC does not fit", is_bad=True)
        for session, _ in fitting:
            if isinstance(session, Observer):
                session.opened(command.p1)
        state.sessions, state.is_open = [session for session, _ in fitting], True
        plain = msgspec.structs.replace(command, cla=plain_class(command.cla), data=fitting[0][1])
        return Unwrapped(plain, response, f"{state.name}, C-MAC right")

    def _agreed(self, channel: int, command: Command, response: Response | None) -> Unwrapped | None:
        """MUTUAL or INTERNAL AUTHENTICATE of SCP11: the receipt says which of the session keys given are its."""
        self._channels.pop(channel, None)
        level = _agreed_level(command)
        if level is None or response is None or response.sw != SW.OK:
            return None
        receipt = _receipt(response)
        derived = None if self._agreement is None else self._agreement.session(command, response)
        if derived is not None:
            self._channels[channel] = _scp11([GivenSession(derived)], level, receipt)
            return Unwrapped(None, None, "the private keys given open it: its receipt is right")
        if not self._given:
            return None if self._agreement is None else Unwrapped(None, None, "the private keys given do not open it")
        fitting = [given for given in self._given if given.receipt and equal(given.receipt, receipt)]
        fitting = fitting or [given for given in self._given if not given.receipt]
        if not fitting:
            return Unwrapped(None, None, "none of the session keys given is of this session")
        self._channels[channel] = _scp11(fitting, level, receipt)
        return Unwrapped(None, None, "session keys given; the first C-MAC will show whether they fit")

    def _opened(self, channel: int, state: _Open, command: Command, response: Response | None) -> Unwrapped:
        fitting = list(_fitting(state.sessions, lambda session: session.command(command)))
        if not fitting:
            self._channels.pop(channel, None)
            return Unwrapped(None, None, f"{state.name}: the C-MAC or padding of the command is wrong", is_bad=True)
        plain = fitting[0][1]
        state.sessions = [session for session, _ in fitting]
        note = f"{state.name}, level {state.sessions[0].level or 0:02X}{_doubt(state.sessions[0])}"
        if response is None:
            return Unwrapped(plain, None, note)
        answered = list(_fitting(state.sessions, lambda session: session.answer(response)))
        if not answered:
            self._channels.pop(channel, None)
            return Unwrapped(plain, None, f"{note}: the R-MAC or padding of the answer is wrong", is_bad=True)
        state.sessions = [session for session, _ in answered]
        return Unwrapped(plain, answered[0][1], note)


def _doubt(session: Session) -> str:
    is_verified = not isinstance(session, Observer) or session.is_verified
    return "" if is_verified else ", MACs not checked: a command before is masked"


def _fitting(sessions: Iterable[Session], told: Callable[[Session], Told]) -> Iterator[tuple[Session, Told]]:
    """The sessions that a message fits, and what it says to each: "i" and the length of MACs do not always travel."""
    for session in sessions:
        try:
            yield session, told(session)
        except AuthenticationError:
            continue


def _scp02(command: Command, response: Response, candidates: Iterable[Candidate]) -> tuple[str, list[Session]]:
    try:
        answer = InitializeUpdateResponse.parse(response.data)
    except DecodeError:
        return "", []
    for candidate in candidates:
        keys = candidate.of(answer.kdd) if candidate.kvn in (0, answer.kvn) else None
        if not isinstance(keys, scp02.KeySet):
            continue
        try:
            openings = [
                verify_card02(keys, command.data, answer, i=i, profile=HOST, allow_legacy=True)
                for i in observer02.OPTIONS
            ]
        except AuthenticationError:
            continue
        return f"SCP02 KVN {answer.kvn:02X}", [observer02.Observer(opening.start) for opening in openings]
    return "", []


def _scp03(command: Command, response: Response, candidates: Iterable[Candidate]) -> tuple[str, list[Session]]:
    kind = InitializeUpdateResponse16 if len(command.data) == 16 else InitializeUpdateResponse8
    try:
        answer = kind.parse(response.data)
    except DecodeError:
        return "", []
    for candidate in candidates:
        keys = candidate.of(answer.kdd) if candidate.kvn in (0, answer.kvn) else None
        if not isinstance(keys, KeySet):
            continue
        try:
            opening = verify_card(keys, command.data, answer)
        except AuthenticationError:
            continue
        return f"SCP03 KVN {answer.kvn:02X}", [Observer(opening.session, len(command.data))]
    return "", []


def _scp11(given: Sequence[GivenSession], level: int, receipt: bytes) -> _Open:
    """A session that has these keys and MACs of 8 or 16 bytes: that does not travel."""
    sessions: list[Session] = [Observer(one.keys, size, level, receipt or NO_IV) for one in given for size in (8, 16)]
    return _Open("SCP11", sessions, is_open=True)


def _agreed_level(command: Command) -> int | None:
    """Level that the key usage of SCP11's command asks for; None if this is no such command."""
    try:
        control = dict(items(command.data)).get(_CONTROL, b"")
        usage = dict(items(control)).get(_USAGE, b"")
    except DecodeError:
        return None
    return _LEVELS.get(usage[0]) if len(usage) == 1 else None


def _receipt(response: Response) -> bytes:
    try:
        return dict(items(response.data)).get(_RECEIPT, b"")
    except DecodeError:
        return b""
