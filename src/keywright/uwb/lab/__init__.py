"""The ranging laboratory: a model of a receiver, of the air, and of attackers. Loads numpy; the protocol does not."""

from keywright.uwb.lab.attacks import ATTACKS, LONGER, SHORTER
from keywright.uwb.lab.channels import CHANNELS
from keywright.uwb.lab.checks import ALL, CHECKS, Limits, believed
from keywright.uwb.lab.experiment import (
    HONEST,
    Goal,
    Outcome,
    Work,
    attack_named,
    done,
    judged,
    portions,
)
from keywright.uwb.lab.pulses import MODES
from keywright.uwb.lab.ranging import METHODS, Exchanges, Scenario, simulate, together
from keywright.uwb.lab.receiver import Settings
from keywright.uwb.lab.statistics import Share, histogram, share, spread

__all__ = [
    "ALL",
    "ATTACKS",
    "CHANNELS",
    "CHECKS",
    "HONEST",
    "LONGER",
    "METHODS",
    "MODES",
    "SHORTER",
    "Exchanges",
    "Goal",
    "Limits",
    "Outcome",
    "Scenario",
    "Settings",
    "Share",
    "Work",
    "attack_named",
    "believed",
    "done",
    "histogram",
    "judged",
    "portions",
    "share",
    "simulate",
    "spread",
    "together",
]
