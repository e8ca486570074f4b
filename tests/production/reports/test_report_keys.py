"""The report says for every sealed unit where its keys were, and what that is worth."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from keywright.production.keystores.key_paths import KeyPath
from keywright.production.reports.report_html import write_html
from keywright.production.reports.report_keys import PathUsed, paths_used
from keywright.production.unit_store.rows import UnitChange
from keywright.production.unit_store.units import UnitStore
from support import lots


def with_paths(folder: Path, *paths: str | None) -> UnitStore:
    changes = [*chain.from_iterable(lots.sealed(n, lots.BEGIN + n) for n in range(1, len(paths) + 1))]
    for n, path in enumerate(paths, 1):
        facts = {} if path is None else {"path": path}
        changes.append(UnitChange(n, {"evidence": {"authenticate": facts, "own_keys": facts}}))
    return lots.made_up(folder / "lot.db", lots.order(len(paths) + 1), changes)


def test_units_are_counted_by_where_their_keys_were(tmp_path: Path) -> None:
    with with_paths(tmp_path, "inside-masks", "memory", "inside-masks", None, "of a later release") as store:
        found = paths_used(store)
    assert [(one.path, one.units) for one in found] == [("inside-masks", 2), ("", 2), ("memory", 1)]
    assert found[0].guarantees == KeyPath.MASKS.guarantees
    assert found[1] == PathUsed("", 2, "", "")


def test_the_page_says_what_is_guaranteed_and_what_not(tmp_path: Path) -> None:
    with with_paths(tmp_path, "memory", None) as store:
        write_html(store, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "for trying out only" in page
    assert "how they were kept was not recorded" in page


@pytest.mark.parametrize("path", KeyPath)
def test_every_way_says_what_it_guarantees_and_what_it_does_not(path: KeyPath) -> None:
    assert path.guarantees
    assert path.does_not_guarantee
    if path is not KeyPath.MEMORY:
        assert "outside the token" in path.guarantees
