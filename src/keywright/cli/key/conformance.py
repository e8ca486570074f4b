"""`keywright key conformance`: scenarios for user devices and readers, our own or somebody else's."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
import typer

from keywright.aliro.conformance import bluetooth, device, own, reader
from keywright.aliro.conformance.outcome import Result, Scenario
from keywright.aliro.conformance.reader_checks import ReaderScenario
from keywright.aliro.conformance.run import skipped
from keywright.aliro.conformance.tester import Bench
from keywright.aliro.conformance.tester_device import TesterDevice
from keywright.cli.key.options import public_key_in
from keywright.cli.links import confirm, opened
from keywright.cli.options import Json, Trace, Yes
from keywright.cli.text import bad, caution, good, note, say, show_json, table
from keywright.crypto.ec import EcPublicKey
from keywright.errors import UsageError
from keywright.fob.conformance import ScenarioServer, device_over, own_device, own_reader
from keywright.fob.lock import opened_lock
from keywright.production.reports.conformance import write_junit, write_page

app = typer.Typer(rich_markup_mode=None)

ROLES: Final = ("device", "reader", "both")
FAILED: Final = 1
"""Exit code when a scenario failed, or none was played."""
One = TypeVar("One", Scenario[Bench], ReaderScenario, bluetooth.BleScenario)


class Identity(NamedTuple):
    """What a lock's file says of its reader, for the tester to take its place or to expect it."""

    key: EcPublicKey | None = None
    element: str = own.ELEMENT
    bench: Bench | None = None


class Chosen(NamedTuple):
    """The scenarios to play."""

    device: list[Scenario[Bench]]
    reader: list[ReaderScenario]
    bluetooth: list[bluetooth.BleScenario]


