"""Enrolment of a device through a node that sees every PDU, with a policy that fits that (MshPRT 5.2.3)."""

from __future__ import annotations

from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.enrolment import Candidate, Enrolment
from keywright.mesh.network.stack import Stack
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.remote.client import RemoteLink, RemoteTiming
from keywright.mesh.session import ProvisionerSession


def enrol_through(
    server: int,
    stack: Stack,
    provisioner: Provisioner,
    database: NetworkDatabase,
    candidate: Candidate,
    now: float,
    *,
    policy: Policy,
    timestamp: str,
    net_index: int = 0,
    timing: RemoteTiming | None = None,
    allow_weak: bool = False,
    certificates: CertificatePolicy | None = None,
) -> Enrolment:
    """An enrolment whose frames are network PDUs of `stack`. server: address of the node that hears the device.

    certificates: as `Enrolment`; a certificate is a public key that comes out of band.

    Unless `allow_weak`, the device's public key has to come out of band and an OOB method has to be used, whatever
    `policy` says: without, the node in the middle could take the device's place.
    """
    link = RemoteLink(stack, server, candidate.uuid, now, net_index=net_index, timing=timing)
    return Enrolment(
        ProvisionerSession(provisioner, link),
        database,
        candidate,
        policy=policy if allow_weak else policy.for_remote(),
        timestamp=timestamp,
        net_index=net_index,
        certificates=certificates,
    )
