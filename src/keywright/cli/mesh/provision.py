"""`keywright mesh provision`: make devices nodes of a network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from keywright.cli.keyring import read_public_key
from keywright.cli.mesh.certificates import (
    CertAlone,
    CertPolicy,
    CertRevoked,
    CertRoot,
    CertServer,
    CertServerCa,
    certificate_policy,
    fetcher,
)
from keywright.cli.mesh.options import NetworkFile, RadioLink, radio_at, uuid_in, value_in
from keywright.cli.options import Json, Trace
from keywright.cli.person import ask
from keywright.cli.text import bad, good, note, printable, say, show_json
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.fob.mesh_device import Attendant
from keywright.fob.mesh_radio import Radio, read_static_oob
from keywright.fob.uri import is_simulated
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.database.cdb import uuid_text
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.ends import CURVE
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, EnrolmentEvent, Failed, RetrievalWanted
from keywright.mesh.keys import CMAC, HMAC
from keywright.mesh.oob import Authentication, Method, Value, show
from keywright.mesh.policy import SIX_DIGITS_BITS, Policy
from keywright.mesh.provisioner import Provisioner, ValueShown, ValueWanted
from keywright.mesh.retrieval import HttpAnswer, HttpGet
from keywright.mesh.scanner import DeviceSeen, Scanner
from keywright.mesh.session import ProvisionerSession
from keywright.production.mesh_network import opened_network, timestamp

app = typer.Typer(rich_markup_mode=None)

SCAN_S: Final = 5.0
SESSION_S: Final = 600.0
"""Longest time for one device; every timer of a session is shorter."""
GOODBYE_S: Final = 2.0
"""For the frames that close the link."""
METHODS: Final = {"static": Method.STATIC, "output": Method.OUTPUT, "input": Method.INPUT, "none": Method.NONE}
_ALGORITHMS: Final = {"": None, "cmac": CMAC, "hmac": HMAC}


@app.command()
def provision(
    *,
    network: NetworkFile,
    link: RadioLink = "",
    uuid: Annotated[
        list[str] | None, typer.Option("--uuid", metavar="HEX", help="The device; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every device that is heard.")] = False,
    oob: Annotated[
        list[str] | None,
        typer.Option(
            "--oob",
            metavar="static|output|input|none",
            help="How the device may prove itself, the best first; may be repeated. none has to be said.",
        ),
    ] = None,
    oob_file: Annotated[
        Path | None, typer.Option("--oob-file", metavar="FILE", help="Static OOB values, in hex: UUID VALUE, or VALUE.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="The device's public key, from elsewhere (PEM).")
    ] = None,
    algorithm: Annotated[str, typer.Option("--algorithm", metavar="cmac|hmac", help="The only algorithm to use.")] = "",
    short: Annotated[
        bool, typer.Option("--allow-short", help="Take values that can be guessed while a session lasts, too.")
    ] = False,
    cert_root: CertRoot = None,
    cert_policy: CertPolicy = None,
    cert_alone: CertAlone = False,
    cert_revoked: CertRevoked = None,
    cert_server: CertServer = None,
    cert_server_ca: CertServerCa = None,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What the node is called in the database.")] = "",
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Provision devices over PB-ADV, or over PB-GATT at a ble: link.

    Without --uuid the one device that is heard, or all of them with --all.

    With --cert-root a device proves its key by certificate before it is invited, and by OOB besides. Address and device
    key are written to the network's file before the device is given them. Values that a person
    carries are asked for and shown at the terminal; a static value never stands on the command line.

    Example: keywright mesh provision --network home.mesh --link 'sim:mesh?output=numeric:6'
    """
    policy = _policy(oob, algorithm, short=short)
    values = read_static_oob(oob_file) if oob_file is not None else {}
    key = None if public_key is None else _public(public_key)
    wanted = [uuid_in(text) for text in uuid or ()]
    certificates = certificate_policy(
        cert_root, wanted=cert_policy, servers=cert_server, revoked=cert_revoked, alone=cert_alone
    )
    accepted = Accepted(policy, certificates, fetcher(cert_server_ca) if cert_server else None)
    hands = _Hands(is_simulated=is_simulated(link) if link else True)
    failed: list[KeywrightError] = []
    with opened_network(network) as database, radio_at(link, trace, hands.attendant) as radio:
        for seen in [DeviceSeen(one, 0) for one in wanted] or _heard(radio, every=every):
            one = seen.uuid
            candidate = Candidate(
                one,
                name,
                values.get(one, values.get(b"", b"")),
                key,
                oob_information=None if wanted else seen.oob_information,
                uri=seen.uri,
            )
            end = _enrol(radio, database, candidate, accepted, hands)
            if isinstance(end, Failed):
                failed.append(end.error)
            _tell(one, end, as_json=json, is_only=len(wanted) == 1)
    if failed:
        raise failed[0]


class Accepted(NamedTuple):
    """What is taken of a device, and how its certificates are got from a server."""

    policy: Policy
    certificates: CertificatePolicy | None
    fetch: Callable[[HttpGet], HttpAnswer | KeywrightError] | None


