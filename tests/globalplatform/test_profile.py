"""No field of a card profile is for show: an end reads it, a test switches it, and its page tells of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest

from keywright.globalplatform.profile import DEFAULT, PROFILES, CardProfile
from support.house import ROOT


def structs(profile: msgspec.Struct) -> Iterator[msgspec.Struct]:
    yield profile
    for name in profile.__struct_fields__:
        value = getattr(profile, name)
        if isinstance(value, msgspec.Struct):
            yield from structs(value)


FIELDS = sorted({name for profile in structs(DEFAULT) for name in profile.__struct_fields__})


def trees(folder: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@cache
def read() -> frozenset[str]:
    """Every attribute that the program reads, where it is not the profiles' own."""
    return frozenset(
        node.attr
        for path, tree in trees("src")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


@cache
def switched() -> frozenset[str]:
    """Every name that a test gives as a keyword, or writes in a text by itself."""
    found: set[str] = set()
    for _, tree in trees("tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.add(node.value)
    return frozenset(found)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_read_and_switched_in_a_test(name: str) -> None:
    assert name in read()
    assert name in switched()


@pytest.mark.parametrize("name", PROFILES)
def test_a_named_profile_survives_as_json(name: str) -> None:
    assert msgspec.json.decode(msgspec.json.encode(PROFILES[name]), type=CardProfile) == PROFILES[name]


def test_named_profiles_differ() -> None:
    assert PROFILES["default"] == DEFAULT
    assert len({msgspec.json.encode(profile) for profile in PROFILES.values()}) == len(PROFILES)
