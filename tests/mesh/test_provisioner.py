"""The provisioner's end, byte for byte against the sessions of the standard; and what it does not take."""

from __future__ import annotations

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import KeywrightError, PolicyError, SequenceError
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC
from keywright.mesh.messages import (
    PDUS,
    Capabilities,
    Pdu,
    PublicKey,
    RecordResponse,
    build_pdu,
)
from keywright.mesh.messages import ProvisioningData as Data
from keywright.mesh.oob import Authentication, Method
from keywright.mesh.policy import Choice, Policy
from keywright.mesh.provisioner import TABLE, Authenticated, Ended, Provisioned, Provisioner
from support.mesh import make_provisioner, scripted
from support.vectors import Case, unhex, vectors

NOTHING = Choice(CMAC, uses_oob_key=False, authentication=Authentication())


@vectors("mesh/provisioning_crypto.json")
def test_the_standards_session(case: Case) -> None:
    provisioner = Provisioner(
        EcPrivateKey.from_scalar("P-256", unhex(case["ProvisionerPrivateKey"])),
        scripted(unhex(case["RandomProvisioner"])),
    )
    start = unhex(case["Start"])
    method = Authentication(start[2])
    provisioner.invite(0, 0.0)
    assert provisioner.outgoing(0.0) == [b"\x00" + unhex(case["Invite"])]
    provisioner.receive(b"\x01" + unhex(case["Capabilities"]), 0.0)
    provisioner.events()
    algorithm = ALGORITHMS[case["Algorithm"]]
    provisioner.start(
        Choice(algorithm, uses_oob_key=False, authentication=method), 0.0, static_oob=unhex(case["AuthValue"])
    )
    assert provisioner.outgoing(0.0) == [b"\x02" + start, b"\x03" + unhex(case["ProvisionerPublicKey"])]
    provisioner.receive(b"\x03" + unhex(case["DevicePublicKey"]), 0.0)
    assert provisioner.outgoing(0.0) == [b"\x05" + unhex(case["ConfirmationProvisioner"])]
    provisioner.receive(b"\x05" + unhex(case["ConfirmationDevice"]), 0.0)
    assert provisioner.outgoing(0.0) == [b"\x06" + unhex(case["RandomProvisioner"])]
    provisioner.receive(b"\x06" + unhex(case["RandomDevice"]), 0.0)
    (authenticated,) = provisioner.events()
    assert isinstance(authenticated, Authenticated)
    assert authenticated.device_key.reveal() == unhex(case["DeviceKey"])
    provisioner.provide(Data.parse(unhex(case["ProvisioningData"])), 0.0)
    sealed = unhex(case["EncryptedProvisioningData"]) + unhex(case["ProvisioningDataMIC"])
    assert provisioner.outgoing(0.0) == [b"\x07" + sealed]
    provisioner.receive(b"\x08", 0.0)
    assert provisioner.events() == [Provisioned()]
    assert provisioner.deadline() is None


def capabilities(**values: int) -> Capabilities:
    fields = {
        "elements": 1,
        "algorithms": 3,
        "public_key_type": 0,
        "oob_type": 0,
        "output_size": 0,
        "output_actions": 0,
        "input_size": 0,
        "input_actions": 0,
    }
    return Capabilities(**{**fields, **values})


def invited() -> Provisioner:
    provisioner = make_provisioner()
    provisioner.invite(0, 0.0)
    provisioner.outgoing(0.0)
    return provisioner


def keying() -> Provisioner:
    provisioner = invited()
    provisioner.receive(build_pdu(capabilities()), 0.0)
    provisioner.start(NOTHING, 0.0)
    provisioner.outgoing(0.0)
    return provisioner


def fetching() -> Provisioner:
    provisioner = make_provisioner()
    provisioner.request(1, 10, 20, 0.0)
    provisioner.outgoing(0.0)
    return provisioner


def error_of(provisioner: Provisioner) -> KeywrightError:
    last = provisioner.events()[-1]
    assert isinstance(last, Ended)
    return last.error


@pytest.mark.parametrize("kind", PDUS, ids=lambda kind: kind.__name__)
def test_a_pdu_that_is_not_awaited_ends_the_session(kind: type[Pdu]) -> None:
    sizes = {0: 1, 1: 11, 2: 5, 3: 64, 5: 16, 6: 16, 7: 33, 9: 1, 10: 6, 11: 7, 13: 2}
    pdu = bytes((kind.TYPE,)) + bytes(sizes.get(kind.TYPE, 0))
    for make in (invited, keying, fetching):
        provisioner = make()
        if kind in TABLE[provisioner.state]:
            continue
        provisioner.receive(pdu, 0.0)
        assert "MshPRT" in str(error_of(provisioner))
        assert provisioner.state == "failed"
        assert provisioner.outgoing(0.0) == []


def test_what_is_no_pdu_ends_the_session() -> None:
    provisioner = invited()
    provisioner.receive(b"\xff", 0.0)
    assert "no provisioning PDU" in str(error_of(provisioner))
    provisioner.receive(build_pdu(capabilities()), 0.0)
    assert provisioner.events() == []


