"""`keywright campaign`: take a lot of units through a recipe, and look at what came of it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli import decisions, handover, preparation
from keywright.cli.campaign_text import checked_lines, summary_lines, verified_lines
from keywright.cli.engines import Engine, Workers, carried_by
from keywright.cli.links import trace_sink
from keywright.cli.live import Watchers, shown
from keywright.cli.lot_eye import LotEye
from keywright.cli.lot_trace import LotTrace
from keywright.cli.options import Json, Yes
from keywright.cli.passphrases import PassphraseFile
from keywright.cli.person import ask, is_attended
from keywright.cli.text import bad, note, printable, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import KeywrightError, UsageError
from keywright.fob.uri import is_simulated
from keywright.iso7816.apdu import Command, Response
from keywright.production import campaign
from keywright.production.campaign import Run
from keywright.production.cluster.address import LOCAL
from keywright.production.keystores.keystore import Unlock
from keywright.production.means import Means
from keywright.production.recipe import read_recipe
from keywright.production.reports.report import Summary, summarise
from keywright.production.reports.report_csv import write_csv
from keywright.production.reports.report_html import write_html
from keywright.production.reports.sequence import Recorder, SequenceFile, trace_path
from keywright.production.stopping import ToldToStop, stoppable
from keywright.production.unit_store.database import store_path
from keywright.production.unit_store.units import UnitStore
from keywright.production.watch import Phase, Unwatched, Watcher

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

app.registered_commands += decisions.app.registered_commands
app.registered_commands += handover.app.registered_commands
app.registered_commands += preparation.app.registered_commands

DISAGREE: Final = 1
_KILLED: Final = 128
"""And the number of the signal: what shells show as exit code of a command that a signal ended."""
_RESUME: Final = "go on with: keywright campaign resume"


class InterruptedLotError(KeywrightError):
    """The run of a lot was stopped (Ctrl-C: exit code 130, SIGTERM: 143). Units in work are probed when it goes on."""

    code = "interrupted"
    exit_code = 130

    def __init__(self, store: str, engine: str, how: KeyboardInterrupt) -> None:
        told = f" by {signal.Signals(how.number).name}" if isinstance(how, ToldToStop) else ""
        more = f" --engine {engine}" if engine not in ("", LOCAL) else ""
        super().__init__(f"interrupted{told}; nothing is lost", hint=f"{_RESUME} --store {store}{more}")
        if isinstance(how, ToldToStop):
            self.exit_code = _KILLED + how.number


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="What every unit gets (TOML).")]
OrderFile = Annotated[Path, typer.Option("--order", metavar="FILE", help="The units (CSV, or JSON lines).")]
Store = Annotated[str, typer.Option("--store", metavar="URL", help="Where the lot is kept: FILE or sqlite:///FILE.")]
Keystore = Annotated[
    str, typer.Option("--keystore", metavar="KEYSTORE", help="The issuer keys: PATH or software:PATH.")
]
LinkOption = Annotated[str, typer.Option("--link", metavar="URI", help="The device, if not the recipe's.")]
Trace = Annotated[
    Path | None, typer.Option("--trace", metavar="FILE", help="Append every exchange to FILE (mode 0600, keys masked).")
]
Witness = Annotated[
    str,
    typer.Option(
        "--witness",
        metavar="FILE|URL",
        help="Where checkpoints of the log go, if not beside the store, or who cosigns.",
    ),
]
WitnessKey = Annotated[
    Path | None, typer.Option("--witness-key", metavar="FILE", help="The key of the witness at that URL.")
]
Check = Annotated[bool, typer.Option("--check", help="Identify every unit that can be reached, and change nothing.")]


@app.command()
def run(
    recipe: RecipeFile,
    *,
    order: OrderFile,
    store: Store = "",
    keystore: Keystore = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    link: LinkOption = "",
    engine: Engine = "local",
    workers: Workers = 0,
    check: Check = False,
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
    witness: Witness = "",
    witness_key: WitnessKey = None,
    people: decisions.PeopleFile = None,
    by: decisions.AskedBy = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take every unit of an order through a recipe; the same command again goes on with the lot.

    Exit codes: 0 every unit sealed, 7 complete but some units set aside, 1 not complete.
    """
    if check:
        found = campaign.check(recipe, order, Means(link=link), store)
        ok = sum(not one.problem for one in found)
        _show({"checked": len(found), "ok": ok, "units": found}, checked_lines(found), as_json=json)
        raise typer.Exit(0 if ok == len(found) else 1)
    if not store:
        raise UsageError("--store is missing: a lot needs a place", hint="for example --store lot.db")
    means = _means(keystore, unlock_with(unlock, passphrase=passphrase), link, yes=yes)
    means.ask_for = decisions.ask_for(people, by, passphrase_file)
    carried = carried_by(means, engine, workers, store, trace)
    with _unseen(store, engine) if carried else watching(store, link or read_recipe(recipe).link, trace) as watcher:
        means.watcher = watcher
        _witness(means, witness, witness_key)
        means.traced = trace is not None
        done = campaign.run(recipe, order, store, means)
    finish(done, store, as_json=json)


