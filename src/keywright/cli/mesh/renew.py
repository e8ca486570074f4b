"""`keywright mesh node rekey|readdress|recompose`: a node is provisioned anew in its network (MshPRT 3.11.8)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from keywright.cli.links import confirm
from keywright.cli.mesh.accepting import (
    AlgorithmName,
    AllowShort,
    Oob,
    OobFile,
    PublicKeyFile,
    policy_of,
    public_key_of,
)
from keywright.cli.mesh.nodes import NodeName, node_in, tell_node
from keywright.cli.mesh.options import NetworkFile, RadioLink
from keywright.cli.mesh.owner import Owner, owner_at
from keywright.cli.mesh.provision import SESSION_S, SHOW_S, TAIL_S, Hands
from keywright.cli.options import Json, Trace, Yes
from keywright.cli.text import good, note, say
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import LinkError
from keywright.fob.mesh_radio import read_static_oob
from keywright.fob.uri import is_simulated
from keywright.mesh.configuring import COMING_UP
from keywright.mesh.database.cdb import NodeEntry, uuid_bytes
from keywright.mesh.ends import CURVE
from keywright.mesh.enrolment import Candidate, Failed
from keywright.mesh.models.configuration_client import Patience
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import Provisioner, ValueShown, ValueWanted
from keywright.mesh.remote.messages import Procedure
from keywright.mesh.remote.renewing import Renewed, Renewing, find_out, renewal_under_way
from keywright.mesh.surveying import read_node

app = typer.Typer(rich_markup_mode=None)

GOODBYE_S: Final = 5.0
"""For the link to be closed: a node changes its address after that."""
_PROBE: Final = Patience(2.0, 3)

AllowNoOob = Annotated[
    bool,
    typer.Option("--trust-path", help="Whoever is on the way may see and change all: needs no OOB key, no method."),
]


@app.command()
def rekey(
    node: NodeName,
    *,
    network: NetworkFile,
    oob: Oob = None,
    oob_file: OobFile = None,
    public_key: PublicKeyFile = None,
    algorithm: AlgorithmName = "",
    short: AllowShort = False,
    trust_path: AllowNoOob = False,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Give a node a new device key (Device Key Refresh). It has to be a remote provisioning server.

    Example: keywright mesh node rekey 0100 --network home.mesh --public-key lamp.pem --oob-file lamp.oob
    """
    _renew(
        Procedure.DEVICE_KEY,
        node,
        network,
        policy_of(oob, algorithm, short=short),
        (oob_file, public_key),
        link,
        trace,
        what="replace the device key of",
        trust_path=trust_path,
        yes=yes,
        json=json,
    )


