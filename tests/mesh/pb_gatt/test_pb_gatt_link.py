"""PB-GATT links: the standard's session byte for byte at several ATT_MTUs, both ends, timers, cuts, and bad bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import LinkError
from keywright.mesh.bearer import LinkClosed, LinkOpened, PduReceived
from keywright.mesh.device import Abilities, Device
from keywright.mesh.ends import CloseReason
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.messages import ProvisioningData
from keywright.mesh.oob import Authentication
from keywright.mesh.pb_gatt.link import LINK_S, PbGattLink
from keywright.mesh.pb_gatt.messages import LEAST_MTU, PROVISIONING_PDU, proxy_pdus
from keywright.mesh.pb_gatt.sar import PARTIAL_S
from keywright.mesh.policy import Choice
from keywright.mesh.provisioner import Authenticated, CapabilitiesReceived, Ended, Provisioned, Provisioner
from keywright.mesh.session import DeviceSession, ProvisionerSession
from support.gatt import Wire
from support.mesh import DATA, NodeMemory, make_device, make_provisioner, scripted
from support.vectors import document, load, unhex

ALGORITHMS = (CMAC, HMAC)
NO_OOB = Authentication()


def run(wire: Wire, session: ProvisionerSession, choice: Choice, data: ProvisioningData) -> list[object]:
    """Provision over a wire; the provisioner's events."""
    told: list[object] = []
    for _ in range(200):
        carried = wire.turn()
        found = session.events()
        for event in found:
            told.append(event)
            match event:
                case LinkOpened():
                    session.provisioner.invite(0, wire.now)
                case CapabilitiesReceived():
                    session.provisioner.start(choice, wire.now)
                case Authenticated():
                    session.provisioner.provide(data, wire.now)
                case _:
                    pass
        if not carried and not found:
            return told
    raise AssertionError("without end")


@pytest.mark.parametrize("mtu", [LEAST_MTU, 24, 69, 247])
def test_the_standards_session_byte_for_byte(mtu: int) -> None:
    """Both ends, with the keys and randoms of the standard, write and notify its PDUs in Proxy PDUs."""
    case = load("mesh/provisioning_crypto.json")[0]
    memory = NodeMemory()
    links = PbGattLink.connect(mtu, 0.0), PbGattLink.accept(mtu, 0.0)
    device = DeviceSession(
        Device(
            Abilities(algorithms=CMAC.bit),
            new_key=lambda: EcPrivateKey.from_scalar("P-256", unhex(case["DevicePrivateKey"])),
            random=scripted(unhex(case["RandomDevice"])),
            remember=memory.remember,
        ),
        links[1],
    )
    session = ProvisionerSession(
        Provisioner(
            EcPrivateKey.from_scalar("P-256", unhex(case["ProvisionerPrivateKey"])),
            scripted(unhex(case["RandomProvisioner"])),
        ),
        links[0],
    )
    wire = Wire(session, links[0], device, links[1])
    data = ProvisioningData.parse(unhex(case["ProvisioningData"]))
    run(wire, session, Choice(CMAC, uses_oob_key=False, authentication=NO_OOB), data)
    steps = [step for step in document("mesh/pbadv_trace.json")["trace"] if "provisioning_pdu" in step]
    wanted = {
        side: [
            value
            for step in steps
            if step["sender"] == side
            for value in proxy_pdus(PROVISIONING_PDU, unhex(step["provisioning_pdu"]), mtu)
        ]
        for side in "PD"
    }
    assert {side: [value for sender, value in wire.carried if sender == side] for side in "PD"} == wanted
    if mtu >= 69:
        assert all(value[0] == PROVISIONING_PDU for _, value in wire.carried)
    assert memory.kept[0][1].reveal() == unhex(case["DeviceKey"])
    assert links[0].is_closed
    assert device.is_over


def pair(mtu: int = 69) -> tuple[Wire, ProvisionerSession, DeviceSession, NodeMemory]:
    memory = NodeMemory()
    links = PbGattLink.connect(mtu, 0.0), PbGattLink.accept(mtu, 0.0)
    session = ProvisionerSession(make_provisioner(), links[0])
    device = DeviceSession(make_device(memory=memory), links[1])
    return Wire(session, links[0], device, links[1]), session, device, memory


