"""How each instruction is told: its name, what stands in its title, and the classes of its data.

A table of functions over the message classes; an instruction that is not in it is told by its number and hex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from keywright.codec.message import Message
from keywright.codec.tlv import items
from keywright.errors import DecodeError
from keywright.globalplatform import names
from keywright.globalplatform.channel_management import OpenedChannel
from keywright.globalplatform.confirmation import read_confirmation
from keywright.globalplatform.deletion import DeleteObject
from keywright.globalplatform.describe import Lines, counted, describe, hexed
from keywright.globalplatform.install import (
    InstallForInstall,
    InstallForLoad,
    InstallParameters,
    LoadParameters,
    RegistryParameters,
    install_data,
)
from keywright.globalplatform.key_data import parse_put_key
from keywright.globalplatform.legacy_status import parse_legacy
from keywright.globalplatform.messages import (
    DeleteKey,
    Fci,
    Ins,
    PutKey,
    PutKeyResponse,
    StatusList,
    StatusQuery,
    StatusScope,
    StoreData,
    Tag,
    parse_dgi,
    unwrapped,
)
from keywright.globalplatform.parameters import BEGIN_R_MAC_SESSION, END_R_MAC_SESSION, INSTALLS, SCOPES
from keywright.globalplatform.tlv_names import is_known, tlv_lines
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import is_secured
from keywright.scp.scp02 import messages as scp02_messages
from keywright.scp.scp02.messages import SCP02
from keywright.scp.scp03.messages import SCP03, InitializeUpdateResponse8, InitializeUpdateResponse16

_SCP_AT: Final = 11
"""Place of the protocol number in the answer to INITIALIZE UPDATE."""


_KCV_SIZES: Final = (0, 3)
_USAGE: Final = 2


class Instruction(NamedTuple):
    """How one instruction is told. `title` follows the name; the rest gives the lines of command and answer data."""

    name: str
    title: Callable[[Command], str] = lambda _: ""
    asked: Callable[[Command], Lines] | None = None
    answered: Callable[[Command, bytes], Lines] | None = None


def object_tag(command: Command) -> int:
    """The object a GET DATA asks for: P1 P2."""
    return command.p1 << 8 | command.p2


def _of(kind: type[Message]) -> Callable[[Command], Lines]:
    return lambda command: describe(kind.parse(command.data)) if command.data else iter(())


def _answer_of(kind: type[Message]) -> Callable[[Command, bytes], Lines]:
    return lambda _, data: describe(kind.parse(data))


def _fci(_: Command, data: bytes) -> Lines:
    return describe(Fci.parse(unwrapped(Tag.FCI, data)))


def put_key_lines(command: Command) -> Lines:
    """PUT KEY without any value of a key: versions, types, sizes and check values. Raises DecodeError."""
    new = parse_put_key(command.data)
    if not new.kvn or any(len(one.kcv) not in _KCV_SIZES or len(one.usage) > _USAGE for one in new.keys):
        raise DecodeError("this is no plain PUT KEY")
    yield "KVN", f"{new.kvn:02X}"
    first = command.p2 & 0x7F
    for number, one in enumerate(new.keys, first):
        parts = " + ".join(f"{names.key_type(part.type)}, masked ({counted(part.value)})" for part in one.parts)
        kcv = f", KCV {hexed(one.kcv)}" if one.kcv else ""
        usage = f", usage {hexed(one.usage)}" if one.usage else ""
        yield f"key {number:02X}", f"{parts}{kcv}{usage}"


def _challenge(command: Command) -> Lines:
    if command.p2:
        yield "KID", f"{command.p2:02X}"
    yield "host challenge", hexed(command.data)


def _challenge_answer(command: Command, data: bytes) -> Lines:
    if data[_SCP_AT : _SCP_AT + 1] == bytes((SCP02,)):
        yield from describe(scp02_messages.InitializeUpdateResponse.parse(data))
        return
    answer = (InitializeUpdateResponse16 if len(command.data) == 16 else InitializeUpdateResponse8).parse(data)
    if answer.scp != SCP03:
        yield "answer", hexed(data)
        return
    yield from describe(answer)
    yield "secure channel", names.secure_channel(answer.scp, answer.i)


def name_of(instruction: Instruction, command: Command) -> str:
    """Name of a command: 82 is MUTUAL AUTHENTICATE where SCP11 sends it."""
    agrees = command.ins == Ins.EXTERNAL_AUTHENTICATE and not is_secured(command.cla) and command.data[:1] == b"\xa6"
    return "MUTUAL AUTHENTICATE" if agrees else instruction.name


def _authenticate(command: Command) -> Lines:
    if not is_secured(command.cla):
        yield from objects_or_hex(command.data)
        return
    half = len(command.data) // 2
    yield "security level", names.security_level(command.p1)
    yield "host cryptogram", hexed(command.data[:half])
    yield "C-MAC", hexed(command.data[half:])


def objects_or_hex(data: bytes, label: str = "data") -> Lines:
    """Data objects by name where all are known, else hex under `label`."""
    if not data:
        return
    if is_known(data):
        yield from tlv_lines(data)
    else:
        yield label, hexed(data)


def _objects(command: Command) -> Lines:
    return objects_or_hex(command.data)


def _objects_answered(_: Command, data: bytes) -> Lines:
    return objects_or_hex(data, "answer")


def _opened_channel(_: Command, data: bytes) -> Lines:
    yield "channel", str(OpenedChannel.parse(data).number)


def _confirmed(_: Command, data: bytes) -> Lines:
    confirmation = read_confirmation(data)
    yield "receipt", hexed(confirmation.receipt) if confirmation.receipt else "none"
    if confirmation.data:
        yield "confirmation data", hexed(confirmation.data)


def _installed(command: Command) -> Lines:
    kind = install_data(command.p1, command.p2)
    if kind is None:
        yield "data", hexed(command.data)
        return
    for name, value in describe(kind.parse(command.data)):
        if name == "parameters" and value != "empty":
            yield from _install_parameters(kind, bytes.fromhex(value))
        elif value != "empty":
            yield name, value


def _install_parameters(kind: type[Message], data: bytes) -> Lines:
    known: dict[type[Message], type[Message]] = {InstallForLoad: LoadParameters, InstallForInstall: InstallParameters}
    try:
        lines = list(describe(known.get(kind, RegistryParameters).parse(data)))
    except DecodeError:
        yield "parameters", hexed(data)
        return
    yield "parameters", ""
    yield from ((f"  {name}", value) for name, value in lines)


def _install_title(command: Command) -> str:
    return INSTALLS.get(command.p1 & 0x7F, "")


def _loaded(command: Command) -> Lines:
    yield "load file", f"{counted(command.data)} of it"
    if not command.p2:
        yield "begins with", hexed(command.data[:16])


def _scope(command: Command) -> str:
    return SCOPES.get(command.p1, f"{command.p1:02X}")


def _status_answer(command: Command, data: bytes) -> Lines:
    entries = StatusList.parse(data).applications if command.p2 & 0x02 else parse_legacy(data, command.p1)
    scope_is_card = command.p1 == StatusScope.ISSUER_DOMAIN
    for entry in entries:
        domain = names.is_security_domain(entry.privileges)
        state = entry.life_cycle
        yield (
            entry.aid.hex().upper(),
            names.card_state(state) if scope_is_card else names.application_state(state, domain=domain),
        )
        yield from ((f"  {name}", text) for name, text in describe(entry) if name not in ("AID", "life cycle"))


def _new_state(command: Command) -> str:
    if command.p1 == StatusScope.ISSUER_DOMAIN:
        return f"card to {names.card_state(command.p2)}"
    return f"{command.data.hex().upper()} to {names.application_state(command.p2)}"


def _store_title(command: Command) -> str:
    return f"block {command.p2:02X}" + (", last" if command.p1 & StoreData.LAST else "")


def _stored(command: Command) -> Lines:
    if not command.p1 & StoreData.DGI or command.p1 & StoreData.BER_TLV:
        yield from objects_or_hex(command.data)
        return
    try:
        groups = parse_dgi(command.data)
    except DecodeError:
        yield "part of data groups", hexed(command.data)
        return
    for identifier, value in groups:
        yield f"data group {identifier:04X}", hexed(value)


def _deleted(command: Command) -> Lines:
    kinds = {number for number, _ in items(command.data)}
    return describe((DeleteObject if Tag.AID in kinds else DeleteKey).parse(command.data))


INSTRUCTIONS: Final[Mapping[int, Instruction]] = {
    Ins.SELECT: Instruction(
        "SELECT", lambda command: command.data.hex().upper() or "issuer security domain", lambda _: iter(()), _fci
    ),
    Ins.INITIALIZE_UPDATE: Instruction(
        "INITIALIZE UPDATE", lambda command: f"KVN {command.p1:02X}", _challenge, _challenge_answer
    ),
    Ins.EXTERNAL_AUTHENTICATE: Instruction(
        "EXTERNAL AUTHENTICATE",
        lambda command: f"level {command.p1:02X}" if is_secured(command.cla) else "",
        _authenticate,
        _objects_answered,
    ),
    Ins.GET_DATA: Instruction("GET DATA", lambda command: f"{object_tag(command):04X}"),
    Ins.GET_DATA_ODD: Instruction("GET DATA", lambda command: f"{object_tag(command):04X}"),
    Ins.GET_STATUS: Instruction("GET STATUS", _scope, _of(StatusQuery), _status_answer),
    Ins.SET_STATUS: Instruction("SET STATUS", _new_state, lambda _: iter(())),
    Ins.PUT_KEY: Instruction(
        "PUT KEY",
        lambda command: f"replace KVN {command.p1 & 0x7F:02X}" if command.p1 & 0x7F else "new key version",
        _of(PutKey),
        _answer_of(PutKeyResponse),
    ),
    Ins.DELETE: Instruction("DELETE", lambda _: "", _deleted, _confirmed),
    Ins.STORE_DATA: Instruction("STORE DATA", _store_title, _stored),
    Ins.INSTALL: Instruction("INSTALL", _install_title, _installed, _confirmed),
    Ins.LOAD: Instruction("LOAD", _store_title, _loaded, _confirmed),
    Ins.MANAGE_CHANNEL: Instruction(
        "MANAGE CHANNEL",
        lambda command: f"close {command.p2:02X}" if command.p1 & 0x80 else "open",
        None,
        _opened_channel,
    ),
    Ins.GET_RESPONSE: Instruction("GET RESPONSE"),
    BEGIN_R_MAC_SESSION: Instruction("BEGIN R-MAC SESSION"),
    END_R_MAC_SESSION: Instruction("END R-MAC SESSION"),
    0x20: Instruction("VERIFY"),
    0x21: Instruction("VERIFY"),
    0x22: Instruction("MANAGE SECURITY ENVIRONMENT", asked=_objects),
    0x24: Instruction("CHANGE REFERENCE DATA"),
    0x2A: Instruction("PERFORM SECURITY OPERATION", asked=_objects, answered=_objects_answered),
    0x2C: Instruction("RESET RETRY COUNTER"),
    0x84: Instruction("GET CHALLENGE"),
    0x88: Instruction("INTERNAL AUTHENTICATE", asked=_objects, answered=_objects_answered),
    0xC2: Instruction("ENVELOPE"),
}
