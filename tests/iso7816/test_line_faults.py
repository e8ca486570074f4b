"""The block protocols on a failing line: seeded scenarios, the faults that check codes always show, planted mistakes.

A normal run plays a sample of the seeds, the nightly one all 100,000 (`SCENARIOS`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

from keywright.iso7816 import edc
from keywright.iso7816.iso14443 import Iso14443Card, Iso14443Reader
from keywright.iso7816.iso14443 import block as nfc_block
from keywright.iso7816.line import Arrival
from keywright.iso7816.line_faults import FaultyLine, LineFault, flipped
from keywright.iso7816.t0 import T0Host
from keywright.iso7816.t1 import T1Card, T1Host
from keywright.iso7816.t1 import block as t1_block
from keywright.iso7816.transport import Failure, Resynchronised
from support.fault_plans import BURST, TRANSPORTS, Outcome, play, transport_of
from support.vectors import unhex

NIGHTLY = 100_000
SAMPLE = 3_000
_USUAL = 100
SCENARIOS = NIGHTLY if (settings.default or settings()).max_examples > _USUAL else SAMPLE
"""Seeds of one run: the profile says which (`make nightly` draws twenty times the usual examples)."""
PARTS = 10
"""Slices of the seeds, so that several processes share them."""


def totals(outcomes: list[Outcome]) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    ends: dict[str, Counter[str]] = {name: Counter() for name in TRANSPORTS}
    faults: dict[str, Counter[str]] = {name: Counter() for name in TRANSPORTS}
    for outcome in outcomes:
        ends[outcome.transport].update(outcome.ends)
        faults[outcome.transport].update(outcome.faults)
    return ends, faults


@pytest.mark.parametrize("part", range(PARTS))
def test_a_failing_line_gives_the_right_answer_or_a_named_failure(part: int) -> None:
    size = SCENARIOS // PARTS
    ends, faults = totals([play(seed) for seed in range(part * size, (part + 1) * size)])
    for name in TRANSPORTS:
        assert ends[name]["Answered"] > sum(ends[name].values()) // 3, "most commands survive"
        assert sum(count for end, count in ends[name].items() if end in list(Failure)), "some do not"
        kinds = (
            {"flip", "lose", "double", "cut", "late", "parity"} if name in BURST else {"parity", "cut", "lose", "late"}
        )
        assert set(faults[name]) == kinds
    assert ends["T=1 LRC"]["Answered after RESYNCH"] + ends["T=1 CRC"]["Answered after RESYNCH"]


def test_a_seed_is_the_same_scenario_every_time() -> None:
    assert [play(seed) for seed in range(25)] == [play(seed) for seed in range(25)]
    assert {transport_of(seed) for seed in range(5)} == set(TRANSPORTS)


# ---- what is claimed of the check codes -----------------------------------------------------------------------

BLOCKS = [unhex(text) for text in ("00C101FE", "000002900000"[:10], "80", "A4" * 40, "00" * 20, "FF" * 33)]
CODES = {"T=1 LRC": edc.LRC, "T=1 CRC": edc.CRC, "14443-4 A": edc.CRC_A, "14443-4 B": edc.CRC_B}


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("body", BLOCKS, ids=len)
def test_every_single_bit_and_every_burst_shows(name: str, body: bytes) -> None:
    code = CODES[name]
    block = code.close(body)
    assert code.holds(block)
    longest = min(BURST[name], 8)
    for at in range(8 * len(block)):
        for pattern in range(1, 1 << (longest - 1), 2 if longest > 4 else 1):
            bits = [at + step for step in range(longest - 1) if pattern >> step & 1]
            bits = [bit for bit in bits if bit < 8 * len(block)]
            assert not bits or not code.holds(flipped(block, bits))


@pytest.mark.parametrize("name", ["T=1 CRC", "14443-4 A", "14443-4 B"])
def test_every_two_bits_show_under_a_crc(name: str) -> None:
    block = CODES[name].close(bytes(range(30)))
    for pair in itertools.combinations(range(8 * len(block)), 2):
        assert not CODES[name].holds(flipped(block, pair))


def test_two_bits_of_one_column_do_not_show_under_lrc() -> None:
    assert edc.LRC.holds(flipped(edc.LRC.close(bytes(5)), (0, 8)))


# ---- a rule that is broken is found ---------------------------------------------------------------------------


def complaint(transports: tuple[str, ...], scenarios: int = 1500) -> str:
    """The first complaint about scenarios of some transports, empty if there is none."""
    numbers = [number for number, name in enumerate(TRANSPORTS) if name in transports]
    for seed in itertools.islice((seed for seed in itertools.count() if seed % len(TRANSPORTS) in numbers), scenarios):
        try:
            play(seed)
        except AssertionError as error:
            return str(error)
    return ""


def careless(monkeypatch: pytest.MonkeyPatch, cls: Any, method: str, before: Callable[[Any, Any], None]) -> None:
    """Let a method forget something first: `before` is called with its object and first argument."""
    original = getattr(cls, method)

    def forgetful(self: Any, first: Any, *rest: Any) -> Any:
        before(self, first)
        return original(self, first, *rest)

    monkeypatch.setattr(cls, method, forgetful)


T1 = ("T=1 LRC", "T=1 CRC")
NFC = ("14443-4 A", "14443-4 B")


def test_a_card_that_takes_a_repeated_block_of_t1_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    careless(monkeypatch, T1Card, "_on_i", lambda card, found: setattr(card, "_nr", found.number))
    assert "the device ran" in complaint(T1)


def test_a_host_that_takes_a_repeated_block_of_t1_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    careless(monkeypatch, T1Host, "_on_i", lambda host, found: setattr(host, "_nr", found.number))
    assert "was answered" in complaint(T1)


def test_a_resynch_that_is_not_reported_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = T1Host._on_resynchronised

    def silently(self: T1Host, now: float) -> None:
        original(self, now)
        self._events = [event for event in self._events if not isinstance(event, Resynchronised) or event.is_over]

    monkeypatch.setattr(T1Host, "_on_resynchronised", silently)
    assert "ran 2 times, with 0 RESYNCHs reported" in complaint(T1)


def test_a_card_that_takes_a_repeated_block_of_14443_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    careless(monkeypatch, Iso14443Card, "_on_i", lambda card, _: setattr(card, "_has_heard", False))
    assert "the device ran" in complaint(NFC)


def test_a_reader_that_takes_a_repeated_block_of_14443_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    careless(monkeypatch, Iso14443Reader, "_on_i", lambda reader, found: setattr(reader, "_number", found.number))
    assert complaint(NFC)


def test_a_host_that_says_not_delivered_of_what_ran_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    careless(monkeypatch, T0Host, "_fail", lambda host, _: setattr(host, "_may_have_run", False))
    assert "said not to have been delivered" in complaint(("T=0",))


@pytest.mark.parametrize(("transports", "module"), [(T1, t1_block), (NFC, nfc_block)])
def test_a_check_code_that_nobody_looks_at_is_found(
    transports: tuple[str, ...], module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = module.read

    def trusting(frame: bytes, code: edc.Edc, largest: int) -> Any:
        return original(code.close(frame[: -code.size]), code, largest)

    monkeypatch.setattr(module, "read", trusting)
    assert complaint(transports)


# ---- the channel ----------------------------------------------------------------------------------------------


def test_the_channel_does_what_the_plan_says() -> None:
    plan = [
        LineFault(1, "lose"),
        LineFault(2, "double"),
        LineFault(2, "late", seconds=2.0),
        LineFault(3, "cut", size=2),
        LineFault(4, "flip", bits=(0, 33)),
        LineFault(5, "parity", size=1),
        LineFault(6, "parity", size=1, repeats=3),
    ]
    channel = FaultyLine(plan, lambda _: True)
    assert [list(channel("host", b"abcd")) for _ in range(8)] == [
        [Arrival(b"abcd")],
        [],
        [Arrival(b"abcd", 2.0)] * 2,
        [Arrival(b"ab")],
        [Arrival(b"\xa1bcd")],
        [Arrival(b"a"), Arrival(b"", has_parity_error=True)],
        [Arrival(b"abcd")],
        [Arrival(b"abcd")],
    ]
    assert channel.made == plan


def test_damage_that_no_check_shows_is_counted_and_not_done() -> None:
    channel = FaultyLine([LineFault(0, "flip", bits=(0, 8))], lambda frame: not edc.LRC.holds(frame))
    block = edc.LRC.close(bytes(5))
    assert list(channel("card", block)) == [Arrival(block)]
    assert (channel.hidden, channel.made) == (1, [])
