"""Each step by itself: what it asks of the unit, what it writes to the store before, and how every doubt ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import pytest

from keywright.element import SecureElement
from keywright.errors import AuthenticationError, KeywrightError, LinkError, PolicyError, RecipeError, StatusError
from keywright.fob.credential.applet import CredentialApplet
from keywright.fob.fobs import Model, _cplc, chip_serial, simulated_fob
from keywright.globalplatform.host import KcvMismatchError
from keywright.globalplatform.messages import Cplc
from keywright.iso7816 import Command, Response, transmit
from keywright.link import Loopback
from keywright.production.engine import whole_recipe
from keywright.production.job import (
    Facts,
    Job,
    MismatchError,
    RejectedError,
    Role,
    StepDialogue,
    UncertainError,
    Verdict,
)
from keywright.production.steps.table import step
from keywright.production.verification import verify
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import CardCryptogramError, HostChannel, KeySet
from keywright.store import RamMemory
from support.cards import element
from support.ledger import FOB, Ledger, keystore

SERIAL = "K-000001"
KEEPING = FOB.replace("remove_factory = true", "remove_factory = false")
Change = Callable[[Command, Response], Response]


class Unit:
    """One unit on the line: its device, its ledger, and what was sent to it."""

    def __init__(self, device: SecureElement | None = None, recipe: str = FOB, *, stays: bool = False) -> None:
        self.memory = RamMemory()
        self.device = device or simulated_fob(SERIAL, self.memory, Model(initial_keys_stay=stays, try_limit=3))
        self.ledger = Ledger.of(recipe, SERIAL)
        self.sent: list[Command] = []
        self.change: Change | None = None

    def exchange(self, command: Command) -> Response:
        self.sent.append(command)
        answer = transmit(Loopback(self.device))(command)
        return answer if self.change is None else self.change(command, answer)

    def play(self, *steps: str, job: Job | None = None) -> Job:
        """Steps by one job, as one run of the line; without names the whole recipe."""
        self.device.reset()
        job = job or self.ledger.job()
        send = self.ledger.over(self.exchange)
        if not steps:
            drive(whole_recipe(job), send)
        for name in steps:
            spec = job.recipe.step(name)
            assert spec is not None
            job.step = name
            drive(step(name)(job, spec.parameters), send)
        self.ledger.settle(job)
        return job

    def fails(self, kind: type[KeywrightError], *steps: str, text: str = ".") -> Job:
        """The steps end with this error; what the job had not written is written, as the engine does."""
        job = self.ledger.job()
        with pytest.raises(kind, match=text):
            self.play(*steps, job=job)
        self.ledger.settle(job)
        return job

    def instructions(self) -> list[int]:
        return [command.ins for command in self.sent]


def prepared(*steps: str, recipe: str = FOB, stays: bool = False) -> Unit:
    """A unit that went through these steps."""
    unit = Unit(recipe=recipe, stays=stays)
    unit.play(*steps)
    unit.sent.clear()
    return unit


# ---- the table ------------------------------------------------------------------------------------------------


def test_a_step_nobody_provides_is_named() -> None:
    with pytest.raises(RecipeError, match="no step 'engrave'") as caught:
        step("engrave")
    assert "identify" in caught.value.hint


# ---- identify -------------------------------------------------------------------------------------------------


def with_cplc(**fields: object) -> SecureElement:
    chip = chip_serial(SERIAL)
    return element(cplc=msgspec.structs.replace(_cplc(chip), **fields), kdd=chip)


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
    assert job.take_pending() == ()


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


def test_a_unit_that_does_not_list_its_keys_is_not_refused_for_it() -> None:
    unit = Unit()
    unit.change = absent(0xE0, 0x66)
    unit.play("identify")
    assert unit.ledger.events[-1].facts["key_versions"] == []


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
    unit.change = lambda command, answer: _lost() if command.ins == 0x82 else answer
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
    unit.change = lambda command, answer: _lost() if command.ins == 0x82 else answer
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


def _lost() -> Response:
    raise LinkError("the answer was lost", None)


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


# ---- own keys -------------------------------------------------------------------------------------------------


def test_new_keys_can_be_derived_from_the_store_before_they_leave() -> None:
    unit = prepared("identify", "authenticate")
    seen: list[dict[str, object]] = []

    def look(command: Command, answer: Response) -> Response:
        if command.ins == 0xD8:
            seen.extend(dict(e.facts) for e in unit.ledger.events if (e.step, e.phase) == ("own_keys.put", "intent"))
        return answer

    unit.change = look
    unit.play("own_keys")
    (facts,) = seen
    derived = keystore().derive_key_set(
        str(facts["master"]), str(facts["scheme"]), bytes.fromhex(str(facts["context"])), 16
    )
    assert derived.kcvs.hex() == facts["kcvs"]
    assert facts["keystore"] == keystore().keystore_id
    assert derived == unit.ledger.job().own_keys()
    assert not any(raw.reveal().hex() in str(unit.ledger.events) for raw in (derived.enc, derived.mac, derived.dek))


@pytest.mark.parametrize("stays", [False, True])
def test_the_factory_set_is_deleted_only_where_it_did_not_go_by_itself_and_after_the_proof(*, stays: bool) -> None:
    unit = prepared("identify", "authenticate", stays=stays)
    unit.play("own_keys")
    order = [ins for ins in unit.instructions() if ins in (0xD8, 0x82, 0xE4)]
    assert order == ([0x82, 0xD8, 0x82, 0xE4] if stays else [0x82, 0xD8, 0x82])
    done = unit.ledger.events[-1]
    assert (done.step, done.phase, done.facts["key_versions"]) == ("own_keys", "done", [0x30])
    assert unit.device.handle(bytes.fromhex("8050FF0008000000000000000000")).hex() == "6a88"


def test_factory_keys_that_shall_stay_do() -> None:
    unit = prepared("identify", "authenticate", recipe=KEEPING, stays=True)
    unit.play("own_keys")
    assert 0xE4 not in unit.instructions()
    assert unit.ledger.events[-1].facts["key_versions"] == [0xFF, 0x30]


def test_two_units_of_one_lot_have_different_keys_and_one_unit_always_the_same() -> None:
    unit = prepared("identify", "authenticate")
    again = prepared("identify", "authenticate")
    other = Unit()
    other.device = simulated_fob("K-000002", RamMemory())
    other.play("identify", "authenticate")
    assert unit.ledger.job().own_keys() == again.ledger.job().own_keys()
    assert unit.ledger.job().own_keys() != other.ledger.job().own_keys()


@pytest.mark.parametrize("scheme", ["kdf3", "emv"])
def test_a_kdd_of_zeros_makes_no_keys_that_other_cards_would_share(scheme: str) -> None:
    recipe = FOB.replace('scheme = "sp800-108"', f'scheme = "{scheme}"')
    recipe = recipe.replace('master = "issuer"', 'master = "issuer-des"') if scheme == "emv" else recipe
    unit = Unit(element(cplc=_cplc(chip_serial(SERIAL)), kdd=bytes(10)), recipe)
    unit.fails(PolicyError, "identify", "authenticate", "own_keys", text="zeros")
    assert 0xD8 not in unit.instructions()


@pytest.mark.parametrize("scheme", ["kdf3", "emv", "sp800-108"])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_every_scheme_and_key_size_takes_over_a_unit(scheme: str, size: int) -> None:
    recipe = FOB.replace('scheme = "sp800-108"', f'scheme = "{scheme}"').replace(
        "key_bytes = 16", f"key_bytes = {size}"
    )
    recipe = recipe.replace('master = "issuer"', 'master = "issuer-des"') if scheme == "emv" else recipe
    if scheme == "emv" and size != 16:
        with pytest.raises(RecipeError, match="emv scheme derives 16-byte keys"):
            Unit(recipe=recipe)
        return
    unit = Unit(recipe=recipe)
    unit.play("identify", "authenticate", "own_keys")
    assert unit.ledger.job().own_keys().enc.size == size


def test_a_card_that_confirms_other_keys_is_set_aside_with_the_intent_open(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = prepared("identify", "authenticate")
    true_answer = HostChannel.unwrap

    def unwrap(self: HostChannel, response: Response) -> Response:
        opened = true_answer(self, response)
        return Response(b"\x30" + bytes(9)) if unit.sent[-1].ins == 0xD8 else opened

    monkeypatch.setattr(HostChannel, "unwrap", unwrap)
    unit.fails(KcvMismatchError, "own_keys", text="confirmed other keys")
    assert (1, "own_keys.put") in unit.ledger.open_intents()


def cut_at_put_key(*, applied: bool, stays: bool = False) -> Unit:
    """A unit whose line crashed around PUT KEY; whether the card carried it out is up to the caller."""
    unit = prepared("identify", "authenticate", stays=stays)

    def cut(command: Command) -> Response:
        if command.ins == 0xD8:
            if applied:
                unit.device.handle(command.encode())
            raise LinkError("cut", None)
        return transmit(Loopback(unit.device))(command)

    job = unit.ledger.job()
    spec = job.recipe.step("own_keys")
    assert spec is not None
    with pytest.raises(LinkError):
        drive(step("own_keys")(job, spec.parameters), unit.ledger.over(cut))
    assert (1, "own_keys.put") in unit.ledger.open_intents()
    unit.sent.clear()
    return unit


@pytest.mark.parametrize("stays", [False, True])
def test_a_put_key_that_was_carried_out_is_found_and_not_repeated(*, stays: bool) -> None:
    unit = cut_at_put_key(applied=True, stays=stays)
    unit.play("identify", "authenticate", "own_keys")
    assert 0xD8 not in unit.instructions()
    assert unit.ledger.phases("own_keys.put") == ["intent", "recovered"]


@pytest.mark.parametrize("stays", [False, True])
def test_a_put_key_that_was_not_is_done_once_more_with_the_same_keys(*, stays: bool) -> None:
    unit = cut_at_put_key(applied=False, stays=stays)
    unit.play("identify", "authenticate", "own_keys")
    assert unit.instructions().count(0xD8) == 1
    assert unit.ledger.phases("own_keys.put") == ["intent", "failed", "intent", "done"]
    kcvs = {e.facts["kcvs"] for e in unit.ledger.events if (e.step, e.phase) == ("own_keys.put", "intent")}
    assert len(kcvs) == 1


def test_a_unit_that_answers_to_neither_set_is_for_a_person_to_look_at_and_costs_no_try() -> None:
    unit = cut_at_put_key(applied=False)
    chip = chip_serial(SERIAL)
    strange = KeySet.of(*(bytes((n,)) * 16 for n in (1, 2, 3)))
    for kvn in (0x30, 0xFF):
        unit.device = element(cplc=_cplc(chip), kdd=chip, keys=strange, kvn=kvn)
        unit.fails(UncertainError, "own_keys", text="own_keys.put: the probe could not tell")
        assert unit.device.attempts == 0
        assert 0xD8 not in unit.instructions()
        assert (1, "own_keys.put") in unit.ledger.open_intents()


def test_a_probe_that_is_refused_for_another_reason_is_not_taken_for_an_answer() -> None:
    unit = cut_at_put_key(applied=True)
    unit.change = lambda command, answer: Response(b"", 0x6985) if command.ins == 0x50 else answer
    unit.fails(StatusError, "own_keys", text="INITIALIZE UPDATE .*6985")
    assert (1, "own_keys.put") in unit.ledger.open_intents()


def test_an_extra_key_set_on_the_unit_is_a_mismatch() -> None:
    from support.cards import OTHER, Terminal, key_field

    unit = Unit(simulated_fob(SERIAL, RamMemory()))
    extra = Terminal(unit.device).authenticate()
    extra(0x80, 0xD8, 0x00, 0x01, b"\x31" + key_field(OTHER.enc, KeySet.gp_test().dek))
    unit = Unit(unit.device, FOB.replace("fresh = true", "fresh = false"))
    unit.fails(MismatchError, "identify", "authenticate", "own_keys", text="lists 31, 30, expected only 30")


def test_factory_keys_that_still_open_the_unit_are_found() -> None:
    unit = prepared("identify", "authenticate")

    def still_there(command: Command, answer: Response) -> Response:
        if command.ins == 0x50 and command.p1 == 0xFF and answer.sw == 0x6A88:
            twin = element(kdd=chip_serial(SERIAL))
            return Response.parse(twin.handle(command.encode()))
        return answer

    unit.change = still_there
    unit.fails(MismatchError, "own_keys", text="factory keys still open")


def test_a_default_factory_set_is_known_by_the_number_it_answered_with() -> None:
    unit = Unit(recipe=FOB.replace("kvn = 0xFF", "kvn = 0x00"))
    unit.play("identify", "authenticate", "own_keys")
    assert unit.ledger.job().kvn(Role.FACTORY) == 0xFF


# ---- personalise ----------------------------------------------------------------------------------------------

OWNED = ("identify", "authenticate", "own_keys")


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

PERSONALISED = (*OWNED, "personalise")


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


def sealed() -> Unit:
    return prepared(*PERSONALISED, "lock_down")


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
