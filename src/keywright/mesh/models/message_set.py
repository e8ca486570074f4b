"""The messages of a model, found by their opcode (MshPRT 3.7.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from keywright.codec.record import LittleRecord
from keywright.errors import DecodeError
from keywright.mesh.network.access import AccessMessage


@final
class MessageSet:
    """Every class with an `OPCODE` among the names of a module."""

    def __init__(self, model: str, names: Mapping[str, object]) -> None:
        """model: what the messages are of, for errors. names: the module's `globals()`."""
        self.by_opcode: dict[int, type[LittleRecord]] = {
            vars(kind)["OPCODE"]: kind
            for kind in list(names.values())
            if isinstance(kind, type) and issubclass(kind, LittleRecord) and "OPCODE" in vars(kind)
        }
        self._model = model
        self._opcodes = {kind: opcode for opcode, kind in self.by_opcode.items()}

    def build(self, message: LittleRecord) -> AccessMessage:
        """A message as access message. Raises ValueError for a field that does not fit."""
        return AccessMessage(self._opcodes[type(message)], message.build())

    def parse(self, access: AccessMessage) -> LittleRecord:
        """The message in an access message. Raises DecodeError for an opcode or a length that is none."""
        kind = self.by_opcode.get(access.opcode)
        if kind is None:
            raise DecodeError(f"no {self._model} message with opcode {access.opcode:X}")
        return kind.parse(access.parameters)
