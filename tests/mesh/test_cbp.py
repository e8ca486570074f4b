"""Certificate-based provisioning over the air, from the beacon to the composition data; and who is never invited."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import (
    AuthenticationError,
    DecodeError,
    KeywrightError,
    LinkError,
    PolicyError,
    SequenceError,
    UsageError,
)
from keywright.mesh.cbp import CertificatePolicy, obtain_certificate
from keywright.mesh.certificate_uri import uri_data
from keywright.mesh.configuring import first_configuration
from keywright.mesh.conversation import Conversation, Done, Stopped
from keywright.mesh.database.keys import keyring, owner_stack
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.device import Attention
from keywright.mesh.device import ValueShown as DeviceShows
from keywright.mesh.device import ValueWanted as DeviceWants
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, Failed, RetrievalWanted
from keywright.mesh.enrolments import Enrolments, Radio
from keywright.mesh.keys import HMAC
from keywright.mesh.messages import RecordsGet, RecordsList
from keywright.mesh.models.composition import Composition
from keywright.mesh.network.advertised import Advertised
from keywright.mesh.oob import Method
from keywright.mesh.pb_gatt.link import PbGattLink
from keywright.mesh.policy import Policy
from keywright.mesh.retrieval import CertificateServer, HttpAnswer, HttpGet, Published
from keywright.mesh.session import DeviceSession, ProvisionerSession
from keywright.sansio.air import Air, Conditions
from keywright.store.memory import RamMemory
from support.mesh import make_device, make_provisioner
from support.mesh_line import COMPOSITION, ISSUER, STATIC, TRUSTING, Line, enrolled, heard, make_unit, network
from support.mesh_pki import AT, COMPANY, PRODUCT, UUID, authority, device_certificate, forge, key, root, usage

DER = device_certificate(key("device").public, issuer=ISSUER)
BASE = "https://vendor.example/oob"
WHERE = uri_data(BASE)
ALL_RECORDS = ISSUER.records(DER)
NUMERIC, ALPHANUMERIC = 1 << 3, 1 << 4


def serving(published: Published) -> Callable[[HttpGet], HttpAnswer]:
    server = CertificateServer("/oob", {UUID: published})
    return lambda request: server.handle("GET", request.uri.removeprefix("https://vendor.example"))


# ---- with an OOB method besides --------------------------------------------------------------------------------------

METHODS: dict[str, dict[str, Any]] = {
    "static": {},
    "static, HMAC and OOB alone": {"oob_only": True, "algorithms": HMAC.bit},
    "output numeric": {"static_oob": b"", "output_size": 6, "output_actions": NUMERIC},
    "output alphanumeric": {"static_oob": b"", "output_size": 8, "output_actions": ALPHANUMERIC},
    "input numeric": {"static_oob": b"", "input_size": 6, "input_actions": 1 << 2},
}


@pytest.mark.parametrize("method", METHODS)
def test_certificate_and_oob_method(method: str) -> None:
    line = Line(make_unit(ALL_RECORDS, **METHODS[method]))
    enrolled(line)
    shown = {type(event) for event in line.seen} & {DeviceShows, DeviceWants}
    due = {"output": {DeviceShows}, "input": {DeviceWants}}.get(method.split(maxsplit=1)[0], set())
    assert shown == due
    assert line.requests == []


def test_the_certified_key_is_the_one_that_is_used() -> None:
    """A device that shows another's certificate does not have its key."""
    line = Line(make_unit(ALL_RECORDS, static_key=key("thief")))
    end = line.go()
    assert isinstance(end, Failed)
    assert "Failed 04" in str(end.error)
    assert line.database.node(UUID) is None
    assert line.database.all_pending() == []


def test_a_certificate_does_not_do_without_a_method() -> None:
    anybody = Policy(methods=(Method.NONE,))
    line = Line(make_unit(ALL_RECORDS, static_oob=b""), policy=anybody)
    end = line.go()
    assert isinstance(end, Failed)
    assert isinstance(end.error, PolicyError)
    assert "no way to authenticate" in str(end.error)
    alone = CertificatePolicy(roots=(root().root,), needs_method=False)
    enrolled(Line(make_unit(ALL_RECORDS, static_oob=b""), policy=anybody, certificates=alone))


