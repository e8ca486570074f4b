"""What the engine does with errors: who is tried again after which rest, who is set aside, and when a lot stops."""

from __future__ import annotations

import pytest

from keywright.errors import LinkError, StoreError
from keywright.production.engine import Engine, Outcome, whole_recipe
from keywright.production.job import Job, StepDialogue
from support.bench import Bench
from support.engine import (
    EXCHANGES,
    GENERATE,
    PUT_KEY,
    SET_STATUS,
    LedgerBrake,
    Time,
    at,
    jobs,
    lot,
    only,
    run,
    serials,
    states,
)
from support.ledger import FOB, Ledger

# ---- what is the lot's ----------------------------------------------------------------------------------------


def test_a_keystore_that_refuses_stops_the_lot_and_sets_no_unit_aside() -> None:
    def work(job: Job) -> StepDialogue[None]:
        yield from whole_recipe(job)
        if job.unit.n == 2:
            raise StoreError("the keystore is locked")

    ledger = Ledger.of(FOB, *serials(4))
    bench = Bench()
    brake = LedgerBrake(ledger)
    outcome = Engine(ledger.as_store(), bench, jobs(ledger), work=work, brake=brake).run()
    assert outcome.stopped == "store: the keystore is locked; the lot was stopped"
    assert list(states(ledger).values()) == ["sealed", "running", "planned", "planned"]
    assert (outcome.failed, outcome.left_open) == (0, 1)
    assert run(ledger, bench).sealed == 3


# ---- what is transient ----------------------------------------------------------------------------------------


def test_6f00_once_is_chance_and_the_probe_finds_what_took_effect() -> None:
    put = next(n for n, command in enumerate(lot(1)[1].sent["K-000001"], 1) if command[1] == 0xD8)
    ledger, bench, outcome = lot(1, tamper=at(put, b"\x6f\x00"))
    assert (outcome.sealed, bench.resets["K-000001"]) == (1, 2)
    assert ledger.phases("own_keys.put") == ["intent", "recovered"]
    (note,) = [event.facts for event in ledger.events if event.phase == "note"]
    assert (note["code"], note["step"]) == ("status", "own_keys")
    assert "status 6F00" in str(note["text"])


def test_6f00_once_at_each_of_two_steps_is_chance_twice_at_one_is_the_units_own() -> None:
    def lot_of(*instructions: int) -> tuple[Ledger, Bench, Outcome]:
        return lot(2, tamper=only("K-000001", lambda _u, _n, c, a: b"\x6f\x00" if c[1] in instructions else a))

    ledger, bench, _ = lot_of(PUT_KEY, GENERATE)
    assert states(ledger) == {"K-000001": "sealed", "K-000002": "sealed"}
    assert bench.resets["K-000001"] == 3
    ledger, bench, _ = lot_of(SET_STATUS)  # lock_down sends two
    assert states(ledger)["K-000001"] == "quarantined"
    assert bench.resets["K-000001"] == 2
    assert "status 6F00" in ledger.units[1].failure_text


def test_rests_before_retries_double_and_the_recipe_may_set_them() -> None:
    def gone(_name: str, _number: int, _command: bytes, _answer: bytes) -> LinkError:
        return LinkError("the reader does not answer", None)

    time = Time()
    run(Ledger.of(FOB, "K-000001"), Bench(tamper=gone), time=time)
    assert time.rests == pytest.approx([0.1, 0.2])
    patient = FOB.replace('name = "identify" ', 'name = "identify"\nretries = 4\nbackoff_s = 3\n')
    time, bench = Time(), Bench(tamper=gone)
    assert run(Ledger.of(patient, "K-000001"), bench, time=time).left_open == 1
    assert time.rests == pytest.approx([3, 6, 12, 24])
    assert bench.resets["K-000001"] == 5
    never = FOB.replace('name = "identify" ', 'name = "identify"\nretries = 0\n')
    bench = Bench(tamper=gone)
    assert run(Ledger.of(never, "K-000001"), bench).left_open == 1
    assert bench.resets["K-000001"] == 1


class Slow(Bench):
    """Some answers of a unit come only after so many looks; with none, never."""

    def __init__(self, time: Time, held: dict[tuple[str, int], int], **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]  # keywords of Bench
        self._time = time
        self._held = held
        self._kept: list[tuple[int, str, bytes | LinkError]] = []

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """Time passes only while nobody answers."""
        del block
        for name, answer in self._answers:
            looks = self._held.pop((name, len(self.sent.get(name, []))), 0)
            self._kept.append((looks, name, answer))
        self._answers = []
        due = [entry for entry in self._kept if entry[0] <= 0 and not self._behind(entry)]
        self._kept = [
            (looks - 1, name, answer) for looks, name, answer in self._kept if (looks, name, answer) not in due
        ]
        if not due:
            self._time.now += limit_s or 0.0
        return [(name, answer) for _, name, answer in due]

    def _behind(self, entry: tuple[int, str, bytes | LinkError]) -> bool:
        """Answers of one unit come in their order."""
        before = self._kept[: self._kept.index(entry)]
        return any(name == entry[1] for _, name, _ in before)

    @property
    def waiting(self) -> int:
        """Those kept count as well."""
        return len(self._answers) + len(self._kept)


def test_a_unit_that_does_not_answer_in_time_is_reset_and_probed_and_its_late_answer_dropped() -> None:
    hasty = FOB.replace("[[step]]", "[[step]]\ntimeout_s = 5")
    for exchange in range(1, EXCHANGES + 1):
        bench = Slow(time := Time(), {("K-000001", exchange): 24}, width=3)  # comes after 6 s
        ledger = Ledger.of(hasty, *serials(3))
        outcome = run(ledger, bench, time=time)
        assert (outcome.sealed, outcome.left_open, outcome.failed) == (3, 0, 0)
        assert bench.resets == {"K-000001": 2, "K-000002": 1, "K-000003": 1}
        (note,) = [event.facts for event in ledger.events if event.step == "link"]
        assert note["delivered"] == "unknown"
        assert str(note["text"]).startswith("no answer within ")
        assert ledger.open_intents() == set()


def test_a_unit_that_never_answers_is_left_open_and_holds_up_nobody() -> None:
    time = Time()
    held = {("K-000002", n): 10**6 for n in range(9, 99)}
    bench = Slow(time, held, width=4)
    ledger = Ledger.of(FOB.replace("fresh = true", "fresh = true\ntimeout_s = 2"), *serials(4))
    outcome = run(ledger, bench, time=time)
    assert (outcome.sealed, outcome.left_open) == (3, 1)
    assert ledger.units[2].failure_code == "timeout"
    assert time.now < 3 * 40
