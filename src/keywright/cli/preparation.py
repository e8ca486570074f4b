"""Verbs of `keywright campaign` for the bulk lane: prepare, prepared."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli import decisions
from keywright.cli.options import Json
from keywright.cli.passphrases import PassphraseFile
from keywright.cli.text import bad, good, note, pairs, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.production import campaign
from keywright.production.means import Means
from keywright.production.preparation import Standing

app = typer.Typer(rich_markup_mode=None)

DAMAGED: Final = 1
_EVERY_S: Final = 1.0
"""Between two lines of progress where nobody sees a moving one."""

Store = Annotated[str, typer.Option("--store", metavar="URL", help="Where the lot is kept: FILE or sqlite:///FILE.")]


@app.command()
def prepare(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="What every unit gets (TOML).")],
    *,
    order: Annotated[Path, typer.Option("--order", metavar="FILE", help="The units, with what names their devices.")],
    store: Store,
    keystore: Annotated[str, typer.Option("--keystore", metavar="KEYSTORE", help="The issuer keys.")] = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    link: Annotated[str, typer.Option("--link", metavar="URI", help="The device, if not the recipe's.")] = "",
    json: Json = False,
    people: decisions.PeopleFile = None,
    by: decisions.AskedBy = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Derive keys' check values and issue certificates before the devices are there; `campaign run` then uses them.

    The order names each device as its supplier lists it, in columns kdd, uid or public_key. No device is touched. May
    be ended and run again: what was prepared stays.
    """
    means = Means(keystore=keystore, unlock=unlock_with(unlock, passphrase=passphrase), link=link)
    means.ask_for = decisions.ask_for(people, by, passphrase_file)
    with _progress() as told:
        done = campaign.prepare(recipe, order, store, means, told)
    _finish(done, as_json=json)


@app.command()
def prepared(*, store: Store, json: Json = False) -> None:
    """Show how far the preparation of a lot is, and check what was prepared against its digests."""
    _finish(campaign.prepared(store), as_json=json)


def _finish(found: Standing, *, as_json: bool) -> None:
    if as_json:
        show_json(msgspec.to_builtins(found))
    else:
        for line in pairs(_figures(found)):
            say(line)
        if found.damaged:
            say(bad("What was prepared was changed since: chunks from unit " + ", ".join(map(str, found.damaged))))
        elif found.prepared:
            say(good("Every chunk stands as it was written."))
    if found.damaged:
        raise typer.Exit(DAMAGED)


def _figures(found: Standing) -> Iterator[tuple[str, str]]:
    yield "units", f"{found.units} ordered, of {found.named} the order names the device"
    yield "prepared", f"{found.prepared}, in {found.chunks} chunks over {found.looked_at} units"


class _Progress:
    """Tells how far it is: one moving line at a terminal, else a line a second."""

    def __init__(self) -> None:
        self._begun = self._told = time.monotonic()
        self._moving = sys.stderr.isatty()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._told < (_EVERY_S / 10 if self._moving else _EVERY_S) and done < of:
            return
        self._told = now
        text = f"prepared {done} of {of} units, {now - self._begun:.1f} s"
        if self._moving:
            typer.echo(f"\r{text}", err=True, nl=False)
        else:
            note(text)

    def end(self) -> None:
        """Leave the moving line."""
        if self._moving:
            note("")


@contextmanager
def _progress() -> Iterator[_Progress]:
    progress = _Progress()
    try:
        yield progress
    finally:
        progress.end()
