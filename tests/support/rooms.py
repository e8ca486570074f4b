"""The plan of the house as data, and a reader of source trees that says where one breaks it.

Nothing is imported to find out: every `import` statement counts, wherever it stands, whether or not it ever runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "keywright"


def _rooms() -> dict[str, frozenset[str]]:
    """What each room may import; rooms still to be built included. What is not listed is refused."""
    rooms: dict[str, frozenset[str]] = {}

    def room(name: str, *may_import: str, like: str = "") -> None:
        rooms[name] = frozenset(may_import) | rooms.get(like, frozenset())

    room("errors")
    room("codec", "errors")
    room("crypto", "errors", "codec")
    room("store", "errors")
    room("sansio", "errors")
    room("link", "errors", "sansio")
    room("iso7816", "errors", "codec", "sansio")
    room("scp", "crypto", "iso7816", like="iso7816")
    room("globalplatform", "scp", like="scp")
    room("element", "globalplatform", "store", like="globalplatform")
    room("remote", "globalplatform", like="globalplatform")
    room("esim", "element", like="element")
    for name in ("mesh", "zigbee", "uwb", "rkp"):
        room(name, "errors", "codec", "crypto", "sansio", "store")
    room("aliro", "iso7816", "uwb", like="uwb")
    room("ccc", "scp", "aliro", like="aliro")
    room("fob", *rooms)
    room("production", "fob", like="fob")
    room("service", "production", like="production")
    room("console", "service", like="service")
    room("cli", "service", like="service")
    return rooms


ROOMS = _rooms()

# Rooms where bytes, clocks, files and processes are real. All others are protocol rooms.
WORLDLY = frozenset({"store", "link", "fob", "production", "service", "cli"})

# Rooms that may load a module by a name that is only known when they run.
BY_NAME = frozenset({"cli", "production"})

# All that a protocol room may import besides rooms: nothing here does I/O, reads a clock or draws randomness.
PURE = frozenset(
    "__future__ abc base64 binascii bisect collections contextlib copy dataclasses enum functools hashlib heapq hmac "
    "inspect ipaddress itertools json logging math operator re reprlib string struct textwrap types typing "
    "typing_extensions unicodedata warnings weakref zlib cryptography msgspec numpy".split()
)

# The one room that touches primitives.
PRIMITIVES = {"cryptography": "crypto"}

# (module, what it imports) -> why it may, though its room may not.
EXCEPTIONS = {
    ("keywright.crypto.certificates", "datetime"): "validity dates are arguments; reading the clock stays refused",
    ("keywright.codec.message", "threading"): "a class is compiled once, whichever thread comes first",
    (
        "keywright.codec.cbor",
        "cbor2",
    ): "bytes to values and back, no more; here alone, so that all CBOR is read strictly",
    ("keywright.globalplatform.cap.archive", "zipfile"): "a CAP file is a ZIP archive; it comes and goes as bytes",
    ("keywright.globalplatform.cap.archive", "io"): "what lets zipfile read bytes; nothing is opened by name",
}

# (room, what it imports) -> why it may for types, under `if TYPE_CHECKING:`.
FOR_TYPES = {
    ("sansio", "asyncio"): "the async driver is handed its loop's objects and names their types",
    ("uwb", "numpy"): "the laboratory is handed random generators and names their type",
}

_WORLDLY_CALLS = frozenset({"open", "print", "input", "breakpoint"})
_BY_NAME_CALLS = frozenset({"__import__", "import_module", "exec", "eval", "run_module", "run_path", "load_module"})
_BY_NAME_MODULES = frozenset({"importlib", "runpy", "pkgutil", "imp", "zipimport", "builtins"})
_NOT_BY_NAME = frozenset({"importlib.metadata", "importlib.resources"})
_CLOCK_CALLS = frozenset({"now", "utcnow", "today", "time", "monotonic", "perf_counter"})


@dataclass(frozen=True)
class Module:
    """A source file: its dotted name, its room, the path shown in messages, and its tree."""

    name: str
    room: str
    shown: str
    tree: ast.Module


@dataclass(frozen=True)
class Import:
    """One imported name, absolute: `a.b.c`, the line it stands on, and whether only type checkers see it."""

    target: str
    line: int
    for_types: bool


def modules(package: Path) -> list[Module]:
    """Read every Python file below `package`, the folder named keywright."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        parts = [PACKAGE, *inside.with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        room = parts[1] if len(parts) > 1 else ""
        # `python -m keywright` is the command line.
        room = "cli" if room == "__main__" else room
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        found.append(Module(".".join(parts), room, f"{PACKAGE}/{inside.as_posix()}", tree))
    return found