def _witness(means: Means, named: str, key: Path | None) -> None:
    """A file, or a second host: then the file is the one beside the store."""
    if named.startswith(("http://", "https://")):
        means.witness_url, means.witness_key = named, key
    elif named:
        means.witness = Path(named)


@app.command()
def resume(
    *,
    store: Store,
    keystore: Keystore = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    link: LinkOption = "",
    engine: Engine = "local",
    workers: Workers = 0,
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
    witness: Witness = "",
    witness_key: WitnessKey = None,
) -> None:
    """Go on with a lot by the recipe and order it was begun with. Exit codes as `run`."""
    means = _means(keystore, unlock_with(unlock, passphrase=passphrase), link, yes=yes)
    carried = carried_by(means, engine, workers, store, trace)
    with _unseen(store, engine) if carried else watching(store, link or lot_link(store), trace) as watcher:
        means.watcher = watcher
        _witness(means, witness, witness_key)
        means.traced = trace is not None
        done = campaign.resume(store, means)
    finish(done, store, as_json=json)


@app.command()
def status(*, store: Store, json: Json = False) -> None:
    """Show how a lot stands; may be asked while it runs."""
    summary = campaign.status(store)
    _show(summary, summary_lines(summary), as_json=json)


@app.command()
def report(
    *,
    store: Store,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write every unit as a row.")] = None,
    json: Json = False,
) -> None:
    """Show what came of a lot: yield, time per step, exceptions. Can write it as a page and every unit to CSV."""
    if html is not None and csv is not None and _same_file(html, csv):
        raise UsageError(f"--html and --csv both name {html}", hint="give each its own file")
    with UnitStore.open(store, readonly=True) as units:
        summary = summarise(units)
        if html is not None:
            write_html(units, html, summary=summary)
            note(f"wrote {html}")
        if csv is not None:
            rows = write_csv(units, csv)
            note(f"wrote {csv}, {rows} units")
    _show(summary, summary_lines(summary), as_json=json)


