"""How host and card prove themselves to each other in SCP10 (GPCS F.1.4.3, F.1.4.4), the same for both directions.

| i | what goes over the wire |
| --- | --- |
| 02 transport, no recovery | a PKCS#1 v1.5 signature |
| 00 transport, recovery | a scheme 1 signature that carries only random bytes |
| 01 agreement, recovery | a scheme 1 signature that carries the secret, encrypted under the receiver's key |
| 03 agreement, no recovery | the secret under RSAES-PKCS1-v1_5, then a PKCS#1 v1.5 signature over it |

A card has to offer 01 or 02, which the clause describes in full. What 00 and 03 send is put together here from its
building blocks: a choice of this implementation.
"""

from __future__ import annotations

from collections.abc import Callable

from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.scp.scp10.messages import I

Rng = Callable[[int], bytes]
"""From a number to that many random bytes."""

_HASH = "sha1"


def prove(own: RsaPrivateKey, message: bytes, i: int, rng: Rng) -> bytes:
    """Sign `message`, which the receiver knows; key transport (GPCS F.1.4.3)."""
    if i & I.NO_RECOVERY:
        return own.sign(message, _HASH)
    return own.sign_recoverable(rng(own.public.recoverable), message)


def check_proof(peer: RsaPublicKey, message: bytes, signature: bytes, i: int) -> None:
    """Inverse of `prove`. Raises AuthenticationError."""
    if i & I.NO_RECOVERY:
        peer.verify(signature, message, _HASH)
    else:
        peer.recover(signature, message)


def convey(own: RsaPrivateKey, peer: RsaPublicKey, secret: bytes, context: bytes, i: int, rng: Rng) -> bytes:
    """Sign `secret` with `context`, which the receiver knows, and hide it from all others; key agreement.

    Raises ValueError if `secret` does not fit the keys, or if with recovery their lengths in bits differ.
    """
    if i & I.NO_RECOVERY:
        ps = bytes(byte or 0xFF for byte in rng(peer.padding_for(secret)))
        return peer.encrypt_with(secret, ps) + own.sign(secret + context, _HASH)
    room = own.public.recoverable - len(secret)
    if room < 1 or own.public.bits != peer.bits:
        raise ValueError("the secret does not fit, or the two keys are not of one length")
    # The receiver looks for D3 01 to find where the padding ends.
    padding = rng(room).replace(b"\xd3\x01", b"\xd3\x02")
    signature = int.from_bytes(own.sign_recoverable(padding + secret, context))
    smaller = min(signature, int.from_bytes(own.public.modulus) - signature)
    return peer.apply(smaller.to_bytes(peer.size))


def conveyed(own: RsaPrivateKey, peer: RsaPublicKey, data: bytes, context: bytes, i: int) -> bytes:
    """Inverse of `convey`: what was hidden, with recovery after padding of unknown length.

    Raises AuthenticationError, whatever is wrong.
    """
    if not i & I.NO_RECOVERY:
        return peer.recover(own.apply(data), context)
    secret = own.decrypt(data[: own.public.size])
    peer.verify(data[own.public.size :], secret + context, _HASH)
    return secret
