"""Sharing a key with a friend, key tracking, and what a vehicle refuses of both."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.aliro.messages import ReaderStatus
from keywright.ccc import sharing, statements, tracking
from keywright.ccc.messages import Ins
from keywright.ccc.records import KEYS, KeyRecord, Role, find_key
from keywright.ccc.statements import Entitlement, Kind, Package, Statement
from keywright.ccc.tracking import Answer, Registration, Result, TrackingServer
from keywright.ccc.vehicle import DeviceError, Plan
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, LinkError, PolicyError
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory
from support.aliro import key
from support.ccc import MAKER, NOW, SERVER, VEHICLE, Car, Phone, cut_at, paired, share, signed_instance
from support.power import CutMemory, PowerCut

SLOT = b"friend 1"


def _server(memory: RamMemory | None = None) -> TrackingServer:
    return TrackingServer(memory or RamMemory(), SERVER, statements.roots([MAKER.public]), lambda: NOW)


@pytest.fixture
def shared() -> tuple[Car, Phone, Phone]:
    """A car, its owner, and a friend whose key was shared but not yet used."""
    car, owner, _ = paired()
    friend = Phone("friend")
    share(car, owner, friend)
    return car, owner, friend


def test_a_friends_first_transaction_brings_its_package_and_the_next_is_fast(shared: tuple[Car, Phone, Phone]) -> None:
    car, _, friend = shared
    opened = friend.run(car.unlock())
    assert not opened.is_fast
    assert [command.ins for command in friend.commands].count(Ins.EXCHANGE) == 5  # size, three pieces, the end
    assert opened.key is not None
    assert (opened.key.role, opened.key.entitlements, opened.slot) == (Role.FRIEND, Entitlement.UNLOCK, SLOT)
    assert friend.run(car.unlock()).is_fast
    friend.commands.clear()
    friend.run(car.unlock(Plan(fast=False)))
    assert [command.ins for command in friend.commands].count(Ins.EXCHANGE) == 1


def test_a_friend_may_do_what_was_granted_and_no_more(shared: tuple[Car, Phone, Phone]) -> None:
    car, owner, friend = shared
    with pytest.raises(PolicyError, match="does not entitle"):
        friend.run(car.unlock(Plan(entitlements=Entitlement.DRIVE)))
    assert car.memory.find(SLOT) is None
    friend.run(car.unlock())
    with pytest.raises(PolicyError, match="does not entitle"):
        friend.run(car.unlock(Plan(entitlements=Entitlement.DRIVE)))
    owner.run(car.unlock(Plan(entitlements=Entitlement.DRIVE)))


def test_a_shared_key_is_good_in_its_time_alone() -> None:
    car, owner, _ = paired()
    friend = Phone("friend")
    share(car, owner, friend, time=sharing.Time(NOW, NOW + 60))
    for now in (NOW - 1, NOW + 61, None):
        with pytest.raises(PolicyError):
            friend.run(car.unlock(now=now))
        assert car.memory.find(SLOT) is None
    friend.run(car.unlock(now=NOW + 60))
    with pytest.raises(PolicyError, match="any more"):
        friend.run(car.unlock(now=NOW + 61))


def test_revoking_a_friend_is_for_good_and_leaves_the_owner(shared: tuple[Car, Phone, Phone]) -> None:
    car, owner, friend = shared
    friend.run(car.unlock())
    assert car.memory.revoke(SLOT) == (SLOT,)
    for plan in (Plan(), Plan(fast=False)):
        with pytest.raises(PolicyError, match="revoked"):
            friend.run(car.unlock(plan))
    owner.run(car.unlock())


def test_a_friend_may_be_revoked_before_the_first_time(shared: tuple[Car, Phone, Phone]) -> None:
    car, _, friend = shared
    car.memory.revoke(SLOT)
    with pytest.raises(PolicyError, match="revoked"):
        friend.run(car.unlock())
    with pytest.raises(DecodeError):
        car.memory.revoke(b"short")


def test_revoking_the_owner_takes_the_friends_along(shared: tuple[Car, Phone, Phone]) -> None:
    car, owner, friend = shared
    late = Phone("late")
    share(car, owner, late, slot=b"friend 2")
    friend.run(car.unlock())
    found = car.memory.owner()
    assert found is not None
    assert set(car.memory.revoke(found[0])) == {found[0], SLOT}
    for phone in (owner, friend, late):
        with pytest.raises(KeywrightError):
            phone.run(car.unlock())
    car.offer()
    other = Phone("other owner")
    other.enter()
    other.run(car.pair())
    with pytest.raises(AuthenticationError):
        late.run(car.unlock())


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("at", range(8))
def test_a_cut_at_any_exchange_of_the_first_time_leaves_it_to_the_next(
    shared: tuple[Car, Phone, Phone], at: int, *, delivered: bool
) -> None:
    car, _, friend = shared
    with pytest.raises(LinkError):
        drive(car.unlock(), cut_at(friend, at, delivered=delivered))
    friend.device.reset()
    friend.run(car.unlock())
    assert friend.run(car.unlock()).is_fast


# ---- what does not hold together ------------------------------------------------------------------------------


def _package(friend: Phone) -> Package:
    content = friend.kept()["private/0"]
    return Package.parse(content[2 : 2 + int.from_bytes(content[:2])])


def _put(friend: Phone, package: Package) -> None:
    built = package.build()
    content = len(built).to_bytes(2) + built
    friend.memory.commit({"private/0": content + bytes(1024 - len(content))})


@given(st.integers(0, 1 << 16))
@settings(max_examples=max(15, settings.default.max_examples // 6) if settings.default else 15, deadline=None)
def test_one_changed_bit_of_a_package_is_refused(bit: int) -> None:
    car, owner, _ = paired()
    friend = Phone("friend")
    share(car, owner, friend)
    size = 2 + int.from_bytes(friend.kept()["private/0"][:2])
    content = bytearray(friend.kept()["private/0"])
    content[bit // 8 % size] ^= 1 << bit % 8
    friend.memory.commit({"private/0": bytes(content)})
    with pytest.raises(KeywrightError):
        friend.run(car.unlock())
    assert friend.session.status is not None
    assert friend.session.status >> 8 == 0
    assert car.memory.find(SLOT) is None


def _grant(signer: str, owner: Phone, friend: Phone, **fields: Any) -> bytes:
    """A grant with other fields; signer: name of a key, empty for the owner's."""
    _, record = find_key(owner.device.records, VEHICLE) or pytest.fail("no owner")
    _, friends = find_key(friend.device.records, VEHICLE) or pytest.fail("no friend")
    own = key(signer) if signer else owner.signer(record.key)
    values: dict[str, Any] = {
        "kind": Kind.GRANT,
        "issuer": statements.key_identifier(own.public),
        "subject": friends.public_key,
        "vehicle": VEHICLE,
        "slot": SLOT,
        "entitlements": 1,
        **fields,
    }
    return statements.sign(own, Statement(**values))


