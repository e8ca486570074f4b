"""Open SCP03 with the keys the unit came with. One EXTERNAL AUTHENTICATE at most, and none on a wrong cryptogram."""

from __future__ import annotations

from keywright.production.job import Job, Role, StepDialogue
from keywright.production.parameters import Authenticate


def run(job: Job, p: Authenticate) -> StepDialogue[None]:
    """Prove the factory keys, unless the unit may hold our own already: then they are for `own_keys` to probe."""
    del p
    if job.is_new("own_keys.put"):
        job.channel = yield from job.session(Role.FACTORY)
        if not job.is_settled("authenticate"):
            facts = {"kvn": job.channel.kvn, "level": job.channel.level, "path": job.path(Role.FACTORY)}
            job.record("done", "authenticate", facts)