def test_a_device_that_takes_no_oob_key_after_all_is_refused() -> None:
    end = Line(make_unit(ALL_RECORDS, static_key=None)).go()
    assert isinstance(end, Failed)
    assert "no public key that could come out of band" in str(end.error)


# ---- where certificates are ------------------------------------------------------------------------------------------


def test_all_from_the_server_that_record_0000_names() -> None:
    line = Line(make_unit({0: WHERE}), server=serving(Published(DER, ISSUER.intermediates)))
    enrolled(line)
    assert [request.uri.rpartition("=")[2] for request in line.requests] == [
        "device-certificate",
        "vendor-intermediate-certs",
    ]


def test_all_from_the_server_that_the_advertising_names() -> None:
    unit = make_unit({}, uri=WHERE)
    candidate = heard(unit)
    assert candidate.oob_information == 0
    candidate = Candidate(UUID, static_oob=STATIC, oob_information=1 << 7, uri=WHERE)
    enrolled(Line(unit, candidate, server=serving(Published(DER, ISSUER.intermediates))))


def test_intermediates_from_the_server_for_the_certificate_of_the_device() -> None:
    line = Line(make_unit({0: WHERE, 1: DER}), server=serving(Published(b"", ISSUER.intermediates)))
    enrolled(line)
    assert len(line.requests) == 1


def test_a_server_is_not_asked_about_a_certificate_that_breaks_a_rule() -> None:
    line = Line(make_unit({0: WHERE, 1: forge(basic=None)}), server=lambda _: HttpAnswer(404))
    end = line.go()
    assert isinstance(end, Failed)
    assert "it has no basicConstraints" in str(end.error)
    assert line.requests == []


def test_a_server_is_not_asked_for_what_is_there() -> None:
    enrolled(Line(make_unit(ALL_RECORDS | {0: WHERE})))
    direct = device_certificate(key("device").public, issuer=root())
    enrolled(Line(make_unit({0: WHERE, 1: direct})))


def test_a_device_may_have_other_records() -> None:
    enrolled(Line(make_unit(ALL_RECORDS | {0x11: b"fob", 0x12: b"\0\0", 0xFFFF: bytes(5000)})))


# ---- who is never invited --------------------------------------------------------------------------------------------

