"""What somebody in between can do to a session: send things back, send what is no point, change, and play again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import AuthenticationError, PolicyError, WireError
from keywright.mesh import provisioner as provisioner_end
from keywright.mesh.device import Abilities, Device
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC, Algorithm
from keywright.mesh.messages import (
    Capabilities,
    Confirmation,
    Data,
    ErrorCode,
    Failed,
    Invite,
    PublicKey,
    Random,
    RecordRequest,
    Start,
    build_pdu,
    describe,
    parse_pdu,
)
from keywright.mesh.oob import Authentication, Method
from keywright.mesh.policy import Choice, Policy
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.records import DEVICE_CERTIFICATE, Records
from support.mesh import DATA, NodeMemory, make_device, make_provisioner
from support.mesh_attacks import offer

STATIC = bytes(range(1, 33))
WITH_STATIC = Authentication(Method.STATIC)
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
Change = Callable[[str, bytes], bytes]


def carry(
    provisioner: Provisioner,
    device: Device,
    *,
    algorithm: Algorithm | None = None,
    change: Change = lambda _, pdu: pdu,
    key: EcPrivateKey | None = None,
) -> list[tuple[str, bytes]]:
    """A whole session with static OOB through somebody's hands; what was sent, each after P or D."""
    policy = Policy(algorithm=algorithm)
    sent: list[tuple[str, bytes]] = []
    provisioner.invite(0, 0.0)
    while True:
        for event in provisioner.events():
            if isinstance(event, provisioner_end.CapabilitiesReceived):
                public = key.public if key is not None else None
                choice = policy.choose(event.capabilities, static_oob=STATIC, has_oob_key=key is not None)
                provisioner.start(choice, 0.0, static_oob=STATIC, device_key=public)
            elif isinstance(event, provisioner_end.Authenticated):
                provisioner.provide(DATA, 0.0)
            elif isinstance(event, provisioner_end.Ended):
                sent.append(("error", str(event.error).encode()))
        down, up = provisioner.outgoing(0.0), device.outgoing(0.0)
        if not down and not up:
            return sent
        for pdu in down:
            sent.append(("P", pdu))
            device.receive(change("P", pdu), 0.0)
        for pdu in up:
            sent.append(("D", pdu))
            provisioner.receive(change("D", pdu), 0.0)


def unit(memory: NodeMemory | None = None, key: EcPrivateKey | None = None) -> Device:
    return make_device(Abilities(static_oob=STATIC, static_key=key), memory)


# ---- sent back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
@pytest.mark.parametrize("kind", [PublicKey, Confirmation])
def test_what_the_provisioner_sent_is_not_taken_back(
    kind: type[PublicKey | Confirmation], algorithm: Algorithm
) -> None:
    """CVE-2020-26560: without the check, whoever sends confirmation and random back passes without the value."""
    provisioner, memory = make_provisioner(), NodeMemory()
    device = unit(memory)
    own: dict[int, bytes] = {}

    def reflect(side: str, pdu: bytes) -> bytes:
        if side == "P":
            own[pdu[0]] = pdu
            return pdu
        return own[pdu[0]] if pdu[0] == kind.TYPE else pdu

    sent = carry(provisioner, device, algorithm=algorithm, change=reflect)
    assert sent[-1][0] == "error" or sent[-2][0] == "error"
    assert provisioner.state == "failed"
    assert any(side == "error" and b"this side's own" in text for side, text in sent)
    assert memory.kept == []


def test_the_devices_own_key_and_confirmation_are_refused_by_it() -> None:
    device = unit()
    key = EcPrivateKey.generate("P-256")
    device._new_key = lambda: key
    for pdu in (Invite(0), Start(1, 0, Method.STATIC, 0, 0), PublicKey(key.public.point[1:])):
        device.receive(build_pdu(pdu), 0.0)
    assert parse_pdu(device.outgoing(0.0)[-1]) == Failed(ErrorCode.INVALID_FORMAT)

    # Its confirmation comes after the provisioner's, so sending it back takes luck; the check is there all the same.
    provisioner, device = make_provisioner(), unit()
    device._random = bytes

    def same(side: str, pdu: bytes) -> bytes:
        if side == "P" and pdu[0] == Confirmation.TYPE:
            key = device._algorithm.confirmation_key(device._secret, device._salt, device._auth_value)
            return build_pdu(Confirmation(device._algorithm.confirmation(key, bytes(32), device._auth_value)))
        return pdu

    sent = carry(provisioner, device, algorithm=HMAC, change=same)
    assert ("D", build_pdu(Failed(ErrorCode.INVALID_FORMAT))) in sent


