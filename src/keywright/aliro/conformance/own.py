"""Our own two sides as a bench has them: what a device must be given so that every scenario has something to do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from keywright.aliro import certificates
from keywright.aliro.conformance.reader_checks import Issuing, ReaderScenario
from keywright.aliro.conformance.tester import Bench
from keywright.aliro.conformance.tester_device import TesterDevice
from keywright.aliro.credential import CredentialRecord, GroupRecord
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Validity
from keywright.aliro.documents.exchange import DeviceResponse
from keywright.aliro.documents.revocation_data import APPEND, RevocationData, RevocationEntry
from keywright.aliro.documents.verification import Trust
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.keys import CURVE
from keywright.aliro.lock import Lock
from keywright.aliro.lock import Settings as LockSettings
from keywright.aliro.profile import Interface
from keywright.aliro.reader import Reader
from keywright.aliro.simulated import SimulatedUserDevice
from keywright.aliro.user_device import Settings, UserDevice
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.store.memory import Memory, RamMemory

ELEMENT = "door"
MAILBOX_BYTES = 64


def key(name: str) -> EcPrivateKey:
    """A TEST key, the same for the same name."""
    return EcPrivateKey.from_scalar(CURVE, hashlib.sha256(f"keywright conformance {name}".encode()).digest())


def bench(interface: Interface = Interface.NFC, *, strict: bool = True) -> Bench:
    """What a tester of `device` knows."""
    issuer = key("reader system issuer")
    certificate = certificates.compress(certificates.issue(issuer, key("certified reader").public))
    return Bench(
        Reader(key("reader"), _group("reader") + bytes(16), interface=interface),
        Reader(
            key("certified reader"), _group("certified") + bytes(16), certificate, issuer.public, interface=interface
        ),
        key("credential").public,
        ELEMENT,
        MAILBOX_BYTES,
        strict,
    )


def device(random: Callable[[int], bytes], now: int, settings: Settings | None = None) -> SimulatedUserDevice:
    """A device with one credential for both readers, documents signed at `now`, and a mailbox."""
    public = key("credential").public
    groups = (
        GroupRecord(_group("reader"), key("reader").public.point),
        GroupRecord(_group("certified"), key("reader system issuer").public.point),
    )
    issuer = CredentialIssuer(key("credential issuer"), random)
    validity = Validity(now, now - 3600, now + 86_400)
    access = AccessData(rules=(AccessRule(Capability.UNSECURE),))
    revoked = RevocationData(APPEND, entries=(RevocationEntry(key_hash=bytes(32)),))
    memory = RamMemory(
        {
            "credential/0": CredentialRecord(b"credential", public.point, groups).build(),
            "mailbox/0": bytes(MAILBOX_BYTES),
            "access/0": issuer.access_document(public, {ELEMENT: access}, validity).build(),
            "revocation/0": issuer.revocation_document({ELEMENT: revoked}, validity).build(),
        }
    )
    return SimulatedUserDevice(UserDevice(settings or Settings(), lambda name: key(name.decode()), random), memory)


def _group(name: str) -> bytes:
    return hashlib.sha256(f"keywright conformance group {name}".encode()).digest()[:16]


def issuing(random: Callable[[int], bytes], now: int, element: str = ELEMENT) -> Issuing:
    """Documents for a lock that trusts the issuer of `lock`, about this element."""
    return Issuing(
        CredentialIssuer(key("credential issuer"), random),
        CredentialIssuer(key("stranger"), random),
        key("credential"),
        key("other"),
        element,
        now,
    )


def device_for(
    scenario: ReaderScenario, made: Issuing, random: Callable[[int], bytes], group_key: EcPublicKey | None = None
) -> TesterDevice:
    """The device that plays a scenario. group_key: of the reader, or its issuer; None: of the reader of `bench`."""
    make = scenario.document or (lambda given: DeviceResponse((given.document(),)).build())
    response = make(made)
    return TesterDevice(scenario.behaviour, key, group_key or key("reader").public, random, lambda _: response)


def lock(memory: Memory) -> Lock:
    """A lock with the reader of `bench`, which lets nobody in but by a document."""
    trust = Trust.of((key("credential issuer").public,))
    return Lock(bench().reader, memory, trust, LockSettings(elements=(ELEMENT,)))
