"""A reader, a user device and what they keep, for the tests of the access protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from typing import TypeVar

from keywright.aliro.credential import CredentialRecord, GroupRecord
from keywright.aliro.reader import Fresh, Reader
from keywright.aliro.session import Session
from keywright.aliro.user_device import Settings, UserDevice
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import LinkError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.sansio.dialogue import drive

Result = TypeVar("Result")

GROUP = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
SUB_GROUP = bytes.fromhex("FFEEDDCCBBAA99887766554433221100")
MAILBOX = 64


def key(name: str) -> EcPrivateKey:
    """The same key for the same name."""
    return EcPrivateKey.from_scalar("P-256", hashlib.sha256(name.encode()).digest())


def stream(seed: str) -> Callable[[int], bytes]:
    """The same bytes for the same seed."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return draw


class MemoryRecords:
    """Records whose writes are kept at `commit`, and lost at `cut`."""

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        self.kept: dict[str, bytes] = dict(records or {})
        self.pending: dict[str, bytes | None] = {}

    def read(self, name: str, /) -> bytes | None:
        return self.pending[name] if name in self.pending else self.kept.get(name)

    def write(self, name: str, value: bytes | None, /) -> None:
        self.pending[name] = value

    def commit(self) -> None:
        for name, value in self.pending.items():
            if value is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = value
        self.pending = {}

    def cut(self) -> None:
        self.pending = {}


class Device:
    """A user device with memory and power, as a function from command to answer."""

    def __init__(
        self,
        records: MemoryRecords,
        settings: Settings | None = None,
        *,
        seed: str = "device",
        random: Callable[[int], bytes] | None = None,
        user: bool = False,
    ) -> None:
        self.records = records
        self.session = Session()
        self.user_device = UserDevice(
            settings or Settings(),
            lambda name: key(name.decode()),
            random or stream(seed),
            user_is_authenticated=lambda: user,
        )
        self.commands: list[Command] = []
        self.answers: list[Response] = []

    def __call__(self, command: Command) -> Response:
        self.commands.append(command)
        answer = self._answer(command)
        if answer.sw == SW.OK:
            self.records.commit()
        else:
            self.records.cut()
        self.answers.append(answer)
        return answer

    def _answer(self, command: Command) -> Response:
        if (command.cla, command.ins, command.p1) == (0x00, 0xA4, 0x04):
            try:
                return Response(self.user_device.select(command.data, self.session))
            except Refusal as refused:
                return Response(b"", refused.sw)
        return self.user_device.process(command, self.session, self.records)

    def reset(self) -> None:
        """The field is lost."""
        self.session = Session()
        self.records.cut()

    def run(self, dialogue: Generator[Command, Response, Result]) -> Result:
        """Run a reader's dialogue against this device."""
        return drive(dialogue, self)


def records(
    name: str = "credential", group_key: EcPrivateKey | None = None, *, group: bytes = GROUP, **fields: object
) -> MemoryRecords:
    """A memory with one credential, whose private key is `key(name)`."""
    group_key = group_key or key("reader")
    record = CredentialRecord(
        name.encode(),
        key(name).public.point,
        (GroupRecord(group, group_key.public.point),),
        **fields,  # type: ignore[arg-type]  # fields of CredentialRecord
    )
    return MemoryRecords({"credential/0": record.build(), "mailbox/0": bytes(MAILBOX)})


def reader(name: str = "reader", **fields: object) -> Reader:
    """A reader whose private key is `key(name)`."""
    return Reader(key(name), GROUP + SUB_GROUP, **fields)  # type: ignore[arg-type]  # fields of Reader


def fresh(seed: str) -> Fresh:
    """The same ephemeral key and transaction identifier for the same seed."""
    return Fresh.draw(stream(seed))


def cut_at(exchange: Callable[[Command], Response], number: int, *, delivered: bool) -> Callable[[Command], Response]:
    """`exchange`, but its exchange `number` (from 0) is lost, before or after it took effect."""
    count = -1

    def one(command: Command) -> Response:
        nonlocal count
        count += 1
        if count < number:
            return exchange(command)
        if count == number and delivered:
            exchange(command)
        raise LinkError("cut", delivered=delivered if count == number else False)

    return one
