"""Running the command line: in this process, and as the program that a user starts."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from keywright.cli.main import main
from support.commands import Keywright, Ran, environment


@pytest.fixture
def keywright(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Keywright:
    """Call the command line in this process, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start the program as a user does, and wait for it."""

    def start(*words: object, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keywright", *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(**more),
        )

    return start


@pytest.fixture
def key_file(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Write a key file with one key for all three, and what else is given."""

    def write(key: bytes, **more: str) -> pathlib.Path:
        path = tmp_path / "keys.toml"
        path.write_text("".join(f'{name} = "{value}"\n' for name, value in {"key": key.hex(), **more}.items()))
        path.chmod(0o600)
        return path

    return write
