"""The pages that are made from the program: whole, and up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from keywright.cli.nouns import NOUNS
from keywright.cli.reference import cli_page, errors_page, pages, write
from keywright.fob.uri import FORMS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_command_line_page_has_every_verb_and_link() -> None:
    page = cli_page()
    for name, noun in NOUNS.items():
        for verb in noun.verbs.split() or [""]:
            assert f"Usage: keywright {name} {verb}".rstrip() in page
    assert all(f"`{form.text}`" in page for form in FORMS)
    assert "--trace FILE" in page


def test_every_error_code_has_an_anchor_a_meaning_and_an_exit_code() -> None:
    page = errors_page()
    for code in ("card-cryptogram", "decode", "link", "order", "policy", "store", "usage"):
        section = page.partition(f"\n## {code}\n")[2].partition("\n## ")[0]
        assert "Exit code " in section
        assert len(section.strip().splitlines()[0]) > 20


def test_pages_are_written_below_a_folder(tmp_path: Path) -> None:
    assert [path.name for path in write(tmp_path)] == ["cli.md", "errors.md"]
    assert (tmp_path / "cli.md").read_text() == cli_page()


@pytest.mark.parametrize("name", ["cli.md", "errors.md"])
def test_the_page_in_docs_is_what_the_program_says(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "run `make docs`"
