"""Certificates of mesh devices on their vendor's server: the step asks it, and no other unit waits for that."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from keywright.cli.main import main
from keywright.errors import AuthenticationError, KeywrightError, LinkError, PolicyError
from keywright.fob.mesh_certificates import certificate_server
from keywright.fob.mesh_device import COMPANY, PRODUCT, key_of, static_oob_of, uuid_of
from keywright.fob.mesh_model import MeshModel
from keywright.fob.mesh_vendor import certified_records
from keywright.iso7816.apdu import Response
from keywright.mesh.records import DEVICE_CERTIFICATE, FIRST_INTERMEDIATE
from keywright.mesh.retrieval import CertificateServer, Published
from keywright.production.engine import whole_recipe
from keywright.production.fetching import Fetcher
from keywright.production.job import Commit, Fetch, OnAir
from keywright.production.mesh_lot import GIVE, LotNetwork, lot_network, prepare_network, sealed_order
from keywright.production.order import OrderRow
from keywright.production.parameters import MeshProvision
from support.house import ROOT
from support.ledger import NOW, Ledger
from support.mesh_radios import AdvertisingRadio, GattRadio
from support.tls_server import running, server_certificate

SERIAL = "KW-M1-000001"
URI = "https://certs.example/oob"
EXAMPLE = (ROOT / "examples/mesh-lot.toml").read_text(encoding="utf-8")
RECIPE = EXAMPLE.replace("elements = 1", 'elements = 1\ncertificate_servers = ["Certs.example"]')


def published(serial: str, *, is_revoked: bool = False) -> Published:
    """What the vendor's server shows of a device."""
    records = certified_records(uuid_of(serial), key_of(serial).public, company=COMPANY, product=PRODUCT)
    return Published(records[DEVICE_CERTIFICATE], (records[FIRST_INTERMEDIATE],), is_revoked=is_revoked)


def drawn(size: int) -> bytes:
    return bytes(range(1, size + 1))


@pytest.fixture
def network(tmp_path: Path) -> LotNetwork:
    store = tmp_path / "lot.db"
    prepare_network(store, "mesh-lot", rows=2, elements=1, net_index=0, is_simulated=True, rng=drawn, now=NOW)
    return lot_network(store, "mesh-lot")


def play(ledger: Ledger, radio: AdvertisingRadio, ask: Callable[[Fetch], Response]) -> None:
    """One run over the unit, as the engine does it."""
    job = ledger.job()
    job.has_gatt = radio.has_gatt
    dialogue: Generator[object, Response, None] = whole_recipe(job)
    try:
        request = next(dialogue)
        while True:
            try:
                if isinstance(request, Commit):
                    ledger.commit(request.changes)
                    answer = Response(b"")
                elif isinstance(request, Fetch):
                    answer = ask(request)
                else:
                    assert isinstance(request, OnAir)
                    answer = radio.exchange(request)
            except KeywrightError as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(answer)
    except StopIteration:
        ledger.settle(job)


def ledger_of(network: LotNetwork, text: str = RECIPE) -> Ledger:
    ledger = Ledger.of(text, SERIAL)
    ledger.network = network
    extra = {"mesh_uuid": uuid_of(SERIAL).hex(), "mesh_authentication": "certificate"}
    extra |= {"mesh_static_oob": static_oob_of(SERIAL).hex()}
    (kept,) = sealed_order([OrderRow(1, SERIAL, "m", "g", extra)], network, drawn)
    ledger.units[1] = msgspec.structs.replace(ledger.units[1], extra=kept.extra)
    return ledger


def answering(device: Published, asked: list[Fetch]) -> Callable[[Fetch], Response]:
    server = CertificateServer("/oob", {uuid_of(SERIAL): device})

    def ask(request: Fetch) -> Response:
        asked.append(request)
        parts = urlsplit(request.uri)
        return Response(msgspec.msgpack.encode(server.handle("GET", f"{parts.path}?{parts.query}")))

    return ask


def nobody(_: Fetch) -> Response:
    raise LinkError("the server is not there", delivered=False)


@pytest.mark.parametrize("kind", [AdvertisingRadio, GattRadio])
def test_a_device_proves_itself_by_what_its_vendors_server_has(
    network: LotNetwork, kind: type[AdvertisingRadio]
) -> None:
    ledger, radio, asked = ledger_of(network), kind(SERIAL, MeshModel(certificate_uri=URI)), list[Fetch]()
    play(ledger, radio, answering(published(SERIAL), asked))
    assert [request.uri.partition("content=")[2] for request in asked] == [
        "device-certificate",
        "vendor-intermediate-certs",
    ]
    assert radio.node is not None
    facts = ledger.job().facts(GIVE)
    assert (facts["security"], facts["certified"]) == ("secure", f"{COMPANY:04X}:{PRODUCT:04X}")


