"""An attacker of mesh provisioning: knows the protocol and every key it made, and no OOB value.

It shares the primitives with the ends, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.mesh.keys import ALGORITHMS, CMAC, Algorithm, SessionKeys, session_keys
from keywright.mesh.messages import Capabilities, Invite, PublicKey, Start
from keywright.mesh.oob import Value, auth_value

_BLOCK = 16


def offer(algorithm: Algorithm = CMAC, **values: int) -> Capabilities:
    """Capabilities of a device with one element, `algorithm` alone, and what `values` say."""
    fields = {
        "elements": 1,
        "algorithms": algorithm.bit,
        "public_key_type": 0,
        "oob_type": 0,
        "output_size": 0,
        "output_actions": 0,
        "input_size": 0,
        "input_actions": 0,
    }
    return Capabilities(**{**fields, **values})


class Impostor:
    """Either end of one session, as far as it can be played without the OOB value."""

    def __init__(self, invite: Invite, capabilities: Capabilities, start: Start) -> None:
        self.algorithm = ALGORITHMS[start.algorithm]
        self.key = EcPrivateKey.generate("P-256")
        self._inputs = invite.build() + capabilities.build() + start.build()
        self.secret = self.salt = b""

    @property
    def public(self) -> PublicKey:
        """Its Public Key PDU."""
        return PublicKey(self.key.public.point[1:])

    def agree_as_device(self, theirs: PublicKey) -> None:
        """The provisioner's key has come."""
        self._agree(theirs, theirs.point + self.public.point)

    def agree_as_provisioner(self, theirs: PublicKey) -> None:
        """The device's key has come."""
        self._agree(theirs, self.public.point + theirs.point)

    def confirmation(self, value: Value, random: bytes) -> bytes:
        """The confirmation that whoever knows `value` would make of `random`."""
        octets = auth_value(self.algorithm, value)
        return self.algorithm.confirmation(self._key(octets), random, octets)

    def guess(self, values: Iterable[Value], confirmation: bytes, random: bytes) -> Value | None:
        """The value that made this confirmation of this random: tried one after the other, nobody is asked."""
        return next((one for one in values if self.confirmation(one, random) == confirmation), None)

    def fitting_random(self, value: Value, confirmation: bytes) -> bytes:
        """With CMAC: the random whose confirmation is this one. CMAC of two blocks runs backwards for who has the key.

        T = E(E(R) ^ V ^ K1), so R = D(D(T) ^ V ^ K1), with K1 the doubled E(0) (NIST SP 800-38B 6.1).
        """
        assert self.algorithm == CMAC  # there is no such way through HMAC
        octets = auth_value(self.algorithm, value)
        block = AesKey(self._key(octets))
        last = _xor(octets, _doubled(block.encrypt_blocks(bytes(_BLOCK))))
        return block.decrypt_blocks(_xor(block.decrypt_blocks(confirmation), last))

    def session_keys(self, random_p: bytes, random_d: bytes) -> SessionKeys:
        """What the provisioning data are sealed with."""
        return session_keys(self.secret, self.salt, random_p, random_d)

    def _agree(self, theirs: PublicKey, keys: bytes) -> None:
        self.secret = self.key.agree(EcPublicKey.from_point("P-256", b"\x04" + theirs.point))
        self.salt = self.algorithm.confirmation_salt(self._inputs + keys)

    def _key(self, octets: bytes) -> bytes:
        return self.algorithm.confirmation_key(self.secret, self.salt, octets)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _doubled(block: bytes) -> bytes:
    number = int.from_bytes(block) << 1
    return (number & (1 << 128) - 1 ^ (0x87 if number >> 128 else 0)).to_bytes(_BLOCK)
