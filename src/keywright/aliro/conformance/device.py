"""Scenarios for a user device: what it must answer a reader that is right, and one that is not."""

from __future__ import annotations

from keywright.aliro.conformance.device_cryptography import cryptography
from keywright.aliro.conformance.device_exchange import exchange
from keywright.aliro.conformance.device_nominal import nominal, strangers
from keywright.aliro.conformance.device_refusals import fields, headers, states
from keywright.aliro.conformance.device_step_up import step_up
from keywright.aliro.conformance.outcome import Scenario
from keywright.aliro.conformance.tester import Bench


def scenarios() -> list[Scenario[Bench]]:
    """All of them, in the order in which they are run."""
    families = (nominal, exchange, step_up, states, headers, fields, cryptography, strangers)
    return [one for family in families for one in family()]
