"""The step that replaces keys: what it writes before, when it proves, and how every doubt ends."""

from __future__ import annotations

import pytest

from keywright.crypto.des import TripleDesKey
from keywright.crypto.diversification import SCHEMES, master_kind
from keywright.errors import LinkError, PolicyError, RecipeError, StatusError
from keywright.fob.fobs import _cplc, chip_serial, simulated_fob
from keywright.globalplatform.host import KcvMismatchError
from keywright.globalplatform.key_data import parse_put_key
from keywright.iso7816 import Command, Response, transmit
from keywright.link import Loopback
from keywright.production.job import (
    MismatchError,
    Role,
    UncertainError,
)
from keywright.production.keystores.keystore import Diversified
from keywright.production.steps.table import step
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet
from keywright.store import RamMemory
from support.cards import element
from support.ledger import FOB, keystore, own_key_set
from support.one_unit import KEEPING, SERIAL, Unit, prepared

DES_TEMPLATE = "$0 $1 $2 $3 $4 $5 F0 $k $9 $8 $7 $6 $5 $4 0F $k"

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
    ref = Diversified(str(facts["master"]), str(facts["scheme"]), bytes.fromhex(str(facts["context"])), 16)
    assert keystore().card_keys(ref).kcvs.hex() == facts["kcvs"]
    derived = own_key_set(ref.scheme, ref.context)
    assert derived.kcvs.hex() == facts["kcvs"]
    assert facts["keystore"] == keystore().keystore_id
    assert derived.kcvs == unit.ledger.job().own_keys().kcvs
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
    assert unit.ledger.job().own_keys().kcvs == again.ledger.job().own_keys().kcvs
    assert unit.ledger.job().own_keys().kcvs != other.ledger.job().own_keys().kcvs


@pytest.mark.parametrize("scheme", ["kdf3", "emv"])
def test_a_kdd_of_zeros_makes_no_keys_that_other_cards_would_share(scheme: str) -> None:
    recipe = FOB.replace('scheme = "sp800-108"', f'scheme = "{scheme}"')
    recipe = recipe.replace('master = "issuer"', 'master = "issuer-des"') if scheme == "emv" else recipe
    unit = Unit(element(cplc=_cplc(chip_serial(SERIAL)), kdd=bytes(10)), recipe)
    unit.fails(PolicyError, "identify", "authenticate", "own_keys", text="zeros")
    assert 0xD8 not in unit.instructions()


@pytest.mark.parametrize(
    "scheme", [*SCHEMES, "$_ 01 $k 00 $0 $9 $l$l", "$0 $1 $2 $3 $4 $5 F0 $k $9 $8 $7 $6 $5 $4 0F $k"]
)
@pytest.mark.parametrize("size", [16, 24, 32])
def test_every_scheme_and_key_size_takes_over_a_unit(scheme: str, size: int) -> None:
    recipe = FOB.replace('scheme = "sp800-108"', f'scheme = "{scheme}"').replace(
        "key_bytes = 16", f"key_bytes = {size}"
    )
    is_des = master_kind(scheme) is TripleDesKey
    recipe = recipe.replace('master = "issuer"', 'master = "issuer-des"') if is_des else recipe
    if is_des and size != 16:
        with pytest.raises(RecipeError, match="scheme derives 16-byte keys"):
            Unit(recipe=recipe)
        return
    unit = Unit(recipe=recipe)
    unit.play("identify", "authenticate", "own_keys")
    own = unit.ledger.job().own_keys()
    assert own.size == size
    assert own.kcvs == own_key_set(scheme, unit.ledger.job().own_context(), size).kcvs


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


@pytest.mark.parametrize(("card", "with_length"), [("default", True), ("gp211", True), ("yubikey", False)])
def test_put_key_is_written_as_the_kind_of_card_wants_it(card: str, *, with_length: bool) -> None:
    recipe = FOB.replace('keys = "gp-test"', f'keys = "gp-test"\ncard = "{card}"')
    unit = prepared("identify", recipe=recipe)
    plain: list[Command] = []
    job = unit.ledger.job()

    def look(command: Command, answer: Response) -> Response:
        if command.ins == 0xD8 and job.plain is not None:
            plain.append(job.plain)
        return answer

    unit.change = look
    unit.play("authenticate", "own_keys", job=job)
    (put,) = plain
    first = parse_put_key(put.data).keys[0].parts[0].value
    assert len(first) == 16 + with_length
    assert unit.ledger.events[-1].facts["key_versions"] == [0x30]
