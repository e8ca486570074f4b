"""No eight bytes of a key in anything that is written: a whole lot with all its trouble, and the search itself."""

from __future__ import annotations

import base64
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from keywright.production.keystores.sealed import Entry
from keywright.production.keystores.software_keystore import SoftwareKeystore
from keywright.production.unit_store.tables import metadata
from keywright.production.unit_store.units import UnitStore
from support.canary import MADE, MASTER, WINDOW, Canary, leaks
from support.house import ROOT

KEY = bytes(range(0x90, 0xB0))
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda window: b"\x01" + window + b"\x02",
    "lower hex": lambda window: b'"' + window.hex().encode() + b'"',
    "upper hex": lambda window: window.hex().upper().encode(),
    "odd hex": lambda window: b"0" + window.hex().encode() + b"1",
    "spaced hex": lambda window: window.hex(" ").encode(),
    "hex with colons": lambda window: window.hex(":").encode(),
    "base64": lambda window: base64.b64encode(window + b"..."),
    "base64 from the second byte": lambda window: base64.b64encode(b"." + window + b".."),
    "base64 from the third byte": lambda window: base64.b64encode(b".." + window + b"."),
    "base64 for addresses": lambda window: base64.urlsafe_b64encode(b"." + window + b".."),
    "base64 in the middle of letters": lambda window: b"ab" + base64.b64encode(window + b"..."),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_window_is_found_in_every_form(form: str) -> None:
    canary = Canary(KEY)
    for at in range(len(KEY) - WINDOW + 1):
        for before in range(9):
            assert canary.forms_in(b"x" * before + b" " + FORMS[form](KEY[at : at + WINDOW]) + b" y")


def test_seven_bytes_are_not_enough_and_other_bytes_are_not_it() -> None:
    canary = Canary(KEY)
    assert canary.forms_in(KEY[:7] + b"\x00" + KEY[:7].hex().encode()) == []
    assert canary.forms_in(os.urandom(1 << 16) + os.urandom(1 << 14).hex().encode()) == []


PLANTED = """
import pytest
from support.canary import MASTER

def test_leak(tmp_path, caplog):
    {leak}
"""
PLANTS = {
    "file": "(tmp_path / 'log').write_text(MASTER[5:13].hex())",
    "database": "(tmp_path / 'lot.db').write_bytes(b'..' + MASTER[9:17] + b'..')",
    "output": "print(MASTER[:8].hex().upper())",
    "traceback": "assert MASTER[20:28].hex() == ''",
    "log": "__import__('logging').getLogger().warning(MASTER[3:11].hex(':'))",
}


@pytest.mark.parametrize(
    ("where", "workers"),
    [*((where, []) for where in (*PLANTS, "nowhere")), ("file", ["-n", "1"]), ("traceback", ["-n", "1"])],
)
def test_a_planted_leak_makes_a_session_fail(tmp_path: Path, where: str, workers: list[str]) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED.format(leak=PLANTS.get(where, "pass")))
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT / 'tests'} {ROOT / 'src'}\n")
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(tmp_path / "base"),
        ".",
    ]
    ran = subprocess.run([*command, *workers], cwd=tmp_path, capture_output=True, text=True, check=False)
    shutil.rmtree(tmp_path / "base")  # or this session would find it, too
    is_said, is_well = "CANARY" in ran.stdout, ran.returncode == 0
    assert (is_said, is_well) == (where != "nowhere", where == "nowhere")


def dumped(store: UnitStore) -> bytes:
    """Every value of every table, as bytes."""
    found = []
    with store.reading() as connection:
        for table in metadata.tables.values():
            for row in connection.execute(sa.select(table)):
                found += [bytes(value) if isinstance(value, bytes) else str(value).encode() for value in row]
    return b"\n".join(found)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_part_of_the_canary_key_is_in_anything_a_lot_writes(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The commands themselves, with traces; then whatever lies in the folder, and the tables of the database."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "lot.db"
    url = str(path) if kind == "sqlite" else str(request.getfixturevalue("postgresql_url"))
    order = tmp_path / "order.csv"
    order.write_text("serial,model,owner_group\n" + "".join(f"K-{n},fob-one,north\n" for n in range(1, 7)))
    keystore = SoftwareKeystore.create(tmp_path / "keys", now=_now())
    recipe = ROOT / "examples" / "fob.toml"
    program = [sys.executable, "-c", "from keywright.cli.main import main; main()", "--debug"]
    place = ["--store", url]
    key = ["--keystore", str(tmp_path / "keys")]
    for number, words in enumerate(
        [
            ["campaign", "run", str(recipe), "--order", str(order), *place, *key, "--trace", str(tmp_path / "trace")],
            ["campaign", "run", str(recipe), "--order", str(order), *place, "--keystore", str(tmp_path / "none")],
            ["campaign", "report", *place, "--html", str(tmp_path / "r.html"), "--csv", str(tmp_path / "r.csv")],
            ["campaign", "verify", *place, *key, "--json"],
            ["keystore", "show", str(tmp_path / "keys"), "--json"],
            ["audit", "export", *place, "--out", str(tmp_path / "export")],
            ["audit", "verify", str(tmp_path / "export"), "--json"],
            ["audit", "controls", *place, *key, "--html", str(tmp_path / "c.html"), "--json"],
        ]
    ):
        ran = subprocess.run([*program, *words], cwd=tmp_path, capture_output=True, check=False)
        assert (ran.returncode == 0) == (number != 1), ran.stderr.decode()
        (tmp_path / f"said{number}").write_bytes(ran.stdout + ran.stderr)
    with UnitStore.open(url, readonly=True) as store:
        (tmp_path / "tables").write_bytes(dumped(store))
    secrets = _secrets(MADE[-1])
    assert keystore.keystore_id.encode() in (tmp_path / "tables").read_bytes(), "the lot was made with these keys"
    assert list(leaks(tmp_path, Canary(*secrets))) == []
    assert Canary(*secrets).forms_in(caplog.text.encode()) == []


def _now() -> datetime:
    return datetime.now(UTC)


def _secrets(held: tuple[Entry, ...]) -> list[bytes]:
    """What a keystore holds: masters, and the private numbers of its key pairs; factory sets are public."""
    found = []
    for entry in held:
        if entry.purpose == "master":
            found.append(entry.secret)
        elif entry.purpose in ("ca", "identity"):
            key = load_der_private_key(entry.secret, None)
            assert isinstance(key, EllipticCurvePrivateKey)
            found.append(key.private_numbers().private_value.to_bytes(32))
    assert MASTER in found
    assert len(found) == 4
    return found
