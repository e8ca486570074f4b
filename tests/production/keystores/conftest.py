"""A software keystore, made once, and copies of its files that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keywright.production.keystores.software_keystore import SoftwareKeystore
from support.software_keystores import NOW, clock, counting


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SoftwareKeystore]:
    path = tmp_path_factory.mktemp("keystore") / "lot.keystore"
    return path, SoftwareKeystore.create(path, now=NOW, rng=counting(), clock=clock)


@pytest.fixture(scope="module")
def keystore(made: tuple[Path, SoftwareKeystore]) -> SoftwareKeystore:
    return made[1]


@pytest.fixture
def path(made: tuple[Path, SoftwareKeystore], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    for file in (made[0], made[0].with_name("lot.keystore.unlock")):
        shutil.copy2(file, tmp_path)
    return tmp_path / "lot.keystore"
