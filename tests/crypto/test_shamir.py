"""Shares: m of them are the key, fewer are nothing, and those of another set do not pass."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.crypto import shamir
from keywright.crypto.shamir import Share, combine, evaluate, interpolate, split
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from support.faults import is_nightly
from support.messages import check_message

SET = bytes.fromhex("0011223344556677")


def product(a: int, b: int) -> int:
    """GF(2^8) mod x^8 + x^4 + x^3 + x + 1, by the schoolbook."""
    long = 0
    for bit in range(8):
        if b >> bit & 1:
            long ^= a << bit
    for bit in range(14, 7, -1):
        if long >> bit & 1:
            long ^= 0x11B << (bit - 8)
    return long


def test_points_multiply_as_the_schoolbook_says() -> None:
    # FIPS 197 4.2: 57 x 83 = C1, 57 x 13 = FE.
    assert (shamir._product(0x57, 0x83), shamir._product(0x57, 0x13)) == (0xC1, 0xFE)
    everything = bytes(range(256))
    for point in range(256):
        row = shamir._times(int.from_bytes(everything), point, 256).to_bytes(256)
        assert list(row) == [product(byte, point) for byte in everything]


def test_inverses_are_inverse() -> None:
    assert all(product(point, shamir._inverse(point)) == 1 for point in range(1, 256))


numbers = st.integers(2, 6).flatmap(lambda n: st.tuples(st.integers(2, n), st.just(n)))
keys = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


@settings(max_examples=30)
@given(numbers, keys)
def test_any_m_shares_give_the_key_and_fewer_are_refused(mn: tuple[int, int], key: bytes) -> None:
    m, n = mn
    shares = split(key, m, n, SET, os.urandom)
    for chosen in itertools.combinations(shares, m):
        assert combine(chosen) == key
    assert combine(shares) == key
    for chosen in itertools.combinations(shares, m - 1):
        with pytest.raises(PolicyError, match=f"{m - 1} of {m} shares"):
            combine(chosen)


def test_largest_sets_work() -> None:
    key = os.urandom(16)
    m = 255 if is_nightly() else 48  # the work grows with its square
    shares = split(key, m, 255, SET, os.urandom)
    assert combine(shares[-m:]) == key
    assert combine(split(key, 2, 255, SET, os.urandom)[-2:]) == key


@pytest.mark.parametrize("secret", [0, 1, 0x53, 255])
def test_m_minus_1_shares_are_uniform_whatever_the_secret(secret: int) -> None:
    """Every choice of coefficients at once, each a byte of its own: all values of m - 1 shares come equally often."""
    every = 256 * 256
    low, high = bytes(range(256)) * 256, bytes(byte for byte in range(256) for _ in range(256))
    constant = bytes((secret,)) * every
    one = evaluate([constant[:256], low[:256]], 7)
    assert sorted(one) == list(range(256))
    two = [evaluate([constant, low, high], x) for x in (3, 200)]
    assert len(set(zip(*two, strict=True))) == every


@given(st.data())
def test_any_other_secret_fits_m_minus_1_shares(data: st.DataObject) -> None:
    m = data.draw(st.integers(2, 5))
    xs = data.draw(st.lists(st.integers(1, 255), min_size=m, max_size=m, unique=True))
    known = [(x, data.draw(st.binary(min_size=16, max_size=16))) for x in xs[:-1]]
    wanted = data.draw(st.binary(min_size=16, max_size=16))
    # The polynomial through these and through `wanted` at 0 has a value at the last point, and leads back.
    last = _value_at(xs[-1], [(0, wanted), *known])
    assert interpolate([*known, (xs[-1], last)]) == wanted


def _value_at(at: int, points: list[tuple[int, bytes]]) -> bytes:
    """Lagrange by the schoolbook, byte by byte."""
    out = bytes(len(points[0][1]))
    for x, y in points:
        factor = 1
        for other, _ in points:
            if other != x:
                inverse = next(i for i in range(1, 256) if product(i, other ^ x) == 1)
                factor = product(factor, product(at ^ other, inverse))
        out = bytes(a ^ product(b, factor) for a, b in zip(out, y, strict=True))
    return out


def test_shares_of_another_set_are_refused() -> None:
    key = os.urandom(16)
    shares = split(key, 2, 3, SET, os.urandom)
    others = [
        split(key, 2, 3, bytes(8), os.urandom)[1],
        split(key, 3, 3, SET, os.urandom)[1],
        split(key, 2, 4, SET, os.urandom)[1],
        split(key + key, 2, 3, SET, os.urandom)[1],
    ]
    for other in others:
        with pytest.raises(PolicyError, match="different sets"):
            combine([shares[0], other])
    with pytest.raises(PolicyError, match="same share twice"):
        combine([shares[0], shares[0]])
    with pytest.raises(PolicyError, match="no shares"):
        combine([])


def test_set_id_numbers_index_and_value_are_bound() -> None:
    key = os.urandom(16)
    one, two, _ = split(key, 2, 3, SET, os.urandom)

    def altered(share: Share, **changes: object) -> Share:
        facts = {"set_id": SET, "m": 2, "n": 3, "index": share.index, "values": share.values()} | changes
        return Share(**facts)  # type: ignore[arg-type]  # facts of a share

    flipped = bytes((two.values()[0] ^ 1,)) + two.values()[1:]
    for pair in (
        (one, altered(two, index=3)),
        (one, altered(two, values=flipped)),
        (altered(one, n=4), altered(two, n=4)),
        (altered(one, set_id=bytes(8)), altered(two, set_id=bytes(8))),
        # Another split of the same key under the same id: which of the two sets is meant nobody knows.
        (one, split(key, 2, 3, SET, os.urandom)[1]),
    ):
        with pytest.raises(AuthenticationError, match="do not fit"):
            combine(pair)
    assert combine([altered(one), altered(two)]) == key


@settings(max_examples=20)
@given(keys)
def test_a_share_is_written_down_and_read(key: bytes) -> None:
    for share in split(key, 2, 3, SET, os.urandom):
        data = share.build()
        assert Share.parse(data) == share
        for size in range(len(data)):
            with pytest.raises(DecodeError):
                Share.parse(data[:size])
        for at in range(len(data)):
            with pytest.raises(DecodeError) as refused:
                Share.parse(data[:at] + bytes((data[at] ^ 0x10,)) + data[at + 1 :])
            assert data.hex() not in str(refused.value)


@given(st.binary(max_size=70))
def test_any_bytes_are_a_share_or_a_decode_error(data: bytes) -> None:
    try:
        Share.parse(data)
    except DecodeError:
        return


def test_the_written_form_is_a_message_like_any_other() -> None:
    check_message(shamir._Written)


@pytest.mark.parametrize(("m", "n"), [(1, 3), (0, 2), (3, 2), (2, 256)])
def test_numbers_that_make_no_set_are_refused(m: int, n: int) -> None:
    with pytest.raises(ValueError, match="shares"):
        split(bytes(16), m, n, SET, os.urandom)


def test_only_keys_are_shared() -> None:
    with pytest.raises(ValueError, match="keys of 16, 24 or 32"):
        split(bytes(8), 2, 3, SET, os.urandom)
    with pytest.raises(ValueError, match="none"):
        Share(bytes(7), 2, 3, 1, bytes(24))
