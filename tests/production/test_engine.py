"""The engine: many units at once, each failure named, recorded and kept to its unit, and the lot goes on or stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from keywright.element import SecureElement
from keywright.errors import LinkError
from keywright.fob.credential.applet import CredentialApplet
from keywright.fob.fobs import Model, _cplc, simulated_fob
from keywright.iso7816.apdu import Command, Response
from keywright.production.control.control import TEST_LIMITS
from keywright.production.engine import Engine, Outcome, whole_recipe
from keywright.production.job import Job, StepDialogue
from keywright.production.unit_store.rows import Unit
from keywright.production.watch import Unwatched
from keywright.store import RamMemory
from support.bench import Bench, Tamper
from support.cards import element
from support.engine import (
    EXCHANGES,
    GENERATE,
    PUT_KEY,
    RETRIES,
    SELECT,
    SESSIONS,
    at,
    jobs,
    lot,
    only,
    run,
    serials,
    states,
)
from support.ledger import FOB, Ledger

# ---- the good way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 4, 64])
def test_every_unit_is_sealed_and_the_width_never_exceeded(width: int) -> None:
    ledger, bench, outcome = lot(12, width=width)
    assert set(states(ledger).values()) == {"sealed"}
    assert (outcome.sealed, outcome.failed, outcome.left_open, outcome.stopped) == (12, 0, 0, "")
    assert {bench.device(serial).attempts for serial in serials(12)} == {SESSIONS}
    assert ledger.open_intents() == set()


class Begun(Unwatched):
    """How many units were in work at once, at most, before the first was done and in all."""

    open = most = 0
    at_first: int | None = None

    def started(self, unit: int, serial: str) -> None:
        self.open += 1
        self.most = max(self.most, self.open)

    def finished(self, unit: int, serial: str, state: str, failure: str) -> None:
        if self.at_first is None:
            self.at_first = self.most
        self.open -= 1


def test_a_lot_begins_with_one_unit_and_widens_as_units_succeed() -> None:
    begun = Begun()
    run(Ledger.of(FOB, *serials(20)), Bench(width=8), begun)
    assert begun.at_first == 1
    assert begun.most == 8


def test_a_station_on_which_units_went_through_before_begins_with_more_than_one() -> None:
    begun, ledger = Begun(), Ledger.of(FOB, *serials(20))
    Engine(ledger.as_store(), Bench(width=8), jobs(ledger), watcher=begun, proven=4).run()
    assert begun.at_first == 5
    assert begun.most == 8


def test_commits_of_many_units_are_grouped_and_every_intent_is_durable_before_its_command() -> None:
    ledger = Ledger.of(FOB, *serials(40))
    seen: list[str] = []

    def tamper(name: str, number: int, command: bytes, answer: bytes) -> bytes:
        if command[1] in (0xD8, 0x46, 0xE2, 0xF0, 0x82):
            n = next(one.n for one in ledger.units.values() if one.serial == name)
            open_now = {step for unit, step in ledger.open_intents() if unit == n}
            settled = {event.step for event in ledger.events if event.unit == n and event.phase == "done"}
            seen.append(name)
            assert open_now or (command[1] == 0x82 and "session.own" in settled), f"{command.hex()} without an intent"
        return answer

    outcome = run(ledger, Bench(width=32, tamper=tamper))
    assert outcome.sealed == 40
    assert len(seen) == 40 * (SESSIONS + 1 + 1 + 3 + 2)
    assert len(ledger.batches) < 40 * 9 / 2, "commits were not grouped"


# ---- one unit fails, the lot goes on --------------------------------------------------------------------------


def test_another_product_is_rejected_and_named() -> None:
    devices = {"K-000002": _with_cplc(ic_type=0x9999)}
    ledger, bench, outcome = lot(3, devices=devices)
    assert states(ledger) == {"K-000001": "sealed", "K-000002": "rejected", "K-000003": "sealed"}
    assert ledger.units[2].failure_code == "wrong-unit"
    assert "ic_type is 9999, the recipe expects 4631" in ledger.units[2].failure_text
    assert ledger.phases("identify", 2) == ["failed"]
    assert bench.device("K-000002").attempts == 0
    assert outcome.failed == 1


def _with_cplc(**fields: int) -> SecureElement:
    chip = b"stranger01"
    cplc = msgspec.structs.replace(_cplc(chip), **fields)
    return element(cplc=cplc, kdd=chip, applets=[CredentialApplet()])


def test_a_unit_that_went_through_the_line_is_rejected_untouched() -> None:
    first, bench, _ = lot(1)
    assert states(first) == {"K-000001": "sealed"}
    device = bench.device("K-000001")
    tries = device.attempts
    ledger, _, _ = lot(2, devices={"K-000001": device})
    assert states(ledger) == {"K-000001": "rejected", "K-000002": "sealed"}
    assert "already provisioned: it holds key set 30" in ledger.units[1].failure_text
    assert device.attempts == tries


def test_wrong_factory_keys_are_quarantined_without_a_single_try() -> None:
    stranger = simulated_fob("K-000002", RamMemory(), Model(factory_key="11" * 16, try_limit=3))
    ledger, bench, outcome = lot(3, devices={"K-000002": stranger})
    assert states(ledger) == {"K-000001": "sealed", "K-000002": "quarantined", "K-000003": "sealed"}
    assert ledger.units[2].failure_code == "card-cryptogram"
    assert ledger.phases("session.factory", 2) == ["mismatch"]
    assert ledger.phases("authenticate", 2) == ["failed"]
    assert stranger.attempts == 0
    assert not any(command[1] == 0x82 for command in bench.sent["K-000002"])
    assert (outcome.sealed, outcome.failed) == (2, 1)


def test_a_mismatch_is_durable_and_the_next_run_does_not_touch_the_unit() -> None:
    stranger = simulated_fob("K-000001", RamMemory(), Model(factory_key="11" * 16))
    ledger, _, _ = lot(1, devices={"K-000001": stranger})
    bench = Bench(devices={"K-000001": stranger})
    assert run(ledger, bench) == Outcome()
    assert bench.sent == {}


Fault = bytes | LinkError | Callable[[bytes], bytes]
FAULTS: dict[str, Fault] = {
    "6F00": b"\x6f\x00",
    "6A88": b"\x6a\x88",
    "6982": b"\x69\x82",
    "6985": b"\x69\x85",
    "6300": b"\x63\x00",
    "6283 without data": b"\x62\x83",
    "6C00": b"\x6c\x00",
    "9000 without data": b"\x90\x00",
    "a wrong object": bytes.fromhex("C0FFEE9000"),
    "many zeros": bytes(200) + b"\x90\x00",
    "an object of another length": bytes.fromhex("9F7F7F") + bytes(10) + b"\x90\x00",
    "one byte": b"\x90",
    "nothing": b"",
    "no status word": bytes.fromhex("00010203"),
    "a flipped bit": lambda answer: bytes((answer[0] ^ 1,)) + answer[1:],
    "a byte less": lambda answer: answer[1:],
    "a byte more": lambda answer: b"\0" + answer,
    "card removed": LinkError("the card was removed", None),
    "card gone before": LinkError("the card was removed", False),
}


def faulty_lot(fault: Fault) -> tuple[Ledger, Bench, Outcome]:
    """Unit 2k-1 gets the fault at its k-th exchange; between two of them stands a good one."""
    names = serials(2 * EXCHANGES)

    def tamper(name: str, number: int, command: bytes, answer: bytes) -> bytes | LinkError:
        place = int(name[2:])
        if not place % 2 or number != (place + 1) // 2:
            return answer
        return fault(answer) if callable(fault) else fault

    ledger, bench = Ledger.of(FOB, *names), Bench(tamper=tamper)
    return ledger, bench, run(ledger, bench)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_exchange_is_named_recorded_and_kept_to_its_unit(name: str) -> None:
    ledger, bench, outcome = faulty_lot(FAULTS[name])
    assert outcome.stopped == ""
    assert outcome.sealed + outcome.failed == 2 * EXCHANGES
    good = [one for one in ledger.units.values() if not one.n % 2]
    assert {one.state for one in good} == {"sealed"}
    for one in ledger.units.values():
        if one.n % 2:
            _is_named_and_safe(ledger, bench, one)


def _is_named_and_safe(ledger: Ledger, bench: Bench, one: Unit) -> None:
    device = bench.device(one.serial)
    ends = [event for event in ledger.events if event.unit == one.n and event.phase in ("failed", "note")]
    if one.state == "sealed":
        assert {step for unit, step in ledger.open_intents() if unit == one.n} == set()
        assert device.life_cycle == 0x0F
    else:
        assert one.state in ("quarantined", "rejected")
        assert one.failure_code
        assert one.failure_text
        assert ends[-1].facts["code"] == one.failure_code
        assert ends[-1].step == one.step
    tries = [command for command in bench.sent[one.serial] if command[1] == 0x82]
    assert device.attempts == len(tries) <= 9
    counters = bench.memories[one.serial]
    failures = [(counters.load(name) or b"")[-2:] for name in counters.names() if name.startswith("counter/")]
    assert set(failures) == {b"\0\0"}, "a try was wasted"


def test_a_lost_answer_at_any_exchange_ends_as_if_nothing_had_been() -> None:
    """The faults of a link are made good in the same run: nothing but counters and drawn keys differs."""
    for fault in (FAULTS["card removed"], FAULTS["one byte"]):
        ledger, bench, outcome = faulty_lot(fault)
        assert outcome.sealed == 2 * EXCHANGES
        assert {bench.resets[serial] for serial in serials(2 * EXCHANGES)} == {1, 2}
        recovered = Counter(event.step for event in ledger.events if event.phase == "recovered")
        assert recovered.keys() >= {"own_keys.put", "personalise.generate", "personalise.write", "lock_down.secured"}


@pytest.mark.parametrize("sw", ["6985", "6982", "6A84"])
def test_a_refusal_says_which_command_was_refused_with_what(sw: str) -> None:
    put = next(n for n, command in enumerate(lot(1)[1].sent["K-000001"], 1) if command[1] == 0xD8)
    ledger, _, _ = lot(2, tamper=only("K-000001", at(put, bytes.fromhex(sw))))
    assert ledger.units[1].state == "quarantined"
    assert ledger.units[1].step == "own_keys"
    assert f"PUT KEY (KVN 30 KID 01): status {sw}" in ledger.units[1].failure_text
    assert (1, "own_keys.put") in ledger.open_intents(), "whether it took effect is for a person to see"


def test_a_fault_of_ours_sets_its_unit_aside_and_only_the_log_has_its_text(caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Job) -> StepDialogue[None]:
        yield from whole_recipe(job)
        if job.unit.n == 2:
            raise ZeroDivisionError("may hold a key")

    ledger, bench = Ledger.of(FOB, *serials(3)), Bench()
    outcome = Engine(ledger.as_store(), bench, jobs(ledger), work=work).run()
    assert (outcome.sealed, outcome.failed, outcome.stopped) == (2, 1, "")
    one = ledger.units[2]
    assert (one.state, one.failure_code) == ("quarantined", "internal")
    assert one.failure_text == "ZeroDivisionError in step lock_down"
    assert ledger.phases("lock_down", 2)[-1] == "failed"
    assert "may hold a key" in caplog.text


# ---- links ----------------------------------------------------------------------------------------------------


def test_a_link_that_fails_every_time_leaves_the_unit_open_after_three_starts() -> None:
    def gone(_name: str, _number: int, _command: bytes, _answer: bytes) -> LinkError:
        return LinkError("the reader does not answer", None)

    ledger, bench, outcome = lot(2, tamper=only("K-000001", gone))
    assert bench.resets == {"K-000001": RETRIES + 1, "K-000002": 1}
    assert (outcome.left_open, outcome.sealed, outcome.failed, outcome.stopped) == (1, 1, 0, "")
    one = ledger.units[1]
    assert one.state == "planned"
    assert (one.failure_code, one.failure_text) == ("link", "the reader does not answer")
    assert ledger.phases("link") == ["note"] * (RETRIES + 1)
    notes = [event.facts for event in ledger.events if event.step == "link"]
    assert {note["delivered"] for note in notes} == {"unknown"}


def test_a_unit_left_open_is_taken_up_and_sealed_by_the_next_run() -> None:
    ledger = Ledger.of(FOB, *serials(1))
    bench = Bench(tamper=lambda _n, number, _c, answer: LinkError("gone", None) if number >= 14 else answer)
    assert run(ledger, bench).left_open == 1
    assert ledger.units[1].state == "running"
    again = Bench(devices={"K-000001": bench.device("K-000001")})
    assert run(ledger, again).sealed == 1
    assert (ledger.units[1].state, ledger.units[1].failure_code, ledger.units[1].failure_text) == ("sealed", "", "")
    assert ledger.open_intents() == set()


def test_a_device_that_does_not_answer_to_reset_is_a_link_failure() -> None:
    class Silent(Bench):
        def power_on(self, name: str) -> None:
            super().power_on(name)
            self._answers[-1] = (name, LinkError("no answer to reset", False))

    ledger, bench = Ledger.of(FOB, *serials(1)), Silent()
    assert run(ledger, bench).left_open == 1
    assert bench.sent == {}


def test_a_station_that_is_gone_ends_the_run() -> None:
    class Gone(Bench):
        def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
            raise LinkError("the process of the simulated fobs has ended", None)

    with pytest.raises(LinkError, match="has ended"):
        run(Ledger.of(FOB, *serials(2)), Gone())


# ---- three alike ----------------------------------------------------------------------------------------------


def strangers(*numbers: int) -> dict[str, SecureElement]:
    return {f"K-{n:06d}": simulated_fob(f"K-{n:06d}", RamMemory(), Model(factory_key="11" * 16)) for n in numbers}


def test_three_alike_failures_in_a_row_stop_the_lot_and_say_so() -> None:
    ledger, bench, outcome = lot(6, devices=strangers(2, 3, 4))
    assert outcome.stopped == "3 units in a row failed alike (card-cryptogram at authenticate); the lot was stopped"
    assert outcome.failed == TEST_LIMITS.max_alike
    assert [states(ledger)[serial] for serial in serials(6)] == ["sealed", *["quarantined"] * 3, "planned", "planned"]
    assert "K-000005" not in bench.sent


def test_a_success_or_another_failure_between_them_lets_the_lot_go_on() -> None:
    ledger, _, outcome = lot(6, devices=strangers(1, 2, 4, 5))
    assert (outcome.stopped, outcome.sealed, outcome.failed) == ("", 2, 4)
    devices = strangers(1, 2, 4, 5) | {"K-000003": _with_cplc(ic_type=1)}
    ledger, _, outcome = lot(6, devices=devices)
    assert outcome.stopped == ""
    assert states(ledger)["K-000003"] == "rejected"
    assert states(ledger)["K-000006"] == "sealed"


def refusing(*refusals: tuple[int, str]) -> Tamper:
    """The n-th unit refuses the first command of that instruction with that status; the ones after them are good."""
    seen: set[str] = set()

    def tamper(name: str, _number: int, command: bytes, answer: bytes) -> bytes:
        place = int(name[2:]) - 1
        if place >= len(refusals) or name in seen or command[1] != refusals[place][0]:
            return answer
        seen.add(name)
        return bytes.fromhex(refusals[place][1])

    return tamper


DIFFERENT = {
    "status words": ((PUT_KEY, "6982"), (PUT_KEY, "6A80"), (PUT_KEY, "6985")),
    "steps": ((SELECT, "6982"), (PUT_KEY, "6982"), (GENERATE, "6982")),
    "two alike and another": ((PUT_KEY, "6982"), (PUT_KEY, "6982"), (PUT_KEY, "6A80"), (PUT_KEY, "6982")),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_failures_that_differ_in_status_word_or_step_do_not_stop_the_lot(name: str) -> None:
    refusals = DIFFERENT[name]
    ledger, _, outcome = lot(len(refusals) + 2, tamper=refusing(*refusals))
    assert (outcome.stopped, outcome.failed, outcome.sealed) == ("", len(refusals), 2)
    assert {one.failure_code for one in ledger.units.values()} == {"status", ""}


@pytest.mark.parametrize(
    ("ins", "sw", "kind"),
    [(PUT_KEY, "6982", "status 6982 at own_keys"), (GENERATE, "6A80", "status 6A80 at personalise")],
)
def test_three_alike_in_status_word_and_step_stop_the_lot(ins: int, sw: str, kind: str) -> None:
    _, bench, outcome = lot(5, tamper=refusing(*[(ins, sw)] * 3))
    assert outcome.stopped == f"3 units in a row failed alike ({kind}); the lot was stopped"
    assert (outcome.failed, outcome.sealed) == (3, 0)
    assert "K-000004" not in bench.sent


def test_three_dead_links_in_a_row_stop_the_lot() -> None:
    _, bench, outcome = lot(5, tamper=lambda *_: LinkError("no reader", False))
    assert "(link at identify)" in outcome.stopped
    assert (outcome.left_open, outcome.failed) == (3, 0)
    assert set(bench.sent) == set(serials(3))


def test_units_in_work_are_finished_when_the_lot_stops() -> None:
    ledger, _, outcome = lot(40, width=8, devices=strangers(*range(10, 41)))
    assert outcome.stopped
    assert not [one for one in ledger.units.values() if one.state == "running"]
    assert Counter(states(ledger).values())["planned"] > 0


# ---- one device for two units ---------------------------------------------------------------------------------

TWICE = FOB.replace("fresh = true", "fresh = false")


def test_one_chip_under_two_serials_is_a_conflict_of_the_second_alone() -> None:
    twin = simulated_fob("K-000001", RamMemory())
    ledger = Ledger.of(FOB, *serials(4))
    outcome = run(ledger, Bench(devices={"K-000002": twin}))
    assert states(ledger) == {
        "K-000001": "sealed",
        "K-000002": "quarantined",
        "K-000003": "sealed",
        "K-000004": "sealed",
    }
    assert ledger.units[2].failure_code == "conflict"
    assert ledger.units[2].device_uid is None
    assert (outcome.sealed, outcome.failed) == (3, 1)
    assert twin.attempts == 0, "nothing was done to it"


def test_the_very_same_device_for_two_units_is_found_whether_or_not_it_must_be_fresh() -> None:
    for text, state in ((FOB, "rejected"), (TWICE, "quarantined")):
        device = simulated_fob("K-000001", RamMemory())
        ledger = Ledger.of(text, *serials(3))
        run(ledger, Bench(devices=dict.fromkeys(serials(2), device)))
        assert [states(ledger)[serial] for serial in serials(3)] == ["sealed", state, "sealed"]


def test_a_conflict_in_a_group_of_commits_fails_alone() -> None:
    twins = {f"K-{n:06d}": simulated_fob("K-000001", RamMemory()) for n in (10, 11)}
    ledger = Ledger.of(FOB, *serials(30))
    outcome = run(ledger, Bench(width=16, devices=twins))
    wrong = [serial for serial, state in states(ledger).items() if state != "sealed"]
    assert wrong == sorted(twins)
    assert (outcome.sealed, outcome.failed) == (28, 2)


def test_another_device_in_the_place_of_a_begun_unit_is_set_aside_unharmed() -> None:
    ledger = Ledger.of(FOB, *serials(1))
    bench = Bench(tamper=lambda _n, number, _c, answer: LinkError("gone", None) if number >= 14 else answer)
    run(ledger, bench)
    other = simulated_fob("K-000099", RamMemory())
    run(ledger, Bench(devices={"K-000001": other}))
    assert ledger.units[1].failure_code == "mismatch"
    assert "another device" in ledger.units[1].failure_text
    assert other.attempts == 0


# ---- the watcher ----------------------------------------------------------------------------------------------


def test_the_watcher_sees_every_exchange_in_clear() -> None:
    class Seen(Unwatched):
        def __init__(self) -> None:
            self.plain: list[tuple[int, Command, Response, Response]] = []

        def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
            self.plain.append((sent.cla, plain, got, opened))

    seen = Seen()
    run(Ledger.of(FOB, *serials(1)), Bench(), seen)
    put = next(one for one in seen.plain if one[1].ins == 0xD8)
    assert put[0] == 0x84
    assert put[1].cla == 0x80
    assert put[1].data[0] == 0x30
    assert put[3].data[0] == 0x30
    assert len(put[2].data) > len(put[3].data)
    assert len(seen.plain) == EXCHANGES


def test_what_a_watcher_raises_ends_the_run_where_it_stands() -> None:
    class StopError(Exception):
        pass

    class Stopping(Unwatched):
        def moment(self, phase: str, unit: int, step: str) -> None:
            if (phase, step) == ("after intent", "own_keys"):
                raise StopError

    ledger, bench = Ledger.of(FOB, *serials(1)), Bench()
    with pytest.raises(StopError):
        run(ledger, bench, Stopping())
    assert ledger.open_intents() == {(1, "own_keys.put")}
    assert run(ledger, Bench(devices={"K-000001": bench.device("K-000001")})).sealed == 1
