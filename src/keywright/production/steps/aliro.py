"""Make the unit an Aliro user device: the applet, a key pair made on it, its readers, an Access Document.

The document is in the store before the unit sees it: one that was issued and perhaps not written is written again, not
issued anew.
"""

from __future__ import annotations

from typing import Final

from keywright.aliro.credential import GroupRecord
from keywright.aliro.dates import build_timestamp
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Validity
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.messages import EXPEDITED_AID, STEP_UP_AID, Signaling
from keywright.crypto.ec import EcPublicKey
from keywright.fob.aliro import host
from keywright.fob.aliro.messages import PACKAGE_AID, Credential, Dgi
from keywright.fob.aliro.package import INSTANCES, load_file
from keywright.globalplatform.dialogues.content import Installation, delete_object, install_for_install
from keywright.globalplatform.dialogues.installing import install_cap
from keywright.globalplatform.dialogues.registry import read_registry
from keywright.globalplatform.host import Dialogue
from keywright.production.handover.unit_record import KeystoreSigner
from keywright.production.job import Facts, Job, MismatchError, Role, StepDialogue, Verdict, digest
from keywright.production.parameters import Aliro
from keywright.scp.session import HostSession

STEP: Final = "aliro"
INSTALL: Final = "aliro.install"
GENERATE: Final = "aliro.generate"
WRITE: Final = "aliro.write"
NUMBER: Final = 0
"""Of the credential that the line gives."""

_DAY_S: Final = 86_400
_CLOCKS_S: Final = 3600
"""A document is valid from so long before it is signed: clocks differ."""
_CAPABILITIES: Final = {
    "secure": Capability.SECURE,
    "unsecure": Capability.UNSECURE,
    "toggle": Capability.TOGGLE,
    "momentary-unsecure": Capability.MOMENTARY_UNSECURE,
    "extended-momentary-unsecure": Capability.EXTENDED_MOMENTARY_UNSECURE,
}


def run(job: Job, p: Aliro) -> StepDialogue[None]:
    """Install, generate, issue, write, read back and compare."""
    if job.is_settled(STEP):
        return
    if not job.is_settled(INSTALL):
        domain = yield from job.session(Role.OWN)
        yield from job.act(INSTALL, {"load": p.load}, lambda: _install(job, domain, p), lambda _: _probe(job, domain))
    channel = yield from job.session(Role.OWN, EXPEDITED_AID)
    made = yield from job.act(GENERATE, {}, lambda: _generate(job, channel), lambda _: _probe_generate(job, channel))
    point = bytes.fromhex(made["point"])
    facts = _known(job) or _issued(job, p, point)
    contents = _contents(p, facts)
    yield from job.act(
        WRITE,
        facts,
        lambda: _write(job, channel, contents, facts),
        lambda _: _probe_write(job, channel, contents, facts),
    )
    wrong = yield from differences(job, channel, contents)
    if wrong:
        raise MismatchError(f"data group {wrong[0]:04X} of the Aliro applet reads back other than it was written")
    shown = {name: facts[name] for name in ("credential_signed", "access_document") if name in facts}
    job.record("done", STEP, {"point": point.hex(), "reader_group": p.reader_group, **shown})


# ---- what the unit gets


def _known(job: Job) -> Facts | None:
    """What was intended or done before: the same document counts."""
    if job.is_settled(WRITE):
        return job.facts(WRITE)
    return job.intent(WRITE) if job.is_open(WRITE) else None


def _issued(job: Job, p: Aliro, point: bytes) -> Facts:
    """The Access Document for the unit's key, and when it was signed; nothing without an issuer."""
    if not p.issuer:
        return {}
    now = int(job.clock())
    issuer = CredentialIssuer(KeystoreSigner(job.keystore, p.issuer), job.rng)
    allowed = sum(_CAPABILITIES[name] for name in set(p.capabilities))
    data = AccessData(id=digest(job.unit.serial.encode()).encode()[:16], rules=(AccessRule(allowed),))
    validity = Validity(now, now - _CLOCKS_S, now + p.validity_days * _DAY_S)
    document = issuer.access_document(EcPublicKey.from_point("P-256", point), {p.element: data}, validity)
    return {"access_document": document.build().hex(), "credential_signed": build_timestamp(now)}


