"""Lots on Ray from their beginning to the last look at every unit, each run in a namespace of its own.

inside("support.ray_bodies:disturbed", tmp_path, 300, units=240, faults=["driver", "head"], seed=1)
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from support.ray_lots import COMMANDS, KEYWRIGHT, OWN, RayLot, say
from support.softhsm import make_token

HSM_COMPARED: Final = 60
"""Units of a lot with a token that are compared: a token takes its time."""


def disturbed(place: Path, *, units: int, faults: list[str], seed: int = 20261127, softhsm: bool = False) -> None:
    """A lot with these faults; prints them and the time to the end as JSON."""
    with lot_of(place, units, seed, softhsm=softhsm) as lot:
        lot.run(faults)
        lot.wait_until_gone(tuple(COMMANDS.values()))
        lot.check(compared=HSM_COMPARED if softhsm else 0)
        say(json.dumps({"faults": msgspec.to_builtins(lot.faults), "finished_in_s": round(lot.finished_in_s(), 1)}))


def whole_line(place: Path, *, units: int, softhsm: bool, report: str) -> None:
    """The real command with a token, PostgreSQL and Ray; one station is killed; what came of it is written down."""
    with lot_of(place, units, 20261127, softhsm=softhsm) as lot:
        summary = lot.run(["station"])
        told: dict[str, object] = {
            "units": lot.units,
            "killed": msgspec.to_builtins(lot.faults),
            "seconds": round(lot.ended - lot.began, 1),
            "seconds_from_first_sealed": round(lot.ended - lot.first, 1),
            "units_a_second": round(lot.units / (lot.ended - lot.first), 1),
            "summary": summary,
        }
        lot.check(compared=min(units, 200))
        verified = command("campaign", "verify", "--store", lot.url, "--keystore", lot.keystore, "--json")
        log = str(place / "log")
        command("audit", "export", "--store", lot.url, "--out", log)
        (witness,) = place.glob("lot*.witness")
        audit = command("audit", "verify", log, "--witness", str(witness))
        told |= {"verified": json.loads(verified), "audit": audit.strip().splitlines()}
        told |= {"keystore": "SoftHSM2" if softhsm else "software", "store": _database(lot)}
        Path(report).write_text(json.dumps(told, indent=1), encoding="utf-8")


@contextlib.contextmanager
def lot_of(place: Path, units: int, seed: int, *, softhsm: bool, engine: str = OWN, host: str = "") -> Iterator[RayLot]:
    """A lot whose issuer keys are in a token, or in a file."""
    with pytest.MonkeyPatch.context() as patch:
        keystore = make_token(place, patch, "line").uri if softhsm else f"software:{place / 'keys'}"
        command("keystore", "new", keystore)
        lot = RayLot(place, units, seed, keystore, engine=engine, host=host)
        try:
            yield lot
        finally:
            if lot.command is not None:
                lot.command.kill()
                lot.command.wait()
            lot.server.stop()


def command(*words: str) -> str:
    """Run the command line; its output."""
    done = subprocess.run([*KEYWRIGHT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _database(lot: RayLot) -> dict[str, object]:
    with lot.server.connect() as connection:
        asked = ("server_version", "fsync", "synchronous_commit")
        rows = [connection.execute(f"SHOW {name}").fetchone() for name in asked]
    return {name: row[0] for name, row in zip(asked, rows, strict=True) if row is not None}
