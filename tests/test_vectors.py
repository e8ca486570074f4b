"""Every vector file is listed, complete, and read by the modules that the list names."""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import pathlib

import pytest

from support.vectors import FILES, VECTORS, document, load

TESTS = pathlib.Path(__file__).parent
LOADERS = {"vectors", "load", "document"}


def files_read(source: str) -> set[str]:
    """The vector files that a module names, as literals, if it calls a loader that it has from `support.vectors`."""
    nodes = list(ast.walk(ast.parse(source)))
    loaders = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "support.vectors"
        for alias in node.names
        if alias.name in LOADERS
    }
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    named = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return named & set(FILES) if loaders & called else set()


@functools.cache
def readers() -> dict[str, set[str]]:
    """Module path below tests -> the vector files it reads."""
    return {
        path.relative_to(TESTS).as_posix(): files_read(path.read_text(encoding="utf-8"))
        for path in TESTS.rglob("*.py")
        if path.name != "test_vectors.py" or path.parent != TESTS
    }


def test_the_list_and_the_directory_name_the_same_files() -> None:
    on_disk = {path.relative_to(VECTORS).as_posix() for path in VECTORS.rglob("*.json*")}
    assert on_disk == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_vector_file_is_read_by_exactly_the_modules_listed(name: str) -> None:
    assert FILES[name].readers, f"nobody reads {name}"
    assert {module for module, files in readers().items() if name in files} == set(FILES[name].readers)


@pytest.mark.parametrize("name", FILES)
def test_every_vector_file_has_the_number_of_cases_listed(name: str) -> None:
    assert document(name)


READING = """
from support.vectors import Case, load as read, unhex
FILES = ("scp/kcv.json", "scp/none.json")
CASES = [case for file in FILES for case in read(file)]
"""


@pytest.mark.parametrize(
    ("source", "files"),
    [
        (READING, {"scp/kcv.json"}),
        ("from support.vectors import vectors\n@vectors('scp/kcv.json')\ndef test(case): pass", {"scp/kcv.json"}),
        (READING.replace("support.vectors", "other"), set()),
        (READING.replace("load as read", "load"), set()),
        (READING.replace("read(file)", "unhex(file)"), set()),
        ("from support.vectors import load\n'About scp/kcv.json.'\nload(name)", set()),
    ],
)
def test_a_reader_is_a_module_that_names_the_file_and_calls_a_loader(source: str, files: set[str]) -> None:
    assert files_read(source) == files


def test_wycheproof_files_are_the_published_ones() -> None:
    listed = (VECTORS / "wycheproof/NOTICE.txt").read_text().splitlines()
    sums = {line.split()[1]: line.split()[0] for line in listed if line.endswith("_test.json")}
    actual = {
        path.name.removesuffix(".gz"): hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in (VECTORS / "wycheproof").glob("*.gz")
    }
    assert actual == sums


def test_a_part_must_be_named_where_a_file_has_several() -> None:
    with pytest.raises(LookupError, match="kcv, components, diversification"):
        load("factory/keys.json")


def test_a_file_without_an_entry_is_an_error() -> None:
    with pytest.raises(LookupError, match="list scp/none"):
        document("scp/none.json")
