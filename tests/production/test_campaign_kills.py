"""A campaign killed at any moment and continued loses nothing and does nothing twice."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.fob.credential.messages import CREDENTIAL_AID, Dgi
from keywright.fob.fobs import Model
from keywright.production.keystore import SoftwareKeystore
from support.kills import MASKED, PHASES, Lot, Moment, settled, template

RECIPE = (Path(__file__).parents[2] / "examples/fob.toml").read_bytes()
SERIALS = ("K-000001", "K-000002")
APPLET = f"applet/{CREDENTIAL_AID.hex().upper()}"
OWN_RANDOM = (f"{APPLET}/key", f"{APPLET}/point", f"{APPLET}/{Dgi.CERTIFICATE:04X}")
"""What a fob draws itself, or what is made from that: different in every run, compared with the store instead."""

SLICES = 4
"""The moments are dealt out to so many tests, so that they run on all processors."""


def order(units: int) -> bytes:
    rows = "".join(f"{serial},fob-one,north\n" for serial in SERIALS[:units])
    return f"serial,model,owner_group\n{rows}".encode()


class Ground:
    """A template lot, and what an undisturbed run makes of it."""

    def __init__(self, place: Path, units: int, model: Model) -> None:
        self.place = place
        self.units = units
        self.models: dict[str, Model] = dict.fromkeys(SERIALS, model)
        self.keystore: SoftwareKeystore = template(place / "template", RECIPE, order(units))
        lot = self.lot("undisturbed")
        self.moments, ended = lot.run()
        assert ended
        self.memories = {serial: lot.memory(serial) for serial in SERIALS[:units]}
        self.check(lot, killed=False)

    def lot(self, name: str) -> Lot:
        return Lot(self.place / "template", self.place / name, self.keystore, self.models)

    def check(self, lot: Lot, *, killed: bool) -> None:
        """Nothing lost, nothing twice, every fob as an undisturbed run leaves it, no try wasted."""
        with lot.units() as store:
            units = list(store.units())
            certificates = {certificate.unit: certificate for certificate in store.certificates()}
            assert [unit.state for unit in units] == ["sealed"] * self.units
            assert not list(store.open_intents())
            assert sorted(certificates) == [unit.n for unit in units]
            for unit in units:
                memory = lot.memory(unit.serial)
                expected = self.memories[unit.serial]
                assert memory.keys() == expected.keys()
                same = [name for name in expected if name not in OWN_RANDOM and not name.startswith(MASKED)]
                assert {name: memory[name] for name in same} == {name: expected[name] for name in same}
                key = EcPrivateKey.from_pkcs8(memory[f"{APPLET}/key"], "P-256")
                certificate = certificates[unit.n]
                assert memory[f"{APPLET}/{Dgi.CERTIFICATE:04X}"] == certificate.der
                assert hashlib.sha256(key.public.spki()).digest() == certificate.spki_sha256
                generated = [
                    e
                    for e in store.events(unit.n)
                    if e.step == "personalise.generate" and e.phase in ("done", "recovered")
                ]
                assert len(generated) == 1
                assert generated[0].facts["point"] == memory[f"{APPLET}/point"].hex()
                assert not any(event.phase == "mismatch" for event in store.events(unit.n))
                tries = int.from_bytes(memory["attempts"]) - int.from_bytes(expected["attempts"])
                assert 0 <= tries <= (8 if killed else 0), "sessions were opened again and again"
                failures = [value[-2:] for name, value in memory.items() if name.startswith("counter/")]
                assert failures == [b"\0\0"] * len(failures), "an EXTERNAL AUTHENTICATE was wrong"


def sweep(ground: Ground, moments: list[tuple[int, Moment]]) -> list[Moment]:
    """Kill at each of these moments, continue, check; returns where the kills fell."""
    fallen = []
    for at, _ in moments:
        lot = ground.lot(f"cut-{at}")
        passed, ended = lot.run(kill_at=at)
        if not ended:
            fallen.append(passed[-1])
        assert lot.run()[1]
        ground.check(lot, killed=True)
        shutil.rmtree(lot.place)
    return fallen


@pytest.mark.parametrize("stays", [False, True], ids=["factory set vanishes", "factory set stays"])
@pytest.mark.parametrize("part", range(SLICES))
def test_a_kill_at_any_moment_of_one_unit_loses_nothing(tmp_path: Path, part: int, *, stays: bool) -> None:
    ground = Ground(tmp_path, 1, Model(initial_keys_stay=stays, try_limit=3))
    moments = list(enumerate(ground.moments, 1))[part::SLICES]
    fallen = sweep(ground, moments)
    assert len(fallen) == len(moments), "a kill did not fall"


def test_every_phase_of_every_step_is_there_to_be_cut(tmp_path: Path) -> None:
    ground = Ground(tmp_path, 1, Model(initial_keys_stay=True))
    found = {(moment.step, moment.phase) for moment in ground.moments}
    steps = ("authenticate", "own_keys", "personalise", "lock_down")
    assert {step for step, _ in found} >= {"identify", *steps}
    for step in steps:
        for phase in PHASES:
            assert (step, phase) in found


def test_settled_masks_only_what_counts() -> None:
    assert settled({"life": b"1", "counter/FF": b"2", "attempts": b"3"}) == {"life": b"1"}
