"""Points of P-256 for protocols that add them, which the library of curves does not offer.

Scalars are multiplied by the library alone: ECDH gives X of kP and of (k+1)P, and with P itself these give Y of kP
(y-coordinate recovery: Okeya and Sakurai, CHES 2001). So no loop here runs over the bits of a secret. What is left is a
fixed sequence of products of integers and powers with a public exponent; Python's integers promise no constant time
beyond that.

Points are 65 bytes, 04 || X || Y. The point at infinity has no encoding: what would give it raises DecodeError.
"""

from __future__ import annotations

from typing import Final

from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import DecodeError

CURVE: Final = "P-256"
POINT_BYTES: Final = 65
SCALAR_BYTES: Final = 32
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n (SEC 2 2.4.2)."""

_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def check(point: bytes) -> EcPublicKey:
    """The point as a public key. Raises DecodeError unless it is uncompressed and on the curve."""
    if len(point) != POINT_BYTES:
        raise DecodeError(f"a point of {CURVE} is {POINT_BYTES} bytes here, not {len(point)}")
    return EcPublicKey.from_point(CURVE, point)


def scalar(value: int) -> EcPrivateKey:
    """A scalar as a private key. Raises DecodeError unless it is between 1 and the order."""
    try:
        raw = value.to_bytes(SCALAR_BYTES)
    except OverflowError:
        raise DecodeError(f"not a scalar of {CURVE}") from None
    return EcPrivateKey.from_scalar(CURVE, raw)


def multiply(factor: EcPrivateKey, point: bytes) -> bytes:
    """`factor` times a point. Raises DecodeError for bytes that are no point."""
    public = check(point)
    value = factor.library_key().private_numbers().private_value
    if value == ORDER - 1:
        return negate(point)
    x, y = _coordinates(point)
    x1 = int.from_bytes(factor.agree(public))
    x2 = int.from_bytes(scalar(value + 1).agree(public))
    # (x1, y1) + (x, y) has X = x2, so (y1 - y)^2 = (x + x1 + x2)(x1 - x)^2; solved for y1 with the curve's y1^2.
    square = x1**3 - 3 * x1 + _B
    y1 = (square + y * y - (x + x1 + x2) * (x1 - x) ** 2) * _inverse(2 * y) % _P
    return _encode(x1, y1)


def negate(point: bytes) -> bytes:
    """The point that gives infinity when added."""
    x, y = _coordinates(point)
    return _encode(x, _P - y)


def add(one: bytes, other: bytes) -> bytes:
    """The sum of two points of the curve. Raises DecodeError when it is the point at infinity."""
    (x1, y1), (x2, y2) = _coordinates(one), _coordinates(other)
    if x1 != x2:
        slope = (y2 - y1) * _inverse(x2 - x1)
    elif y1 == y2:
        slope = 3 * (x1 * x1 - 1) * _inverse(2 * y1)
    else:
        raise DecodeError(f"the sum of two points of {CURVE} is the point at infinity")
    x3 = (slope * slope - x1 - x2) % _P
    return _encode(x3, (slope * (x1 - x3) - y1) % _P)


def _coordinates(point: bytes) -> tuple[int, int]:
    return int.from_bytes(point[1:33]), int.from_bytes(point[33:])


def _encode(x: int, y: int) -> bytes:
    return b"\x04" + x.to_bytes(SCALAR_BYTES) + y.to_bytes(SCALAR_BYTES)


def _inverse(value: int) -> int:
    # By Fermat: its steps follow the public exponent, those of Euclid's algorithm would follow the value.
    return pow(value % _P, _P - 2, _P)
