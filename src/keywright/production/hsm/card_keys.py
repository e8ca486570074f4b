"""One unit's keys inside the token: derived where they are used, each object with one use, destroyed right after."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple, TypeAlias, final

from keywright.errors import PolicyError
from keywright.production.hsm.diversify import blocks_for
from keywright.production.hsm.messages import WrappedKeyData
from keywright.production.hsm.token import BLOCK, Handle, TokenSession
from keywright.production.hsm.token_registry import TokenRegistry
from keywright.production.keystores.key_refs import Diversified, KeyRef
from keywright.scp.scp03.keys import S_ENC, S_MAC, S_RMAC, derivation_block
from keywright.scp.scp03.masks import mask

Part: TypeAlias = Literal["enc", "mac", "dek"]
PARTS: Final[tuple[Part, ...]] = ("enc", "mac", "dek")
SESSION_KEYS: Final = {"enc": ((S_ENC, "enc"),), "mac": ((S_MAC, "mac"), (S_RMAC, "rmac")), "dek": ()}
"""Which session keys come from which static key: their constants, and the names of their masks."""

ZEROS: Final = bytes(BLOCK)
ONES: Final = b"\x01" * BLOCK
_KCV_BYTES: Final = 3
_REMEMBERED: Final = 4096


class Facts(NamedTuple):
    """What may be known of a key set: its size, its check values by both rules, its masks by session key."""

    size: int
    kcvs: bytes
    kcvs_zeros: bytes
    masks: dict[str, bytes]


def facts_of(part: Part, size: int, encrypted: dict[bytes, bytes]) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Check values (ones, zeros) and masks of one static key, from what it encrypts `constant_blocks` to."""

    def encrypt(blocks: bytes) -> bytes:
        return b"".join(encrypted[blocks[at : at + BLOCK]] for at in range(0, len(blocks), BLOCK))

    masks = {name: mask(encrypt, constant, size) for constant, name in SESSION_KEYS[part]}
    return encrypted[ONES][:_KCV_BYTES], encrypted[ZEROS][:_KCV_BYTES], masks


def constant_blocks(part: Part, size: int) -> list[bytes]:
    """Every block whose encryption check values and masks need."""
    numbers = range(1, -(-size // BLOCK) + 1)
    return [ONES, ZEROS] + [
        derivation_block(constant, size, number) for constant, _ in SESSION_KEYS[part] for number in numbers
    ]


def encrypted_constants(session: TokenSession, key: Handle, part: Part, size: int) -> dict[bytes, bytes]:
    """Ask a key that may encrypt, once, for everything that is to be known of it."""
    blocks = constant_blocks(part, size)
    answer = session.ecb(key, b"".join(blocks))
    return {block: answer[at * BLOCK : (at + 1) * BLOCK] for at, block in enumerate(blocks)}


@final
class Remembered:
    """Facts of the units that were in work last; shared by the lanes."""

    __slots__ = ("_facts", "_mutex")

    def __init__(self) -> None:
        self._facts: OrderedDict[KeyRef, Facts] = OrderedDict()
        self._mutex = threading.Lock()

    def get(self, ref: KeyRef) -> Facts | None:
        """The facts, if they are still known."""
        with self._mutex:
            return self._facts.get(ref)

    def put(self, ref: KeyRef, facts: Facts) -> None:
        """Keep facts, and forget the oldest."""
        with self._mutex:
            self._facts[ref] = facts
            if len(self._facts) > _REMEMBERED:
                self._facts.popitem(last=False)


@final
class CardKeysInside:
    """The keys of units on one session of the token."""

    __slots__ = ("_clock", "_remembered", "registry", "session")

    def __init__(
        self,
        session: TokenSession,
        registry: TokenRegistry,
        remembered: Remembered,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self.session = session
        self.registry = registry
        self._remembered = remembered

    def facts(self, ref: KeyRef) -> Facts:
        """Size, check values and masks; three derivations for a unit that is not remembered."""
        if not isinstance(ref, Diversified):
            record = self.registry.find(ref.name, "factory", "factory key set")
            return Facts(record.key_bytes, record.kcv, record.masks["kcvs-zeros"], record.masks)
        found = self._remembered.get(ref)
        if found is None:
            ones, zeros, masks = b"", b"", dict[str, bytes]()
            for part in PARTS:
                with self.static(ref, part, "static-encrypt") as key:
                    encrypted = encrypted_constants(self.session, key, part, ref.key_bytes)
                one, zero, more = facts_of(part, ref.key_bytes, encrypted)
                ones, zeros, masks = ones + one, zeros + zero, masks | more
            found = Facts(ref.key_bytes, ones, zeros, masks)
            self._remembered.put(ref, found)
        return found

    @contextmanager
    def static(self, ref: KeyRef, part: Part, kind: str) -> Iterator[Handle]:
        """A static key as an object with the rights of `kind`, for the time of the block.

        Raises PolicyError when the token has no such object of a factory set.
        """
        if not isinstance(ref, Diversified):
            yield self._of_factory_set(ref.name, part, kind)
            return
        made = self._derived(ref, part, kind)
        try:
            yield made
        finally:
            made.destroy()

    def _of_factory_set(self, name: str, part: Part, kind: str) -> Handle:
        record = self.registry.find(name, "factory", "factory key set")
        self.registry.known.check_uses(name, self._clock())
        object_id = record.object_for(kind, part)
        if object_id is None:
            raise PolicyError(
                f"the factory set {name!r} has no {kind} object of K-{part.upper()} in this token",
                hint='choose session_keys = "inside" in the recipe, or import the set with that use',
            )
        return self.session.key(object_id, kind)

    def _derived(self, ref: Diversified, part: Part, kind: str) -> Handle:
        master = self.registry.find(ref.master, "master", "master")
        if ref.key_bytes > master.key_bytes:
            raise PolicyError(f"the master {ref.master!r} makes keys of at most {master.key_bytes} bytes")
        self.registry.known.check_uses(ref.master, self._clock())
        data = blocks_for(ref.scheme, ref.context, ref.key_bytes, master.masks)[PARTS.index(part)]
        handle = self.session.key(master.only_object("master"), "master")
        return self.session.derive(handle, data, ref.key_bytes, kind)

    def wrapped(self, current: KeyRef, new: KeyRef, *, zeros: bool) -> tuple[WrappedKeyData, ...]:
        """ENC, MAC and DEK of `new` under the K-DEK of `current`, each with its check value.

        The object that is wrapped may leave the token, under any key that wraps: it lives for this one call.
        """
        if not isinstance(new, Diversified):
            raise PolicyError(f"the factory set {new.name!r} does not leave the token", hint="put derived keys")
        self.registry.known.check_originates(new.master, self._clock())
        facts = self.facts(new)
        kcvs = facts.kcvs_zeros if zeros else facts.kcvs
        with self.static(current, "dek", "k-dek") as dek:
            return tuple(
                WrappedKeyData(facts.size, self._one_wrapped(dek, new, part), kcvs[3 * at : 3 * at + 3])
                for at, part in enumerate(PARTS)
            )

    def _one_wrapped(self, dek: Handle, new: Diversified, part: Part) -> bytes:
        if new.key_bytes % BLOCK:
            raise PolicyError(
                "a token wraps whole blocks only: new card keys of 24 bytes cannot be sent from it",
                hint="use key_bytes = 16 or 32",
            )
        with self.static(new, part, "new-key") as key:
            return self.session.wrap_cbc(dek, key)