OTHER = bytes.fromhex("b09dc847540840cc9c540fe8c87429e7")
SERVED = serving(Published(DER, ISSUER.intermediates))
REFUSED: dict[str, tuple[dict[int, bytes], dict[str, Any], type[KeywrightError], str]] = {
    "a rule broken": ({1: forge(key_usage=usage("digital_signature"))}, {}, AuthenticationError, "keyUsage is"),
    "junk": ({1: b"\x30\x00"}, {}, AuthenticationError, "device certificate not accepted"),
    "an empty record": ({1: b""}, {}, PolicyError, "offers no certificate"),
    "another device's": (
        ISSUER.records(device_certificate(key("device").public, OTHER, issuer=ISSUER)),
        {},
        AuthenticationError,
        "it is for b09dc847",
    ),
    "expired": (ALL_RECORDS, {"at": "2036-01-01T00:00:01Z"}, AuthenticationError, "it expired at 2036"),
    "not yet valid": (ALL_RECORDS, {"at": "2025-12-31T23:59:59Z"}, AuthenticationError, "valid from 2026"),
    "an unknown root": (
        ALL_RECORDS,
        {"certificates": CertificatePolicy(roots=(authority(5).intermediates[0],))},
        AuthenticationError,
        "no trusted root is its issuer",
    ),
    "a root among the records": (ALL_RECORDS | {4: root().root}, {}, AuthenticationError, "3 .* it is a root"),
    "an intermediate missing": (
        {one: data for one, data in ALL_RECORDS.items() if one != 3},
        {},
        AuthenticationError,
        "intermediate certificate 1 .* no trusted root",
    ),
    "revoked by us": (
        ALL_RECORDS,
        {"certificates": CertificatePolicy(roots=(root().root,), revoked=frozenset({UUID}))},
        AuthenticationError,
        "revoked by our own list",
    ),
    "revoked by the vendor": (
        {0: WHERE},
        {"server": serving(Published(is_revoked=True))},
        AuthenticationError,
        "410: the certificate of .* is revoked",
    ),
    "unknown to the vendor": ({0: WHERE}, {"server": lambda _: HttpAnswer(404)}, KeywrightError, "404"),
    "a server that cannot be asked": (
        {0: WHERE},
        {"server": lambda _: LinkError("vendor.example cannot be asked")},
        LinkError,
        "cannot be asked",
    ),
    "a server that may not be asked": (
        {0: uri_data("https://evil.example/oob")},
        {"server": SERVED},
        PolicyError,
        "evil.example, which is not asked",
    ),
    "a server without TLS": ({0: b"\x16//vendor.example/oob"}, {"server": SERVED}, DecodeError, "only https is asked"),
    "no certificate": ({0x11: b"fob"}, {}, PolicyError, "offers no certificate"),
    "no records": ({}, {}, PolicyError, "offers no certificate"),
    "a record too long": ({1: bytes(5000)}, {}, KeywrightError, "5000 octets, more than 4096"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_is_not_invited_and_gets_nothing(case: str) -> None:
    records, changes, error, why = REFUSED[case]
    memory = RamMemory()
    line = Line(make_unit(records), database=network(memory), **changes)
    before = {name: memory.load(name) for name in memory.names()}
    end = line.go()
    assert isinstance(end, Failed), end
    with pytest.raises(error, match=why):
        raise end.error
    assert not end.may_be_node
    assert {name: memory.load(name) for name in memory.names()} == before, "nothing is reserved"
    assert not [event for event in line.seen if isinstance(event, Attention)], "it was invited"
    assert line.unit.node is None


def test_a_key_that_was_given_is_the_certified_one() -> None:
    unit = make_unit(ALL_RECORDS)
    enrolled(Line(unit, heard(unit, public_key=key("device").public)))
    unit = make_unit(ALL_RECORDS)
    end = Line(unit, heard(unit, public_key=key("other").public)).go()
    assert isinstance(end, Failed)
    assert isinstance(end.error, AuthenticationError)
    assert "another key than the one that was given" in str(end.error)


# ---- if offered ------------------------------------------------------------------------------------------------------

IF_OFFERED = CertificatePolicy(roots=(root().root,), required=False)


@pytest.mark.parametrize("information", [0, None])
def test_a_device_that_offers_none_need_not_have_one(information: int | None) -> None:
    candidate = Candidate(UUID, static_oob=STATIC, oob_information=information)
    end = Line(make_unit({}), candidate, certificates=IF_OFFERED).go()
    assert isinstance(end, Enrolled)
    assert end.certificate is None


def test_one_that_is_offered_must_be_good() -> None:
    enrolled(Line(make_unit(ALL_RECORDS), certificates=IF_OFFERED))
    end = Line(make_unit({1: forge(basic=None)}), certificates=IF_OFFERED).go()
    assert isinstance(end, Failed)
    assert isinstance(end.error, AuthenticationError)


def test_what_was_not_heard_is_asked_for_only_where_it_is_required() -> None:
    assert next(obtain_certificate(TRUSTING, UUID, at=AT)) == RecordsGet()
    with pytest.raises(StopIteration) as stop:
        next(obtain_certificate(IF_OFFERED, UUID, at=AT))
    assert stop.value.value is None
    dialogue = obtain_certificate(TRUSTING, UUID, at=AT, uri=WHERE)
    next(dialogue)
    with pytest.raises(PolicyError, match="offers no certificate"):
        dialogue.send(RecordsList(0))


# ---- the owner -------------------------------------------------------------------------------------------------------


def test_a_policy_has_roots_and_a_time_one_form() -> None:
    with pytest.raises(PolicyError, match="no root is trusted"):
        CertificatePolicy(roots=())
    with pytest.raises(PolicyError, match="trusted root not accepted"):
        CertificatePolicy(roots=(DER,))
    with pytest.raises(ValueError, match="a time as 2026"):
        Line(make_unit(ALL_RECORDS), at="2026-06-01T00:00:00+02:00")


def test_an_answer_that_nobody_waits_for_is_refused() -> None:
    line = Line(make_unit(ALL_RECORDS))
    with pytest.raises(SequenceError, match="no certificate is waited for"):
        line.run.retrieved(HttpAnswer(200), 0.0)
    line.go()
    with pytest.raises(SequenceError, match="no certificate is waited for"):
        line.run.not_retrieved(LinkError("x"), 0.0)


def test_a_link_that_is_lost_while_a_server_is_asked_ends_it_all() -> None:
    """Whoever asks the server for minutes finds that the device is gone."""
    line = Line(make_unit({0: WHERE}), server=lambda _: None)
    end = line.go()
    assert isinstance(end, Failed)
    assert isinstance(end.error, LinkError)
    assert len(line.requests) == 1
    with pytest.raises(SequenceError):
        line.run.retrieved(HttpAnswer(404), line.air.now)


# ---- power cuts and bad air --------------------------------------------------------------------------------


FRAMES = 142
"""Of an undisturbed session of these certificates."""
IS_NIGHTLY = (settings.default or settings()).max_examples > 100  # the profile of `make nightly` draws more
CUTS = range(1, FRAMES) if IS_NIGHTLY else sorted(random.Random(8).sample(range(1, FRAMES), 12))


@pytest.mark.parametrize("side", ["device", "provisioner"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_at_any_frame_loses_nothing(cut: int, side: str) -> None:
    owner, memory = RamMemory(), RamMemory()
    line = Line(make_unit(ALL_RECORDS, memory), database=network(owner))
    air = line.air
    air.run(400.0, lambda: line._turn() or air.sent >= cut)
    air.leave(line.place if side == "device" else line.number)
    air.run(air.now + 130.0)
    database = NetworkDatabase(owner)
    unit = line.unit
    if side == "device":
        unit = make_unit(ALL_RECORDS, memory, now=air.now)
    if unit.node is not None:
        promised, known = database.pending(UUID), database.node(UUID)
        held = unit.node.memory.state
        assert held is not None
        found = known.device_key if known else promised.device_key.hex().upper() if promised else None
        assert held.device_key.hex().upper() == found
        return
    if side == "provisioner":
        air.leave(line.place)
    assert database.node(UUID) is None
    database.give_up(UUID)
    candidate = Candidate(UUID, static_oob=STATIC, oob_information=0x180)
    again = Line(unit, candidate, air=air, database=database, link_id=1000 + cut)
    assert isinstance(again.go(), Enrolled)


@pytest.mark.parametrize("seed", range(3))
def test_in_bad_air_it_ends_one_way_or_the_other(seed: int) -> None:
    air = Air(random.Random(seed).random, Conditions(0.3, 0.3, 0.001, 0.2))
    line = Line(make_unit(ALL_RECORDS), air=air)
    end = line.go(900.0)
    if isinstance(end, Enrolled):
        assert line.unit.node is not None
    else:
        assert isinstance(end.error, LinkError)
        assert (line.database.pending(UUID) is not None) == end.may_be_node


def test_cuts_are_in_the_session() -> None:
    line = Line(make_unit(ALL_RECORDS))
    line.go()
    assert abs(line.air.sent - FRAMES) < 20


# ---- over another bearer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtu", [23, 69, 517])
def test_certificates_come_over_gatt_too(mtu: int) -> None:
    design, database = make_unit(ALL_RECORDS).design, network()
    device = make_device(design.abilities, records=design.records)
    far = DeviceSession(device, PbGattLink.accept(mtu, 0.0))
    run = Enrolment(
        ProvisionerSession(make_provisioner(), PbGattLink.connect(mtu, 0.0)),
        database,
        Candidate(UUID, static_oob=STATIC, oob_information=0x180),
        policy=Policy(),
        timestamp=AT,
        certificates=TRUSTING,
    )
    while down := run.outgoing(0.0):
        for frame in down:
            far.receive(frame, 0.0)
        for frame in far.outgoing(0.0):
            run.receive(frame, 0.0)
    (end,) = run.events()
    assert isinstance(end, Enrolled)
    assert end.certificate is not None
    assert device.state == "provisioned"


# ---- after provisioning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", [PRODUCT, PRODUCT ^ 1])
def test_the_node_is_asked_whether_it_is_what_its_certificate_says(product: int) -> None:
    """Composition Data is read over the network, perhaps years later, and judged by what the certificate said."""
    composition = Composition(COMPANY, product, 3, 10, 0, COMPOSITION.elements)
    line = Line(make_unit(ALL_RECORDS, composition=composition))
    end = line.go()
    assert isinstance(end, Enrolled)
    assert end.certificate is not None
    database = line.database
    dialogue = first_configuration(database, UUID, timestamp=AT)
    talk = Conversation(owner_stack(database, line.air.now), dialogue, line.air.now, keyring=lambda: keyring(database))
    line.air.join(Advertised(talk))
    line.air.run(line.air.now + 60.0, lambda: talk.is_over)
    (told,) = [event for event in talk.events() if isinstance(event, Done | Stopped)]
    node = database.node(UUID)
    assert node is not None
    if product == PRODUCT:
        assert isinstance(told, Done)
        assert node.pid == f"{PRODUCT:04X}"
    else:
        assert isinstance(told, Stopped)
        assert isinstance(told.error, AuthenticationError)
        assert "certified is BCID 8001 BPID 03FF" in str(told.error)
        assert not node.config_complete


# ---- a lot -----------------------------------------------------------------------------------------------------------


def test_a_lot_is_taken_by_certificate_and_who_has_none_is_not() -> None:
    """Twelve devices over one radio: from records, from the server, one revoked there, one without any."""
    air, chance = Air(random.Random(3).random), random.Random(4)
    database = network()
    uuids = [UUID[:-1] + bytes((number,)) for number in range(12)]
    published = {
        uuid: Published(device_certificate(key("device").public, uuid, issuer=ISSUER), ISSUER.intermediates)
        for uuid in uuids[6:10]
    }
    server = CertificateServer("/oob", published | {uuids[10]: Published(is_revoked=True)})
    radio = Radio(lambda: EcPrivateKey.generate("P-256"), chance.randbytes, chance.random, at_once=5)
    run = Enrolments(radio, database, policy=Policy(), timestamp=AT, certificates=TRUSTING)
    for number, uuid in enumerate(uuids):
        own = ISSUER.records(device_certificate(key("device").public, uuid, issuer=ISSUER))
        unit = make_unit(own if number < 6 else {0: WHERE} if number < 11 else {}, uuid=uuid, seed=number)
        run.add(heard(unit), 0.0)
        air.join(unit)
    place = air.join(run)
    ended: dict[bytes, Enrolled | Failed] = {}

    def turn() -> bool:
        for told in run.events():
            if isinstance(told.event, RetrievalWanted):
                target = told.event.request.uri.removeprefix("https://vendor.example")
                run.retrieved(told.candidate.uuid, server.handle("GET", target), air.now)
                air.wake(place)
            elif isinstance(told.event, Enrolled | Failed):
                ended[told.candidate.uuid] = told.event
        return not len(run)

    air.run(2000.0, turn)
    assert [isinstance(ended[uuid], Enrolled) for uuid in uuids] == [True] * 10 + [False] * 2
    assert len({node.address for node in database.cdb.nodes}) == 10
    with pytest.raises(UsageError, match="is not being provisioned"):
        run.retrieved(UUID, LinkError("x"), air.now)