@app.command()
def verify(
    *,
    store: Store,
    keystore: Keystore = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    link: LinkOption = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Open a fresh session to every sealed unit with its own keys and read it back. Exit code 1 if any disagrees."""
    means = _means(keystore, unlock_with(unlock, passphrase=passphrase), link, yes=True)
    with ExitStack() as stack:
        if trace is not None:
            means.watcher = LotTrace(stack.enter_context(trace_sink(trace)), link or store_path(store).name)
        verified = campaign.verify(store, means)
    _show(verified, verified_lines(verified), as_json=json)
    if verified.disagree:
        raise typer.Exit(DISAGREE)


@contextmanager
def watching(store: str, link: str, trace: Path | None = None) -> Iterator[Watcher]:
    """The live picture, the exchange of the first unit beside the store, and the trace if one is wanted."""
    path = store_path(store)
    with ExitStack() as stack:
        watchers: list[Watcher] = []
        if trace is not None:
            watchers.append(LotTrace(stack.enter_context(trace_sink(trace)), link or path.name))
        watchers.append(_FirstUnit(path, stack))
        eye = stack.enter_context(closing(LotEye(store)))
        watchers += stack.enter_context(shown(eye.lot, look=eye.now, moving=not link or is_simulated(link)))
        with _unseen(store):
            yield Watchers(watchers)


@contextmanager
def _unseen(store: str, engine: str = LOCAL) -> Iterator[Watcher]:
    """Nothing to see, but a person may interrupt it, and so may SIGTERM and SIGHUP."""
    try:
        with stoppable():
            yield Unwatched()
    except KeyboardInterrupt as error:
        raise InterruptedLotError(store, engine, error) from error


class _FirstUnit(Unwatched):
    """Records the first unit's exchange beside the store, for the report to draw; the file is made when it begins."""

    def __init__(self, store: Path, stack: ExitStack) -> None:
        self._store = store
        self._stack = stack
        self._recorder: Recorder | None = None

    def started(self, unit: int, serial: str) -> None:
        """Begin to record if it is the first unit."""
        if unit == 1 and self._recorder is None:
            file = self._stack.enter_context(closing(SequenceFile(trace_path(self._store))))
            self._recorder = Recorder(file, unit, link=f"{self._store.name}#{serial}")
        if self._recorder is not None:
            self._recorder.started(unit, serial)

    def moment(self, phase: Phase, unit: int, step: str) -> None:
        """Pass it on."""
        if self._recorder is not None:
            self._recorder.moment(phase, unit, step)

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        """Pass it on."""
        if self._recorder is not None:
            self._recorder.exchanged(unit, sent, plain, got, opened)


def finish(done: Run, store: str, *, as_json: bool) -> None:
    """Show what a run came to, and end with its exit code."""
    summary, outcome = done.summary, done.outcome
    if as_json:
        show_json({**msgspec.to_builtins(summary), "run": msgspec.to_builtins(outcome), "exit_code": done.exit_code})
    else:
        for line in summary_lines(summary):
            say(line)
        if outcome.stopped:
            say(bad(f"{'Waiting' if summary.state == 'waiting' else 'Stopped'}: {outcome.stopped}"))
        say(f"Next: {_next(summary, store)}")
    raise typer.Exit(done.exit_code)


def _same_file(one: Path, other: Path) -> bool:
    return one.parent.resolve() / one.name == other.parent.resolve() / other.name


def _next(summary: Summary, store: str) -> str:
    if summary.state == "waiting":
        return f"keywright campaign release --store {store} --why TEXT"
    if summary.open:
        return f"keywright campaign resume --store {store}"
    return f"keywright campaign report --store {store} --html report.html"


def _show(document: object, lines: Iterator[str], *, as_json: bool) -> None:
    if as_json:
        show_json(msgspec.to_builtins(document))
        return
    for line in lines:
        say(line)


def _means(keystore: str, unlock: Unlock | None, link: str, *, yes: bool) -> Means:
    return Means(keystore=keystore, unlock=unlock, link=link, confirm=_consent(yes=yes), swap=_swap)


def _swap(serial: str, wrong: str) -> bool:
    """Ask the person at the terminal to change the device; without one the first device is the only one."""
    if not is_attended():
        return False
    if wrong:
        note(printable(wrong))
    answer = ask(f"Put the device for {printable(serial)} on, then Enter (q to stop):")
    return answer != "" and answer.strip().lower() != "q"  # empty: the terminal is gone


def lot_link(store: str) -> str:
    """The link that a lot was begun on, empty when there is none yet."""
    with UnitStore.open(store, readonly=True) as units:
        lot = units.lot()
    return "" if lot is None else lot.link


def _consent(*, yes: bool) -> Callable[[str, str], bool]:
    """Whether real devices may be changed: `--yes`, or the lot's name typed at a terminal."""

    def consent(lot: str, link: str) -> bool:
        if yes or not is_attended():
            return yes
        note(f"This will replace keys on real devices ({link}). It cannot be undone without the keystore.")
        return ask(f"Type the lot's name ({lot}) to go on:").strip() == lot

    return consent
