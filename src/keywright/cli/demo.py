"""`keywright demo`: the main job on simulated key fobs, with two things going wrong on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli import demo_door
from keywright.cli.campaign import watching
from keywright.cli.campaign_text import summary_lines, verified_lines
from keywright.cli.options import Json
from keywright.cli.text import bad, good, heading, note, say, show_json, wrapped
from keywright.errors import UsageError
from keywright.fob.fobs import Model
from keywright.fob.open import open_simulated
from keywright.fob.pool import Cut, Plan
from keywright.fob.uri import SIMULATED, Uri
from keywright.globalplatform.messages import Ins
from keywright.production import campaign
from keywright.production.campaign import Run, Verified
from keywright.production.means import Means
from keywright.production.order import read_order
from keywright.production.reports.report_html import write_html
from keywright.production.unit_store.units import UnitStore

FOLDER: Final = Path("demo-lot")
RECIPE, ORDER = "fob.toml", "fob.csv"

_LOT: Final = "lot.db"
_REPORT: Final = "report.html"
_OTHER_KEY: Final = bytes(range(0x50, 0x60)).hex()
"""Factory key of the fob that is not as the recipe says; protects nothing."""


class Faults(msgspec.Struct, frozen=True):
    """Which fobs something happens to. The power goes after the new keys are written, before the fob can say so."""

    wrong_keys: str
    power_cut: str

    @property
    def plan(self) -> Plan:
        """What the tray of simulated fobs is to be like."""
        return Plan(
            models={self.wrong_keys: Model(factory_key=_OTHER_KEY)},
            cuts={self.power_cut: Cut(ins=Ins.PUT_KEY, commit=0)},
        )


class Proof(msgspec.Struct, frozen=True):
    """One thing that had to happen, and whether it did."""

    what: str
    holds: bool


def command(
    *,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where to keep the lot.")] = FOLDER,
    json: Json = False,
) -> None:
    """Provision a lot of simulated key fobs, end to end, and show it.

    To the good fobs of the example come two that fail: one has other factory keys than expected, one loses its power
    inside PUT KEY. Then two fobs become keys of a door (Aliro): it opens by NFC and by Bluetooth with UWB, and stays
    shut for a relay and for a fob that was revoked. Ends with 0 only if exactly that happened.
    """
    examples = _examples()
    recipe, store = examples / RECIPE, _fresh(folder)
    order, faults = _order(examples / ORDER, folder / ORDER)
    serials = [row.serial for row in read_order(order)]
    note(f"{len(serials)} simulated key fobs, two of which will fail; {recipe} says what they get, {folder}/ keeps it")
    with watching(str(store), "", None) as watcher:
        done = campaign.run(recipe, order, str(store), Means(watcher=watcher, plan=faults.plan))
    verified = campaign.verify(str(store), Means())
    with UnitStore.open(str(store), readonly=True) as units:
        write_html(units, folder / _REPORT, summary=done.summary)
    proofs = list(_proofs(done, verified, faults, store))
    if not json:
        _tell(done, verified, proofs)
        note("now fobs that open a door: a lot of two, and a lock")
    scenes = demo_door.play(examples, folder)
    if json:
        found = {"proofs": msgspec.to_builtins(proofs), "door": msgspec.to_builtins(scenes)}
        show_json({**msgspec.to_builtins(done.summary), **found})
    else:
        _tell_door(scenes, store, serials[0])
    if not (all(proof.holds for proof in proofs) and all(scene.holds for scene in scenes)):
        raise typer.Exit(1)


def _examples() -> Path:
    """The folder of the example recipe and order: below the current one, or in the checkout this program runs from."""
    for folder in (Path("examples"), Path(__file__).parents[3] / "examples"):
        if (folder / RECIPE).is_file() and (folder / ORDER).is_file():
            return folder
    raise UsageError("the example recipe and order are not here", hint="run this in a checkout of keywright")


def _order(example: Path, mine: Path) -> tuple[Path, Faults]:
    """The example's order and two units more, as any others; what happens to those two stands in no file."""
    rows = example.read_text("utf-8").splitlines()
    last = list(read_order(example))[-1]
    stem, number = last.serial[:-6], int(last.serial[-6:])
    added = [f"{stem}{number + n:06d}" for n in (1, 2)]
    like = rows[-1].removeprefix(last.serial)
    third = len(rows) // 3
    rows[third:third] = [added[0] + like]
    rows[2 * third : 2 * third] = [added[1] + like]
    try:
        mine.write_text("\n".join(rows) + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"{mine}: cannot be written: {error.strerror}", hint="give another --folder") from error
    return mine, Faults(*added)


