"""docs/ccc.md shows every constant of the profile, and every choice of it, as the code has them."""

from __future__ import annotations

import pathlib

import pytest

from keywright.ccc import keys, profile
from keywright.ccc.device import TABLE as STATES
from keywright.ccc.messages import NAMES
from keywright.ccc.profile import NAME, TABLE, Certainty, Constant, Profile

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "ccc.md").read_text(encoding="utf-8")


def shown(value: object, *, is_count: bool) -> str:
    """A value as the page writes it: counts in decimal, other numbers and bytes in hex, text as text."""
    if isinstance(value, tuple):
        return ", ".join(shown(one, is_count=is_count) for one in value)
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        return f'"{text.decode()}"' if text.isascii() and text.decode().isprintable() and text else value.hex().upper()
    if is_count or not isinstance(value, int):
        return str(value)
    return f"{value:04X}" if value > 0xFF else f"{value:02X}"


def row(constant: Constant[object]) -> str:
    """One line of the table."""
    switch = f"`{constant.switch}`" if constant.switch else ""
    value = shown(constant.value, is_count=constant.what.startswith(("bytes", "attempts", "scrypt"))) or "empty"
    return f"| {constant.what} | {value} | {constant.source} | {constant.certainty.value} | {switch} |"


@pytest.mark.parametrize("constant", TABLE, ids=[one.what for one in TABLE])
def test_every_constant_is_on_the_page_with_its_provenance(constant: Constant[object]) -> None:
    assert row(constant) in PAGE.splitlines()


def test_the_page_has_no_constant_that_the_code_has_not() -> None:
    rows = [line for line in PAGE.splitlines() if any(f"| {sure.value} |" in line for sure in Certainty)]
    assert sorted(rows) == sorted(map(row, TABLE))
    assert {one.value for one in vars(profile).values() if isinstance(one, Constant)} == {one.value for one in TABLE}
    assert NAME in PAGE


def test_every_unsure_constant_has_a_switch_and_every_switch_is_a_field() -> None:
    fields = set(Profile.__struct_fields__)
    assert {one.switch for one in TABLE if one.switch} <= fields
    assert [one.what for one in TABLE if one.certainty is Certainty.UNSURE and not one.switch] == []
    for field in fields:
        assert f"`{field}`" in PAGE, field


def test_every_state_and_command_is_on_the_page() -> None:
    for state, allowed in STATES.items():
        assert f"| {state.value} | {', '.join(NAMES[ins] for ins in allowed)} |" in PAGE


def test_the_page_claims_neither_conformance_nor_compatibility() -> None:
    for word in ("compatible", "compliant", "certified"):
        assert word not in PAGE.lower()
    assert keys.LEVEL == 0x33
