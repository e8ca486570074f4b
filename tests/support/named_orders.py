"""Orders that name their devices, as a supplier lists them, and trays whose fobs came with a key pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keywright.fob.credential import host as credential
from keywright.fob.credential.messages import CREDENTIAL_AID
from keywright.fob.fobs import chip_serial, simulated_fob
from keywright.globalplatform.host import identify, select
from keywright.iso7816 import transmit
from keywright.iso7816.layers import complete
from keywright.link import Loopback
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import KeySet, open_channel
from keywright.store import Journal, Memory, RamMemory

HEAD = "serial,model,owner_group"


def serials(count: int) -> list[str]:
    return [f"K-{n:06d}" for n in range(1, count + 1)]


def uid_of(serial: str) -> str:
    """What `identify` reads of the fob of this serial."""
    device = simulated_fob(serial, RamMemory())
    device.reset()
    return drive(through(identify(), complete), transmit(Loopback(device))).uid


def by_kdd(names: Sequence[str]) -> str:
    """An order that names key diversification data."""
    return "\n".join([f"{HEAD},kdd", *(f"{one},fob-one,north,{chip_serial(one).hex()}" for one in names), ""])


def supplied(serial: str, memory: Memory) -> bytes:
    """The supplier's own line: the fob of this serial makes its key pair, whose point is returned."""
    device = simulated_fob(serial, memory)
    device.reset()
    send = transmit(Loopback(device))
    drive(through(select(CREDENTIAL_AID), complete), send)
    channel = drive(open_channel(KeySet.gp_test(), bytes(8)), send)
    return drive(through(credential.generate_key_pair(), channel.secure), send)


def by_key(names: Sequence[str], journal: Path) -> str:
    """An order that names KDD, identity and public key, of fobs whose memory is in the journal."""
    lines = [f"{HEAD},kdd,uid,public_key"]
    memories = Journal(str(journal))
    try:
        for one in names:
            point = supplied(one, memories.memory(one))
            lines.append(f"{one},fob-one,north,{chip_serial(one).hex()},{uid_of(one)},{point.hex()}")
    finally:
        memories.close()
    return "\n".join([*lines, ""])
