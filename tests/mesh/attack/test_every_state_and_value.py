"""Both ends in every state against every PDU, every value that no PDU may have, every error code, and any octets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import KeywrightError, LinkError, PolicyError, StoreError
from keywright.mesh import device as device_end
from keywright.mesh import provisioner as provisioner_end
from keywright.mesh.device import Abilities, Device
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC, Algorithm
from keywright.mesh.messages import (
    ERRORS,
    PDUS,
    Confirmation,
    ErrorCode,
    Failed,
    Invite,
    Pdu,
    ProvisioningData,
    Random,
    RecordRequest,
    RecordResponse,
    RecordsList,
    Start,
    build_pdu,
    parse_pdu,
)
from keywright.mesh.oob import Authentication, Method
from keywright.mesh.policy import Choice, Policy
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.records import Records
from support.mesh import DATA, NodeMemory, make_device, make_provisioner
from support.mesh_attacks import offer

STATIC = bytes(range(16))
ABILITIES = Abilities(
    elements=3, static_oob=STATIC, output_size=8, output_actions=0x1F, input_size=8, input_actions=0x0F
)
INPUT, OUTPUT = Authentication(Method.INPUT, 2, 1), Authentication(Method.OUTPUT, 3, 1)
GOOD = [
    bytes.fromhex(text)
    for text in (
        "0005",
        "010100030000000000000000",
        "020000000000",
        "03" + "01" * 64,
        "04",
        "05" + "00" * 16,
        "06" + "00" * 16,
        "07" + "00" * 33,
        "08",
        "0901",
        "0a000100000001",
        "0b00000100000001aa",
        "0c",
        "0d00000001",
    )
]
"""Every PDU, well formed."""
QUICKLY = settings(max_examples=max(10, settings.get_profile(settings.get_current_profile_name()).max_examples // 4))
"""A quarter of the profile's examples, for each state."""
RARE = {"input": INPUT, "value": OUTPUT}
"""States that other methods than No OOB lead to."""


class Pair:
    """Two ends, and one PDU at a time between them."""

    def __init__(self, authentication: Authentication, algorithm: Algorithm = CMAC) -> None:
        self.memory = NodeMemory()
        self.provisioner = make_provisioner()
        self.device = make_device(ABILITIES, self.memory, records=Records({1: b"certificate"}))
        self._choice = Choice(algorithm, uses_oob_key=False, authentication=authentication)

    def run(self, until: Callable[[], bool]) -> None:
        """Carry PDUs until that holds."""
        while not until():
            self._decide()
            for pdu in self.provisioner.outgoing(0.0):
                if not until():
                    self.device.receive(pdu, 0.0)
            for pdu in self.device.outgoing(0.0):
                if not until():
                    self.provisioner.receive(pdu, 0.0)

    def _decide(self) -> None:
        provisioner = self.provisioner
        if provisioner.state == "invited":
            provisioner.start(self._choice, 0.0, static_oob=STATIC)
        elif provisioner.state == "authenticated":
            provisioner.provide(DATA, 0.0)
        for event in provisioner.events():
            if isinstance(event, provisioner_end.ValueShown):
                self.device.enter(event.value, 0.0)
        for told in self.device.events():
            if isinstance(told, device_end.ValueShown):
                provisioner.enter(told.value, 0.0)


def device_in(state: device_end.State) -> Device:
    """A device that a real session has brought into `state`."""
    if state == "failed":
        device = make_device()
        device.receive(b"\xff", 0.0)
    else:
        pair = Pair(INPUT if state == "input" else Authentication())
        device = pair.device
        if state != "idle":
            pair.provisioner.invite(0, 0.0)
        pair.run(lambda: pair.device.state == state)
    device.outgoing(0.0)
    device.events()
    return device


