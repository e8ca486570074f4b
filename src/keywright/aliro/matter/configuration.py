"""The configuration of a lock as JSON: what a controller would set over Matter, in the words of its cluster.

    {
      "reader": {"groupIdentifier": "00…", "groupResolvingKey": "00…", "signingKey": "00…"},
      "credentials": [
        {"type": "AliroCredentialIssuerKey", "index": 1, "key": "04…", "user": 1}
      ]
    }

Bytes are hex. `groupResolvingKey` is for locks with Bluetooth and UWB. `signingKey` is a secret: it is read and never
written; whoever keeps it elsewhere leaves it out and gives the key beside the JSON. `user` groups credentials of
one person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeVar

import msgspec

from keywright.aliro.matter.cluster import (
    CURVE,
    GROUP_BYTES,
    NAMES,
    TYPES,
    Attribute,
    Invoke,
    Operation,
    SetCredential,
    Slot,
    Status,
    point,
)
from keywright.aliro.matter.door_lock import DoorLock, Outcome
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import DecodeError, KeywrightError, UsageError

T = TypeVar("T")

_TYPE_OF: Final = {name: number for number, name in TYPES.items()}
_WHERE: Final = "lock configuration"
_HINT: Final = "docs/aliro.md has an example of a lock configuration"


class _Reader(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    group_identifier: str
    group_resolving_key: str | None = None
    signing_key: str | None = None


class _Credential(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["AliroCredentialIssuerKey", "AliroEvictableEndpointKey", "AliroNonEvictableEndpointKey"]
    index: int
    key: str
    user: int


class _Configuration(msgspec.Struct, forbid_unknown_fields=True):
    reader: _Reader | None = None
    credentials: list[_Credential] = []


class Command(msgspec.Struct, frozen=True):
    """A command to a lock, and where in the configuration it comes from."""

    command: int
    fields: dict[int, Any]
    what: str

    def __repr__(self) -> str:
        return f"<command {self.command:02X} for {self.what}>"


def read_configuration(text: str | bytes, signing_key: EcPrivateKey | None = None) -> list[Command]:
    """The commands that set up a blank lock as the JSON says. Raises UsageError naming what is wrong, and where.

    Users are numbered anew by the lock: the first credential of a user adds the user, the others follow.
    """
    try:
        found = msgspec.json.decode(text, type=_Configuration)
    except msgspec.DecodeError as error:
        raise UsageError(f"{_WHERE}: {error}", hint=_HINT) from error
    commands = [] if found.reader is None else [_reader(found.reader, signing_key)]
    listed = sorted(range(len(found.credentials)), key=lambda number: found.credentials[number].user)
    seen: dict[int, int] = {}
    commands.extend(_credential(number, found.credentials[number], seen) for number in listed)
    return commands


def apply_configuration(lock: DoorLock, commands: list[Command], *, fabric: int = 1) -> list[Outcome]:
    """Give a lock the commands one after the other; gives their outcomes.

    Raises KeywrightError at the first that the lock refuses, with its status; what came before it stays.
    """
    outcomes = []
    for one in commands:
        outcome = lock.invoke(one.command, one.fields, fabric=fabric)
        status = outcome.status or outcome.fields.get(0, Status.SUCCESS)
        if status != Status.SUCCESS:
            raise KeywrightError(f"{one.what}: the lock answered {status:02X} {outcome.detail}".rstrip())
        outcomes.append(outcome)
    return outcomes


def write_configuration(lock: DoorLock, *, with_resolving_key: bool = False) -> str:
    """The configuration of a lock as `read_configuration` takes it, without its signing key.

    with_resolving_key: also the group resolving key, which lets its holder recognise the reader's advertisements.
    """
    reader = lock.reader
    listed = [
        {"type": TYPES[one.slot.type], "index": one.slot.index, "key": one.key.point.hex(), "user": one.user}
        for one in lock.credentials()
    ]
    written: dict[str, Any] = {"credentials": listed}
    if reader is not None:
        written["reader"] = {"groupIdentifier": reader.group_identifier.hex()}
        if with_resolving_key and reader.group_resolving_key is not None:
            written["reader"]["groupResolvingKey"] = reader.group_resolving_key.hex()
    return json.dumps(written, indent=2, sort_keys=True)


def write_attributes(lock: DoorLock) -> dict[str, Any]:
    """The attributes of a lock by name, bytes as hex; whether there is a group resolving key, not the key."""
    return dict(_attributes(lock))


def _attributes(lock: DoorLock) -> Iterator[tuple[str, Any]]:
    for number, name in NAMES.items():
        status, value = lock.read(number)
        if status == Status.SUCCESS:
            yield name, value is not None if number == Attribute.GROUP_RESOLVING_KEY else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _reader(found: _Reader, signing_key: EcPrivateKey | None) -> Command:
    where = f"{_WHERE}: reader"
    key = signing_key
    if found.signing_key is not None:
        try:
            key = EcPrivateKey.from_scalar(CURVE, _hex(found.signing_key, f"{where}.signingKey"))
        except DecodeError:
            # "from None": what is wrong with a secret is not said in its own words.
            raise UsageError(f"{where}.signingKey: not a key of {CURVE}", hint=_HINT) from None
    if key is None:
        raise UsageError(f"{where}: no signing key", hint="put signingKey into the JSON, or give the key beside it")
    if signing_key is not None and signing_key != key:
        raise UsageError(f"{where}.signingKey: another key than the one that was given", hint="leave it out")
    group = _hex(found.group_identifier, f"{where}.groupIdentifier", GROUP_BYTES)
    fields: dict[int, Any] = {0: _scalar(key), 1: key.public.point, 2: group}
    if found.group_resolving_key is not None:
        fields[3] = _hex(found.group_resolving_key, f"{where}.groupResolvingKey", GROUP_BYTES)
    return Command(Invoke.SET_READER_CONFIG, fields, where)


def _credential(number: int, found: _Credential, seen: dict[int, int]) -> Command:
    where = f"{_WHERE}: credentials[{number}]"
    try:
        key = point(_hex(found.key, f"{where}.key"), "key")
    except ValueError as error:
        raise UsageError(f"{where}.{error}", hint=_HINT) from error
    user = seen.get(found.user)
    seen.setdefault(found.user, len(seen) + 1)
    asked = SetCredential(Operation.ADD, Slot(_TYPE_OF[found.type], found.index), key, user)
    return Command(Invoke.SET_CREDENTIAL, asked.fields(), where)


def _hex(text: str, what: str, size: int | None = None) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{what}: not hex", hint=_HINT) from None
    if size is not None and len(found) != size:
        raise UsageError(f"{what}: {len(found)} bytes, not {size}", hint=_HINT)
    return found


def _scalar(key: EcPrivateKey) -> bytes:
    return key.library_key().private_numbers().private_value.to_bytes(32)
