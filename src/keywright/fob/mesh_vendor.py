"""The vendor of simulated mesh devices: its CA, and the records its devices leave it with (MshPRT 5.5).

Everybody has its keys, so its certificates prove nothing; they are there to be tried.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import cache
from typing import Final

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.mesh.ends import CURVE
from keywright.mesh.pki import Authority

VENDOR: Final = "Keywright simulated devices"
VALIDITY: Final = (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2076, 1, 1, tzinfo=dt.UTC))


@cache
def vendor() -> Authority:
    """Its issuing CA, which is below its root. Keys and names are the same in every process."""
    root = Authority.begin(_key("root"), VENDOR, serial_number=1, validity=VALIDITY, path_length=1)
    return root.subordinate(_key("CA"), f"{VENDOR} CA", serial_number=2, validity=VALIDITY)


def certified_records(uuid: bytes, key: EcPublicKey, *, company: int, product: int) -> dict[int, bytes]:
    """The records of a device with this key: its certificate and the CA's. company, product: of its composition."""
    serial = int.from_bytes(hashlib.sha256(uuid).digest()[:15]) | 1
    certificate = vendor().certify(uuid, key, serial_number=serial, validity=VALIDITY, company=company, product=product)
    return vendor().records(certificate)


def _key(what: str) -> EcPrivateKey:
    return EcPrivateKey.draw(CURVE, hashlib.shake_256(f"keywright simulated mesh vendor\0{what}".encode()).digest)
