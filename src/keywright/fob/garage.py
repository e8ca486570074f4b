"""A simulated garage: a vehicle, devices, their maker and the key tracking server, with the profile CCC-public.

All of it is one file, which holds private keys and a password in the clear: it is for trying things out. What happens
in it is durable as it would be in a car and a phone, so attempts stay counted from one run of a program to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from keywright.aliro.messages import ReaderStatus
from keywright.ccc import pairing, sharing, statements, tracking
from keywright.ccc.device import DigitalKey
from keywright.ccc.keys import PairingPassword
from keywright.ccc.memory import VehicleMemory, prepare
from keywright.ccc.records import InstanceRecord, delete_key, enter_password, find_key
from keywright.ccc.session import Session
from keywright.ccc.simulated import SimulatedDigitalKey
from keywright.ccc.vehicle import Dialogue, Fresh, Opened, Plan, Vehicle, authenticate, finish
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import StoreError, UsageError
from keywright.store.journal import Journal
from keywright.store.memory import Memory

_CURVE: Final = "P-256"
_DIGITS: Final = 8
_WRONG: Final = 1
_DEVICE: Final = "device/"


@final
class SoftwareElement:
    """Private keys in a memory. A key is there before the command that made it is answered."""

    def __init__(self, memory: Memory, random: Callable[[int], bytes]) -> None:
        self._memory = memory
        self._random = random

    def create(self) -> tuple[bytes, EcPublicKey]:
        """A new key pair: its name and public key."""
        name = self._random(8).hex()
        return name.encode(), _private(self._memory, f"secret/{name}", self._random).public

    def signer(self, name: bytes) -> EcPrivateKey:
        """The private key of a name. Raises StoreError."""
        found = self._memory.load(f"secret/{name.decode()}")
        if found is None:
            raise StoreError("the device has lost a private key")
        return EcPrivateKey.from_pkcs8(found, _CURVE)


@final
class Garage:
    """The vehicle and who is around it. Everything raises StoreError when the file does."""

    def __init__(self, journal: Journal, random: Callable[[int], bytes], clock: Callable[[], int]) -> None:
        """clock: seconds since 1970. What is not in the file yet is made."""
        self._journal = journal
        self._random = random
        self._clock = clock
        others = journal.memory("others")
        self.maker = _private(others, "maker", random)
        self._others = others
        self.memory = VehicleMemory(journal.memory("vehicle"))
        self.server = tracking.TrackingServer(
            journal.memory("tracking"),
            _private(others, "tracking", random),
            statements.roots([self.maker.public]),
            clock,
        )
        identifier = others.load("identifier")
        if identifier is None:
            identifier = random(8)
            others.commit({"identifier": identifier})
        self.vehicle = Vehicle(
            identifier,
            _private(others, "vehicle", random),
            statements.roots([self.maker.public]),
            tracking=_private(others, "tracking", random).public,
        )

    # ---- devices --------------------------------------------------------------------------------------------

    def devices(self) -> list[str]:
        """Names of the devices there are."""
        return [name[len(_DEVICE) :] for name in self._journal.namespaces() if name.startswith(_DEVICE)]

    def device(self, name: str, *, new: bool = False) -> SimulatedDigitalKey[Session]:
        """A device by its name; new: made by the maker if it is not there. Raises UsageError for an unknown one."""
        memory = self._journal.memory(_DEVICE + name)
        if memory.load("instance") is None:
            if not new:
                known = ", ".join(self.devices()) or "none"
                raise UsageError(f"there is no device {name}", hint=f"devices here: {known}")
            public = _private(memory, "secret/instance", self._random).public
            says = statements.Statement(
                kind=statements.Kind.INSTANCE,
                issuer=statements.key_identifier(self.maker.public),
                subject=public.point,
            )
            instance = InstanceRecord(b"instance", public.point, statements.sign(self.maker, says))
            memory.commit({"instance": instance.build()})
        return SimulatedDigitalKey(self._applet(name), memory)

    def _applet(self, name: str) -> DigitalKey:
        element = self._element(name)
        return DigitalKey(element.signer, element.create, self._random, profile=self.vehicle.profile)

    def _element(self, name: str) -> SoftwareElement:
        return SoftwareElement(self._journal.memory(_DEVICE + name), self._random)

    def slot_of(self, name: str) -> bytes | None:
        """The slot of a device's key for the vehicle; None: it has none."""
        found = find_key(self.device(name).records, self.vehicle.identifier)
        return None if found is None else found[1].slot

    # ---- owner pairing --------------------------------------------------------------------------------------

    def offer(self) -> PairingPassword:
        """Give the vehicle a new password. Raises PolicyError when it has an owner."""
        number = int.from_bytes(self._random(8)) % 10**_DIGITS
        password = PairingPassword(f"{number:0{_DIGITS}}")
        self.memory.offer(prepare(password, self._random, self.vehicle.profile))
        self._others.commit({"password": password.reveal()})
        return password

    @property
    def has_offer(self) -> bool:
        """Whether the vehicle was given a password that is neither used nor thrown away; its attempts may be over."""
        return self._journal.load("vehicle", "pairing") is not None

    def enter(self, name: str, *, wrong: bool = False) -> None:
        """The user types the password of the last `offer` at a device; wrong: another one. Raises UsageError."""
        found = self._others.load("password")
        if found is None:
            raise UsageError("the vehicle was given no password yet")
        digits = found.decode()
        if wrong:
            digits = f"{(int(digits) + _WRONG) % 10**_DIGITS:0{_DIGITS}}"
        device = self.device(name, new=True)
        enter_password(device.records, PairingPassword(digits), self.vehicle.profile)
        device.records.commit()

    def pair(self) -> Dialogue[pairing.Paired]:
        """Owner pairing (`pairing.pair`)."""
        return pairing.pair(self.vehicle, self.memory, pairing.Fresh.draw(self._random))

    # ---- using keys -----------------------------------------------------------------------------------------

    def unlock(self, plan: Plan) -> Dialogue[Opened]:
        """A transaction that ends with "unsecured". Raises as `vehicle.authenticate`: it stayed shut."""
        fresh = Fresh.draw(self._random)
        opened = yield from authenticate(self.vehicle, self.memory, plan, fresh, self._clock())
        yield from finish(opened, ReaderStatus.UNSECURED)
        return opened

    def track(self, name: str, signed_grant: bytes = b"") -> tracking.Receipt:
        """Register a device's key with the tracking server, and give the device what the vehicle wants to see.

        signed_grant: the owner's, for a friend's key. Raises PolicyError.
        """
        device = self.device(name)
        answer = self.server.handle(sharing.registration(device.records, self.vehicle.identifier))
        receipt = tracking.take_answer(answer)
        sharing.install(device.records, self.vehicle.identifier, signed_grant, receipt)
        device.records.commit()
        return tracking.Receipt.parse(tracking.SignedReceipt.parse(receipt).receipt)

    def share(self, owner: str, friend: str, entitlements: int, time: sharing.Time) -> tracking.Receipt:
        """Share a key, from the invitation to what the friend's device installs. Raises PolicyError."""
        vehicle, slot = self.vehicle.identifier, self._random(8)
        theirs, ours = self.device(owner), self.device(friend, new=True)
        invitation = sharing.invite(theirs.records, vehicle, slot, entitlements, time)
        chain = sharing.accept(self._applet(friend), ours.records, invitation)
        found = find_key(theirs.records, vehicle)
        if found is None:
            raise StoreError("the device has lost its key")
        signer = self._element(owner).signer(found[1].key)
        signed = sharing.grant(theirs.records, signer, self.vehicle.makers, invitation, chain)
        ours.records.commit()
        return self.track(friend, signed)

    def revoke(self, slot: bytes) -> tuple[bytes, ...]:
        """Refuse a key for good, at the vehicle and at the server; the slots that went."""
        gone = self.memory.revoke(slot)
        for one in gone:
            self.server.revoke(self.vehicle.identifier, one)
        return gone

    def delete(self, name: str) -> None:
        """Delete a device's key for the vehicle, at the device alone."""
        device = self.device(name)
        found = find_key(device.records, self.vehicle.identifier)
        if found is not None:
            delete_key(device.records, found[0])
            device.records.commit()


@contextmanager
def opened_garage(path: Path, random: Callable[[int], bytes], clock: Callable[[], int]) -> Iterator[Garage]:
    """The garage of a file, made if there is none. Raises StoreError if it holds something else."""
    with Journal(path, sync=True) as journal:
        if journal.namespaces() and "others" not in journal.namespaces():
            raise StoreError(f"{path}: holds no garage", hint="give a new file, or one of: keywright key ccc pair")
        yield Garage(journal, random, clock)


def _private(memory: Memory, name: str, random: Callable[[int], bytes]) -> EcPrivateKey:
    """The private key of that name, made if there is none."""
    found = memory.load(name)
    if found is not None:
        return EcPrivateKey.from_pkcs8(found, _CURVE)
    key = EcPrivateKey.draw(_CURVE, random)
    memory.commit({name: key.to_pkcs8()})
    return key
