"""Does a finished unit hold what the store says of it? A fresh session, and everything public read back."""

from __future__ import annotations

from keywright.aliro.messages import EXPEDITED_AID
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError
from keywright.fob.aliro import host as aliro_host
from keywright.fob.credential import host as credential
from keywright.fob.credential.messages import Dgi
from keywright.globalplatform.host import card_state, key_information
from keywright.globalplatform.life_cycle import CardState, name_of
from keywright.production.job import Facts, Job, MismatchError, Role, StepDialogue, digest
from keywright.production.parameters import Aliro, LockDown, OwnKeys, Personalise
from keywright.production.steps import aliro


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
    if job.recipe.step("aliro") is not None:
        facts |= yield from _aliro(job, job.parameters(Aliro))
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


def _aliro(job: Job, p: Aliro) -> StepDialogue[dict[str, object]]:
    """The key pair, its readers and its document as recorded; what is in the mailbox is the readers' affair."""
    channel = yield from job.session(Role.OWN, EXPEDITED_AID)
    point = yield from job.under(channel, aliro_host.read_public_key(aliro.NUMBER))
    if point is None or point.hex() != job.facts(aliro.GENERATE)["point"]:
        raise MismatchError("the key pair of the Aliro applet is not the one recorded")
    wrong = yield from aliro.differences(job, channel, aliro.lasting(p, job.facts(aliro.WRITE)))
    if wrong:
        raise MismatchError(f"data group {wrong[0]:04X} of the Aliro applet differs from the record")
    return {"aliro": "key pair, readers and document read back"}
