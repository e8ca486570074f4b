"""A whole lot with its keys in the token; and the same lot while the HSM client is killed again and again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from keywright.production import campaign
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.means import Means
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Phase, Unwatched
from keywright.store import Journal
from support.endings import check_end
from support.softhsm import SoftHsm

RECIPE = Path(__file__).parents[3] / "examples" / "fob-hsm.toml"
UNITS = 6


class Killer(Unwatched):
    """Kills the HSM client at every n-th moment, as often as was said; and counts the moments."""

    def __init__(self, keystore: Pkcs11Keystore, every: int, kills: int) -> None:
        self._keystore = keystore
        self._every = every
        self._left = kills
        self.moments = 0
        self.killed: list[tuple[str, str]] = []

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Perhaps kill."""
        del unit
        self.moments += 1
        client = self._keystore.client.client_pid
        if self._left and client and self.moments % self._every == 0:
            self._left -= 1
            self.killed.append((phase, step))
            os.kill(client, signal.SIGKILL)


def order(place: Path) -> Path:
    rows = "".join(f"H-{n:06d},fob-one,north\n" for n in range(1, UNITS + 1))
    place.write_text(f"serial,model,owner_group\n{rows}")
    return place


def run(folder: Path, keystore: Pkcs11Keystore, watcher: Unwatched) -> tuple[Path, int]:
    """Where the lot is, and how many units were sealed."""
    folder.mkdir()
    store = folder / "lot.db"
    means = Means(opened_keystore=keystore, watcher=watcher)
    return store, campaign.run(RECIPE, order(folder / "order.csv"), str(store), means).summary.sealed


def memories(store: Path) -> dict[str, dict[str, bytes]]:
    """What every fob's own process has left in its memory, by serial."""
    journal = Journal(store.with_name("lot.db.fobs"))
    try:
        found = {}
        for serial in (f"H-{n:06d}" for n in range(1, UNITS + 1)):
            memory = journal.memory(serial)
            found[serial] = {name: memory.load(name) or b"" for name in memory.names()}
        return found
    finally:
        journal.close()


def check(killed: Path, undisturbed: Path, most: int) -> None:
    """Every unit sealed once, with the memory that an undisturbed run leaves."""
    expected, found = memories(undisturbed), memories(killed)
    with UnitStore.open(str(killed), readonly=True) as store:
        certificates = {certificate.unit: certificate for certificate in store.certificates()}
        assert not list(store.open_intents())
        for unit in store.units():
            assert unit.state == "sealed"
            events, mine, theirs = list(store.events(unit.n)), found[unit.serial], expected[unit.serial]
            check_end(mine, theirs, events, certificates[unit.n], [], most=most)
    assert len({certificate.serial_number for certificate in certificates.values()}) == UNITS


def test_a_lot_whose_keys_stay_in_the_token_survives_kills_of_its_client(
    keystore: Pkcs11Keystore, token: SoftHsm, tmp_path: Path
) -> None:
    undisturbed, done = run(tmp_path / "undisturbed", keystore, Unwatched())
    assert done == UNITS
    written = b"".join(path.read_bytes() for path in undisturbed.parent.iterdir() if path.is_file())
    assert token.pin.encode() not in written
    with UnitStore.open(str(undisturbed), readonly=True) as units:
        paths = [
            event.facts["path"] for unit in units.units() for event in units.events(unit.n) if "path" in event.facts
        ]
    assert len(paths) >= UNITS
    assert set(paths) == {"inside-masks"}

    # As many kills as a unit may be begun again in one run: the lot comes to its end without help.
    killer = Killer(keystore, every=131, kills=2)
    killed, done = run(tmp_path / "killed", keystore, killer)
    assert (done, len(killer.killed), keystore.client.restarts) == (UNITS, 2, 2)
    check(killed, undisturbed, most=3 * 2)

    # More than that: what a run leaves open the next one ends.
    killer = Killer(keystore, every=41, kills=4)
    killed, done = run(tmp_path / "killed often", keystore, killer)
    for _ in range(4):
        if done == UNITS:
            break
        done = campaign.resume(str(killed), Means(opened_keystore=keystore, watcher=killer)).summary.sealed
    assert (done, len(killer.killed)) == (UNITS, 4)
    check(killed, undisturbed, most=3 * 4)
