"""The key schedule: Kdh, the keys of each phase, and one direction of a channel (Aliro 1.0 8.3).

Both ends derive for themselves; they share these functions, never what came out of them.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from keywright.aliro.messages import Auth0, Auth0Answer, FastStatus, vendor_info
from keywright.aliro.profile import DEFAULT, Interface, Profile
from keywright.codec.ber import item
from keywright.crypto.aead import open_gcm, seal_gcm, try_gcm
from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPublicKey
from keywright.crypto.kdf import hkdf, x963
from keywright.crypto.key import Key
from keywright.errors import AuthenticationError, SequenceError

KEY_BYTES: Final = 32
CURVE: Final = "P-256"

_VOLATILE: Final = b"Volatile****"
_PERSISTENT: Final = b"Persistent**"
_FAST: Final = b"VolatileFast"
_CRYPTOGRAM_IV: Final = bytes(12)


@final
class Kdh(Key):
    """What comes of the key agreement in AUTH0, 32 bytes."""

    def __init__(self, raw_key: bytes) -> None:
        super().__init__(raw_key, "Kdh")


@final
class Kpersistent(Key):
    """What reader and device keep for the fast phase, 32 bytes."""

    def __init__(self, raw_key: bytes) -> None:
        super().__init__(raw_key, "Kpersistent")


@final
class DerivationKey(Key):
    """A key of 32 bytes from which others are derived: StepUpSK, BleSK, URSK."""


class Transaction(msgspec.Struct, frozen=True):
    """What of a transaction goes into its salts: all of it public."""

    group_key_x: bytes
    """X of the reader group identifier key (`Profile.salt_has_issuer_key`)."""
    interface: Interface
    proprietary: bytes
    """The complete TLV A5 of the answer to SELECT, as received."""
    command: Auth0
    answer: Auth0Answer
    profile: Profile = DEFAULT

    def salt(self, label: bytes, credential_x: bytes = b"") -> bytes:
        """The salt of one derivation; `credential_x`: X of the credential's public key, where it belongs in."""
        command = self.command
        return b"".join(
            (
                self.group_key_x,
                label,
                command.reader_identifier,
                bytes((self.interface,)),
                item(0x5C, command.version.to_bytes(2)),
                x_of(command.ephemeral),
                command.transaction_identifier,
                bytes((command.parameters, command.policy)),
                self.proprietary,
                credential_x,
            )
        )

    def fast_salt(self) -> bytes:
        """The salt of the fast phase but for its end, X of the credential's public key."""
        return self.salt(_FAST)

    def info(self, *, vendor: bool = True) -> bytes:
        """The HKDF info: X of credential_ePubK, and the vendor TLVs."""
        return x_of(self.answer.ephemeral) + (vendor_info(self.command, self.answer) if vendor else b"")


class VolatileKeys(msgspec.Struct, frozen=True):
    """The keys of the expedited-standard phase, each of 32 bytes."""

    reader: AesKey
    """ExpeditedSKReader."""
    device: AesKey
    """ExpeditedSKDevice."""
    step_up: DerivationKey
    ble: DerivationKey
    ursk: DerivationKey


class FastKeys(msgspec.Struct, frozen=True):
    """The keys of the expedited-fast phase. There is none for step-up, which needs AUTH1 first."""

    cryptogram: AesKey
    reader: AesKey
    device: AesKey
    ble: DerivationKey
    ursk: DerivationKey


def x_of(point: bytes) -> bytes:
    """X of an uncompressed point."""
    return point[1:33]


def key_agreement(shared_x: bytes, transaction_identifier: bytes) -> Kdh:
    """Kdh of the shared point's X: X9.63 with SHA-256."""
    return Kdh(x963(shared_x, transaction_identifier, KEY_BYTES))


def volatile_keys(kdh: Kdh, transaction: Transaction) -> VolatileKeys:
    """The keys of the expedited-standard phase."""
    reader, device, step_up, ble, ursk = _five(kdh, transaction.salt(_VOLATILE), transaction.info())
    return VolatileKeys(
        AesKey(reader, "ExpeditedSKReader"),
        AesKey(device, "ExpeditedSKDevice"),
        DerivationKey(step_up, "StepUpSK"),
        DerivationKey(ble, "BleSK"),
        DerivationKey(ursk, "URSK"),
    )


def persistent_key(kdh: Kdh, transaction: Transaction, credential: EcPublicKey) -> Kpersistent:
    """Kpersistent; a reader keeps it only once it has verified the device's signature."""
    salt = transaction.salt(_PERSISTENT, x_of(credential.point))
    info = transaction.info(vendor=transaction.profile.vendor_in_persistent)
    return Kpersistent(hkdf(kdh.reveal(), salt, info, KEY_BYTES))


