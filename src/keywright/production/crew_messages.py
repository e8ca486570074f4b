"""What a worker is told, and what it tells: JSON, an object a line."""

from __future__ import annotations

import msgspec

from keywright.production.watch import Phase


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do. Keys are named, never given: `keystore` and `unlock` are places."""

    name: str
    store: str
    link: str
    tray: str
    air: str = ""
    """Where the fobs are reached by Bluetooth; then the tray is asked for nothing but their power."""
    keystore: str = ""
    unlock: str = ""
    width: int = 64
    ttl_s: float = 30.0
    traced: bool = False
    """Whether the exchanges of every unit are told, and not only those of the first one."""
    prepares: bool = True
    """It prepares units ahead of the devices; one worker of a crew does."""


class Started(msgspec.Struct, frozen=True, tag=True):
    """A unit was taken up, or taken up again."""

    unit: int
    serial: str


class Noticed(msgspec.Struct, frozen=True, tag=True):
    """Something that is of no unit alone."""

    text: str


class Finished(msgspec.Struct, frozen=True, tag=True):
    """A unit came to an end."""

    unit: int
    serial: str
    state: str
    failure: str


class Passed(msgspec.Struct, frozen=True, tag=True):
    """A moment of a unit whose exchanges are told."""

    phase: Phase
    unit: int
    step: str


class Exchanged(msgspec.Struct, frozen=True, tag=True):
    """A command and its answer, encoded: as they travelled, and as they read without their protection."""

    unit: int
    sent: bytes
    plain: bytes
    got: bytes
    opened: bytes


class Ended(msgspec.Struct, frozen=True, tag=True):
    """Nothing is left to do for this worker; `stopped` says why the lot has to stop, or is empty."""

    stopped: str


class Trouble(msgspec.Struct, frozen=True, tag=True):
    """The worker cannot go on: one of our errors."""

    code: str
    text: str
    hint: str
    exit_code: int


Told = Started | Noticed | Finished | Passed | Exchanged | Ended | Trouble
