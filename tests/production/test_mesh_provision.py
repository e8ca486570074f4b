"""The step mesh.provision: what is durable before what, a cut at every exchange on either side, what it refuses."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import pytest

from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, KeywrightError, LinkError, OrderError, PolicyError, StoreError
from keywright.fob import mesh_vendor
from keywright.fob.mesh_device import key_of, static_oob_of, uuid_of
from keywright.fob.mesh_model import MeshModel
from keywright.iso7816.apdu import Response
from keywright.production.engine import whole_recipe
from keywright.production.job import Commit, Job, MismatchError, OnAir, RejectedError
from keywright.production.mesh_lot import (
    GIVE,
    SOURCES,
    LotNetwork,
    lot_network,
    network_path,
    prepare_network,
    sealed_order,
)
from keywright.production.mesh_network import begin_network, opened_network
from keywright.production.order import OrderRow, without_oob
from keywright.production.order_names import without_names
from keywright.production.steps.declared import DECLARED
from keywright.production.steps.mesh_provision import ASK, STEP
from keywright.production.unit_store.rows import Change
from support.canary import Canary
from support.house import ROOT
from support.ledger import NOW, Ledger
from support.mesh_radios import AdvertisingRadio, GattRadio

SERIAL = "KW-M1-000001"
EXAMPLE = (ROOT / "examples/mesh-lot.toml").read_text(encoding="utf-8")


def drawing() -> Callable[[int], bytes]:
    draws = itertools.count(1)
    return lambda size: (next(draws) * 0x9E3779B97F4A7C15).to_bytes(16).rjust(size, b"\x11")[-size:]


@pytest.fixture
def network(tmp_path: Path) -> LotNetwork:
    store = tmp_path / "lot.db"
    prepare(store)
    return lot_network(store, "mesh-lot")


def prepare(store: Path, *, rows: int = 8, elements: int = 1, net_index: int = 0, simulated: bool = True) -> None:
    prepare_network(
        store,
        "mesh-lot",
        rows=rows,
        elements=elements,
        net_index=net_index,
        is_simulated=simulated,
        rng=drawing(),
        now=NOW,
    )


def ledger_of(network: LotNetwork, text: str = EXAMPLE, *, how: str = "static", **extra: str) -> Ledger:
    ledger = Ledger.of(text, SERIAL, "KW-M1-000002")
    ledger.network = network
    columns = {"mesh_uuid": uuid_of(SERIAL).hex(), "mesh_authentication": how}
    if how in ("static", "certificate"):
        columns["mesh_static_oob"] = static_oob_of(SERIAL).hex()
    row = OrderRow(1, SERIAL, "m", "g", columns | extra)
    (kept,) = sealed_order([row], network, drawing())
    ledger.units[1] = msgspec.structs.replace(ledger.units[1], extra=kept.extra)
    return ledger


@pytest.fixture(params=[AdvertisingRadio, GattRadio], ids=["advertising", "gatt"])
def make_radio(request: pytest.FixtureRequest) -> MakeRadio:
    """A device as the one and as the other kind of station reaches it."""
    kind: type[AdvertisingRadio] = request.param
    return lambda model=None: kind(SERIAL, model)


class MakeRadio(Protocol):
    """Makes the device of SERIAL."""

    def __call__(self, model: MeshModel | None = None) -> AdvertisingRadio: ...


class Killed(BaseException):
    """The process of the line was killed."""


def play(job: Job, ledger: Ledger, radio: AdvertisingRadio, *, kill_at: int = 0) -> None:
    """One run over the unit, as the engine does it. kill_at: before the request of this number."""
    job.has_gatt = radio.has_gatt
    dialogue: Generator[object, Response, None] = whole_recipe(job)
    number = 0
    try:
        request = next(dialogue)
        while True:
            number += 1
            if number == kill_at:
                raise Killed
            try:
                if isinstance(request, Commit):
                    ledger.commit(request.changes)
                    answer = Response(b"")
                else:
                    assert isinstance(request, OnAir)
                    answer = radio.exchange(request)
            except LinkError as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(answer)
    except StopIteration:
        ledger.settle(job)


def check(ledger: Ledger, radio: AdvertisingRadio, network: LotNetwork) -> None:
    """The unit is a node, and the line knows its key and address."""
    facts = ledger.job().facts(GIVE)
    node = radio.node
    assert node is not None
    assert f"{node.address:04X}" == facts["address"] == f"{network.address_of(1):04X}"
    assert node.device_key == network.open(1, facts["device_key"])
    assert ledger.job().facts(STEP)["address"] == facts["address"]
    assert node.device_key.hex() not in str(ledger.events).lower()


@pytest.mark.parametrize("how", ["certificate", "static", "none"])
def test_a_device_becomes_a_node_and_proves_it(network: LotNetwork, make_radio: MakeRadio, how: str) -> None:
    ledger, radio = ledger_of(network, how=how), make_radio()
    play(ledger.job(), ledger, radio)
    check(ledger, radio, network)
    assert ledger.job().facts(GIVE)["security"] == ("insecure" if how == "none" else "secure")
    assert [event.step for event in ledger.events if event.phase == "intent"] == [GIVE, ASK]
    assert {event.phase for event in ledger.events} == {"intent", "done"}, "nothing that reports take for trouble"
    assert {event.step for event in ledger.events} == {STEP, *(action.name for action in DECLARED[STEP].actions)}
    # Done is done: nothing is sent any more.
    exchanges = radio.exchanges
    play(ledger.job(), ledger, radio)
    assert radio.exchanges == exchanges


def test_a_node_is_the_product_that_its_certificate_names(
    network: LotNetwork, make_radio: MakeRadio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is for another product of the same vendor (BPID, MshPRT 5.5); the recipe does not say which."""
    certified_records = mesh_vendor.certified_records

    def other(uuid: bytes, key: EcPublicKey, *, company: int, product: int) -> dict[int, bytes]:
        return certified_records(uuid, key, company=company, product=product + 1)

    monkeypatch.setattr(mesh_vendor, "certified_records", other)
    text = EXAMPLE.replace("product = 0x4B57\n", "")
    assert text != EXAMPLE
    ledger, radio = ledger_of(network, text, how="certificate"), make_radio()
    with pytest.raises(MismatchError, match="says it is product FFFF:4B57, its certificate says FFFF:4B58"):
        play(ledger.job(), ledger, radio)
    assert ledger.job().facts(GIVE)["certified"] == "FFFF:4B58"


