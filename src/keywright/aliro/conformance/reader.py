"""Scenarios for a reader: what it must do with a user device that is right, and with one that is not."""

from __future__ import annotations

from keywright.aliro.conformance.reader_answers import auth0, auth1, nominal, select, statuses
from keywright.aliro.conformance.reader_checks import ReaderScenario
from keywright.aliro.conformance.reader_documents import documents


def scenarios() -> list[ReaderScenario]:
    """All of them, in the order in which they are run."""
    families = (nominal, select, auth0, auth1, statuses, documents)
    return [one for family in families for one in family()]
