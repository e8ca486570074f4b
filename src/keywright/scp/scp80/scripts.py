"""SCP80, sending entity: whole scripts, in as many packets as they need (TS 102 226 5)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

import msgspec

from keywright.errors import DecodeError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp80.applications import Format, target
from keywright.scp.scp80.compact import GET_RESPONSE, CompactResponse, Management, compact_string
from keywright.scp.scp80.expanded import Chaining, Script, ScriptResponse
from keywright.scp.scp80.host import JUMP, Request, SendingEntity, send_packet
from keywright.scp.scp80.profile import STRICT, Profile


class ScriptReport(msgspec.Struct, frozen=True):
    """What is known after a script: answers in the order of the commands, and the last counter used.

    `confirmed`: False when no answer was asked for. `executed` is None where the card did not tell.
    """

    responses: tuple[Response, ...]
    executed: int | None
    counter: int
    confirmed: bool = True


class _Language(Protocol):
    """How commands become the data of a packet, and its answer responses."""

    def write(self, commands: Sequence[Command], chaining: Chaining | None) -> bytes:
        """The secured data. Raises ValueError for a command that has no place in this format."""
        ...

    def read(self, data: bytes, chaining: Chaining | None) -> tuple[list[Response], int | None]:
        """Responses, and how many commands ran, None if the card does not say. Raises WireError."""
        ...


def send_script(
    sender: SendingEntity,
    commands: Sequence[Command],
    counter: int,
    *,
    form: Format | None = None,
    management: Management | None = None,
    limit: int = 1024,
    chained: bool = True,
    repeats: int = 0,
    jump: int = JUMP,
    profile: Profile = STRICT,
) -> Generator[Request, bytes | None, ScriptReport]:
    """Send commands in as many packets as `limit` bytes each need, and end at the first that fails.

    The format follows from the TAR unless `form` says it. `counter` is the last one used. `limit`: what the card and
    its transport take, such as `sms.most_in(5)`. In the expanded format packets after the first go on in its context
    (script chaining), unless `chained` is False; the compact format has no such thing, and tells the last answer of
    each packet only, so commands before it have none in the report. `repeats` and `jump` as `send_packet` has them.
    """
    language = _language(sender, form, management, profile)
    parts = split(sender, commands, language, limit, chained=chained and isinstance(language, _Expanded))
    responses: list[Response] = []
    executed: int | None = 0
    confirmed = True
    for part, chaining in parts:
        data = language.write(part, chaining)
        receipt, counter = yield from send_packet(sender, data, counter, repeats=repeats, jump=jump)
        if receipt is None:
            confirmed, executed = False, None
            continue
        answers, ran = language.read(receipt.data, chaining)
        responses += answers
        executed = None if executed is None or ran is None else executed + ran
        if not answers or not _went_on(answers[-1].sw) or (ran is not None and ran < len(part)):
            break
    return ScriptReport(tuple(responses), executed, counter, confirmed)


def _language(sender: SendingEntity, form: Format | None, management: Management | None, profile: Profile) -> _Language:
    row = target(sender.header.tar)
    form = form or (row.format if row else None)
    if form is Format.EXPANDED:
        return _Expanded(profile)
    if form is Format.COMPACT:
        return _Compact(management or (row.management if row else Management.APPLICATIONS))
    raise PolicyError(
        f"application {sender.header.tar.hex().upper()} takes no scripts that we know", hint="say which format it has"
    )


def _went_on(sw: int) -> bool:
    return sw >> 8 in (0x90, 0x91, 0x61, 0x62, 0x63, 0x9F)


class _Compact:
    def __init__(self, management: Management) -> None:
        self._management = management

    def write(self, commands: Sequence[Command], chaining: Chaining | None) -> bytes:
        assert chaining is None
        return compact_string(commands, self._management)

    def read(self, data: bytes, chaining: Chaining | None) -> tuple[list[Response], int | None]:
        assert chaining is None
        try:
            answer = CompactResponse.parse(data)
        except DecodeError as error:
            raise WireError("the answer is no response of the compact format") from error
        if answer.sw >> 12 not in (6, 9):
            raise WireError(f"the answer is no response of the compact format: {answer.sw:04X} is no status word")
        return [Response(answer.data, answer.sw)], answer.executed


class _Expanded:
    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def write(self, commands: Sequence[Command], chaining: Chaining | None) -> bytes:
        tags = self._profile.comprehension_tags
        return Script.of(commands, chaining=chaining, comprehension_tags=tags).build()

    def read(self, data: bytes, chaining: Chaining | None) -> tuple[list[Response], int | None]:
        try:
            answer = ScriptResponse.parse(data)
        except DecodeError as error:
            raise WireError("the answer is no response script") from error
        if answer.chaining is not None:
            raise WireError(
                f"the card does not chain the scripts: {answer.chaining:02X}", hint="send them without chaining"
            )
        if answer.bad_format is not None:
            raise WireError(f"the card cannot read the script: {answer.bad_format:02X}")
        ran = answer.executed
        return list(answer.responses), None if ran is None else ran - (chaining is not None)


def split(
    sender: SendingEntity, commands: Sequence[Command], language: _Language, limit: int, *, chained: bool
) -> list[tuple[list[Command], Chaining | None]]:
    """Commands in groups, each of which fits a packet of `limit` bytes; GET RESPONSE stays with what it asks after.

    Raises ValueError if one alone does not fit.
    """

    def fits(group: list[Command], chaining: Chaining | None) -> bool:
        return sender.packet_size(len(language.write(group, chaining))) <= limit

    units = _units(commands)
    if not units:
        return []
    if fits(list(commands), None):
        return [(list(commands), None)]
    chaining = Chaining.FIRST if chained else None
    groups: list[list[Command]] = [[]]
    for unit in units:
        if fits(groups[-1] + unit, chaining):
            groups[-1] = groups[-1] + unit
        elif fits(unit, chaining):
            groups.append(unit)
        else:
            raise ValueError(f"a command of {len(unit[0].data)} bytes does not fit a packet of {limit}")
    places = [Chaining.FIRST, *[Chaining.MORE] * (len(groups) - 2), Chaining.LAST]
    return [(group, place if chained else None) for group, place in zip(groups, places, strict=True)]


def _units(commands: Sequence[Command]) -> list[list[Command]]:
    units: list[list[Command]] = []
    for command in commands:
        if command.ins == GET_RESPONSE and units:
            units[-1].append(command)
        else:
            units.append([command])
    return units