def _fresh(folder: Path) -> Path:
    """Make the folder and clear it of an earlier demo, of nothing else. Returns the path of the store."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = (f"{_LOT}*", _REPORT, ORDER, *demo_door.FILES)
        for old in [path for pattern in made for path in folder.glob(pattern)]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be used: {error.strerror}", hint="give another --folder") from error
    return folder / _LOT


def _proofs(done: Run, verified: Verified, faults: Faults, store: Path) -> Iterator[Proof]:
    summary = done.summary
    sealed = summary.ordered - 1
    yield Proof(f"{sealed} fobs sealed, each with keys and a certificate of its own", summary.sealed == sealed)
    aside = [(one.serial, one.code) for one in summary.exceptions.units]
    tries = _tries(store, faults.wrong_keys)
    yield Proof(
        f"{faults.wrong_keys} came with other keys: set aside, {tries} tries used on it",
        aside == [(faults.wrong_keys, "card-cryptogram")] and tries == 0,
    )
    with UnitStore.open(str(store), readonly=True) as units:
        unit = units.find(faults.power_cut)
        recovered = unit is not None and unit.state == "sealed" and summary.recovered == 1
    yield Proof(f"{faults.power_cut} lost its power inside PUT KEY: probed, recovered, sealed", recovered)
    agree = verified.checked == verified.agree == sealed
    yield Proof(f"{verified.agree} fobs opened again with their own keys and read back", agree)


def _tries(store: Path, serial: str) -> int:
    """EXTERNAL AUTHENTICATE commands a fob ever got, as the fob itself counts them."""
    parameters = {"serial": serial, "memory": f"{store}.fobs"}
    with closing(open_simulated(Uri(SIMULATED, "fob", parameters))) as link:
        return link.element.attempts


def _tell(done: Run, verified: Verified, proofs: list[Proof]) -> None:
    for line in (*summary_lines(done.summary), *verified_lines(verified)):
        say(line)
    say(heading("What was to happen"))
    for proof in proofs:
        say(f"  {good('yes') if proof.holds else bad('NO ')}  {proof.what}")


def _tell_door(scenes: list[demo_door.Scene], store: Path, serial: str) -> None:
    folder = store.parent
    say(heading("At the door"))
    for scene in scenes:
        for line in wrapped(scene.what, indent=7, first=f"  {good('yes') if scene.holds else bad('NO ')}  "):
            say(line)
    fob = f"'sim:fob?serial={serial}&memory={store}.fobs'"
    lock, keys = folder / demo_door.LOCK, folder / f"{demo_door.STORE}.fobs"
    say(heading("Look next"))
    for label, what in (
        ("the report", f"{folder / _REPORT}"),
        ("one fob", f"keywright card info --link {fob}"),
        ("its exchange", f"keywright replay {store}.trace.jsonl"),
        ("the lot", f"keywright campaign status --store {store}"),
        ("the lock", f"keywright key lock show {lock}"),
        ("a fob at it", f"keywright key unlock {lock} --link 'sim:fob?serial=KW-D1-000002&memory={keys}'"),
        ("all of it", f"{folder / demo_door.PICTURE}"),
    ):
        say(f"  {label:14}{what}")
