"""All T=1 exchanges of the scenario file, from both ends and with both kinds of check code.

The host end meets the card's blocks and must send the host's; the card end the reverse. R-blocks are compared without
their error bits, as the file says.
"""

from __future__ import annotations

from typing import Any

import pytest

from keywright.iso7816 import edc
from keywright.iso7816.t1 import T1Card, T1Host, T1Profile
from keywright.iso7816.transport import Answered, Failed, Failure, HostEvent, Resynchronised, SizeAgreed
from support.blocks import ANSWERS, Clock, Recorder
from support.vectors import Case, document, load, unhex, vectors

FILE = "scp/t1_scenarios.json"
CODES = pytest.mark.parametrize("code", ["lrc", "crc"])
RESULTS = {"ok": (Answered, SizeAgreed, Resynchronised), "reset": (Failed,), "aborted": (Failed,)}


def same(ours: bytes, theirs: bytes) -> bool:
    """Equal, or R-blocks that differ in their error bits (and so in their check code)."""
    is_r = theirs[1] & 0xC0 == 0x80 == ours[1] & 0xC0
    return ours == theirs or (is_r and (ours[0], ours[1] & 0xFC, ours[2]) == (theirs[0], theirs[1] & 0xFC, theirs[2]))


def damaged(step: dict[str, Any], code: str) -> bytes:
    return unhex(step.get(f"received_{code}", step[code]))


class HostPlay:
    """Our host end against the card's blocks of one scenario."""

    def __init__(self, case: Case, code: str) -> None:
        set_up = case.get("host_set_up", {})
        self.case, self.code, self.clock = case, code, Clock()
        self.host = T1Host(T1Profile(edc=code, nad=int(set_up.get("nad", "00"), 16)))
        self.aborts = "abort_tx_after" in set_up or "abort_rx_after" in set_up
        self.commands = list(case["commands"])
        self.results: list[tuple[str, HostEvent]] = []
        self.begun: list[str] = []
        self.is_idle = True

    def begin(self) -> None:
        if not self.is_idle:
            return
        self.is_idle = False
        command = self.commands.pop(0)
        self.begun.append(command)
        now = self.clock.now
        if command.startswith("IFS"):
            self.host.request_ifs(int(command[4:], 16), now)
        elif command == "RESYNCH":
            self.host.resynchronise(now)
        else:
            self.host.command(unhex(command), now, self.case.get("host_pieces", ()))
            if self.aborts:
                self.host.abort()
                self.aborts = False

    def play(self) -> None:
        for step in self.case["steps"]:
            if step.get("from") == "host":
                self.begin()
                ours = self.clock.next_frame(self.host)
                assert ours is not None
                if not step.get("misbehaviour"):
                    assert same(ours, unhex(step[self.code])), (ours.hex(), step[self.code])
            elif step.get("from") == "card":
                self.clock.deliver(self.host, step, unhex(step[self.code]), damaged(step, self.code))
            elif "host_result" in step:
                self.end(step["host_result"])
        assert not self.commands

    def end(self, result: str) -> None:
        assert self.clock.next_frame(self.host) is None, "the host goes on after the end of the scenario"
        event = self.host.events()[-1]
        assert isinstance(event, RESULTS[result]), (result, event)
        if isinstance(event, Failed):
            assert (event.failure == Failure.ABORTED) is (result == "aborted")
            assert event.is_down is (result == "reset")
        self.results.append((self.begun[-1], event))
        self.is_idle = True


@CODES
@vectors(FILE, "t1")
def test_the_host_sends_what_the_host_of_the_scenario_sends(case: Case, code: str) -> None:
    play = HostPlay(case, code)
    play.play()
    for command, event in play.results:
        if isinstance(event, Answered):
            expected = b"\x6f\x00" if case["id"] == "t1-53" else ANSWERS[int(command[2:4], 16)]
            assert event.data == expected


def card_of(case: Case, code: str) -> T1Card:
    set_up = case.get("card_set_up", {})
    card = T1Card(Recorder(), T1Profile(edc=code, empty_tail=set_up.get("empty_tail", False)))
    for multiplier in set_up.get("wtx", ()):
        card.ask_time(multiplier)
    if "ifs" in set_up:
        assert set_up["ifs_at"] == 1
        card.ask_ifs(set_up["ifs"])
    return card


@CODES
@vectors(FILE, "t1")
def test_the_card_sends_what_the_card_of_the_scenario_sends(case: Case, code: str) -> None:
    card, clock = card_of(case, code), Clock()
    set_up = case.get("card_set_up", {})
    heard = said = 0
    for step, following in zip(case["steps"], [*case["steps"][1:], {}], strict=True):
        if step.get("from") == "host":
            sent = unhex(step[code])
            heard += not sent[1] & 0x80
            if heard == set_up.get("abort_rx"):
                card.abort()
            clock.deliver(card, step, sent, damaged(step, code))
            if following.get("from") != "card":
                assert clock.next_frame(card) is None, "the card speaks where it stays silent"
        elif step.get("from") == "card":
            ours = clock.next_frame(card)
            assert ours is not None
            if not step.get("misbehaviour"):
                assert same(ours, unhex(step[code])), (ours.hex(), step[code])
            said += not ours[1] & 0x80
            if said == set_up.get("abort_tx") and not ours[1] & 0x80:
                card.abort()
    ran = card.device.ran  # type: ignore[attr-defined]  # a Recorder
    sent_apdus = [command for command in case["commands"] if command[:3] not in ("IFS", "RES")]
    assert set(ran) <= {unhex(command) for command in sent_apdus}
    assert len(ran) <= len(sent_apdus) + (case["id"] in ("t1-46", "t1-47", "t1-54"))


def test_every_scenario_is_played_from_both_ends_with_both_codes() -> None:
    whole = document(FILE)
    contactless = whole["iso14443_4"]
    found = [len(whole["t1"]), len(whole["t0"]), len(whole["pps"])]
    found.append(len(contactless["activation"]) + len(contactless["scenarios"]))
    assert found == [60, 21, 7, 25]
    assert sum(found) == whole["count"]


# ---- check codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", document(FILE)["t1_crc"]["wire_captures"], ids=lambda capture: capture["block"][:6])
def test_the_crc_is_the_one_seen_on_the_wire(capture: dict[str, str]) -> None:
    assert edc.CRC.holds(unhex(capture["block"]))


@pytest.mark.parametrize(("number", "code"), list(enumerate((edc.CRC_ARC, edc.CRC_INVERTED, edc.CRC_X25))))
def test_the_other_crcs_are_those_seen_in_the_field(number: int, code: edc.Edc) -> None:
    for example in document(FILE)["t1_crc"]["others_seen"][number]["examples"]:
        assert code.holds(unhex(example))
        assert not edc.CRC.holds(unhex(example))


@pytest.mark.parametrize("code", list(edc.T1_CODES.values()), ids=lambda code: code.name)
def test_every_block_of_the_file_closes_with_any_code(code: edc.Edc) -> None:
    for case in load(FILE, "t1"):
        for step in case["steps"]:
            if "lrc" in step:
                body = unhex(step["lrc"])[:-1]
                assert code.holds(code.close(body))
