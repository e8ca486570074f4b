"""A key in n shares of which any m give it back and fewer give nothing (Shamir 1979), over GF(2^8) mod 0x11B.

Each byte of the secret is the constant of its own polynomial of degree m - 1; share x holds the values at x. Points x
are public, secrets are not. So all arithmetic here is of two kinds: on points alone, where tables and branches tell
nothing, and secrets times a point, where all bytes lie side by side in one integer of fixed width and go through
shifts, masks and XOR only. Nothing branches on a secret byte or looks one up.

What is shared is the key followed by 8 bytes of SHA-256 over set id, m, n and the key. These bytes are shared like the
key, so fewer than m shares know nothing of them either; and shares of another set, with another m or n, with another
index, or with an altered value do not pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Self, final

from keywright.codec.record import U8, Record, Rest, raw
from keywright.crypto.compare import equal
from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, DecodeError, PolicyError

SET_ID_BYTES: Final = 8
LEAST: Final = 2
MOST: Final = 255
_CHECK_BYTES: Final = 8
_TYPED_BYTES: Final = 4
_VERSION: Final = 1
_LABEL: Final = b"keywright share 1"


class _Written(Record, frozen=True):
    """A share as it is written down."""

    version: U8
    set_id: Annotated[bytes, raw(SET_ID_BYTES)]
    m: U8
    n: U8
    index: U8
    typed: Annotated[bytes, raw(_TYPED_BYTES)]
    values: Annotated[bytes, Rest(16 + _CHECK_BYTES, 24 + _CHECK_BYTES, 32 + _CHECK_BYTES)]


@final
class Share(Secret):
    """One share, bound to its set: `index` of `n`, of which `m` are needed."""

    __slots__ = ("_values", "index", "m", "n", "set_id")

    def __init__(self, set_id: bytes, m: int, n: int, index: int, values: bytes) -> None:
        """`values`: one byte for each of the secret. Raises ValueError for numbers that no set has."""
        _check_numbers(m, n)
        if len(set_id) != SET_ID_BYTES or not 1 <= index <= n:
            raise ValueError(f"share {index} of {n} is none")
        self.set_id, self.m, self.n, self.index, self._values = set_id, m, n, index, values

    def build(self) -> bytes:
        """The share to be written down, with 4 bytes that find a typing error."""
        typed = self._typed()
        return _Written(_VERSION, self.set_id, self.m, self.n, self.index, typed, self._values).build()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Inverse of `build`. Raises DecodeError, also for a typing error; it never repeats the share."""
        written = _Written.parse(data)
        if written.version != _VERSION:
            raise DecodeError(f"share: version {written.version}, not {_VERSION}")
        try:
            share = cls(written.set_id, written.m, written.n, written.index, written.values)
        except ValueError:
            raise DecodeError("share: numbers that no set of shares has", 9) from None
        if not equal(share._typed(), written.typed):
            raise DecodeError("share: mistyped", hint="compare it with what is written, four characters at a time")
        return share

    def values(self) -> bytes:
        """The values of the polynomials at `index`: as secret as the share."""
        return self._values

    def _typed(self) -> bytes:
        numbers = bytes((self.m, self.n, self.index))
        return hashlib.sha256(_LABEL + b" typed" + self.set_id + numbers + self._values).digest()[:_TYPED_BYTES]

    def __repr__(self) -> str:
        return f"<share {self.index} of {self.n}, {self.m} needed, set {self.set_id.hex()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Share) and equal(self.build(), other.build())

    __hash__ = None  # type: ignore[assignment]  # a secret must not become a dictionary key by accident


def split(key: bytes, m: int, n: int, set_id: bytes, rng: Callable[[int], bytes]) -> tuple[Share, ...]:
    """Shares 1 to n of a key of 16, 24 or 32 bytes, any m of which give it back.

    `set_id`: 8 bytes, new for each set. Raises ValueError for other sizes, or unless 2 <= m <= n <= 255.
    """
    _check_numbers(m, n)
    if len(key) not in (16, 24, 32):
        raise ValueError(f"keys of 16, 24 or 32 bytes are shared, not of {len(key)}")
    secret = key + _check(key, m, n, set_id)
    # The highest coefficient may be zero: leaving that out would tell something.
    polynomial = [secret, *(rng(len(secret)) for _ in range(m - 1))]
    return tuple(Share(set_id, m, n, x, evaluate(polynomial, x)) for x in range(1, n + 1))


def combine(shares: Sequence[Share]) -> bytes:
    """The key of m or more shares of one set.

    Raises PolicyError for too few, for two of one index or for shares of different sets, AuthenticationError if they
    do not fit together.
    """
    if not shares:
        raise PolicyError("no shares")
    first = shares[0]
    if {(one.set_id, one.m, one.n, len(one.values())) for one in shares} != {
        (first.set_id, first.m, first.n, len(first.values()))
    }:
        raise PolicyError("the shares are of different sets", hint="use shares that name the same set")
    if len({one.index for one in shares}) != len(shares):
        raise PolicyError("the same share twice", hint="each person gives another one")
    if len(shares) < first.m:
        raise PolicyError(f"{len(shares)} of {first.m} shares that are needed")
    secret = interpolate([(one.index, one.values()) for one in shares])
    key, check = secret[:-_CHECK_BYTES], secret[-_CHECK_BYTES:]
    if not equal(check, _check(key, first.m, first.n, first.set_id)):
        raise AuthenticationError("the shares do not fit together", hint="one of them is not of this set, or altered")
    return key


def evaluate(polynomial: Sequence[bytes], x: int) -> bytes:
    """Values at the point `x` of as many polynomials as each coefficient has bytes; the constants come first."""
    size = len(polynomial[0])
    value = 0
    for coefficient in reversed(polynomial):
        value = _times(value, x, size) ^ int.from_bytes(coefficient)
    return value.to_bytes(size)


def interpolate(points: Sequence[tuple[int, bytes]]) -> bytes:
    """Values at 0 of the polynomials of least degree through `points`, whose x differ and are not 0."""
    size = len(points[0][1])
    value = 0
    for x, y in points:
        factor = 1
        for other, _ in points:
            if other != x:
                factor = _product(factor, _product(other, _inverse(other ^ x)))
        value ^= _times(int.from_bytes(y), factor, size)
    return value.to_bytes(size)


def _times(secrets: int, point: int, size: int) -> int:
    """Each of the `size` bytes of `secrets` times `point`; which steps are done depends on the point alone."""
    ones = int.from_bytes(b"\x01" * size)
    low = 0x7F * ones
    product = 0
    for bit in range(8):
        if point >> bit & 1:
            product ^= secrets
        secrets = (secrets & low) << 1 ^ (secrets >> 7 & ones) * 0x1B
    return product


def _product(a: int, b: int) -> int:
    """Two points multiplied."""
    return _times(a, b, 1)


def _inverse(point: int) -> int:
    """1 / point: its 254th power."""
    result = 1
    for _ in range(254):
        result = _product(result, point)
    return result


def _check(key: bytes, m: int, n: int, set_id: bytes) -> bytes:
    return hashlib.sha256(_LABEL + set_id + bytes((m, n)) + key).digest()[:_CHECK_BYTES]


def _check_numbers(m: int, n: int) -> None:
    if not LEAST <= m <= n <= MOST:
        raise ValueError(f"{m} of {n} shares: at least {LEAST}, at most all of {MOST}")
