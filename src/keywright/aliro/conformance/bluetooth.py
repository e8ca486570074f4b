"""Scenarios for a session over Bluetooth: our own two ends on a line in memory, and somebody on the line.

Each message of a session is lost, doubled, cut, changed, sent back, or exchanged for that of an earlier session; and
messages come that do not belong where they come. What must come of it is the same for all: both ends have ended and
say why, neither has a URSK left, and nothing was unlocked. Names of messages are those of docs/aliro-ble.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from keywright.aliro.ble.gatt import Offer, SelectedVersion, accept, publish, select
from keywright.aliro.ble.messages import NAMES
from keywright.aliro.conformance.bluetooth_changes import ACCESS, ATTRIBUTES, CHANGES, RKE, TIME_SYNC, foreign
from keywright.aliro.conformance.bluetooth_meeting import PUBLISHED, SPSM, Change, Meeting
from keywright.aliro.conformance.outcome import Nonconformity, Result
from keywright.aliro.conformance.run import judged
from keywright.errors import KeywrightError

FAMILY: Final = "bluetooth"


class BleScenario(msgspec.Struct, frozen=True):
    """One case: how a session goes, and what must have come of it."""

    name: str
    text: str
    meet: Callable[[], Meeting] | None
    unlocks: int = 0
    """How often the door is unlocked by then: what came before the change counts."""
    ends: bool = True
    """Whether both ends must have ended."""
    refuses: Callable[[], object] | None = None
    """In place of a meeting: what must be refused before there is a session."""
    family: str = FAMILY


def play(scenarios: Iterable[BleScenario]) -> Iterator[Result]:
    """The result of each scenario."""
    for one in scenarios:
        empty = Result(one.name, one.family, "passed", one.text, role="both")
        if one.meet is None:
            yield _refusal(one, empty)
            continue
        meeting = one.meet()

        def whole(one: BleScenario = one, meeting: Meeting = meeting) -> None:
            meeting.run()
            _check(one, meeting)

        found = judged(empty, whole, [])
        messages = tuple((f"{side}: {_name(octets)}", octets.hex(" ").upper()) for side, octets in meeting.arrived)
        said = [f"{side} {_name(octets)}" for side, octets in meeting.arrived]
        outcome = "; ".join([*said, *(f"{end}: {why}" for end, why in meeting.whys.items())])
        yield msgspec.structs.replace(found, messages=messages, outcome=outcome)


def _refusal(one: BleScenario, empty: Result) -> Result:
    said: list[str] = []

    def whole() -> None:
        try:
            if one.refuses is not None:
                one.refuses()
        except KeywrightError as error:
            said.append(str(error))
        else:
            raise Nonconformity("GATT", "a refusal", "a session")

    return msgspec.structs.replace(judged(empty, whole, []), outcome="; ".join(said))


def _check(one: BleScenario, meeting: Meeting) -> None:
    if meeting.unlocked != one.unlocks:
        raise Nonconformity("the bolt", f"unlocked {one.unlocks} times", f"{meeting.unlocked} times")
    for name, end in (("reader", meeting.reader), ("device", meeting.device)):
        if not one.ends:
            if end.is_over:
                raise Nonconformity(f"the {name}", "a session that goes on", f"an end: {meeting.whys.get(name, '')}")
        elif not end.is_closed or not meeting.whys.get(name):
            raise Nonconformity(f"the {name}", "an end, with why", f"phase {end.phase}")
        elif end.ursk is not None or end.setup is not None:
            raise Nonconformity(f"the {name}", "no URSK after the end", "one")


# ---- what is done to a session --------------------------------------------------------------------------------


def scenarios() -> list[BleScenario]:
    """All of them, in the order in which they are run."""
    return [*_honest(), *_changed(), *_inserted(), *_insiders(), *_connecting()]


def _honest() -> Iterator[BleScenario]:
    yield BleScenario(
        "nobody on the line",
        "ranging is agreed on, and who is near is let in",
        lambda: Meeting("honest"),
        unlocks=1,
        ends=False,
    )
    yield BleScenario(
        "remote keyless entry",
        "the door opens on request, and the session ends when it is not used",
        lambda: Meeting("honest", rke=True),
        unlocks=1,
    )


def _changed() -> Iterator[BleScenario]:
    for rke, flow in ((False, ACCESS), (True, RKE)):
        for at, name in enumerate(flow):
            for what, (text, change) in CHANGES.items():
                if what == "replayed" and at == 0:
                    continue  # the first message is the same each time; nothing is fresh in it
                yield BleScenario(
                    f"{'rke' if rke else 'access'} {at + 1}, {name} {what}",
                    f"{name} {text}",
                    _meeting(at, change, rke=rke),
                    unlocks=1 if (name, what) == ("RkeRequest", "doubled") else 0,
                )


def _inserted() -> Iterator[BleScenario]:
    for one in foreign():
        yield BleScenario(one.name, one.text, _meeting(one.at, one.change()))


def _insiders() -> Iterator[BleScenario]:
    for at, name in enumerate(ACCESS[TIME_SYNC:], TIME_SYNC):
        for what, (text, change) in ATTRIBUTES.items():
            # A notice has no values. The clock of a device may stand anywhere: who has the keys may lie about it.
            if not (what.startswith("values") and name in ("TimeSync", "RangingNotice")):
                yield BleScenario(
                    f"sealed {name}, {what}",
                    f"{name} as a peer with the keys seals it: {text}",
                    _meeting(at, change, insider=True),
                )


def _connecting() -> Iterator[BleScenario]:
    """GATT: versions that were not offered, values that are none."""
    newer = publish(Offer((0x0200, 0x0100)), SPSM)
    yield BleScenario(
        "gatt, versions changed on the way",
        "the device reads other versions than the reader has; they go into the keys",
        lambda: Meeting("attacked", published=newer),
    )
    for name, text, refuses in (
        ("version not offered", "the device chooses 0200", lambda: accept(PUBLISHED, _choice(0x0200))),
        ("choice cut", "a choice that lacks an octet", lambda: accept(PUBLISHED, _choice(0x0100)[:-1])),
        ("no common version", "the reader has 0200 alone", lambda: _select(publish(Offer((0x0200,)), SPSM))),
        ("no version", "the reader has none", lambda: _select(publish(Offer(()), SPSM))),
        ("characteristic cut", "a characteristic that lacks an octet", lambda: _select(PUBLISHED[:-1])),
        ("no dynamic SPSM", "a PSM that is none", lambda: _select(b"\0\1" + PUBLISHED[2:])),
    ):
        yield BleScenario(f"gatt, {name}", text, None, refuses=refuses)


def _meeting(at: int, change: Change, *, rke: bool = False, insider: bool = False) -> Callable[[], Meeting]:
    return lambda: Meeting("attacked", at=at, change=change, rke=rke, insider=insider)


def _choice(version: int) -> bytes:
    return SelectedVersion(version, b"\3").build()


def _select(published: bytes) -> object:
    return select(published, Offer())


def _name(octets: bytes) -> str:
    return NAMES.get((octets[0], octets[1]), f"message {octets[:2].hex().upper()}") if len(octets) > 1 else "octets"
