"""Aliro's documents: signed and verified beside the bare signature of the same run, and a long list of revocations."""

from __future__ import annotations

import hashlib
import os
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.figures import Figure, micro, rate
from bench.measure import Contender, race
from keywright.aliro.documents import (
    ACCESS,
    OVERWRITE,
    AccessData,
    AccessRule,
    Document,
    Pattern,
    Recurrence,
    RevocationData,
    RevocationEntry,
    Schedule,
    Trust,
    Validity,
    Verified,
    key_hash,
    verify,
)
from keywright.aliro.documents.document import REVOCATION
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.iterations import Iterations
from keywright.aliro.revocation import Revocations
from keywright.crypto.ec import EcPrivateKey
from keywright.store.memory import RamMemory

SIGNED: Final = 3_000 / 20_000
"""Documents for each bare signature: 3,000 a second where a core signs 20,000 times."""
ENTRIES: Final = 100_000
LOOK_UP_MS: Final = 1.0
_ROUNDS: Final = 31
_NOW: Final = 1_750_000_000
_VALIDITY: Final = Validity(_NOW, _NOW, _NOW + 86400, iteration=1)
_DATA: Final = AccessData(
    id=b"badge-17",
    rules=(AccessRule(0x03, 0b1),),
    schedules=(Schedule(_NOW - 86400, recurrence=Recurrence(9 * 3600, Pattern.WEEKLY, 0b11111), utc=False),),
)


def figures(entries: int = ENTRIES, rounds: int = _ROUNDS) -> list[Figure]:
    """Every row."""
    key, credential = EcPrivateKey.generate("P-256"), EcPrivateKey.generate("P-256").public
    issuer = CredentialIssuer(key, os.urandom)
    revoked = RevocationData(OVERWRITE, (RevocationEntry(key_hash(credential)),))
    bare = key.library_key()
    algorithm = ec.ECDSA(hashes.SHA256())
    message = bytes(500)
    signature = bare.sign(message, algorithm)
    public = bare.public_key()
    whole = issuer.access_document(credential, {"floor1": _DATA}, _VALIDITY).build()
    trust = Trust.of([key.public])

    def verified() -> None:
        verify(Document.parse(whole), trust, doc_type=ACCESS, device_key=credential, now=_NOW)

    result = race(
        [
            Contender("access", lambda: issuer.access_document(credential, {"floor1": _DATA}, _VALIDITY).build()),
            Contender("revocation", lambda: issuer.revocation_document({"floor1": revoked}, _VALIDITY).build()),
            Contender("sign", lambda: bare.sign(message, algorithm)),
            Contender("verified", verified),
            Contender("verify", lambda: public.verify(signature, message, algorithm)),
        ],
        rounds=rounds,
    )

    def row(what: str, ours: str, floor: str, word: str, target: float | None) -> Figure:
        against = f"{rate(1 / result.median(floor))} bare {word}"
        return Figure(what, rate(1 / result.median(ours)), against, result.speed(ours, floor), target)

    return [
        row("Aliro, Access Documents signed", "access", "sign", "signatures", SIGNED),
        row("Aliro, Revocation Documents signed", "revocation", "sign", "signatures", SIGNED),
        row("Aliro, Access Documents read and verified", "verified", "verify", "verifications", None),
        _look_up(entries, rounds),
    ]


def _look_up(entries: int, rounds: int) -> Figure:
    memory = RamMemory()
    reader = Revocations(memory, Iterations(memory))
    issuer = EcPrivateKey.generate("P-256").public
    data = RevocationData(
        OVERWRITE,
        tuple(
            RevocationEntry(hashlib.sha256(number.to_bytes(4)).digest(), number.to_bytes(8))
            for number in range(entries)
        ),
    )
    reader.apply(Verified(REVOCATION, issuer, _VALIDITY, {"list": data.value()}, None, False, True))
    if len(reader) != entries:
        raise RuntimeError("the list has lost entries")
    result = race([Contender("ours", lambda: reader.revokes(issuer, b"nobody", now=_NOW))], rounds=rounds)
    took = result.median("ours")
    what = f"Aliro, a credential looked up among {entries:,} revocations"
    return Figure(what, micro(took), "1 ms", took * 1000, LOOK_UP_MS, most=True, form="{:.3f} ms")
