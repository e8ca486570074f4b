"""Write what the documentation takes from the program: whole pages, parts of pages, diagrams.

    docs/generate.py            write all that is out of date
    docs/generate.py --check    write nothing; end with 1 and name what is out of date
    docs/generate.py --picture  run the demonstration in a terminal and draw docs/img/demo.svg from what it showed

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`. The same program gives the same bytes, except for
the picture, which shows one real run and is therefore made only when asked for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]

SUBJECTS = (
    "card_profiles",
    "ceremony_states",
    "combinations",
    "command_line",
    "controls",
    "coverage",
    "house",
    "keystore",
    "hsm_rights",
    "recipe_format",
    "scp03",
    "scp10",
    "unit_store",
)
SWEEPS = ("cut_points",)
"""Subjects that take minutes, because they try everything they tell of; the tests of the sweeps compare them."""

Make = Callable[[], str]


def outdated(subjects: Sequence[str] = SUBJECTS) -> Iterator[tuple[Path, str]]:
    """Every file that is not as it would be written now, with what would be written."""
    for name, text in made(subjects).items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield path, text


def made(subjects: Sequence[str]) -> dict[str, str]:
    """Path below the checkout -> content, of every file that is generated wholly or in parts."""
    texts: dict[str, str] = {}
    for subject in subjects:
        module = import_module(f"generators.{subject}")
        files: Mapping[str, Make] = getattr(module, "FILES", {})
        parts: Mapping[str, Mapping[str, Make]] = getattr(module, "PARTS", {})
        for name, make in files.items():
            texts[name] = make()
        for name, of_page in parts.items():
            text = texts.get(name) or (ROOT / name).read_text(encoding="utf-8")
            for part, make in of_page.items():
                text = filled(text, part, make())
            texts[name] = text
    return texts


def filled(page: str, part: str, content: str) -> str:
    """`page` with the part between its markers replaced. Raises ValueError unless the markers are there once."""
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the markers of {part!r} are not there, or more than once")
    between = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    return between.sub(lambda _: f"{begin}\n\n{content.strip()}\n\n{end}", page)


def main(arguments: list[str]) -> int:
    """Do what the arguments say; the exit code."""
    if arguments == ["--picture"]:
        path = ROOT / "docs/img/demo.svg"
        path.write_text(import_module("generators.picture").demo(), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
        return 0
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    stale = list(outdated(SUBJECTS + SWEEPS))
    for path, text in stale:
        if not arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{'out of date:' if arguments else 'wrote'} {path.relative_to(ROOT)}")
    return 1 if arguments and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
