"""btmesh's provisioner against our device, through its own cutting and joining of Proxy PDUs."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.device import Abilities, Device, Provisioned, Refused
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.pb_gatt.messages import PROVISIONING_PDU
from keywright.mesh.session import DeviceSession
from support.mesh import NodeMemory, make_device, scripted
from support.peers import require_peer
from support.vectors import load, unhex

require_peer("btmesh", importlib.util.find_spec("btmesh") is not None, "pip install --ignore-requires-python btmesh")

from btmesh import provisioner as foreign  # noqa: E402 - a peer that may be missing
from btmesh import proxy_pdu  # noqa: E402 - as above

NET = bytes(range(16))
BOTH = CMAC.bit | HMAC.bit


class Peer:
    """btmesh's provisioner on one end of a connection, our device on the other."""

    def __init__(self, device: Device, mtu: int, **how: Any) -> None:
        self.link = PbGattLink.accept(mtu, 0.0)
        self.session = DeviceSession(device, self.link)
        self.told: list[object] = []
        self._mtu = mtu
        self._reassembler = proxy_pdu.Reassembler()
        self.provisioner = foreign.Provisioner(send=self._send, **how)

    def run(self) -> None:
        """Until nobody says anything; raises what btmesh raises."""
        self.provisioner.start()
        while values := self.session.outgoing(0.0):
            self.told += self.session.events()
            for value in values:
                whole = self._reassembler.feed(value)
                if whole is not None:
                    assert whole[0] == proxy_pdu.MSG_TYPE_PROVISIONING_PDU == PROVISIONING_PDU
                    self.provisioner.handle_pdu(whole[1])
        self.told += self.session.events()

    def _send(self, pdu: bytes) -> None:
        for value in proxy_pdu.segment(proxy_pdu.MSG_TYPE_PROVISIONING_PDU, pdu, self._mtu - 3):
            self.session.receive(value, 0.0)


@pytest.mark.parametrize("mtu", [23, 69, 247])
@pytest.mark.parametrize("algorithms", [CMAC.bit, BOTH], ids=["CMAC", "both"])
@pytest.mark.parametrize("static_oob", [b"", bytes(range(100, 116)), b"short"])
def test_btmesh_provisions_our_device(mtu: int, algorithms: int, static_oob: bytes) -> None:
    memory = NodeMemory()
    device = make_device(Abilities(elements=2, algorithms=algorithms, static_oob=static_oob), memory)
    peer = Peer(
        device, mtu, netkey=NET, key_index=0x123, iv_index=7, unicast_addr=0x0B0C, static_oob=static_oob or None
    )
    peer.run()
    assert peer.provisioner.done
    ((data, device_key),) = memory.kept
    assert data == ProvisioningData(NET, 0x123, 0, bytes((0, 0, 0, 7)), 0x0B0C)
    assert device_key.reveal() == peer.provisioner.device_key
    assert Provisioned(0x0B0C, 2) in peer.told
    assert peer.provisioner.capabilities == foreign.decode(b"\x01" + device_capabilities(algorithms, static_oob))


def device_capabilities(algorithms: int, static_oob: bytes) -> bytes:
    return Abilities(elements=2, algorithms=algorithms, static_oob=static_oob).capabilities().build()


def test_btmesh_derives_the_standards_device_key_with_our_device() -> None:
    """Both with the keys and randoms of the standard's sample."""
    case = load("mesh/provisioning_crypto.json")[0]
    memory = NodeMemory()
    device = Device(
        Abilities(algorithms=CMAC.bit),
        new_key=lambda: EcPrivateKey.from_scalar("P-256", unhex(case["DevicePrivateKey"])),
        random=scripted(unhex(case["RandomDevice"])),
        remember=memory.remember,
    )
    data = ProvisioningData.parse(unhex(case["ProvisioningData"]))
    peer = Peer(
        device,
        23,
        netkey=data.net_key,
        key_index=data.key_index,
        iv_index=int.from_bytes(data.iv_index),
        unicast_addr=data.unicast_address,
        keypair=unhex(case["ProvisionerPrivateKey"]),
        random=unhex(case["RandomProvisioner"]),
    )
    peer.run()
    assert peer.provisioner.device_key == memory.kept[0][1].reveal() == unhex(case["DeviceKey"])
    assert memory.kept[0][0] == data


def test_a_wrong_static_value_is_refused_with_the_error_that_btmesh_knows() -> None:
    memory = NodeMemory()
    device = make_device(Abilities(static_oob=bytes(range(16))), memory)
    peer = Peer(device, 23, netkey=NET, key_index=0, iv_index=0, unicast_addr=1, static_oob=bytes(16))
    with pytest.raises(foreign.ProvisioningFailed, match="Confirmation Failed"):
        peer.run()
    assert not memory.kept
    assert any(isinstance(event, Refused) for event in [*peer.told, *peer.session.events()])


def test_a_device_with_hmac_alone_is_not_for_btmesh() -> None:
    """Its core knows CMAC alone, and says so."""
    peer = Peer(make_device(Abilities(algorithms=HMAC.bit)), 69, netkey=NET, key_index=0, iv_index=0, unicast_addr=1)
    with pytest.raises(foreign.ProvisioningError, match="does not support the FIPS P-256"):
        peer.run()
