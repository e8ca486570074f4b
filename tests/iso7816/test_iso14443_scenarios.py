"""All ISO 14443-4 exchanges of the scenario file, from both ends, as type A and type B."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.iso7816.ats import Ats, Limits, Rats, TypeAPps
from keywright.iso7816.edc import CRC_A, CRC_B
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Profile, Iso14443Reader
from keywright.iso7816.transport import Activated, Answered, Deselected, Failed, Present
from support.blocks import ANSWERS, Clock, Recorder
from support.vectors import Case, document, unhex

FILE = "scp/t1_scenarios.json"
CONTACTLESS = document(FILE)["iso14443_4"]
SCENARIOS = pytest.mark.parametrize("case", CONTACTLESS["scenarios"], ids=[c["id"] for c in CONTACTLESS["scenarios"]])
TYPES = pytest.mark.parametrize("kind", ["A", "B"])
RESULTS = {"ok": Answered, "present": Present, "deselected": Deselected, "deactivate": Failed}


def profile(case: Case, kind: Any) -> Iso14443Profile:
    set_up = case.get("reader_set_up", {})
    cid, nad = set_up.get("cid"), set_up.get("nad")
    limits = Limits(fsc=32, fsd=32, cid=None if cid is None else int(cid, 16), takes_nad=nad is not None)
    return Iso14443Profile(type=kind, limits=limits, nad=None if nad is None else int(nad, 16))


def frame(step: Case, kind: str) -> bytes:
    return unhex(step[f"type_{kind.lower()}"])


def damaged(sent: bytes) -> bytes:
    return sent[:-1] + bytes((sent[-1] ^ 0xFF,))


def begin(reader: Iso14443Reader, first: bytes, tail: bytes, now: float) -> None:
    """What the reader of the scenario does, told by the first block it sends and the command that follows from it."""
    if first[0] & 0xF7 in (0xB2, 0xB3):
        reader.check_presence(now)
    elif first[0] & 0xF7 == 0xC2:
        reader.deselect(now)
    else:
        reader.command(tail, now)


def command_at(steps: list[Case], at: int) -> bytes:
    """The APDU of the chain of I-blocks that begins at a step."""
    parts: dict[int, bytes] = {}
    for number, step in enumerate(steps[at:]):
        if "reader_result" in step:
            break
        raw = unhex(step["block"]) if step.get("from") == "reader" else b""
        if raw and raw[0] & 0xE2 == 0x02:
            inf = raw[1 + bool(raw[0] & 8) + bool(raw[0] & 4) :]
            if inf not in parts.values():
                parts[number] = inf
    return b"".join(parts.values())


@TYPES
@SCENARIOS
def test_the_reader_sends_what_the_reader_of_the_scenario_sends(case: Case, kind: str) -> None:
    reader, clock, is_idle = Iso14443Reader(profile(case, kind)), Clock(), True
    begun = b""
    for at, step in enumerate(case["steps"]):
        if step.get("from") == "reader":
            if is_idle:
                begun = command_at(case["steps"], at)
                begin(reader, unhex(step["block"]), begun, clock.now)
                is_idle = False
            assert clock.next_frame(reader) == frame(step, kind)
        elif step.get("from") == "card":
            clock.deliver(reader, step, frame(step, kind), damaged(frame(step, kind)))
        elif "reader_result" in step:
            assert clock.next_frame(reader) is None
            event = reader.events()[-1]
            assert type(event) is RESULTS[step["reader_result"]]
            assert not isinstance(event, Answered) or event.data == ANSWERS[begun[1]]
            is_idle = True


@TYPES
@SCENARIOS
def test_the_card_sends_what_the_card_of_the_scenario_sends(case: Case, kind: str) -> None:
    device, clock = Recorder(), Clock()
    card = Iso14443Card(device, profile(case, kind))
    for multiplier in case.get("card_set_up", {}).get("wtx", ()):
        card.ask_time(multiplier)
    for step, following in zip(case["steps"], [*case["steps"][1:], {}], strict=True):
        if step.get("from") == "reader":
            clock.deliver(card, step, frame(step, kind), damaged(frame(step, kind)))
            if following.get("from") != "card":
                assert clock.next_frame(card) is None
        elif step.get("from") == "card":
            assert clock.next_frame(card) == frame(step, kind)
    results = [step["reader_result"] for step in case["steps"] if "reader_result" in step]
    assert len(device.ran) == results.count("ok")


RATS_PPS = (Rats(fsdi=8, cid=0), TypeAPps())
ATS = Ats(fsci=5, ta=0x80, tb=0x80, tc=0x00)


def test_the_activation_of_the_file_is_played_from_both_ends() -> None:
    first, second = (case["steps"] for case in CONTACTLESS["activation"])
    reader, clock = Iso14443Reader(), Clock()
    card = Iso14443Card(Recorder(), activation=ATS)
    reader.activate(clock.now, *RATS_PPS)
    for steps in (first, second):
        assert clock.next_frame(reader) == unhex(steps[0]["type_a"])
        card.receive(unhex(steps[0]["type_a"]), clock.now)
        assert clock.next_frame(card) == unhex(steps[1]["type_a"])
        reader.receive(unhex(steps[1]["type_a"]), clock.now)
    assert reader.events() == [Activated(ATS.build())]
    assert reader.limits == card.limits == Limits(fsc=64, fsd=256, fwi=8)


@pytest.mark.parametrize(("name", "code"), [("crc_a", CRC_A), ("crc_b", CRC_B)])
def test_the_crcs_are_those_of_the_standard(name: str, code: Any) -> None:
    for text, expected in CONTACTLESS[name]["examples"].items():
        assert code.compute(unhex(text.split(maxsplit=1)[0])) == unhex(expected)
