"""All T=0 exchanges of the scenario file, from both ends."""

from __future__ import annotations

import pytest

from keywright.iso7816.t0 import T0Card, T0Host, T0Profile
from keywright.iso7816.transport import Answered, Failed, Failure, Ran
from support.blocks import FCI, Clock, Recorder
from support.vectors import Case, load, unhex, vectors

FILE = "scp/t1_scenarios.json"
PROFILES = {
    "t0-06": T0Profile(single=255),
    "t0-07": T0Profile(single=2),
    "t0-08": T0Profile(nulls=2, nulls_before_status=3),
    "t0-10": T0Profile(announces="status"),
    "t0-13": T0Profile(announces="status"),
    "t0-14": T0Profile(get_response_class="copy"),
    "t0-15": T0Profile(announces="9F"),
    "t0-16": T0Profile(single=255),
    "t0-17": T0Profile(nulls=1, nulls_before_status=2),
    "t0-20": T0Profile(closing_envelope=True),
    "t0-21": T0Profile(fetch_after_warning=True, announces="status"),
}
"""What the ends of a scenario do beyond the default."""

CPLC = bytes.fromhex("9f7f2a") + bytes(range(0x40, 0x6A))
COUNTED = bytes(range(256))
DEVICE = {
    "t0-03": CPLC + b"\x90\x00",
    "t0-02": CPLC + b"\x90\x00",
    "t0-04": COUNTED + b"\x90\x00",
    "t0-12": b"\x6a\x82",
    "t0-14": COUNTED + COUNTED[:16] + b"\x90\x00",
    "t0-15": COUNTED[:23] + b"\x90\x00",
    "t0-16": b"\x66\x01\x00\x90\x00",
    "t0-17": b"\x66\x01\x00\x90\x00",
    "t0-21": FCI[:-2] + b"\x62\x83",
}
"""What the device behind the card answers, where it is not the FCI or a bare 9000."""
FAILURES = {"t0-18": Failure.ILLEGAL, "t0-19": Failure.SILENCE}
REFUSALS = {"t0-11": 0x6E00}


def answer_of(case: Case) -> bytes:
    default = FCI if case["apdu"][2:4] == "a4" else b"\x90\x00"
    return REFUSALS[case["id"]].to_bytes(2) if case["id"] in REFUSALS else DEVICE.get(case["id"], default)


@vectors(FILE, "t0")
def test_the_host_sends_what_the_host_of_the_scenario_sends(case: Case) -> None:
    host, clock = T0Host(PROFILES.get(case["id"])), Clock()
    host.command(unhex(case["apdu"]), clock.now)
    for step in case["steps"]:
        if step["from"] == "host":
            assert clock.next_frame(host) == unhex(step["bytes"])
        else:
            host.receive(unhex(step["bytes"]), clock.now)
    assert clock.next_frame(host) is None
    event = host.events()[-1]
    if case["id"] in FAILURES:
        assert isinstance(event, Failed)
        assert (event.failure, event.delivered, event.is_down) == (FAILURES[case["id"]], None, True)
    else:
        assert event == Answered(answer_of(case))


@pytest.mark.parametrize("size", [1, 2, 7])
@vectors(FILE, "t0")
def test_the_host_takes_characters_in_any_portions(case: Case, size: int) -> None:
    host, clock = T0Host(PROFILES.get(case["id"])), Clock()
    host.command(unhex(case["apdu"]), clock.now)
    for step in case["steps"]:
        if step["from"] == "host":
            assert clock.next_frame(host) == unhex(step["bytes"])
        else:
            raw = unhex(step["bytes"])
            for at in range(0, len(raw), size):
                host.receive(raw[at : at + size], clock.now)
    assert clock.next_frame(host) is None
    assert isinstance(host.events()[-1], Failed if case["id"] in FAILURES else Answered)


@pytest.mark.parametrize("size", [1, 300])
@vectors(FILE, "t0")
def test_the_card_sends_what_the_card_of_the_scenario_sends(case: Case, size: int) -> None:
    apdu = unhex(case["apdu"])
    device = Recorder({apdu[1]: answer_of(case)})
    card = T0Card(device, PROFILES.get(case["id"]), refuses=lambda _: REFUSALS.get(case["id"], 0))
    clock = Clock()
    expected = said = b""
    for step in case["steps"]:
        raw = unhex(step["bytes"])
        if step["from"] == "host":
            assert said == expected or case["id"] in FAILURES
            expected = said = b""
            for at in range(0, len(raw), size):
                card.receive(raw[at : at + size], clock.now)
            while (frame := clock.next_frame(card)) is not None:
                said += frame
        else:
            expected += raw
    assert said == expected or case["id"] in FAILURES
    assert len(device.ran) == (case["id"] not in REFUSALS)
    assert [event for event in card.events() if isinstance(event, Ran)] == [Ran(raw) for raw in device.ran]


def test_there_are_as_many_as_the_file_says() -> None:
    assert len(load(FILE, "t0")) == 21
