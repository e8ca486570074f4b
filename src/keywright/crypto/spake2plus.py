"""SPAKE2+ with P-256 (RFC 9383): a prover who knows a password, a verifier who holds what does not reveal it.

    prover = Prover(w0, w1, x)                    verifier = Verifier(w0, L, y)
    prover.share ────────────────────────────────>
                 <──────────────────────────────── verifier.share
    agreed = prover.finish(share_v)               agreed = verifier.finish(share_p)

What is agreed on becomes keys by a schedule: that of the RFC or of its first draft (Matter) here, that of another
protocol where the protocol is. Until both ends have shown a confirmation, nothing is known of the other end.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, final

from keywright.crypto import p256
from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.kdf import hkdf
from keywright.crypto.key import Key, Secret
from keywright.errors import AuthenticationError, DecodeError

M: Final = bytes.fromhex(
    "04886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f"
    "5ff355163e43ce224e0b0e65ff02ac8e5c7be09419c785e0ca547d55a12e2d20"
)
"""What masks the prover's share (RFC 9383 4)."""
N: Final = bytes.fromhex(
    "04d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49"
    "07d60aa6bfade45008a636337f5168c64d9bd36034808cd564490b1e656edbe7"
)
"""What masks the verifier's share."""

SHARE_BYTES: Final = p256.POINT_BYTES


@final
class Agreed(Secret):
    """What both ends have when the passwords were the same (RFC 9383 3.3); each end's own copy."""

    __slots__ = ("_secrets", "share_p", "share_v")

    def __init__(self, share_p: bytes, share_v: bytes, z: bytes, v: bytes, w0: EcPrivateKey) -> None:
        self.share_p = share_p
        self.share_v = share_v
        self._secrets = (z, v, _scalar(w0))

    def transcript(self, *before: bytes) -> bytes:
        """`before`, both shares, Z, V and w0, each behind its length of 8 bytes, little-endian."""
        parts = (*before, self.share_p, self.share_v, *self._secrets)
        return b"".join(len(part).to_bytes(8, "little") + part for part in parts)

    def __repr__(self) -> str:
        return f"<Agreed with shares {self.share_p[1:5].hex()} and {self.share_v[1:5].hex()}>"


@final
class VerifierData(Secret):
    """What a verifier keeps of a password: w0 and L = w1 G. Nobody can act as the prover with it, but try passwords."""

    __slots__ = ("_w0", "l")

    def __init__(self, w0: EcPrivateKey, l: bytes) -> None:  # noqa: E741 - the standard's own name
        """Raises DecodeError when L is no point."""
        p256.check(l)
        self._w0 = w0
        self.l = l

    @classmethod
    def parse(cls, raw: bytes) -> VerifierData:
        """Inverse of `reveal`. Raises DecodeError."""
        if len(raw) != p256.SCALAR_BYTES + p256.POINT_BYTES:
            raise DecodeError(f"w0 and L are {p256.SCALAR_BYTES + p256.POINT_BYTES} bytes, not {len(raw)}")
        return cls(EcPrivateKey.from_scalar(p256.CURVE, raw[: p256.SCALAR_BYTES]), raw[p256.SCALAR_BYTES :])

    def reveal(self) -> bytes:
        """w0 || L, 97 bytes: for the verifier's memory, or for sealing it."""
        return _scalar(self._w0) + self.l

    @property
    def w0(self) -> EcPrivateKey:
        """The scalar that both ends know."""
        return self._w0

    def __repr__(self) -> str:
        return "<VerifierData>"


@final
class Prover(Secret):
    """The end that knows the password: w0 and w1. Good for one run."""

    __slots__ = ("_w0", "_w1", "_x", "share")

    def __init__(self, w0: EcPrivateKey, w1: EcPrivateKey, x: EcPrivateKey) -> None:
        """x: drawn anew for each run. Raises DecodeError for a share at infinity, which chance does not bring."""
        self._w0 = w0
        self._w1 = w1
        self._x = x
        self.share = _masked(x, w0, M)
        """shareP, 65 bytes."""

    def finish(self, share_v: bytes) -> Agreed:
        """Take the verifier's share. Raises DecodeError for one that is no point, or is the mask alone."""
        p256.check(share_v)
        bare = p256.add(share_v, p256.negate(p256.multiply(self._w0, N)))
        return Agreed(self.share, share_v, p256.multiply(self._x, bare), p256.multiply(self._w1, bare), self._w0)


