"""Measure keywright against peers and against bare primitives: `make bench`.

    benchmarks/run.py               everything; 5,000 of the 100,000 ordered units are provisioned
    benchmarks/run.py --full        all 100,000 are, which takes minutes
    benchmarks/run.py --only NAME   one subject (channel, agreement, derivation, codecs, reader, pcsc,
                                    preparation, hsm, audit, store, start, mesh, aliro, documents,
                                    ranging, lot), and writes nothing

Writes docs/benchmarks.md and docs/img/bench.svg. Ends with 0 whether or not targets are met: the page says which are.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    agreement,
    aliro,
    aliro_documents,
    audit,
    channel,
    codecs,
    derivation,
    hsm,
    lot,
    mesh,
    pcsc,
    preparation,
    ranging,
    reader,
    start,
    store,
    uwb,
)
from bench.figures import Figure, table
from bench.page import machine, page
from bench.plot import draw

DOCS = Path(__file__).resolve().parents[1] / "docs"
WORKED = 5_000

SUBJECTS: dict[str, Callable[[], list[Figure]]] = {
    "channel": channel.figures,
    "agreement": agreement.figures,
    "derivation": derivation.figures,
    "codecs": codecs.figures,
    "reader": reader.figures,
    "pcsc": pcsc.figures,
    "preparation": preparation.figures,
    "hsm": hsm.figures,
    "audit": audit.figures,
    "store": store.figures,
    "start": start.figures,
    "mesh": mesh.figures,
    "uwb": uwb.figures,
    "aliro": aliro.figures,
    "documents": aliro_documents.figures,
    "ranging": ranging.figures,
}


def main() -> None:
    """Measure, print, write."""
    asked = _arguments()
    figures: list[Figure] = []
    notes: list[str] = []
    for name, measure in SUBJECTS.items():
        if asked.only in (None, name):
            _say(f"{name} …")
            figures += measure()
    if asked.only in (None, "lot"):
        _say("lot …")
        found = lot.figures(worked=0 if asked.full else WORKED)
        figures += found.figures
        notes += found.notes
    print(table(figures))
    print("\n".join([*notes, machine()]))
    if asked.only is None:
        (DOCS / "benchmarks.md").write_text(page(figures, notes), "utf-8")
        draw(figures, DOCS / "img" / "bench.svg")
        _say("wrote docs/benchmarks.md and docs/img/bench.svg")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure keywright; see the module's text.")
    parser.add_argument("--full", action="store_true", help="provision all 100,000 units of the large order")
    parser.add_argument("--only", choices=[*SUBJECTS, "lot"], help="one subject; writes nothing")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # What is started from here keeps its compiled modules, as it does for a user.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main()