@pytest.mark.parametrize("mtu", range(LEAST_MTU, 110, 3))
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=["CMAC", "HMAC"])
def test_both_ends_at_any_mtu(mtu: int, algorithm: object) -> None:
    wire, session, device, memory = pair(mtu)
    choice = Choice(CMAC if algorithm is CMAC else HMAC, uses_oob_key=False, authentication=NO_OOB)
    told = run(wire, session, choice, DATA)
    assert isinstance(told[-1], Provisioned)
    assert [kept[0] for kept in memory.kept] == [DATA]
    assert device.is_over


def test_the_connection_is_lost_at_every_value() -> None:
    choice = Choice(HMAC, uses_oob_key=False, authentication=NO_OOB)
    wire, session, *_ = pair(LEAST_MTU)
    run(wire, session, choice, DATA)
    assert len(wire.carried) == 22
    for cut in range(len(wire.carried)):
        wire, session, device, memory = pair(LEAST_MTU)
        wire.cut_at = cut
        told = run(wire, session, choice, DATA)
        assert isinstance(told[-1], Provisioned | Ended)
        if isinstance(told[-1], Ended):
            assert isinstance(told[-1].error, LinkError)
            assert "the connection is lost" in str(told[-1].error)
        else:
            assert memory.kept
        assert device.is_over


def accepted() -> PbGattLink:
    link = PbGattLink.accept(LEAST_MTU, 10.0)
    assert link.events() == [LinkOpened()]
    return link


def test_a_device_waits_sixty_seconds_for_the_first_pdu() -> None:
    link = accepted()
    assert link.deadline() == 10.0 + LINK_S
    link.outgoing(69.9)
    assert not link.is_closed
    link.outgoing(70.0)
    assert link.is_closed
    (event,) = link.events()
    assert isinstance(event, LinkClosed)
    assert event.reason == CloseReason.TIMEOUT


def test_the_first_pdu_ends_the_link_timer() -> None:
    link = accepted()
    link.receive(b"\x03\x00\x05", 11.0)
    assert link.events() == [PduReceived(b"\x00\x05")]
    assert link.deadline() is None


def test_a_provisioner_has_no_link_timer() -> None:
    assert PbGattLink.connect(LEAST_MTU, 0.0).deadline() is None


def test_a_pdu_that_is_not_whole_in_time_closes_the_link() -> None:
    link = accepted()
    link.receive(b"\x43\x00", 11.0)
    assert link.deadline() == 11.0 + PARTIAL_S
    link.outgoing(31.0)
    (event,) = link.events()
    assert isinstance(event, LinkClosed)
    assert "20 s" in event.why
    assert link.is_closed


@pytest.mark.parametrize("value", [b"", b"\x00\x01", b"\x83\x01", b"\xc3\x01", b"\x04\x01"])
def test_a_wrong_value_closes_the_link(value: bytes) -> None:
    link = accepted()
    link.receive(value, 11.0)
    (event,) = link.events()
    assert isinstance(event, LinkClosed)
    assert event.reason == CloseReason.FAIL
    assert link.is_closed
    link.send(b"\x00\x00", 12.0)
    link.receive(b"\x03\x00\x05", 12.0)
    assert not link.outgoing(12.0)
    assert not link.events()


def test_closing_lets_out_what_is_under_way() -> None:
    link = accepted()
    link.send(b"\x08", 12.0)
    link.close(CloseReason.SUCCESS, 12.0)
    assert not link.is_closed
    assert link.deadline() == 12.0
    assert link.outgoing(12.0) == [b"\x03\x08"]
    assert link.is_closed
    link.close(CloseReason.FAIL, 12.0)
    link.disconnected("gone", 13.0)
    assert not link.events()


@given(st.lists(st.binary(max_size=24), max_size=20))
def test_a_device_answers_any_values(values: list[bytes]) -> None:
    wire, _, device, memory = pair(LEAST_MTU)
    for value in values:
        device.receive(value, wire.now)
        for answer in device.outgoing(wire.now):
            assert answer[0] & 0x3F == PROVISIONING_PDU
    assert not memory.kept