def provisioner_in(state: provisioner_end.State) -> Provisioner:
    """A provisioner that a real session has brought into `state`."""
    pair = Pair(RARE.get(state, Authentication()))
    provisioner = pair.provisioner
    if state == "listing":
        provisioner.list_records(0.0)
    elif state == "fetching":
        provisioner.request(1, 0, 10, 0.0)
    elif state == "failed":
        provisioner.receive(b"\xff", 0.0)
    elif state != "idle":
        provisioner.invite(0, 0.0)
        pair.run(lambda: provisioner.state == state)
    provisioner.outgoing(0.0)
    provisioner.events()
    assert provisioner.state == state
    return provisioner


def error_of(provisioner: Provisioner) -> KeywrightError | None:
    return next((one.error for one in provisioner.events() if isinstance(one, provisioner_end.Ended)), None)


# ---- every state, every PDU -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", device_end.TABLE)
def test_a_device_refuses_what_is_not_in_its_table(state: device_end.State) -> None:
    for kind, pdu in zip(PDUS, GOOD, strict=True):
        if kind in device_end.TABLE[state]:
            continue
        device = device_in(state)
        device.receive(pdu, 1.0)
        assert [parse_pdu(one) for one in device.outgoing(1.0)] == [Failed(ErrorCode.UNEXPECTED_PDU)], kind
        assert device.state == "failed"


@pytest.mark.parametrize("state", provisioner_end.TABLE)
def test_a_provisioner_ends_with_what_is_not_in_its_table(state: provisioner_end.State) -> None:
    for kind, pdu in zip(PDUS, GOOD, strict=True):
        if kind in provisioner_end.TABLE[state]:
            continue
        provisioner = provisioner_in(state)
        provisioner.receive(pdu, 1.0)
        assert provisioner.outgoing(1.0) == [], kind
        if state in {"provisioned", "failed"}:
            assert (provisioner.state, provisioner.events()) == (state, []), kind
        else:
            assert "MshPRT" in str(error_of(provisioner)), kind
            assert provisioner.state == "failed"


@QUICKLY
@given(st.data())
@pytest.mark.parametrize("state", device_end.TABLE)
def test_any_octets_get_an_answer_of_the_device(state: device_end.State, data: st.DataObject) -> None:
    octets = data.draw(st.binary(max_size=80) | st.builds(_near, st.sampled_from(GOOD), st.binary(max_size=4)))
    device = device_in(state)
    device.receive(octets, 0.0)
    for pdu in device.outgoing(0.0):
        parse_pdu(pdu)
    device.events()
    assert device.state in device_end.TABLE
    assert device.state != "provisioned" or state == "provisioned"


@QUICKLY
@given(st.data())
@pytest.mark.parametrize("state", provisioner_end.TABLE)
def test_any_octets_leave_the_provisioner_in_its_table(state: provisioner_end.State, data: st.DataObject) -> None:
    octets = data.draw(st.binary(max_size=80) | st.builds(_near, st.sampled_from(GOOD), st.binary(max_size=4)))
    provisioner = provisioner_in(state)
    provisioner.receive(octets, 0.0)
    for pdu in provisioner.outgoing(0.0):
        assert pdu[0] != 0x07
    assert provisioner.state in provisioner_end.TABLE
    if provisioner.state == "failed" and state != "failed":
        error = error_of(provisioner)
        assert error is not None
        assert str(error)


def _near(pdu: bytes, more: bytes) -> bytes:
    return pdu[: len(pdu) - len(more)] + more


# ---- every value: the device ----------------------------------------------------------------------------------------


def answer(device: Device, pdu: Pdu | bytes) -> int:
    """The error code that the device answers with, 0 for none."""
    device.receive(pdu if isinstance(pdu, bytes) else build_pdu(pdu), 0.0)
    failed = [one for one in map(parse_pdu, device.outgoing(0.0)) if isinstance(one, Failed)]
    return failed[0].error_code if failed else 0


def test_types_that_there_are_not() -> None:
    for octet in range(len(PDUS), 0x100):
        assert answer(device_in("idle"), bytes((octet, 0))) == ErrorCode.INVALID_PDU
    assert answer(device_in("idle"), b"") == ErrorCode.INVALID_PDU


