"""Values that go out of band: how they are drawn, judged and laid out."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC
from keywright.mesh.oob import Authentication, Method, Value, auth_value, show
from support.mesh import counting, scripted
from support.vectors import Case, unhex, vectors

READ: dict[str, Callable[[str], Value]] = {
    "binary": bytes.fromhex,
    "numeric": int,
    "alphanumeric": str,
    "no-oob": int,
}


@vectors("mesh/auth_values.json")
def test_auth_value_is_the_standards(case: Case) -> None:
    algorithm = next(one for one in ALGORITHMS if one.name == case["algorithm"].lower())
    assert auth_value(algorithm, READ[case["type"]](case["value"])) == unhex(case["AuthValue"])


def test_start_takes_what_the_table_lists_and_nothing_else() -> None:
    valid = {
        (method, action, size)
        for method, action, size in itertools.product(range(6), range(7), range(10))
        if Authentication(method, action, size).is_valid
    }
    assert valid == {
        (0, 0, 0),
        (1, 0, 0),
        *((2, action, size) for action in range(5) for size in range(1, 9)),
        *((3, action, size) for action in range(4) for size in range(1, 9)),
    }


@pytest.mark.parametrize(
    ("authentication", "good", "bad"),
    [
        (Authentication(Method.OUTPUT, 0, 1), [1, 9], [0, 10, "1", b"\x01"]),
        (Authentication(Method.OUTPUT, 3, 6), [0, 999999], [1000000, -1, "000000"]),
        (Authentication(Method.OUTPUT, 4, 3), ["0AZ"], ["0az", "0A", "0AZ0", 12]),
        (Authentication(Method.INPUT, 0, 2), [1, 99], [0, 100]),
        (Authentication(Method.STATIC), [b"x" * 16], [b"", 5, "x"]),
    ],
)
def test_values_of_a_method(authentication: Authentication, good: list[Value], bad: list[Value]) -> None:
    assert all(authentication.accepts(value) for value in good)
    assert not any(authentication.accepts(value) for value in bad)


@pytest.mark.parametrize("method", [Method.OUTPUT, Method.INPUT])
@pytest.mark.parametrize("size", range(1, 9))
def test_what_is_drawn_is_accepted(method: int, size: int) -> None:
    random = counting()
    for action in range(5 if method == Method.OUTPUT else 4):
        authentication = Authentication(method, action, size)
        assert all(authentication.accepts(authentication.draw(random)) for _ in range(20))


def test_a_draw_has_no_favourites() -> None:
    # 9 values out of 256: octets from 252 on would favour the first four, so they are drawn again.
    drawn = Authentication(Method.OUTPUT, 0, 1).draw(scripted(b"\xff", b"\xfc", b"\xfb"))
    assert drawn == 1 + 0xFB % 9


def test_a_method_without_a_value_draws_none() -> None:
    with pytest.raises(ValueError, match="no value of one session"):
        Authentication().draw(counting())


def test_entropy_is_that_of_the_value() -> None:
    assert round(Authentication(Method.OUTPUT, 3, 6).entropy_bits(), 1) == 19.9
    assert round(Authentication(Method.INPUT, 3, 8).entropy_bits(), 1) == 41.4
    assert Authentication(Method.OUTPUT, 0, 1).entropy_bits() < 3.2


def test_a_person_reads_leading_zeros() -> None:
    assert show(Authentication(Method.OUTPUT, 3, 6), 42) == "000042"
    assert show(Authentication(Method.OUTPUT, 0, 2), 42) == "42"
    assert show(Authentication(Method.OUTPUT, 4, 3), "0AZ") == "0AZ"
    assert show(Authentication(Method.STATIC), b"\x01\xff") == "01ff"
    assert str(Authentication(Method.OUTPUT, 3, 6)) == "output OOB, numeric of 6"


def test_static_values_are_cut_on_the_right_for_cmac() -> None:
    value = bytes(range(20))
    assert auth_value(CMAC, value) == value[:16]
    assert auth_value(HMAC, value) == value + bytes(12)
