"""House rules that no linter knows, as functions from a text or a tree to what breaks them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

MODULE_LINES = 600
FUNCTION_LINES = 80

_CODE = ("src", "tests", "benchmarks", "examples", "docs")
_TEXTS = (*_CODE, ".ci", "fuzz")
_MADE_HERE = {"__pycache__", "node_modules", ".hypothesis"}

# Names of values that somebody must not be able to guess byte by byte.
_SECRET = set("mac cmac rmac hmac cryptogram receipt token pin password passphrase secret signature".split())

_SUPPRESSION = re.compile(
    r"#\s*(?P<what>type:\s*ignore|pyright:\s*(?:ignore|basic|standard|strict)|noqa|ruff:\s*noqa|fmt:\s*(?:off|skip)|"
    r"pragma:\s*no\s*(?:cover|branch))(?P<codes>\[[^\]]*\]|:(?:\s*[A-Z]+[0-9]+,?)+)?",
    re.IGNORECASE,
)

# Folders of somebody's machine, hosts of package registries, and switches that name one: of no use to a reader.
_PLACES = re.compile(
    r"(?<![\w.~-])/(?:home|root|Users|work|workspace|builds?|mnt)/[\w.-]+"
    r"|\b(?:pypi|pythonhosted|npmjs|yarnpkg)\.(?:org|com)\b|\bdeb\.debian\b"
    r"|--(?:extra-)?index-url|--find-lin[k]s"
)
_CLIMB = re.compile(r"(?<![\w.])(?:\.\./)+[\w./-]*")

_UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|Not" + r"ImplementedError)\b")
_EMPTY_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}

_SKIPS = {"pytest.skip", "pytest.importorskip", "pytest.mark.skip", "pytest.mark.skipif", "unittest.skip"}

# What a test run sets or asks; a program that looks at it behaves differently when it is watched.
_WATCHED = re.compile(
    r"PYTEST_\w+|CI|GITHUB_\w+|HYPOTHESIS_\w+|COVERAGE_\w+|KEYWRIGHT_(?:\w*TEST\w*|REQUIRE_PEERS)|TESTING"
)


def code() -> list[Path]:
    """Every Python file of the project."""
    return [path for path in texts() if path.suffix == ".py"]


def texts() -> list[Path]:
    """Every text file of the project that people wrote; test vectors are kept as they came and are left out."""
    files = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".coverage")]
    for folder in _TEXTS:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(path for path in files if _written(path.relative_to(ROOT)) and _is_text(path))


def _written(inside: Path) -> bool:
    return not _MADE_HERE & set(inside.parts) and inside.parts[:2] != ("tests", "vectors")


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(4096) and path.suffix not in {".gz", ".pyc"}


def unequal_comparisons(tree: ast.AST) -> Iterator[int]:
    """Lines where a MAC, a cryptogram or the like is compared in variable time: `==`, `!=`, `in`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(
            isinstance(sign, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for sign in node.ops
        ):
            sides = [part for side in (node.left, *node.comparators) for part in _parts(side)]
            if any(_is_secret(side) for side in sides) and not any(_is_plain(side) for side in sides):
                yield node.lineno


def _parts(side: ast.expr) -> list[ast.expr]:
    return side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]


def _is_secret(side: ast.expr) -> bool:
    if isinstance(side, ast.Subscript):  # mac[:8]
        return _is_secret(side.value)
    if isinstance(side, ast.Call):  # key.cmac(message)
        return _is_secret(side.func)
    name = side.id if isinstance(side, ast.Name) else side.attr if isinstance(side, ast.Attribute) else ""
    words = [word for word in name.rstrip("0123456789").split("_") if word]
    return bool(words) and not name.isupper() and words[-1].lower() in _SECRET


def _is_plain(side: ast.expr) -> bool:
    return isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, int | str))


def suppressions_without_reason(source: str) -> Iterator[int]:
    """Lines that silence a checker without saying which finding, and why it is wrong here."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        marks = list(_SUPPRESSION.finditer(token.string))
        ends = [*(mark.start() for mark in marks), len(token.string)][1:]
        for found, end in zip(marks, ends, strict=False):
            needs_code = found["what"].split(":")[0].strip() in {"type", "noqa"}
            reason = re.findall(r"[A-Za-z][\w'`.]*", token.string[found.end() : end])
            if (needs_code and not found["codes"]) or len(reason) < 2:
                yield token.start[0]


def long_functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Functions of more than 80 lines, with their lengths."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                yield node.name, length


def places(text: str) -> list[str]:
    """Folders of a machine and hosts of package registries that a text names."""
    return [found.group() for found in _PLACES.finditer(text)]


def climbs(path: Path, text: str) -> list[str]:
    """Relative paths in a text that lead out of the checkout, counted from the file that names them."""
    found = (match.group() for match in _CLIMB.finditer(text))
    return [climb for climb in found if not (path.parent / climb).resolve().is_relative_to(ROOT)]


def unfinished(text: str) -> list[str]:
    """Marks of work that is not done."""
    return _UNFINISHED.findall(text)


def says_nothing(name: str) -> bool:
    """Whether a module's or class's name says nothing about what it does."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return bool(words) and words[-1].lower() in _EMPTY_NAMES


def watched_names(tree: ast.AST) -> list[str]:
    """Strings in a source that name a variable only a test run sets."""
    strings = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [text for text in strings if isinstance(text, str) and _WATCHED.fullmatch(text)]


def environment_reads(tree: ast.AST) -> Iterator[str]:
    """Environment variables a source asks for: the name, or the expression where it is not a plain string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("environ.get", "getenv")) and node.args:
            yield _name(node.args[0])
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
            yield _name(node.slice)
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith("environ"):
            yield _name(node.left)


def _name(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def more_than_a_front_door(tree: ast.Module) -> Iterator[int]:
    """Lines of an `__init__.py` that are neither docstring, import, `__all__`, `__version__` nor a lazy getter."""
    for node in tree.body:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.ImportFrom() | ast.Import():
                continue
            case ast.Assign(targets=[ast.Name(id=name)]) if name.startswith("__"):
                continue
            case ast.AnnAssign(target=ast.Name(id=name)) if name.startswith("__"):
                continue
            case ast.FunctionDef(name="__getattr__" | "__dir__"):
                continue
            case _:
                yield node.lineno


def other_ways_to_skip(tree: ast.AST) -> Iterator[int]:
    """Lines of a test that may leave it out without the list of what was left out knowing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in _SKIPS:
            yield node.lineno
