"""What came of a lot, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keywright.cli.text import bad, caution, good, heading, pairs, table
from keywright.production.campaign import Checked, Verified
from keywright.production.reports.report import Summary, moment

TEST: Final = "TEST keys"


def summary_lines(summary: Summary) -> Iterator[str]:
    """Figures first, then time, then the units that were not sealed."""
    yield heading(f"Lot {summary.lot}") + f"  {_verdict(summary)}" + (f"  {caution(TEST)}" if summary.test else "")
    yield from pairs(_figures(summary))
    if summary.steps:
        rows = [
            (_name(entry.step), _time(entry.times.median), _time(entry.times.p95), _time(entry.times.max))
            for entry in summary.steps
        ]
        yield from table(("step", "median", "95 %", "longest"), rows)
    if summary.exceptions.total:
        yield heading("Not sealed")
        for one in summary.exceptions.units:
            yield from pairs([(one.serial, f"{one.state} at {_name(one.step) or 'begin'}: {one.text} [{one.code}]")])
        hidden = summary.exceptions.total - len(summary.exceptions.units)
        if hidden > 0:
            yield f"  and {hidden} more: write them all with campaign report --csv FILE"
    yield from _decisions(summary)


def _decisions(summary: Summary) -> Iterator[str]:
    """Who or what stopped the lot and let it go on; not that it came to its end by itself."""
    told = [one for one in summary.decisions if one.event != "finish"]
    if not told:
        return
    yield heading("Decisions")
    rows = [
        (f"{moment(one.at):%Y-%m-%d %H:%M:%S}", one.event, one.person or "-", one.text or one.cause) for one in told
    ]
    yield from table(("when", "", "by", "why"), rows)


def _verdict(summary: Summary) -> str:
    if summary.stands:
        return bad(f"{summary.state}: {summary.stands}")
    if summary.sealed == summary.ordered:
        return good("complete, every unit sealed")
    aside = summary.quarantined + summary.rejected
    if summary.complete:
        return bad(f"complete, {aside} of {summary.ordered} set aside")
    return bad(f"not complete, {summary.open} of {summary.ordered} to go")


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    counts = [f"{summary.ordered} ordered", f"{summary.sealed} sealed"]
    others = (
        ("made anew", summary.remade),
        ("quarantined", summary.quarantined),
        ("rejected", summary.rejected),
        ("scrapped", summary.scrapped),
        ("returned", summary.returned),
        ("open", summary.open),
        ("of them in rework", summary.rework),
    )
    counts += [f"{number} {word}" for word, number in others if number]
    yield "units", ", ".join(counts)
    if summary.recovered:
        yield "recovered", f"{summary.recovered} after an interruption"
    if summary.unsettled:
        yield "to be probed", f"{summary.unsettled} intents without a result"
    for mark in summary.compromised:
        yield "compromised", f"{mark.units} units, by the key {mark.name!r}: nothing of them is handed over"
    if summary.certificates:
        yield "certificates", str(summary.certificates)
    if summary.duration_s:
        rate = f", {summary.rate_per_s:.0f} units a second" if summary.rate_per_s else ""
        yield "time", f"{_time(summary.duration_s)}{rate}"
    yield "link", summary.link
    yield "keystore", summary.keystore_id


def checked_lines(found: Sequence[Checked]) -> Iterator[str]:
    """One line for each unit that was identified."""
    good_ones = sum(not one.problem for one in found)
    rows = [
        (one.serial, one.uid.upper() or "-", " ".join(f"{kvn:02X}" for kvn in one.key_versions), one.problem or "ok")
        for one in found
    ]
    yield from table(("serial", "chip", "KVN", ""), rows)
    yield f"{good_ones} of {len(found)} can go through this recipe; nothing was changed"


def verified_lines(verified: Verified) -> Iterator[str]:
    """What a fresh session to every finished unit showed."""
    if not verified.checked:
        yield caution("nothing to verify: no unit of this lot is sealed")
        return
    text = f"{verified.checked} checked, {verified.agree} agree, {verified.disagree} disagree"
    yield (bad if verified.disagree else good)(text) + (f"  {caution(TEST)}" if verified.test else "")
    for one in verified.units:
        yield from pairs([(one.serial, f"{one.text} [{one.code}]")])


def _name(step: str) -> str:
    return step.replace("_", " ")


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