def fast_keys(kpersistent: Kpersistent, transaction: Transaction, credential_x: bytes) -> FastKeys:
    """The keys of the expedited-fast phase."""
    cryptogram, reader, device, ble, ursk = _five(
        kpersistent, transaction.salt(_FAST, credential_x), transaction.info()
    )
    return FastKeys(
        AesKey(cryptogram, "CryptogramSK"),
        AesKey(reader, "ExpeditedSKReader"),
        AesKey(device, "ExpeditedSKDevice"),
        DerivationKey(ble, "BleSK"),
        DerivationKey(ursk, "URSK"),
    )


def cryptogram_key(kpersistent: Kpersistent, salt: bytes, info: bytes) -> AesKey:
    """CryptogramSK alone, for a reader that tries one Kpersistent after the other (`Transaction.fast_salt`, `info`)."""
    return AesKey(hkdf(kpersistent.reveal(), salt, info, KEY_BYTES), "CryptogramSK")


def _five(key: Key, salt: bytes, info: bytes) -> list[bytes]:
    block = hkdf(key.reveal(), salt, info, 5 * KEY_BYTES)
    return [block[at : at + KEY_BYTES] for at in range(0, len(block), KEY_BYTES)]


def seal_cryptogram(key: AesKey, status: FastStatus) -> bytes:
    """The cryptogram of AUTH0, 64 bytes."""
    return seal_gcm(key, _CRYPTOGRAM_IV, status.build())


def try_cryptogram(key: AesKey, cryptogram: bytes) -> bytes | None:
    """What a cryptogram seals, a `FastStatus` to be read; None when it is of another key."""
    return try_gcm(key, _CRYPTOGRAM_IV, cryptogram)


def open_cryptogram(key: AesKey, cryptogram: bytes) -> FastStatus:
    """Inverse of `seal_cryptogram`. Raises AuthenticationError when the key is another one, DecodeError."""
    return FastStatus.parse(open_gcm(key, _CRYPTOGRAM_IV, cryptogram))


def step_up_keys(step_up: DerivationKey) -> tuple[AesKey, AesKey]:
    """SKReader and SKDevice of the step-up phase."""
    return (
        AesKey(hkdf(step_up.reveal(), b"", b"SKReader", KEY_BYTES), "SKReader"),
        AesKey(hkdf(step_up.reveal(), b"", b"SKDevice", KEY_BYTES), "SKDevice"),
    )


def ble_keys(ble: DerivationKey, published: bytes, selected: int) -> tuple[AesKey, AesKey]:
    """BleSKReader and BleSKDevice (Aliro 1.0 11.8.1).

    published: the reader's versions as its GATT characteristic has them; selected: the one the device wrote.
    """
    salt = published + selected.to_bytes(2)
    return (
        AesKey(hkdf(ble.reveal(), salt, b"BleSKReader", KEY_BYTES), "BleSKReader"),
        AesKey(hkdf(ble.reveal(), salt, b"BleSKDevice", KEY_BYTES), "BleSKDevice"),
    )


class Mode:
    """First eight bytes of the IV: which way a message goes."""

    TO_DEVICE: Final = 0
    TO_READER: Final = 1


@final
class Direction:
    """One direction of a channel at one of its ends: AES-256-GCM, a counter from 1 that never comes back.

    Messages that are not accepted end it: after an AuthenticationError no other is opened.
    """

    __slots__ = ("_counter", "_ended", "_key", "_last", "_mode", "_seals_empty")

    def __init__(self, key: AesKey, mode: int, *, last: int = 0xFFFFFFFF, seals_empty: bool = False) -> None:
        """mode: of `Mode`. last: the last counter that may be used. seals_empty: `Profile.seals_empty`."""
        self._key = key
        self._mode = mode.to_bytes(8)
        self._counter = 0
        self._last = last
        self._seals_empty = seals_empty
        self._ended = False

    def seal(self, message: bytes, associated: bytes = b"") -> bytes:
        """The next message. Raises SequenceError when the counter is used up."""
        if not (message or self._seals_empty):
            return b""
        return seal_gcm(self._key, self._next(), message, associated)

    def open(self, sealed: bytes, associated: bytes = b"") -> bytes:
        """The next message of the other end. Raises AuthenticationError, and SequenceError when it has ended."""
        if not (sealed or self._seals_empty):
            return b""
        iv = self._next()
        try:
            return open_gcm(self._key, iv, sealed, associated)
        except AuthenticationError:
            self._ended = True
            raise

    def _next(self) -> bytes:
        if self._ended or self._counter >= self._last:
            raise SequenceError(
                "the channel has ended", hint="begin a new transaction: SELECT, AUTH0, AUTH1 give fresh keys"
            )
        self._counter += 1
        return self._mode + self._counter.to_bytes(4)