# ---- no point -------------------------------------------------------------------------------------------------------


def _square_root(x: int) -> int | None:
    square = (pow(x, 3, P) - 3 * x + B) % P
    root = pow(square, (P + 1) // 4, P)
    return root if root * root % P == square else None


def points() -> dict[str, bytes]:
    """What looks like a point of P-256 and is none, or is none in this form."""
    small = next(x for x in range(100) if _square_root(x) is not None)
    y = _square_root(small)
    assert y is not None
    twist = next(x for x in range(100) if _square_root(x) is None)
    good = EcPrivateKey.generate("P-256").public.point[1:]
    return {
        "off the curve": good[:63] + bytes((good[63] ^ 1,)),
        "all zeros": bytes(64),
        "all ones": b"\xff" * 64,
        "x of p and more": (small + P).to_bytes(32) + y.to_bytes(32),
        "y of p and more": small.to_bytes(32) + ((1 << 256) - 1).to_bytes(32),
        "x = p": P.to_bytes(32) + y.to_bytes(32),
        "x on the twist": twist.to_bytes(32) + y.to_bytes(32),
        "halves changed about": good[32:] + good[:32],
        "octets turned about": good[:32][::-1] + good[32:][::-1],
    }


@pytest.mark.parametrize("name", points())
def test_what_is_no_point_of_the_curve_gets_no_answer_computed_with_the_key(name: str) -> None:
    wrong = points()[name]
    device = unit()
    for pdu in (Invite(0), Start(0, 0, Method.STATIC, 0, 0), PublicKey(wrong)):
        device.receive(build_pdu(pdu), 0.0)
    assert [parse_pdu(pdu) for pdu in device.outgoing(0.0)][1:] == [Failed(ErrorCode.INVALID_FORMAT)]
    provisioner = make_provisioner()
    carry(provisioner, unit(), change=lambda side, pdu: b"\x03" + wrong if side == "D" and pdu[0] == 3 else pdu)
    assert provisioner.state == "failed"
    assert provisioner.outgoing(0.0) == []


# ---- changed on the way ---------------------------------------------------------------------------------------------


def session(algorithm: Algorithm) -> list[tuple[str, bytes]]:
    return carry(make_provisioner(), unit(), algorithm=algorithm)


class Flip:
    """Changes one octet of one PDU of a session."""

    def __init__(self, number: int, place: int, mask: int) -> None:
        self._number, self._place, self._mask = number, place, mask
        self._seen = 0

    def __call__(self, _: str, pdu: bytes) -> bytes:
        self._seen += 1
        if self._seen != self._number + 1:
            return pdu
        return pdu[: self._place] + bytes((pdu[self._place] ^ self._mask,)) + pdu[self._place + 1 :]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_no_octet_of_a_session_can_be_changed(algorithm: Algorithm) -> None:
    """One bit of each octet of each PDU, in both directions: nobody gets a network by it, and each end says why."""
    for number, (sender, original) in enumerate(session(algorithm)):
        for place in range(len(original)):
            bit, memory = 1 << (place * 3 + number) % 8, NodeMemory()
            provisioner, device = make_provisioner(), unit(memory)
            where = f"bit {bit:02X} of octet {place} of {sender}'s {describe(parse_pdu(original))}"
            try:
                sent = carry(provisioner, device, algorithm=algorithm, change=Flip(number, place, bit))
            except PolicyError:
                assert original[0] == Capabilities.TYPE, where
                continue
            assert provisioner.state == "failed", where
            assert any(side == "error" for side, _ in sent), where
            # The last PDU is not protected: the device is a node, and its owner has it as pending.
            assert (memory.kept == []) == (original[0] != 0x08), where


def test_an_algorithm_taken_away_on_the_way_is_found_by_the_device() -> None:
    """The capabilities are in the confirmation: a downgrade ends in Failed 04, or is refused before by policy."""

    def downgrade(side: str, pdu: bytes) -> bytes:
        return pdu[:3] + bytes((CMAC.bit,)) + pdu[4:] if side == "D" and pdu[0] == Capabilities.TYPE else pdu

    memory = NodeMemory()
    sent = carry(make_provisioner(), unit(memory), change=downgrade)
    assert ("D", build_pdu(Failed(ErrorCode.CONFIRMATION_FAILED))) in sent
    assert memory.kept == []
    with pytest.raises(PolicyError, match="does not offer hmac"):
        carry(make_provisioner(), unit(), algorithm=HMAC, change=downgrade)


@pytest.mark.parametrize("number", [1, 2, 3, 0x80, 0xFF])
def test_an_algorithm_that_the_device_has_not_is_refused(number: int) -> None:
    """Start has an index, not a bit: HMAC is 1. 2 would be its bit."""
    device = make_device(Abilities(algorithms=CMAC.bit))
    for pdu in (Invite(0), Start(number, 0, 0, 0, 0)):
        device.receive(build_pdu(pdu), 0.0)
    assert parse_pdu(device.outgoing(0.0)[-1]) == Failed(ErrorCode.INVALID_FORMAT)


# ---- played again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "code"),
    [(None, ErrorCode.CONFIRMATION_FAILED), (EcPrivateKey.generate("P-256"), ErrorCode.DECRYPTION_FAILED)],
    ids=["fresh key", "key out of band"],
)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_a_recorded_provisioner_opens_no_device(key: EcPrivateKey | None, code: int, algorithm: Algorithm) -> None:
    """A device with a key of its own accepts the old random, since key and value are the old ones; its own is new."""
    recorded = carry(make_provisioner(), unit(NodeMemory(), key), algorithm=algorithm, key=key)
    assert recorded[-1] == ("D", b"\x08")
    memory = NodeMemory()
    again = make_device(
        Abilities(static_oob=STATIC, static_key=key), memory, random=lambda size: (b"new" * size)[:size]
    )
    answers: list[bytes] = []
    for side, pdu in recorded:
        if side == "P":
            again.receive(pdu, 0.0)
            answers += again.outgoing(0.0)
    assert Failed(code) in map(parse_pdu, answers)
    assert memory.kept == []


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.name)
def test_a_recorded_device_gets_nothing(algorithm: Algorithm) -> None:
    """Certificate, capabilities and answers of a real device from a tape: its key is needed, and is not on it."""
    key = EcPrivateKey.generate("P-256")
    tape = {pdu[0]: pdu for side, pdu in carry(make_provisioner(), unit(None, key), key=key) if side == "D"}
    provisioner = make_provisioner()
    provisioner.invite(0, 0.0)
    provisioner.outgoing(0.0)
    provisioner.receive(tape[Capabilities.TYPE], 0.0)
    choice = Choice(algorithm, uses_oob_key=True, authentication=WITH_STATIC)
    provisioner.start(choice, 0.0, static_oob=STATIC, device_key=key.public)
    provisioner.outgoing(0.0)
    size = algorithm.size
    provisioner.receive(tape[Confirmation.TYPE][: size + 1], 0.0)
    provisioner.receive(tape[Random.TYPE][: size + 1], 0.0)
    last = provisioner.events()[-1]
    assert isinstance(last, provisioner_end.Ended)
    assert isinstance(last.error, AuthenticationError)
    assert not any(pdu[0] == Data.TYPE for pdu in provisioner.outgoing(0.0))


