"""What came of scenarios of conformance, as files: JUnit XML for build servers, and a page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import quoteattr

from keywright import __version__
from keywright.aliro.conformance.outcome import Result
from keywright.fob.explain import KNOWN
from keywright.globalplatform.describe import Line
from keywright.globalplatform.explain import Transcript
from keywright.iso7816.layers import sized
from keywright.production.outfile import replacing
from keywright.production.reports.rendering import render
from keywright.production.untrusted import visible

_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="keywright key conformance"'
_PAGE: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="generator" content="keywright key conformance '
)


# ---- JUnit ----------------------------------------------------------------------------------------------------


def write_junit(path: Path, results: Sequence[Result]) -> None:
    """One suite for each side and family, without times of day. Raises UsageError if the file may not be replaced."""
    with replacing(path, opening=_XML) as file:
        file.write(junit(results))


def junit(results: Sequence[Result]) -> str:
    """The same as text. Whatever came from the side under test is escaped, and its control characters spelled out."""
    suites: dict[tuple[str, str], list[Result]] = {}
    for one in results:
        suites.setdefault((one.role, one.family), []).append(one)
    lines = [f"{_XML}{_counts(results)}>"]
    for (role, family), inside in suites.items():
        lines.append(f"  <testsuite name={_attribute(f'{role}, {family}')}{_counts(inside)}>")
        for one in inside:
            lines += _case(one)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _case(one: Result) -> list[str]:
    head = f"    <testcase classname={_attribute(f'{one.role}.{one.family}')} name={_attribute(one.name)}"
    why = _attribute(one.why)
    match one.verdict:
        case "failed":
            inside = f'      <failure type="nonconformity" message={why}>{_text(_details(one))}</failure>'
        case "skipped":
            inside = f"      <skipped message={why}/>"
        case "other status":
            inside = f"      <system-out>{_text(one.why)}</system-out>"
        case _:
            return [head + "/>"]
    return [head + ">", inside, "    </testcase>"]


def _details(one: Result) -> str:
    lines = [one.text, f"expected: {one.expected}", f"got: {one.got}"]
    lines += [] if one.at is None else [f"first byte that differs: {one.at}"]
    return "; ".join([*lines, f"commands and answers: {one.outcome}"])


def _counts(results: Sequence[Result]) -> str:
    verdicts = [one.verdict for one in results]
    counts = {"tests": len(verdicts), "failures": verdicts.count("failed"), "errors": 0}
    return "".join(f' {name}="{n}"' for name, n in {**counts, "skipped": verdicts.count("skipped")}.items())


def _attribute(text: str) -> str:
    return quoteattr(visible(text))


def _text(text: str) -> str:
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ---- the page -------------------------------------------------------------------------------------------------


class Marked(NamedTuple):
    """Bytes in hex, and the one among them that is not what it should be."""

    before: str
    at: str
    after: str


class Shown(NamedTuple):
    """One exchange of a case."""

    title: str
    command: str
    answer: str
    lines: tuple[Line, ...]


class Case(NamedTuple):
    """One case of the page."""

    result: Result
    state: str
    got: Marked
    exchanges: tuple[Shown, ...]


class Group(NamedTuple):
    """The cases of one family."""

    title: str
    passed: int
    cases: list[Case]


STATES: Final = {"passed": "good", "other status": "warn", "skipped": "warn", "failed": "bad"}
"""How a verdict is coloured."""


def write_page(path: Path, results: Sequence[Result], subject: str) -> None:
    """Write the page; a file that is there is replaced only if it is an earlier one. Raises UsageError.

    subject: what was tested, in words.
    """
    style = render("colours.css") + render("report.css") + render("conformance.css")
    page = render(
        "conformance.html",
        subject=subject,
        groups=list(_groups(results).values()),
        counts={state: sum(one.verdict == state for one in results) for state in STATES},
        total=len(results),
        version=__version__,
        style=style,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    with replacing(path, opening=_PAGE) as file:
        file.write(page)


def _groups(results: Sequence[Result]) -> dict[tuple[str, str], Group]:
    groups: dict[tuple[str, str], Group] = {}
    for one in results:
        place = one.role, one.family
        found = groups.get(place, Group(f"{one.role}: {one.family}", 0, []))
        found.cases.append(Case(one, STATES[one.verdict], _marked(one), tuple(_exchanges(one))))
        groups[place] = found._replace(passed=found.passed + (one.verdict == "passed"))
    return groups


def _marked(one: Result) -> Marked:
    """What came, with the first byte that differs set apart where it is one of bytes in hex."""
    if one.at is None or len(one.got) < 2 * one.at + 2 or not _is_hex(one.got):
        return Marked(one.got, "", "")
    begin = 2 * one.at
    return Marked(one.got[:begin], one.got[begin : begin + 2], one.got[begin + 2 :])


def _is_hex(text: str) -> bool:
    return all(character in "0123456789ABCDEF" for character in text)


def _exchanges(one: Result) -> list[Shown]:
    words, shown = Transcript(KNOWN), []
    for command, response in one.transcript:
        told = words.explain(command, response)
        answer = "no answer" if response is None else (response.data + response.sw.to_bytes(2)).hex(" ").upper()
        shown.append(Shown(told.title, sized(command, extended=True).encode().hex(" ").upper(), answer, told.lines))
    return shown
