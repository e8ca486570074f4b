"""Both ends against each other: every method, both algorithms, a key out of band or not; and what goes wrong."""

from __future__ import annotations

import itertools

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import AuthenticationError, KeywrightError, LinkError, SequenceError, StoreError, WireError
from keywright.mesh import device as device_end
from keywright.mesh import provisioner as provisioner_end
from keywright.mesh.device import Abilities, Device
from keywright.mesh.ends import CloseReason
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC, Algorithm
from keywright.mesh.messages import PDUS, Confirmation, ErrorCode, Failed, Random, build_pdu, parse_pdu
from keywright.mesh.oob import INPUT_ACTIONS, OUTPUT_ACTIONS, Authentication, Method
from keywright.mesh.policy import Choice
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.records import Records
from support.mesh import DATA, NodeMemory, make_device, make_provisioner, settle

STATIC = bytes(range(1, 33))
METHODS = [
    Authentication(),
    Authentication(Method.STATIC),
    *(
        Authentication(method, action, size)
        for method, actions in ((Method.OUTPUT, OUTPUT_ACTIONS), (Method.INPUT, INPUT_ACTIONS))
        for action, size in itertools.product(range(len(actions)), (1, 8))
    ),
]


def able(key: EcPrivateKey | None = None) -> Abilities:
    return Abilities(
        elements=3,
        static_oob=STATIC,
        static_key=key,
        output_size=8,
        output_actions=0x1F,
        input_size=8,
        input_actions=0x0F,
    )


def run(
    provisioner: Provisioner, device: Device, choice: Choice, key: EcPrivateKey | None = None
) -> provisioner_end.Authenticated:
    """Everything up to authentication, values carried as a person would."""
    provisioner.invite(5, 0.0)
    settle(provisioner, device)
    provisioner.start(choice, 0.0, static_oob=STATIC, device_key=key.public if key else None)
    settle(provisioner, device)
    happened = [*provisioner.events()]
    for event in device.events():
        if isinstance(event, device_end.ValueShown):
            provisioner.enter(event.value, 1.0)
    for shown in happened:
        if isinstance(shown, provisioner_end.ValueShown):
            device.enter(shown.value, 1.0)
    settle(provisioner, device, 1.0)
    last = [*happened, *provisioner.events()][-1]
    assert isinstance(last, provisioner_end.Authenticated)
    return last


