"""What the README shows is so: its commands run, its Python prints what it says, its make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

from support.house import ROOT
from support.pages import blocks, links, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

KNOWN = {"", "bash", "python", "output"}
"""Languages of blocks that something here checks; any other would stand on the README unchecked."""


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_block_is_checked_by_one_of_these_tests() -> None:
    assert {block.language for block in blocks(README)} == KNOWN


def test_the_two_commands_are_make_targets_and_come_before_anything_else() -> None:
    first = next(blocks(README))
    commands = [line.partition("#")[0].split() for line in first.text.splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    assert {target for _, target in commands} <= targets(MAKEFILE)


def test_all_other_plain_blocks_are_make_commands() -> None:
    plain = [line for block in blocks(README) if not block.language for line in block.text.splitlines()]
    assert all(line.startswith("make ") and line.split()[1] in targets(MAKEFILE) for line in plain)


def test_every_command_and_script_does_what_the_page_says(tmp_path: Path) -> None:
    ran = run(README, tmp_path)
    assert ran.problems == []
    assert ran.blocks == 3


def test_a_block_that_fails_or_prints_something_else_is_found(tmp_path: Path) -> None:
    page = "```bash\nkeywright no-such-noun\n```\n```python\nprint(1)\n```\n```output\n2\n```\n"
    assert [problem.partition(":")[0] for problem in run(page, tmp_path).problems] == ["line 1", "line 7"]


def test_what_one_must_know_first_fits_one_screen() -> None:
    before, found, _ = README.partition("make test")
    assert found
    assert len(before.splitlines()) < 15
    assert "docs/img/demo.svg" in links(before)
