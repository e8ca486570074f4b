"""Factory key sets, the keys that units come with, on their way into a keystore: from components or from key blocks.

Three AES keys of one length, K-ENC, K-MAC, K-DEK. They are in this process's memory until they are kept; a keystore
says of them by their check values alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.components import Accumulator
from keywright.crypto.kcv import Rule, key_check_value
from keywright.crypto.keyblocks import Expected, Header, Kbpk, unwrap
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.keystore import Unlock
from keywright.production.keystores.registry import USAGES, KeyRecord, Registry, new_record
from keywright.production.keystores.sealed import Content, Entry, SealedFile
from keywright.production.keystores.software_keystore import unlock_key
from keywright.scp.scp03.keys import KeySet

PARTS: Final = ("K-ENC", "K-MAC", "K-DEK")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SIZES: Final = (16, 24, 32)
_BLOCKS_BYTES: Final = 1 << 14
_WANTED: Final = Expected(usages=(USAGES["factory"], "E5"), algorithms=("A",))
"""What key blocks say of card keys: the proprietary usage that the registry has, or issuer master key `other`."""


def combined(components: Sequence[Sequence[bytes]]) -> KeySet:
    """A set of which each person has one component of each key: `components[person][key]`.

    Raises PolicyError for components of another length, all zero, given twice, or fewer than two.
    """
    keys: list[bytes] = []
    for one in zip(*components, strict=True):
        size = len(one[0])
        if size not in SIZES:
            raise PolicyError(f"no AES key has {size} bytes", hint="halves of a key are no components")
        total = Accumulator("AES", size)
        try:
            for component in one:
                total.add(component)
            keys.append(total.key().reveal())
        finally:
            total.wipe()
    return _set_of(keys)


def from_blocks(path: Path, kbpk: Kbpk) -> KeySet:
    """A set of a file with three key blocks, a line each: K-ENC, K-MAC, K-DEK.

    Raises StoreError if it is none, PolicyError for a block that is for something else, AuthenticationError for one
    that was not made with this key.
    """
    try:
        text = path.read_bytes()[: _BLOCKS_BYTES + 1].decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read as text", hint="give a file of three key blocks") from error
    blocks = text.split()
    if len(blocks) != len(PARTS):
        raise StoreError(f"{path}: {len(blocks)} key blocks", hint="three, a line each: K-ENC, K-MAC, K-DEK")
    return _set_of([unwrap(kbpk, block, _WANTED).reveal() for block in blocks])


def _set_of(keys: Sequence[bytes]) -> KeySet:
    if len({len(key) for key in keys}) != 1:
        raise PolicyError("the three keys of a set have one length", hint="give AES keys of 128, 192 or 256 bits")
    return KeySet.of(*keys)


def check_expected(keys: KeySet, expected: str) -> None:
    """Raise PolicyError unless these are the check values that were sent with the set, ENC, MAC and DEK in hex."""
    if expected and expected.replace(" ", "").lower() != keys.kcvs.hex():
        raise PolicyError(
            f"the check values are {kcv_text(keys)}, not {expected.upper()}; nothing was kept",
            hint="compare each component, or block, with its sender",
        )


def kcv_text(keys: KeySet) -> str:
    """The three check values (GlobalPlatform: of sixteen 01 bytes), as they are compared."""
    text = keys.kcvs.hex().upper()
    return " ".join(text[at : at + 6] for at in range(0, len(text), 6))


@final
class FactoryFile:
    """A software keystore that is to get a factory set."""

    def __init__(self, path: Path, unlock: Unlock | None) -> None:
        """Raises StoreError as the file does not open, or is of an older version."""
        self._file, content = SealedFile.open(path, lambda: unlock_key(path, unlock))
        if content.registry is None:
            raise StoreError(
                f"{path}: a keystore of an older version", hint="open it once: keywright keystore show; then try again"
            )
        self._content = content
        self.registry: Registry = content.registry

    def kek(self, name: str) -> Kbpk:
        """The transport key of that name. Raises StoreError if there is none."""
        entry = next((one for one in self._content.entries if (one.name, one.purpose) == (name, "transport")), None)
        if entry is None or not isinstance(entry.header, str):
            raise StoreError(
                f"the keystore has no transport key {name!r}", hint="load it: keywright ceremony import --usage K1"
            )
        header = Header.parse(entry.header)[0]
        return Kbpk(AesKey(entry.secret, name), usage=header.usage, mode=header.mode)

    def keep(self, name: str, keys: KeySet, *, at: int, owner: str = "", kek: str = "") -> KeyRecord:
        """Keep the set; it is in the file when this returns. Raises StoreError if a key has, or had, that name."""
        raw = (keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal())
        algorithm = f"AES-{len(raw[0]) * 8}"

        def change(content: Content) -> Content:
            registry = content.registry or self.registry
            check_free(registry, name)
            record = new_record(
                content.keystore_id,
                name,
                "factory",
                algorithm,
                [key_check_value(AesKey(one), Rule.AES_ONES) for one in raw],
                environment=registry.environment,
                created=at,
                state=KeyState.ACTIVE,
                owner=owner,
                parents=(registry.named(kek).id,) if kek else (),
            )
            entry = Entry(name, "factory", algorithm, b"".join(raw))
            return msgspec.structs.replace(
                content, registry=registry.with_record(record), entries=(*content.entries, entry)
            )

        self.registry = self._file.update(change).registry or self.registry
        return self.registry.named(name)


def check_free(registry: Registry, name: str) -> None:
    """Raise StoreError if a key has, or had, that name, UsageError if none can have it."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a key", hint="letters, digits, dot, dash and underline, at most 64")
    if any(record.name == name for record in registry.records):
        raise StoreError(f"the keystore has, or had, a key {name!r}", hint="give another name")
