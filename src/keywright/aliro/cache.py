"""The Kpersistent keys a reader has kept, tried against a cryptogram from the one used last on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, final

import msgspec

from keywright.aliro.keys import Kpersistent, Transaction, cryptogram_key, try_cryptogram, x_of
from keywright.aliro.messages import FastStatus
from keywright.crypto.ec import EcPublicKey

CAPACITY: Final = 16
"""Keys that readers known to us keep."""


class Kept(msgspec.Struct, frozen=True):
    """A Kpersistent, whose credential it is of, and when that credential's documents were signed (ASCII, or empty)."""

    credential: EcPublicKey
    key: Kpersistent
    credential_signed: bytes = b""
    revocation_signed: bytes = b""


@final
class PersistentKeys:
    """Kept keys, one for each credential. When they are too many, the one longest unused goes."""

    def __init__(self, kept: Iterable[Kept] = (), *, capacity: int = CAPACITY) -> None:
        """kept: the one used last first."""
        self._capacity = capacity
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self.restore(kept)

    def __iter__(self) -> Iterator[Kept]:
        """The one used last first."""
        return reversed(self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, one: Kept) -> tuple[EcPublicKey, ...]:
        """Keep a key in place of the credential's last one, or say that it was used; whose key had to go for it."""
        self._kept[one.credential.point] = one
        self._kept.move_to_end(one.credential.point)
        if len(self._kept) <= self._capacity:
            return ()
        return (self._kept.popitem(last=False)[1].credential,)

    def restore(self, before: Iterable[Kept]) -> None:
        """Hold what there was before, the one used last first."""
        self._kept.clear()
        for one in reversed(tuple(before)):
            self.keep(one)

    def drop(self, credential: EcPublicKey) -> bool:
        """Forget a credential's key: revoked, evicted, or cleared. Whether there was one."""
        return self._kept.pop(credential.point, None) is not None

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def find(self, transaction: Transaction, cryptogram: bytes) -> tuple[Kept, FastStatus] | None:
        """Whose cryptogram it is and what it says; None when no kept key opens it.

        Raises DecodeError when a key opens it and what is inside cannot be read.
        """
        salt, info = transaction.fast_salt(), transaction.info()
        for one in self:
            plain = try_cryptogram(cryptogram_key(one.key, salt + x_of(one.credential.point), info), cryptogram)
            if plain is None:
                continue
            status = FastStatus.parse(plain)
            self.keep(one)
            return one, status
        return None
