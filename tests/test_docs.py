"""The documentation is whole, and as the program is now."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import keywright.errors
from keywright.cli.nouns import NOUNS
from keywright.errors import KeywrightError
from support.house import ROOT
from support.pages import anchors, blocks, broken_links, links, name_of, pages, prose, run
from support.rooms import ROOMS, WORLDLY

DOCS = ROOT / "docs"
PAGES = {name_of(page): page for page in pages()}
RUN = sorted(name for name in PAGES if name == "docs/tutorial.md" or name.startswith("docs/how-to/"))
# page -> the test that holds its marked parts to the program, where no generator writes them.
HELD = {
    "docs/credential-applet.md": "tests/fob/test_credential_messages.py",
    "docs/aliro-applet.md": "tests/fob/test_aliro_applet_messages.py",
    "docs/aliro.md": "tests/aliro/test_aliro_page.py",
}
LANGUAGES = {"", "bash", "console", "output", "python", "text", "toml", "json"}
PACKAGE = Path(keywright.errors.__file__).parent


@cache
def text_of(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


# ---- pages hang together


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    assert broken_links(PAGES[name], text_of(name)) == []


def test_a_broken_link_is_found() -> None:
    page = PAGES["docs/index.md"]
    text = "[a](nowhere.md) [b](tutorial.md#no-such-heading) ![c](img/none.svg) [d](#here)\n\n# Here\n`[e](code.md)`\n"
    assert broken_links(page, text) == ["nowhere.md", "tutorial.md#no-such-heading", "img/none.svg"]


def test_every_page_is_linked_from_the_index() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in links(text_of("docs/index.md"))}
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md"} <= linked


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {(PAGES[name].parent / target).resolve() for name in PAGES for target in links(text_of(name))}
    assert set((DOCS / "img").iterdir()) <= shown


@pytest.mark.parametrize("picture", sorted(path.name for path in (DOCS / "img").glob("*.svg")))
def test_every_drawing_is_well_formed_and_fetches_nothing(picture: str) -> None:
    text = (DOCS / "img" / picture).read_text(encoding="utf-8")
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"(?:href|src)=\"(?!#)|url\((?!#)|@import|<script", text)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_has_a_known_language(name: str) -> None:
    assert {block.language for block in blocks(text_of(name))} <= LANGUAGES


# ---- generated parts


def test_what_is_generated_is_fresh(generate: ModuleType) -> None:
    stale = [path.relative_to(ROOT).as_posix() for path, _ in generate.outdated()]
    assert stale == [], "run make docs"


def test_a_stale_part_is_found(generate: ModuleType) -> None:
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"
    assert generate.filled(page, "x", "new") == "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n"
    for wrong in ("no markers", page + page):
        with pytest.raises(ValueError, match="markers"):
            generate.filled(wrong, "x", "new")


def test_every_marker_is_filled_by_a_generator(generate: ModuleType) -> None:
    pages = PAGES.keys() - HELD.keys()
    marked = {(name, part) for name in pages for part in re.findall(r"<!-- begin (\S+) -->", text_of(name))}
    modules = [import_module(f"generators.{subject}") for subject in generate.SUBJECTS]
    filled = {
        (page, part) for module in modules for page, parts in getattr(module, "PARTS", {}).items() for part in parts
    }
    assert marked == filled
    assert all("<!-- begin " in (ROOT / test).read_text(encoding="utf-8") for test in HELD.values())


# ---- what pages say of the program


@pytest.mark.parametrize("name", RUN)
def test_every_command_on_a_page_does_what_the_page_says(name: str, tmp_path: Path) -> None:
    assert run(text_of(name), tmp_path).problems == []


def commands(text: str) -> Iterator[list[str]]:
    """Every `keywright …` in blocks and in code between words, as its words."""
    lines = [
        line for block in blocks(text) if block.language in ("", "bash", "console") for line in block.text.splitlines()
    ]
    lines += re.findall(r"`([^`\n]+)`", prose(text))
    for line in lines:
        if line.startswith("keywright "):
            yield line.split()[1:]


@cache
def options_of(noun: str, verb: str) -> frozenset[str]:
    """The options that the reference lists for a verb, or for a noun without verbs."""
    heading = f"### {noun} {verb}" if verb else f"## {noun}"
    section = text_of("docs/cli.md").partition(f"\n{heading}\n")[2]
    assert section, f"docs/cli.md has no {heading}"
    return frozenset(re.findall(r"--[a-z-]+", re.split(r"\n##", section)[0]))


def misused(words: list[str]) -> str:
    """What is wrong with a command that a page names; nothing if it exists with these options."""
    noun = words[0]
    if noun.startswith("-") or noun.isupper():
        return "" if noun in ("--help", "--version", "NOUN") else noun
    if noun not in NOUNS:
        return f"no noun {noun}"
    verbs = NOUNS[noun].verbs.split()
    verb = words[1] if verbs and len(words) > 1 else ""
    if verbs and verb not in verbs:
        return f"no verb {noun} {verb}" if verb else ""
    unknown = {word for word in words if word.startswith("--")} - options_of(noun, verb)
    return f"{noun} {verb} has no {', '.join(sorted(unknown))}" if unknown else ""


@pytest.mark.parametrize("name", PAGES)
def test_every_command_that_is_named_exists_with_its_options(name: str) -> None:
    assert [wrong for words in commands(text_of(name)) if (wrong := misused(words))] == []


def test_a_command_that_does_not_exist_is_found() -> None:
    text = "`keywright card frob` `keywright card info --nope` `keywright esim list` `keywright card info --json`"
    found = [misused(words) for words in commands(text)]
    assert found == ["no verb card frob", "card info has no --nope", "no noun esim", ""]


def error_codes() -> dict[str, type[KeywrightError]]:
    """Code -> class of every error of the program."""
    for module in pkgutil.walk_packages(keywright.__path__, "keywright."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found: dict[str, type[KeywrightError]] = {}
    waiting: list[type[KeywrightError]] = [KeywrightError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("keywright."):
            found.setdefault(kind.code, kind)
    return found


def test_every_error_code_is_documented() -> None:
    documented = anchors(text_of("docs/errors.md"))
    codes = error_codes()
    assert len(codes) > 15
    assert set(codes) <= documented
    assert all(kind.__qualname__ in text_of("docs/errors.md") for kind in codes.values())


def test_the_table_of_rooms_is_the_table_the_code_is_held_to() -> None:
    page = text_of("docs/architecture.md")
    standing = [name for name in ROOMS if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()]
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+\|[^|]*)\|$", page, re.MULTILINE))
    assert list(rows) == standing
    for number, name in enumerate(standing):
        imports, _, real = rows[name].partition("|")
        allowed = set(standing[:number]) if imports.strip() == "all above" else set(re.findall(r"`(\w+)`", imports))
        assert allowed == ROOMS[name] & set(standing), name
        assert (real.strip() == "yes") == (name in WORLDLY), name
    planned = page.partition("Planned and empty: ")[2].partition(". ")[0]
    assert set(re.findall(r"`(\w+)`", planned)) == set(ROOMS) - set(standing)
