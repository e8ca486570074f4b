"""What an error means for the unit that met it, and for its lot: one table, first row that fits."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from keywright.errors import KeywrightError, LinkError, PolicyError, StatusError, StoreError
from keywright.globalplatform.host import KcvMismatchError
from keywright.iso7816.status import SW
from keywright.production.job import MismatchError, RejectedError, UncertainError
from keywright.production.keystores.keystore import KeystoreRefusedError
from keywright.production.unit_store.units import ConflictError
from keywright.scp.scp03.host import CardCryptogramError


class Severity(Enum):
    """How far an error reaches."""

    TRANSIENT = "transient"
    """The unit rests, is reset, and its probes say what took effect."""
    UNIT = "unit"
    """The unit is set aside; the lot goes on."""
    LOT = "lot"
    """The unit is left as it is and the whole lot stops until a person releases it."""


class DeviceTimeoutError(LinkError):
    """A unit has not answered in the time its step has. Whether it got the command is not known."""

    code = "timeout"


class Rule(NamedTuple):
    """One row: errors of this class, with this status word if one is given.

    `once`: transient the first time in a run, a matter of the unit the second. `units`: so many units that met it
    stop the lot, not in a row; 0 for any number.
    """

    error: type[KeywrightError]
    severity: Severity
    why: str
    sw: int | None = None
    once: bool = False
    units: int = 0


RULES: Final = (
    Rule(DeviceTimeoutError, Severity.TRANSIENT, "the answer may still be lost only on its way"),
    Rule(LinkError, Severity.TRANSIENT, "the transport failed, not the unit; so did a keystore's process that ended"),
    Rule(
        StatusError,
        Severity.TRANSIENT,
        "no precise diagnosis: once may be chance",
        sw=SW.NO_DIAGNOSIS,
        once=True,
    ),
    Rule(StatusError, Severity.UNIT, "the device refuses: its state, its memory or its try counter"),
    Rule(CardCryptogramError, Severity.UNIT, "it holds other keys; every further try may lock it"),
    Rule(KcvMismatchError, Severity.UNIT, "one unit is suspect, two are a wrong key", units=2),
    Rule(RejectedError, Severity.UNIT, "not a unit for this recipe"),
    Rule(UncertainError, Severity.UNIT, "a person has to look"),
    Rule(MismatchError, Severity.UNIT, "it is not as the line recorded it"),
    Rule(ConflictError, Severity.UNIT, "its device, certificate or intent is in the store already"),
    Rule(KeystoreRefusedError, Severity.LOT, "the keystore refuses, and would for every unit"),
    Rule(StoreError, Severity.LOT, "a keystore or the unit store cannot be used: no unit would fare better"),
    Rule(PolicyError, Severity.UNIT, "our own rules forbid it for this unit"),
    Rule(KeywrightError, Severity.UNIT, "anything else is taken for a fault of the unit"),
)
"""Errors to what follows. The first row that fits counts; the last fits every error."""


SEVERAL: Final = {rule.error.code: rule.units for rule in RULES if rule.units}
"""Error code -> so many units with it stop the lot."""


def rule_of(error: KeywrightError) -> Rule:
    """The row of the table for an error."""
    return next(rule for rule in RULES if _fits(rule, error))


def _fits(rule: Rule, error: KeywrightError) -> bool:
    return isinstance(error, rule.error) and (
        rule.sw is None or (isinstance(error, StatusError) and error.sw == rule.sw)
    )


def kind_of(error: KeywrightError, step: str) -> str:
    """What makes two failures alike: code, status word and step."""
    status = f" {error.sw:04X}" if isinstance(error, StatusError) else ""
    return f"{error.code}{status} at {step or 'power on'}"
