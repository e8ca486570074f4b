"""Over-the-air packets in words: the messages around them, their header by name, and with keys what is inside.

Takes what people have at hand: an ENVELOPE, its data, a short message, user data, or a packet alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.globalplatform.describe import Lines, counted, hexed
from keywright.globalplatform.explain import Explanation, explain, status
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp80.applications import target
from keywright.scp.scp80.compact import CompactResponse, Management, compact_commands
from keywright.scp.scp80.concatenation import Reassembly, Whole
from keywright.scp.scp80.download import ENVELOPE, read_envelope, read_send_short_message
from keywright.scp.scp80.expanded import (
    C_APDU,
    COMMANDS,
    COMMANDS_INDEFINITE,
    COMPREHENSION,
    RESPONSES,
    RESPONSES_INDEFINITE,
    Script,
    ScriptResponse,
)
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import (
    CHECKSUMS,
    CIPHERS,
    COMMAND_HEADER,
    COMMAND_IE,
    REDUNDANCY_CHECKS,
    RESPONSE_IE,
    SMS_PP,
    Check,
    CommandBody,
    CounterMode,
    PorMode,
    ResponseBody,
    SecuredCommand,
    SecuredResponse,
    Spi,
    is_by_arrangement,
    key_set_number,
    status_name,
)
from keywright.scp.scp80.packet import (
    Header,
    Suite,
    command_suite,
    open_command,
    open_response,
    read_command,
    read_response,
    response_suite,
)
from keywright.scp.scp80.profile import Profile
from keywright.scp.scp80.sms import SUBMIT, UDHI, Deliver, Submit, UserData, part_of

LENIENT: Final = Profile(single_des=True, aes_needs_counter=False, answer_as_command=False)
"""For reading: whatever stands in a packet is told, whether or not it should be there."""
_CHECKS: Final = {Check.NONE: "no check", Check.RC: "RC", Check.CC: "CC", Check.DS: "DS"}
_COUNTERS: Final = {
    CounterMode.NONE: "no counter",
    CounterMode.UNCHECKED: "counter not checked",
    CounterMode.HIGHER: "counter must be higher",
    CounterMode.NEXT: "counter must be the next",
}
_PROOFS: Final = {
    PorMode.NEVER: "no PoR",
    PorMode.ALWAYS: "PoR always",
    PorMode.ON_ERROR: "PoR on error",
    PorMode.RESERVED: "PoR reserved",
}


class Found(msgspec.Struct, frozen=True):
    """A packet in whatever carried it, and what that said. `packet` is None where it is one part of several."""

    is_response: bool
    packet: bytes | None
    around: tuple[tuple[str, str], ...] = ()
    message: bytes = b""


def spi_text(spi: Spi) -> str:
    """The two bytes by name."""
    command = [_CHECKS[spi.check], "ciphered" if spi.ciphered else "not ciphered", _COUNTERS[spi.counter]]
    proof = [_PROOFS[spi.por]]
    if spi.por != PorMode.NEVER:
        proof += [_CHECKS[spi.por_check], "ciphered" if spi.por_ciphered else "not ciphered"]
        proof.append("by SMS-SUBMIT" if spi.by_submit else "in the delivery report")
    return f"{spi.build().hex().upper()}  {', '.join(command)}; {', '.join(proof)}"


def kic_text(kic: int) -> str:
    """Key set and ciphering by name."""
    named = CIPHERS.get(kic & 0xF)
    return _indicator(kic, named.value if named else "")


def kid_text(kid: int, check: Check) -> str:
    """Key set and RC or CC by name."""
    named = (REDUNDANCY_CHECKS if check == Check.RC else CHECKSUMS).get(kid & 0xF)
    return _indicator(kid, named.value if named else "")


def _indicator(byte: int, algorithm: str) -> str:
    known = "by arrangement" if is_by_arrangement(byte) else algorithm or "reserved"
    number = key_set_number(byte)
    return f"{byte:02X}  key set {number:X}, {known}" if number else f"{byte:02X}  {known}"


def tar_text(tar: bytes) -> str:
    """A TAR with the name it was assigned."""
    row = target(tar)
    return f"{tar.hex().upper()}  {row.name}, {row.format.value} format" if row else tar.hex().upper()


# ---- where a packet is


def find_packet(data: bytes) -> Found:
    """The packet in an ENVELOPE, its data, a fetched SEND SHORT MESSAGE, a TPDU, user data, or alone.

    Raises DecodeError.
    """
    for read in (_of_command, _of_message, _of_user_data, _alone):
        try:
            return read(data)
        except DecodeError:
            continue
    raise DecodeError(
        f"{len(data)} bytes that hold no over-the-air packet",
        hint="give an ENVELOPE, a short message (TPDU), user data 027000..., or a packet that begins with its length",
    )


def together(found: Sequence[Found]) -> Found:
    """Parts of one packet put together. Raises DecodeError when a part is missing."""
    if len(found) == 1 and found[0].packet is not None:
        return found[0]
    parts = Reassembly(RESPONSE_IE if found[0].is_response else COMMAND_IE)
    for one in found:
        parts.receive(one.message, 0)
        for event in parts.events():
            if isinstance(event, Whole):
                return Found(found[0].is_response, event.packet, found[0].around)
    raise DecodeError("parts of the packet are missing", hint="give every message of it")


def _of_command(data: bytes) -> Found:
    command = Command.parse(data)
    if command.ins != ENVELOPE:
        raise DecodeError("no ENVELOPE")
    return _of_message(command.data)


def _of_message(data: bytes) -> Found:
    """A TPDU, alone or in what a phone and a card give to each other."""
    around: list[tuple[str, str]] = []
    message: Deliver | Submit
    if data[:1] == b"\xd1":
        tpdu, centre = read_envelope(data)
        around += [("service centre", centre.digits)] if centre else []
        message = Deliver.parse(tpdu)
    elif data[:1] == b"\xd0":
        message, centre = read_send_short_message(data)
    else:
        message = Submit.parse(data) if data and data[0] & 3 == SUBMIT else Deliver.parse(data)
    if not message.flags & UDHI:
        raise DecodeError("no user data header")
    is_deliver = isinstance(message, Deliver)
    who = message.originator if isinstance(message, Deliver) else message.destination
    around.append(("message", f"SMS-{'DELIVER from' if is_deliver else 'SUBMIT to'} {who.digits or 'nobody'}"))
    around.append(("PID, DCS", f"{message.pid:02X}, {message.dcs:02X}"))
    found = _of_user_data(message.user_data, is_response=not is_deliver)
    return msgspec.structs.replace(found, around=(*around, *found.around), message=message.build())


def _of_user_data(data: bytes, *, is_response: bool | None = None) -> Found:
    user_data = UserData.parse(data)
    elements = {element.identifier for element in user_data.header}
    part = part_of(user_data)
    marked = elements & {COMMAND_IE, RESPONSE_IE}
    if not marked and (part.count == 1 or is_response is None):
        raise DecodeError("no mark of a packet in the user data header")
    response = RESPONSE_IE in marked if marked else bool(is_response)
    header = ("user data header", data[: 1 + data[0]].hex().upper())
    if part.count == 1:
        return Found(response, user_data.body, (header,))
    return Found(response, None, (header, ("part", f"{part.number} of {part.count}, reference {part.reference}")))


def _alone(data: bytes) -> Found:
    body = CommandBody.parse(SMS_PP.unframe(b"", data)) if len(data) > 2 else None
    if body is not None and body.header_length >= COMMAND_HEADER:
        return Found(is_response=False, packet=data)
    read_response(data, SMS_PP)
    return Found(is_response=True, packet=data)


# ---- what it says


def explain_packet(found: Found, keys: KeySet | None = None, command: Header | None = None) -> Explanation:
    """A packet in words; deciphered and checked with `keys`, a response also needs the header of its command.

    Raises DecodeError for what is no packet.
    """
    packet = found.packet or b""
    if found.is_response:
        return Explanation("response packet", found.around, tuple(_response(packet, keys, command)))
    return Explanation("command packet", found.around, tuple(_command(packet, keys)))


def packet_lines(data: bytes) -> Lines:
    """What stands in the clear of a packet, in whatever carries it; of a part only what it is a part of."""
    found = find_packet(data)
    yield from found.around
    if found.packet is not None:
        yield from _response(found.packet, None, None) if found.is_response else _command(found.packet, None)


def _command(packet: bytes, keys: KeySet | None) -> Lines:
    body = read_command(packet, SMS_PP)
    spi = Spi.parse(body.spi)
    yield "length", f"{counted(packet[2:])}, header {body.header_length:02X}"
    yield "SPI", spi_text(spi)
    yield "KIc", kic_text(body.kic) if spi.ciphered else f"{body.kic:02X}  not used"
    yield "KID", kid_text(body.kid, spi.check) if spi.check else f"{body.kid:02X}  not used"
    yield "TAR", tar_text(body.tar)
    header = Header(spi, body.kic, body.kid, body.tar)
    if keys is None:
        yield from _clear_command(body, spi)
        return
    try:
        inner = open_command(body, command_suite(header, keys, LENIENT), SMS_PP)
    except (AuthenticationError, PolicyError) as error:
        yield "with these keys", f"{error}"
        return
    yield "counter", f"{inner.cntr}  {inner.cntr:010X}"
    yield "padding", counted(bytes(inner.pcntr))
    yield from [(_CHECKS[spi.check], "right")] if spi.check else []
    yield from data_lines(inner.rest, body.tar)


def _clear_command(body: CommandBody, spi: Spi) -> Lines:
    if spi.ciphered:
        yield "ciphered", f"{counted(body.secured)}; --keys deciphers them"
        return
    inner = SecuredCommand.parse(body.secured)
    size = body.header_length - COMMAND_HEADER
    yield "counter", f"{inner.cntr}  {inner.cntr:010X}"
    yield from [(_CHECKS[spi.check], f"{hexed(inner.rest[:size])}, not checked")] if size else []
    yield from data_lines(inner.rest[size : len(inner.rest) - inner.pcntr or None], body.tar)


def _response(packet: bytes, keys: KeySet | None, command: Header | None) -> Lines:
    body = read_response(packet, SMS_PP)
    yield "TAR", tar_text(body.tar)
    inner, note = _opened_response(body, keys, command)
    if inner is None:
        yield "protected", note
        return
    yield "counter", f"{inner.cntr}  {inner.cntr:010X}"
    yield "status", f"{inner.status:02X} {status_name(inner.status)}"
    yield "protection", note
    yield from answer_lines(inner.rest)


def _opened_response(
    body: ResponseBody, keys: KeySet | None, command: Header | None
) -> tuple[SecuredResponse | None, str]:
    try:
        if keys is not None and command is not None:
            return open_response(body, response_suite(command, keys, LENIENT), SMS_PP), "right, as its command asked"
    except (AuthenticationError, PolicyError):
        pass
    try:
        return open_response(body, Suite(), SMS_PP), "none"
    except AuthenticationError:
        return None, f"{counted(body.secured)}; the keys and the SPI of its command open them"


def data_lines(data: bytes, tar: bytes) -> Lines:
    """Secured data: the commands of a script, in either format; else hex."""
    row = target(tar)
    management = row.management if row else Management.APPLICATIONS
    try:
        commands = list(_commands(data, management))
    except DecodeError as error:
        yield "data", f"{hexed(data)}  ({error})"
        return
    for number, command in enumerate(commands, 1):
        yield f"command {number}", explain(command).title
    if not commands:
        yield "data", hexed(data)


def _commands(data: bytes, management: Management) -> Iterator[Command]:
    if data[:1] and data[0] in (COMMANDS, COMMANDS_INDEFINITE):
        for number, value in Script.parse(data).objects:
            if number & ~COMPREHENSION == C_APDU:
                yield Command.parse(value)
    else:
        yield from compact_commands(data, management)


def answer_lines(data: bytes) -> Lines:
    """Data of a proof of receipt: a response of either format; else hex."""
    if not data:
        return
    try:
        executed, responses = _responses(data)
    except DecodeError:
        yield "data", hexed(data)
        return
    if executed is not None:
        yield "executed", str(executed)
    for number, response in enumerate(responses, 1):
        shown = f"  {hexed(response.data)}" if response.data else ""
        yield f"answer {number}" if len(responses) > 1 else "answer", status(response.sw) + shown


def _responses(data: bytes) -> tuple[int | None, Sequence[Response]]:
    if data[0] in (RESPONSES, RESPONSES_INDEFINITE):
        script = ScriptResponse.parse(data)
        return script.executed, script.responses
    compact = CompactResponse.parse(data)
    return compact.executed, (Response(compact.data, compact.sw),)