@pytest.mark.parametrize("with_key", [False, True], ids=["key sent", "key out of band"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
@pytest.mark.parametrize("authentication", METHODS, ids=str)
def test_a_device_becomes_a_node(authentication: Authentication, algorithm: Algorithm, *, with_key: bool) -> None:
    key = EcPrivateKey.generate("P-256") if with_key else None
    memory = NodeMemory()
    provisioner, device = make_provisioner(), make_device(able(key), memory)
    authenticated = run(provisioner, device, Choice(algorithm, with_key, authentication), key)
    assert authenticated.elements == 3
    assert memory.kept == []
    provisioner.provide(DATA, 1.0)
    settle(provisioner, device, 1.0)
    assert provisioner.state == device.state == "provisioned"
    assert memory.kept == [(DATA, authenticated.device_key)]
    assert provisioner.deadline() is None


def ended(provisioner: Provisioner) -> KeywrightError:
    last = provisioner.events()[-1]
    assert isinstance(last, provisioner_end.Ended)
    assert provisioner.state == "failed"
    return last.error


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_a_wrong_value_is_found_by_the_device_first(algorithm: Algorithm) -> None:
    provisioner, device = make_provisioner(), make_device(Abilities(static_oob=STATIC))
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    provisioner.start(
        Choice(algorithm, uses_oob_key=False, authentication=Authentication(Method.STATIC)), 0.0, static_oob=b"x" * 32
    )
    settle(provisioner, device)
    assert "Failed 04 (confirmation failed" in str(ended(provisioner))
    assert device.state == "failed"


def test_every_pdu_that_is_not_awaited_is_refused_by_the_device() -> None:
    """Each state of the table, reached by a real session, against each PDU."""
    samples = dict(zip(PDUS, (bytes.fromhex(text) for text in SAMPLES), strict=True))
    for kind, pdu in samples.items():
        for state, device in device_states():
            if kind in device_end.TABLE[state] or state == "failed":
                continue
            device.receive(pdu, 2.0)
            (answer,) = device.outgoing(2.0)
            expected = ErrorCode.UNEXPECTED_PDU
            assert parse_pdu(answer) == Failed(expected), (state, kind)
            assert device.state == "failed"


SAMPLES = [
    "0000",
    "01" + "0100030000000000000000",
    "020000000000",
    "03" + "01" * 64,
    "04",
    "05" + "00" * 16,
    "06" + "00" * 16,
    "07" + "00" * 33,
    "08",
    "0901",
    "0a000000000001",
    "0b00000000000000",
    "0c",
    "0d0000",
]


def device_states() -> list[tuple[device_end.State, Device]]:
    """A device in every state that it passes through."""
    found: list[tuple[device_end.State, Device]] = []
    for stop in ("idle", "invited", "started", "input", "keyed", "confirmed", "authenticated", "provisioned", "failed"):
        found.append((stop, device_in(stop)))
        assert found[-1][1].state == stop
    return found


def device_in(state: str) -> Device:
    """Drive a session until the device is in `state`, one PDU at a time."""
    method = Authentication(Method.INPUT, 2, 1) if state == "input" else Authentication()
    provisioner, device = make_provisioner(), make_device(able())
    if state == "failed":
        device.receive(b"\xff", 0.0)
    provisioner.invite(0, 0.0)
    while device.state != state:
        for event in provisioner.events():
            if isinstance(event, provisioner_end.CapabilitiesReceived):
                provisioner.start(Choice(CMAC, uses_oob_key=False, authentication=method), 0.0)
            elif isinstance(event, provisioner_end.Authenticated):
                provisioner.provide(DATA, 0.0)
        for pdu in provisioner.outgoing(0.0):
            device.receive(pdu, 0.0)
            if device.state == state:
                break
        for pdu in device.outgoing(0.0):
            provisioner.receive(pdu, 0.0)
    device.outgoing(0.0)
    return device


def test_a_device_that_failed_answers_everything_with_unexpected_pdu() -> None:
    device = device_in("failed")
    for text in SAMPLES:
        device.receive(bytes.fromhex(text), 1.0)
        assert [parse_pdu(pdu) for pdu in device.outgoing(1.0)] == [Failed(ErrorCode.UNEXPECTED_PDU)]


def test_a_confirmation_that_comes_back_is_refused() -> None:
    provisioner, device = make_provisioner(), make_device()
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    provisioner.start(Choice(HMAC, uses_oob_key=False, authentication=Authentication()), 0.0)
    for pdu in provisioner.outgoing(0.0):
        device.receive(pdu, 0.0)
    for pdu in device.outgoing(0.0):
        provisioner.receive(pdu, 0.0)
    (own,) = provisioner.outgoing(0.0)
    assert isinstance(parse_pdu(own), Confirmation)
    provisioner.receive(own, 0.0)
    error = ended(provisioner)
    assert isinstance(error, AuthenticationError)
    assert "own confirmation back" in str(error)
    assert provisioner.outgoing(0.0) == []


def test_a_random_of_the_other_algorithm_is_refused_by_both() -> None:
    device = device_in("confirmed")
    device.receive(build_pdu(Random(bytes(32))), 0.0)
    assert parse_pdu(device.outgoing(0.0)[0]) == Failed(ErrorCode.INVALID_FORMAT)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (DATA.__class__(bytes(16), 0, 0, bytes(4), 0), ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (DATA.__class__(bytes(16), 0, 0, bytes(4), 0x7FFE), ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (DATA.__class__(bytes(16), 0, 4, bytes(4), 1), ErrorCode.INVALID_DATA),
        (DATA.__class__(bytes(16), 0x1000, 0, bytes(4), 1), ErrorCode.INVALID_DATA),
        (DATA.__class__(bytes(16), 0, 3, bytes(4), 0x7FFD), None),
    ],
)
def test_data_that_no_device_may_take(data: object, code: int | None) -> None:
    memory = NodeMemory()
    provisioner, device = make_provisioner(), make_device(able(), memory)
    run(provisioner, device, Choice(HMAC, uses_oob_key=False, authentication=Authentication()))
    assert isinstance(data, type(DATA))
    provisioner.provide(data, 1.0)
    settle(provisioner, device, 1.0)
    if code is None:
        assert memory.kept[0][0] == data
    else:
        assert memory.kept == []
        assert f"answered Data with Failed {code:02X}" in str(ended(provisioner))


def test_a_memory_that_takes_nothing_is_out_of_resources() -> None:
    def full(*_: object) -> None:
        raise StoreError("disk full")

    device = make_device()
    device._remember = full
    provisioner = make_provisioner()
    run(provisioner, device, Choice(CMAC, uses_oob_key=False, authentication=Authentication()))
    provisioner.provide(DATA, 1.0)
    settle(provisioner, device, 1.0)
    assert "Failed 05 (out of resources" in str(ended(provisioner))
    assert device.state == "failed"


def test_a_device_may_judge_data() -> None:
    provisioner, device = make_provisioner(), make_device(judge=lambda _: ErrorCode.INVALID_DATA)
    run(provisioner, device, Choice(CMAC, uses_oob_key=False, authentication=Authentication()))
    provisioner.provide(DATA, 1.0)
    settle(provisioner, device, 1.0)
    assert "Failed 09 (invalid data" in str(ended(provisioner))


def test_silence_ends_a_session_with_a_timeout_and_the_device_sends_nothing() -> None:
    provisioner, device = make_provisioner(), make_device()
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    assert (provisioner.deadline(), device.deadline()) == (60.0, 60.0)
    assert provisioner.outgoing(60.0) == device.outgoing(60.0) == []
    last = provisioner.events()[-1]
    assert isinstance(last, provisioner_end.Ended)
    assert last.reason == CloseReason.TIMEOUT
    assert isinstance(last.error, LinkError)
    assert device.state == "failed"


def test_a_person_gets_two_minutes() -> None:
    provisioner, device = make_provisioner(), make_device(able())
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    provisioner.start(Choice(HMAC, uses_oob_key=False, authentication=Authentication(Method.OUTPUT, 3, 6)), 10.0)
    settle(provisioner, device, 10.0)
    assert (provisioner.deadline(), device.deadline()) == (130.0, 130.0)


def test_records_come_before_the_invitation_and_not_after() -> None:
    provisioner = make_provisioner()
    device = make_device(records=Records({1: b"abcdef", 0x11: b"name"}, most=4))
    provisioner.list_records(0.0)
    settle(provisioner, device)
    provisioner.request(1, 0, 100, 0.0)
    settle(provisioner, device)
    provisioner.request(1, 4, 100, 0.0)
    settle(provisioner, device)
    provisioner.request(1, 6, 100, 0.0)
    settle(provisioner, device)
    provisioner.request(7, 0, 100, 0.0)
    settle(provisioner, device)
    listed, *parts = provisioner.events()
    assert listed == provisioner_end.RecordsListed((1, 0x11))
    answers = [part.response for part in parts if isinstance(part, provisioner_end.RecordPart)]
    assert [(one.status, one.total, one.data) for one in answers] == [
        (0, 6, b"abcd"),
        (0, 6, b"ef"),
        (2, 6, b""),
        (1, 0, b""),
    ]
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    with pytest.raises(SequenceError, match="Records Get while invited"):
        provisioner.list_records(0.0)
    device.receive(b"\x0c", 0.0)
    assert parse_pdu(device.outgoing(0.0)[0]) == Failed(ErrorCode.UNEXPECTED_PDU)


def test_a_device_without_hmac_is_named_with_what_to_do() -> None:
    provisioner, device = make_provisioner(), make_device(Abilities(algorithms=CMAC.bit))
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    provisioner.start(Choice(HMAC, uses_oob_key=False, authentication=Authentication()), 0.0)
    settle(provisioner, device)
    error = ended(provisioner)
    assert isinstance(error, WireError)
    assert "answered Start or Public Key with Failed 02" in str(error)
    assert "--algorithm cmac" in error.hint


def test_a_lost_link_is_a_link_error() -> None:
    provisioner, device = make_provisioner(), make_device()
    provisioner.invite(0, 0.0)
    settle(provisioner, device)
    provisioner.link_closed("device closed the link")
    device.link_closed()
    assert isinstance(ended(provisioner), LinkError)
    assert device.state == "failed"
    assert device.deadline() is None