@final
class Verifier(Secret):
    """The end that keeps w0 and L. Good for one run."""

    __slots__ = ("_data", "_y", "share")

    def __init__(self, data: VerifierData, y: EcPrivateKey) -> None:
        """y: drawn anew for each run. Raises DecodeError as `Prover`."""
        self._data = data
        self._y = y
        self.share = _masked(y, data.w0, N)
        """shareV, 65 bytes."""

    def finish(self, share_p: bytes) -> Agreed:
        """Take the prover's share. Raises DecodeError for one that is no point, or is the mask alone."""
        p256.check(share_p)
        bare = p256.add(share_p, p256.negate(p256.multiply(self._data.w0, M)))
        z, v = p256.multiply(self._y, bare), p256.multiply(self._y, self._data.l)
        return Agreed(share_p, self.share, z, v, self._data.w0)


@final
class ConfirmationKeys(Secret):
    """What each end shows the other, and the key that is left for use (RFC 9383 3.4)."""

    __slots__ = ("_confirm_p", "_confirm_v", "shared")

    def __init__(self, confirm_p: bytes, confirm_v: bytes, shared: Key) -> None:
        self._confirm_p = confirm_p
        self._confirm_v = confirm_v
        self.shared = shared
        """K_shared, or Ke of the draft; for use only once the other end's confirmation was verified."""

    def confirm_p(self) -> bytes:
        """What the prover shows."""
        return self._confirm_p

    def confirm_v(self) -> bytes:
        """What the verifier shows."""
        return self._confirm_v

    def verify_p(self, confirmation: bytes) -> None:
        """For the verifier. Raises AuthenticationError: another password, or changed bytes."""
        _verify(confirmation, self._confirm_p)

    def verify_v(self, confirmation: bytes) -> None:
        """For the prover. Raises AuthenticationError."""
        _verify(confirmation, self._confirm_v)

    def __repr__(self) -> str:
        return f"<ConfirmationKeys for {self.shared!r}>"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _cmac(key: bytes, message: bytes) -> bytes:
    return AesKey(key, "K_confirm").cmac(message)


_MACS: Final[dict[str, tuple[int, Callable[[bytes, bytes], bytes]]]] = {"hmac": (32, _hmac), "cmac": (16, _cmac)}
"""Bytes of a confirmation key, and the MAC."""


def rfc9383(
    agreed: Agreed, context: bytes, prover: bytes = b"", verifier: bytes = b"", *, mac: str = "hmac"
) -> ConfirmationKeys:
    """The key schedule of RFC 9383 3.4 with SHA-256 and HKDF; prover, verifier: identities. mac: "hmac" or "cmac"."""
    size, tag = _MACS[mac]
    main = hashlib.sha256(agreed.transcript(context, prover, verifier, M, N)).digest()
    keys = hkdf(main, b"", b"ConfirmationKeys", 2 * size)
    shared = Key(hkdf(main, b"", b"SharedKey", 32), "K_shared")
    return ConfirmationKeys(tag(keys[:size], agreed.share_v), tag(keys[size:], agreed.share_p), shared)


def draft01(agreed: Agreed, context: bytes, prover: bytes = b"", verifier: bytes = b"") -> ConfirmationKeys:
    """The key schedule of draft-bar-cfrg-spake2plus-01 with SHA-256 and HMAC, which Matter uses."""
    main = hashlib.sha256(agreed.transcript(context, prover, verifier, M, N)).digest()
    keys = hkdf(main[:16], b"", b"ConfirmationKeys", 32)
    shared = Key(main[16:], "Ke")
    return ConfirmationKeys(_hmac(keys[:16], agreed.share_v), _hmac(keys[16:], agreed.share_p), shared)


def _masked(ephemeral: EcPrivateKey, w0: EcPrivateKey, mask: bytes) -> bytes:
    return p256.add(ephemeral.public.point, p256.multiply(w0, mask))


def _scalar(key: EcPrivateKey) -> bytes:
    value: int = key.library_key().private_numbers().private_value
    return value.to_bytes(p256.SCALAR_BYTES)


def _verify(confirmation: bytes, expected: bytes) -> None:
    if not equal(confirmation, expected):
        raise AuthenticationError("confirmation not accepted: the passwords differ, or bytes were changed on the way")
