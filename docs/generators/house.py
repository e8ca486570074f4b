"""The rooms of the house, from the table that the import test holds the code to."""

from __future__ import annotations

import ast
from pathlib import Path

import keywright.errors
from generators.coverage import exists
from generators.drawing import Drawing
from generators.markdown import table
from support.rooms import ROOMS, WORLDLY

_SOURCE = Path(keywright.errors.__file__).parent


def rooms() -> str:
    """Every room that stands: what it is for, what it may import, whether the real world is in it."""
    rows = []
    for room, may_import in ROOMS.items():
        if not exists(f"keywright.{room}"):
            continue
        standing = [name for name in ROOMS if name in may_import and exists(f"keywright.{name}")]
        everything = len(standing) == _before(room) and len(standing) > 7
        imports = "all above" if everything else ", ".join(f"`{name}`" for name in standing) or "nothing"
        rows.append((f"`{room}`", _purpose(room), imports, "yes" if room in WORLDLY else ""))
    return table(("room", "what it is for", "may import", "I/O"), rows)


def _before(room: str) -> int:
    names = [name for name in ROOMS if exists(f"keywright.{name}")]
    return names.index(room)


def _purpose(room: str) -> str:
    """The first sentence of the room's docstring."""
    path = _SOURCE / room / "__init__.py" if (_SOURCE / room).is_dir() else _SOURCE / f"{room}.py"
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    return text.partition(". ")[0].rstrip(".")


def planned() -> str:
    """The rooms of the plan that are empty."""
    names = [f"`{name}`" for name in ROOMS if not exists(f"keywright.{name}")]
    return f"Planned and empty: {', '.join(names)}. What they may import stands in `tests/support/rooms.py` already."


def diagram() -> str:
    """Processes, rooms in them, and files, for a lot of simulated fobs. Raises ValueError for a room that is not."""
    drawing = Drawing(1000, 640, "How a lot of simulated fobs is provisioned")
    _host(drawing)
    _tray(drawing)
    _files(drawing)
    return drawing.svg()


def _room(drawing: Drawing, at: tuple[float, float], size: tuple[float, float], name: str, *lines: str) -> None:
    if not exists(f"keywright.{name.split(' ', maxsplit=1)[0].replace('/', '.')}"):
        raise ValueError(f"there is no room {name}")
    drawing.box(at, size, (name, *lines), fill="#e3f0fb")


def _host(d: Drawing) -> None:
    d.frame((20, 20), (560, 470), "host process: keywright campaign run")
    _room(d, (40, 55), (520, 44), "cli", "words in, live picture and summary out; exit code")
    d.arrow((300, 99), (300, 123))
    d.frame((40, 125), (520, 176), "production")
    d.box((56, 160), (160, 60), ("recipe, order", "checked whole, first"), fill="#e3f0fb")
    d.box((232, 160), (150, 60), ("job, steps", "one dialogue a unit"), fill="#e3f0fb")
    d.box((398, 160), (146, 60), ("engine", "groups across units"), fill="#e3f0fb")
    d.arrow((216, 190), (232, 190))
    d.arrow((382, 190), (398, 190), both=True)
    d.text((40 + 350, 150), "Command | Commit", "m c")
    d.box((56, 236), (160, 50), ("keystore, CA", "derives, issues"), fill="#e3f0fb")
    d.box((398, 236), (146, 50), ("unit store", "one writer, FULL sync"), fill="#e3f0fb")
    d.arrow((307, 220), (307, 261), (216, 261))
    d.arrow((471, 220), (471, 236))
    d.arrow((270, 220), (270, 322))
    d.text((278, 316), "yield from")
    _room(d, (40, 322), (340, 40), "globalplatform host", "SELECT, PUT KEY, STORE DATA, SET STATUS")
    _room(d, (40, 372), (340, 40), "scp/scp03 host", "session keys, wrap, unwrap")
    _room(d, (40, 422), (340, 40), "iso7816", "61xx, 6Cxx, status words, APDU bytes")
    _room(d, (398, 322), (162, 90), "fob pool", "the one that knows", "where a fob is")
    d.arrow((544, 190), (552, 190), (552, 322))
    d.text((546, 316), "bytes", "m e")


def _tray(d: Drawing) -> None:
    d.frame((640, 20), (340, 470), "tray process: every fob of the lot")
    _room(d, (660, 60), (300, 70), "fob tray", "one element for each fob in power,", "planned power cuts")
    d.arrow((560, 367), (610, 367), (610, 95), (660, 95), both=True)
    d.text((603, 225), "socket,", "s e")
    d.text((603, 240), "APDUs", "s e")
    d.arrow((810, 130), (810, 165))
    _room(d, (660, 165), (300, 70), "element", "OPEN, security domain, registry,", "state table")
    _room(d, (660, 275), (140, 50), "scp/scp03 card", "unwrap, wrap")
    _room(d, (820, 275), (140, 50), "fob/credential", "applet")
    d.arrow((690, 235), (690, 275))
    d.arrow((930, 235), (930, 275))
    d.arrow((810, 235), (810, 370))
    _room(d, (660, 370), (300, 70), "store", "journal: one write a commit,", "counters first")
    d.arrow((810, 440), (810, 540))


def _files(d: Drawing) -> None:
    paper = "#fff8e6"
    d.box((40, 540), (240, 70), ("lot.db.keystore (+ .unlock)", "sealed masters, CA; written first"), fill=paper)
    d.box((320, 540), (260, 70), ("lot.db", "units, intents, results, certificates"), fill=paper)
    d.box((690, 540), (240, 70), ("lot.db.fobs", "the fobs' own memory"), fill=paper)
    d.arrow((56, 261), (30, 261), (30, 515), (120, 515), (120, 540))
    d.arrow((430, 286), (430, 310), (389, 310), (389, 540))


FILES = {"docs/img/house.svg": diagram}
PARTS = {"docs/architecture.md": {"rooms": rooms, "planned": planned}}
