"""Each step by itself: what it asks of the unit, what it writes before, and how every doubt ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.element import SecureElement
from keywright.errors import AuthenticationError, LinkError, PolicyError, RecipeError
from keywright.fob.credential.applet import CredentialApplet
from keywright.fob.fobs import Model, _cplc, chip_serial, simulated_fob
from keywright.globalplatform.messages import Cplc
from keywright.iso7816 import Command, Response
from keywright.production.job import (
    Facts,
    MismatchError,
    RejectedError,
    StepDialogue,
    UncertainError,
    Verdict,
)
from keywright.production.parameters import LockDown
from keywright.production.steps import identify, table
from keywright.production.steps.table import step
from keywright.production.verification import verify
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import CardCryptogramError, KeySet
from keywright.store import RamMemory
from support.cards import element
from support.ledger import CARD, FOB, Ledger
from support.one_unit import KEEPING, OWNED, SERIAL, Change, Unit, lost, prepared, sealed, with_cplc

# ---- the table ------------------------------------------------------------------------------------------------


def test_a_step_of_others_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "step_of_others", lambda name: identify if name == "engrave" else None)
    table.step.cache_clear()
    assert table.step("engrave") is identify.run
    table.step.cache_clear()


def test_a_step_nobody_provides_is_named() -> None:
    with pytest.raises(RecipeError, match="no step 'engrave'") as caught:
        step("engrave")
    assert "identify" in caught.value.hint


# ---- identify -------------------------------------------------------------------------------------------------


def test_identify_reads_only_and_records_who_it_is() -> None:
    unit = Unit()
    unit.play("identify")
    assert set(unit.instructions()) == {0xA4, 0xCA}
    row = unit.ledger.units[1]
    assert row.state == "running"
    assert row.device_uid is not None
    facts = unit.ledger.events[-1].facts
    assert facts["uid"] == row.device_uid.hex()
    assert facts["key_versions"] == [0xFF]


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (lambda: with_cplc(ic_fabricator=0x1234), "ic_fabricator is 1234, the recipe expects 4B57"),
        (lambda: with_cplc(ic_type=0), "ic_type is 0000, the recipe expects 4631"),
        (lambda: with_cplc(os_id=2), "os_id is 0002, the recipe expects 0101"),
        (lambda: simulated_fob(SERIAL, RamMemory(), Model(i=0x60)), "SCP03 i=60"),
        (lambda: simulated_fob(SERIAL, RamMemory(), Model(kvn=0x20)), "already provisioned: it holds key set 20"),
    ],
)
def test_another_product_is_rejected_by_what_differs(device: Callable[[], SecureElement], text: str) -> None:
    unit = Unit(device())
    job = unit.fails(RejectedError, "identify", text=text)
    assert unit.device.attempts == 0
    assert unit.ledger.events == []
    assert job.take_pending().changes == ()


def absent(*tags: int) -> Change:
    """The card has no such objects."""

    def change(command: Command, answer: Response) -> Response:
        return Response(b"", 0x6A88) if command.ins == 0xCA and command.p1 << 8 | command.p2 in tags else answer

    return change


def test_a_product_that_cannot_be_told_is_rejected() -> None:
    unit = Unit()
    unit.change = absent(0x9F7F)
    unit.fails(RejectedError, "identify", text="ic_fabricator is nothing")


def test_a_unit_without_anything_to_be_told_by_is_rejected() -> None:
    unit = Unit(element(cplc=Cplc.parse(bytes(42))), FOB.replace("product = {", "# product = {"))
    unit.change = absent(0x42, 0x45)
    unit.fails(RejectedError, "identify", text="no CPLC, IIN or CIN")


def test_a_unit_with_factory_and_own_keys_has_been_through_the_line() -> None:
    unit = prepared("identify", "authenticate", "own_keys", recipe=KEEPING, stays=True)
    fresh = Unit(unit.device)
    fresh.fails(RejectedError, "identify", text="already provisioned: it holds key set 30")


def test_a_unit_without_the_factory_set_is_rejected() -> None:
    unit = Unit(recipe=FOB.replace("kvn = 0xFF", "kvn = 0x20"))
    unit.fails(RejectedError, "identify", text="already provisioned: it holds key set FF")


def test_a_unit_that_does_not_list_its_keys_is_refused_before_they_are_replaced() -> None:
    unit = Unit()
    unit.change = absent(0xE0)
    unit.fails(RejectedError, "identify", text="gives no key information")


def test_a_unit_whose_list_lacks_the_factory_set_is_rejected() -> None:
    unit = Unit()
    unit.change = lambda command, answer: Response(b"\xe0\x00") if command.p2 == 0xE0 else answer
    unit.fails(RejectedError, "identify", text="does not hold the factory key set FF")


def test_the_same_unit_is_known_again_and_another_device_is_not_taken_for_it() -> None:
    unit = prepared("identify")
    events = len(unit.ledger.events)
    unit.play("identify")
    assert len(unit.ledger.events) == events
    unit.device = simulated_fob("K-000002", RamMemory())
    unit.fails(MismatchError, "identify", text="another device")


# ---- authenticate and sessions --------------------------------------------------------------------------------


def test_the_intent_is_durable_before_external_authenticate_and_settled_after() -> None:
    unit = prepared("identify")
    at: list[list[str]] = []

    def look(command: Command, answer: Response) -> Response:
        if command.ins == 0x82:
            at.append(unit.ledger.phases("session.factory"))
        return answer

    unit.change = look
    unit.play("authenticate")
    assert at == [["intent"]]
    assert unit.ledger.phases("session.factory") == ["intent", "done"]
    assert unit.device.attempts == 1
    facts = next(event.facts for event in unit.ledger.events if event.phase == "intent")
    assert facts == {"kvn": 0xFF, "kcvs": "504a77" * 3, "counter": "000001"}


def test_wrong_factory_keys_cost_no_try_and_are_durable() -> None:
    unit = Unit(simulated_fob(SERIAL, RamMemory(), Model(factory_key="22" * 16, try_limit=3)))
    unit.fails(CardCryptogramError, "identify", "authenticate", text="KVN FF, SCP03 i=70")
    assert unit.device.attempts == 0
    assert 0x82 not in unit.instructions()
    assert unit.ledger.phases("session.factory") == ["mismatch"]


def test_after_a_crash_inside_the_opening_it_is_probed_by_initialize_update_before_another_try() -> None:
    unit = prepared("identify")
    unit.change = lambda command, answer: lost() if command.ins == 0x82 else answer
    job = unit.ledger.job()
    with pytest.raises(LinkError):
        unit.play("authenticate", job=job)
    assert unit.ledger.open_intents() == {(1, "session.factory")}
    unit.change = None
    unit.sent.clear()
    unit.play("authenticate")
    assert unit.instructions() == [0xA4, 0x50, 0x82]
    assert unit.ledger.phases("session.factory") == ["intent", "failed", "intent", "done"]
    assert unit.ledger.open_intents() == set()


def test_after_a_crash_keys_that_fit_no_more_cost_no_try() -> None:
    unit = prepared("identify")
    unit.change = lambda command, answer: lost() if command.ins == 0x82 else answer
    with pytest.raises(LinkError):
        unit.play("authenticate", job=unit.ledger.job())
    chip = chip_serial(SERIAL)
    other = KeySet.of(*(bytes((n,)) * 16 for n in (1, 2, 3)))
    unit.device = element(cplc=_cplc(chip), kdd=chip, keys=other)
    unit.change = None
    unit.fails(CardCryptogramError, "authenticate")
    assert unit.device.attempts == 0
    assert unit.ledger.phases("session.factory") == ["intent", "mismatch"]
    assert unit.ledger.open_intents() == set()


def test_a_refused_external_authenticate_is_not_repeated() -> None:
    unit = prepared("identify")
    unit.change = lambda command, answer: Response(b"", 0x6300) if command.ins == 0x82 else answer
    unit.fails(AuthenticationError, "authenticate", text="EXTERNAL AUTHENTICATE refused: 6300")
    assert unit.instructions().count(0x82) == 1


def test_a_level_the_card_does_not_offer_is_refused_without_a_try() -> None:
    recipe = FOB.replace("i = [0x70] ", "i = [] ")
    unit = Unit(simulated_fob(SERIAL, RamMemory(), Model(i=0x10)), recipe)
    unit.fails(PolicyError, "identify", "authenticate", text="does not offer security level 33")
    assert unit.device.attempts == 0


def test_another_kdd_under_the_same_chip_is_another_device() -> None:
    unit = prepared("identify", "authenticate")
    unit.device = element(cplc=_cplc(chip_serial(SERIAL)), kdd=b"somebody's", applets=[CredentialApplet()])
    unit.fails(MismatchError, "own_keys", text="diversification data has changed")
    assert unit.device.attempts == 0


# ---- acts -----------------------------------------------------------------------------------------------------


def test_a_settled_act_sends_nothing_and_an_unknown_one_stops() -> None:
    unit = prepared(*OWNED)
    job = unit.ledger.job()

    def never() -> StepDialogue[Facts]:
        yield from ()
        raise AssertionError("performed again")

    def unknown(_: object) -> StepDialogue[tuple[Verdict, Facts]]:
        yield from ()
        return Verdict.UNKNOWN, {}

    found = drive(job.act("own_keys.put", {}, never, unknown), unit.ledger.over(unit.exchange))
    assert found == job.facts("own_keys.put")
    job.record("intent", "engrave")
    with pytest.raises(UncertainError, match="engrave"):
        drive(job.act("engrave", {}, never, unknown), unit.ledger.over(unit.exchange))
    assert unit.sent == []


def test_a_whole_recipe_played_again_sends_nothing_that_changes() -> None:
    unit = sealed()
    events = list(unit.ledger.events)
    unit.play()
    assert set(unit.instructions()) == {0xA4, 0xCA}
    assert unit.ledger.events == events


def test_a_job_knows_no_more_than_it_was_told() -> None:
    job = Ledger.of(CARD, SERIAL).job()
    with pytest.raises(MismatchError, match="not known yet"):
        _ = job.kdd
    with pytest.raises(KeyError, match="LockDown"):
        job.parameters(LockDown)


def test_a_recipe_that_only_takes_over_keys_is_verified_by_what_it_has() -> None:
    unit = Unit(element(initial_keys_stay=True), CARD)
    unit.play()
    facts = drive(verify(unit.ledger.job()), unit.ledger.over(unit.exchange))
    assert facts == {"key_versions": [0x30]}
