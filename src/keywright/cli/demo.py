"""`keywright demo`: the example lot with two fobs that go wrong, provisioned before your eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keywright.cli.campaign import watching
from keywright.cli.campaign_text import summary_lines
from keywright.cli.text import bad, good, heading, note, say
from keywright.production import campaign, demo
from keywright.production.campaign import Means
from keywright.production.report_csv import write_csv
from keywright.production.report_html import write_html
from keywright.production.units import UnitStore

FAILED = 1


def command(
    place: Annotated[
        Path, typer.Option("--place", metavar="DIR", help="Where the demonstration puts its files.")
    ] = Path("demo"),
) -> None:
    """Provision 26 simulated key fobs over SCP03; one has wrong keys, one loses its power in PUT KEY.

    Ends with code 0 only if the first is set aside without a try and the second is recovered.
    """
    prepared = demo.prepare(place)
    store = str(prepared.store)
    note(f"{prepared.good} good fobs, one with wrong factory keys, one whose power is cut in the middle of PUT KEY.")
    with watching(store, "") as watcher:
        done = campaign.run(prepared.recipe, prepared.order, store, Means(watcher=watcher, plan=prepared.plan))
    verified = campaign.verify(store, Means())
    with UnitStore.open(store, readonly=True) as units:
        write_html(units, prepared.report)
        write_csv(units, prepared.csv)
    for line in summary_lines(done.summary):
        say(line)
    wrong = demo.problems(prepared, done, verified)
    say()
    if wrong:
        for problem in wrong:
            say(bad(f"Not as planned: {problem}"))
        raise typer.Exit(FAILED)
    say(good("As planned: ") + f"{verified.agree} fobs opened again with their own keys and read back;")
    say("  the one with wrong keys set aside without a single try, the one that lost its power recovered.")
    say(heading("Where to look next"))
    say(f"  {prepared.report}   the report: yield, times, one fob's whole exchange")
    say(f"  keywright campaign verify --store {prepared.store}   opens every fob again")
    say(f"  keywright replay {prepared.store}.trace.jsonl   the exchange, decoded")
    say("  examples/fob.toml, examples/fob.csv   what was ordered; copy them and begin your own")
