"""What an exchange says, in words. Fields come from the message classes themselves, by introspection.

`Transcript` explains one exchange after the other and remembers what EXTERNAL AUTHENTICATE agreed, so that it knows
what of a protected command can be read. Values that may be keys are never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from keywright.codec.tlv import items
from keywright.errors import DecodeError
from keywright.globalplatform.describe import (
    OBJECTS,
    DataObject,
    Line,
    Lines,
    counted,
    describe,
    describe_object,
    hexed,
)
from keywright.globalplatform.instructions import (
    INSTRUCTIONS,
    Instruction,
    name_of,
    object_tag,
    objects_or_hex,
    put_key_lines,
)
from keywright.globalplatform.messages import Ins, unwrapped
from keywright.globalplatform.redaction import is_secret
from keywright.globalplatform.tlv_names import is_known, tlv_lines
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import channel_of, is_gp, is_secured
from keywright.iso7816.status import SW, is_ok, is_warning, meaning
from keywright.scp.level import Level
from keywright.scp.scp03.messages import InitializeUpdateResponse8, InitializeUpdateResponse16


class Explanation(msgspec.Struct, frozen=True):
    """An exchange in words: a title, what was asked, what was answered (name and value each), and the status."""

    title: str
    asked: tuple[Line, ...] = ()
    answered: tuple[Line, ...] = ()
    status: str = ""

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, the status last."""
        return (*self.asked, *self.answered, *((("status", self.status),) if self.status else ()))


class Knowledge(msgspec.Struct, frozen=True):
    """What applications add to GlobalPlatform's own commands and objects."""

    instructions: Mapping[int, Instruction] = {}
    objects: Mapping[int, DataObject] = {}


NOTHING_MORE: Final = Knowledge()

_READING: Final = (Ins.GET_DATA, Ins.GET_DATA_ODD)
_UNTOLD: Final = "data"
"""Name of a line of bytes that nothing is known about."""


def explain(command: Command, response: Response | None = None, more: Knowledge = NOTHING_MORE) -> Explanation:
    """One exchange by itself. Of a protected command only what needs no knowledge of its session is told."""
    return Transcript(more).explain(command, response)


def explain_response(response: Response, more: Knowledge = NOTHING_MORE) -> Explanation:
    """An answer whose command is unknown."""
    return Explanation("answer", (), tuple(_unasked(response.data, {**OBJECTS, **more.objects})), status(response.sw))


def explain_objects(data: bytes, more: Knowledge = NOTHING_MORE) -> Explanation | None:
    """Data objects by themselves, as GET DATA returns them; None if there are any that are not known."""
    lines = tuple(_unasked(data, {**OBJECTS, **more.objects}))
    return None if not lines or lines[0][0] == _UNTOLD else Explanation("data objects", (), lines)


def status(sw: int) -> str:
    """A status word with its meaning: "6A88 referenced data not found"."""
    return f"{sw:04X} {meaning(sw).name}"


