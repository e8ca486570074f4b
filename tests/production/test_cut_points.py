"""The page of cut points says what the sweeps count now."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import pytest

from support.house import ROOT
from support.kills import PHASES
from support.recipe_cuts import SETS, STEPS

PAGE = ROOT / "docs/cut-points.md"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    before = list(sys.path)
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return import_module("generators.cut_points")
    finally:
        sys.path[:] = before


def test_the_page_is_what_the_sweeps_count(generator: ModuleType) -> None:
    assert PAGE.read_text(encoding="utf-8") == generator.page(), "run make docs"


def test_every_moment_of_a_campaign_stands_in_the_table(generator: ModuleType) -> None:
    for fate in SETS:
        counted = generator.moments(fate)
        assert {step for step, _ in counted} == set(STEPS[:-1])
        assert {phase for _, phase in counted} == set(PHASES)