def violations(house: list[Module]) -> list[str]:
    """Every break of the plan, as "keywright/FILE:LINE: what"."""
    names = {module.name for module in house}
    found: list[str] = []
    imported: dict[str, list[Import]] = {}
    for module in house:
        nodes = list(ast.walk(module.tree))
        imported[module.name] = list(imports(nodes, names))
        if module.room and module.room not in ROOMS:
            found.append(f"{module.shown}:1: {module.room} is not a room of the plan")
            continue
        found += [
            f"{module.shown}:{line}: {what}" for line, what in sorted(_of_module(module, nodes, imported[module.name]))
        ]
    return found + _circles(imported)


def _of_module(module: Module, nodes: list[ast.AST], imported: list[Import]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "relative import"
    for one in imported:
        inside = one.target == PACKAGE or one.target.startswith(f"{PACKAGE}.")
        for what in _of_room(module, one) if inside else _of_outside(module, one):
            yield one.line, what
    yield from _of_calls(module, nodes)


def imports(nodes: Iterable[ast.AST], names: set[str]) -> Iterator[Import]:
    """Absolute imports of a file, at any depth.

    nodes: as `ast.walk` gives them, a block before what is in it; names: the modules that exist, to tell them from
    attributes.
    """
    for_types: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.If) and _is_for_types(node):
            for_types.update(id(inner) for statement in node.body for inner in ast.walk(statement))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in for_types)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                # `from keywright import room` names a room, built or not; elsewhere a name may be an attribute.
                is_module = full in names or node.module in {PACKAGE, "importlib", "numpy"}
                yield Import(full if is_module else node.module, node.lineno, id(node) in for_types)


def _is_for_types(block: ast.If) -> bool:
    return ast.unparse(block.test).rpartition(".")[2] == "TYPE_CHECKING"


def _of_room(module: Module, one: Import) -> Iterator[str]:
    """Breaks of the table of rooms by an import from our own package."""
    room = one.target.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]
    if room.startswith("__") and room.endswith("__"):
        return  # `from keywright import __version__`
    if not room:
        yield "import keywright alone, which hides the room meant"
    elif room == "*" or room not in ROOMS:
        yield f"{one.target} is in no room of the plan"
    elif room != module.room and room not in ROOMS.get(module.room, frozenset()):
        yield f"{module.room or PACKAGE} may not import {room}"


def _of_outside(module: Module, one: Import) -> Iterator[str]:
    """Breaks by an import of the standard library or of somebody else's package."""
    top = one.target.partition(".")[0]
    if top in _BY_NAME_MODULES and one.target not in _NOT_BY_NAME and module.room not in BY_NAME:
        yield f"imports by name ({one.target}) only in {' and '.join(sorted(BY_NAME))}"
        return
    if top in PRIMITIVES and module.room != PRIMITIVES[top]:
        yield f"{top} only in {PRIMITIVES[top]}"
        return
    if module.room in WORLDLY or (module.name, top) in EXCEPTIONS:
        return
    if one.for_types and (module.room, top) in FOR_TYPES:
        return
    if top not in PURE or one.target in {"numpy.random", "logging.handlers", "logging.config"}:
        yield f"{one.target} in a protocol room"


def _of_calls(module: Module, nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Breaks without an import statement: built-in I/O, clocks, imports by name."""
    protocol = module.room not in WORLDLY
    for node in nodes:
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if dotted == "sys.modules":
                yield node.lineno, "sys.modules goes around the plan"
            if protocol and dotted in {"np.random", "numpy.random"}:
                yield node.lineno, f"{dotted} in a protocol room"
        if not isinstance(node, ast.Call):
            continue
        owner, _, called = ast.unparse(node.func).rpartition(".")
        if called in _BY_NAME_CALLS and owner.rpartition(".")[2] in {"", "importlib", "builtins", "runpy"}:
            yield from ((node.lineno, what) for what in _of_import_by_name(module, called, node))
        if protocol and called in _WORLDLY_CALLS and owner in {"", "builtins", "io"}:
            yield node.lineno, f"{called}() in a protocol room"
        if protocol and called in _CLOCK_CALLS and owner.rpartition(".")[2] in {"datetime", "date", "time"}:
            yield node.lineno, f"{owner}.{called}() reads the clock in a protocol room"


def _of_import_by_name(module: Module, called: str, call: ast.Call) -> Iterator[str]:
    if module.room not in BY_NAME:
        yield f"{called}() only in {' and '.join(sorted(BY_NAME))}"
        return
    target = call.args[0] if call.args else None
    if isinstance(target, ast.Constant) and str(target.value).startswith(PACKAGE):
        yield from _of_room(module, Import(str(target.value), call.lineno, for_types=False))


def _circles(imported: dict[str, list[Import]]) -> list[str]:
    """The first circle of imports, if any: lazy ones and those for types draw it too."""
    graph = {name: {one.target for one in found if one.target in imported} - {name} for name, found in imported.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"imports in a circle: {' -> '.join(reversed(error.args[1]))}"]
    return []