@pytest.mark.parametrize("kind", PDUS, ids=lambda kind: kind.__name__)
def test_lengths_that_there_are_not(kind: type[Pdu]) -> None:
    """Too short or too long is an invalid format, whatever is awaited; a provisioner ends the session."""
    good = GOOD[kind.TYPE]
    for size in range(1, 90):
        pdu = (good + bytes(90))[:size]
        try:
            parse_pdu(pdu)
        except KeywrightError:
            assert answer(device_in("idle"), pdu) == ErrorCode.INVALID_FORMAT
            provisioner = provisioner_in("inviting")
            provisioner.receive(pdu, 0.0)
            assert "no provisioning PDU" in str(error_of(provisioner))


def test_every_attention_duration_is_good() -> None:
    assert {answer(device_in("idle"), Invite(seconds)) for seconds in range(256)} == {0}


@pytest.mark.parametrize(
    ("field", "start", "good"),
    [
        (0, (0, 0, 0, 0, 0), {0, 1}),
        (1, (0, 0, 0, 0, 0), {0}),
        (2, (0, 0, 0, 0, 0), {0, 1}),
        (3, (0, 0, 0, 0, 0), {0}),
        (4, (0, 0, 0, 0, 0), {0}),
        (3, (1, 0, 1, 0, 0), {0}),
        (4, (1, 0, 1, 0, 0), {0}),
        (3, (1, 0, 2, 0, 4), {0, 1, 2, 3, 4}),
        (4, (1, 0, 2, 3, 4), set(range(1, 9))),
        (3, (1, 0, 3, 0, 4), {0, 1, 2, 3}),
        (4, (1, 0, 3, 2, 4), set(range(1, 9))),
    ],
)
def test_every_value_of_every_field_of_start(field: int, start: tuple[int, ...], good: set[int]) -> None:
    taken = set()
    for value in range(256):
        octets = [*start]
        octets[field] = value
        code = answer(device_in("invited"), Start(*octets))
        assert code in {0, ErrorCode.INVALID_FORMAT}
        if not code:
            taken.add(value)
    assert taken == good


def test_start_asks_for_no_more_than_was_offered() -> None:
    key = EcPrivateKey.generate("P-256")
    poor = Abilities(algorithms=HMAC.bit, output_size=4, output_actions=1 << 3, input_size=2, input_actions=1)
    for abilities, start, code in (
        (poor, (0, 0, 0, 0, 0), ErrorCode.INVALID_FORMAT),
        (poor, (1, 1, 0, 0, 0), ErrorCode.INVALID_FORMAT),
        (poor, (1, 0, 1, 0, 0), ErrorCode.INVALID_FORMAT),
        (poor, (1, 0, 2, 3, 5), ErrorCode.INVALID_FORMAT),
        (poor, (1, 0, 2, 4, 4), ErrorCode.INVALID_FORMAT),
        (poor, (1, 0, 3, 0, 3), ErrorCode.INVALID_FORMAT),
        (poor, (1, 0, 3, 1, 2), ErrorCode.INVALID_FORMAT),
        (poor, (1, 0, 2, 3, 4), 0),
        (poor, (1, 0, 0, 0, 0), 0),
        (Abilities(static_key=key), (1, 1, 0, 0, 0), 0),
        (Abilities(algorithms=HMAC.bit, static_oob=b"x", oob_only=True), (1, 0, 0, 0, 0), ErrorCode.INVALID_FORMAT),
        (Abilities(algorithms=HMAC.bit, static_oob=b"x", oob_only=True), (0, 0, 1, 0, 0), ErrorCode.INVALID_FORMAT),
        (Abilities(algorithms=HMAC.bit, static_oob=b"x", oob_only=True), (1, 0, 1, 0, 0), 0),
    ):
        device = make_device(abilities)
        answer(device, Invite(0))
        assert answer(device, Start(*start)) == code, (abilities, start)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_confirmation_and_random_have_the_size_of_the_algorithm(algorithm: Algorithm) -> None:
    other = HMAC.size if algorithm == CMAC else CMAC.size
    for state, kind in (("keyed", Confirmation), ("confirmed", Random)):
        pair = Pair(Authentication(), algorithm)
        pair.provisioner.invite(0, 0.0)
        pair.run(lambda pair=pair, state=state: pair.device.state == state)  # type: ignore[misc]  # bound for this turn
        pair.device.outgoing(0.0)
        assert answer(pair.device, kind(bytes(other))) == ErrorCode.INVALID_FORMAT
    for before, kind in (("confirming", Confirmation), ("randomising", Random)):
        pair = Pair(Authentication(), algorithm)
        pair.provisioner.invite(0, 0.0)
        pair.run(lambda pair=pair, state=before: pair.provisioner.state == state)  # type: ignore[misc]  # as above
        pair.provisioner.receive(build_pdu(kind(bytes(other))), 0.0)
        assert f"{other} octets, not {algorithm.size}" in str(error_of(pair.provisioner))


