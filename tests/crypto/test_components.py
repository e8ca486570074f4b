"""Components: all of them are the key, all but one are nothing."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto import AesKey, TripleDesKey
from keywright.crypto.components import SIZES, Accumulator, Algorithm, combine, split
from keywright.crypto.des_keys import has_odd_parity, odd_parity
from keywright.crypto.kcv import ceremony_check_value
from keywright.errors import PolicyError
from support.vectors import Case, unhex, vectors

sizes = st.sampled_from([16, 24, 32])


@vectors("factory/keys.json", "components")
def test_published_components_combine(case: Case) -> None:
    components = [unhex(component) for component in case["components"]]
    assert [ceremony_check_value(AesKey(one)).value.hex().upper() for one in components] == case["component_kcv_cmac"]
    key = combine("AES", components)
    assert key == AesKey(unhex(case["key"]))
    assert ceremony_check_value(key).value == unhex(case["kcv_cmac"])


@given(key=sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size)).filter(any), count=st.integers(2, 9))
def test_split_and_combined_is_the_key(key: bytes, count: int) -> None:
    components = split(key, count, os.urandom)
    assert len(components) == count
    assert combine("AES", components).reveal() == key


@given(st.data())
def test_all_but_one_component_leave_every_key_possible(data: st.DataObject) -> None:
    """For any n - 1 components and any key there is exactly one last component: what they say of the key is nothing."""
    size, count = data.draw(sizes), data.draw(st.integers(2, 5))
    one = st.binary(min_size=size, max_size=size).filter(any)
    known = data.draw(st.lists(one, min_size=count - 1, max_size=count - 1, unique=True))
    wanted = data.draw(st.binary(min_size=size, max_size=size))
    missing = int.from_bytes(wanted)
    for component in known:
        missing ^= int.from_bytes(component)
    last = missing.to_bytes(size)
    if any(last) and last not in known:
        assert combine("AES", [*known, last]).reveal() == wanted


def test_one_missing_component_makes_every_byte_of_the_key_equally_likely() -> None:
    known = [bytes(range(1, 17)), bytes(range(17, 33))]
    seen = {combine("AES", [*known, bytes((byte,)) + b"\x55" * 15]).reveal()[0] for byte in range(256)}
    assert len(seen) == 256


@given(st.data())
def test_the_first_components_of_a_split_do_not_depend_on_the_key(data: st.DataObject) -> None:
    size = data.draw(sizes)
    tape = data.draw(st.binary(min_size=3 * size, max_size=3 * size))

    def replay() -> object:
        parts = iter(tape[at : at + size] for at in range(0, len(tape), size))
        return lambda _: next(parts)

    a, b = (split(key, 4, replay()) for key in (bytes(size), b"\xff" * size))  # type: ignore[arg-type]  # a tape
    assert a[:3] == b[:3]
    assert a[3] != b[3]


@pytest.mark.parametrize("algorithm", SIZES)
@pytest.mark.parametrize("count", [0, 1])
def test_nobody_holds_a_key_alone(algorithm: Algorithm, count: int) -> None:
    with pytest.raises(PolicyError, match="at least 2"):
        combine(algorithm, [os.urandom(16)] * count)
    total = Accumulator(algorithm, 16)
    for _ in range(count):
        total.add(os.urandom(16))
    with pytest.raises(PolicyError, match="at least 2"):
        total.key()


@pytest.mark.parametrize(("algorithm", "size"), [("AES", 8), ("TDES", 8), ("TDES", 32), ("AES", 0), ("AES", 17)])
def test_half_a_key_is_no_component(algorithm: Algorithm, size: int) -> None:
    with pytest.raises(PolicyError, match=r"no (components|.* key has)"):
        combine(algorithm, [os.urandom(size), os.urandom(size)])
    with pytest.raises(ValueError, match="no"):
        Accumulator(algorithm, size)


def test_components_of_two_lengths_are_refused() -> None:
    with pytest.raises(PolicyError, match="full length"):
        combine("AES", [os.urandom(32), os.urandom(16)])


def test_a_component_of_zeros_or_given_twice_is_refused() -> None:
    one = os.urandom(16)
    for components in ([bytes(16), one], [one, one], [one, os.urandom(16), one]):
        with pytest.raises(PolicyError, match="all zero or was given before"):
            combine("AES", components)


def test_more_components_than_a_digit_counts_are_refused() -> None:
    with pytest.raises(PolicyError, match="at most 9"):
        combine("AES", [os.urandom(16) for _ in range(10)])
    for count in (1, 10):
        with pytest.raises(ValueError, match="components"):
            split(bytes(16), count, os.urandom)


@given(components=st.lists(st.binary(min_size=16, max_size=16), min_size=2, max_size=4, unique=True))
def test_a_combined_des_key_has_odd_parity_and_the_check_value_of_the_bare_sum(components: list[bytes]) -> None:
    components = [odd_parity(component) for component in components]
    total = 0
    for component in components:
        total ^= int.from_bytes(component)
    try:
        key = combine("TDES", components)
    except PolicyError:
        return
    assert has_odd_parity(key.reveal())
    assert ceremony_check_value(key) == ceremony_check_value(TripleDesKey(total.to_bytes(16)))


@pytest.mark.parametrize("key", ["0101010101010101" + "1122334455667788", "1122334455667788" * 2])
def test_weak_des_keys_are_refused_after_combining(key: str) -> None:
    with pytest.raises(PolicyError):
        combine("TDES", split(bytes.fromhex(key), 3, os.urandom))


def test_wiping_leaves_nothing() -> None:
    total = Accumulator("AES", 16)
    for _ in range(2):
        total.add(os.urandom(16))
    buffers = [total._buffer, *total._seen]
    total.wipe()
    assert len(buffers) == 3
    assert not any(any(buffer) for buffer in buffers)
    assert repr(total) == "<0 components of AES 128 bit>"
