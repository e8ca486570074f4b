"""The power-cut harness: run a dialogue once for every place where the power could fail, and see it recovered.

A cut falls before the delivery of a command, after its delivery before the answer, or inside it before any commit of
the device's memory (which is also after the commit before; what is after the last commit of a command and before its
answer is the second kind). A device that lost its power inside a command is rebuilt from its memory, because its
other state went with the power; after the other cuts it is only reset.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar, cast

from keywright.errors import LinkError
from keywright.link import Exchange, Loopback
from keywright.sansio import Device, drive
from keywright.store import Memory, RamMemory

Request = TypeVar("Request")
Answer = TypeVar("Answer")
AnyDevice = TypeVar("AnyDevice", bound=Device)

BEFORE_DELIVERY = "before delivery"
INSIDE_COMMAND = "inside the command"
AFTER_DELIVERY = "after delivery, before the answer"


class PowerCut(BaseException):
    """The power failed inside the device. No Exception: a device that answers 6F00 to anything must not catch it."""


class CutMemory:
    """A memory that fails once, at a commit counted from 1: before it takes effect, or just after. 0: never."""

    def __init__(self, memory: Memory, *, cut_before: int = 0, cut_after: int = 0) -> None:
        self._memory = memory
        self.cut_before = cut_before
        self.cut_after = cut_after
        self.commits = 0
        self.fired = False

    def load(self, name: str) -> bytes | None:
        """The value last committed."""
        return self._memory.load(name)

    def names(self) -> list[str]:
        """The names that hold a value."""
        return self._memory.names()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """Commit, unless the power fails first; raises PowerCut."""
        number = self.commits + 1
        if number == self.cut_before:
            self.fired = True
            raise PowerCut(f"before commit {number}")
        self._memory.commit(changes)
        self.commits = number
        if number == self.cut_after:
            self.fired = True
            raise PowerCut(f"after commit {number}")


class CutLink:
    """Carries commands to a device until the power fails; from then on no exchange arrives.

    kind, at: where to cut; `at` counts exchanges, or commits for INSIDE_COMMAND, from 1. `cut` tells whether it came.
    """

    name = "power"
    extended = True

    def __init__(self, device: Device, kind: str, at: int) -> None:
        self._device = device
        self._kind = kind
        self._at = at
        self._count = 0
        self.cut = False

    @property
    def atr(self) -> bytes:
        """ATR of the device."""
        return self._device.atr

    def exchange(self, command: bytes, /) -> bytes:
        """The device's answer, or LinkError."""
        if self.cut:
            raise LinkError("power is gone", delivered=False)
        self._count += 1
        here = self._count == self._at
        if here and self._kind == BEFORE_DELIVERY:
            self.cut = True
            raise LinkError("power cut before delivery", delivered=False)
        try:
            answer = self._device.handle(command)
        except PowerCut as cut:
            self.cut = True
            raise LinkError(f"power cut {cut}", delivered=None) from cut
        if here and self._kind == AFTER_DELIVERY:
            self.cut = True
            raise LinkError("power cut before the answer", delivered=None)
        return answer

    def reset(self) -> bytes:
        """Reset the device, if it has power."""
        if self.cut:
            raise LinkError("power is gone", delivered=False)
        self._device.reset()
        return self._device.atr

    def close(self) -> None:
        """Nothing to close."""


def _plain(link: Exchange) -> Callable[[Any], Any]:
    """Dialogues whose requests are bytes."""
    return link.exchange


def sweep(
    make_device: Callable[[Memory], AnyDevice],
    make_dialogue: Callable[[], Generator[Request, Answer, object]],
    recover: Callable[[Exchange], object],
    check: Callable[[AnyDevice], object],
    *,
    transmit: Callable[[Exchange], Callable[[Request], Answer]] | None = None,
) -> dict[str, int]:
    """Cut the dialogue at every place, recover and check; return the number of cuts of each kind.

    make_device(memory): a device of that memory, new if the memory is empty; called for the first time once, so that
    all runs begin with the same device. make_dialogue: a fresh one for each run (with the host's fresh records).
    recover(link): what the line does then: probe, and go on. check(device): raises if the end is not as it must be.
    transmit(link): how requests go over a link; default: they are bytes.
    The last run of each kind is one that no cut reached; it is checked too, without recovery.
    """
    exchange = cast("Callable[[Exchange], Callable[[Request], Answer]]", transmit or _plain)
    template = RamMemory()
    make_device(template)
    counts = {BEFORE_DELIVERY: 0, INSIDE_COMMAND: 0, AFTER_DELIVERY: 0}
    for kind in tuple(counts):
        while _run_once(kind, counts[kind] + 1, template, make_device, make_dialogue, recover, check, exchange):
            counts[kind] += 1
    return counts


def _run_once(
    kind: str,
    at: int,
    template: RamMemory,
    make_device: Callable[[Memory], AnyDevice],
    make_dialogue: Callable[[], Generator[Request, Answer, object]],
    recover: Callable[[Exchange], object],
    check: Callable[[AnyDevice], object],
    exchange: Callable[[Exchange], Callable[[Request], Answer]],
) -> bool:
    """One run with at most one cut; False if the dialogue ended before it."""
    ram = RamMemory({name: template.load(name) or b"" for name in template.names()})
    memory = CutMemory(ram)
    device = make_device(memory)
    memory.commits = 0
    memory.cut_before = at if kind == INSIDE_COMMAND else 0
    link = CutLink(device, kind, at)
    try:
        try:
            drive(make_dialogue(), exchange(link))
        except LinkError:
            if not link.cut:
                raise
        assert link.cut or not memory.fired, "the device swallowed the power cut"
        memory.cut_before = 0
        if link.cut:
            if kind == INSIDE_COMMAND:
                device = make_device(ram)
            device.reset()
            recover(Loopback(device, "power"))
        check(device)
    except BaseException as error:
        if memory.fired and not link.cut:
            error.add_note("the device swallowed the power cut")
        error.add_note(f"power cut: {kind}, number {at}" if link.cut or memory.fired else f"no power cut ({kind})")
        raise
    return link.cut