def test_a_public_key_of_the_order_is_used(network: LotNetwork, make_radio: MakeRadio) -> None:
    text = EXAMPLE.replace('["certificate", "static", "none"]', '["key"]')
    ledger, radio = ledger_of(network, text, how="key", mesh_public_key=key_of(SERIAL).public.point.hex()), make_radio()
    play(ledger.job(), ledger, radio)
    assert ledger.job().facts(GIVE)["security"] == "secure"
    other = ledger_of(network, text, how="key", mesh_public_key=key_of("another").public.point.hex())
    with pytest.raises(KeywrightError):
        play(other.job(), other, make_radio())


def test_the_intent_is_durable_before_the_data_leave(network: LotNetwork, make_radio: MakeRadio) -> None:
    """The device is no node when the intent is written, and the intent has all that is needed afterwards."""
    ledger, radio = ledger_of(network), make_radio()
    commit = ledger.commit
    seen = []

    def watched(batch: Iterable[Change]) -> None:
        commit(batch)
        if (1, GIVE) in ledger.open_intents():
            seen.append(radio.node)

    ledger.commit = watched  # type: ignore[method-assign]  # of this one
    play(ledger.job(), ledger, radio)
    assert seen == [None]
    intent = next(event for event in ledger.events if event.phase == "intent")
    assert {"address", "device_key", "net_index", "iv_index", "elements", "uuid"} <= set(intent.facts)


def exchanges(network: LotNetwork, make_radio: MakeRadio) -> tuple[int, int]:
    """Requests and exchanges of a run without a cut."""
    ledger, radio = ledger_of(network), make_radio()
    play(ledger.job(), ledger, radio)
    return radio.exchanges + len(ledger.batches) - 1, radio.exchanges


def test_a_device_cut_at_any_exchange_ends_as_the_same_node(network: LotNetwork, make_radio: MakeRadio) -> None:
    _, most = exchanges(network, make_radio)
    outcomes = set()
    for cut in range(1, most + 1):
        ledger, radio = ledger_of(network), make_radio()
        radio.cut_at = cut
        job = ledger.job()
        for _ in range(3):
            try:
                play(job, ledger, radio)
                break
            except LinkError:
                radio.switch_on()
        check(ledger, radio, network)
        outcomes.add(tuple(ledger.phases(GIVE)))
    assert ("intent", "done") in outcomes
    assert ("intent", "recovered") in outcomes


