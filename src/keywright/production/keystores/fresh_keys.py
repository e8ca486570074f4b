"""The keys a new software keystore begins with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from keywright.crypto.aes import AesKey
from keywright.crypto.certificates import issue_ca_certificate, load_certificate
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.kcv import Kcv, Rule, identifier, key_check_value
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.registry import Registry, new_record
from keywright.production.keystores.sealed import Entry
from keywright.scp.scp03.keys import GP_TEST_KEY

CA_YEARS: Final = 30
_DAY: Final = timedelta(days=1)


def fresh_entries(now: datetime, rng: Callable[[int], bytes]) -> tuple[Entry, ...]:
    """Issuer masters, the GlobalPlatform test keys, a device CA, an identity, and a Credential Issuer.

    `issuer` (AES-256) serves sp800-108 and kdf3; `issuer-des` (two-key triple DES) serves emv and visa2.
    """
    return (
        Entry("issuer", "master", "AES-256", rng(32)),
        Entry("issuer-des", "master", "TDES", _des_key(rng)),
        Entry("gp-test", "factory", "AES-128", GP_TEST_KEY * 3),
        _device_ca(now, rng),
        fresh_identity(),
        Entry("access-issuer", "issuer", "P-256", EcPrivateKey.generate("P-256").to_pkcs8()),
    )


def fresh_identity() -> Entry:
    """The key that signs the records of units."""
    return Entry("unit-records", "identity", "P-256", EcPrivateKey.generate("P-256").to_pkcs8())


def _des_key(rng: Callable[[int], bytes]) -> bytes:
    """Two different halves of odd parity."""
    while True:
        key = bytes(byte ^ (1 ^ byte.bit_count() & 1) for byte in rng(16))
        if key[:8] != key[8:]:
            return key


def _device_ca(now: datetime, rng: Callable[[int], bytes]) -> Entry:
    """A self-signed P-256 CA, valid from the day before, because clocks of one line may differ."""
    key = EcPrivateKey.generate("P-256")
    certificate = issue_ca_certificate(
        key,
        common_name="keywright TEST device CA",
        serial_number=int.from_bytes(b"\x40" + rng(15)),
        not_before=now - _DAY,
        not_after=now + CA_YEARS * 365 * _DAY,
    )
    return Entry("device-ca", "ca", "P-256", key.to_pkcs8(), certificate)


def records_of(keystore_id: str, entries: tuple[Entry, ...], created: int) -> Registry:
    """A registry of TEST keys, all active from the beginning."""
    registry = Registry("test")
    for entry in entries:
        record = new_record(
            keystore_id,
            entry.name,
            entry.purpose,
            entry.algorithm,
            _checks(entry),
            environment="test",
            created=created,
            state=KeyState.ACTIVE,
        )
        registry = registry.with_record(record)
    return registry


def made_at(entries: tuple[Entry, ...], path: Path) -> int:
    """When a keystore of version 1 was made: its CA's certificate tells, else the file's time. Seconds since 1970."""
    for entry in entries:
        if entry.certificate:
            return int((load_certificate(entry.certificate).not_before + _DAY).timestamp())
    return int(path.stat().st_mtime)


def _checks(entry: Entry) -> tuple[Kcv, ...]:
    """AES by the rules of GlobalPlatform and of X9.143, three of the first for a set; never one for the other."""
    if entry.purpose == "ca":
        return (identifier(b"CA", EcPrivateKey.from_pkcs8(entry.secret).public.spki()),)
    if entry.purpose in ("identity", "issuer"):
        return (identifier(entry.purpose.encode(), EcPrivateKey.from_pkcs8(entry.secret).public.spki()),)
    if entry.purpose == "factory":
        size = len(entry.secret) // 3
        parts = (entry.secret[at : at + size] for at in range(0, 3 * size, size))
        return tuple(key_check_value(AesKey(part), Rule.AES_ONES) for part in parts)
    if entry.algorithm == "TDES":
        return (key_check_value(TripleDesKey(entry.secret), Rule.TDES_ZERO),)
    key = AesKey(entry.secret)
    return key_check_value(key, Rule.AES_ONES), key_check_value(key, Rule.AES_CMAC)
