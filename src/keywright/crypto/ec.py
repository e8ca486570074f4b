"""Elliptic curve keys on the NIST and Brainpool prime curves: ECDSA, ECDH and their encodings.

Public keys that come from outside are loaded through the library, which checks that the point is on the curve; the
caller names the curve it expects, so a peer cannot pick another one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, TypeAlias, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, DecodeError, PolicyError

_Hash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "brainpoolP256r1": ec.BrainpoolP256R1(),
    "brainpoolP384r1": ec.BrainpoolP384R1(),
    "brainpoolP512r1": ec.BrainpoolP512R1(),
}
_NAMES: Final = {curve.name: name for name, curve in _CURVES.items()}
_HASHES: Final[dict[str, type[_Hash]]] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}

CURVES: Final = tuple(_CURVES)
_DRAWS: Final = 128
_UNCOMPRESSED: Final = b"\x04"


@final
class EcPublicKey:
    """A public key: a point that is on its curve."""

    __slots__ = ("_key", "curve", "point", "width")

    def __init__(self, key: ec.EllipticCurvePublicKey, point: bytes = b"") -> None:
        """Wrap a key of the library. Raises DecodeError if its curve is not in `CURVES`.

        `point`: the uncompressed point it was loaded from; not given, it is asked of the library, which takes longer.
        """
        self._key = key
        self.curve = _name_of(key.curve)
        """One of `CURVES`."""
        self.width = (key.curve.key_size + 7) // 8
        """Bytes of one coordinate."""
        if not point:
            numbers = key.public_numbers()
            point = b"\x04" + numbers.x.to_bytes(self.width) + numbers.y.to_bytes(self.width)
        self.point = point
        """The uncompressed point 04 || X || Y (SEC 1 2.3.3)."""

    @classmethod
    def from_point(cls, curve: str, point: bytes) -> EcPublicKey:
        """Load a point, uncompressed or compressed (SEC 1 2.3.4). Raises DecodeError if it is not one of `curve`."""
        named = _curve(curve)
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(named, point)
        except ValueError as error:
            raise DecodeError(f"not a point of {curve}") from error
        return cls(key, point if point.startswith(_UNCOMPRESSED) else b"")

    @classmethod
    def from_spki(cls, der: bytes, curve: str | None = None) -> EcPublicKey:
        """Load a DER SubjectPublicKeyInfo (RFC 5480). Raises DecodeError, also if its curve is not the expected one."""
        from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415 - loads SSH, RSA too

        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise DecodeError("not a public key") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise DecodeError("not an elliptic curve public key")
        public = cls(key)
        _check_curve(public.curve, curve)
        return public

    def spki(self) -> bytes:
        """The key as DER SubjectPublicKeyInfo with a named curve (RFC 5480)."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - loads SSH, RSA too

        return self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, data: bytes, hash_name: str = "sha256") -> None:
        """Check r || s (each as wide as the curve) over `data`. Raises AuthenticationError."""
        if len(signature) != 2 * self.width:
            raise AuthenticationError("signature not accepted")
        r, s = signature[: self.width], signature[self.width :]
        self.verify_der(encode_dss_signature(int.from_bytes(r), int.from_bytes(s)), data, hash_name)

    def verify_der(self, signature: bytes, data: bytes, hash_name: str = "sha256") -> None:
        """Check a DER ECDSA signature (RFC 3279 2.2.3) over `data`. Raises AuthenticationError."""
        try:
            self._key.verify(signature, data, _signature(hash_name))
        except InvalidSignature as error:
            raise AuthenticationError("signature not accepted") from error

    def library_key(self) -> ec.EllipticCurvePublicKey:
        """The key as the library has it, for certificates."""
        return self._key

    def __repr__(self) -> str:
        return f"<{self.curve} public key {self.point[1:5].hex()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EcPublicKey) and (self.curve, self.point) == (other.curve, other.point)

    def __hash__(self) -> int:
        return hash((self.curve, self.point))