def test_a_line_killed_at_any_request_ends_with_the_same_node(network: LotNetwork, make_radio: MakeRadio) -> None:
    most, _ = exchanges(network, make_radio)
    outcomes = set()
    for kill in range(1, most + 1):
        ledger, radio = ledger_of(network), make_radio()
        try:
            play(ledger.job(), ledger, radio, kill_at=kill)
        except Killed:
            radio.switch_on()
            play(ledger.job(), ledger, radio)
        check(ledger, radio, network)
        outcomes.add(tuple(ledger.phases(GIVE)))
    assert outcomes >= {("intent", "done"), ("intent", "recovered"), ("intent", "failed", "intent", "done")}


def test_a_unit_that_says_nothing_stays_open(network: LotNetwork, make_radio: MakeRadio) -> None:
    """Neither beacon nor answer: that is no verdict, and the address and the key are kept."""
    ledger, radio = ledger_of(network), make_radio()
    commit = ledger.commit

    def stop_after_intent(batch: Iterable[Change]) -> None:
        commit(batch)
        if ledger.open_intents():
            raise Killed

    ledger.commit = stop_after_intent  # type: ignore[method-assign]  # of this one
    with pytest.raises(Killed):
        play(ledger.job(), ledger, radio)
    ledger.commit = commit  # type: ignore[method-assign]  # as before
    silent = Silent(SERIAL)
    silent.has_gatt = radio.has_gatt
    with pytest.raises(LinkError, match=r"neither a beacon nor an answer|was not heard"):
        play(ledger.job(), ledger, silent)
    assert ledger.job().is_open(GIVE)


class Silent(AdvertisingRadio):
    """A device that is not there."""

    def exchange(self, request: OnAir) -> Response:
        return Response(msgspec.msgpack.encode(((), max(request.wait_s, 0.01))))


@pytest.mark.parametrize(
    ("columns", "error", "why"),
    [
        ({"mesh_uuid": ""}, RejectedError, "no Device UUID"),
        ({"mesh_uuid": "xx"}, RejectedError, "holds no hex"),
        ({"mesh_authentication": "key"}, RejectedError, "does not allow"),
        ({"mesh_static_oob": "00" * 32}, AuthenticationError, "Failed 04|confirmation"),
        ({"mesh_static_oob": ""}, PolicyError, "no static OOB value"),
        ({"mesh_uuid": uuid_of("another").hex()}, (LinkError, MismatchError), "no Link ACK|another device is at"),
    ],
)
def test_what_the_order_must_not_say(
    network: LotNetwork, make_radio: MakeRadio, columns: dict[str, str], error: type[Exception], why: str
) -> None:
    ledger, radio = ledger_of(network, **columns), make_radio()
    with pytest.raises(KeywrightError, match=why) as caught:
        play(ledger.job(), ledger, radio)
    assert isinstance(caught.value, error) or "Failed 04" in str(caught.value)
    assert radio.node is None
    assert static_oob_of(SERIAL).hex() not in str(caught.value)


class Refused(NamedTuple):
    text: str
    model: MeshModel
    error: type[KeywrightError]


@pytest.mark.parametrize(
    "case",
    [
        Refused(EXAMPLE.replace("product = 0x4B57", "product = 0x0001"), MeshModel(), MismatchError),
        Refused(EXAMPLE, MeshModel(elements=2), PolicyError),
        Refused(
            EXAMPLE.replace("elements = 1", 'elements = 1\nalgorithm = "hmac"'),
            MeshModel(algorithms="cmac"),
            PolicyError,
        ),
        Refused(EXAMPLE, MeshModel(static_oob=False), PolicyError),
    ],
    ids=["product", "elements", "algorithm", "no static OOB"],
)
def test_a_device_that_is_not_as_the_recipe_says(network: LotNetwork, make_radio: MakeRadio, case: Refused) -> None:
    ledger, radio = ledger_of(network, case.text), make_radio(case.model)
    with pytest.raises(case.error):
        play(ledger.job(), ledger, radio)


def test_a_radio_that_is_a_node_of_others_is_not_given_anything(network: LotNetwork) -> None:
    ledger, radio = ledger_of(network), GattRadio(SERIAL)
    play(ledger.job(), ledger, radio)
    other = ledger_of(network)
    with pytest.raises(MismatchError, match="a mesh node already"):
        play(other.job(), other, radio)
    assert not other.open_intents()


@pytest.mark.parametrize("mtu", [23, 69, 517])
def test_any_mtu_will_do(network: LotNetwork, mtu: int) -> None:
    ledger, radio = ledger_of(network, how="certificate"), GattRadio(SERIAL)
    radio.mtu = mtu
    play(ledger.job(), ledger, radio)
    check(ledger, radio, network)


