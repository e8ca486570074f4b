"""Keys of every kind on the card: PUT KEY in both formats, added, replaced, several at once; keys in STORE DATA."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.element import SecureElement
from keywright.element.key_material import (
    private_key,
    public_key,
    rsa_private_key,
    secret_key,
    verifying_key,
)
from keywright.element.new_keys import KINDS
from keywright.element.put_key import joined
from keywright.element.state import KeyRecord
from keywright.errors import StatusError
from keywright.globalplatform import host
from keywright.globalplatform.dialogues.chaining import segmented
from keywright.globalplatform.dialogues.keys import describe_keys, put_key, put_key_fields
from keywright.globalplatform.dialogues.personalization import store_keys
from keywright.globalplatform.key_data import ENCRYPTED, ComponentType, KeyField, KeyLoad, KeyPart, KeyUsage
from keywright.globalplatform.key_fields import CardKey, key_field
from keywright.globalplatform.key_information import KeyDescription
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import complete, sized
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.scp.scp81.keys import Psk
from keywright.store import RamMemory
from support.cards import contents, element

EC = EcPrivateKey.from_scalar("P-256", bytes(31) + b"\x07")
EC_384 = EcPrivateKey.from_scalar("P-384", bytes(47) + b"\x07")
EC_521 = EcPrivateKey.from_scalar("P-521", bytes(65) + b"\x07")
BRAINPOOL = EcPrivateKey.from_scalar("brainpoolP256r1", bytes(31) + b"\x09")
RSA = RsaPrivateKey.generate(1024)
RSA_2048 = RsaPrivateKey.generate(2048)

WHOLE = 0xFFFF

KEYS: dict[str, CardKey] = {
    "AES-128": AesKey(bytes(range(16))),
    "AES-192": AesKey(bytes(range(24))),
    "AES-256": AesKey(bytes(range(32))),
    "3DES-16": TripleDesKey(bytes(range(16))),
    "3DES-24": TripleDesKey(bytes(range(24))),
    "PSK": Psk(bytes(range(20))),
    "P-256 private": EC,
    "P-384 private": EC_384,
    "P-521 private": EC_521,
    "brainpool private": BRAINPOOL,
    "P-256 public": EC.public,
    "P-521 public": EC_521.public,
    "RSA-1024 public": RSA.public,
    "RSA-2048 public": RSA_2048.public,
    "RSA-1024 private": RSA,
    "RSA-2048 private": RSA_2048,
}


class Card:
    """An element and a session of its owner."""

    def __init__(self, **parameters: Any) -> None:
        self.memory = RamMemory()
        self.element: SecureElement = element(memory=self.memory, **parameters)
        self.session: HostChannel = drive(open_channel(KeySet.gp_test(), bytes(8)), self.ask)

    def ask(self, command: Command) -> Response:
        return Response.parse(self.element.handle(command.encode()))

    def do(self, dialogue: Any) -> Any:
        under = through(dialogue, self.secured)
        return drive(through(under, complete), self.ask)

    def secured(self, command: Command) -> Generator[Command, Response, Response]:
        """One command of any length, protected: an extended one where it must be."""
        return self.session.secure(sized(command, extended=True, room=self.session.max_data))

    def record(self, kvn: int, kid: int) -> KeyRecord:
        found = self.element._card.issuer().key(kvn, kid)
        assert found is not None
        return found

    def described(self) -> dict[tuple[int, int], KeyDescription]:
        return {(key.kvn, key.kid): key for key in self.do(describe_keys())}


def used(key: CardKey, record: KeyRecord) -> object:
    """The key that the card makes of a record, to be compared with the one that was sent."""
    makers: list[Callable[[KeyRecord], object]] = [secret_key, private_key, rsa_private_key]
    if hasattr(key, "verify"):
        makers = [public_key, verifying_key]
    return next(made for made in (make(record) for make in makers) if made is not None)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("inner_length", [None, True])
def test_a_key_of_any_kind_arrives_as_it_was(name: str, *, inner_length: bool | None) -> None:
    key, card = KEYS[name], Card()
    card.do(put_key(key, card.session, kvn=0x21, kid=0x05, inner_length=inner_length, size=WHOLE))
    record = card.record(0x21, 0x05)
    if isinstance(key, Psk):
        assert record.value == key.reveal()
    elif isinstance(key, EcPrivateKey):
        assert used(key, record).public.point == key.public.point  # type: ignore[attr-defined]  # an EC key
    elif isinstance(key, RsaPrivateKey):
        made = used(key, record)
        assert isinstance(made, RsaPrivateKey)
        assert made.public.modulus == key.public.modulus
        key.public.verify(made.sign(b"x"), b"x")
    else:
        made = used(key, record)
        same = isinstance(made, EcPublicKey) and made.spki() == key.spki()  # type: ignore[union-attr]  # an EC key
        assert made == key or same


def test_without_the_inner_length_a_key_of_whole_blocks_arrives_too() -> None:
    card = Card()
    card.do(put_key(AesKey(bytes(range(32))), card.session, kvn=0x21, inner_length=False))
    assert card.record(0x21, 1).value == bytes(range(32))


def test_key_information_tells_components_and_grows_only_where_it_must() -> None:
    card = Card()
    for kvn, name in enumerate(
        ("3DES-16", "P-256 private", "P-256 public", "RSA-1024 public", "RSA-2048 public"), 0x20
    ):
        card.do(put_key(KEYS[name], card.session, kvn=kvn, size=WHOLE))
    card.do(put_key(KEYS["AES-128"], card.session, kvn=0x30, usage=bytes((KeyUsage.C_MAC,)), access=b"\x01"))
    found = card.described()
    assert found[0x20, 1].components == ((0x80, 16),)
    assert found[0x21, 1].components == ((0xB1, 32), (0xF0, 1))
    assert found[0x22, 1].components == ((0xB0, 65), (0xF0, 1))
    assert found[0x23, 1].components == ((0xA1, 128), (0xA0, 3))
    assert found[0x24, 1].components == ((0xA1, 256), (0xA0, 3))
    assert (found[0x30, 1].usage, found[0x30, 1].access) == (b"\x14", b"\x01")
    assert (found[0xFF, 1].usage, found[0x24, 1].usage) == (None, b"")


def test_several_keys_at_once_and_one_replaced() -> None:
    card = Card()
    first = [AesKey(bytes((n,)) * 16) for n in (1, 2, 3)]
    card.do(put_key(first, card.session, kvn=0x40, kid=0x04))
    card.do(put_key(AesKey(bytes(16)), card.session, kvn=0x40, kid=0x05, replace=0x40))
    assert [card.record(0x40, kid).value[:1] for kid in (4, 5, 6)] == [b"\x01", b"\x00", b"\x03"]


@pytest.mark.parametrize(
    ("kid", "sw"),
    [(0x13, 0x9000), (0x03, 0x6A80)],
    ids=["a key of its own moves alone", "a symmetric key leaves its set with the others"],
)
def test_a_key_that_gets_another_version_number(kid: int, sw: int) -> None:
    card = Card()
    keys: list[CardKey] = [AesKey(bytes((n,)) * 16) for n in (1, 2, 3)]
    card.do(put_key(keys, card.session, kvn=0x40))
    card.do(put_key(EC, card.session, kvn=0x40, kid=0x13))
    moved: CardKey = EC if kid == 0x13 else keys[2]
    field = key_field(moved, card.session)
    if sw == 0x9000:
        card.do(put_key_fields([field], kvn=0x41, kid=kid, replace=0x40))
    else:
        with pytest.raises(StatusError, match=f"{sw:04X}"):
            card.do(put_key_fields([field], kvn=0x41, kid=kid, replace=0x40))
    place = (0x41, kid) if sw == 0x9000 else (0x40, kid)
    assert place in card.described()
    assert len(card.described()) == 4


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if hasattr(key, "kcv")])
def test_a_wrong_check_value_is_6982_and_changes_nothing(name: str) -> None:
    card = Card()
    field = key_field(KEYS[name], card.session)
    before = contents(card.memory, counters=False)
    with pytest.raises(StatusError, match="6982"):
        card.do(put_key_fields([KeyField(field.parts, bytes(3))], kvn=0x21))
    assert contents(card.memory, counters=False) == before


def _parts(*parts: tuple[int, bytes]) -> KeyField:
    return KeyField(tuple(KeyPart(kind, value) for kind, value in parts))


BAD = {
    "EC point alone": _parts((0xB0, EC.public.point)),
    "EC curve alone": _parts((0xF0, b"\0")),
    "a curve that is not known": _parts((0xB0, EC.public.point), (0xF0, b"\x04")),
    "a point of another curve": _parts((0xB0, EC.public.point), (0xF0, b"\x03")),
    "a point off the curve": _parts((0xB0, EC.public.point[:-1] + b"\0"), (0xF0, b"\0")),
    "the curve twice": _parts((0xB0, EC.public.point), (0xF0, b"\0"), (0xF0, b"\0")),
    "RSA modulus alone": _parts((0xA1, RSA.public.modulus)),
    "RSA modulus of two bytes": _parts((0xA1, b"\x01\x01"), (0xA0, b"\x03")),
    "a check value for a public key": KeyField(
        _parts((0xB0, EC.public.point), (0xF0, b"\0")).parts, bytes.fromhex("010203")
    ),
    "HMAC": _parts((0x90, bytes(32))),
    "single DES": _parts((0x80, bytes(8))),
}


@pytest.mark.parametrize("name", BAD)
def test_components_that_make_no_key_are_6a80_and_change_nothing(name: str) -> None:
    card = Card()
    before = contents(card.memory, counters=False)
    with pytest.raises(StatusError, match="6A80"):
        card.do(put_key_fields([BAD[name]], kvn=0x21))
    assert contents(card.memory, counters=False) == before


@pytest.mark.parametrize("scalar", [bytes(32), b"\xff" * 32], ids=["zero", "above the order"])
def test_a_private_key_out_of_range_is_6a80(scalar: bytes) -> None:
    card = Card()
    field = _parts((0xB1, card.session.encrypt_sensitive(scalar)), (0xF0, b"\0"))
    with pytest.raises(StatusError, match="6A80"):
        card.do(put_key_fields([field], kvn=0x21))


def test_what_a_key_may_consist_of_is_listed_with_what_is_secret_in_it() -> None:
    listed = frozenset().union(*KINDS)
    secret = {ComponentType.DES, ComponentType.AES, ComponentType.EC_PRIVATE, ComponentType.RSA_CRT_P}
    assert secret <= listed & ENCRYPTED
    assert not listed & ENCRYPTED & {ComponentType.EC_PUBLIC, ComponentType.RSA_PUBLIC_MODULUS, 0xF0}


# ---- keys in STORE DATA ------------------------------------------------------------------------------------------


def _load(key: AesKey | TripleDesKey | Psk, kind: int, kvn: int, kid: int, **more: Any) -> tuple[KeyLoad, bytes]:
    raw = key.reveal()
    return KeyLoad(type=kind, length=bytes((len(raw),)), kid=kid, kvn=kvn, kcv=key.kcv(), **more), raw


def test_keys_come_by_store_data_and_replace_what_is_there() -> None:
    card = Card()
    keys = [_load(AesKey(bytes((n,)) * 16), 0x88, 0x30, n) for n in (1, 2, 3)]
    psk = Psk(bytes(range(20)))
    card.do(store_keys([*keys, _load(psk, 0x85, 0x40, 1, usage=b"\x3c")], card.session))
    assert card.record(0x40, 1).value == psk.reveal()
    assert card.record(0x40, 1).usage == 0x3C
    own = KeySet.of(*(bytes((n,)) * 16 for n in (1, 2, 3)))
    fresh = drive(open_channel(own, bytes(8), kvn=0x30), card.ask)
    again = [_load(AesKey(bytes((n + 8,)) * 16), 0x88, 0x30, n) for n in (1, 2, 3)]
    drive(through(through(store_keys(again, fresh), fresh.secure), complete), card.ask)
    drive(open_channel(KeySet.of(*(bytes((n + 8,)) * 16 for n in (1, 2, 3))), bytes(8), kvn=0x30), card.ask)


def test_a_key_load_that_does_not_fit_its_groups_is_6a80_and_changes_nothing() -> None:
    card = Card()
    good = _load(AesKey(bytes(16)), 0x88, 0x30, 1)
    before = contents(card.memory, counters=False)
    wrong: list[tuple[KeyLoad, bytes]] = [
        (KeyLoad(type=0x88, length=b"\x20", kid=1, kvn=0x30), bytes(16)),
        (KeyLoad(type=0x88, length=b"\x10", kid=0, kvn=0x30), bytes(16)),
        (KeyLoad(type=0x88, length=b"\x10", kid=1, kvn=0x80), bytes(16)),
        (KeyLoad(type=0x88, length=b"\x10", kid=1), bytes(16)),
        (KeyLoad(length=b"\x10", kid=1, kvn=0x30), bytes(16)),
        (KeyLoad(type=0x88, kid=1, kvn=0x30), bytes(16)),
    ]
    for one in wrong:
        with pytest.raises(StatusError, match="6A80"):
            card.do(store_keys([good, one], card.session))
        assert contents(card.memory, counters=False) == before
    with pytest.raises(StatusError, match="6982"):
        card.do(
            store_keys([(KeyLoad(type=0x88, length=b"\x10", kid=1, kvn=0x30, kcv=bytes(3)), bytes(16))], card.session)
        )


def test_confirmed_check_values_are_those_that_were_sent() -> None:
    card = Card()
    keys = [AesKey(bytes((n,)) * 16) for n in (1, 2)]
    fields = [key_field(key, card.session) for key in keys]
    card.do(put_key_fields(fields, kvn=0x22))
    with pytest.raises(host.KcvMismatchError):
        card.do(put_key_fields([KeyField(fields[0].parts, b"")], kvn=0x23))


# ---- one command in parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0x01, 0x03, 0x33])
def test_a_long_key_comes_in_parts_protected_one_by_one_or_as_a_whole(level: int) -> None:
    card = Card()
    sent: list[Command] = []

    def ask(command: Command) -> Response:
        sent.append(command)
        return card.ask(command)

    for kvn, whole in ((0x21, False), (0x22, True)):
        session = drive(open_channel(KeySet.gp_test(), bytes(8), level=level), card.ask)
        sent.clear()
        if whole:
            card.session = session
            under = through(put_key(RSA_2048, session, kvn=kvn, kid=0x05, size=WHOLE), card.secured)
            drive(through(through(under, complete), segmented), ask)
        else:
            under = through(put_key(RSA_2048, session, kvn=kvn, kid=0x05, size=session.max_data), session.secure)
            drive(through(under, complete), ask)
        assert len(sent) > 1
        assert [bool(command.p1 & 0x80) for command in sent] == [True] * (len(sent) - 1) + [False]
        made = rsa_private_key(card.record(kvn, 0x05))
        assert made is not None
        assert made.public.modulus == RSA_2048.public.modulus


N, E, P, Q = (KeyField((KeyPart(kind, bytes((kind,))),)) for kind in (0xA1, 0xA0, 0xA4, 0xA5))
POINT, CURVE, SECRET = (KeyField((KeyPart(kind, b"\x01"),)) for kind in (0xB0, 0xF0, 0x88))
CHECKED = KeyField(N.parts, b"\x01\x02\x03")
EXTENDED_N = KeyField(N.parts, extended=True)


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ((N, E), [2]),
        ((E, N), [2]),
        ((N, E, N, E), [2, 2]),
        ((N, N), [1, 1]),
        ((P, Q), [2]),
        ((N, P), [1, 1]),
        ((POINT, CURVE), [2]),
        ((SECRET, SECRET), [1, 1]),
        ((CHECKED, E), [1, 1]),
        ((EXTENDED_N, E), [1, 1]),
        ((N, E, SECRET, N, E), [2, 1, 2]),
        ((), []),
    ],
)
def test_components_with_a_check_value_length_each_make_one_key(fields: tuple[KeyField, ...], sizes: list[int]) -> None:
    """The form of GPCS 2.1.1, which gpshell sends still."""
    assert [len(field.parts) for field in joined(fields)] == sizes
