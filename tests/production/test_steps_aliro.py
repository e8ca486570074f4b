"""The step that makes a fob an Aliro user device, cut at every exchange, and the fob that comes of it at a lock."""

from __future__ import annotations

from functools import cache

import pytest

from keywright.aliro.access import Situation
from keywright.aliro.documents.document import Document
from keywright.aliro.documents.verification import Trust
from keywright.aliro.lock import Lock, Settings
from keywright.aliro.messages import STEP_UP_AID, ReaderStatus
from keywright.crypto.ec import EcPublicKey
from keywright.errors import KeywrightError, LinkError, StoreError
from keywright.fob.aliro.messages import EXPEDITED_MODULE, PACKAGE_AID
from keywright.fob.aliro.package import load_file
from keywright.iso7816 import Command, Response, transmit
from keywright.link import Loopback
from keywright.production.job import MismatchError
from keywright.production.recipe import parse_recipe
from keywright.production.steps.declared import DECLARED
from keywright.sansio.dialogue import drive
from keywright.store import RamMemory
from support.aliro import GROUP, fresh, key, reader
from support.ledger import FOB, NOW, Ledger
from support.one_unit import PERSONALISED, SERIAL, Unit, prepared

STEP = f"""
[[step]]
name = "aliro"
reader_group = "{GROUP.hex()}"
reader_key = "{key("reader").public.point.hex()}"
mailbox_bytes = 32
"""
RECIPE = FOB.replace('[[step]]\nname = "lock_down"', STEP + '\n[[step]]\nname = "lock_down"')


def unit(recipe: str = RECIPE) -> Unit:
    return prepared(*PERSONALISED, recipe=recipe)


def lock_of(ledger: Ledger) -> Lock:
    issuer = ledger.job().keystore.public_key("access-issuer")
    return Lock(reader(), RamMemory(), Trust.of((issuer,)), Settings(elements=("door",)))


def opens(made: Unit) -> bool:
    """Whether a lock that trusts the line's issuer lets the fob in, first by its document, then fast."""
    made.device.reset()
    lock, send = lock_of(made.ledger), transmit(Loopback(made.device))
    situation = Situation(now=int(NOW) + 60)
    first = drive(lock.unlock(fresh("1"), situation), send)
    second = drive(lock.unlock(fresh("2"), situation), send)
    return (first.granted, first.is_fast, second.granted, second.is_fast) == (True, False, True, True)


def test_the_recipe_step_makes_a_fob_that_opens_the_door_it_is_for() -> None:
    made = unit()
    made.play("aliro", "lock_down")
    facts = next(event.facts for event in made.ledger.events if event.step == "aliro")
    document = Document.parse(bytes.fromhex(str(facts["access_document"])))
    assert document.doc_type == "aliro-a"
    assert EcPublicKey.from_point("P-256", bytes.fromhex(str(facts["point"]))).width == 32
    assert opens(made)


@pytest.mark.parametrize("record", ["credential/0", "access/0", "point/0"])
def test_a_last_look_finds_what_was_changed_behind_the_line(record: str) -> None:
    made = unit()
    made.play("aliro")
    name = next(name for name in made.memory.names() if name.endswith(record))
    value = bytearray(made.memory.load(name) or b"")
    value[-1] ^= 1
    made.memory.commit({name: bytes(value)})
    made.device._card.storage.forget()
    made.fails(KeywrightError, "lock_down", text="Aliro|6F00|6A80")


def test_every_action_is_declared_and_every_change_has_its_intent() -> None:
    made = unit()
    made.play("aliro")
    mine = [event for event in made.ledger.events if event.step.startswith("aliro")]
    assert {event.step for event in mine if event.phase == "intent"} == {one.name for one in DECLARED["aliro"].actions}
    assert mine[-1].step == "aliro"


def test_the_document_is_in_the_store_before_the_unit_sees_a_byte_of_it() -> None:
    made = unit()
    seen = 0

    def look(command: Command, answer: Response) -> Response:
        nonlocal seen
        if command.ins == 0xE2:
            seen += 1
            assert (1, "aliro.write") in made.ledger.open_intents()
        return answer

    made.change = look
    made.play("aliro")
    assert seen > 1


@cache
def exchanges() -> int:
    made = unit()
    made.play("aliro")
    return len(made.sent)


