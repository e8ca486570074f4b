"""Session keys of SCP10 (GPCS F.1.4, F.3.1): which there are, where they come from, and MACs with counted ICVs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final, final

import msgspec

from keywright.crypto.des import TripleDesKey
from keywright.errors import DecodeError
from keywright.scp.level import Level
from keywright.scp.padding import pad80
from keywright.scp.scp10.messages import (
    CIPHER_KEY,
    MAC_KEY,
    SECRET_BYTES,
    ControlReference,
    I,
    SecurityParameters,
)
from keywright.scp.scp10.profile import Profile

BLOCK: Final = 8
NO_IV: Final = bytes(BLOCK)
PROTECTION: Final = Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC

COMMANDS: Final = 0x10
RESPONSES: Final = 0x20
DEK_RESPONSES: Final = 0x40
DEK_COMMANDS: Final = 0x80
_BOTH: Final = COMMANDS | RESPONSES
_DEK: Final = DEK_RESPONSES | DEK_COMMANDS

SHARED_KEYS: Final = ((MAC_KEY, _BOTH), (CIPHER_KEY, _BOTH), (CIPHER_KEY, _DEK))
"""Three session keys, each for commands and answers: (template, usage)."""
SEPARATE_KEYS: Final = (
    (MAC_KEY, COMMANDS),
    (CIPHER_KEY, COMMANDS),
    (MAC_KEY, RESPONSES),
    (CIPHER_KEY, RESPONSES),
    (CIPHER_KEY, DEK_COMMANDS),
)
"""Five session keys, one for each purpose."""

_ROLES: Final = {
    (MAC_KEY, COMMANDS): "c_mac",
    (MAC_KEY, RESPONSES): "r_mac",
    (CIPHER_KEY, COMMANDS): "c_enc",
    (CIPHER_KEY, RESPONSES): "r_enc",
    (CIPHER_KEY, DEK_COMMANDS): "dek_80",
    (CIPHER_KEY, DEK_RESPONSES): "dek_40",
}
_NEEDED: Final = {Level.C_MAC: "c_mac", Level.C_DEC: "c_enc", Level.R_MAC: "r_mac", Level.R_ENC: "r_enc"}
_USAGES: Final = {MAC_KEY: (_BOTH,), CIPHER_KEY: (_BOTH, _DEK)}
"""The bits that may stand together in a usage, by template."""
_DES: Final = 0x80
_DES_CBC: Final = 0x82
_DES_ECB: Final = 0x83


class Reference(msgspec.Struct, frozen=True):
    """One session key: its template, what it is for, and its number n in the derivation with key agreement."""

    kind: int
    template: ControlReference
    number: int

    @property
    def roles(self) -> list[str]:
        """The purposes it serves."""
        return [role for (kind, bit), role in _ROLES.items() if kind == self.kind and self.template.usage & bit]


def read_parameters(data: bytes, i: int) -> tuple[SecurityParameters, tuple[Reference, ...]]:
    """Security level and session keys as the host asks for them.

    Raises DecodeError for what does not parse, for a key given twice, without its value (transport) or with one
    (agreement), and for a level that needs a key which is not there.
    """
    parameters = SecurityParameters.parse(data)
    if parameters.build() != data or parameters.level & ~PROTECTION:
        raise DecodeError("security parameters are D3 01 level, then control reference templates")
    references = tuple(_references(parameters))
    roles = [role for reference in references for role in reference.roles]
    if len(set(roles)) != len(roles):
        raise DecodeError("two session keys for one purpose")
    for bit, role in _NEEDED.items():
        if parameters.level & bit and role not in roles:
            raise DecodeError(f"level {parameters.level:02X} needs a key that is not there")
    for reference in references:
        _check_source(reference, i)
    return parameters, references


def _references(parameters: SecurityParameters) -> Iterator[Reference]:
    counts = {"mac": 0, "cipher": 0, "dek": 0}
    for kind, content in parameters.references:
        template = ControlReference.parse(content)
        if not any(template.usage and not template.usage & ~bits for bits in _USAGES.get(kind, ())):
            raise DecodeError(f"template {kind:X} with usage {template.usage:02X}")
        if template.key_type not in (None, _DES, _DES_CBC, _DES_ECB):
            raise DecodeError(f"a session key of type {template.key_type:02X}")
        series = "mac" if kind == MAC_KEY else "dek" if template.usage & _DEK else "cipher"
        # 1, 3: MAC keys; 2, 4: cipher keys; 5, 6: data encryption keys (F.3.1.3).
        number = {"mac": 1 + 2 * counts[series], "cipher": 2 + 2 * counts[series], "dek": 5 + counts[series]}[series]
        counts[series] += 1
        yield Reference(kind, template, number)


def _check_source(reference: Reference, i: int) -> None:
    template, transport = reference.template, not i & I.AGREEMENT
    if transport and (template.key is None or len(template.key) not in (16, 24)):
        raise DecodeError("a transported session key has 16 or 24 bytes")
    if not transport and template.key is not None:
        raise DecodeError("an agreed session key is not given")
    if (template.counter is not None) != (transport and reference.kind == MAC_KEY):
        raise DecodeError("a counter belongs to each transported MAC key, and to no other")


def find_parameters(data: bytes) -> bytes:
    """The security parameters that end `data`, without what stands before them.

    The random padding before them has no delimiter: the rightmost D3 01 from which the rest is a level and templates
    is their start. Raises DecodeError when there is none.
    """
    start = len(data)
    while (start := data.rfind(b"\xd3\x01", 0, start + 1)) >= 0:
        try:
            parameters = SecurityParameters.parse(data[start:])
        except DecodeError:
            continue
        if all(kind in _USAGES for kind, _ in parameters.references):
            return data[start:]
    raise DecodeError("no security parameters", len(data))


@final
class Counter:
    """The counter that ICVs are made of: 8 bytes, plus one for each MAC, modulo 2**64 (GPCS F.3.2)."""

    __slots__ = ("_value",)

    def __init__(self, start: bytes) -> None:
        self._value = int.from_bytes(start)

    def take(self) -> bytes:
        """The present value; the next one is one more."""
        value = self._value
        self._value = (value + 1) % (1 << 64)
        return value.to_bytes(8)


@final
class MacKey:
    """Retail MAC under a 16- or 24-byte key, with a counted ICV (GPCS F.3.2, F.3.2). One object per session."""

    __slots__ = ("_key", "_single", "counter")

    def __init__(self, raw_key: bytes, counter: Counter) -> None:
        self._key = TripleDesKey(raw_key, "S-MAC")
        # Triple DES with two equal halves is single DES.
        self._single = TripleDesKey(raw_key[:BLOCK] * 2, "S-MAC, first part")
        self.counter = counter

    def next_mac(self, data: bytes) -> bytes:
        """MAC over `data`, which is padded here, with the ICV of the present counter; 8 bytes."""
        icv = self._single.encrypt_blocks(self.counter.take())
        blocks = pad80(data, BLOCK)
        chained = self._single.encrypt_cbc(icv, blocks[:-BLOCK])[-BLOCK:] or icv
        return self._key.encrypt_cbc(chained, blocks[-BLOCK:])


class DataKey(msgspec.Struct, frozen=True):
    """A data encryption key and its mode, ECB or CBC with ICV 0 (GPCS F.3.2)."""

    key: TripleDesKey
    cbc: bool

    def encrypt(self, data: bytes) -> bytes:
        """Whole blocks. Raises ValueError for a rest."""
        return self.key.encrypt_cbc(NO_IV, data) if self.cbc else self.key.encrypt_blocks(data)

    def decrypt(self, data: bytes) -> bytes:
        """Inverse of `encrypt`."""
        return self.key.decrypt_cbc(NO_IV, data) if self.cbc else self.key.decrypt_blocks(data)


class SessionKeys(msgspec.Struct, frozen=True):
    """The keys of one session at one end; None where the host asked for none."""

    c_mac: MacKey | None = None
    r_mac: MacKey | None = None
    c_enc: TripleDesKey | None = None
    r_enc: TripleDesKey | None = None
    dek: DataKey | None = None
    """For sensitive data in commands."""


Source = Callable[[Reference], tuple[bytes, bytes]]
"""From a session key's reference to its value and the start of its counter (MAC keys; else anything)."""


