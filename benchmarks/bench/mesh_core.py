"""Bluetooth Mesh without any carrier, against what its cryptography alone costs, and a lot in virtual time.

The ceiling of a handshake is its elliptic curve arithmetic: both ends make a key pair, both take in the other's point
and agree. That of a network PDU is one CCM and the hiding of its header
(one AES block and an exclusive or), with contexts that are there already.
"""

from __future__ import annotations

import os
import random
import time
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from bench.figures import Figure, micro, rate
from bench.measure import Contender, race
from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Abilities, Device
from keywright.mesh.enrolment import Candidate, Enrolled, Failed
from keywright.mesh.enrolments import Enrolments, Radio
from keywright.mesh.keys import CMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.network.keys import NetKey
from keywright.mesh.network.pdu import NetworkPdu, open_network, seal_network
from keywright.mesh.oob import Authentication, Method
from keywright.mesh.pb_adv.links import topic
from keywright.mesh.policy import Choice, Policy
from keywright.mesh.provisioner import Authenticated, CapabilitiesReceived, Provisioned, Provisioner
from keywright.mesh.unit import Design, Unit
from keywright.sansio.air import Air
from keywright.store.memory import RamMemory

HANDSHAKE: Final = 0.40
NETWORK: Final = 0.50
LOT: Final = 1000
LOT_S: Final = 60.0
_ROUNDS: Final = 31
_CHOICE: Final = Choice(CMAC, uses_oob_key=False, authentication=Authentication())
_DATA: Final = ProvisioningData(bytes(range(16)), 0, 0, bytes(4), 0x0100)
_COMPOSITION: Final = Composition(0x05F1, 1, 1, 32, 0, (Element(0, (0x0000, 0x1000)),))


def figures() -> list[Figure]:
    """Every row."""
    return [_handshakes(), _network_pdus(), lot_figure(LOT)]


def handshake() -> None:
    """One session between two ends in memory. Raises RuntimeError if the device is no node at its end."""
    kept: list[ProvisioningData] = []
    provisioner = Provisioner(EcPrivateKey.generate("P-256"), os.urandom)
    device = Device(
        Abilities(),
        new_key=lambda: EcPrivateKey.generate("P-256"),
        random=os.urandom,
        remember=lambda data, _: kept.append(data),
    )
    provisioner.invite(0, 0.0)
    is_done = False
    while not is_done:
        for pdu in provisioner.outgoing(0.0):
            device.receive(pdu, 0.0)
        for pdu in device.outgoing(0.0):
            provisioner.receive(pdu, 0.0)
        events = provisioner.events()
        for event in events:
            match event:
                case CapabilitiesReceived():
                    provisioner.start(_CHOICE, 0.0)
                case Authenticated():
                    provisioner.provide(_DATA, 0.0)
                case Provisioned():
                    is_done = True
                case _:
                    raise RuntimeError(f"{event}")
        if not events and provisioner.state == "failed":
            raise RuntimeError("the session failed")
    if kept != [_DATA]:
        raise RuntimeError("the device has not kept its data")


def _bare_curve() -> None:
    one, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    for mine, theirs in ((one, other), (other, one)):
        numbers = theirs.public_key().public_numbers()
        point = b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
        mine.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))


def _handshakes() -> Figure:
    result = race([Contender("ours", handshake), Contender("curve", _bare_curve)], rounds=_ROUNDS)
    ours, bare = result.median("ours"), result.median("curve")
    share = result.speed("ours", "curve")
    what = "mesh provisioning, both ends, in memory"
    return Figure(what, rate(1 / ours), f"{rate(1 / bare)} curve alone", share, HANDSHAKE)


def _network_pdus() -> Figure:
    key = NetKey(bytes(range(16)))
    pdu = NetworkPdu(ctl=False, ttl=5, seq=7, src=0x0100, dst=0x0200, transport=bytes(16))
    ccm, nonce, text = AESCCM(bytes(16), tag_length=4), bytes(13), bytes(18)
    sealed = ccm.encrypt(nonce, text, None)
    block = Cipher(algorithms.AES(bytes(16)), modes.ECB()).encryptor().update
    header = bytes(6)

    def ours() -> None:
        open_network(key, 0, seal_network(key, 0, pdu))

    def bare() -> None:
        out = ccm.encrypt(nonce, text, None)
        hide(out)
        hide(sealed)
        ccm.decrypt(nonce, sealed, None)

    def hide(octets: bytes) -> bytes:
        mask = block(bytes(9) + octets[:7])
        return (int.from_bytes(mask[:6]) ^ int.from_bytes(header)).to_bytes(6)

    result = race([Contender("ours", ours), Contender("bare", bare)], rounds=_ROUNDS)
    what = "mesh network PDU sealed and opened"
    against = f"{micro(result.median('bare'))} CCM and obfuscation alone"
    return Figure(what, micro(result.median("ours")), against, result.speed("ours", "bare"), NETWORK)


def lot_figure(count: int) -> Figure:
    """A lot over one radio in virtual time. Raises RuntimeError unless every device is a node of its own address."""
    start = time.perf_counter()
    virtual_s = lot(count)
    took = time.perf_counter() - start
    what = f"{count:,} PB-ADV devices provisioned in virtual time"
    return Figure(what, f"{took:.1f} s", f"{virtual_s:,.0f} s on the air", took, LOT_S, most=True, form="{:.0f} s")


def lot(count: int) -> float:
    """Provision so many simulated devices; the seconds that it would have taken on the air. Raises RuntimeError."""
    chance = random.Random(1)
    air = Air(chance.random, topic=topic)
    database = NetworkDatabase.begin(
        RamMemory(),
        name="bench",
        uuid=bytes(16),
        net_key=os.urandom(16),
        provisioner_uuid=bytes(16),
        timestamp="2026-01-01T00:00:00Z",
    )
    radio = Radio(lambda: EcPrivateKey.generate("P-256"), os.urandom, chance.random)
    numbers: dict[bytes, int] = {}

    def opening(uuid: bytes, link_id: int) -> None:
        air.tune(station, link_id)
        air.tune(numbers[uuid], link_id)

    policy = Policy(methods=(Method.STATIC,))
    enrolments = Enrolments(radio, database, policy=policy, timestamp="2026-01-01T00:00:00Z", opening=opening)
    units = []
    for number in range(count):
        uuid, value = number.to_bytes(16), os.urandom(16)
        unit = Unit(
            Design(uuid, _COMPOSITION, Abilities(static_oob=value)),
            RamMemory(),
            0.0,
            new_key=lambda: EcPrivateKey.generate("P-256"),
            random_bytes=os.urandom,
            random=chance.random,
        )
        units.append(unit)
        numbers[uuid] = air.join(unit, topics=[uuid])
        enrolments.add(Candidate(uuid, static_oob=value, attention_s=0), 0.0)
    station = air.join(enrolments, topics=())
    ends: list[Enrolled | Failed] = []

    def is_over() -> bool:
        ends.extend(told.event for told in enrolments.events() if isinstance(told.event, Enrolled | Failed))
        return len(ends) == count

    air.run(1e6, is_over)
    addresses = {unit.node.stack.address for unit in units if unit.node is not None}
    if not all(isinstance(end, Enrolled) for end in ends) or len(addresses) != count:
        raise RuntimeError(f"{len(addresses)} of {count} devices became nodes")
    return air.now
