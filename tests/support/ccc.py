"""A vehicle, devices and what they keep, for the tests of the profile CCC-public."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from keywright.aliro.messages import ReaderStatus
from keywright.ccc import pairing, sharing, statements, tracking
from keywright.ccc.device import DigitalKey
from keywright.ccc.keys import PairingPassword
from keywright.ccc.memory import OfferRecord, VehicleMemory, prepare
from keywright.ccc.profile import Profile, Scrypt
from keywright.ccc.records import InstanceRecord, enter_password
from keywright.ccc.session import Session
from keywright.ccc.simulated import SimulatedDigitalKey
from keywright.ccc.vehicle import Fresh, Opened, Plan, Vehicle, authenticate, finish
from keywright.crypto.ec import EcPublicKey
from keywright.errors import LinkError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.store.memory import Memory, RamMemory
from support.aliro import key, stream

Result = TypeVar("Result")

PASSWORD = PairingPassword("31415926")
WRONG = PairingPassword("27182818")
VEHICLE = bytes.fromhex("0011223344556677")
NOW = 1_700_000_000
QUICK = Profile(scrypt=Scrypt(1024, 8, 1))
"""The least cost that a device accepts, so that tests are quick."""
MAKER = key("maker")
SERVER = key("tracking server")


def signed_instance(maker: str = "maker", element: str = "element") -> bytes:
    """What a maker says of an element."""
    signer = key(maker)
    statement = statements.Statement(
        kind=statements.Kind.INSTANCE,
        issuer=statements.key_identifier(signer.public),
        subject=key(element).public.point,
    )
    return statements.sign(signer, statement)


class Phone:
    """A device with memory and power; its private keys are `key(name)`."""

    def __init__(
        self,
        seed: str = "phone",
        *,
        memory: Memory | None = None,
        profile: Profile = QUICK,
        maker: str = "maker",
        random: Callable[[int], bytes] | None = None,
    ) -> None:
        self.memory = memory or RamMemory()
        self._random = random or stream(seed)
        self.applet = DigitalKey(self.signer, self._create, self._random, profile=profile)
        self.device = SimulatedDigitalKey(self.applet, self.memory)
        if self.memory.load("instance") is None:
            record = InstanceRecord(
                f"element of {seed}".encode(),
                key(f"element of {seed}").public.point,
                signed_instance(maker, f"element of {seed}"),
            )
            self.memory.commit({"instance": record.build()})
        self._transmit = transmit(Loopback(self.device, "phone"))
        self.commands: list[Command] = []
        self.answers: list[Response] = []

    @staticmethod
    def signer(name: bytes) -> Any:
        return key(name.decode())

    def _create(self) -> tuple[bytes, EcPublicKey]:
        name = self._random(8).hex()
        return name.encode(), key(name).public

    @property
    def session(self) -> Session:
        return self.device.session

    def __call__(self, command: Command) -> Response:
        self.commands.append(command)
        answer = self._transmit(command)
        self.answers.append(answer)
        return answer

    def run(self, dialogue: Generator[Command, Response, Result]) -> Result:
        """Run a vehicle's dialogue against this device."""
        return drive(dialogue, self)

    def enter(self, password: PairingPassword = PASSWORD) -> None:
        """The user enters a password."""
        enter_password(self.device.records, password)
        self.device.records.commit()

    def here(self, act: Callable[..., Result], *arguments: Any) -> Result:
        """Something that happens at the device itself, kept as one."""
        result = act(self.device.records, *arguments)
        self.device.records.commit()
        return result

    def kept(self) -> dict[str, bytes]:
        """All it remembers."""
        return {name: self.memory.load(name) or b"" for name in self.memory.names()}


_OFFERS: dict[Profile, OfferRecord] = {}


class Car:
    """A vehicle with memory."""

    def __init__(self, *, profile: Profile = QUICK, memory: Memory | None = None, **fields: Any) -> None:
        self.ram = memory or RamMemory()
        self.memory = VehicleMemory(self.ram, profile)
        self.profile = profile
        fields.setdefault("makers", statements.roots([MAKER.public]))
        self.vehicle = Vehicle(VEHICLE, key("vehicle"), brand=7, profile=profile, **fields)
        self._count = 0

    def offer(self, password: PairingPassword = PASSWORD) -> None:
        """The vehicle gets a password."""
        if password is not PASSWORD:
            self.memory.offer(prepare(password, stream("salt"), self.profile))
            return
        if self.profile not in _OFFERS:
            _OFFERS[self.profile] = prepare(password, stream("salt"), self.profile)
        self.memory.offer(_OFFERS[self.profile])

    def seed(self) -> str:
        self._count += 1
        return f"car {self._count}"

    def pair(self) -> Generator[Command, Response, pairing.Paired]:
        return pairing.pair(self.vehicle, self.memory, pairing.Fresh.draw(stream(self.seed())))

    def authenticate(self, plan: Plan = Plan(), now: int | None = NOW) -> Generator[Command, Response, Opened]:  # noqa: B008 - a value
        return authenticate(self.vehicle, self.memory, plan, Fresh.draw(stream(self.seed())), now)

    def unlock(self, plan: Plan = Plan(), now: int | None = NOW) -> Generator[Command, Response, Opened]:  # noqa: B008 - a value
        """A whole transaction that ends well."""
        opened = yield from self.authenticate(plan, now)
        yield from finish(opened, ReaderStatus.UNSECURED)
        return opened


def paired(*, profile: Profile = QUICK, **fields: Any) -> tuple[Car, Phone, pairing.Paired]:
    """A car and the owner's phone."""
    car, phone = Car(profile=profile, **fields), Phone(profile=profile)
    car.offer()
    phone.enter()
    return car, phone, phone.run(car.pair())


def share(
    car: Car,
    owner: Phone,
    friend: Phone,
    *,
    entitlements: int = statements.Entitlement.UNLOCK,
    time: sharing.Time = sharing.Time(),  # noqa: B008 - a value
    server: tracking.TrackingServer | None = None,
    slot: bytes = b"friend 1",
) -> None:
    """A key is shared, up to what the friend's device installs."""
    invitation = owner.here(sharing.invite, VEHICLE, slot, entitlements, time)
    chain = friend.here(lambda records: sharing.accept(friend.applet, records, invitation))
    owner_key = next(iter(_keys(owner)))
    grant = owner.here(sharing.grant, owner.signer(owner_key.key), car.vehicle.makers, invitation, chain)
    receipt = b""
    if server is not None:
        receipt = tracking.take_answer(server.handle(friend.here(sharing.registration, VEHICLE)))
    friend.here(sharing.install, VEHICLE, grant, receipt)


def _keys(phone: Phone) -> list[Any]:
    from keywright.ccc.records import keys

    return [record for _, record in keys(phone.device.records)]


def cut_at(exchange: Callable[[Command], Response], number: int, *, delivered: bool) -> Callable[[Command], Response]:
    """`exchange`, but its exchange `number` (from 0) is lost, before or after it took effect."""
    count = -1

    def one(command: Command) -> Response:
        nonlocal count
        count += 1
        if count < number:
            return exchange(command)
        if count == number and delivered:
            exchange(command)
        raise LinkError("cut", delivered=delivered if count == number else False)

    return one