@app.command()
def conformance(
    *,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="Who is tested: device, reader or both.")
    ] = "both",
    link: Annotated[
        str, typer.Option("--link", metavar="URI", help="Somebody else's user device: pcsc:READER, tcp:HOST:PORT, ...")
    ] = "",
    lock: Annotated[
        Path | None,
        typer.Option("--lock", metavar="LOCK", help="The lock that the device was made for, or whose reader comes."),
    ] = None,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="The device knows the TEST issuer of reader certificates too.")
    ] = False,
    mailbox: Annotated[
        int, typer.Option("--mailbox", metavar="BYTES", min=0, help="Size of the device's mailbox; it is written.")
    ] = 0,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Be the devices that somebody else's reader meets.")
    ] = "",
    reader_key: Annotated[
        str, typer.Option("--reader-key", metavar="KEY", help="Group key of that reader: 65 bytes in hex, or a file.")
    ] = "",
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Any error status will do where one must come; told all the same.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="A family or a scenario; may be repeated.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with what was said in each scenario.")
    ] = None,
    trace: Trace = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Play scenarios against a user device or a reader: what is right, and what no honest peer sends.

    By default our own two sides are tested, over sockets on loopback, and both ends of Bluetooth in memory. Ends with
    0 only if nothing failed. With --json one object for each scenario, on a line.

    Example: keywright key conformance --html aliro.html
    """
    if role not in ROLES:
        raise UsageError(f"--role {role}: no such role", hint=f"one of {', '.join(ROLES)}")
    tests_device = role != "reader" and (bool(link) or not listen)
    tests_reader = role != "device" and (bool(listen) or not link)
    if (link and not tests_device) or (listen and not tests_reader):
        raise UsageError(
            "--link names a device, --listen waits for a reader", hint="give the --role that fits, or none"
        )
    chosen = _chosen(
        only or [], of_device=tests_device, of_reader=tests_reader, of_both=role == "both" and not (link or listen)
    )
    identity = _identity(lock, mailbox, reader_key, certificate=certificate, strict=not lenient)
    now = int(time.time())
    found: list[Result] = []
    if chosen.device and link:
        confirm(link, f"play {len(chosen.device)} scenarios, after which it has other kept keys,", yes=yes)
        bench = identity.bench or _stranger(mailbox, certificate=certificate, strict=not lenient)
        with opened(link, trace) as exchange:
            found += _told(device_over(exchange, bench, chosen.device), as_json=json)
    elif chosen.device:
        found += _told(own_device(os.urandom, now, chosen.device, strict=not lenient), as_json=json)
    if chosen.reader and listen:
        found += _told(_listening(listen, identity, chosen.reader, now), as_json=json)
    elif chosen.reader:
        found += _told(own_reader(os.urandom, now, chosen.reader), as_json=json)
    found += _told(bluetooth.play(chosen.bluetooth), as_json=json)
    if junit is not None:
        write_junit(junit, found)
    if html is not None:
        write_page(html, found, _subject(link, listen))
    _summary(found, say if not json else note)
    if any(one.verdict == "failed" for one in found) or all(one.verdict == "skipped" for one in found):
        raise typer.Exit(FAILED)


# ---- what is played -------------------------------------------------------------------------------------------


def _chosen(only: Sequence[str], *, of_device: bool, of_reader: bool, of_both: bool) -> Chosen:
    """The scenarios of these sides, as far as `only` names them. Raises UsageError for a name that none has."""
    every = Chosen(
        device.scenarios() if of_device else [],
        reader.scenarios() if of_reader else [],
        bluetooth.scenarios() if of_both else [],
    )
    known = {name for side in every for one in side for name in (one.family, one.name)}
    unknown = [name for name in only if name not in known]
    if unknown:
        families = sorted({one.family for side in every for one in side})
        raise UsageError(
            f"--only {unknown[0]}: no such family or scenario here", hint=f"families: {', '.join(families)}"
        )
    wanted = set(only) or known
    return Chosen(_of(wanted, every.device), _of(wanted, every.reader), _of(wanted, every.bluetooth))


def _of(wanted: set[str], side: list[One]) -> list[One]:
    return [one for one in side if wanted & {one.family, one.name}]


def _identity(lock: Path | None, mailbox: int, reader_key: str, *, certificate: bool, strict: bool) -> Identity:
    if lock is None:
        return Identity(public_key_in(reader_key, "--reader-key") if reader_key else None)
    if reader_key or certificate:
        raise UsageError(
            "--lock says which reader it is", hint="leave out --reader-key and --certificate, or leave out --lock"
        )
    with opened_lock(lock, os.urandom, readonly=True) as found:
        bench = Bench(found.reader(), element=found.elements[0], mailbox_bytes=mailbox, strict=strict)
        return Identity(bench.reader.key.public, bench.element, bench)


def _stranger(mailbox: int, *, certificate: bool, strict: bool) -> Bench:
    """Our TEST reader for a device that was made for it."""
    made = own.bench(strict=strict)
    note(f"no --lock: the reader is the TEST reader, group {made.reader.identifier[:16].hex().upper()}")
    note(f"  its key: {made.reader.key.public.point.hex().upper()}")
    certified = made.certified if certificate else None
    return msgspec.structs.replace(made, certified=certified, credential=None, mailbox_bytes=mailbox)


def _listening(listen: str, identity: Identity, scenarios: Sequence[ReaderScenario], now: int) -> Iterator[Result]:
    host, port = _host_port(listen)
    made = own.issuing(os.urandom, now, identity.element)

    def device_of(one: ReaderScenario) -> TesterDevice:
        return own.device_for(one, made, os.urandom, identity.key)

    with closing(ScenarioServer(scenarios, device_of, host, port)) as server:
        note(f"waiting for {len(scenarios)} transactions at tcp:{host}:{server.port}; Ctrl-C ends it")
        note(f"  the reader has to trust this TEST issuer of documents: {made.issuer.public.point.hex().upper()}")
        note("  (everybody can sign with it: take the trust away afterwards)")
        note(f"  and to ask for the element {made.element!r}; the devices' key must not be registered")
        done = 0
        try:
            for one in server.results():
                done += 1
                yield one
        except KeyboardInterrupt:
            note("ended here")
            for left in scenarios[done:]:
                yield skipped(left.name, left.family, left.text, "ended before its turn", "reader")


def _host_port(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 0xFFFF:
        raise UsageError(f"--listen {listen}: not HOST:PORT", hint="for example --listen 127.0.0.1:9100")
    return host.strip("[]"), int(port)


# ---- what is told ---------------------------------------------------------------------------------------------


def _told(results: Iterable[Result], *, as_json: bool) -> Iterator[Result]:
    """Each result as it comes: all of them for programs, for people those that did not simply pass."""
    for one in results:
        if as_json:
            show_json(document_of(one))
        elif one.verdict == "failed":
            say(f"{bad('failed')}  {one.role}, {one.family}: {one.name}")
            say(f"        {one.why}")
        elif one.verdict == "other status":
            say(f"{caution('status')}  {one.role}, {one.family}: {one.name}: {one.why}")
        yield one


def document_of(one: Result) -> dict[str, Any]:
    """A result for programs."""
    return {
        "name": one.name,
        "family": one.family,
        "role": one.role,
        "result": one.verdict,
        "why": one.why,
        "expected": one.expected,
        "got": one.got,
        "first_difference": one.at,
        "outcome": one.outcome,
    }


def _summary(found: Sequence[Result], out: Any) -> None:
    families: dict[tuple[str, str], Counter[str]] = {}
    for one in found:
        families.setdefault((one.role, one.family), Counter())[one.verdict] += 1
    heads = ("tested", "family", "passed", "failed", "other status", "skipped")
    rows = [(*place, *(str(counts[head]) for head in heads[2:])) for place, counts in families.items()]
    total: Counter[str] = Counter(one.verdict for one in found)
    rows.append(("all", "", *(str(total[head]) for head in heads[2:])))
    for line in table(heads, rows):
        out(line)
    out(f"{len(found)} scenarios, {len({one.outcome for one in found})} outcomes that differ")
    reasons = Counter(one.why for one in found if one.verdict == "skipped")
    for why, count in reasons.items():
        out(caution(f"SKIPPED {count}: {why}"))
    if total["failed"]:
        out(bad(f"{total['failed']} failed"))
    elif total["passed"] or total["other status"]:
        out(good("nothing failed"))
    else:
        out(bad("nothing was tested"))


def _subject(link: str, listen: str) -> str:
    tested = [f"the device at {link}"] * bool(link) + [f"the reader that came to {listen}"] * bool(listen)
    return " and ".join(tested) or "our own user device, reader, and both ends of Bluetooth"
