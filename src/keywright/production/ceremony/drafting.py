"""The first two steps of a ceremony: one key manager drafts it, another approves exactly that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.progress import Ceremony, Line, signed
from keywright.production.ceremony.states import CeremonyError, Event
from keywright.production.ceremony.transcript import Transcript
from keywright.production.people import approvals
from keywright.production.people.people import Directory
from keywright.production.people.person_key import PersonKey


def draft(
    folder: Path, plan: Plan, directory: Directory, by: PersonKey, *, at_ms: int, rng: Callable[[int], bytes]
) -> Transcript:
    """Make the folder of a ceremony with its signed plan. Raises as `Plan.check`, and StoreError if it is there."""
    plan.check(directory)
    asked = approvals.request(plan.operation(), by, directory, at_ms=at_ms, rng=rng)
    facts = {"plan": plan.facts(), "approval": asked.id, "requested": msgspec.to_builtins(asked.requested)}

    def first(ceremony: Ceremony) -> Line:
        return signed(ceremony, by, Event.DRAFT, facts, at_ms)

    return Transcript.begin(folder, plan, directory, first)


def approve(transcript: Transcript, by: PersonKey, *, at_ms: int) -> Ceremony:
    """Approve the ceremony as it was drafted. Raises as `approvals.approve`."""

    def facts(ceremony: Ceremony) -> dict[str, Any]:
        if ceremony.approval is None:
            raise CeremonyError("the ceremony has no draft")
        approved = approvals.approve(ceremony.approval, by, transcript.directory, at_ms=at_ms)
        return {"signature": msgspec.to_builtins(approved.approved[-1])}

    return transcript.write(by, Event.APPROVE, facts, at_ms)
