"""A mesh network in a file: a journal of mode 0600 with its database, synced at every write.

Keys are in clear in it, as in every mesh database; whoever reads the file has the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from keywright.errors import StoreError
from keywright.mesh.database.addresses import Range
from keywright.mesh.database.cdb import check_document, read_document
from keywright.mesh.database.iv_age import iv_since
from keywright.mesh.database.network import ALL_UNICAST, NetworkDatabase
from keywright.mesh.network.iv_index import IvState
from keywright.store.journal import Journal

_NAMESPACE: Final = "mesh network"
_KEY_OCTETS: Final = 16


def timestamp(now: float) -> str:
    """Seconds since 1970 as the database writes them (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


@contextmanager
def opened_network(path: Path, *, readonly: bool = False, wait_s: float = 0.0) -> Iterator[NetworkDatabase]:
    """The network of a file. readonly: as it is at this moment; another process may be writing.

    Raises StoreError if there is none, or if another process holds it.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no mesh network", hint=f"make one: keywright mesh network new {path}")
    with closing(Journal(path, sync=not readonly, readonly=readonly, wait_s=wait_s)) as journal:
        if journal.namespaces() != [_NAMESPACE]:
            raise StoreError(f"{path}: holds no mesh network", hint="give a file of: keywright mesh network new")
        yield NetworkDatabase(journal.memory(_NAMESPACE))


def begin_network(path: Path, name: str, rng: Callable[[int], bytes], now: float, ranges: Range = ALL_UNICAST) -> None:
    """Make the file with a new network of one NetKey, index 0. Raises StoreError if it is there."""
    with _new(path) as journal:
        database = NetworkDatabase.begin(
            journal.memory(_NAMESPACE),
            name=name,
            uuid=rng(_KEY_OCTETS),
            net_key=rng(_KEY_OCTETS),
            provisioner_uuid=rng(_KEY_OCTETS),
            timestamp=timestamp(now),
            ranges=(ranges,),
        )
        iv_since(database, now)


def import_network(path: Path, text: bytes, iv_index: IvState | None = None) -> None:
    """Make the file with the network of an exported database. Raises StoreError if it is there, DecodeError."""
    check_document(read_document(text))  # before there is a file
    with _new(path) as journal:
        NetworkDatabase.take_in(journal.memory(_NAMESPACE), text, iv_index)


@contextmanager
def _new(path: Path) -> Iterator[Journal]:
    if path.exists():
        raise StoreError(f"{path}: already there; a network is never overwritten", hint="give another path")
    with closing(Journal(path, sync=True)) as journal:
        yield journal
