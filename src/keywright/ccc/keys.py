"""The key schedule: from a password to the channel of owner pairing, from a key agreement to that of a transaction.

Labels and sizes are those of `ccc.profile`. Both ends derive for themselves; they share these functions, never what
came out of them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, final

import msgspec

from keywright.aliro.keys import DerivationKey, Kdh, Kpersistent, x_of
from keywright.ccc.messages import CRYPTOGRAM_BYTES, Auth0, Auth0Answer, ScryptParameters, Signed, SpakeRequest
from keywright.ccc.profile import (
    CCC_PUBLIC,
    CHANNEL_BYTES,
    CONFIRMATION,
    CRYPTOGRAM,
    FAST,
    PERSISTENT,
    SCRYPT_BYTES,
    SYSTEM,
    URSK,
    VOLATILE,
    Profile,
)
from keywright.codec.ber import item
from keywright.crypto import p256
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.kdf import hkdf, scrypt
from keywright.crypto.key import Key, Secret
from keywright.crypto.spake2plus import Agreed, VerifierData
from keywright.errors import UsageError
from keywright.scp.level import Level
from keywright.scp.scp03.keys import SessionKeys

LEVEL: Final = Level.C_MAC | Level.C_DEC | Level.R_MAC | Level.R_ENC
"""Of every channel here."""
KEY_BYTES: Final = 32
_DIGITS: Final = re.compile(r"\d{6,16}", re.ASCII)


@final
class PairingPassword(Key):
    """The password of owner pairing, 6 to 16 decimal digits."""

    def __init__(self, digits: str) -> None:
        """Raises UsageError, which does not repeat what was given."""
        if not _DIGITS.fullmatch(digits):
            raise UsageError("a pairing password is 6 to 16 decimal digits", hint="take the one the vehicle shows")
        super().__init__(digits.encode(), "pairing password")

    @property
    def digits(self) -> str:
        """The password itself: for a simulated device's memory."""
        return self.reveal().decode()


def scalars(
    password: PairingPassword, parameters: ScryptParameters, profile: Profile = CCC_PUBLIC
) -> tuple[EcPrivateKey, EcPrivateKey]:
    """w0 and w1. Takes some milliseconds, on purpose. Raises ValueError for parameters that scrypt does not take."""
    secret = password.reveal()
    if profile.password_is_packed:
        secret = bytes.fromhex(secret.decode() + "F" * (len(secret) % 2))
    size = SCRYPT_BYTES.value
    z = scrypt(
        secret, parameters.salt, parameters.cost, parameters.block_size, parameters.parallelization, length_bytes=size
    )
    return _scalar(z[: size // 2]), _scalar(z[size // 2 :])


def _scalar(half: bytes) -> EcPrivateKey:
    return p256.scalar(int.from_bytes(half) % (p256.ORDER - 1) + 1)


def verifier_data(
    password: PairingPassword, parameters: ScryptParameters, profile: Profile = CCC_PUBLIC
) -> VerifierData:
    """What a vehicle is given of a password."""
    w0, w1 = scalars(password, parameters, profile)
    return VerifierData(w0, w1.public.point)


@final
class PairingKeys(Secret):
    """What one end derives from a run of SPAKE2+."""

    __slots__ = ("channel", "device_evidence", "long_term", "vehicle_evidence")

    def __init__(self, agreed: Agreed, request: SpakeRequest, profile: Profile = CCC_PUBLIC) -> None:
        main = hashlib.sha256(agreed.transcript()).digest()
        info = CONFIRMATION.value + (request.version_tlvs() if profile.info_has_versions else b"")
        keys = hkdf(main[:16], b"", info, 32)
        x, y = agreed.share_p, agreed.share_v
        covered = (y, x) if profile.evidence_over_own_point else (x, y)
        self.vehicle_evidence = AesKey(keys[:16], "K1").cmac(covered[0])
        """M1; whoever gets it and does not know the password can try one."""
        self.device_evidence = AesKey(keys[16:], "K2").cmac(covered[1])
        """M2."""
        system = hkdf(main[16:], b"", SYSTEM.value, CHANNEL_BYTES.value + 16)
        self.channel = _channel(system[: CHANNEL_BYTES.value])
        self.long_term = DerivationKey(system[CHANNEL_BYTES.value :], "long-term shared secret")
        """Derived as public code does; the profile does not use it."""


class Transaction(msgspec.Struct, frozen=True):
    """What of a transaction goes into its keys and signatures: all of it public."""

    flag: int
    """P1 of AUTH0."""
    command: Auth0
    answer: Auth0Answer
    profile: Profile = CCC_PUBLIC

    def info(self, label: bytes) -> bytes:
        """The HKDF info of one derivation."""
        command = self.command
        return b"".join(
            (
                x_of(command.ephemeral),
                x_of(self.answer.ephemeral),
                command.transaction_identifier,
                bytes((self.profile.interface, self.flag)),
                label,
                item(0x5C, command.version.to_bytes(2)),
            )
        )

    def signed(self, usage: bytes) -> bytes:
        """What is signed in AUTH1; usage: whose signature it is."""
        command = self.command
        return Signed(
            command.vehicle,
            x_of(self.answer.ephemeral),
            x_of(command.ephemeral),
            command.transaction_identifier,
            usage,
        ).build()

    def derive(self, key: Key, label: bytes, length_bytes: int) -> bytes:
        """Derive from Kdh or Kpersistent."""
        return hkdf(key.reveal(), self.profile.salt, self.info(label), length_bytes)


def volatile_keys(kdh: Kdh, transaction: Transaction) -> SessionKeys:
    """Kenc, Kmac and Krmac of the standard transaction."""
    return _channel(transaction.derive(kdh, VOLATILE.value, CHANNEL_BYTES.value))


def persistent_key(kdh: Kdh, transaction: Transaction) -> Kpersistent:
    """Kpersistent; a vehicle keeps it only once it has verified the device's signature."""
    return Kpersistent(transaction.derive(kdh, PERSISTENT.value, KEY_BYTES))


def fast_keys(kpersistent: Kpersistent, transaction: Transaction) -> SessionKeys:
    """Kenc, Kmac and Krmac of the fast transaction."""
    return _channel(transaction.derive(kpersistent, FAST.value, CHANNEL_BYTES.value))


def cryptogram(kpersistent: Kpersistent, transaction: Transaction) -> bytes:
    """What proves in AUTH0 that the device has Kpersistent, 16 bytes."""
    return transaction.derive(kpersistent, CRYPTOGRAM.value, CRYPTOGRAM_BYTES)


def ranging_key(key: Kdh | Kpersistent, transaction: Transaction) -> DerivationKey:
    """URSK, 32 bytes, for `uwb.keys`: of Kdh after a standard transaction, of Kpersistent after a fast one."""
    return DerivationKey(transaction.derive(key, URSK.value, KEY_BYTES), "URSK")


def _channel(keys: bytes) -> SessionKeys:
    return SessionKeys(AesKey(keys[:16], "Kenc"), AesKey(keys[16:32], "Kmac"), AesKey(keys[32:48], "Krmac"))
