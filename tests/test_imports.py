"""The house stands as planned: rooms import only what the plan lists, and protocol rooms touch nothing real."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.rooms import EXCEPTIONS, FOR_TYPES, PACKAGE, ROOMS, WORLDLY, Module, imports, modules, violations

SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

# What is planted, in which file, and the word that must come back. One for each way to break the plan.
PLANTED = {
    "import a.b": ("codec/x.py", "import keywright.link.tcp", "codec may not import link"),
    "import a.b as c": ("codec/x.py", "import keywright.link.tcp as t", "codec may not import link"),
    "second name of one import": ("codec/x.py", "import struct, keywright.store", "codec may not import store"),
    "from a.b import name": ("sansio/x.py", "from keywright.crypto.aes import AesKey", "sansio may not import crypto"),
    "from keywright import room": ("crypto/x.py", "from keywright import scp", "crypto may not import scp"),
    "from keywright import room as name": ("crypto/x.py", "from keywright import scp as s", "may not import scp"),
    "from keywright import *": ("cli/x.py", "from keywright import *", "in no room of the plan"),
    "import keywright": ("cli/x.py", "import keywright", "import keywright alone"),
    "an upward import": ("globalplatform/x.py", "import keywright.element.open", "may not import element"),
    "a future room": ("fob/x.py", "import keywright.console", "fob may not import console"),
    "the package's own file": ("__init__.py", "from keywright.element import SecureElement", "may not import element"),
    "errors imports nothing": ("errors.py", "import keywright.codec", "errors may not import codec"),
    "relative import of a sibling": ("codec/x.py", "from . import tlv", "relative import"),
    "relative import of a room": ("codec/x.py", "from ..link import tcp", "relative import"),
    "in a function": ("codec/x.py", "def f():\n    import keywright.link", "codec may not import link"),
    "for types only": (
        "codec/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from keywright.link import Exchange",
        "x.py:3: codec may not import link",
    ),
    "under try": (
        "codec/x.py",
        "try:\n    import keywright.link\nexcept ImportError:\n    pass",
        "may not import link",
    ),
    "import_module": (
        "link/x.py",
        "import importlib\nimportlib.import_module('keywright.cli')",
        "import_module() only in cli and production",
    ),
    "from importlib import": ("fob/x.py", "from importlib import import_module as load", "only in cli and production"),
    "__import__": ("store/x.py", "__import__('keywright.cli')", "__import__() only in cli and production"),
    "import_module beyond the table": (
        "production/x.py",
        "from importlib import import_module\nimport_module('keywright.cli.main')",
        "x.py:2: production may not import cli",
    ),
    "exec": ("element/x.py", "exec('import socket')", "exec() only in"),
    "sys.modules": ("link/x.py", "import sys\nsys.modules['keywright.cli']", "goes around the plan"),
    "a room nobody planned": ("misc/x.py", "", "misc is not a room"),
    "a file beside the rooms": ("misc.py", "", "misc is not a room"),
    "an import from no room": ("cli/x.py", "import keywright.misc", "keywright.misc is in no room"),
    "primitives outside crypto": (
        "production/x.py",
        "from cryptography.hazmat.primitives.cmac import CMAC",
        "cryptography only in crypto",
    ),
    "open()": ("element/x.py", "open('f')", "open() in a protocol room"),
    "print()": ("scp/scp03/x.py", "print('k')", "print() in a protocol room"),
    "input()": ("iso7816/x.py", "input()", "input() in a protocol room"),
    "a clock through an argument's type": (
        "crypto/certificates.py",
        "import datetime\ndef f():\n    return datetime.datetime.now()",
        "certificates.py:3: datetime.datetime.now() reads the clock",
    ),
    "the exception holds for one file": ("crypto/x.py", "import datetime", "datetime in a protocol room"),
    "numpy's randomness": ("crypto/x.py", "import numpy as np\nnp.random.bytes(8)", "np.random in a protocol room"),
    "numpy.random": ("crypto/x.py", "from numpy import random", "numpy.random in a protocol room"),
    "asyncio at run time": ("sansio/x.py", "import asyncio", "asyncio in a protocol room"),
    "asyncio for types elsewhere": (
        "scp/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
        "asyncio in a protocol room",
    ),
    "asyncio in the else of a type block": (
        "sansio/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import asyncio",
        "asyncio in a protocol room",
    ),
}

REAL_WORLD = (
    "asyncio concurrent.futures ctypes datetime fcntl glob http.client io logging.handlers mmap multiprocessing os "
    "os.path pathlib queue random secrets select selectors shutil signal socket socketserver sqlite3 ssl subprocess "
    "sys tempfile threading time urllib.request uuid rich smartcard sqlalchemy typer"
).split()

PROTOCOL_ROOMS = sorted(set(ROOMS) - WORLDLY)

# What the plan allows and the reader must not cry about.
HARMLESS = {
    "a room the table lists": ("element/x.py", "from keywright.store.memory import Memory"),
    "a sibling": ("element/x.py", "from keywright.element import y"),
    "the version": ("cli/x.py", "from keywright import __version__"),
    "import_module in cli": ("cli/x.py", "import importlib\nimportlib.import_module('keywright.service.app')"),
    "the command line as a module": ("__main__.py", "from keywright.cli.main import main"),
    "files in store": ("store/x.py", "import os\nopen('f')"),
    "resources are not imports": ("fob/x.py", "from importlib import resources"),
    "dates as arguments": ("crypto/certificates.py", "import datetime"),
    "asyncio for types in sansio": (
        "sansio/x.py",
        "import typing\nif typing.TYPE_CHECKING:\n    import asyncio",
    ),
    "a method named open": ("scp/x.py", "def f(channel):\n    channel.open()\n    channel.print()"),
    "primitives in crypto": ("crypto/x.py", "from cryptography.hazmat.primitives.cmac import CMAC"),
    "two files of a room, one way": ("codec/x.py", "from keywright.codec import y"),
}


def planted(root: Path, files: dict[str, str]) -> list[Module]:
    package = root / PACKAGE
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return modules(package)


@pytest.fixture(scope="module")
def house() -> list[Module]:
    return modules(SOURCE)


def test_the_house_stands_as_planned(house: list[Module]) -> None:
    assert violations(house) == []


def test_the_reader_saw_the_house(house: list[Module]) -> None:
    seen = {module.name for module in house}
    assert {"keywright", "keywright.errors", "keywright.crypto.aes", "keywright.sansio.dialogue"} <= seen
    assert len(seen) == len(list(SOURCE.rglob("*.py")))


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_violation_is_found(kind: str, tmp_path: Path) -> None:
    name, text, expected = PLANTED[kind]
    found = violations(planted(tmp_path, {name: text}))
    assert any(expected in line for line in found), found
    assert all(line.startswith(f"{PACKAGE}/{name}:") for line in found)


@pytest.mark.parametrize("module", REAL_WORLD)
def test_the_real_world_is_refused_in_every_protocol_room(module: str, tmp_path: Path) -> None:
    files = {f"{room}/x.py": f"import {module}" for room in PROTOCOL_ROOMS}
    found = violations(planted(tmp_path, files))
    assert len(found) == len(PROTOCOL_ROOMS), found
    assert all(line.endswith(f"x.py:1: {module} in a protocol room") for line in found)


@pytest.mark.parametrize("module", REAL_WORLD)
def test_the_real_world_is_allowed_where_it_is_met(module: str, tmp_path: Path) -> None:
    assert violations(planted(tmp_path, {f"{room}/x.py": f"import {module}" for room in sorted(WORLDLY)})) == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_pair_of_rooms_is_judged_by_the_table(room: str, tmp_path: Path) -> None:
    others = sorted(set(ROOMS) - {room})
    found = violations(planted(tmp_path, {f"{room}/x.py": "\n".join(f"import keywright.{name}.x" for name in others)}))
    refused = {line.rpartition(" ")[2] for line in found}
    assert refused == set(others) - ROOMS[room]


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_the_plan_allows_is_not_reported(kind: str, tmp_path: Path) -> None:
    name, text = HARMLESS[kind]
    assert violations(planted(tmp_path, {name: text})) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("from keywright.codec import b", "from keywright.codec import a"),
        ("import keywright.codec.b", "def late():\n    from keywright.codec.a import name"),
        ("from keywright.codec.b import name", "import typing\nif typing.TYPE_CHECKING:\n    import keywright.codec.a"),
    ],
    ids=["at the top", "in a function", "for types"],
)
def test_a_circle_inside_a_room_is_found(first: str, second: str, tmp_path: Path) -> None:
    found = violations(planted(tmp_path, {"codec/a.py": first, "codec/b.py": second}))
    assert len(found) == 1
    assert "imports in a circle" in found[0]
    assert {"keywright.codec.a", "keywright.codec.b"} <= set(found[0].split())


def test_a_circle_through_the_room_s_own_front_door_is_found(tmp_path: Path) -> None:
    files = {
        "codec/__init__.py": "from keywright.codec.a import name",
        "codec/a.py": "from keywright.codec import name",
    }
    assert any("imports in a circle" in line for line in violations(planted(tmp_path, files)))


def test_no_room_of_the_plan_can_close_a_circle() -> None:
    for room, may_import in ROOMS.items():
        assert room not in may_import
        assert all(room not in ROOMS[other] for other in may_import)


def test_every_exception_gives_a_reason_and_is_still_needed(house: list[Module]) -> None:
    trees = {module.name: module.tree for module in house}
    assert all(len(reason.split()) > 3 for reason in (*EXCEPTIONS.values(), *FOR_TYPES.values()))
    for name, imported in EXCEPTIONS:
        if name in trees:
            assert imported in {one.target.partition(".")[0] for one in imports(ast.walk(trees[name]), set())}
