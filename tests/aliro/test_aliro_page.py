"""The page about Aliro tells of every switch of the profile, with its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from keywright.aliro.profile import DEFAULT, Profile

PAGE = (Path(__file__).parents[2] / "docs/aliro.md").read_text(encoding="utf-8")


def test_the_page_lists_every_switch_and_its_default() -> None:
    part = PAGE.split("<!-- begin profile -->")[1].split("<!-- end profile -->")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", part, re.MULTILINE))
    assert rows == {name: str(getattr(DEFAULT, name)) for name in (one.name for one in msgspec.structs.fields(Profile))}