def given_data(data: ProvisioningData, **parts: object) -> tuple[int, NodeMemory]:
    """What a device answers to these data, 0 for Complete; and what it kept."""
    pair = Pair(Authentication(), HMAC)
    for name, part in parts.items():
        setattr(pair.device, name, part)
    pair.provisioner.invite(0, 0.0)
    pair.run(lambda: pair.provisioner.state == "authenticated")
    pair.provisioner.provide(data, 0.0)
    (sealed,) = pair.provisioner.outgoing(0.0)
    return answer(pair.device, sealed), pair.memory


@pytest.mark.parametrize(
    ("index", "flags", "address", "code"),
    [
        *((0, 1 << bit, 1, 0 if bit < 2 else ErrorCode.INVALID_DATA) for bit in range(8)),
        *((1 << bit, 0, 1, 0 if bit < 12 else ErrorCode.INVALID_DATA) for bit in range(16)),
        (0, 3, 0x7FFD, 0),
        (0, 0, 0, ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (0, 0, 0x7FFE, ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (0, 0, 0x7FFF, ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (0, 0, 0x8000, ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (0, 0, 0xC000, ErrorCode.CANNOT_ASSIGN_ADDRESSES),
        (0, 0, 0xFFFF, ErrorCode.CANNOT_ASSIGN_ADDRESSES),
    ],
)
def test_every_field_of_the_provisioning_data(index: int, flags: int, address: int, code: int) -> None:
    data = ProvisioningData(bytes(16), index, flags, bytes(4), address)
    found, memory = given_data(data)
    assert found == code
    assert [kept for kept, _ in memory.kept] == ([] if code else [data])


def test_every_record_request() -> None:
    assert answer(device_in("idle"), RecordRequest(1, 0, 0)) == ErrorCode.INVALID_FORMAT
    for record, offset, status in ((1, 0, 0), (1, 10, 0), (1, 11, 2), (1, 0xFFFF, 2), (0x13, 0, 1), (0xFFFF, 9, 1)):
        device = device_in("idle")
        device.receive(build_pdu(RecordRequest(record, offset, 0xFFFF)), 0.0)
        (response,) = map(parse_pdu, device.outgoing(0.0))
        assert isinstance(response, RecordResponse)
        assert (response.status, bool(response.data)) == (status, status == 0)


# ---- every value: the provisioner -----------------------------------------------------------------------------------


def test_reserved_bits_of_capabilities_are_passed_over() -> None:
    """Reserved bits and values are errors for a device alone; the provisioner chooses of what it knows."""
    chosen = Policy().choose(offer(HMAC, oob_type=1), static_oob=STATIC)
    for field, values in {
        "algorithms": [HMAC.bit | 1 << bit for bit in range(2, 16)],
        "public_key_type": [1 << bit for bit in range(1, 8)],
        "oob_type": [1 | 1 << bit for bit in range(2, 8)],
        "output_size": range(9, 256),
        "output_actions": [1 << bit for bit in range(5, 16)],
        "input_size": range(9, 256),
        "input_actions": [1 << bit for bit in range(4, 16)],
    }.items():
        for value in values:
            capabilities = offer(HMAC, **{"oob_type": 1, field: value})
            provisioner = provisioner_in("inviting")
            provisioner.receive(build_pdu(capabilities), 0.0)
            assert provisioner.state == "invited", (field, value)
            assert Policy().choose(capabilities, static_oob=STATIC) == chosen, (field, value)
    for sizes in ({"output_size": 9, "output_actions": 0x1F}, {"output_size": 8, "output_actions": 0xFFE0}):
        with pytest.raises(PolicyError, match="no output OOB"):
            Policy().choose(offer(HMAC, **sizes))


def test_prohibited_values_end_the_session_of_a_provisioner() -> None:
    for elements in range(256):
        provisioner = provisioner_in("inviting")
        provisioner.receive(build_pdu(offer(HMAC, elements=elements)), 0.0)
        assert (provisioner.state == "failed") == (elements == 0)
    for status in range(256):
        provisioner = provisioner_in("fetching")
        provisioner.receive(build_pdu(RecordResponse(status, 1, 0, 1, b"" if status else b"x")), 0.0)
        assert (provisioner.state == "failed") == (status > 2), status


def test_reserved_bits_of_the_records_list_are_passed_over() -> None:
    for bit in range(16):
        provisioner = provisioner_in("listing")
        provisioner.receive(build_pdu(RecordsList(1 << bit, (1, 0x13, 0xFFFF))), 0.0)
        assert provisioner.events() == [provisioner_end.RecordsListed((1, 0x13, 0xFFFF))]


@pytest.mark.parametrize("code", range(256))
def test_every_error_code_is_named_by_the_provisioner(code: int) -> None:
    provisioner = provisioner_in("inviting")
    provisioner.receive(build_pdu(Failed(code)), 0.0)
    text = str(error_of(provisioner))
    assert f"device answered Invite with Failed {code:02X} ({ERRORS.get(code, 'reserved')}" in text


# ---- every error code: the device -----------------------------------------------------------------------------------


def _raise(error: KeywrightError) -> Callable[..., int]:
    def failing(*_: object) -> int:
        raise error

    return failing


def test_every_error_code_is_provoked() -> None:
    found = {
        answer(device_in("idle"), b"\x3f"),
        answer(device_in("invited"), Start(9, 0, 0, 0, 0)),
        answer(device_in("idle"), Start(0, 0, 0, 0, 0)),
        answer(device_in("confirmed"), Random(bytes(16))),
        given_data(DATA, _remember=_raise(StoreError("disk full")))[0],
        answer(device_in("authenticated"), b"\x07" + bytes(33)),
        given_data(DATA, _judge=_raise(LinkError("the key store is gone", delivered=None)))[0],
        given_data(ProvisioningData(bytes(16), 0, 0, bytes(4), 0))[0],
        given_data(ProvisioningData(bytes(16), 0, 0x80, bytes(4), 1))[0],
    }
    assert found == set(ERRORS)


@pytest.mark.parametrize("part", ["_new_key", "_random"])
def test_a_part_of_the_device_that_fails_is_an_unexpected_error(part: str) -> None:
    pair = Pair(OUTPUT)
    setattr(pair.device, part, _raise(LinkError("broken", delivered=None)))
    pair.provisioner.invite(0, 0.0)
    pair.run(lambda: pair.provisioner.state == "failed")
    assert "Failed 07 (unexpected error" in str(error_of(pair.provisioner))
    assert pair.device.events()[-1] == device_end.Refused(ErrorCode.UNEXPECTED_ERROR, "broken")
