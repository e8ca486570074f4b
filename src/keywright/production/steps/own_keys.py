"""Replace the factory keys by the unit's own, derived from the issuer master.

The order that loses no unit: everything needed to derive the new keys is durable, then PUT KEY adds them beside the
factory set, then a fresh session proves them, and only then the factory set goes, if it has not gone by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from keywright.errors import PolicyError
from keywright.globalplatform.dialogues.keys import put_key_fields
from keywright.globalplatform.host import delete_keys, key_information
from keywright.globalplatform.key_fields import wrapped_field
from keywright.production.chunk import Chunk
from keywright.production.job import Facts, Job, MismatchError, Role, StepDialogue, Verdict
from keywright.production.keystores.keystore import CardKeys, Keystore
from keywright.production.parameters import Authenticate, OwnKeys
from keywright.scp.session import HostSession

PUT = "own_keys.put"
REMOVE = "own_keys.remove"


def run(job: Job, p: OwnKeys) -> StepDialogue[None]:
    """Put, prove in a fresh session, and reach "key information lists only ours"."""
    if job.is_settled("own_keys"):
        return
    intent = _intent(job, p)
    job.check_prepared("own_keys", intent)
    yield from job.act(PUT, intent, lambda: _put(job, p), lambda _: _probe_put(job))
    channel = yield from job.session(Role.OWN)
    versions = yield from _versions(job, channel)
    if p.remove_factory and (job.kvn(Role.FACTORY) in versions or job.is_open(REMOVE)):
        facts = {"kvn": job.kvn(Role.FACTORY)}
        yield from job.act(REMOVE, facts, lambda: _remove(job, channel), lambda _: _probe_remove(job, channel))
        versions = yield from _versions(job, channel)
    if p.remove_factory:
        _check_only_ours(p, versions)
        if (yield from job.is_keyed(Role.FACTORY)):
            raise MismatchError("the factory keys still open the unit")
    found: Facts = {
        "kvn": p.kvn,
        "kcvs": job.own_keys().kcvs.hex(),
        "key_versions": list(versions),
        "path": job.path(Role.OWN),
    }
    job.record("done", "own_keys", found)


def _intent(job: Job, p: OwnKeys) -> Facts:
    """Everything needed to derive the new set again, and to recognise it."""
    facts = _derivation(p, job.own_keys(), job.own_context(), job.keystore)
    return {**facts, "factory_kvn": job.kvn(Role.FACTORY)}


def _derivation(p: OwnKeys, keys: CardKeys, context: bytes, keystore: Keystore) -> dict[str, object]:
    return {
        "kvn": p.kvn,
        "kcvs": keys.kcvs.hex(),
        "master": p.master,
        "scheme": p.scheme,
        "context": context.hex(),
        "keystore": keystore.keystore_id,
    }


def prepare(chunk: Chunk, p: OwnKeys) -> Mapping[int, Facts]:
    """The derivation of each unit's keys and their check values, by the KDD that the order names.

    Units whose KDD do not do are left out: they are refused when they are on the line.
    """
    contexts: dict[int, bytes] = {}
    for unit, names in chunk.units:
        with contextlib.suppress(PolicyError):
            contexts[unit.n] = p.context(names.kdd or b"", unit.serial, chunk.recipe.name)
    keys = chunk.keys_of({n: p.ref(context) for n, context in contexts.items()})
    return {n: _derivation(p, keys[n], context, chunk.keystore) for n, context in contexts.items()}


def _put(job: Job, p: OwnKeys) -> StepDialogue[Facts]:
    channel = job.channel
    if channel is None or not channel.is_open:
        channel = yield from job.session(Role.FACTORY)
    profile = job.parameters(Authenticate).profile
    wrapped = job.own_keys().wrap_for(channel, kcv=profile.scp03.kcv)
    fields = [wrapped_field(key, profile=profile) for key in wrapped]
    yield from job.under(channel, put_key_fields(fields, kvn=p.kvn, size=channel.max_data))
    return {"kvn": p.kvn, "kcvs": job.own_keys().kcvs.hex()}


def _probe_put(job: Job) -> StepDialogue[tuple[Verdict, Facts]]:
    """Which set answers? New: applied. Old and no new: not applied. Neither: a person has to look; no third guess."""
    if (yield from job.is_keyed(Role.OWN)):
        return Verdict.APPLIED, {"probe": "answers to the new keys", "kcvs": job.own_keys().kcvs.hex()}
    information = yield from key_information()
    listed = () if information is None else information.versions
    if job.kvn(Role.OWN) not in listed and (yield from job.is_keyed(Role.FACTORY)):
        return Verdict.NOT_APPLIED, {"probe": "answers to the factory keys"}
    return Verdict.UNKNOWN, {"probe": "answers to neither set"}


def _versions(job: Job, channel: HostSession) -> StepDialogue[tuple[int, ...]]:
    information = yield from job.under(channel, key_information())
    if information is None:
        raise MismatchError("the unit gives no key information to compare")
    return information.versions


def _remove(job: Job, channel: HostSession) -> StepDialogue[Facts]:
    yield from job.under(channel, delete_keys(job.kvn(Role.FACTORY)))
    return {"kvn": job.kvn(Role.FACTORY)}


def _probe_remove(job: Job, channel: HostSession) -> StepDialogue[tuple[Verdict, Facts]]:
    versions = yield from _versions(job, channel)
    gone = job.kvn(Role.FACTORY) not in versions
    return (Verdict.APPLIED if gone else Verdict.NOT_APPLIED), {"key_versions": list(versions)}


def _check_only_ours(p: OwnKeys, versions: tuple[int, ...]) -> None:
    if versions != (p.kvn,):
        shown = ", ".join(f"{kvn:02X}" for kvn in versions) or "none"
        raise MismatchError(f"key information lists {shown}, expected only {p.kvn:02X}")
