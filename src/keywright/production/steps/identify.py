"""Is this the expected product, and one that has not been through the line? Reads only; needs no key."""

from __future__ import annotations

from keywright.globalplatform.host import Identity
from keywright.globalplatform.host import identify as read_identity
from keywright.production.job import Job, MismatchError, RejectedError, StepDialogue
from keywright.production.parameters import Authenticate, Identify, OwnKeys
from keywright.production.recipe import Recipe
from keywright.scp.scp03.messages import SCP03


def run(job: Job, p: Identify) -> StepDialogue[None]:
    """Read the unit's identity, compare it with the recipe and with what the store knows of the unit."""
    identity = yield from read_identity()
    job.identity = identity
    check_product(p, identity)
    uid = bytes.fromhex(identity.uid)
    if not uid:
        raise RejectedError("the unit has no CPLC, IIN or CIN to be told by")
    if job.named.uid not in (None, uid):
        raise RejectedError(f"another device ({identity.uid}) than the order names for this unit")
    if job.is_settled("identify"):
        if job.facts("identify")["uid"] != identity.uid:
            raise MismatchError(f"another device ({identity.uid}) answers in the place of this unit")
        return
    if p.fresh:
        check_fresh(job.recipe, identity)
    job.change(device_uid=uid, state="running", started_at=job.begun)
    job.record("done", "identify", facts(identity))


def check_product(p: Identify, identity: Identity) -> None:
    """Raise RejectedError when CPLC or card data are not those of the expected product."""
    for field in ("ic_fabricator", "ic_type", "os_id"):
        wanted = getattr(p.product, field)
        if wanted is None:
            continue
        found = None if identity.cplc is None else getattr(identity.cplc, field)
        if found != wanted:
            shown = "nothing" if found is None else f"{found:04X}"
            raise RejectedError(f"another product: {field} is {shown}, the recipe expects {wanted:04X}")
    if p.i and identity.card_data is not None:
        offered = [i for scp, i in identity.card_data.secure_channels if scp == SCP03]
        if not set(offered) & set(p.i):
            raise RejectedError(f"another product: SCP03 i={', '.join(f'{i:02X}' for i in offered) or 'none'}")


def check_fresh(recipe: Recipe, identity: Identity) -> None:
    """Raise RejectedError when key information lists sets other than the one a factory-fresh unit has.

    A recipe that opens no session cannot tell; one that is to leave only its own keys needs key information.
    """
    opens, owns = recipe.step("authenticate"), recipe.step("own_keys")
    if opens is None or not isinstance(opens.parameters, Authenticate):
        return
    if identity.keys is None:
        if owns is not None and isinstance(owns.parameters, OwnKeys) and owns.parameters.remove_factory:
            raise RejectedError("it gives no key information: whether only our keys are left could not be seen")
        return
    factory = opens.parameters.kvn
    expected = {factory} if factory else set(identity.keys.versions[:1])
    others = sorted(set(identity.keys.versions) - expected)
    if others:
        shown = ", ".join(f"{kvn:02X}" for kvn in others)
        raise RejectedError(f"already provisioned: it holds key set {shown}")
    if factory and factory not in identity.keys.versions:
        raise RejectedError(f"it does not hold the factory key set {factory:02X}")


def facts(identity: Identity) -> dict[str, object]:
    """What is recorded of an identity."""
    return {
        "uid": identity.uid,
        "cplc": "" if identity.cplc is None else identity.cplc.build().hex(),
        "key_versions": [] if identity.keys is None else list(identity.keys.versions),
        "challenge_bytes": 8 if identity.card_data is None else identity.card_data.challenge_bytes,
        "iin": (identity.iin or b"").hex(),
        "cin": (identity.cin or b"").hex(),
    }
