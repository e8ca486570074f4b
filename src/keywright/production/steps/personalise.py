"""Give the unit its credential: a key pair made on it, a certificate for that key, owner group, configuration.

The certificate is in the store before the unit sees it, and there is never a second one: a key pair that a cut left
behind is read back and certified, a certificate that was issued is used again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from keywright.fob.credential import host as credential
from keywright.fob.credential.messages import Dgi
from keywright.production.authority import DeviceAuthority
from keywright.production.chunk import Chunk
from keywright.production.job import Facts, Job, MismatchError, Role, StepDialogue, Verdict, digest
from keywright.production.parameters import Personalise
from keywright.production.unit_store.units import Unit
from keywright.scp.session import HostSession

GENERATE = "personalise.generate"
WRITE = "personalise.write"


def run(job: Job, p: Personalise) -> StepDialogue[None]:
    """Generate, certify, write, read back and compare."""
    if job.is_settled("personalise"):
        return
    channel = yield from job.session(Role.OWN, p.aid)
    if job.named.public_key is None:
        made = yield from job.act(
            GENERATE, {}, lambda: _generate(job, channel), lambda _: _probe_generate(job, channel)
        )
    else:
        made = yield from _supplied(job, channel, job.named.public_key)
    der = _certify(job, p, bytes.fromhex(made["point"]))
    groups = data_groups(job.unit, p, der)
    facts = _facts(der, groups)
    job.check_prepared("personalise", facts)
    yield from job.act(WRITE, facts, lambda: _write(job, channel, groups), lambda _: _probe_write(job, channel, groups))
    wrong = yield from differences(job, channel, groups)
    if wrong:
        raise MismatchError(f"data group {wrong[0]:04X} reads back other than it was written")
    job.record("done", "personalise", facts)


def prepare(chunk: Chunk, p: Personalise) -> Mapping[int, Facts]:
    """Each unit's certificate for the key pair that its device comes with, and what its data groups are to be.

    A certificate that a unit has already is used again, unless it is for another key: then the unit is left out.
    """
    authority = DeviceAuthority(chunk.keystore, p.ca)
    prepared: dict[int, Facts] = {}
    for unit, names in chunk.units:
        point = names.public_key or b""
        certificate = chunk.certificates.get(unit.n)
        if certificate is None:
            certificate = authority.issue(unit, point, at=chunk.at, validity_days=p.validity_days, rng=chunk.rng)
            chunk.issued[unit.n] = certificate
        if certificate.spki_sha256 == DeviceAuthority.spki_digest(point):
            prepared[unit.n] = _facts(certificate.der, data_groups(unit, p, certificate.der))
    return prepared


def _facts(certificate: bytes, groups: tuple[tuple[int, bytes], ...]) -> dict[str, object]:
    return {"certificate": digest(certificate), "groups": {f"{tag:04X}": digest(value) for tag, value in groups}}


def _supplied(job: Job, channel: HostSession, named: bytes) -> StepDialogue[Facts]:
    """The key pair that the device came with; nothing is generated. Raises MismatchError unless the order names it."""
    if job.is_settled(GENERATE):
        return job.facts(GENERATE)
    point = yield from job.under(channel, credential.read_public_key())
    if point is None or point != named:
        found = "no key pair" if point is None else "another one"
        raise MismatchError(f"the order names a key pair that the device comes with; it has {found}")
    made = {"point": point.hex(), "supplied": True}
    job.record("done", GENERATE, made)
    return made


def data_groups(unit: Unit, p: Personalise, certificate: bytes) -> tuple[tuple[int, bytes], ...]:
    """What is written to the applet: certificate, owner group, configuration (canonical JSON, values in hex)."""
    configuration = {key: value.hex() for key, value in p.configuration_items()}
    return (
        (Dgi.CERTIFICATE, certificate),
        (Dgi.OWNER_GROUP, unit.owner_group.encode()),
        (Dgi.CONFIGURATION, json.dumps(configuration, sort_keys=True, separators=(",", ":")).encode()),
    )


def _generate(job: Job, channel: HostSession) -> StepDialogue[Facts]:
    point = yield from job.under(channel, credential.generate_key_pair())
    return {"point": point.hex()}


def _probe_generate(job: Job, channel: HostSession) -> StepDialogue[tuple[Verdict, Facts]]:
    point = yield from job.under(channel, credential.read_public_key())
    if point is None:
        return Verdict.NOT_APPLIED, {"probe": "no key pair"}
    return Verdict.APPLIED, {"probe": "key pair found", "point": point.hex()}


def _certify(job: Job, p: Personalise, point: bytes) -> bytes:
    """The unit's certificate: the one in the store, or a new one that the next commit stores."""
    certificate = job.certificate
    if certificate is None:
        authority = DeviceAuthority(job.keystore, p.ca)
        certificate = authority.issue(job.unit, point, at=job.clock(), validity_days=p.validity_days, rng=job.rng)
        job.keep(certificate)
    elif certificate.spki_sha256 != DeviceAuthority.spki_digest(point):
        raise MismatchError("the unit's key pair is not the one its certificate was issued for")
    return certificate.der


def _write(job: Job, channel: HostSession, groups: tuple[tuple[int, bytes], ...]) -> StepDialogue[Facts]:
    yield from job.under(channel, credential.store(groups, size=channel.max_data))
    return {"groups": len(groups)}


def _probe_write(
    job: Job, channel: HostSession, groups: tuple[tuple[int, bytes], ...]
) -> StepDialogue[tuple[Verdict, Facts]]:
    wrong = yield from differences(job, channel, groups)
    if wrong:
        return Verdict.NOT_APPLIED, {"probe": f"group {wrong[0]:04X} is not there"}
    return Verdict.APPLIED, {"probe": "all groups read back", "groups": len(groups)}


def differences(job: Job, channel: HostSession, groups: tuple[tuple[int, bytes], ...]) -> StepDialogue[list[int]]:
    """The groups that read back other than given, or not at all."""
    wrong = []
    for tag, value in groups:
        found = yield from job.under(channel, credential.read(tag))
        if found != value:
            wrong.append(tag)
    return wrong
