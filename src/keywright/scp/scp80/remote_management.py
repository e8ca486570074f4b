"""A receiving application, card end: it runs the scripts that packets or HTTP bodies bring (ETSI TS 102 226 5, 8).

What executes a command is handed in: the security domain of the TAR for remote application management (RAM), a file
system for remote file management (RFM). A command comes with the session that its packet was worth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, final

from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, is_ok, is_warning
from keywright.scp.scp80.compact import (
    GET_RESPONSE,
    SIM_CLASS,
    CompactResponse,
    Management,
    UnknownInstructionError,
    compact_commands,
)
from keywright.scp.scp80.expanded import (
    C_APDU,
    CHAINING,
    COMMANDS,
    COMMANDS_INDEFINITE,
    COMPREHENSION,
    ERROR_ACTION,
    IMMEDIATE_ACTION,
    SUSPENSION_ERROR,
    TRUNCATED,
    BadFormat,
    Chaining,
    ChainingResult,
    ScriptFormatError,
    ScriptResponse,
    content,
    first_object,
)
from keywright.scp.scp80.profile import STRICT, Profile
from keywright.scp.transport import TransportSession

TRIGGER: Final = 0x81
"""Tag of the parameters that trigger an administration session over HTTP (Amd B 3.7)."""
_TRIGGER_PARTS: Final = (0x83, 0xB3)


class Executor(Protocol):
    """What runs the commands of a script."""

    def start(self) -> None:
        """A script begins that does not go on from another: forget selections and sessions of the last one."""
        ...

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        """Run one command. `session` is what protected it on its way."""
        ...


@final
class RemoteManagement:
    """An application behind a TAR. `compact` says which format the TAR has; `limit` is the longest response.

    `act` performs immediate and error actions and says whether it could; without it there are none. `trigger` takes
    the parameters of an administration session over HTTP. `chaining`: whether scripts can be chained.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        msl: int = 0x12,
        compact: bool = True,
        management: Management = Management.APPLICATIONS,
        chaining: bool = True,
        act: Callable[[bytes], bool] | None = None,
        trigger: Callable[[bytes], None] | None = None,
        limit: int = 0x7FFF,
        profile: Profile = STRICT,
    ) -> None:
        self.msl = msl
        self.limit = limit
        self._executor = executor
        self._compact = compact
        self._management = management
        self._chaining = chaining
        self._act = act
        self._trigger = trigger
        self._profile = profile
        self._chained: Chaining | None = None

    def reset(self) -> None:
        """What a card reset does: a chain that was to be forgotten is (83 01), another goes on (83 11)."""
        if self._chained is Chaining.FIRST:
            self._chained = None

    def receive(self, data: bytes, session: TransportSession, /) -> bytes:
        """Run the secured data of a packet; the result is the data of its answer. Total."""
        if self._trigger is not None and data[:1] == bytes((TRIGGER,)):
            return self._triggered(data)
        if self._compact:
            return self._run_compact(data, session)
        return self.run_script(data, session)

    def _triggered(self, data: bytes) -> bytes:
        try:
            _, value, rest = first_object(data)
        except DecodeError:
            return b""
        if not rest and self._trigger is not None:
            self._trigger(value)
        return b""

    def _run_compact(self, data: bytes, session: TransportSession) -> bytes:
        self._executor.start()
        executed, answer, held = 0, Response(b""), b""
        try:
            for command in compact_commands(data, self._management):
                executed += 1
                if command.ins == GET_RESPONSE:
                    answer, held = _get_response(command, held), b""
                else:
                    answer, held = self._run_one(command, session)
                if self._ends(answer.sw):
                    break
        except UnknownInstructionError:
            executed, answer = executed + 1, Response(b"", SW.INS_NOT_SUPPORTED)
        except DecodeError:
            executed, answer = executed + 1, Response(b"", SW.WRONG_LENGTH)
        return CompactResponse(executed & 0xFF, answer.sw, answer.data[: self.limit]).build()

    def _run_one(self, command: Command, session: TransportSession) -> tuple[Response, bytes]:
        """The answer to a command, and what waits for GET RESPONSE: after data there is no Le."""
        if not command.data:
            return self._executor.execute(command, session), b""
        asked = Command(command.cla, command.ins, command.p1, command.p2, command.data, 0)
        answer = self._executor.execute(asked, session)
        if not answer.data or answer.sw != SW.OK:
            return Response(b"", answer.sw), answer.data
        more = 0x9F00 if command.cla == SIM_CLASS else 0x6100
        return Response(b"", more | min(len(answer.data), 256) & 0xFF), answer.data

    def _ends(self, sw: int) -> bool:
        if is_ok(sw) or sw >> 8 in (0x91, 0x9F):
            return False
        return self._profile.warnings_stop or not is_warning(sw) or sw == TRUNCATED

    def run_script(self, data: bytes, session: TransportSession, /) -> bytes:
        """Run a script of the expanded format, in either form; the answer has the same form. Total."""
        try:
            body, indefinite = content(data, COMMANDS, COMMANDS_INDEFINITE)
        except DecodeError:
            unknown = data[:1] not in (bytes((COMMANDS,)), bytes((COMMANDS_INDEFINITE,)))
            kind = BadFormat.UNKNOWN_TAG if unknown else BadFormat.WRONG_LENGTH
            return ScriptResponse((), 0, bad_format=kind).build()
        return _Run(self, body, session, indefinite=indefinite).run()

    def executed(self, command: Command, session: TransportSession) -> Response:
        """Run one command of a script."""
        return self._executor.execute(command, session)

    def ends(self, sw: int) -> bool:
        """Whether this status word ends a script."""
        return self._ends(sw)

    def act(self, action: bytes) -> bool:
        """Perform an immediate or error action; False when that cannot be."""
        return self._act is not None and self._act(action)

    def triggers(self, value: bytes) -> bool:
        """Take an object 81 as a trigger, if it is one: an action is not empty and begins neither with 83 nor B3."""
        if self._trigger is None or (value and value[0] not in _TRIGGER_PARTS):
            return False
        self._trigger(value)
        return True

    def chain(self, value: int | None) -> ChainingResult | None:
        """Begin, go on with or end a chain of scripts; None when that is in order.

        `value` None: a script alone, which forgets a chain.
        """
        if value is not None and not self._chaining:
            return ChainingResult.NOT_SUPPORTED
        step = _CHAIN.get((self._chained is not None, value))
        if step is None:
            self._chained = None
            return ChainingResult.NO_PREVIOUS if value in (Chaining.MORE, Chaining.LAST) else ChainingResult.UNABLE
        begins, goes_on = step
        if begins:
            self._executor.start()
            self._chained = Chaining(value) if value is not None else None
        elif not goes_on:
            self._chained = None
        return None

    @property
    def profile(self) -> Profile:
        """How this card is."""
        return self._profile


