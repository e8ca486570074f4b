"""Pages of the documentation as data: their blocks of code, headings and links, and a way to run the blocks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.house import ROOT

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: the first word after the fence, the rest of that line, the text, and the line it begins on."""

    language: str
    info: str
    text: str
    line: int

    @property
    def exit_code(self) -> int:
        """The exit code its last command is to have: `exit=N` after the language, else 0."""
        found = re.search(r"\bexit=(\d+)", self.info)
        return int(found[1]) if found else 0


def pages() -> list[Path]:
    """Every Markdown page: those beside the README, and all below docs."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def name_of(page: Path) -> str:
    """The page as a path below the checkout."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page; a block in a list loses the list's indent."""
    begun: tuple[int, str, str] | None = None
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if begun is None:
            if fence:
                begun, body = (number, fence["indent"], fence["info"].strip()), []
        elif fence and not fence["info"] and fence["indent"] == begun[1]:
            language, _, info = begun[2].partition(" ")
            yield Block(language, info, "\n".join(body) + "\n", begun[0])
            begun = None
        else:
            body.append(line.removeprefix(begun[1]))
    if begun is not None:
        raise ValueError(f"line {begun[0]}: the block is not closed")


def prose(text: str) -> str:
    """The page without its blocks."""
    kept, inside = [], False
    for line in text.splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links(text: str) -> list[str]:
    """Targets of links and pictures, code left out."""
    return [found["target"] for found in _LINK.finditer(_CODE.sub("", prose(text)))]


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    headings = (_HEADING.match(line) for line in prose(text).splitlines())
    found = (re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-") for heading in headings if heading)
    return set(found)


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page that lead to no file or no heading of this checkout; addresses elsewhere are not followed."""
    found = []
    for target in links(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        there = file.is_file() and file.is_relative_to(ROOT)
        if not there or (anchor and anchor not in anchors(text if file == page else file.read_text("utf-8"))):
            found.append(target)
    return found


@dataclass(frozen=True)
class Ran:
    """What a block came to: problems in words, none if it did what the page says."""

    problems: list[str]
    blocks: int


def run(text: str, folder: Path) -> Ran:
    """Run the bash and python blocks of a page in order, in `folder` beside a copy of the examples.

    A block `output` after one of them is all that it writes to standard output.
    """
    shutil.copytree(ROOT / "examples", folder / "examples")
    environment = _environment(folder)
    found: list[str] = []
    said: str | None = None
    count = 0
    for block in blocks(text):
        command = _command(block)
        if block.language == "output" and (said is None or said.split() != block.text.split()):
            found.append(f"line {block.line}: the page shows other output than:\n{said}")
        if command is None:
            said = None
            continue
        done = subprocess.run(
            command, cwd=folder, env=environment, input="", capture_output=True, text=True, timeout=120, check=False
        )
        said, count = done.stdout, count + 1
        if done.returncode != block.exit_code:
            found.append(f"line {block.line}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return Ran(found, count)


def _command(block: Block) -> list[str] | None:
    if block.language == "bash":
        return ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        return [sys.executable, "-W", "error", "-c", block.text]
    return None


def _environment(folder: Path) -> dict[str, str]:
    """As after `source .venv/bin/activate`: the command of this interpreter's environment comes first."""
    environment = {**os.environ, "COLUMNS": "80"}
    programs = Path(sys.executable).parent
    if not (programs / "keywright").exists():  # not installed: run from the source tree
        programs = folder / ".bin"
        programs.mkdir()
        script = programs / "keywright"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m keywright "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        environment["PYTHONPATH"] = str(ROOT / "src")
    return environment | {"PATH": f"{programs}:{environment['PATH']}"}