@final
class EcPrivateKey(Secret):
    """A private key with its public key. It shows itself nowhere but in `to_pkcs8`."""

    __slots__ = ("_key", "public")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Wrap a key of the library. Raises DecodeError if its curve is not in `CURVES`."""
        self._key = key
        self.public = EcPublicKey(key.public_key())

    @classmethod
    def generate(cls, curve: str) -> EcPrivateKey:
        """Make a new key, with the library's own randomness."""
        return cls(ec.generate_private_key(_curve(curve)))

    @classmethod
    def draw(cls, curve: str, rng: Callable[[int], bytes]) -> EcPrivateKey:
        """Make a new key with the caller's randomness, by testing candidates (FIPS 186-5 A.2.2).

        Raises ValueError when `rng` gives no candidate below the order in 128 draws: it is not random.
        """
        bits = _curve(curve).key_size
        size = (bits + 7) // 8
        for _ in range(_DRAWS):
            candidate = rng(size)
            try:
                return cls.from_scalar(curve, bytes((candidate[0] & 0xFF >> -bits % 8,)) + candidate[1:])
            except DecodeError:
                continue
        raise ValueError("the source of randomness repeats itself")

    @classmethod
    def from_scalar(cls, curve: str, scalar: bytes) -> EcPrivateKey:
        """Take a big-endian scalar of any length. Raises DecodeError unless it is between 1 and the order."""
        named = _curve(curve)
        try:
            return cls(ec.derive_private_key(int.from_bytes(scalar), named))
        except ValueError:
            # "from None": what the library says may repeat the scalar.
            raise DecodeError(f"not a private key of {curve}") from None

    @classmethod
    def from_pkcs8(cls, der: bytes, curve: str | None = None) -> EcPrivateKey:
        """Load an unencrypted DER PrivateKeyInfo (RFC 5208). Raises DecodeError, also for another curve."""
        from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415 - loads SSH, RSA too

        try:
            key = load_der_private_key(der, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise DecodeError("not a private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise DecodeError("not an elliptic curve private key")
        private = cls(key)
        _check_curve(private.curve, curve)
        return private

    @property
    def curve(self) -> str:
        """One of `CURVES`."""
        return self.public.curve

    def agree(self, peer: EcPublicKey) -> bytes:
        """The shared secret: the X coordinate at full width (SP 800-56A 5.7.1.2). Raises PolicyError across curves."""
        if peer.curve != self.curve:
            raise PolicyError(f"key agreement between {self.curve} and {peer.curve}")
        return self._key.exchange(ec.ECDH(), peer.library_key())

    def sign(self, data: bytes, hash_name: str = "sha256") -> bytes:
        """ECDSA over `data` as r || s, each as wide as the curve."""
        r, s = decode_dss_signature(self.sign_der(data, hash_name))
        return r.to_bytes(self.public.width) + s.to_bytes(self.public.width)

    def sign_der(self, data: bytes, hash_name: str = "sha256") -> bytes:
        """ECDSA over `data` as DER SEQUENCE of r and s (RFC 3279 2.2.3)."""
        return self._key.sign(data, _signature(hash_name))

    def sign_digest(self, digest: bytes, hash_name: str = "sha256") -> bytes:
        """ECDSA over a digest of that hash, as r || s. Raises ValueError for a digest of another length."""
        algorithm = ec.ECDSA(Prehashed(_HASHES[hash_name]()))
        r, s = decode_dss_signature(self._key.sign(digest, algorithm))
        return r.to_bytes(self.public.width) + s.to_bytes(self.public.width)

    def to_pkcs8(self) -> bytes:
        """The key as unencrypted DER PrivateKeyInfo (RFC 5208): for sealing it, or a simulated device's memory."""
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - loads SSH, RSA too
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def library_key(self) -> ec.EllipticCurvePrivateKey:
        """The key as the library has it, for signing certificates."""
        return self._key

    def __repr__(self) -> str:
        return f"<{self.curve} private key of {self.public!r}>"

    def __eq__(self, other: object) -> bool:
        # The same public key means the same private key, so nothing secret is compared.
        return isinstance(other, EcPrivateKey) and self.public == other.public

    __hash__ = None  # type: ignore[assignment]  # a key must not become a dictionary key by accident


def _curve(name: str) -> ec.EllipticCurve:
    try:
        return _CURVES[name]
    except KeyError:
        raise ValueError(f"no curve {name!r}; one of {', '.join(CURVES)}") from None


def _name_of(curve: ec.EllipticCurve) -> str:
    if curve.name not in _NAMES:
        raise DecodeError(f"keys on {curve.name} are not used here")
    return _NAMES[curve.name]


def _check_curve(found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise DecodeError(f"a key on {found}, not on {expected}")


@functools.cache
def _signature(hash_name: str) -> ec.ECDSA:
    # Made at first use: the first ECDSA object loads the library's whole OpenSSL backend.
    if hash_name not in _HASHES:
        raise ValueError(f"no ECDSA with {hash_name!r}; one of {', '.join(_HASHES)}")
    return ec.ECDSA(_HASHES[hash_name]())