@pytest.mark.parametrize(
    ("text", "ask", "error", "why", "requests"),
    [
        (EXAMPLE, answering(published(SERIAL), []), PolicyError, "certs.example, which is not asked", 0),
        (RECIPE, answering(published(SERIAL, is_revoked=True), []), AuthenticationError, "is revoked", 1),
        (RECIPE, answering(published("another"), []), AuthenticationError, "the device is", 2),
        (RECIPE, nobody, LinkError, "the server is not there", 1),
        (RECIPE, lambda _: Response(b"\xff"), LinkError, "answer of 1 octets is none", 1),
    ],
    ids=["server not allowed", "revoked", "another's certificate", "no server", "no answer"],
)
def test_a_device_that_is_not_proven_is_given_nothing(
    network: LotNetwork,
    text: str,
    ask: Callable[[Fetch], Response],
    error: type[KeywrightError],
    why: str,
    requests: int,
) -> None:
    ledger, radio, asked = ledger_of(network, text), AdvertisingRadio(SERIAL, MeshModel(certificate_uri=URI)), []

    def counted(request: Fetch) -> Response:
        asked.append(request)
        return ask(request)

    with pytest.raises(error, match=why):
        play(ledger, radio, counted)
    assert len(asked) == requests
    assert radio.node is None
    assert not ledger.open_intents()


def test_servers_are_for_recipes_with_certificates() -> None:
    for step, why in (
        (MeshProvision(certificate_servers=("a",), authentication=("static",)), "no device of this recipe"),
        (
            MeshProvision(authentication=("certificate",), trust=_trust(), certificate_server_ca="x"),
            "no certificate in it",
        ),
    ):
        with pytest.raises(ValueError, match=why):
            step.check()


def _trust() -> str:
    return EXAMPLE[EXAMPLE.index("-----BEGIN") : EXAMPLE.index('"""                                 # the vendor')]


# ---- beside the units


def test_answers_come_in_any_order_and_each_to_its_unit() -> None:
    first_may_go = threading.Event()

    def fetch(request: Fetch) -> bytes:
        if request.uri == "slow":
            assert first_may_go.wait(10.0)
        if request.uri == "gone":
            raise LinkError("gone", delivered=False)
        return request.uri.encode()

    fetcher = Fetcher(fetch)
    for name in ("slow", "quick", "gone"):
        fetcher.submit(name, Fetch(name, ""))
    found = dict[str, bytes | KeywrightError]()
    while len(found) < 2:
        found |= fetcher.receive(10.0)
    assert found["quick"] == b"quick"
    assert isinstance(found["gone"], LinkError)
    assert (fetcher.waiting, fetcher.receive(0.0)) == (1, [])
    first_may_go.set()
    assert fetcher.receive(10.0) == [("slow", b"slow")]
    assert fetcher.receive(10.0) == []
    fetcher.close()


def test_a_fault_of_the_program_is_not_held_back() -> None:
    def fetch(_: Fetch) -> bytes:
        raise ZeroDivisionError

    fetcher = Fetcher(fetch)
    fetcher.submit("one", Fetch("", ""))
    with pytest.raises(ZeroDivisionError):
        fetcher.receive(10.0)
    fetcher.close()


def test_a_lot_whose_certificates_are_on_a_server_over_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (ROOT / "examples/mesh-lot.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[:4]
    serials = [row[0] for row in rows[1:]]
    order = tmp_path / "order.csv"
    with order.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)
    context, ca = server_certificate(tmp_path)
    server = CertificateServer("/oob", {uuid_of(serial): published(serial) for serial in serials})
    with running(certificate_server(server, ("127.0.0.1", 0), context)) as port:
        text = EXAMPLE.replace("sim:mesh?certificate=yes", f"sim:mesh?certificate-uri=https://localhost:{port}/oob")
        more = f'certificate_servers = ["localhost"]\ncertificate_server_ca = """\n{ca}"""'
        recipe = tmp_path / "lot.toml"
        recipe.write_text(text.replace("elements = 1", f"elements = 1\n{more}\n#"))
        words = ["campaign", "run", str(recipe), "--order", str(order), "--store", str(tmp_path / "lot.db"), "--json"]
        assert main(words) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sealed"] == len(serials)
