"""Key tracking: a server keeps a record of every key of a vehicle and signs a receipt, which the vehicle demands.

The formats are ours. A registration sent again gives the same receipt; another key for a slot that is taken is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Final, final

from keywright.ccc import statements
from keywright.ccc.messages import SIGNATURE_BYTES, SLOT_BYTES, VEHICLE_BYTES
from keywright.ccc.profile import RECEIPT
from keywright.codec.record import U8, Record, Rest, prefixed, raw
from keywright.codec.tlv import Template, tag
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.signing import Signer
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, PolicyError
from keywright.store.memory import Memory


class Registration(Template, frozen=True):
    """What is registered: a key that was made on an element for a vehicle."""

    strict = True
    vehicle: Annotated[bytes, tag(0x80), raw(VEHICLE_BYTES)]
    slot: Annotated[bytes, tag(0x81), raw(SLOT_BYTES)]
    role: Annotated[int, tag(0x82, size=1)]
    """A value of `records.Role`."""
    chain: Annotated[bytes, tag(0x83)]
    """`statements.Chain`."""


class Receipt(Template, frozen=True):
    """What the server says of a key."""

    strict = True
    vehicle: Annotated[bytes, tag(0x80), raw(VEHICLE_BYTES)]
    slot: Annotated[bytes, tag(0x81), raw(SLOT_BYTES)]
    key: Annotated[bytes, tag(0x82), raw(32)]
    """SHA-256 of the public key's point."""
    serial: Annotated[int, tag(0x83, size=4)]
    """Number of the registration at this server, from 1."""
    time: Annotated[int, tag(0x84, size=4)]
    """When it was registered, seconds since 1970."""


class SignedReceipt(Record, frozen=True):
    """A receipt as it was signed, and r || s over it."""

    receipt: Annotated[bytes, prefixed(2)]
    signature: Annotated[bytes, raw(SIGNATURE_BYTES)]


class Answer(Record, frozen=True):
    """What the server answers: a value of `Result`, and with OK the signed receipt."""

    result: U8
    body: Annotated[bytes, Rest()] = b""


class Entry(Record, frozen=True):
    """What the server keeps of a slot."""

    revoked: U8
    registration: Annotated[bytes, prefixed(2)]
    receipt: Annotated[bytes, prefixed(2)]


class Result:
    """How a registration went."""

    OK: Final = 0
    MALFORMED: Final = 1
    NOT_TRUSTED: Final = 2
    """The chain is not that of a device made by a maker known here."""
    TAKEN: Final = 3
    """The slot has another key, or was revoked."""


RESULTS: Final = {
    Result.OK: "registered",
    Result.MALFORMED: "the registration is malformed",
    Result.NOT_TRUSTED: "the device is not trusted",
    Result.TAKEN: "the slot has another key, or was revoked",
}


@final
class TrackingServer:
    """The server, a responder. What it answers is durable."""

    def __init__(self, memory: Memory, signer: Signer, makers: statements.Roots, clock: Callable[[], int]) -> None:
        """clock: seconds since 1970."""
        self._memory = memory
        self._signer = signer
        self._makers = makers
        self._clock = clock

    def handle(self, request: bytes, /) -> bytes:
        """A `Registration` in, an `Answer` out; any bytes get one."""
        try:
            registration = Registration.parse(request)
            statements.Chain.parse(registration.chain)
        except DecodeError:
            return Answer(Result.MALFORMED).build()
        try:
            key = statements.verify_chain(registration.chain, self._makers, registration.vehicle, registration.slot)
        except KeywrightError:
            return Answer(Result.NOT_TRUSTED).build()
        name = _name(registration.vehicle, registration.slot)
        found = self._memory.load(name)
        if found is not None:
            entry = Entry.parse(found)
            if entry.revoked or entry.registration != request:
                return Answer(Result.TAKEN).build()
            return Answer(Result.OK, entry.receipt).build()
        return Answer(Result.OK, self._register(name, registration, request, key)).build()

    def _register(self, name: str, registration: Registration, request: bytes, key: EcPublicKey) -> bytes:
        serial = int.from_bytes(self._memory.load("serial") or b"") + 1
        receipt = Receipt(
            registration.vehicle, registration.slot, hashlib.sha256(key.point).digest(), serial, self._clock()
        ).build()
        signed = SignedReceipt(receipt, self._signer.sign(RECEIPT.value + receipt)).build()
        self._memory.commit({"serial": serial.to_bytes(4), name: Entry(0, request, signed).build()})
        return signed

    def revoke(self, vehicle: bytes, slot: bytes) -> bool:
        """Mark a key as gone: it is registered no more. Whether there was one."""
        name = _name(vehicle, slot)
        found = self._memory.load(name)
        if found is None:
            return False
        entry = Entry.parse(found)
        self._memory.commit({name: Entry(1, entry.registration, entry.receipt).build()})
        return True

    def registered(self, vehicle: bytes) -> tuple[Registration, ...]:
        """The keys of a vehicle that were not revoked."""
        names = [name for name in self._memory.names() if name.startswith(f"tracked/{vehicle.hex()}/")]
        entries = [Entry.parse(self._memory.load(name) or b"") for name in names]
        return tuple(Registration.parse(entry.registration) for entry in entries if not entry.revoked)


def take_answer(answer: bytes) -> bytes:
    """The signed receipt in a server's answer. Raises DecodeError, and PolicyError for a refusal."""
    found = Answer.parse(answer)
    if found.result != Result.OK:
        raise PolicyError(f"key tracking: {RESULTS.get(found.result, 'refused')}")
    SignedReceipt.parse(found.body)
    return found.body


def verify_receipt(signed: bytes, server: EcPublicKey, vehicle: bytes, slot: bytes, public_key: bytes) -> Receipt:
    """What a receipt says of this key. Raises DecodeError, AuthenticationError."""
    found = SignedReceipt.parse(signed)
    server.verify(found.signature, RECEIPT.value + found.receipt)
    receipt = Receipt.parse(found.receipt)
    if (receipt.vehicle, receipt.slot, receipt.key) != (vehicle, slot, hashlib.sha256(public_key).digest()):
        raise AuthenticationError("the receipt of key tracking is for another key")
    return receipt


def _name(vehicle: bytes, slot: bytes) -> str:
    return f"tracked/{vehicle.hex()}/{slot.hex()}"
