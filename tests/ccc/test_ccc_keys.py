"""The key schedule against a second computation that shares nothing with it but hash functions and AES.

No published vector covers it: the group part is proven by those of RFC 9383 (`crypto/test_spake2plus.py`), and this
says that the code does what docs/ccc.md says, not that a phone would agree.
"""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from keywright.aliro.keys import Kpersistent, key_agreement
from keywright.ccc import keys
from keywright.ccc.keys import PairingKeys, PairingPassword, Transaction
from keywright.ccc.messages import Auth0, Auth0Answer, ScryptParameters, SpakeRequest
from keywright.ccc.profile import Profile
from keywright.crypto import p256
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.spake2plus import Agreed, Prover, Verifier, VerifierData
from keywright.errors import UsageError

SCRYPT = ScryptParameters(bytes(range(16)), 1024, 8, 1)
REQUEST = SpakeRequest(0x0100, bytes.fromhex("01000009"), SCRYPT, 3)


def hkdf(key: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    prk = hmac.digest(salt or bytes(32), key, "sha256")
    out = last = b""
    for number in range(1, 9):
        last = hmac.digest(prk, last + info + bytes((number,)), "sha256")
        out += last
    return out[:size]


def cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def scalar(value: int) -> EcPrivateKey:
    return p256.scalar(value)


def agree() -> tuple[list[Agreed], list[bytes]]:
    """What both ends agreed on, and X, Y, Z, V, w0 computed from all secrets at once."""
    w0, w1, x, y = 7, 11, 13, 17
    prover = Prover(scalar(w0), scalar(w1), scalar(x))
    verifier = Verifier(VerifierData(scalar(w0), scalar(w1).public.point), scalar(y))
    z, v = scalar(x * y).public.point, scalar(w1 * y).public.point
    both = [prover.finish(verifier.share), verifier.finish(prover.share)]
    return both, [prover.share, verifier.share, z, v, w0.to_bytes(32)]


@pytest.mark.parametrize("has_versions", [True, False])
@pytest.mark.parametrize("own_point", [True, False])
def test_evidence_and_channel_of_owner_pairing(*, has_versions: bool, own_point: bool) -> None:
    profile = Profile(info_has_versions=has_versions, evidence_over_own_point=own_point)
    both, parts = agree()
    main = hashlib.sha256(b"".join(bytes((len(part),)) + bytes(7) + part for part in parts)).digest()
    info = b"ConfirmationKeys" + (bytes.fromhex("5b0201005c0401000009") if has_versions else b"")
    k1_k2 = hkdf(main[:16], b"", info, 32)
    system = hkdf(main[16:], b"", b"SystemKeys", 64)
    x, y = parts[:2]
    for agreed in both:
        derived = PairingKeys(agreed, REQUEST, profile)
        assert derived.vehicle_evidence == cmac(k1_k2[:16], y if own_point else x)
        assert derived.device_evidence == cmac(k1_k2[16:], x if own_point else y)
        channel = derived.channel
        assert channel.enc.reveal() + channel.mac.reveal() + channel.rmac.reveal() == system[:48]
        assert derived.long_term.reveal() == system[48:]


@pytest.mark.parametrize(("packed", "secret"), [(False, b"1234567"), (True, bytes.fromhex("1234567F"))])
def test_a_password_becomes_two_scalars(*, packed: bool, secret: bytes) -> None:
    z = hashlib.scrypt(secret, salt=SCRYPT.salt, n=1024, r=8, p=1, dklen=80)
    expected = [int.from_bytes(half) % (p256.ORDER - 1) + 1 for half in (z[:40], z[40:])]
    profile = Profile(password_is_packed=packed)
    w0, w1 = keys.scalars(PairingPassword("1234567"), SCRYPT, profile)
    assert [w0.public.point, w1.public.point] == [scalar(value).public.point for value in expected]
    data = keys.verifier_data(PairingPassword("1234567"), SCRYPT, profile)
    assert data.reveal() == expected[0].to_bytes(32) + scalar(expected[1]).public.point


@pytest.mark.parametrize("digits", ["", "12345", "1" * 17, "12345a", "123456\n", "١٢٣٤٥٦"])
def test_a_password_is_decimal_digits_and_is_not_repeated(digits: str) -> None:
    with pytest.raises(UsageError) as error:
        PairingPassword(digits)
    assert len(digits) < 5 or digits not in str(error.value)
    assert "31415926" not in repr(PairingPassword("31415926"))


def test_the_keys_of_a_transaction() -> None:
    vehicle, endpoint = scalar(23), scalar(29)
    tid = bytes(range(16))
    profile = Profile(salt=b"salt", interface=0xC3)
    command = Auth0(0x0100, vehicle.public.point, tid, bytes(8))
    transaction = Transaction(1, command, Auth0Answer(endpoint.public.point), profile)
    x = scalar(23 * 29).public.point[1:33]
    kdh = hashlib.sha256(x + bytes.fromhex("00000001") + tid).digest()

    def info(label: bytes) -> bytes:
        points = vehicle.public.point[1:33] + endpoint.public.point[1:33]
        return points + tid + b"\xc3\x01" + label + bytes.fromhex("5c020100")

    ours = key_agreement(vehicle.agree(endpoint.public), tid)
    assert ours.reveal() == kdh
    volatile = keys.volatile_keys(ours, transaction)
    expected = hkdf(kdh, b"salt", info(b"Volatile"), 48)
    assert volatile.enc.reveal() + volatile.mac.reveal() + volatile.rmac.reveal() == expected
    kpersistent = hkdf(kdh, b"salt", info(b"Persistent"), 32)
    assert keys.persistent_key(ours, transaction).reveal() == kpersistent
    kept = Kpersistent(kpersistent)
    fast = keys.fast_keys(kept, transaction)
    assert fast.enc.reveal() == hkdf(kpersistent, b"salt", info(b"VolatileFast"), 48)[:16]
    assert keys.cryptogram(kept, transaction) == hkdf(kpersistent, b"salt", info(b"Cryptogram"), 16)
    assert keys.ranging_key(kept, transaction).reveal() == hkdf(kpersistent, b"salt", info(b"URSK"), 32)
    assert keys.ranging_key(ours, transaction).reveal() == hkdf(kdh, b"salt", info(b"URSK"), 32)


def test_what_is_signed_in_auth1() -> None:
    vehicle, endpoint = scalar(23).public.point, scalar(29).public.point
    command = Auth0(0x0100, vehicle, bytes(range(16)), b"vehicle1")
    signed = Transaction(0, command, Auth0Answer(endpoint)).signed(bytes.fromhex("415D9569"))
    assert signed == (
        b"\x4d\x08vehicle1"
        b"\x86\x20"
        + endpoint[1:33]
        + b"\x87\x20"
        + vehicle[1:33]
        + b"\x4c\x10"
        + bytes(range(16))
        + bytes.fromhex("9304415D9569")
    )
