"""Does a finished unit hold what the store says of it? A fresh session, and everything public read back."""

from __future__ import annotations

from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError
from keywright.fob.credential import host as credential
from keywright.fob.credential.messages import Dgi
from keywright.globalplatform.host import card_state, key_information
from keywright.globalplatform.life_cycle import CardState, name_of
from keywright.production.job import Facts, Job, MismatchError, Role, StepDialogue, digest
from keywright.production.parameters import LockDown, OwnKeys, Personalise


def verify(job: Job) -> StepDialogue[Facts]:
    """Open a fresh session with the keys the keystore derives; compare keys, state, credential. Changes nothing.

    Raises MismatchError for the first thing that differs, CardCryptogramError when the keys are not the unit's.
    """
    channel = yield from job.session(Role.OWN)
    information = yield from job.under(channel, key_information())
    p = job.parameters(OwnKeys)
    versions = () if information is None else information.versions
    if p.kvn not in versions or (p.remove_factory and versions != (p.kvn,)):
        raise MismatchError(f"key information lists {', '.join(f'{kvn:02X}' for kvn in versions) or 'nothing'}")
    facts: dict[str, object] = {"key_versions": list(versions)}
    if job.recipe.step("lock_down") is not None:
        state = yield from job.under(channel, card_state())
        if state != CardState[job.parameters(LockDown).state]:
            raise MismatchError(f"the card's life cycle state is {name_of(state)}")
        facts["state"] = name_of(state)
    if job.recipe.step("personalise") is not None:
        facts |= yield from _credential(job, job.parameters(Personalise))
    return facts


def _credential(job: Job, p: Personalise) -> StepDialogue[dict[str, object]]:
    """The data groups as recorded, and a signature that shows that the certified key is in the unit."""
    channel = yield from job.session(Role.OWN, p.aid)
    recorded = job.facts("personalise")["groups"]
    for tag in Dgi.WRITABLE:
        value = yield from job.under(channel, credential.read(tag))
        if value is None or digest(value) != recorded[f"{tag:04X}"]:
            raise MismatchError(f"data group {tag:04X} differs from the record")
    challenge = job.rng(32)
    signature = yield from job.under(channel, credential.sign(challenge))
    try:
        EcPublicKey.from_point("P-256", bytes.fromhex(job.facts("personalise.generate")["point"])).verify(
            signature, credential.signed_bytes(challenge)
        )
    except AuthenticationError as error:
        raise MismatchError("the unit does not hold the private key of its certificate") from error
    return {"credential": "read back, signature valid"}
