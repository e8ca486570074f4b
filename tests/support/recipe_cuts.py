"""The power fails at every place of every dialogue of the fob's recipe; the line goes on, and the end is the same.

A dialogue is one step of the recipe, begun on a fob that went through the steps before it, or the check of a finished
fob. After a cut the line goes on in one of two ways: the run that saw the cut takes the unit up again with what it
knows, or a new process does, with what the store has. Both play the whole recipe again, as the engine does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from keywright.element import SecureElement
from keywright.errors import LinkError
from keywright.fob.fobs import Model, simulated_fob
from keywright.iso7816.apdu import Response
from keywright.iso7816.layers import transmit
from keywright.link import Exchange, Loopback
from keywright.production.engine import whole_recipe
from keywright.production.job import Job, StepDialogue, StepRequest
from keywright.production.steps.table import step
from keywright.production.verification import verify
from keywright.sansio.dialogue import drive
from keywright.store import Memory, RamMemory
from support.endings import check_end, no_try_is_wrong
from support.ledger import FOB, Ledger
from support.power import AFTER_DELIVERY, BEFORE_DELIVERY, INSIDE_COMMAND, CutLink, sweep

SERIAL: Final = "K-000001"
VERIFY: Final = "verify"
STEPS: Final = ("identify", "authenticate", "own_keys", "personalise", "lock_down", VERIFY)
SETS: Final = {"vanishes": False, "stays": True}
"""What becomes of the factory key set at the first PUT KEY."""
RECOVERIES: Final = ("the run that saw it", "a new process")
KINDS: Final = (BEFORE_DELIVERY, INSIDE_COMMAND, AFTER_DELIVERY)
REST: Final = "recipe"
"""All that is left of the recipe, as a dialogue of its own."""
MOST_SESSIONS_MORE: Final = {
    "identify": 0,
    "authenticate": 1,
    "own_keys": 2,
    "personalise": 2,
    "lock_down": 4,
    VERIFY: 5,
    REST: 4,
}
"""EXTERNAL AUTHENTICATE that a cut costs at most, by the dialogue it falls into: the sessions begun anew."""


class Stand(NamedTuple):
    """How far a unit has come: what the fob remembers, and what the store knows of it."""

    memory: dict[str, bytes]
    ledger: Ledger


def contents(memory: Memory) -> dict[str, bytes]:
    """All that a memory holds."""
    return {name: memory.load(name) or b"" for name in memory.names()}


def fob(memory: Memory, *, stays: bool) -> SecureElement:
    """A fob that counts wrong tries, and blocks a key set at the third."""
    return simulated_fob(SERIAL, memory, Model(initial_keys_stay=stays, try_limit=3))


class Heard:
    """A fob whose answers are overheard: INS and status of each."""

    def __init__(self, device: SecureElement, memory: Memory, answers: list[tuple[int, int]]) -> None:
        self._device = device
        self._answers = answers
        self.memory = memory

    @property
    def atr(self) -> bytes:
        """As the fob's."""
        return self._device.atr

    def reset(self) -> bytes:
        """As the fob."""
        return self._device.reset()

    def handle(self, command: bytes, /) -> bytes:
        """As the fob; one that loses its power inside gives no answer."""
        answer = self._device.handle(command)
        self._answers.append((command[1], int.from_bytes(answer[-2:])))
        return answer


@cache
def stands(*, stays: bool) -> dict[str, Stand]:
    """How the undisturbed beginning of every dialogue looks, and under "" the end of an undisturbed run."""
    found = {}
    ledger, memory = Ledger.of(FOB, SERIAL), RamMemory()
    device = fob(memory, stays=stays)
    for name in STEPS[:-1]:
        found[name] = Stand(contents(memory), ledger.copy())
        device.reset()
        _play(name, ledger, device)
    found[VERIFY] = Stand(contents(memory), ledger)
    ledger, memory = Ledger.of(FOB, SERIAL), RamMemory()
    _play(REST, ledger, fob(memory, stays=stays))
    found[""] = Stand(contents(memory), ledger)
    return found