def test_a_recorded_record_answers_its_own_request_alone() -> None:
    """Another part, another record, or an answer nobody asked for ends the session by name."""
    records = Records({DEVICE_CERTIFICATE: bytes(range(200)), 2: bytes(200)})
    device = make_device(records=records)
    tape: dict[tuple[int, int], bytes] = {}
    for record in (DEVICE_CERTIFICATE, 2):
        for offset in (0, 100):
            device.receive(build_pdu(RecordRequest(record, offset, 100)), 0.0)
            (tape[record, offset],) = device.outgoing(0.0)
    for asked in tape:
        for answered, answer in tape.items():
            provisioner = make_provisioner()
            provisioner.request(*asked, 100, 0.0)
            provisioner.receive(answer, 0.0)
            (event,) = provisioner.events()
            if asked == answered:
                assert isinstance(event, provisioner_end.RecordPart)
                provisioner.receive(answer, 0.0)
                (event,) = provisioner.events()
            assert isinstance(event, provisioner_end.Ended)
            assert isinstance(event.error, WireError)
            assert "Record Response" in str(event.error)


def test_no_offer_makes_a_provisioner_speak_before_it_chose() -> None:
    """Whatever the capabilities say, what follows is the owner's choice."""
    for algorithms in (0, 1, 2, 3, 0xFFFF):
        provisioner = make_provisioner()
        provisioner.invite(0, 0.0)
        provisioner.outgoing(0.0)
        provisioner.receive(build_pdu(offer(CMAC, algorithms=algorithms)), 0.0)
        assert provisioner.outgoing(0.0) == []