def lasting(p: Aliro, facts: Facts) -> dict[int, bytes]:
    """What stays as the line wrote it: all but the mailbox."""
    return {tag: content for tag, content in _contents(p, facts).items() if tag != Dgi.MAILBOX}


def _contents(p: Aliro, facts: Facts) -> dict[int, bytes]:
    group = GroupRecord(bytes.fromhex(p.reader_group), bytes.fromhex(p.reader_key))
    times = str(facts.get("credential_signed", "")).encode()
    contents = {Dgi.CREDENTIAL: Credential(Signaling.SELECT_STEP_UP, (group,), times).build()}
    if "access_document" in facts:
        contents[Dgi.ACCESS_DOCUMENT] = bytes.fromhex(facts["access_document"])
    if p.mailbox_bytes:
        contents[Dgi.MAILBOX] = bytes(p.mailbox_bytes)
    return contents


# ---- on the unit


def _install(job: Job, domain: HostSession, p: Aliro) -> StepDialogue[Facts]:
    if p.load:
        yield from job.under(domain, _load_and_install(domain.max_data))
    else:
        yield from job.under(domain, _install_alone())
    return {"package": PACKAGE_AID.hex().upper()}


def _load_and_install(size: int) -> Dialogue[None]:
    registry = yield from read_registry()
    if PACKAGE_AID in [aid for aid, _ in registry.packages]:
        yield from delete_object(PACKAGE_AID, related=True)
    yield from install_cap(load_file(), INSTANCES, size=size)


def _install_alone() -> Dialogue[None]:
    registry = yield from read_registry()
    there = {entry.aid for entry in registry.applications}
    for one in INSTANCES:
        if one.instance is not None and one.instance not in there:
            yield from install_for_install(Installation(PACKAGE_AID, one.module, one.instance))


def _probe(job: Job, domain: HostSession) -> StepDialogue[tuple[Verdict, Facts]]:
    registry = yield from job.under(domain, read_registry())
    there = {entry.aid for entry in registry.applications}
    applied = {EXPEDITED_AID, STEP_UP_AID} <= there
    return (Verdict.APPLIED if applied else Verdict.NOT_APPLIED), {"package": PACKAGE_AID.hex().upper()}


def _generate(job: Job, channel: HostSession) -> StepDialogue[Facts]:
    point = yield from job.under(channel, host.generate_key_pair(NUMBER))
    return {"point": point.hex()}


def _probe_generate(job: Job, channel: HostSession) -> StepDialogue[tuple[Verdict, Facts]]:
    point = yield from job.under(channel, host.read_public_key(NUMBER))
    if point is None:
        return Verdict.NOT_APPLIED, {"probe": "no key pair"}
    return Verdict.APPLIED, {"probe": "key pair found", "point": point.hex()}


def _write(job: Job, channel: HostSession, contents: dict[int, bytes], facts: Facts) -> StepDialogue[Facts]:
    yield from job.under(channel, host.store(NUMBER, contents, size=channel.max_data))
    return {**facts, "groups": {f"{tag:04X}": digest(content) for tag, content in contents.items()}}


def _probe_write(
    job: Job, channel: HostSession, contents: dict[int, bytes], facts: Facts
) -> StepDialogue[tuple[Verdict, Facts]]:
    wrong = yield from differences(job, channel, contents)
    if wrong:
        return Verdict.NOT_APPLIED, {"probe": f"group {wrong[0]:04X} is not there"}
    return Verdict.APPLIED, {**facts, "probe": "all groups read back"}


def differences(job: Job, channel: HostSession, contents: dict[int, bytes]) -> StepDialogue[list[int]]:
    """The groups that read back other than given, or not at all."""
    wrong = []
    for tag, content in contents.items():
        found = yield from job.under(channel, host.read(tag, NUMBER))
        if found != content:
            wrong.append(tag)
    return wrong