@pytest.mark.parametrize(
    ("signer", "fields", "status"),
    [
        ("somebody", {}, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED),
        ("", {"kind": Kind.ENDPOINT}, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED),
        ("", {"vehicle": bytes(8)}, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED),
        ("", {"slot": bytes(8)}, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED),
        ("", {"slot": None}, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED),
        ("", {"subject": key("another").public.point}, ReaderStatus.PUBLIC_KEY_NOT_TRUSTED),
        ("", {"subject": bytes(65)}, ReaderStatus.WRONG_FORMAT),
        ("", {"entitlements": None}, ReaderStatus.WRONG_FORMAT),
        ("", {"entitlements": 0x0101}, ReaderStatus.ACCESS_RIGHTS),
    ],
)
def test_a_grant_that_says_something_else_is_refused(
    signer: str, fields: dict[str, object], status: int, shared: tuple[Car, Phone, Phone]
) -> None:
    car, owner, friend = shared
    good = msgspec.structs.replace(_package(friend), grant=_grant("", owner, friend))
    _put(friend, msgspec.structs.replace(good, grant=_grant(signer, owner, friend, **fields)))
    with pytest.raises(KeywrightError):
        friend.run(car.unlock())
    assert friend.session.status == status
    assert car.memory.find(SLOT) is None
    _put(friend, good)
    friend.run(car.unlock())


def test_a_key_that_was_not_made_on_an_element_of_a_known_maker_is_not_granted() -> None:
    car, owner, _ = paired()
    friend = Phone("friend", maker="somebody")
    with pytest.raises(PolicyError, match="maker"):
        share(car, owner, friend)
    loose = Phone("loose")
    invitation = owner.here(sharing.invite, VEHICLE, SLOT, 1)
    chain = statements.Chain.parse(loose.here(lambda memory: sharing.accept(loose.applet, memory, invitation)))
    _, record = find_key(owner.device.records, VEHICLE) or pytest.fail("no owner")
    makers = statements.roots([MAKER.public])
    other = statements.Chain(signed_instance("maker", "another element"), chain.endpoint).build()
    with pytest.raises(AuthenticationError):
        owner.here(sharing.grant, owner.signer(record.key), makers, invitation, other)
    for bad in (b"", chain.build()[:-1]):
        with pytest.raises(DecodeError):
            owner.here(sharing.grant, owner.signer(record.key), makers, invitation, bad)
    with pytest.raises(AuthenticationError, match="another key than the owner's"):
        owner.here(sharing.grant, key("somebody"), makers, invitation, chain.build())
    another = owner.here(sharing.invite, VEHICLE, b"friend 2", 1)
    with pytest.raises(AuthenticationError, match="another vehicle or slot"):
        owner.here(sharing.grant, owner.signer(record.key), makers, another, chain.build())


