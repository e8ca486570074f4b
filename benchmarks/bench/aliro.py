"""Aliro between a reader and a user device in one process, against what its cryptography alone costs.

The floor of a standard transaction: two ephemeral key pairs, two agreements, two signatures, two verifications, the key
blocks and Kpersistent at both ends, one message sealed and opened. That of a fast one: the two key pairs, both blocks,
the cryptogram sealed and opened. That of an EXCHANGE: two messages sealed and opened. That of a look-up: for each kept
key one HKDF of 32 bytes and one failed GCM. The device's memory is RAM: no commit reaches a disk, on neither side.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.figures import Figure, micro, rate
from bench.measure import Contender, race
from keywright.aliro.cache import Kept, PersistentKeys
from keywright.aliro.credential import CredentialRecord, GroupRecord
from keywright.aliro.exchange import MailboxRequest, Read, Write
from keywright.aliro.keys import Kpersistent, Transaction, x_of
from keywright.aliro.messages import Auth0, Auth0Answer
from keywright.aliro.profile import Interface, Profile
from keywright.aliro.reader import Fresh, Opened, Plan, Reader, authenticate, use_mailbox
from keywright.aliro.simulated import SimulatedUserDevice
from keywright.aliro.user_device import Settings, UserDevice
from keywright.crypto.ec import EcPrivateKey
from keywright.iso7816.layers import transmit
from keywright.sansio.dialogue import drive
from keywright.store.memory import RamMemory

STANDARD: Final = 0.35
FAST: Final = 0.15
KEPT: Final = 10_000
LOOK_UP: Final = 1.5
_ROUNDS: Final = 31
_IDENTIFIER: Final = bytes(range(32))
_UNLIMITED: Final = Profile(expedited_limit=0xFFFFFFFF)
"""A channel that does not end in the middle of a measurement."""
_SETTINGS: Final = Settings(profile=_UNLIMITED)
_WRITTEN: Final = bytes(range(32))
_MAILBOX: Final = MailboxRequest((Write(0, _WRITTEN), Read(0, len(_WRITTEN))))


def figures() -> list[Figure]:
    """Every row."""
    return [_standard(), _fast(), _exchange(), _look_up()]


class _Link:
    extended = True

    def __init__(self, device: SimulatedUserDevice) -> None:
        self.exchange = device.handle


class _Pair:
    """A reader and a device that know each other."""

    def __init__(self) -> None:
        self.keys = PersistentKeys()
        self.reader = Reader(EcPrivateKey.generate("P-256"), _IDENTIFIER, profile=_UNLIMITED)
        credential = EcPrivateKey.generate("P-256")
        group = GroupRecord(_IDENTIFIER[:16], self.reader.key.public.point)
        record = CredentialRecord(b"key", credential.public.point, (group,))
        kept = {"credential/0": record.build(), "mailbox/0": bytes(64)}
        device = UserDevice(_SETTINGS, lambda _: credential, os.urandom)
        self._send = transmit(_Link(SimulatedUserDevice(device, RamMemory(kept))))

    def transact(self, plan: Plan) -> Opened:
        """One transaction."""
        return drive(authenticate(self.reader, plan, Fresh.draw(os.urandom), self.keys), self._send)

    def exchange(self, opened: Opened) -> None:
        """Write 32 bytes of the mailbox and read them."""
        if drive(use_mailbox(opened, _MAILBOX), self._send).reads != (_WRITTEN,):
            raise RuntimeError("the mailbox has something else")


def _standard() -> Figure:
    pair = _Pair()
    result = race(
        [Contender("ours", lambda: pair.transact(Plan(fast=False))), Contender("bare", _bare_standard)], rounds=_ROUNDS
    )
    ours, bare = result.median("ours"), result.median("bare")
    share = result.speed("ours", "bare")
    return Figure("Aliro, standard, both ends", rate(1 / ours), f"{rate(1 / bare)} bare crypto", share, STANDARD)


def _fast() -> Figure:
    pair = _Pair()
    kept = pair.transact(Plan(fast=False)).kept
    if kept is None:
        raise RuntimeError("the device was not authenticated")
    pair.keys.keep(kept)

    def ours() -> None:
        if not pair.transact(Plan()).is_fast:
            raise RuntimeError("the cryptogram was not found")

    result = race([Contender("ours", ours), Contender("bare", _bare_fast)], rounds=_ROUNDS)
    mine, bare = result.median("ours"), result.median("bare")
    share = result.speed("ours", "bare")
    return Figure("Aliro, fast, both ends", rate(1 / mine), f"{rate(1 / bare)} bare crypto", share, FAST)


def _exchange() -> Figure:
    pair = _Pair()
    opened = pair.transact(Plan(fast=False))
    result = race([Contender("ours", lambda: pair.exchange(opened)), Contender("bare", _bare_exchange)], rounds=_ROUNDS)
    mine, bare = result.median("ours"), result.median("bare")
    share = result.speed("ours", "bare")
    return Figure("Aliro, EXCHANGE with a mailbox, both ends", rate(1 / mine), f"{rate(1 / bare)} bare crypto", share)


def _look_up() -> Figure:
    points = [EcPrivateKey.from_scalar("P-256", number.to_bytes(32)).public for number in range(1, KEPT + 1)]
    kept = [Kept(point, Kpersistent(hashlib.sha256(point.point).digest())) for point in points]
    keys = PersistentKeys(kept, capacity=KEPT)
    command = Auth0(1, 1, 0x100, points[0].point, bytes(16), _IDENTIFIER)
    transaction = Transaction(bytes(32), Interface.NFC, bytes(10), command, Auth0Answer(points[0].point, bytes(64)))

    def ours() -> None:
        if keys.find(transaction, bytes(64)) is not None:
            raise RuntimeError("a random cryptogram was found")

    salt, info = transaction.fast_salt(), transaction.info()
    pairs = [(one.key.reveal(), x_of(one.credential.point)) for one in kept]

    def bare() -> None:
        for key, x in pairs:
            pseudo_random_key = hmac.digest(salt + x, key, "sha256")
            try:
                AESGCM(hmac.digest(pseudo_random_key, info + b"\1", "sha256")).decrypt(bytes(12), bytes(64), b"")
            except InvalidTag:
                continue

    result = race([Contender("ours", ours), Contender("bare", bare)], rounds=5)
    mine, floor = result.median("ours"), result.median("bare")
    what = f"Aliro, a cryptogram of nobody among {KEPT:,} kept keys"
    return Figure(
        what, f"{micro(mine / KEPT)} a key", f"{micro(floor / KEPT)} bare loop", mine / floor, LOOK_UP, most=True
    )


# ---- bare cryptography ----------------------------------------------------------------------------------------

_CURVE: Final = ec.SECP256R1()
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_MESSAGE: Final = bytes(130)
_SALT: Final = bytes(141)


def _hkdf(key: bytes, blocks: int) -> bytes:
    pseudo_random_key = hmac.digest(_SALT, key, "sha256")
    derived = block = b""
    for number in range(1, blocks + 1):
        block = hmac.digest(pseudo_random_key, block + bytes(32) + bytes((number,)), "sha256")
        derived += block
    return derived


def _pair_keys() -> tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey]:
    return ec.generate_private_key(_CURVE), ec.generate_private_key(_CURVE)


_STATIC: Final = _pair_keys()


def _points(*keys: ec.EllipticCurvePrivateKey) -> list[bytes]:
    numbers = [key.public_key().public_numbers() for key in keys]
    return [b"\4" + one.x.to_bytes(32) + one.y.to_bytes(32) for one in numbers]


def _load(point: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)


def _both_ends(work: Callable[[bytes], object], keys: tuple[ec.EllipticCurvePrivateKey, ...]) -> None:
    first, second = keys
    points = _points(first, second)
    work(first.exchange(ec.ECDH(), _load(points[1])))
    work(second.exchange(ec.ECDH(), _load(points[0])))


def _bare_standard() -> None:
    def end(shared: bytes) -> None:
        kdh = hashlib.sha256(shared + bytes(20)).digest()
        _hkdf(kdh, 5)
        _hkdf(kdh, 1)

    _both_ends(end, _pair_keys())
    for key in _STATIC:
        key.public_key().verify(key.sign(_MESSAGE, _ECDSA), _MESSAGE, _ECDSA)
    cipher = AESGCM(bytes(32))
    cipher.decrypt(bytes(12), cipher.encrypt(bytes(12), _MESSAGE, b""), b"")


def _bare_exchange() -> None:
    cipher = AESGCM(bytes(32))
    for size in (47, 38):  # the plain request and answer
        cipher.decrypt(bytes(12), cipher.encrypt(bytes(12), bytes(size), b""), b"")


def _bare_fast() -> None:
    points = _points(*_pair_keys())
    for point in points:
        _load(point)
        block = _hkdf(bytes(32), 5)
    cipher = AESGCM(block[:32])
    cipher.decrypt(bytes(12), cipher.encrypt(bytes(12), bytes(48), b""), b"")
