"""A ceremony's key in a software keystore: a sealed file, always marked TEST; the key is in this process's memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.des_keys import odd_parity
from keywright.crypto.kcv import Kcv, Rule, ceremony_check_value, key_check_value
from keywright.crypto.keyblocks import Expected, Header, Kbpk, OptionalBlock, check_strength, unwrap, wrap
from keywright.errors import PolicyError, StoreError
from keywright.production.ceremony.carried import Carried
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.target import WRAPPING, Held, Kek, Pending, Wrapped
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.registry import Registry, new_record
from keywright.production.keystores.sealed import Content, Entry, Purpose, SealedFile


@final
class SoftwareTarget:
    """A sealed file, looked at anew for each question, so that what it answers is what is on the disk."""

    def __init__(
        self, uri: str, path: Path, unlock: Callable[[], bytes], rng: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Raises StoreError as the file does not open. `unlock`: the unlock key."""
        self._uri = uri
        self._rng = rng
        self._file, self._content = SealedFile.open(path, unlock, rng)
        if self._content.registry is None:
            raise StoreError(
                f"{path}: a keystore of an older version", hint="open it once: keywright keystore show; then try again"
            )

    @property
    def uri(self) -> str:
        """As `--keystore` names it."""
        return self._uri

    @property
    def test(self) -> bool:
        """Always."""
        return self._content.test

    def find(self, name: str) -> Held | None:
        """The key of that name."""
        entry = self._entry(name)
        if entry is None:
            return None
        key = _key(entry)
        return Held(ceremony_check_value(key), _header(entry), _algorithm(key), key.size * 8)

    def check_free(self, name: str) -> None:
        """Raise StoreError if a key has, or had, that name."""
        if any(record.name == name for record in _registry(self._read()).records):
            raise StoreError(f"the keystore has, or had, a key {name!r}", hint="give another name")

    def check_wraps(self, name: str, kek: str, at_ms: int) -> None:
        """Raise KeyStateError unless the key may still be used, and the KEK may still wrap."""
        registry = _registry(self._read())
        registry.check_uses(name, at_ms // 1000)
        if kek:
            registry.check_originates(kek, at_ms // 1000)

    def load(self, key: AesKey | TripleDesKey, header: Header) -> Pending:
        """Held in memory until it is stored."""
        return Pending(key, ceremony_check_value(key), header, key.size * 8)

    def generate(self, bits: int, header: Header) -> Pending:
        """Drawn from the system."""
        return self.load(AesKey(self._rng(bits // 8), "new key"), header)

    def unwrap(self, carried: Carried, kek: Kek) -> Pending:
        """The key of a key block."""
        if carried.form != "key-block":
            raise PolicyError(
                "the key was wrapped inside a token and comes out only inside one", hint="import it into a token"
            )
        header = carried.key_header
        expected = Expected(
            usages=(header.usage,), algorithms=(header.algorithm,), modes=(header.mode,), versions=("D",)
        )
        arrived = unwrap(self._kbpk(kek), carried.wrapped, expected)
        return self.load(arrived.key(), header)

    def store(self, name: str, pending: Pending, plan: Plan, at_ms: int) -> None:
        """Key and record in one change of the file; the key is active."""
        key = pending.inside
        if not isinstance(key, (AesKey, TripleDesKey)):
            raise TypeError("not a key of this target")
        purpose: Purpose = "transport" if pending.header.usage in WRAPPING else "master"
        algorithm = "TDES" if isinstance(key, TripleDesKey) else f"AES-{key.size * 8}"

        def change(content: Content) -> Content:
            registry = _registry(content)
            record = new_record(
                content.keystore_id,
                name,
                purpose,
                algorithm,
                _checks(key),
                environment=registry.environment,
                created=at_ms // 1000,
                state=KeyState.ACTIVE,
                zone=plan.zone,
                owner=plan.owner,
                usage=pending.header.usage,
                parents=(registry.named(plan.kek).id,) if plan.kek else (),
            )
            entry = Entry(name, purpose, algorithm, key.reveal(), header=pending.header.build())
            return msgspec.structs.replace(
                content, registry=registry.with_record(record), entries=(*content.entries, entry)
            )

        self._content = self._file.update(change)

    def wrap(self, name: str, kek: Kek, header: Header) -> Wrapped:
        """A key block of version D with the name as label."""
        key = _key(self._existing(name))
        kbpk = self._kbpk(kek)
        check_strength(kbpk.strength, ("A" if isinstance(key, AesKey) else "T", key.size * 8))
        labelled = Header(
            "D",
            header.usage,
            header.algorithm,
            header.mode,
            header.key_version,
            header.exportability,
            (OptionalBlock("LB", name),),
        )
        raw = key.reveal() if isinstance(key, AesKey) else odd_parity(key.reveal())
        return Wrapped("key-block", wrap(kbpk, labelled, raw, self._rng))

    def destroy(self, name: str, plan: Plan, at_ms: int, approval: str) -> None:
        """The file without it takes the place of the file with it; the old one's blocks are the disk's business."""
        del plan

        def change(content: Content) -> Content:
            registry = _registry(content)
            if registry.named(name).state is KeyState.DESTROYED:
                return content
            for state in (KeyState.DEACTIVATED, KeyState.DESTROYED):
                if registry.named(name).state in (KeyState.ACTIVE, KeyState.SUSPENDED) or state is KeyState.DESTROYED:
                    registry = registry.with_state(
                        name, state, at=at_ms // 1000, reason="destroyed in a ceremony", approval=approval
                    )
            entries = tuple(entry for entry in content.entries if entry.name != name)
            return msgspec.structs.replace(content, registry=registry, entries=entries)

        self._content = self._file.update(change)

    def close(self) -> None:
        """Nothing to do: the file is opened for each question and closed again."""

    def _kbpk(self, kek: Kek) -> Kbpk:
        if isinstance(kek, AesKey):
            return Kbpk(kek)
        entry = self._existing(kek)
        return Kbpk(_key(entry), usage=_header(entry).usage, mode=_header(entry).mode)

    def _read(self) -> Content:
        content = self._file.reread()
        if content is not None:
            self._content = content
        return self._content

    def _entry(self, name: str) -> Entry | None:
        found = next((entry for entry in self._read().entries if entry.name == name), None)
        if found is not None and found.purpose not in ("master", "transport"):
            raise PolicyError(
                f"{name!r} is a {found.purpose} key, no master", hint="ceremonies are for masters and KEKs"
            )
        return found

    def _existing(self, name: str) -> Entry:
        found = self._entry(name)
        if found is None:
            raise StoreError(f"the keystore has no key {name!r}", hint="look at it: keywright keystore show")
        return found


def _registry(content: Content) -> Registry:
    if content.registry is None:
        raise AssertionError("a file without a registry was refused when it was opened")
    return content.registry


def _checks(key: AesKey | TripleDesKey) -> tuple[Kcv, ...]:
    """As the registry has them: AES by both rules."""
    if isinstance(key, TripleDesKey):
        return (ceremony_check_value(key),)
    return key_check_value(key, Rule.AES_ONES), key_check_value(key, Rule.AES_CMAC)


def _key(entry: Entry) -> AesKey | TripleDesKey:
    return TripleDesKey(entry.secret, entry.name) if entry.algorithm == "TDES" else AesKey(entry.secret, entry.name)


def _header(entry: Entry) -> Header:
    """What a ceremony said the key may do; a key that was made without one is a master that stays."""
    if isinstance(entry.header, str):
        return Header.parse(entry.header)[0]
    return Header("D", "E5", "T" if entry.algorithm == "TDES" else "A", "X", exportability="N")


def _algorithm(key: AesKey | TripleDesKey) -> Literal["AES", "TDES"]:
    return "AES" if isinstance(key, AesKey) else "TDES"
