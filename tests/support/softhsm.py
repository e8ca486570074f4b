"""A SoftHSM2 token of a test's own: its folder, its configuration, its PIN file; the machine's own stays untouched.

The client process is configured by the environment (SOFTHSM2_CONF), so one token store serves a whole test; several
tokens live in it side by side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from keywright.production.hsm.uri import USUAL_PLACES, TokenUri
from support.peers import require_peer

_PIN = "2468-0246-8024"
_SO_PIN = "1357-9135-7913"


class SoftHsm(NamedTuple):
    """One initialised token."""

    label: str
    pin_file: Path
    module: str
    configuration: Path

    @property
    def uri(self) -> str:
        """What `--keystore` takes."""
        return f"pkcs11:{self.label}"

    @property
    def parsed(self) -> TokenUri:
        """The same, read."""
        return TokenUri(self.label, self.module)

    @property
    def pin(self) -> str:
        """What stands in the PIN file: to look for it where it must not be."""
        return self.pin_file.read_text().strip()

    def environment(self) -> dict[str, str]:
        """For a program that is to use the token: this process's environment and what names token and PIN."""
        return {**os.environ, "SOFTHSM2_CONF": str(self.configuration), "KEYWRIGHT_PIN_FILE": str(self.pin_file)}


def require_softhsm() -> str:
    """The library's path. Skips the test, or fails it, where SoftHSM2 or python-pkcs11 is missing."""
    module = next((place for place in USUAL_PLACES if Path(place).is_file()), "")
    require_peer("SoftHSM2", bool(module and shutil.which("softhsm2-util")), "apt-get install softhsm2")
    try:
        import pkcs11  # noqa: F401 - an extra
    except ImportError:
        require_peer("python-pkcs11", available=False, how_to_get="install the extra hsm")
    return module


def make_token(folder: Path, monkeypatch: pytest.MonkeyPatch, label: str = "keywright-test") -> SoftHsm:
    """A token in `folder`; for the rest of the test SOFTHSM2_CONF and KEYWRIGHT_PIN_FILE name it.

    Call it again with the same folder and another label for a second token beside the first.
    """
    module = require_softhsm()
    tokens, configuration, pin_file = folder / "tokens", folder / "softhsm2.conf", folder / f"{label}.pin"
    tokens.mkdir(parents=True, exist_ok=True)
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
    )
    pin_file.touch(mode=0o600)
    pin_file.write_text(_PIN + "\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    monkeypatch.setenv("KEYWRIGHT_PIN_FILE", str(pin_file))
    monkeypatch.setenv("KEYWRIGHT_PKCS11_MODULE", module)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", _PIN, "--so-pin", _SO_PIN],
        check=True,
        capture_output=True,
        env={**os.environ, "SOFTHSM2_CONF": str(configuration)},
    )
    return SoftHsm(label, pin_file, module, configuration)


def use_token(made: SoftHsm, folder: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """A copy of a token that was made elsewhere, for a test that may change it."""
    shutil.copytree(made.configuration.parent, folder)
    tokens, configuration, pin_file = folder / "tokens", folder / "softhsm2.conf", folder / made.pin_file.name
    configuration.write_text(
        made.configuration.read_text().replace(str(made.configuration.parent / "tokens"), str(tokens))
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    monkeypatch.setenv("KEYWRIGHT_PIN_FILE", str(pin_file))
    monkeypatch.setenv("KEYWRIGHT_PKCS11_MODULE", made.module)
    return made._replace(pin_file=pin_file, configuration=configuration)
