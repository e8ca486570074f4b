"""A worked example of a maker's own scheme: a symmetric key from the pairing, a challenge and a counter to open.

It is no maker's, and it is ours: what it shows is how little a scheme has to bring. Pairing is SPAKE2+ with the key
schedule of RFC 9383, whose context names vehicle and slot; the key is derived, so nothing secret travels.

    BEGIN (80 10)      slot, scrypt parameters      ->  shareP
    CONFIRM (80 12)    shareV, confirmV             ->  confirmP
    CHALLENGE (80 20)  slot, vehicle random         ->  counter, device random, CMAC
    RESULT (80 22)     CMAC                         ->

The device counts before it answers, the vehicle keeps the count before it opens: a recorded answer opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Final, final

import msgspec

from keywright.aliro.credential import Records
from keywright.ccc import keys, records
from keywright.ccc.keys import PairingPassword
from keywright.ccc.memory import KnownKey, VehicleMemory, prepare
from keywright.ccc.messages import ScryptParameters
from keywright.ccc.profile import CCC_PUBLIC, Certainty, Constant, Profile
from keywright.ccc.records import Role
from keywright.ccc.scheme import Element
from keywright.ccc.vehicle import Dialogue
from keywright.codec.record import U32, Record, raw
from keywright.codec.tlv import Template, tag
from keywright.crypto import p256, spake2plus
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.kdf import hkdf
from keywright.crypto.spake2plus import ConfirmationKeys, Prover, Verifier, VerifierData
from keywright.errors import AuthenticationError, DecodeError, PolicyError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW, check
from keywright.store.memory import Memory

_OURS: Final = "keywright, as an example"
NAME: Final = "example OEM"
AID: Final = Constant("AID", bytes.fromhex("F06B77657861") + b"OEM1", _OURS, Certainty.OURS)
CONTEXT: Final = Constant("context of SPAKE2+", b"example OEM/", _OURS, Certainty.OURS)
UNLOCK: Final = Constant("info of the unlock key", b"unlock", _OURS, Certainty.OURS)
DEVICE: Final = Constant("what the device's CMAC begins with", b"D", _OURS, Certainty.OURS)
VEHICLE: Final = Constant("what the vehicle's CMAC begins with", b"V", _OURS, Certainty.OURS)
TABLE: Final[tuple[Constant[object], ...]] = (AID, CONTEXT, UNLOCK, DEVICE, VEHICLE)

SELECT: Final = 0xA4
BEGIN: Final = 0x10
CONFIRM: Final = 0x12
CHALLENGE: Final = 0x20
RESULT: Final = 0x22
_LAST_COUNT: Final = 0xFFFFFFFF


class Begin(Template, frozen=True):
    """Data of BEGIN."""

    strict = True
    slot: Annotated[bytes, tag(0x80), raw(8)]
    scrypt: Annotated[ScryptParameters, tag(0xA1)]


class Confirm(Record, frozen=True):
    """Data of CONFIRM."""

    share: Annotated[bytes, raw(65)]
    confirmation: Annotated[bytes, raw(16)]


class Challenge(Record, frozen=True):
    """Data of CHALLENGE."""

    slot: Annotated[bytes, raw(8)]
    vehicle_random: Annotated[bytes, raw(16)]


class ChallengeAnswer(Record, frozen=True):
    """Answer to CHALLENGE."""

    counter: U32
    device_random: Annotated[bytes, raw(16)]
    mac: Annotated[bytes, raw(16)]


class UnlockKey(Record, frozen=True):
    """What the device keeps of a slot. Secret."""

    key: Annotated[bytes, raw(32)]
    counter: U32 = 0

    def __repr__(self) -> str:
        return f"<UnlockKey, counter {self.counter}>"


def unlock_key(shared: ConfirmationKeys) -> bytes:
    """The key of a slot, 32 bytes."""
    return hkdf(shared.shared.reveal(), b"", UNLOCK.value, 32)


def mac(key: bytes, prefix: bytes, challenge: Challenge, counter: int, device_random: bytes) -> bytes:
    """CMAC over all that the two have said, 16 bytes; prefix: who says it."""
    return AesKey(key, "unlock key").cmac(prefix + challenge.build() + counter.to_bytes(4) + device_random)


# ---- the device -----------------------------------------------------------------------------------------------


class State(Enum):
    """Where a session stands."""

    IDLE = "nothing selected"
    SELECTED = "selected"
    BEGUN = "pairing begun"
    CHALLENGED = "challenge answered"


TABLE_OF_STATES: Final = {
    State.IDLE: (SELECT,),
    State.SELECTED: (SELECT, BEGIN, CHALLENGE),
    State.BEGUN: (SELECT, CONFIRM),
    State.CHALLENGED: (SELECT, RESULT),
}
"""What is answered where. Any other command is refused with 6985."""


@final
class Session:
    """What a device holds between two commands."""

    __slots__ = ("begin", "expected", "is_open", "prover", "state")

    def __init__(self) -> None:
        self.fail()

    def fail(self) -> None:
        """Forget everything."""
        self.state = State.IDLE
        self.begin: Begin | None = None
        self.prover: Prover | None = None
        self.expected = b""
        """The vehicle's CMAC."""
        self.is_open = False
        """Whether the vehicle has proven itself and opens."""


