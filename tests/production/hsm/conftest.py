"""A token with a keystore, made once and copied for each test; and the library itself, for what runs in the client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keywright.production.hsm.keystore import Pkcs11Keystore
from support.softhsm import SoftHsm, make_token, use_token

MADE = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def empty_token(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """An initialised token that holds nothing; to be copied, not used."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return make_token(tmp_path_factory.mktemp("empty") / "hsm", monkeypatch)


@pytest.fixture(scope="session")
def made_token(empty_token: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A token with a new keystore; to be copied, not used."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = use_token(empty_token, tmp_path_factory.mktemp("made") / "hsm", monkeypatch)
        Pkcs11Keystore.create(made.parsed, now=MADE, owner="the test").close()
        return made


@pytest.fixture
def token(made_token: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """A token with a keystore, this test's own."""
    return use_token(made_token, tmp_path / "hsm", monkeypatch)


@pytest.fixture
def keystore(token: SoftHsm) -> Iterator[Pkcs11Keystore]:
    """The keystore of `token`, open."""
    opened = Pkcs11Keystore.open(token.parsed)
    yield opened
    opened.close()


@pytest.fixture
def inside(token: SoftHsm) -> Iterator[Any]:
    """A session of `token` in this process, as the client process has it."""
    import pkcs11

    from keywright.production.hsm.token import TokenSession, find_token, load_library, log_in

    library = load_library(token.module)
    # The library reads its configuration once; this test has its own.
    library.reinitialize()
    yield TokenSession(log_in(find_token(library, token.label), token.pin))
    library.finalize()
    assert pkcs11
