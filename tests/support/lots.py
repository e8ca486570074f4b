"""A made-up lot, written through the real unit store: what a report is made from when nobody ran a campaign."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

from keywright.iso7816.apdu import Command, Response
from keywright.production.order import OrderRow
from keywright.production.reports.sequence import Recorder
from keywright.production.unit_store.rows import Certificate, Change, Event, Lot, UnitChange
from keywright.production.unit_store.units import UnitStore

ACTIONS = (
    ("session.factory", 0.0016),
    ("own_keys.put", 0.0042),
    ("session.own", 0.0015),
    ("own_keys", 0.0021),
    ("personalise.generate", 0.0071),
    ("personalise.write", 0.0064),
    ("personalise", 0.0058),
    ("lock_down.initialized", 0.0011),
    ("lock_down.secured", 0.0011),
    ("lock_down", 0.0025),
)
"""What happens to a unit once it is identified, and seconds each takes: actions have a dot in their name."""
FACTS = {"own_keys.put": {"kvn": 0x30, "master": "issuer", "scheme": "sp800-108"}}
"""Facts of intents."""
RECIPE = (Path(__file__).parents[2] / "examples" / "fob.toml").read_text()
BEGIN = 1_795_453_200.0
"""2026-11-23 17:00:00 UTC."""


def lot(**fields: object) -> Lot:
    """The campaign row of a lot; `fields` replace what is made up."""
    made_up: dict[str, object] = {
        "lot": "fob",
        "recipe": RECIPE,
        "recipe_digest": hashlib.sha256(RECIPE.encode()).hexdigest(),
        "order_file": "fob.csv",
        "order_digest": hashlib.sha256(b"order").hexdigest(),
        "keystore_id": "3f0c51b2",
        "test": True,
        "link": "sim:fob",
        "created_at": BEGIN,
        "state": "open",
    }
    return Lot(**made_up | fields)  # type: ignore[arg-type]  # a test's fields are checked when they are written


def order(units: int) -> Iterator[OrderRow]:
    """Rows of an order, as read from a file."""
    groups, colours = ("north", "south", "fleet"), ("black", "white", "red", "blue")
    for n in range(1, units + 1):
        extra = {"colour": colours[n % 4]}
        yield OrderRow(n, f"KW-F1-{n:06d}", "fob-one", groups[n % 3], extra)


def sealed(n: int, at: float) -> Iterator[Change]:
    """A unit that went through; 41 ms or so, a little longer for some."""
    begin = at
    yield Event(unit=n, step="identify", phase="done", at=at + 0.0018)
    at += 0.0018
    slow = 1 + (n * 37 % 23) / 30 + (2.5 if n % 29 == 7 else 0)
    for step, seconds in ACTIONS:
        if "." in step:
            yield Event(unit=n, step=step, phase="intent", at=at, facts=FACTS.get(step, {}))
        at += seconds * slow
        yield Event(unit=n, step=step, phase="done", at=at)
        if step == "personalise.generate":
            yield Certificate(serial_number=f"{n:032x}", unit=n, spki_sha256=digest("spki", n), der=b"\x30\x00", at=at)
    yield UnitChange(n, {"state": "sealed", "step": "", "started_at": begin, "finished_at": at} | device(n))


def recovered(n: int, at: float) -> Iterator[Change]:
    """A unit whose power was cut in the middle of PUT KEY."""
    for change in sealed(n, at):
        if isinstance(change, Event) and change.step == "own_keys.put" and change.phase == "done":
            yield Event(unit=n, step="own_keys.put", phase="recovered", at=change.at + 0.4, facts={"answers": "KVN 30"})
        else:
            yield change


def quarantined(n: int, at: float, code: str = "card-cryptogram", text: str = "") -> Iterator[Change]:
    """A unit set aside in its second step, without a try."""
    yield Event(unit=n, step="identify", phase="done", at=at + 0.002)
    yield Event(unit=n, step="session.factory", phase="mismatch", at=at + 0.003)
    yield Event(unit=n, step="authenticate", phase="failed", at=at + 0.003)
    values: dict[str, object] = {"state": "quarantined", "step": "authenticate", "failure_code": code}
    values["failure_text"] = text or "card cryptogram wrong (KVN FF, SCP03 i=70)"
    yield UnitChange(n, values | {"started_at": at, "finished_at": at + 0.003} | device(n))


def rejected(n: int, at: float) -> Iterator[Change]:
    """A unit of another product."""
    yield Event(unit=n, step="identify", phase="failed", at=at + 0.002)
    values: dict[str, object] = {"state": "rejected", "step": "identify", "failure_code": "wrong-product"}
    values["failure_text"] = "ic_type is 6354, expected 5168"
    yield UnitChange(n, values | {"started_at": at, "finished_at": at + 0.002})


def begun(n: int, at: float) -> Iterator[Change]:
    """A unit that a killed process left in the middle of a step."""
    yield Event(unit=n, step="identify", phase="done", at=at + 0.002)
    yield Event(unit=n, step="session.factory", phase="intent", at=at + 0.002)
    yield UnitChange(n, {"state": "running", "step": "authenticate", "started_at": at})


def device(n: int) -> dict[str, object]:
    """What a unit told about itself."""
    return {"device_uid": digest("uid", n)[:10], "kdd": digest("kdd", n)[:10], "evidence": {"kvn": 0x30}}


def digest(what: str, n: int) -> bytes:
    """32 bytes that look random and never change."""
    return hashlib.sha256(f"{what} {n}".encode()).digest()


def made_up(
    path: Path, rows: Iterable[OrderRow], changes: Iterable[Change] = (), campaign: Lot | None = None
) -> UnitStore:
    """An open store at `path` with that order and those changes in it."""
    store = UnitStore.open(str(path), create=True)
    store.import_order(campaign or lot(), rows)
    batch = list(changes)
    for at in range(0, len(batch), 5000):
        store.commit(batch[at : at + 5000])
    return store


def demo_lot(path: Path, units: int = 24) -> UnitStore:
    """A lot in which one unit was recovered (5), one has other keys (11) and the rest went well."""
    kinds = {5: recovered, 11: quarantined}
    changes = (change for n in range(1, units + 1) for change in kinds.get(n, sealed)(n, BEGIN + n * 0.0031))
    return made_up(path, order(units), changes, lot(state="complete"))


def exchange(recorder: Recorder) -> None:
    """A short made-up exchange of unit 1: in the clear, then protected, PUT KEY among it, and one refusal."""
    fci = bytes.fromhex("6F108408A000000151000000A5049F6501FF")
    cplc = bytes.fromhex("9F7F2A4790516847910078") + bytes(34)
    opening = bytes.fromhex("000000000000000A1B00FF0370AABBCCDDEEFF00112233445566778899000001")
    keys = bytes.fromhex("30") + bytes.fromhex("8811101112131415161718191A1B1C1D1E1F03504A77") * 3
    script: list[tuple[str, Command, Command | None, Response, Response | None]] = [
        ("identify", Command(0x00, 0xA4, 0x04, 0, b"", 0), None, Response(fci), None),
        ("identify", Command(0x80, 0xCA, 0x9F, 0x7F, b"", 0), None, Response(cplc), None),
        ("identify", Command(0x80, 0xCA, 0x00, 0x42, b"", 0), None, Response(b"", 0x6A88), None),
        ("authenticate", Command(0x80, 0x50, 0xFF, 0, digest("host", 1)[:8], 0), None, Response(opening), None),
        ("authenticate", Command(0x84, 0x82, 0x33, 0, digest("mac", 1)[:16]), None, Response(b""), None),
        (
            "own_keys",
            Command(0x84, 0xD8, 0, 0x81, digest("wire", 1) * 2, 0),
            Command(0x80, 0xD8, 0, 0x81, keys, 0),
            Response(digest("answer", 1)[:24]),
            Response(bytes.fromhex("30504A77504A77504A77")),
        ),
        (
            "personalise",
            Command(0x84, 0xE2, 0x80, 0, digest("wire", 2), None),
            Command(0x80, 0xE2, 0x80, 0, bytes.fromhex("DF01056E6F727468")),
            Response(digest("answer", 2)[:8]),
            Response(b""),
        ),
        ("lock_down", Command(0x80, 0x50, 0xFF, 0, digest("host", 2)[:8], 0), None, Response(b"", 0x6A88), None),
    ]
    recorder.started(1, "KW-F1-000001")
    for step, sent, plain, got, opened in script:
        recorder.moment("after send", 1, step)
        recorder.moment("after answer", 1, step)
        recorder.exchanged(1, sent, plain or sent, got, opened or got)


def ticking(at: float = BEGIN, every: float = 0.0004) -> Callable[[], float]:
    """A clock that goes on by a little at every look."""
    ticks = count(1)
    return lambda: at + every * next(ticks)
