"""A user device alone, as whatever speaks APDUs sees it: without an element around its applet.

It does what an element does for an applet: parts of commands are put together, answers leave in parts, and what a
command writes is kept as a whole when its status word is 9000.
"""

from __future__ import annotations

from typing import Final, final

from keywright.aliro.messages import CLASSES, LONGEST_DATA, Ins
from keywright.aliro.session import Session
from keywright.aliro.user_device import UserDevice
from keywright.errors import StoreError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.delivery import WholeCommands
from keywright.iso7816.status import SW
from keywright.store.memory import Memory

_BY_NAME: Final = 0x04


@final
class WholeRecords:
    """Records of one command over a memory: `commit` keeps all it wrote, `drop` none."""

    __slots__ = ("_changes", "_memory")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._changes: dict[str, bytes | None] = {}

    def read(self, name: str, /) -> bytes | None:
        """As this command has left it so far."""
        return self._changes[name] if name in self._changes else self._memory.load(name)

    def write(self, name: str, value: bytes | None, /) -> None:
        """Change a record; None deletes it."""
        self._changes[name] = value

    def commit(self) -> None:
        """Keep what was written. Raises StoreError."""
        if self._changes:
            self._memory.commit(self._changes)
            self._changes = {}

    def drop(self) -> None:
        """Forget what was written."""
        self._changes = {}


@final
class SimulatedUserDevice:
    """A `Device` with both AIDs and a memory."""

    def __init__(self, user_device: UserDevice, memory: Memory) -> None:
        """memory: what `aliro.credential` describes."""
        self._user_device = user_device
        self._records = WholeRecords(memory)
        self._commands = WholeCommands(self._answer, LONGEST_DATA)
        self._session = Session()

    @property
    def atr(self) -> bytes:
        """None: it is met over a field or over Bluetooth."""
        return b""

    @property
    def session(self) -> Session:
        """The transaction, for whoever carries the device's part of Bluetooth, and for tests."""
        return self._session

    def reset(self) -> None:
        """The field is lost: the transaction is over, an atomic session of the mailbox is rolled back."""
        self._session = Session()
        self._commands.reset()
        self._records.drop()

    def handle(self, request: bytes, /) -> bytes:
        """The answer to one command APDU; what it changed is durable on return."""
        return self._commands.handle(request)

    def _answer(self, command: Command) -> Response:
        if (command.cla, command.ins, command.p1) == (CLASSES[Ins.SELECT], Ins.SELECT, _BY_NAME):
            return Response(self._user_device.select(command.data, self._session))
        answer = self._user_device.process(command, self._session, self._records)
        if answer.sw != SW.OK:
            self._records.drop()
            return answer
        try:
            self._records.commit()
        except StoreError:
            self._records.drop()
            self._session.erase()
            return Response(b"", SW.MEMORY_FAILURE)
        return answer
