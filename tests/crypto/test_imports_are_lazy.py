"""What is slow to import is imported by who uses it, not by who holds a key."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ("numpy", "cryptography.x509", "cryptography.hazmat.primitives.serialization")


def loaded_after(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    )


def test_the_room_itself_loads_neither_numpy_nor_x509() -> None:
    loaded = loaded_after("import keywright.crypto")
    assert "keywright.crypto.certificates" in loaded
    assert loaded.isdisjoint(SLOW)


@pytest.mark.parametrize(
    ("statement", "module"),
    [
        ("derive_key_sets(AesKey(bytes(16)), 'kdf3', bytes(10))", "numpy"),
        ("EcPrivateKey.generate('P-256').to_pkcs8()", "cryptography.hazmat.primitives.serialization"),
    ],
)
def test_first_use_loads_it(statement: str, module: str) -> None:
    assert module in loaded_after(f"from keywright.crypto import *\n{statement}")
