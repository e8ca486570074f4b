"""Pieces of the mesh tests: scripted randomness, one session between two ends, and what an end is made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.device import Abilities, Device
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.records import NO_RECORDS, Records

DATA = ProvisioningData(bytes(range(16)), 0x123, 0, bytes((0, 0, 0, 5)), 0x0100)


def counting(seed: int = 1) -> Callable[[int], bytes]:
    """Octets that differ at every call and are the same in every run."""
    numbers = itertools.count(seed << 64)
    return lambda size: b"".join(next(numbers).to_bytes(32)[-16:] for _ in range(size // 16 + 1))[-size:]


def scripted(*values: bytes) -> Callable[[int], bytes]:
    """Each of these once, in order; a call for another length is an error of the test."""
    left: Iterator[bytes] = iter(values)

    def give(size: int) -> bytes:
        value = next(left)
        assert len(value) == size
        return value

    return give


class NodeMemory:
    """What a device was told to remember."""

    def __init__(self) -> None:
        self.kept: list[tuple[ProvisioningData, AesKey]] = []

    def remember(self, data: ProvisioningData, device_key: AesKey) -> None:
        self.kept.append((data, device_key))


def make_device(
    abilities: Abilities | None = None,
    memory: NodeMemory | None = None,
    *,
    records: Records = NO_RECORDS,
    judge: Callable[[ProvisioningData], int] = lambda _: 0,
    random: Callable[[int], bytes] | None = None,
) -> Device:
    """A device with a fresh key."""
    return Device(
        abilities or Abilities(),
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random=random or counting(1),
        remember=(memory or NodeMemory()).remember,
        records=records,
        judge=judge,
    )


def make_provisioner() -> Provisioner:
    """A provisioner with a fresh key."""
    return Provisioner(EcPrivateKey.generate("P-256"), counting(2))


def settle(provisioner: Provisioner, device: Device, now: float = 0.0) -> list[tuple[str, bytes]]:
    """Carry PDUs until neither end has one; returns them, each after P or D."""
    carried: list[tuple[str, bytes]] = []
    while True:
        down, up = provisioner.outgoing(now), device.outgoing(now)
        if not down and not up:
            return carried
        for pdu in down:
            carried.append(("P", pdu))
            device.receive(pdu, now)
        for pdu in up:
            carried.append(("D", pdu))
            provisioner.receive(pdu, now)
