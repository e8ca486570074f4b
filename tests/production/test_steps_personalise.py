"""Personalising, locking down and verifying: what is stored before it is written, and what is found later."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from keywright.errors import KeywrightError, LinkError, StatusError
from keywright.iso7816 import Command, Response, transmit
from keywright.link import Loopback
from keywright.production.job import (
    MismatchError,
)
from keywright.production.steps.table import step
from keywright.production.verification import verify
from keywright.sansio.dialogue import drive
from support.ledger import FOB
from support.one_unit import OWNED, PERSONALISED, Unit, prepared, sealed

# ---- personalise ----------------------------------------------------------------------------------------------


def test_the_certificate_is_in_the_store_before_the_unit_sees_a_byte_of_it() -> None:
    unit = prepared(*OWNED)

    def look(command: Command, answer: Response) -> Response:
        if command.ins == 0xE2:
            assert unit.ledger.certificates, "written before it was stored"
            assert (1, "personalise.write") in unit.ledger.open_intents()
        return answer

    unit.change = look
    unit.play("personalise")
    certificate = unit.ledger.certificates[1]
    facts = unit.ledger.events[-1].facts
    assert facts["certificate"] == hashlib.sha256(certificate.der).hexdigest()
    assert unit.instructions().count(0x46) == 1


def test_configuration_and_owner_group_are_what_the_recipe_and_the_order_say() -> None:
    unit = prepared(*OWNED)
    unit.play("personalise")
    values = {name.split("/")[-1]: unit.memory.load(name) for name in unit.memory.names() if "/DF0" in name}
    assert values["DF01"] == b"north"
    assert values["DF02"] == b'{"radio":"0a1f","region":"4555","unlock_range_cm":"313530"}'


def cut_at(ins: int, *, applied: bool, nth: int = 1) -> Unit:
    """A unit whose line crashed in personalise at a command."""
    unit = prepared(*OWNED)
    seen = 0

    def cut(command: Command) -> Response:
        nonlocal seen
        seen += command.ins == ins
        if command.ins == ins and seen == nth:
            if applied:
                unit.device.handle(command.encode())
            raise LinkError("cut", None)
        return transmit(Loopback(unit.device))(command)

    job = unit.ledger.job()
    spec = job.recipe.step("personalise")
    assert spec is not None
    with pytest.raises(LinkError):
        drive(step("personalise")(job, spec.parameters), unit.ledger.over(cut))
    unit.sent.clear()
    return unit


def test_a_key_pair_that_a_cut_left_behind_is_read_back_and_certified() -> None:
    unit = cut_at(0x46, applied=True)
    unit.play("personalise")
    assert 0x46 not in unit.instructions()
    assert unit.ledger.phases("personalise.generate") == ["intent", "recovered"]
    assert len(unit.ledger.certificates) == 1


def test_a_certificate_that_was_issued_is_used_again() -> None:
    unit = cut_at(0xE2, applied=True, nth=2)
    issued = unit.ledger.certificates[1]
    unit.play("personalise")
    assert unit.ledger.certificates[1] is issued
    assert unit.ledger.phases("personalise.write") == ["intent", "failed", "intent", "done"]


def test_a_certificate_for_another_key_pair_is_never_written() -> None:
    unit = cut_at(0xE2, applied=False)
    other = prepared(*OWNED)
    other.play("personalise")
    unit.ledger.certificates[1] = msgspec.structs.replace(other.ledger.certificates[1], unit=1)
    unit.fails(MismatchError, "personalise", text="not the one its certificate was issued for")
    assert 0xE2 not in unit.instructions()


def test_data_that_reads_back_otherwise_is_a_mismatch() -> None:
    unit = prepared(*OWNED)

    def look(command: Command, answer: Response) -> Response:
        if command.ins == 0xE2 and command.p1 & 0x80:
            name = next(name for name in unit.memory.names() if name.endswith("/DF01"))
            unit.memory.commit({name: b"south"})
            unit.device._card.storage.forget()
        return answer

    unit.change = look
    unit.fails(MismatchError, "personalise", text="DF01 reads back other")


def test_a_unit_that_has_a_key_pair_from_elsewhere_is_set_aside() -> None:
    first = prepared(*OWNED)
    first.play("personalise")
    unit = Unit(first.device)
    unit.memory, unit.ledger = first.memory, prepared(*OWNED).ledger
    unit.fails(StatusError, "personalise", text="GENERATE KEY PAIR: status 6985")


# ---- lock down and verify -------------------------------------------------------------------------------------


def test_the_card_is_taken_through_every_state_on_the_way() -> None:
    unit = prepared(*PERSONALISED)
    unit.play("lock_down")
    states = [command.p2 for command in unit.sent if command.ins == 0xF0]
    assert states == [0x07, 0x0F]
    assert unit.device.life_cycle == 0x0F
    assert unit.ledger.events[-1].facts["state"] == "SECURED"


def test_a_recipe_that_ends_in_initialized_does() -> None:
    unit = prepared(*PERSONALISED, recipe=FOB.replace('state = "SECURED"', 'state = "INITIALIZED"'))
    unit.play("lock_down")
    assert unit.device.life_cycle == 0x07
    assert [command.p2 for command in unit.sent if command.ins == 0xF0] == [0x07]


def test_a_card_that_is_secured_already_is_left_so() -> None:
    unit = prepared(*PERSONALISED)
    unit.memory.commit({"life": b"\x0f"})
    unit.play("lock_down")
    assert 0xF0 not in unit.instructions()


def disagreement(unit: Unit) -> str:
    unit.device.reset()
    with pytest.raises(KeywrightError) as caught:
        drive(verify(unit.ledger.job()), unit.ledger.over(unit.exchange))
    return str(caught.value)


def test_verify_of_a_sealed_unit_agrees_and_sends_nothing_that_changes() -> None:
    unit = sealed()
    facts = drive(verify(unit.ledger.job()), unit.ledger.over(unit.exchange))
    assert facts == {"key_versions": [0x30], "state": "SECURED", "credential": "read back, signature valid"}
    assert set(unit.instructions()) <= {0xA4, 0x50, 0x82, 0xCA, 0xC0, 0xF2, 0x2A}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"life": b"\x07"}, "INITIALIZED"),
        ({"keys": b"\x30\x31", "keys/31": None}, ""),
        ({"DF02": b"{}"}, "DF02 differs"),
        ({"7F21": b"\x30\x00"}, "7F21 differs"),
        ({"DF01": None}, "DF01 differs"),
    ],
)
def test_verify_finds_what_was_changed_behind_its_back(change: dict[str, bytes | None], text: str) -> None:
    unit = sealed()
    names = {name.split("/")[-1]: name for name in unit.memory.names() if name.startswith("applet/")}
    changed = {names.get(name, name): value for name, value in change.items()}
    if "keys/31" in changed:
        changed["keys/31"] = unit.memory.load("keys/30")
        text = "lists 30, 31"
    unit.memory.commit(changed)
    assert text in disagreement(unit)


def test_verify_finds_a_key_pair_that_is_not_the_certified_one() -> None:
    unit, other = sealed(), sealed()
    name = next(name for name in unit.memory.names() if name.endswith("/key"))
    unit.memory.commit({name: other.memory.load(name)})
    assert "private key" in disagreement(unit)
