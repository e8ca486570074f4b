"""One unit on the line, step by step: its device, what the store knows of it, and what was sent to it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from keywright.element import SecureElement
from keywright.errors import KeywrightError, LinkError
from keywright.fob.fobs import Model, _cplc, chip_serial, simulated_fob
from keywright.iso7816 import Command, Response, transmit
from keywright.link import Loopback
from keywright.production.engine import whole_recipe
from keywright.production.job import (
    Job,
)
from keywright.production.steps.table import step
from keywright.sansio.dialogue import drive
from keywright.store import RamMemory
from support.cards import element
from support.ledger import FOB, Ledger

SERIAL = "K-000001"
KEEPING = FOB.replace("remove_factory = true", "remove_factory = false")
OWNED = ("identify", "authenticate", "own_keys")
PERSONALISED = (*OWNED, "personalise")
Change = Callable[[Command, Response], Response]


class Unit:
    """One unit on the line: its device, its ledger, and what was sent to it."""

    def __init__(self, device: SecureElement | None = None, recipe: str = FOB, *, stays: bool = False) -> None:
        self.memory = RamMemory()
        self.device = device or simulated_fob(SERIAL, self.memory, Model(initial_keys_stay=stays, try_limit=3))
        self.ledger = Ledger.of(recipe, SERIAL)
        self.sent: list[Command] = []
        self.change: Change | None = None

    def exchange(self, command: Command) -> Response:
        self.sent.append(command)
        answer = transmit(Loopback(self.device))(command)
        return answer if self.change is None else self.change(command, answer)

    def play(self, *steps: str, job: Job | None = None) -> Job:
        """Steps by one job, as one run of the line; without names the whole recipe."""
        self.device.reset()
        job = job or self.ledger.job()
        send = self.ledger.over(self.exchange)
        if not steps:
            drive(whole_recipe(job), send)
        for name in steps:
            spec = job.recipe.step(name)
            assert spec is not None
            job.step = name
            drive(step(name)(job, spec.parameters), send)
        self.ledger.settle(job)
        return job

    def fails(self, kind: type[KeywrightError], *steps: str, text: str = ".") -> Job:
        """The steps end with this error; what the job had not written is written, as the engine does."""
        job = self.ledger.job()
        with pytest.raises(kind, match=text):
            self.play(*steps, job=job)
        self.ledger.settle(job)
        return job

    def instructions(self) -> list[int]:
        return [command.ins for command in self.sent]


def prepared(*steps: str, recipe: str = FOB, stays: bool = False) -> Unit:
    """A unit that went through these steps."""
    unit = Unit(recipe=recipe, stays=stays)
    unit.play(*steps)
    unit.sent.clear()
    return unit


def with_cplc(**fields: object) -> SecureElement:
    """An element of this serial's chip whose CPLC differs."""
    chip = chip_serial(SERIAL)
    return element(cplc=msgspec.structs.replace(_cplc(chip), **fields), kdd=chip)


def sealed() -> Unit:
    """A unit that went through the whole recipe."""
    return prepared(*PERSONALISED, "lock_down")


def lost() -> Response:
    """What a link does when the answer does not come."""
    raise LinkError("the answer was lost", None)