def _play(name: str, ledger: Ledger, device: SecureElement) -> None:
    job = ledger.job()
    drive(dialogue(name, job), ledger.over(transmit(Loopback(device))))
    ledger.settle(job)


def dialogue(name: str, job: Job) -> StepDialogue[object]:
    """One step of the recipe by its name, what is left of all of them, or the check of a finished unit."""
    if name == REST:
        return whole_recipe(job)
    job.step = name
    if name == VERIFY:
        return verify(job)
    spec = job.recipe.step(name)
    assert spec is not None
    return step(name)(job, spec.parameters)


class Line:
    """One run of a dialogue, and how the line goes on after it."""

    def __init__(self, name: str, start: Stand, recovery: str) -> None:
        self._name = name
        self._start = start
        self._recovery = recovery
        self.begin()

    def begin(self) -> StepDialogue[object]:
        """A fresh dialogue with the records it begins with."""
        self.ledger = self._start.ledger.copy()
        self.job = self.ledger.job()
        return dialogue(self._name, self.job)

    def transmit(self, link: Exchange) -> Callable[[StepRequest], Response]:
        """Requests of a step over a link."""
        return self.ledger.over(transmit(link))

    def recover(self, link: Exchange) -> None:
        """Take the unit up again, as the engine does after a link failure, or as a new process does."""
        if self._recovery == RECOVERIES[0]:
            self.job.record("note", "link", {"text": "power cut"})
            self.job.channel = None
        else:
            self.job = self.ledger.job()
        drive(dialogue(VERIFY if self._name == VERIFY else REST, self.job), self.transmit(link))

    def finish(self, link: Exchange) -> None:
        """What is left of the recipe; nothing after a recovery."""
        drive(whole_recipe(self.job), self.transmit(link))
        self.ledger.settle(self.job)

    def verify(self, link: Exchange) -> None:
        """A fresh session to the finished unit, as `campaign verify` has one."""
        link.reset()
        drive(verify(self.ledger.job()), self.transmit(link))


def cut_everywhere(name: str, fate: str, recovery: str, start: Stand | None = None) -> dict[str, int]:
    """Cut one dialogue at every place and see it recovered; how many cuts of each kind there were."""
    stays = SETS[fate]
    begin, end = start or stands(stays=stays)[name], stands(stays=stays)[""]
    line = Line(name, begin, recovery)
    answers: list[tuple[int, int]] = []

    def device(memory: Memory) -> Heard:
        if not memory.names():
            memory.commit(begin.memory)
        return Heard(fob(memory, stays=stays), memory, answers)

    def check(device: Heard) -> None:
        link = Loopback(device)
        line.finish(link)
        ledger = line.ledger
        assert ledger.open_intents() == set()
        most = MOST_SESSIONS_MORE[name]
        check_end(contents(device.memory), end.memory, ledger.events, ledger.certificates[1], answers, most=most)
        line.verify(link)
        assert not no_try_is_wrong(answers)
        answers.clear()

    return sweep(device, line.begin, line.recover, check, transmit=line.transmit)


def cut_once(fate: str, ins: int, nth: int = 1) -> Stand:
    """The whole recipe, cut after the delivery of the n-th command of an instruction, before its answer."""
    ledger, memory = Ledger.of(FOB, SERIAL), RamMemory()
    device = fob(memory, stays=SETS[fate])
    seen = 0

    class Until(CutLink):
        def exchange(self, command: bytes, /) -> bytes:
            nonlocal seen
            seen += command[1] == ins
            if command[1] == ins and seen == nth:
                self._at = self._count + 1
            return super().exchange(command)

    link = Until(device, AFTER_DELIVERY, 0)
    try:
        drive(whole_recipe(ledger.job()), ledger.over(transmit(link)))
    except LinkError:
        return Stand(contents(memory), ledger)
    raise LookupError(f"there are only {seen} commands {ins:02X}")
