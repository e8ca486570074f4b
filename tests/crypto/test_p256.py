"""Sums and products of points: laws that hold for all, and the library's own multiples of the base point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.crypto import p256
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import DecodeError

G = EcPrivateKey.from_scalar("P-256", b"\x01").public.point
scalars = st.integers(1, p256.ORDER - 1) | st.sampled_from([1, 2, 3, p256.ORDER - 2, p256.ORDER - 1])

some = settings(max_examples=max(10, settings.default.max_examples // 4) if settings.default else 25, deadline=None)


def point(value: int) -> bytes:
    """A multiple of the base point, by the library alone."""
    return p256.scalar(value).public.point


@some
@given(scalars, scalars)
def test_a_multiple_of_a_multiple_is_what_the_library_gives_for_the_product(k: int, base: int) -> None:
    assert p256.multiply(p256.scalar(k), point(base)) == point(k * base % p256.ORDER)


@some
@given(scalars, scalars)
def test_a_sum_is_the_multiple_of_the_sum(one: int, other: int) -> None:
    total = (one + other) % p256.ORDER
    if total:
        assert p256.add(point(one), point(other)) == point(total)
    else:
        with pytest.raises(DecodeError, match="infinity"):
            p256.add(point(one), point(other))


def test_doubling_and_the_opposite_point() -> None:
    assert p256.add(G, G) == point(2)
    assert p256.negate(G) == point(p256.ORDER - 1)
    with pytest.raises(DecodeError, match="infinity"):
        p256.add(G, p256.negate(G))


@pytest.mark.parametrize(
    "bad", [b"", G[:-1], G + b"\0", b"\x02" + G[1:33], b"\x05" + G[1:], G[:-1] + bytes((G[-1] ^ 1,)), bytes(65)]
)
def test_bytes_that_are_no_point_are_refused(bad: bytes) -> None:
    for refuse in (lambda: p256.check(bad), lambda: p256.multiply(p256.scalar(3), bad)):
        with pytest.raises(DecodeError):
            refuse()


@pytest.mark.parametrize("value", [0, p256.ORDER, p256.ORDER + 1, 1 << 256, -1])
def test_a_scalar_is_between_one_and_the_order(value: int) -> None:
    with pytest.raises(DecodeError):
        p256.scalar(value)