@final
class ExampleApplet:
    """The device's end."""

    def __init__(self, vehicle: bytes, random: Callable[[int], bytes], profile: Profile = CCC_PUBLIC) -> None:
        self._vehicle = vehicle
        self._random = random
        self._profile = profile

    def begin(self) -> Session:
        """A session in which nothing was selected."""
        return Session()

    def process(self, command: Command, session: Session, device: Records) -> Response:
        """Handle one whole command; any gets an answer, and a refusal ends the session."""
        try:
            return Response(self._run(command, session, device))
        except Refusal as refused:
            sw = refused.sw
        except DecodeError:
            sw = SW.INCORRECT_DATA
        except AuthenticationError:
            sw = SW.SECURITY_STATUS_NOT_SATISFIED
        session.fail()
        return Response(b"", sw)

    def _run(self, command: Command, session: Session, device: Records) -> bytes:
        if command.cla != (0x00 if command.ins == SELECT else 0x80):
            raise Refusal(SW.CLA_NOT_SUPPORTED)
        if (command.p1, command.p2) != ((0x04, 0x00) if command.ins == SELECT else (0, 0)):
            raise Refusal(SW.INCORRECT_P1P2)
        if command.ins not in TABLE_OF_STATES[session.state]:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        handlers = {BEGIN: self._begin, CONFIRM: self._confirm, CHALLENGE: self._challenge, RESULT: self._result}
        return handlers.get(command.ins, self._select)(command.data, session, device)

    def _select(self, aid: bytes, session: Session, device: Records) -> bytes:
        del device
        if aid != AID.value:
            raise Refusal(SW.NOT_FOUND)
        session.fail()
        session.state = State.SELECTED
        return b""

    def _begin(self, data: bytes, session: Session, device: Records) -> bytes:
        begin = Begin.parse(data)
        entered = records.read_pairing(device)
        if entered is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        least, most, asked = self._profile.least_scrypt, self._profile.most_scrypt, begin.scrypt
        if not least.n <= asked.cost <= most.n or (asked.block_size, asked.parallelization) != (8, 1):
            raise Refusal(SW.INCORRECT_DATA)
        device.write("pairing", msgspec.structs.replace(entered, left=entered.left - 1).build())
        try:
            w0, w1 = keys.scalars(PairingPassword(entered.password.decode()), asked, self._profile)
        except ValueError:
            raise Refusal(SW.INCORRECT_DATA) from None
        session.begin, session.state = begin, State.BEGUN
        session.prover = Prover(w0, w1, EcPrivateKey.draw(p256.CURVE, self._random))
        return session.prover.share

    def _confirm(self, data: bytes, session: Session, device: Records) -> bytes:
        command = Confirm.parse(data)
        begin, prover = session.begin, session.prover
        if begin is None or prover is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        agreed = spake2plus.rfc9383(prover.finish(command.share), _context(self._vehicle, begin), mac="cmac")
        agreed.verify_v(command.confirmation)
        device.write(f"oem/{begin.slot.hex()}", UnlockKey(unlock_key(agreed)).build())
        records.cancel_pairing(device)
        session.fail()
        return agreed.confirm_p()

    def _challenge(self, data: bytes, session: Session, device: Records) -> bytes:
        challenge = Challenge.parse(data)
        name = f"oem/{challenge.slot.hex()}"
        found = device.read(name)
        # A slot that is not known is answered in the same form, by a key that nobody has.
        kept = UnlockKey(self._random(32)) if found is None else UnlockKey.parse(found)
        if kept.counter == _LAST_COUNT:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        kept = UnlockKey(kept.key, kept.counter + 1)
        if found is not None:
            device.write(name, kept.build())
        said = challenge, kept.counter, self._random(16)
        session.expected = mac(kept.key, VEHICLE.value, *said)
        session.state = State.CHALLENGED
        return ChallengeAnswer(*said[1:], mac(kept.key, DEVICE.value, *said)).build()

    def _result(self, data: bytes, session: Session, device: Records) -> bytes:
        del device
        if not equal(data, session.expected):
            raise Refusal(SW.SECURITY_STATUS_NOT_SATISFIED)
        session.fail()
        session.is_open = True
        return b""


