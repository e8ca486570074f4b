"""Keys that sign, the same in each run."""

from __future__ import annotations

from typing import Final, final

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.crypto.signing import algorithm_of

KEYS: Final = {curve: EcPrivateKey.from_scalar(curve, bytes(range(1, 33))) for curve in ("P-256", "P-384")}


@final
class Signing:
    """A key in memory as a signer."""

    def __init__(self, key: EcPrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> EcPublicKey:
        """Its public key."""
        return self._key.public

    def sign(self, data: bytes) -> bytes:
        """A signature with the algorithm of the curve."""
        return self._key.sign(data, algorithm_of(self.public).hash_name)