def _policy(oob: Sequence[str] | None, algorithm: str, *, short: bool) -> Policy:
    for word in oob or ():
        if word not in METHODS:
            raise UsageError(f"--oob {word}: one of {', '.join(METHODS)}", hint="it may be repeated, the best first")
    if algorithm not in _ALGORITHMS:
        raise UsageError(f"--algorithm {algorithm}: cmac or hmac")
    usual = Policy()
    return Policy(
        methods=tuple(METHODS[word] for word in oob) if oob else usual.methods,
        algorithm=_ALGORITHMS[algorithm],
        least_bits=0.0 if short else SIX_DIGITS_BITS,
        least_bits_cmac=0.0 if short else usual.least_bits_cmac,
        least_static_octets=1 if short else usual.least_static_octets,
    )


def _public(path: Path) -> EcPublicKey:
    key = read_public_key(path)
    if not isinstance(key, EcPublicKey) or key.curve != CURVE:
        raise UsageError(f"{path}: a mesh device has a key on {CURVE}")
    return key


def _heard(radio: Radio, *, every: bool) -> list[DeviceSeen]:
    """The devices to provision. Raises LinkError for none, UsageError for several that nobody chose from."""
    scanner = Scanner()
    radio.run(scanner, SCAN_S, lambda: bool(scanner.devices) and not every and radio.now > 2 * SCAN_S)
    found = list(scanner.devices)
    if not found:
        raise LinkError(
            f"no unprovisioned device was heard in {SCAN_S:.0f} s", delivered=False, hint="see: keywright mesh scan"
        )
    if len(found) > 1 and not every:
        some = ", ".join(uuid_text(one.uuid) for one in found[:3])
        raise UsageError(f"{len(found)} devices are heard: {some}…", hint="name one with --uuid, or take --all")
    return found


def _enrol(
    radio: Radio, database: NetworkDatabase, candidate: Candidate, accepted: Accepted, hands: _Hands
) -> Enrolled | Failed:
    try:
        bearer = radio.link_to(candidate.uuid)
    except LinkError as error:
        return Failed(error, may_be_node=False)
    session = ProvisionerSession(Provisioner(EcPrivateKey.generate(CURVE), os.urandom), bearer)
    run = Enrolment(
        session,
        database,
        candidate,
        policy=accepted.policy,
        timestamp=timestamp(time.time()),
        certificates=accepted.certificates,
    )
    told: list[EnrolmentEvent] = []

    def some() -> bool:
        told.extend(run.events())
        return bool(told)

    end: Enrolled | Failed | None = None
    while end is None:
        radio.run(run, SESSION_S, some)
        if not told:
            return Failed(LinkError(f"no end of the session after {SESSION_S:.0f} s"), may_be_node=True)
        event = told.pop(0)
        match event:
            case ValueWanted():
                run.enter(hands.read(event.authentication), radio.now)
            case RetrievalWanted():
                _retrieve(run, event.request, accepted, radio.now)
            case ValueShown():
                hands.carry(candidate.uuid, event.authentication, event.value)
            case Enrolled() | Failed():
                end = event
    radio.run(run, GOODBYE_S)
    return end


def _retrieve(run: Enrolment, request: HttpGet, accepted: Accepted, now: float) -> None:
    answer = accepted.fetch(request) if accepted.fetch is not None else UsageError("no server may be asked")
    if isinstance(answer, HttpAnswer):
        run.retrieved(answer, now)
    else:
        run.not_retrieved(answer, now)


class _Hands:
    """The person at the terminal, who carries values; stands before a simulated device too."""

    def __init__(self, *, is_simulated: bool) -> None:
        self._is_simulated = is_simulated
        self._entered: dict[bytes, Value] = {}
        self.attendant = Attendant(self._sees, lambda uuid, _: self._entered.pop(uuid, None))

    def _sees(self, uuid: bytes, authentication: Authentication, value: Value) -> None:
        note(f"{uuid_text(uuid)} (simulated) shows: {show(authentication, value)} ({authentication.action_name})")

    def read(self, authentication: Authentication) -> Value:
        """The value that the device shows. Raises UsageError."""
        return value_in(authentication, ask(f"what does the device show ({authentication.action_name})?"))

    def carry(self, uuid: bytes, authentication: Authentication, value: Value) -> None:
        """Show what is to be entered at the device."""
        note(f"enter at the device ({authentication.action_name}): {show(authentication, value)}")
        if self._is_simulated:
            self._entered[uuid] = value_in(authentication, ask(f"entered at {uuid_text(uuid)} (simulated):"))


def _tell(uuid: bytes, end: Enrolled | Failed, *, as_json: bool, is_only: bool) -> None:
    if isinstance(end, Enrolled):
        node = end.node
        if as_json:
            vendor = None if end.certificate is None else end.certificate.vendor
            show_json(
                {"uuid": node.uuid, "address": node.unicast_address, "security": node.security, "certified_by": vendor}
            )
        else:
            secure = "authenticated" if node.security == "secure" else "not authenticated"
            certified = "" if end.certificate is None else f", certified by {printable(end.certificate.vendor)}"
            say(f"{good('provisioned')} {node.uuid} at {node.unicast_address}, {secure}{certified}")
        return
    if end.may_be_node:
        note(f"{uuid_text(uuid)} may be a node all the same: its address and device key are kept")
    if not is_only and not as_json:
        say(f"{bad('failed')} {uuid_text(uuid)}: {printable(str(end.error))}")