# ---- the vehicle ----------------------------------------------------------------------------------------------


@final
class ExampleOem:
    """A `Scheme`. A key is kept as `KnownKey` in the place of Kpersistent; a share stands for the public key."""

    name = NAME
    table = TABLE

    def __init__(self, vehicle: bytes, profile: Profile = CCC_PUBLIC) -> None:
        """vehicle: its identifier, 8 bytes."""
        self._vehicle = vehicle
        self._profile = profile

    def applet(self, element: Element, random: Callable[[int], bytes]) -> ExampleApplet:
        """The device's end; it has symmetric keys alone, in its records."""
        del element
        return ExampleApplet(self._vehicle, random, self._profile)

    def enter(self, device: Records, password: PairingPassword) -> None:
        """The user has entered a password at the device."""
        records.enter_password(device, password, self._profile)

    def offer(self, memory: Memory, password: PairingPassword, random: Callable[[int], bytes]) -> None:
        """Give the vehicle a new password."""
        self._memory(memory).offer(prepare(password, random, self._profile))

    def pair(self, memory: Memory, random: Callable[[int], bytes]) -> Dialogue[bytes]:
        """SELECT, BEGIN, CONFIRM."""
        kept = self._memory(memory)
        offer = kept.offered()
        begin = Begin(random(8), offer.scrypt)
        verifier = Verifier(VerifierData.parse(offer.verifier), EcPrivateKey.draw(p256.CURVE, random))
        yield from _select()
        share = check((yield _command(BEGIN, begin.build())), "BEGIN")
        try:
            agreed = spake2plus.rfc9383(verifier.finish(share), _context(self._vehicle, begin), mac="cmac")
        except DecodeError as error:
            raise WireError(f"BEGIN: {error}") from error
        left = kept.count_attempt()
        confirm = Confirm(verifier.share, agreed.confirm_v())
        answer = check((yield _command(CONFIRM, confirm.build())), f"CONFIRM ({left} attempts left)")
        agreed.verify_p(answer)
        key = KnownKey(public_key=verifier.share, role=Role.OWNER, entitlements=1, persistent=unlock_key(agreed))
        kept.keep(begin.slot, key, ends_pairing=True)
        return begin.slot

    def unlock(self, memory: Memory, random: Callable[[int], bytes], now: int | None) -> Dialogue[bytes]:
        """SELECT, CHALLENGE, RESULT; this scheme has no keys limited in time."""
        del now
        kept = self._memory(memory)
        owner = kept.owner()
        if owner is None or owner[1].persistent is None:
            raise PolicyError("the vehicle has no owner", hint="pair a device first")
        slot, known = owner
        key, challenge = owner[1].persistent, Challenge(slot, random(16))
        yield from _select()
        data = check((yield _command(CHALLENGE, challenge.build())), "CHALLENGE")
        try:
            answer = ChallengeAnswer.parse(data)
        except DecodeError as error:
            raise WireError(f"CHALLENGE: {error}") from error
        said = challenge, answer.counter, answer.device_random
        if not equal(answer.mac, mac(key, DEVICE.value, *said)):
            raise AuthenticationError("the device does not have the key")
        if answer.counter <= known.counter:
            raise WireError("the device counts backwards", hint="two devices have this key; revoke it")
        kept.keep(slot, msgspec.structs.replace(known, counter=answer.counter))
        check((yield _command(RESULT, mac(key, VEHICLE.value, *said))), "RESULT")
        return slot

    def revoke(self, memory: Memory, slot: bytes) -> None:
        """Refuse a key for good."""
        self._memory(memory).revoke(slot)

    def _memory(self, memory: Memory) -> VehicleMemory:
        return VehicleMemory(memory, self._profile)


def _context(vehicle: bytes, begin: Begin) -> bytes:
    return CONTEXT.value + vehicle + begin.slot


def _select() -> Dialogue[None]:
    check((yield Command(0x00, SELECT, 0x04, 0x00, AID.value, 0)), "SELECT of the example")


def _command(ins: int, data: bytes) -> Command:
    return Command(0x80, ins, 0, 0, data, None if ins == RESULT else 0)
