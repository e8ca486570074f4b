"""The line's device CA: one certificate for each unit and the key pair that the unit made."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, final

from keywright.crypto.certificates import load_certificate, verify_device_certificate
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, PolicyError
from keywright.production.keystores.keystore import Keystore
from keywright.production.unit_store.rows import Certificate, Unit

CURVE: Final = "P-256"
SERIAL_NUMBER_BYTES: Final = 16

_PRINTABLE: Final = frozenset(string.ascii_letters + string.digits + " '()+,-./:=?")
"""What the serialNumber of a subject may be written with (PrintableString)."""


@final
class DeviceAuthority:
    """Issues device certificates with a CA of the keystore; cheap to make."""

    __slots__ = ("_ca", "_keystore")

    def __init__(self, keystore: Keystore, ca: str) -> None:
        """`ca` is the CA's name in the keystore."""
        self._keystore = keystore
        self._ca = ca

    def check_validity(self, at: float, validity_days: int) -> None:
        """Raise PolicyError if the CA does not outlast certificates issued at that time for so many days."""
        ends = load_certificate(self._keystore.certificate(self._ca)).not_after
        if datetime.fromtimestamp(at, UTC) + timedelta(days=validity_days) > ends:
            raise PolicyError(
                f"the CA {self._ca!r} ends on {ends:%Y-%m-%d}, before certificates of {validity_days} days would",
                hint="shorten validity_days in the recipe, or use another CA",
            )

    def issue(
        self, unit: Unit, point: bytes, *, at: float, validity_days: int, rng: Callable[[int], bytes]
    ) -> Certificate:
        """The certificate of a unit for its public key, as a change to be committed before anybody else sees it.

        Whether the unit has a certificate already is the caller's to look up; the store refuses a second one for the
        unit, for the key, or with the same serial number. `point`: 04 || X || Y on P-256; `at`: begin of validity in
        seconds since 1970. The subject is the unit's serial. Raises DecodeError for a point that is not on the curve,
        PolicyError for a validity beyond the CA's.
        """
        public_key = EcPublicKey.from_point(CURVE, point)
        begin = datetime.fromtimestamp(at, UTC)
        serial_number = _serial_number(rng)
        der = self._keystore.issue(
            self._ca,
            common_name=unit.serial,
            subject_serial=unit.serial if set(unit.serial) <= _PRINTABLE else "",
            public_key=public_key,
            serial_number=serial_number,
            not_before=begin,
            not_after=begin + timedelta(days=validity_days),
        )
        return Certificate(
            serial_number=f"{serial_number:0{2 * SERIAL_NUMBER_BYTES}x}",
            unit=unit.n,
            spki_sha256=hashlib.sha256(public_key.spki()).digest(),
            der=der,
            at=at,
        )

    def verify(self, certificate: Certificate, unit: Unit, point: bytes) -> None:
        """Raise AuthenticationError unless this CA issued the certificate for this key and unit."""
        found = load_certificate(certificate.der)
        ca = load_certificate(self._keystore.certificate(self._ca))
        verify_device_certificate(found, ca, public_key=EcPublicKey.from_point(CURVE, point))
        if found.subject != unit.serial:
            raise AuthenticationError(f"the certificate names {found.subject!r}, not {unit.serial!r}")

    @staticmethod
    def spki_digest(point: bytes) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo of a point on P-256, 32 bytes. Raises DecodeError."""
        return hashlib.sha256(EcPublicKey.from_point(CURVE, point).spki()).digest()


def _serial_number(rng: Callable[[int], bytes]) -> int:
    """126 random bits; the bits above keep it positive and of one length (RFC 5280 4.1.2.2)."""
    drawn = bytearray(rng(SERIAL_NUMBER_BYTES))
    drawn[0] = drawn[0] & 0x3F | 0x40
    return int.from_bytes(drawn)