def test_a_device_of_no_elements_is_refused_and_unknown_bits_are_not() -> None:
    provisioner = invited()
    provisioner.receive(build_pdu(capabilities(elements=0)), 0.0)
    assert "at least one element" in str(error_of(provisioner))
    provisioner = invited()
    provisioner.receive(build_pdu(capabilities(algorithms=0xFFFF, public_key_type=0xFE, oob_type=0xFC)), 0.0)
    assert provisioner.state == "invited"


def test_no_point_and_the_own_key_are_refused() -> None:
    provisioner = keying()
    provisioner.receive(build_pdu(PublicKey(b"\x01" * 64)), 0.0)
    assert "no point of P-256" in str(error_of(provisioner))
    provisioner = keying()
    provisioner.receive(build_pdu(PublicKey(provisioner._key.public.point[1:])), 0.0)
    assert "own public key back" in str(error_of(provisioner))


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (RecordResponse(0, 2, 10, 40, b"x"), "answers another request"),
        (RecordResponse(0, 1, 11, 40, b"x"), "answers another request"),
        (RecordResponse(0, 1, 10, 40, b"x" * 21), "answers another request"),
        (RecordResponse(0, 1, 10, 40, b""), "0 octets from 10 of 40"),
        (RecordResponse(0, 1, 10, 12, b"xxx"), "3 octets from 10 of 12"),
        (RecordResponse(1, 1, 10, 0, b"x"), "a refusal has no data"),
        (RecordResponse(3, 1, 10, 0), "status 03 is prohibited"),
    ],
)
def test_a_record_response_that_does_not_fit_is_refused(response: RecordResponse, why: str) -> None:
    provisioner = fetching()
    provisioner.receive(build_pdu(response), 0.0)
    assert why in str(error_of(provisioner))


def test_steps_out_of_order_are_refused_and_change_nothing() -> None:
    provisioner = make_provisioner()
    with pytest.raises(SequenceError):
        provisioner.start(NOTHING, 0.0)
    with pytest.raises(SequenceError):
        provisioner.enter(1, 0.0)
    with pytest.raises(SequenceError):
        provisioner.provide(Data(bytes(16), 0, 0, bytes(4), 1), 0.0)
    assert provisioner.state == "idle"
    assert provisioner.outgoing(0.0) == []


@pytest.mark.parametrize(
    ("offered", "policy", "static", "has_key", "chosen"),
    [
        ({}, Policy(methods=(Method.NONE,)), b"", False, Choice(HMAC, False, Authentication())),
        ({"algorithms": 1}, Policy(methods=(Method.NONE,)), b"", False, NOTHING),
        ({}, Policy(methods=(Method.NONE,), algorithm=CMAC), b"", False, NOTHING),
        ({"oob_type": 1}, Policy(), b"s" * 16, False, Choice(HMAC, False, Authentication(Method.STATIC))),
        (
            {"output_size": 8, "output_actions": 0x1F},
            Policy(),
            b"",
            False,
            Choice(HMAC, False, Authentication(Method.OUTPUT, 4, 8)),
        ),
        (
            {"input_size": 6, "input_actions": 0x04, "public_key_type": 1},
            Policy(needs_oob_key=True),
            b"",
            True,
            Choice(HMAC, True, Authentication(Method.INPUT, 2, 6)),
        ),
        ({"output_size": 9, "output_actions": 8}, Policy(), b"", False, "no output OOB"),
        ({"output_size": 4, "output_actions": 8}, Policy(), b"", False, "13 bits of 20"),
        ({"oob_type": 1}, Policy(), b"", False, "no static OOB value is known"),
        ({"oob_type": 1}, Policy(), b"short", False, "5 octets of 16"),
        ({"oob_type": 2}, Policy(methods=(Method.NONE,)), b"", False, "takes OOB alone"),
        ({}, Policy(), b"", False, "has no static OOB; the device has no output OOB; the device has no input OOB"),
        ({}, Policy(methods=()), b"", False, "no method is allowed"),
        ({"algorithms": 1}, Policy(algorithm=HMAC), b"", False, "does not offer hmac"),
        ({"algorithms": 4}, Policy(), b"", False, "no known algorithm (Algorithms 0004)"),
        ({"public_key_type": 1}, Policy(needs_oob_key=True), b"", False, "not known from elsewhere"),
        ({}, Policy(needs_oob_key=True), b"", True, "has no public key that could come out of band"),
    ],
)
def test_what_a_policy_chooses(
    offered: dict[str, int], policy: Policy, static: bytes, chosen: Choice | str, *, has_key: bool
) -> None:
    if isinstance(chosen, str):
        with pytest.raises(PolicyError) as caught:
            policy.choose(capabilities(**offered), static_oob=static, has_oob_key=has_key)
        assert chosen in str(caught.value)
    else:
        assert policy.choose(capabilities(**offered), static_oob=static, has_oob_key=has_key) == chosen