def test_a_friend_does_not_share_on_and_a_device_has_one_key_for_a_vehicle(shared: tuple[Car, Phone, Phone]) -> None:
    car, owner, friend = shared
    with pytest.raises(PolicyError, match="only the owner"):
        friend.here(sharing.invite, VEHICLE, b"friend 2", 1)
    invitation = owner.here(sharing.invite, VEHICLE, b"friend 2", 1)
    with pytest.raises(PolicyError, match="has a key"):
        friend.here(lambda memory: sharing.accept(friend.applet, memory, invitation))
    with pytest.raises(PolicyError, match="no key for this vehicle"):
        Phone("empty").here(sharing.invite, VEHICLE, SLOT, 1)
    assert car.memory.find(SLOT) is None


def test_an_invitation_is_read_strictly_and_a_full_device_says_so(shared: tuple[Car, Phone, Phone]) -> None:
    _, owner, friend = shared
    invitation = sharing.Invitation.parse(owner.here(sharing.invite, VEHICLE, b"friend 2", 1))
    full = Phone("full")

    def accept(raw: bytes) -> bytes:
        return full.here(lambda memory: sharing.accept(full.applet, memory, raw))

    with pytest.raises(DecodeError):
        accept(msgspec.structs.replace(invitation, vehicle_key=bytes(65)).build())
    with pytest.raises(PolicyError, match="4096"):
        accept(msgspec.structs.replace(invitation, private_size=5000).build())
    record = KeyRecord.parse(friend.kept()["key/0"])
    taken = {
        f"key/{number}": msgspec.structs.replace(record, vehicle=bytes((number + 1,)) * 8).build()
        for number in range(KEYS)
    }
    full.memory.commit(taken)
    with pytest.raises(PolicyError, match="6A84"):
        accept(invitation.build())


def test_a_package_needs_room(shared: tuple[Car, Phone, Phone]) -> None:
    friend = shared[2]
    friend.memory.commit({"private/0": bytes(100)})
    with pytest.raises(PolicyError, match="100 bytes"):
        friend.here(sharing.install, VEHICLE, b"", b"")


def test_a_device_with_no_package_is_not_known(shared: tuple[Car, Phone, Phone]) -> None:
    car, owner, friend = shared
    friend.memory.commit({"private/0": bytes(1024)})
    with pytest.raises(DeviceError, match="no key in slot 667269656E642031") as error:
        friend.run(car.unlock())
    assert error.value.status == friend.session.status == ReaderStatus.PUBLIC_KEY_NOT_FOUND
    empty = Car()
    with pytest.raises(DeviceError, match="no key in slot"):
        owner.run(empty.unlock())


# ---- key tracking ---------------------------------------------------------------------------------------------


def test_a_vehicle_that_demands_tracking_takes_keys_with_a_receipt_alone() -> None:
    car, owner, made = paired(tracking=SERVER.public)
    server = _server()
    with pytest.raises(PolicyError, match="not tracked") as error:
        owner.run(car.unlock())
    assert "register" in error.value.hint
    receipt = tracking.take_answer(server.handle(owner.here(sharing.registration, VEHICLE)))
    owner.here(sharing.install, VEHICLE, b"", receipt)
    owner.run(car.unlock())
    assert owner.run(car.unlock()).is_fast
    friend, late = Phone("friend"), Phone("late")
    share(car, owner, friend, server=server)
    share(car, owner, late, slot=b"friend 2")
    friend.run(car.unlock())
    with pytest.raises(PolicyError, match="not tracked"):
        late.run(car.unlock())
    assert [(one.role, one.slot) for one in server.registered(VEHICLE)] == [
        (role, slot) for slot, role in sorted([(made.slot, Role.OWNER), (SLOT, Role.FRIEND)])
    ]