@pytest.mark.parametrize("applied", [False, True])
def test_a_cut_at_any_exchange_is_made_good_with_one_key_pair_and_one_document(*, applied: bool) -> None:
    documents: set[bytes] = set()
    for at in range(exchanges()):
        made, left = unit(), [at]

        def cut(command: Command, made: Unit = made, left: list[int] = left) -> Response:
            left[0] -= 1
            if left[0] < 0:
                if applied:
                    made.device.handle(command.encode())
                raise LinkError("cut", delivered=None)
            return transmit(Loopback(made.device))(command)

        made.exchange = cut  # type: ignore[method-assign]  # this unit loses its power
        with pytest.raises(LinkError):
            made.play("aliro")
        issued = [event for event in made.ledger.events if event.step == "aliro.write" and event.phase == "intent"]
        again = Unit(made.device, RECIPE)
        again.memory, again.ledger = made.memory, made.ledger
        again.play("aliro")
        facts = made.ledger.events[-1].facts
        if issued:
            assert facts["access_document"] == issued[0].facts["access_document"], at
        documents.add(bytes.fromhex(str(facts["access_document"])))
        assert made.ledger.phases("aliro.generate").count("intent") <= 2
        assert opens(again), at
    assert len(documents) == exchanges()


def test_a_group_that_reads_back_otherwise_is_a_mismatch() -> None:
    made = unit()

    def look(command: Command, answer: Response) -> Response:
        if command.ins == 0xE2 and command.p1 & 0x80:
            name = next(name for name in made.memory.names() if name.endswith("/mailbox/0"))
            made.memory.commit({name: b"other"})
            made.device._card.storage.forget()
        return answer

    made.change = look
    made.fails(MismatchError, "aliro", text="DF13 of the Aliro applet reads back other")


def test_a_load_file_that_the_maker_has_put_there_is_only_installed() -> None:
    recipe = RECIPE.replace("mailbox_bytes = 32", "load = false")
    made = unit(recipe)
    made.fails(KeywrightError, "aliro", text="INSTALL")
    loaded = unit(recipe.replace("load = false", "load = true"))
    loaded.play("aliro")
    assert 0xE8 in loaded.instructions()
    assert load_file().package.aid == PACKAGE_AID
    assert EXPEDITED_MODULE in load_file().applet_aids


def test_an_issuer_that_the_keystore_does_not_hold_is_named() -> None:
    made = unit(RECIPE.replace("mailbox_bytes = 32", "issuer = 'nobody'"))
    made.fails(StoreError, "aliro", text="nobody")


def test_without_an_issuer_a_unit_gets_no_document_and_a_registered_key_opens() -> None:
    made = unit(RECIPE.replace("mailbox_bytes = 32", "issuer = ''"))
    made.play("aliro")
    assert not [name for name in made.memory.names() if name.endswith("/access/0")]
    door = lock_of(made.ledger)
    send = transmit(Loopback(made.device))
    stranger = drive(door.unlock(fresh("1"), Situation(now=int(made.ledger.job().clock()))), send)
    assert (stranger.granted, stranger.status) == (False, ReaderStatus.PUBLIC_KEY_NOT_FOUND)
    registered = Lock(reader(), RamMemory(), Trust.of(()), registered={stranger.credential: "Ada"})
    made.device.reset()
    assert drive(registered.unlock(fresh("2"), Situation(now=None)), send).granted


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("00112233", "0011"), "reader_group"),
        ((key("reader").public.point.hex()[-8:], "00000000"), "reader_key"),
        (("mailbox_bytes = 32", "mailbox_bytes = 4096"), "mailbox_bytes"),
        (("mailbox_bytes = 32", "capabilities = ['fly']"), "capabilities"),
    ],
)
def test_a_wrong_parameter_is_named(change: tuple[str, str], text: str) -> None:
    with pytest.raises(KeywrightError, match=text):
        parse_recipe(RECIPE.replace(*change).encode(), "recipe.toml")


def test_the_step_up_application_is_there_too() -> None:
    made = unit()
    made.play("aliro")
    made.device.reset()
    assert made.device.handle(bytes((0, 0xA4, 4, 0, len(STEP_UP_AID))) + STEP_UP_AID)[-2:] == b"\x90\0"
    assert made.ledger.job().unit.serial == SERIAL