@app.command()
def readdress(
    node: NodeName,
    *,
    network: NetworkFile,
    oob: Oob = None,
    oob_file: OobFile = None,
    public_key: PublicKeyFile = None,
    algorithm: AlgorithmName = "",
    short: AllowShort = False,
    trust_path: AllowNoOob = False,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Give a node other addresses, and a new device key (Node Address Refresh). Those it had rest.

    Example: keywright mesh node readdress 0100 --network home.mesh --public-key lamp.pem --oob-file lamp.oob
    """
    _renew(
        Procedure.ADDRESS,
        node,
        network,
        policy_of(oob, algorithm, short=short),
        (oob_file, public_key),
        link,
        trace,
        what="give other addresses to",
        trust_path=trust_path,
        yes=yes,
        json=json,
    )


@app.command()
def recompose(
    node: NodeName,
    *,
    network: NetworkFile,
    oob: Oob = None,
    oob_file: OobFile = None,
    public_key: PublicKeyFile = None,
    algorithm: AlgorithmName = "",
    short: AllowShort = False,
    trust_path: AllowNoOob = False,
    link: RadioLink = "",
    yes: Yes = False,
    json: Json = False,
    trace: Trace = None,
) -> None:
    """Let a node be what its new firmware makes of it (Node Composition Refresh), with a new device key.

    Example: keywright mesh node recompose 0100 --network home.mesh --public-key lamp.pem --oob-file lamp.oob
    """
    _renew(
        Procedure.COMPOSITION,
        node,
        network,
        policy_of(oob, algorithm, short=short),
        (oob_file, public_key),
        link,
        trace,
        what="change the composition of",
        trust_path=trust_path,
        yes=yes,
        json=json,
    )


def _renew(
    procedure: int,
    name: str,
    network: Path,
    policy: Policy,
    files: tuple[Path | None, Path | None],
    link: str,
    trace: Path | None,
    *,
    what: str,
    trust_path: bool,
    yes: bool,
    json: bool,
) -> None:
    """files: with static OOB values, and with the node's public key."""
    values = read_static_oob(files[0]) if files[0] is not None else {}
    key = public_key_of(files[1])
    hands = Hands(is_simulated=is_simulated(link) if link else True)
    with owner_at(network, link, trace, hands.attendant) as owner:
        node = node_in(owner.database, name)
        uuid = uuid_bytes(node.uuid)
        if not _is_found_out(owner, node):
            confirm(link, f"{what} node {node.unicast_address}", yes=yes)
            candidate = Candidate(uuid, static_oob=values.get(uuid, values.get(b"", b"")), public_key=key)
            _run(owner, candidate, procedure, policy, hands, trust_path=trust_path)
        renewed = owner.database.require(uuid)
        # Asked under the new key, so that the node forgets the old one.
        owner.ask(read_node(owner.visit(renewed)._replace(patience=COMING_UP)))
        if not json:
            now = "" if renewed.address == node.address else f" is {renewed.unicast_address} now, and"
            say(f"{good('renewed')}: node {node.unicast_address}{now} has a new device key")
        tell_node(owner.database, uuid, as_json=json)


def _is_found_out(owner: Owner, node: NodeEntry) -> bool:
    """After a cut: whether the node is what it was to become. Raises LinkError if it answers under neither key."""
    uuid = uuid_bytes(node.uuid)
    if renewal_under_way(owner.database, uuid) is None:
        return False
    note("an earlier call was cut: the node is asked which key it has")
    is_new = owner.ask_as_is(find_out(owner.database, owner.stack, uuid, owner.timestamp, _PROBE))
    note("it is what it was to become" if is_new else "it is what it was; begin again")
    return is_new


def _run(owner: Owner, candidate: Candidate, procedure: int, policy: Policy, hands: Hands, *, trust_path: bool) -> None:
    run = Renewing(
        owner.stack,
        Provisioner(EcPrivateKey.generate(CURVE), os.urandom),
        owner.database,
        candidate,
        procedure,
        owner.radio.now,
        policy=policy,
        timestamp=owner.timestamp,
        allow_weak=trust_path,
    )
    on_air = owner.to_network(run)
    told: list[Any] = []

    def some() -> bool:
        told.extend(run.events())
        return bool(told)

    end: Renewed | Failed | None = None
    while end is None:
        owner.radio.run(on_air, SESSION_S, some)
        if not told:
            raise LinkError(f"no end of the session after {SESSION_S:.0f} s", hint="call again: the node is asked then")
        event = told.pop(0)
        match event:
            case ValueWanted():
                owner.radio.run(on_air, SHOW_S, lambda: some() or hands.has_seen)
                if not told:
                    run.enter(hands.read(event.authentication), owner.radio.now)
            case ValueShown():
                hands.carry(candidate.uuid, event.authentication, event.value)
            case Renewed() | Failed():
                end = event
    owner.radio.run(on_air, GOODBYE_S, lambda: run.is_over)
    owner.radio.run(on_air, TAIL_S)
    if isinstance(end, Failed):
        if end.may_be_node:
            note("it may have taken the data all the same: both keys are kept, and the next call asks")
        raise end.error