def test_a_receipt_of_another_key_or_server_does_not_open() -> None:
    car, owner, _ = paired(tracking=SERVER.public)
    friend = Phone("friend")
    share(car, owner, friend)
    others = tracking.take_answer(_server().handle(owner.here(sharing.registration, VEHICLE)))
    server = TrackingServer(RamMemory(), key("another server"), statements.roots([MAKER.public]), lambda: NOW)
    forged = tracking.take_answer(server.handle(friend.here(sharing.registration, VEHICLE)))
    good = _package(friend)
    for receipt in (others, forged):
        _put(friend, msgspec.structs.replace(good, receipt=receipt))
        with pytest.raises(AuthenticationError):
            friend.run(car.unlock())
        assert friend.session.status == ReaderStatus.PUBLIC_KEY_NOT_TRUSTED
        assert car.memory.find(SLOT) is None


def test_a_receipt_is_for_one_key_of_one_server() -> None:
    car, owner, made = paired()
    friend = Phone("friend")
    share(car, owner, friend)
    server = _server()
    signed = tracking.take_answer(server.handle(friend.here(sharing.registration, VEHICLE)))
    _, record = find_key(friend.device.records, VEHICLE) or pytest.fail("no friend")
    receipt = tracking.verify_receipt(signed, SERVER.public, VEHICLE, SLOT, record.public_key)
    assert (receipt.serial, receipt.time) == (1, NOW)
    for server_key, vehicle, slot, point in (
        (key("other").public, VEHICLE, SLOT, record.public_key),
        (SERVER.public, bytes(8), SLOT, record.public_key),
        (SERVER.public, VEHICLE, made.slot, record.public_key),
        (SERVER.public, VEHICLE, SLOT, made.public_key.point),
    ):
        with pytest.raises(AuthenticationError):
            tracking.verify_receipt(signed, server_key, vehicle, slot, point)


def test_a_registration_sent_again_gives_the_same_receipt_and_another_key_none() -> None:
    car, owner, _ = paired()
    friend, thief = Phone("friend"), Phone("thief")
    share(car, owner, friend)
    share(car, owner, thief)
    memory = RamMemory()
    server = _server(memory)
    request = friend.here(sharing.registration, VEHICLE)
    first = server.handle(request)
    assert _server(memory).handle(request) == first
    assert Answer.parse(server.handle(thief.here(sharing.registration, VEHICLE))).result == Result.TAKEN
    assert server.revoke(VEHICLE, SLOT)
    assert not server.revoke(VEHICLE, bytes(8))
    assert server.registered(VEHICLE) == ()
    with pytest.raises(PolicyError, match="another key, or was revoked"):
        tracking.take_answer(server.handle(request))


def test_the_server_answers_anything_and_trusts_no_chain_of_an_unknown_maker() -> None:
    car, owner, _ = paired()
    friend = Phone("friend")
    share(car, owner, friend)
    request = Registration.parse(friend.here(sharing.registration, VEHICLE))
    server = TrackingServer(RamMemory(), SERVER, statements.roots([key("other").public]), lambda: NOW)
    assert Answer.parse(server.handle(request.build())).result == Result.NOT_TRUSTED
    moved = msgspec.structs.replace(request, vehicle=bytes(8)).build()
    assert Answer.parse(_server().handle(moved)).result == Result.NOT_TRUSTED
    for raw in (b"", request.build()[:-1], msgspec.structs.replace(request, chain=b"\0").build()):
        assert Answer.parse(_server().handle(raw)).result == Result.MALFORMED
    with pytest.raises(PolicyError, match="malformed"):
        tracking.take_answer(_server().handle(b""))
    with pytest.raises(DecodeError):
        tracking.take_answer(b"\0\0")


@given(st.binary(max_size=60))
def test_any_bytes_get_an_answer_of_the_server(raw: bytes) -> None:
    assert Answer.parse(_server().handle(raw)).result == Result.MALFORMED


@pytest.mark.parametrize("after", [False, True])
def test_a_server_that_loses_its_power_has_registered_or_not_and_gives_one_receipt(*, after: bool) -> None:
    car, owner, _ = paired()
    friend = Phone("friend")
    share(car, owner, friend)
    memory = RamMemory()
    request = friend.here(sharing.registration, VEHICLE)
    dying = TrackingServer(
        CutMemory(memory, cut_before=int(not after), cut_after=int(after)),
        SERVER,
        statements.roots([MAKER.public]),
        lambda: NOW,
    )
    with pytest.raises(PowerCut):
        dying.handle(request)
    assert len(_server(memory).registered(VEHICLE)) == int(after)
    first, second = (tracking.take_answer(_server(memory).handle(request)) for _ in range(2))
    assert first == second
    assert tracking.Receipt.parse(tracking.SignedReceipt.parse(first).receipt).serial == 1
