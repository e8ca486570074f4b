"""House rules that no linter knows. Each is shown a violation first, then the whole project."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import house
from support.peers import REQUIRE

# path of a module, or "path:function" -> why it is longer than the house likes. An entry no longer needed is a failure.
LONG: dict[str, str] = {
    "tests/store/test_journal.py": "one file format and one set of fixtures; its parts have headings"
}

# "path: word" -> why this file names an unfinished thing, a place or the like on purpose.
SPOKEN: dict[str, str] = {}

# Environment variable -> why the program asks for it.
ENVIRONMENT = {
    "CONFIGURED": "KEYWRIGHT_KEYSTORE, the keystore that `keystore audit` takes when none is named",
    "VARIABLE": "KEYWRIGHT_PIN_FILE, the file with a token's PIN",
    "MODULE_VARIABLE": "KEYWRIGHT_PKCS11_MODULE, a token's PKCS#11 library",
    "RAY_AUTH_MODE": "whether a cluster asks for a token, as its own library takes it",
    "RAY_AUTH_TOKEN_PATH": "the file with a cluster's token, as its own library takes it",
    "COMP_WORDS": "the shell's completion says what was typed so far",
    "_COMPLETE": "the name of the variable by which a shell asks for completions",
    "_TYPER_COMPLETE_ARGS": "as COMP_WORDS, for shells other than bash",
}

# path -> why this test is left out without a peer being missing.
SKIPS = {
    "tests/support/peers.py": "the one place that skips, and keeps count of it",
}

CODE = [path.relative_to(house.ROOT).as_posix() for path in house.code()]
SOURCE = [path for path in CODE if path.startswith("src/")]
TEXTS = [path.relative_to(house.ROOT).as_posix() for path in house.texts()]


@functools.cache
def text_of(path: str) -> str:
    return (house.ROOT / path).read_text(encoding="utf-8")


@functools.cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(text_of(path), path)


def test_the_whole_project_is_seen() -> None:
    assert {"src/keywright/errors.py", "src/keywright/crypto/aes.py"} <= set(SOURCE)
    assert {"tests/test_house.py", "tests/support/house.py"} <= set(CODE)
    assert {"pyproject.toml", "Makefile", "requirements.lock", ".ci/run", ".ci/install"} <= set(TEXTS)
    assert not any(path.startswith("tests/vectors") for path in TEXTS)


# ---- secrets are compared in constant time --------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "mac == expected",
        "if answer.card_cryptogram != own: pass",
        "expected == response.mac",
        "c_mac[:8] == data[-8:]",
        "found = received in (mac, old_mac)",
        "key.cmac(data) == data[-16:]",
        "pin == stored",
        "assert mac1 == mac2",
    ],
)
def test_a_secret_compared_in_variable_time_is_found(line: str) -> None:
    assert list(house.unequal_comparisons(ast.parse(line))) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "equal(mac, own)",
        "len(mac) == 8",
        "mac_length == 8",
        "mac is None",
        "token == 'run'",
        "x == MAC",
        "machine == y",
    ],
)
def test_a_harmless_comparison_is_not_reported(line: str) -> None:
    assert list(house.unequal_comparisons(ast.parse(line))) == []


def test_secrets_are_compared_in_constant_time() -> None:
    assert [f"{path}:{line}" for path in SOURCE for line in house.unequal_comparisons(tree_of(path))] == []


# ---- a silenced checker is told why ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "comment",
    [
        "# type: ignore",
        "# type: ignore[arg-type]",
        "# type: ignore  # the stubs are wrong here",
        "# noqa: S603",
        "# noqa",
        "# noqa - not needed for this here",
        "# pragma: no cover",
        "# pragma: no branch - because",
        "# pyright: ignore[reportMissingImports]",
        "# fmt: off",
        "# type: ignore[x]  # noqa: S603 - the list is a constant",
    ],
)
def test_a_silenced_checker_without_a_reason_is_found(comment: str) -> None:
    assert list(house.suppressions_without_reason(f"x = 1  {comment}\n"))[:1] == [1]


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # type: ignore[arg-type]  # the stubs lack this overload\n",
        "x = 1  # noqa: S603 - the list is a constant\n",
        "x = 1  # noqa: S603, S607 - the list is a constant\n",
        "x = 1  # pragma: no cover - runs in the killed process only\n",
        "x = 1  # pyright: ignore[reportMissingImports]  # an extra that may be missing\n",
        "x = '# type: ignore'\n",
    ],
)
def test_a_silenced_checker_with_a_reason_is_not_reported(line: str) -> None:
    assert list(house.suppressions_without_reason(line)) == []


def test_every_silenced_checker_is_told_why() -> None:
    assert [f"{path}:{line}" for path in CODE for line in house.suppressions_without_reason(text_of(path))] == []


# ---- modules and functions fit the eye ------------------------------------------------------------------------


def lengths() -> dict[str, int]:
    long = {path: len(text_of(path).splitlines()) for path in CODE}
    long = {path: lines for path, lines in long.items() if lines > house.MODULE_LINES}
    for path in CODE:
        long |= {f"{path}:{name}": lines for name, lines in house.long_functions(tree_of(path))}
    return long


def test_a_long_function_is_found() -> None:
    body = "    x = 1\n" * house.FUNCTION_LINES
    assert list(house.long_functions(ast.parse(f"def f():\n{body}"))) == [("f", 81)]
    assert list(house.long_functions(ast.parse("def f():\n" + body[10:]))) == []


def test_modules_and_functions_fit_the_eye() -> None:
    found = lengths()
    assert {name: lines for name, lines in found.items() if name not in LONG} == {}
    assert set(LONG) <= set(found), "no longer long: take it out of the table"


# ---- the project stands alone ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        ("see /", "home/ann/project"),
        ("/", "work/main/x"),
        ("'/", "root/key'"),
        ("https://py", "pi.org/simple"),
        ("--index", "-url x"),
    ],
)
def test_a_place_on_somebodys_machine_is_found(parts: tuple[str, str]) -> None:
    assert house.places("".join(parts))


def test_an_ordinary_path_is_not_reported() -> None:
    assert (
        house.places("/etc/reader.conf.d/ /usr/bin/python3 /run/pcscd docs/work/ ./root/x https://www.apache.org") == []
    )


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [f"{path}: {word}" for path in TEXTS for word in house.places(text_of(path))]
    assert [line for line in found if line not in SPOKEN] == []


def test_no_file_names_this_checkout() -> None:
    assert [path for path in TEXTS if f"{house.ROOT}/" in text_of(path)] == []


def test_a_path_out_of_the_checkout_is_found() -> None:
    inside = house.ROOT / "docs" / "page.md"
    outside = "../" * 2 + "elsewhere/plan.md"
    assert house.climbs(inside, f"see {outside}") == [outside]
    assert house.climbs(inside, "see ../README.md and a..b") == []


def test_no_file_points_out_of_the_checkout() -> None:
    found = [f"{path}: {climb}" for path in TEXTS for climb in house.climbs(house.ROOT / path, text_of(path))]
    assert [line for line in found if line not in SPOKEN] == []


@pytest.mark.parametrize("path", [path for path in TEXTS if path.endswith(".lock")])
def test_a_lock_holds_hashes_and_no_addresses(path: str) -> None:
    text = text_of(path)
    pins = re.findall(r"^[A-Za-z0-9][\w.-]*==[^\s\\]+[^\\\n]*\\$", text, re.MULTILINE)
    entries = re.findall(r"^[A-Za-z0-9].*$", text, re.MULTILINE)
    assert pins
    assert len(pins) == len(entries), "an entry without a pin and a hash"
    assert "://" not in text
    assert "@" not in text


# ---- names and marks ------------------------------------------------------------------------------------------


def test_a_name_that_says_nothing_is_found() -> None:
    assert all(house.says_nothing(name) for name in ("utils", "card_helper", "KeyManager", "APDUUtils"))
    assert not any(house.says_nothing(name) for name in ("tlv", "KeySet", "management", "Helpline", "common_name"))


def test_names_say_what_they_name() -> None:
    assert [path for path in CODE if house.says_nothing(Path(path).stem)] == []
    classes = [(path, node.name) for path in CODE for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    assert [f"{path}: {name}" for path, name in classes if house.says_nothing(name)] == []


def test_nothing_is_left_unfinished() -> None:
    assert house.unfinished("# TO" + "DO later") == ["TO" + "DO"]
    found = [f"{path}: {word}" for path in TEXTS if path != "LICENSE" for word in house.unfinished(text_of(path))]
    assert [line for line in found if line not in SPOKEN] == []


def test_a_front_door_only_opens() -> None:
    assert list(house.more_than_a_front_door(ast.parse("'''Doc.'''\nfrom a import b\n__all__ = ['b']\nx = 1"))) == [4]
    doors = [path for path in SOURCE if path.endswith("__init__.py")]
    assert [f"{path}:{line}" for path in doors for line in house.more_than_a_front_door(tree_of(path))] == []


# ---- the program does not know that it is tested --------------------------------------------------------------


def test_a_look_at_the_tests_is_found() -> None:
    tree = ast.parse(
        "import os\nif os.environ.get('PYTEST_CURRENT_TEST') or os.environ['X'] or getenv(name) or 'Y' in os.environ: x"
    )
    assert house.watched_names(tree) == ["PYTEST_CURRENT_TEST"]
    assert set(house.environment_reads(tree)) == {"PYTEST_CURRENT_TEST", "X", "Y", "name"}


def test_the_program_does_not_know_that_it_is_tested() -> None:
    assert [f"{path}: {name}" for path in SOURCE for name in house.watched_names(tree_of(path))] == []


def test_every_environment_variable_the_program_asks_for_is_listed() -> None:
    asked = {name for path in SOURCE for name in house.environment_reads(tree_of(path))}
    assert asked == set(ENVIRONMENT)


# ---- nothing is left out silently -----------------------------------------------------------------------------


def test_another_way_to_skip_is_found() -> None:
    assert list(house.other_ways_to_skip(ast.parse("pytest.importorskip('yubikit')"))) == [1]
    assert list(house.other_ways_to_skip(ast.parse("@pytest.mark.skipif(True, reason='x')\ndef f(): ..."))) == [1]


def test_tests_are_skipped_for_a_missing_peer_only() -> None:
    found = {path for path in CODE if any(True for _ in house.other_ways_to_skip(tree_of(path)))}
    assert found == set(SKIPS)


PEER_TEST = """
    import pytest
    from support.peers import require_peer

    def test_one():
        require_peer("opensc-tool", False, "apt-get install opensc")

    def test_two():
        require_peer("opensc-tool", False, "apt-get install opensc")

    def test_three():
        require_peer("the interpreter", True, "it is here")
"""


QUIET = ("-p", "no:cacheprovider", "-p", "no:pytest_cov", "-p", "no:hypothesispytest")


def run_peer_test(folder: Path, *, required: str, workers: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_peer.py").write_text(textwrap.dedent(PEER_TEST), encoding="utf-8")
    (folder / "conftest.py").write_text(text_of("tests/conftest.py"), encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {house.ROOT / 'tests'}\n", encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_CORE_", REQUIRE))}
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, *QUIET, "test_peer.py"]
    environment = ours | {REQUIRE: required}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_missing_peer_is_listed_loudly(workers: str, tmp_path: Path) -> None:
    run = run_peer_test(tmp_path, required="", workers=workers)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "LEFT OUT: foreign peers" in run.stdout
    assert "2 tests  opensc-tool (to run it: apt-get install opensc)" in run.stdout
    assert "1 passed, 2 skipped" in run.stdout


def test_a_missing_peer_is_a_failure_where_peers_are_required(tmp_path: Path) -> None:
    run = run_peer_test(tmp_path, required="1", workers="0")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 passed" not in run.stderr
    assert "2 failed, 1 passed" in run.stdout
    assert "LEFT OUT" not in run.stdout
