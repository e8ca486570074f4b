"""What a device remembers without power: named values, changed all at once or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, final, runtime_checkable


@runtime_checkable
class Memory(Protocol):
    """Named values of one device. Only the device side holds one; a host never looks inside."""

    def load(self, name: str) -> bytes | None:
        """The value last committed under `name`, None if there is none."""
        ...

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write every change, None meaning "delete", all or nothing.

        Raises StoreError, with nothing changed, if the store cannot take them.
        """
        ...

    def names(self) -> list[str]:
        """The names that hold a value, sorted."""
        ...


@final
class RamMemory:
    """A memory that ends with the process. `contents` (copied) is what it holds at first."""

    __slots__ = ("_values",)

    def __init__(self, contents: Mapping[str, bytes] | None = None) -> None:
        self._values: dict[str, bytes | None] = dict(contents or {})

    def load(self, name: str) -> bytes | None:
        """The value last committed under `name`, None if there is none."""
        return self._values.get(name)

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Write every change, None meaning "delete"."""
        values = {**self._values, **changes}
        if None in changes.values():
            values = {name: value for name, value in values.items() if value is not None}
        self._values = values

    def names(self) -> list[str]:
        """The names that hold a value, sorted."""
        return sorted(self._values)

    def __repr__(self) -> str:
        return f"<RamMemory {len(self._values)} values>"