def transported(reference: Reference) -> tuple[bytes, bytes]:
    """Key and counter as the host gave them (GPCS F.1.4). A `Source`."""
    return reference.template.key or b"", reference.template.counter or NO_IV


def agreed(host_secret: bytes, card_secret: bytes) -> Source:
    """Derivation from OES and CS, 32 bytes each (GPCS F.3.1.3): SHA-1 over their exclusive or and n in 4 bytes."""
    shared = (int.from_bytes(host_secret) ^ int.from_bytes(card_secret)).to_bytes(SECRET_BYTES)
    start = card_secret[-4:] + host_secret[-4:]

    def derive(reference: Reference) -> tuple[bytes, bytes]:
        seed = shared + reference.number.to_bytes(4)
        return hashlib.sha1(seed).digest()[:16], start  # noqa: S324 - the derivation is fixed so (GPCS F.3.1.3)

    return derive


def session_keys(references: tuple[Reference, ...], source: Source, profile: Profile) -> SessionKeys:
    """The keys of a session, fresh objects with their counters at the start."""
    macs: dict[str, MacKey] = {}
    ciphers: dict[str, TripleDesKey] = {}
    deks: dict[str, DataKey] = {}
    counter: Counter | None = None
    for reference in references:
        key, start = source(reference)
        if reference.kind == MAC_KEY:
            counter = counter if counter and profile.counter == "session" else Counter(start)
            for role in reference.roles:
                macs[role] = MacKey(key, Counter(start) if profile.counter == "direction" else counter)
        elif reference.template.usage & _DEK:
            deks |= dict.fromkeys(reference.roles, _data_key(reference, key, profile))
        else:
            ciphers |= dict.fromkeys(reference.roles, TripleDesKey(key, "S-ENC"))
    dek = deks.get(_ROLES[CIPHER_KEY, profile.command_dek]) or next(iter(deks.values()), None)
    return SessionKeys(macs.get("c_mac"), macs.get("r_mac"), ciphers.get("c_enc"), ciphers.get("r_enc"), dek)


def _data_key(reference: Reference, key: bytes, profile: Profile) -> DataKey:
    mode = {_DES_CBC: "cbc", _DES_ECB: "ecb"}.get(reference.template.key_type or 0, profile.dek_mode)
    return DataKey(TripleDesKey(key, "S-DEK"), mode == "cbc")
