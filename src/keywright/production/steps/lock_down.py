"""Put the card into its last production state, then look at everything once more from outside."""

from __future__ import annotations

from keywright.globalplatform.host import card_state, set_card_state
from keywright.globalplatform.life_cycle import CardState, name_of
from keywright.production.job import Facts, Job, Role, StepDialogue, Verdict
from keywright.production.parameters import LockDown
from keywright.production.verification import verify
from keywright.scp.session import HostSession

_PATH = (CardState.INITIALIZED, CardState.SECURED)
"""One state after the other: not every card goes from OP_READY to SECURED in one step (GPCS figure 5-1)."""


def run(job: Job, p: LockDown) -> StepDialogue[None]:
    """SET STATUS as far as the recipe says, and verify the unit in a fresh session."""
    if job.is_settled("lock_down"):
        return
    channel = yield from job.session(Role.OWN)
    state = yield from job.under(channel, card_state())
    for target in _PATH:
        if target <= CardState[p.state] and (state < target or job.is_open(_action(target))):
            yield from _reach(job, channel, target)
    found = yield from verify(job)
    job.record("done", "lock_down", found)


def _reach(job: Job, channel: HostSession, target: CardState) -> StepDialogue[None]:
    facts = {"state": target.name}
    yield from job.act(
        _action(target), facts, lambda: _set(job, channel, target), lambda _: _probe(job, channel, target)
    )


def _action(target: CardState) -> str:
    return f"lock_down.{target.name.lower()}"


def _set(job: Job, channel: HostSession, target: CardState) -> StepDialogue[Facts]:
    yield from job.under(channel, set_card_state(target))
    return {"state": target.name}


def _probe(job: Job, channel: HostSession, target: CardState) -> StepDialogue[tuple[Verdict, Facts]]:
    state = yield from job.under(channel, card_state())
    applied = state >= target
    return (Verdict.APPLIED if applied else Verdict.NOT_APPLIED), {"state": name_of(state)}
