"""`keywright mesh provision`: make devices nodes of a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Final, final

import typer

from keywright.cli.mesh.accepting import (
    Accepted,
    AlgorithmName,
    AllowShort,
    Oob,
    OobFile,
    PublicKeyFile,
    TrustNode,
    policy_of,
    public_key_of,
)
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
from keywright.cli.mesh.nodes import node_in
from keywright.cli.mesh.options import NetworkFile, RadioLink, uuid_in, value_in
from keywright.cli.mesh.owner import Owner, owner_at
from keywright.cli.mesh.scan import Via, scan_through
from keywright.cli.options import Json, Trace
from keywright.cli.person import ask
from keywright.cli.text import bad, good, note, printable, say, show_json
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.fob.mesh_device import Attendant
from keywright.fob.mesh_radio import Radio, read_static_oob
from keywright.fob.uri import is_simulated
from keywright.mesh.database.cdb import NodeEntry, uuid_text
from keywright.mesh.ends import CURVE
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, EnrolmentEvent, Failed, RetrievalWanted
from keywright.mesh.oob import Authentication, Value, show
from keywright.mesh.provisioner import Provisioner, ValueShown, ValueWanted
from keywright.mesh.remote.enrolling import enrol_through
from keywright.mesh.retrieval import HttpAnswer, HttpGet
from keywright.mesh.scanner import DeviceSeen, Scanner
from keywright.mesh.session import ProvisionerSession
from keywright.sansio.endpoint import Endpoint

app = typer.Typer(rich_markup_mode=None)

SCAN_S: Final = 5.0
SESSION_S: Final = 600.0
"""Longest time for one device; every timer of a session is shorter."""
GOODBYE_S: Final = 2.0
"""For the frames that close the link."""
SHOW_S: Final = 5.0
"""For a simulated device to show its value, before somebody is asked for it."""
TAIL_S: Final = 0.3
"""For what is on its way then."""


@app.command()
def provision(
    *,
    network: NetworkFile,
    link: RadioLink = "",
    uuid: Annotated[
        list[str] | None, typer.Option("--uuid", metavar="HEX", help="The device; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every device that is heard.")] = False,
    via: Via = "",
    oob: Oob = None,
    oob_file: OobFile = None,
    public_key: PublicKeyFile = None,
    algorithm: AlgorithmName = "",
    short: AllowShort = False,
    trust_node: TrustNode = False,
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
    """Provision devices over PB-ADV, over PB-GATT at a ble: link, or with --via through a node that hears them.

    Without --uuid the one device that is heard, or all of them with --all. The node of --via sees every PDU, so a
    device must have a public key that comes out of band, and an OOB method, unless --trust-node is said.

    With --cert-root a device proves its key by certificate before it is invited, and by OOB besides. Address and device
    key are written to the network's file before the device is given them. Values that a person
    carries are asked for and shown at the terminal; a static value never stands on the command line.

    Example: keywright mesh provision --network home.mesh --link 'sim:mesh?output=numeric:6'
    """
    policy = policy_of(oob, algorithm, short=short)
    values = read_static_oob(oob_file) if oob_file is not None else {}
    key = public_key_of(public_key)
    wanted = [uuid_in(text) for text in uuid or ()]
    certificates = certificate_policy(
        cert_root, wanted=cert_policy, servers=cert_server, revoked=cert_revoked, alone=cert_alone
    )
    accepted = Accepted(policy, certificates, fetcher(cert_server_ca) if cert_server else None, trust_node)
    hands = Hands(is_simulated=is_simulated(link) if link else True)
    failed: list[KeywrightError] = []
    with owner_at(network, link, trace, hands.attendant) as owner:
        way = _Way(owner, node_in(owner.database, via) if via else None)
        for seen in [DeviceSeen(one, 0) for one in wanted] or way.heard(every=every):
            one = seen.uuid
            candidate = Candidate(
                one,
                name,
                values.get(one, values.get(b"", b"")),
                key,
                oob_information=None if wanted else seen.oob_information,
                uri=seen.uri,
            )
            end = way.enrol(candidate, accepted, hands)
            if isinstance(end, Failed):
                failed.append(end.error)
            _tell(one, end, as_json=json, is_only=len(wanted) == 1)
    if failed:
        raise failed[0]


@final
class _Way:
    """How devices are reached: by the radio itself, or through a node that is a remote provisioning server."""

    def __init__(self, owner: Owner, via: NodeEntry | None) -> None:
        self._owner = owner
        self._via = via

    def heard(self, *, every: bool) -> list[DeviceSeen]:
        """The devices to provision. Raises LinkError for none, UsageError for several that nobody chose from."""
        if self._via is not None:
            devices: Sequence[DeviceSeen] = scan_through(self._owner, self._via, int(SCAN_S))
        else:
            radio, scanner = self._owner.radio, Scanner()
            radio.run(scanner, SCAN_S, lambda: bool(scanner.devices) and not every and radio.now > 2 * SCAN_S)
            devices = scanner.devices
        if not devices:
            raise LinkError(
                f"no unprovisioned device was heard in {SCAN_S:.0f} s", delivered=False, hint="see: keywright mesh scan"
            )
        if len(devices) > 1 and not every:
            some = ", ".join(uuid_text(one.uuid) for one in devices[:3])
            raise UsageError(f"{len(devices)} devices are heard: {some}…", hint="name one with --uuid, or take --all")
        return [*devices]

    def enrol(self, candidate: Candidate, accepted: Accepted, hands: Hands) -> Enrolled | Failed:
        """Make a device a node."""
        try:
            run, on_air = self._begin(candidate, accepted)
        except LinkError as error:
            return Failed(error, may_be_node=False)
        return _run(self._owner.radio, run, on_air, candidate.uuid, accepted, hands)

    def _begin(self, candidate: Candidate, accepted: Accepted) -> tuple[Enrolment, Endpoint[Any]]:
        """An enrolment, and what the radio is to run for it. Raises LinkError where nothing leads to the device."""
        owner = self._owner
        provisioner = Provisioner(EcPrivateKey.generate(CURVE), os.urandom)
        if self._via is None:
            run = Enrolment(
                ProvisionerSession(provisioner, owner.radio.link_to(candidate.uuid)),
                owner.database,
                candidate,
                policy=accepted.policy,
                timestamp=owner.timestamp,
                certificates=accepted.certificates,
            )
            return run, run
        run = enrol_through(
            self._via.address,
            owner.stack,
            provisioner,
            owner.database,
            candidate,
            owner.radio.now,
            policy=accepted.policy,
            timestamp=owner.timestamp,
            net_index=self._via.net_keys[0].index if self._via.net_keys else 0,
            allow_weak=accepted.trust_node,
            certificates=accepted.certificates,
        )
        return run, owner.to_network(run)


def _run(
    radio: Radio, run: Enrolment, on_air: Endpoint[Any], uuid: bytes, accepted: Accepted, hands: Hands
) -> Enrolled | Failed:
    """Run an enrolment to its end. on_air: it, or what carries it."""
    told: list[EnrolmentEvent] = []

    def some() -> bool:
        told.extend(run.events())
        return bool(told)

    end: Enrolled | Failed | None = None
    while end is None:
        radio.run(on_air, SESSION_S, some)
        if not told:
            return Failed(LinkError(f"no end of the session after {SESSION_S:.0f} s"), may_be_node=True)
        event = told.pop(0)
        match event:
            case ValueWanted():
                radio.run(on_air, SHOW_S, lambda: some() or hands.has_seen)
                if not told:
                    run.enter(hands.read(event.authentication), radio.now)
            case RetrievalWanted():
                _retrieve(run, event.request, accepted, radio.now)
            case ValueShown():
                hands.carry(uuid, event.authentication, event.value)
            case Enrolled() | Failed():
                end = event
    radio.run(on_air, GOODBYE_S, lambda: run.is_over)
    radio.run(on_air, TAIL_S)
    return end


def _retrieve(run: Enrolment, request: HttpGet, accepted: Accepted, now: float) -> None:
    answer = accepted.fetch(request) if accepted.fetch is not None else UsageError("no server may be asked")
    if isinstance(answer, HttpAnswer):
        run.retrieved(answer, now)
    else:
        run.not_retrieved(answer, now)


@final
class Hands:
    """The person at the terminal, who carries values; stands before a simulated device too."""

    def __init__(self, *, is_simulated: bool) -> None:
        self._is_simulated = is_simulated
        self.has_seen = not is_simulated
        """Whether a value can be asked for: a real device shows it beside us, a simulated one says it here."""
        self._entered: dict[bytes, Value] = {}
        self.attendant = Attendant(self._sees, lambda uuid, _: self._entered.pop(uuid, None))

    def _sees(self, uuid: bytes, authentication: Authentication, value: Value) -> None:
        self.has_seen = True
        note(f"{uuid_text(uuid)} (simulated) shows: {show(authentication, value)} ({authentication.action_name})")

    def read(self, authentication: Authentication) -> Value:
        """The value that the device shows. Raises UsageError."""
        self.has_seen = not self._is_simulated
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
