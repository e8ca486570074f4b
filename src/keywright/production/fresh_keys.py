"""The keys a new software keystore begins with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from keywright.crypto.certificates import issue_ca_certificate
from keywright.crypto.ec import EcPrivateKey
from keywright.production.sealed import Entry
from keywright.scp.scp03.keys import GP_TEST_KEY

CA_YEARS: Final = 30
_DAY: Final = timedelta(days=1)


def fresh_entries(now: datetime, rng: Callable[[int], bytes]) -> tuple[Entry, ...]:
    """Issuer masters, the GlobalPlatform test keys, and a device CA.

    `issuer` (AES-256) serves sp800-108 and kdf3; `issuer-des` (two-key triple DES) serves emv and visa2.
    """
    return (
        Entry("issuer", "master", "AES-256", rng(32)),
        Entry("issuer-des", "master", "TDES", _des_key(rng)),
        Entry("gp-test", "factory", "AES-128", GP_TEST_KEY * 3),
        _device_ca(now, rng),
    )


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
