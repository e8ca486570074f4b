"""The device's end, byte for byte against the sessions of the standard."""

from __future__ import annotations

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.mesh.device import Abilities, Device
from keywright.mesh.keys import CMAC, HMAC
from support.mesh import NodeMemory, scripted
from support.vectors import Case, unhex, vectors


@vectors("mesh/provisioning_crypto.json")
def test_the_standards_session(case: Case) -> None:
    memory = NodeMemory()
    capabilities = unhex(case["Capabilities"])
    hmac = bool(case["Algorithm"])
    device = Device(
        Abilities(
            algorithms=CMAC.bit | HMAC.bit if hmac else CMAC.bit, static_oob=unhex(case["AuthValue"]) if hmac else b""
        ),
        new_key=lambda: EcPrivateKey.from_scalar("P-256", unhex(case["DevicePrivateKey"])),
        random=scripted(unhex(case["RandomDevice"])),
        remember=memory.remember,
    )
    data = unhex(case["EncryptedProvisioningData"]) + unhex(case["ProvisioningDataMIC"])
    for sent, awaited in [
        (b"\x00" + unhex(case["Invite"]), b"\x01" + capabilities),
        (b"\x02" + unhex(case["Start"]), None),
        (b"\x03" + unhex(case["ProvisionerPublicKey"]), b"\x03" + unhex(case["DevicePublicKey"])),
        (b"\x05" + unhex(case["ConfirmationProvisioner"]), b"\x05" + unhex(case["ConfirmationDevice"])),
        (b"\x06" + unhex(case["RandomProvisioner"]), b"\x06" + unhex(case["RandomDevice"])),
        (b"\x07" + data, b"\x08"),
    ]:
        device.receive(sent, 0.0)
        assert device.outgoing(0.0) == ([] if awaited is None else [awaited])
    ((kept, device_key),) = memory.kept
    assert kept.build() == unhex(case["ProvisioningData"])
    assert device_key.reveal() == unhex(case["DeviceKey"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"elements": 0},
        {"elements": 256},
        {"algorithms": 0},
        {"static_oob": bytes(33)},
        {"output_size": 9, "output_actions": 1},
        {"output_size": 4},
        {"output_actions": 1},
        {"input_size": 1, "input_actions": 0x10},
        {"oob_only": True, "algorithms": 2},
        {"oob_only": True, "static_oob": b"x"},
    ],
)
def test_no_device_may_say_this_of_itself(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"device|OOB"):
        Abilities(**wrong)  # type: ignore[arg-type]  # what is wrong is the point