_CHAIN: Final[dict[tuple[bool, int | None], tuple[bool, bool]]] = {
    (False, None): (True, False),
    (False, Chaining.FIRST): (True, True),
    (False, Chaining.FIRST_KEPT): (True, True),
    (True, None): (True, False),
    (True, Chaining.FIRST): (True, True),
    (True, Chaining.FIRST_KEPT): (True, True),
    (True, Chaining.MORE): (False, True),
    (True, Chaining.LAST): (False, False),
}
"""(a chain is open, chaining object) -> (a new context begins, the chain stays open). What is not here is refused."""


class _Run:
    """One script of the expanded format on its way."""

    def __init__(
        self, application: RemoteManagement, body: bytes, session: TransportSession, *, indefinite: bool
    ) -> None:
        self._application = application
        self._body = body
        self._session = session
        self._indefinite = indefinite
        self._responses: list[Response] = []
        self._executed = 0
        self._error_action: bytes | None = None
        self._size = 16

    def run(self) -> bytes:
        """Execute, and the response script."""
        body = self._body
        try:
            refused, body = self._chained(body)
            if refused is not None:
                return self._response(chaining=refused)
            while body:
                tag, value, body = first_object(body)
                ended = self._one(tag, value)
                if ended is not None:
                    return ended
        except ScriptFormatError as error:
            return self._response(bad_format=error.kind)
        return self._response()

    def _chained(self, body: bytes) -> tuple[ChainingResult | None, bytes]:
        value = None
        if body[:1] == bytes((CHAINING,)):
            _, raw, body = first_object(body)
            if len(raw) != 1:
                raise ScriptFormatError(BadFormat.WRONG_LENGTH, 2)
            value = raw[0]
        refused = self._application.chain(value)
        self._executed += value is not None
        return refused, body

    def _one(self, tag: int, value: bytes) -> bytes | None:
        """Execute one object; the response script if that ends the script."""
        if tag == ERROR_ACTION:
            self._executed += 1
            self._error_action = value
        elif tag == IMMEDIATE_ACTION:
            self._executed += 1
            if not self._application.triggers(value) and not self._application.act(value):
                return self._response(immediate_action=SUSPENSION_ERROR)
        elif tag & ~COMPREHENSION == C_APDU:
            return self._command(value)
        else:
            raise ScriptFormatError(BadFormat.UNKNOWN_TAG, 0)
        return None

    def _command(self, value: bytes) -> bytes | None:
        self._executed += 1
        try:
            answer = self._application.executed(Command.parse(value), self._session)
        except DecodeError:
            answer = Response(b"", SW.WRONG_LENGTH)
        room = self._application.limit - self._size
        if len(answer.data) > max(0, room - 6):
            answer = Response(answer.data[: max(0, room - 6)], TRUNCATED)
        self._responses.append(answer)
        self._size += len(answer.data) + 6
        if not self._application.ends(answer.sw):
            return None
        if self._error_action and answer.sw != TRUNCATED:
            self._application.act(self._error_action)
        return self._response()

    def _response(
        self, *, chaining: int | None = None, bad_format: int | None = None, immediate_action: int | None = None
    ) -> bytes:
        counted = not self._indefinite or self._application.profile.count_in_indefinite
        return ScriptResponse(
            tuple(self._responses),
            self._executed if counted else None,
            immediate_action,
            chaining,
            bad_format,
            self._indefinite,
        ).build()


def _get_response(command: Command, held: bytes) -> Response:
    if not held:
        return Response(b"", SW.CONDITIONS_NOT_SATISFIED)
    wanted = command.le or 256
    if wanted > len(held) and command.le:
        return Response(b"", 0x6C00 | len(held) & 0xFF)
    return Response(held[:wanted])