class Transcript:
    """Explains the exchanges of one card, in their order."""

    def __init__(self, more: Knowledge = NOTHING_MORE) -> None:
        self._instructions = {**INSTRUCTIONS, **more.instructions}
        self._objects = {**OBJECTS, **more.objects}
        self._sessions: dict[int, _Session] = {}

    def reset(self) -> None:
        """The card was reset: every session is gone."""
        self._sessions.clear()

    def explain(self, command: Command, response: Response | None = None) -> Explanation:
        """What one exchange says."""
        entry = self._instructions.get(command.ins, Instruction(f"INS {command.ins:02X}"))
        protected = is_secured(command.cla) and command.ins != Ins.EXTERNAL_AUTHENTICATE
        session = self._sessions.get(channel_of(command.cla), _UNSEEN) if protected else None
        name = name_of(entry, command)
        title = " ".join(part for part in (name, entry.title(command), self._object_title(command)) if part)
        asked = tuple(self._asked(entry, command, session))
        if response is None:
            return Explanation(title + " (protected)" * protected, asked)
        answered = tuple(self._answered(entry, command, response, session))
        self._follow(command, response)
        return Explanation(title + " (protected)" * protected, asked, answered, status(response.sw))

    def _object_title(self, command: Command) -> str:
        known = self._objects.get(object_tag(command)) if command.ins in _READING else None
        return f"({known.name})" if known else ""

    def _asked(self, entry: Instruction, command: Command, session: _Session | None) -> Lines:
        if channel := channel_of(command.cla):
            yield "logical channel", str(channel)
        if is_secret(command):
            yield from _secret(command, is_plain=session is None)
        elif session is None:
            yield from _asked_plain(entry, command)
        elif session is _UNSEEN:
            yield "data", f"protected, {counted(command.data)}"
        else:
            data, mac = session.split(command.data)
            if data and session.level & Level.C_DEC:
                yield "encrypted data", counted(data)
            else:
                yield from _asked_plain(entry, msgspec.structs.replace(command, data=data))
            yield "C-MAC", hexed(mac)

    def _answered(self, entry: Instruction, command: Command, response: Response, session: _Session | None) -> Lines:
        data, sw = response.data, response.sw
        if session is None or not session.level & Level.R_MAC or not (is_ok(sw) or is_warning(sw)):
            yield from self._answered_plain(entry, command, data)
            return
        data, mac = session.split(data)
        if data and session.level & Level.R_ENC:
            yield "encrypted answer", counted(data)
        else:
            yield from self._answered_plain(entry, command, data)
        yield "R-MAC", hexed(mac)

    def _answered_plain(self, entry: Instruction, command: Command, data: bytes) -> Lines:
        if not data:
            return
        if command.ins in _READING:
            yield from _data_object(object_tag(command), data, self._objects, whole=is_gp(command.cla))
        elif entry.answered is not None:
            yield from _or_hex(entry.answered, command, data, data=data)
        else:
            yield from objects_or_hex(data, "answer")

    def _follow(self, command: Command, response: Response) -> None:
        channel = channel_of(command.cla)
        opens = command.ins == Ins.EXTERNAL_AUTHENTICATE
        if command.ins in (Ins.SELECT, Ins.INITIALIZE_UPDATE) or (opens and not is_secured(command.cla)):
            self._sessions.pop(channel, None)
        elif opens and response.sw == SW.OK:
            self._sessions[channel] = _Session(command.p1, len(command.data) // 2)


class _Session(NamedTuple):
    """What a session protects: its security level, and the bytes of its MACs."""

    level: int = 0
    mac_length: int = 8

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Data and MAC."""
        return data[: -self.mac_length], data[-self.mac_length :]


_UNSEEN: Final = _Session()
"""Stands for a session whose opening was not seen."""


def _secret(command: Command, *, is_plain: bool) -> Lines:
    """What may be told of a command that carries keys: of PUT KEY all but their values."""
    if is_plain and command.ins == Ins.PUT_KEY and any(command.data):
        try:
            yield from list(put_key_lines(command))
        except DecodeError:
            pass
        else:
            return
    yield "data", f"masked, {counted(command.data)}"


def _asked_plain(entry: Instruction, command: Command) -> Lines:
    if entry.asked is not None:
        yield from _or_hex(entry.asked, command, data=command.data)
    else:
        yield from objects_or_hex(command.data)


def _data_object(number: int, data: bytes, objects: Mapping[int, DataObject], *, whole: bool) -> Lines:
    """An answer to GET DATA: the whole object for the GlobalPlatform class, its value for the other one."""
    value = data
    if whole:
        try:
            value = unwrapped(number, data)
        except DecodeError:
            yield "answer", hexed(data)
            return
    yield from describe_object(number, value, objects)


def _unasked(data: bytes, objects: Mapping[int, DataObject]) -> Lines:
    if not data:
        return
    for kind in (InitializeUpdateResponse8, InitializeUpdateResponse16):
        try:
            answer = kind.parse(data)
        except DecodeError:
            continue
        if answer.scp == 0x03:
            yield from describe(answer)
            return
    try:
        found = items(data)
    except DecodeError:
        found = []
    if found and all(number in objects for number, _ in found):
        for number, value in found:
            yield from describe_object(number, value, objects)
    elif is_known(data):
        yield from tlv_lines(data)
    else:
        yield _UNTOLD, hexed(data)


def _or_hex(told: Callable[..., Lines], *arguments: object, data: bytes) -> Lines:
    """The lines of a decoder, or hex where the bytes are not what they should be."""
    try:
        yield from list(told(*arguments))
    except DecodeError as error:
        yield "data", f"{hexed(data)} (not as it should be: {error})"
