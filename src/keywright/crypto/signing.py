"""What JWS and COSE have in common: algorithms by name, and keys that sign wherever they are."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError


class Algorithm(NamedTuple):
    """An ECDSA algorithm: its name (RFC 7518 3.1), number (RFC 9053 2.1), curve and hash."""

    name: str
    number: int
    curve: str
    hash_name: str


ES256: Final = Algorithm("ES256", -7, "P-256", "sha256")
ES384: Final = Algorithm("ES384", -35, "P-384", "sha384")
ALGORITHMS: Final = (ES256, ES384)
"""Algorithm and curve go together: RFC 7518 demands it, RFC 9053 does not, so COSE is read more narrowly here."""


BY_NAME: Final = {algorithm.name: algorithm for algorithm in ALGORITHMS}
BY_NUMBER: Final = {algorithm.number: algorithm for algorithm in ALGORITHMS}


class Signer(Protocol):
    """A key that signs, here or in an HSM."""

    @property
    def public(self) -> EcPublicKey:
        """Its public key, on P-256 or P-384."""
        ...

    def sign(self, data: bytes) -> bytes:
        """ECDSA over `data`, hashed as the algorithm of the curve says: r || s, each as wide as the curve."""
        ...


def algorithm_of(public: EcPublicKey) -> Algorithm:
    """The algorithm for a key. Raises ValueError for a curve that has none here."""
    for algorithm in ALGORITHMS:
        if algorithm.curve == public.curve:
            return algorithm
    raise ValueError(f"no algorithm for keys on {public.curve}")


def verify(public: EcPublicKey, algorithm: Algorithm | None, signature: bytes, data: bytes) -> None:
    """Check a signature; `algorithm` is what the message names. Raises AuthenticationError unless it fits the key."""
    if algorithm is None or algorithm.curve != public.curve:
        raise AuthenticationError("signature not accepted")
    public.verify(signature, data, algorithm.hash_name)