# ---- the network of a lot


def test_no_address_and_no_sequence_number_is_there_twice(network: LotNetwork) -> None:
    units = range(1, network.units + 1)
    addresses = [network.address_of(n) for n in units]
    assert len(set(addresses)) == len(addresses)
    with pytest.raises(PolicyError, match="has addresses for"):
        network.address_of(network.units + 1)
    used: set[tuple[int, int]] = set()
    for n, turn in itertools.product(units, (1, 2, 1000)):
        stack = network.stack(n, turn, bytes(16))
        assert stack.address not in addresses
        first = stack._sequence._next
        assert not {(stack.address, seq) for seq in range(first, first + 256)} & used
        used |= {(stack.address, seq) for seq in range(first, first + 256)}
    with pytest.raises(PolicyError, match="asked"):
        network.stack(1, 1 << 20, bytes(16))


def test_a_sealed_key_is_of_one_unit(network: LotNetwork) -> None:
    sealed = network.seal(1, b"k" * 16, bytes(12))
    assert network.open(1, sealed) == b"k" * 16
    assert (b"k" * 16).hex() not in sealed
    with pytest.raises(AuthenticationError):
        network.open(2, sealed)


def test_a_static_oob_value_is_sealed_for_its_device_and_never_in_clear(network: LotNetwork) -> None:
    uuid, value = uuid_of(SERIAL).hex(), static_oob_of(SERIAL)
    rows = [OrderRow(n, f"S{n}", "m", "g", {"mesh_uuid": uuid, "mesh_static_oob": value.hex()}) for n in (1, 2)]
    one, two = (row.extra["mesh_static_oob"] for row in sealed_order(rows, network, drawing()))
    canary = Canary(value)
    assert canary.forms_in(str(rows).encode())
    assert not canary.forms_in(f"{one} {two}".encode())
    assert one != two, "equal values are not seen to be equal"
    assert network.open_oob(uuid, one) == network.open_oob(uuid.upper(), two) == value
    for other, text in (("00" * 16, one), (uuid, one[:-2] + "00"), (uuid, value.hex()), (uuid, "zz"), (uuid, "")):
        with pytest.raises(AuthenticationError):
            network.open_oob(other, text)
    assert [without_oob(row).extra["mesh_static_oob"] for row in rows] == ["", ""], "of a lot without radios"


@pytest.mark.parametrize("text", ["zz", "0", "00" * 33, "secret value"])
def test_what_is_no_static_oob_value_is_refused_and_not_shown(network: LotNetwork, text: str) -> None:
    row = OrderRow(7, "S7", "m", "g", {"mesh_static_oob": text})
    with pytest.raises(OrderError, match=r"row 7 \(S7\)") as caught:
        list(sealed_order([row], network, drawing()))
    assert text not in str(caught.value)


def test_a_unit_made_anew_does_not_inherit_the_radio_of_another() -> None:
    columns = dict.fromkeys(("mesh_uuid", "mesh_static_oob", "mesh_public_key", "ble_address"), "x")
    assert without_names(columns | {"mesh_authentication": "static", "colour": "red"}) == {
        "mesh_authentication": "static",
        "colour": "red",
    }


def test_a_lot_is_prepared_once(tmp_path: Path) -> None:
    store = tmp_path / "lot.db"
    with pytest.raises(StoreError, match="there is no mesh network"):
        prepare(store, simulated=False)
    begin_network(network_path(store), "n", drawing(), NOW)
    prepare(store, simulated=False)
    kept = network_path(store).read_bytes()
    prepare(store, simulated=False)
    assert network_path(store).read_bytes() == kept
    with pytest.raises(StoreError, match="other size"):
        prepare(store, elements=3)
    with opened_network(network_path(store)) as database:
        first = database.reserve(bytes(16), 1).first
    assert first > SOURCES + 8, "others get no address of the lot"
    with pytest.raises(StoreError, match="missing"):
        lot_network(tmp_path / "gone.db", "mesh-lot")


def test_the_example_has_thirty_certificates_thirty_values_and_forty_without() -> None:
    with (ROOT / "examples/mesh-lot.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [row["mesh_authentication"] for row in rows]
    assert [found.count(how) for how in ("certificate", "static", "none")] == [30, 30, 40]
    assert all(row["mesh_uuid"] == uuid_of(row["serial"]).hex() for row in rows)
    assert len({row["mesh_uuid"] for row in rows}) == 100


def test_asking_is_an_action_that_costs_nothing_twice() -> None:
    assert ASK in {action.name for action in DECLARED[STEP].actions}
