"""A simulated lock: an Aliro reader configured as Matter's Door Lock is, its memory a file.

The file holds the reader's key and the Kpersistent of devices, as the memory of a device does: keep it as you keep
keys. What a command to the cluster undoes is undone for the reader too, before the command is answered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, final

from keywright.aliro.lock import Lock, Settings
from keywright.aliro.matter.cluster import (
    CURVE,
    Attribute,
    CredentialType,
    Invoke,
    Operation,
    SetCredential,
    Slot,
)
from keywright.aliro.matter.configuration import apply_configuration, read_configuration
from keywright.aliro.matter.door_lock import DoorLock, Outcome
from keywright.aliro.matter.keeping import Limits
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Fresh, Reader
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import StoreError, UsageError
from keywright.store.journal import Journal
from keywright.store.memory import Memory, RamMemory

_NAMESPACE: Final = "lock"
_ELEMENTS: Final = "lock/elements"
_LIMITS: Final = Limits(ble_uwb_versions=(0x0100,))
DEFAULT_ELEMENT: Final = "door"


@final
class DoorReader:
    """The lock: its cluster, and the reader that works by what the cluster holds."""

    def __init__(self, memory: Memory, rng: Callable[[int], bytes]) -> None:
        """Take up what the memory holds. Raises StoreError when it cannot be read."""
        self._memory = memory
        self._rng = rng
        self.cluster = DoorLock(memory, rng, _LIMITS)

    @property
    def elements(self) -> tuple[str, ...]:
        """Identifiers of the elements of Access Documents that count here."""
        return tuple((self._memory.load(_ELEMENTS) or DEFAULT_ELEMENT.encode()).decode().split("\0"))

    @elements.setter
    def elements(self, names: tuple[str, ...]) -> None:
        if not names or any("\0" in name or not name for name in names):
            raise UsageError("an element of an Access Document has a name")
        self._memory.commit({_ELEMENTS: "\0".join(names).encode()})

    def reader(self, interface: Interface = Interface.NFC) -> Reader:
        """The reader by the configuration. Raises StoreError for a lock that has none."""
        found = self.cluster.reader
        if found is None:
            raise StoreError("the lock has no reader configuration", hint="give it one: keywright key lock configure")
        identifier = found.group_identifier + self.cluster.sub_identifier
        return Reader(found.signing_key, identifier, interface=interface)

    def lock(self, interface: Interface = Interface.NFC) -> Lock:
        """What decides: issuers and registered keys are those of the cluster. Raises StoreError."""
        cluster, settings = self.cluster, Settings(elements=self.elements)
        return Lock(self.reader(interface), self._memory, cluster.trust(), settings, registered=cluster.registered())

    def fresh(self) -> Fresh:
        """An ephemeral key and a transaction identifier for one transaction."""
        return Fresh.draw(self._rng)

    def invoke(self, command: int, fields: Mapping[int, Any]) -> Outcome:
        """A command to the cluster, with what it means for the reader. Raises StoreError."""
        before = None if self.cluster.reader is None else self.lock()
        outcome = self.cluster.invoke(command, fields)
        if before is not None and outcome.effects:
            if outcome.effects.everything or outcome.effects.issuers:
                before.forget_all()
            for key in outcome.effects.endpoints:
                before.forget(key)
        return outcome

    def configure(self, configuration: str, signing_key: EcPrivateKey | None = None) -> list[Outcome]:
        """Take over a configuration as JSON (`aliro.matter.configuration`): a blank lock's, or further credentials.

        signing_key: the reader's, if it is not in the JSON. Raises UsageError for what cannot be read, KeywrightError
        for the first thing that the lock refuses.
        """
        return apply_configuration(self.cluster, read_configuration(configuration, signing_key))

    def add(self, kind: int, key: EcPublicKey, user: int | None = None) -> Outcome:
        """SetCredential, Add, at the first free index of its type."""
        taken = {one.slot.index for one in self.cluster.credentials(kind)}
        index = next(number for number in range(1, 0x10000) if number not in taken)
        asked = SetCredential(Operation.ADD, Slot(kind, index), key, user)
        return self.invoke(Invoke.SET_CREDENTIAL, asked.fields())

    def clear(self, slot: Slot) -> Outcome:
        """ClearCredential of one slot: its key no longer opens, and what was kept of it is gone."""
        return self.invoke(Invoke.CLEAR_CREDENTIAL, {0: slot.fields()})

    def attribute(self, number: int) -> Any:
        """The value of an attribute of the cluster."""
        return self.cluster.read(number)[1]


CREDENTIAL_NAMES: Final = {
    CredentialType.ISSUER: "issuer key",
    CredentialType.EVICTABLE: "evictable key",
    CredentialType.NON_EVICTABLE: "key",
}
"""What a person calls the types of credentials."""


@contextmanager
def opened_lock(path: Path, rng: Callable[[int], bytes], *, readonly: bool = False) -> Iterator[DoorReader]:
    """The lock of a file. readonly: as it is at this moment.

    Raises StoreError if there is none, or if another process holds it.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no lock", hint=f"make one: keywright key lock new {path}")
    with closing(Journal(path, sync=not readonly, readonly=readonly)) as journal:
        if journal.namespaces() != [_NAMESPACE]:
            raise StoreError(f"{path}: holds no lock", hint="give a file of: keywright key lock new")
        yield DoorReader(journal.memory(_NAMESPACE), rng)


def begin_lock(
    path: Path,
    rng: Callable[[int], bytes],
    *,
    group_identifier: bytes = b"",
    configuration: str = "",
    elements: tuple[str, ...] = (DEFAULT_ELEMENT,),
) -> None:
    """Make the file of a lock. Raises StoreError if it is there, UsageError for a configuration that cannot be read.

    configuration: JSON with a reader in it (`aliro.matter.configuration`); without, reader key and group are drawn. It
    is tried before the file is made. Raises as `DoorReader.configure`.
    """
    if path.exists():
        raise StoreError(f"{path}: already there; a lock is never overwritten", hint="give another path")
    key = None
    if not configuration:
        group = {"groupIdentifier": (group_identifier or rng(16)).hex(), "groupResolvingKey": rng(16).hex()}
        configuration, key = json.dumps({"reader": group}), EcPrivateKey.draw(CURVE, rng)
    _dry_run(configuration, key, elements, rng)
    with closing(Journal(path, sync=True)) as journal:
        reader = DoorReader(journal.memory(_NAMESPACE), rng)
        reader.elements = elements
        reader.configure(configuration, key)


def _dry_run(
    configuration: str, key: EcPrivateKey | None, elements: tuple[str, ...], rng: Callable[[int], bytes]
) -> None:
    """Nothing is made of what a lock would refuse; a file that is half a lock could not be made again."""
    reader = DoorReader(RamMemory(), rng)
    reader.elements = elements
    reader.configure(configuration, key)
    reader.lock()


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


__all__ = ["Attribute", "DoorReader", "begin_lock", "now", "opened_lock"]
