"""A simulated UICC as a phone and a server see it: envelopes in, proofs of receipt out, counters through power cuts."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.element import SecureElement
from keywright.errors import LinkError, StoreError, UsageError
from keywright.fob.administration import serve_card
from keywright.fob.open import open_link, open_simulated
from keywright.fob.uicc import Uicc, call_server
from keywright.fob.uri import parse_uri
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.host import secured
from keywright.globalplatform.messages import DEFAULT_ISD
from keywright.globalplatform.profile import PROFILES
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.atr import build as build_atr
from keywright.iso7816.status import SW, check
from keywright.link.plain import PlainServer
from keywright.link.tls_psk import PskServer
from keywright.sansio.dialogue import drive
from keywright.scp.comprehension import TRANSPORT, comprehension_item
from keywright.scp.scp03.host import open_channel
from keywright.scp.scp03.keys import KeySet as Scp03Keys
from keywright.scp.scp80.applications import Format
from keywright.scp.scp80.concatenation import Reassembly, Whole
from keywright.scp.scp80.download import (
    envelope,
    packet_messages,
    read_send_short_message,
)
from keywright.scp.scp80.host import OtaStatusError, Request, SendingEntity, Transmit, send_packet
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import COMMAND_IE, RESPONSE_IE, SMS_PP, Check, CounterMode, Spi, Status
from keywright.scp.scp80.packet import Suite, open_response, read_response
from keywright.scp.scp80.profile import Profile
from keywright.scp.scp80.scripts import ScriptReport, send_script
from keywright.scp.scp80.sms import Address
from keywright.scp.scp81.keys import Psk, put_key_block
from keywright.scp.scp81.parameters import (
    HttpParameters,
    KeyReference,
    SecurityParameters,
    SessionParameters,
    TriggerParameters,
    address_objects,
    trigger_message,
)
from keywright.scp.scp81.server import AdministrationServer, commands
from keywright.store import Memory, RamMemory
from support.peers import require_peer
from support.power import CutMemory, PowerCut

RAW = (bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
KEYS = KeySet.aes(*RAW)
KVN = 0x01
COMPACT, EXPANDED = bytes(3), bytes.fromhex("B20100")
STATUS = Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0)
STORE = Command(0x80, 0xE2, 0x80, 0, bytes.fromhex("DF20023132"))
READ = Command(0x80, 0xCA, 0xDF, 0x20, b"", 0)
SENDER = Address("4915112345")
PLAIN = Spi.of(Check.NONE, ciphered=False, counter=CounterMode.NONE, por_check=Check.NONE, por_ciphered=False)


def personalised(memory: Memory, keys: tuple[AesKey, ...] | tuple[TripleDesKey, ...] = (), kvn: int = KVN) -> None:
    """An element in `memory` with a key set of SCP80."""
    with SecureElement(memory=memory, initial_keys_stay=True) as element:
        ask = asking(element.handle)
        session = drive(open_channel(Scp03Keys.gp_test(), bytes(8)), ask)
        new = keys or tuple(map(AesKey, RAW))
        drive(secured(session, put_key(new, session, kvn=kvn)), ask)


def asking(handle: Callable[[bytes], bytes]) -> Callable[[Command], Response]:
    return lambda command: Response.parse(handle(command.encode()))


class Phone:
    """A phone around a card: hands in messages, fetches what the card wants sent; and the network's sending entity."""

    def __init__(self, handle: Callable[[bytes], bytes], keys: KeySet = KEYS) -> None:
        self.ask = asking(handle)
        self.keys = keys
        self.counter = 0
        self.reference = 0
        self.last: list[Response] = []

    def deliver(self, packet: bytes) -> Response:
        self.reference += 1
        self.last = [
            self.ask(Command(one.cla, one.ins, one.p1, one.p2, one.data, 0))
            for one in (envelope(m) for m in packet_messages(packet, SENDER, self.reference, COMMAND_IE))
        ]
        return self.last[-1]

    def fetched(self, sw: int) -> bytes | None:
        """The packet in the messages that the card wants sent."""
        parts = Reassembly(RESPONSE_IE)
        while sw >> 8 == 0x91:
            command = self.ask(Command(0x80, 0x12, 0, 0, b"", sw & 0xFF))
            assert command.sw == 0x9000
            submit, _ = read_send_short_message(command.data)
            assert submit.destination == SENDER
            parts.receive(submit.build(), 0)
            sw = self.ask(Command(0x80, 0x14, 0, 0, bytes.fromhex("810301130082028281830100"))).sw
        assert sw == 0x9000
        return next((event.packet for event in parts.events() if isinstance(event, Whole)), None)

    def __call__(self, request: Request) -> bytes | None:
        if isinstance(request, Transmit):
            response = self.deliver(request.packet)
            return self.fetched(response.sw) or response.data or None
        return None

    def entity(
        self, tar: bytes = EXPANDED, spi: Spi | None = None, kvn: int = KVN, algorithm: int = 2
    ) -> SendingEntity:
        indicator = kvn << 4 | algorithm
        return SendingEntity(self.keys, tar, spi=spi, kic=indicator, kid=indicator)

    def send(self, *script: Command, tar: bytes = EXPANDED, spi: Spi | None = None) -> ScriptReport:
        report = drive(send_script(self.entity(tar, spi), script, self.counter), self)
        self.counter = report.counter
        return report


@pytest.fixture
def memory() -> RamMemory:
    memory = RamMemory()
    personalised(memory)
    return memory


@pytest.fixture
def uicc(memory: RamMemory) -> Generator[Uicc, None, None]:
    with SecureElement(memory=memory) as element:
        yield Uicc(element)


@pytest.fixture
def phone(uicc: Uicc) -> Phone:
    return Phone(uicc.handle)


@pytest.mark.parametrize("tar", [COMPACT, EXPANDED])
def test_packets_reach_the_issuer_domain_in_both_formats(phone: Phone, tar: bytes) -> None:
    report = phone.send(STORE, tar=tar)
    assert [answer.sw for answer in report.responses] == [0x9000]
    answer = phone.ask(READ)
    assert (answer.sw, answer.data) == (0x9000, bytes.fromhex("DF20023132"))


def test_everything_else_passes_to_the_element(uicc: Uicc, phone: Phone) -> None:
    assert phone.ask(Command(0x00, 0xA4, 4, 0, DEFAULT_ISD, 0)).sw == 0x9000
    assert phone.ask(Command(0x80, 0xF2, 0x80, 2, b"\x4f\x00", 0)).sw == 0x6982
    assert uicc.handle(b"") == uicc.element.handle(b"") == bytes.fromhex("6700")
    assert uicc.atr == uicc.element.atr
    assert phone.ask(Command(0x80, 0x10, 0, 0, b"\xff")).sw == 0x9000


def test_a_fetch_with_nothing_to_fetch_and_an_envelope_that_is_none_are_refused(phone: Phone) -> None:
    assert phone.ask(Command(0x80, 0x12, 0, 0, b"", 0)).sw == 0x6985
    assert phone.ask(Command(0x80, 0xC2, 0, 0, b"\xd1\x01\x00")).sw == 0x6A80


def test_a_long_script_comes_in_several_messages(phone: Phone) -> None:
    report = phone.send(*[STORE] * 20)
    assert {answer.sw for answer in report.responses} == {0x9000}
    assert len(phone.last) > 1
    assert [(one.data, one.sw) for one in phone.last[:-1]] == [(b"", 0x9000)] * (len(phone.last) - 1)


def test_the_proof_goes_out_by_sms_submit_where_asked(phone: Phone) -> None:
    report = phone.send(STATUS, spi=Spi.of(by_submit=True))
    assert [answer.sw for answer in report.responses] == [0x9000]
    (response,) = phone.last
    assert (response.data, response.sw >> 8) == (b"", 0x91)


def test_an_answer_too_long_for_the_report_goes_out_in_messages(phone: Phone) -> None:
    report = phone.send(*[STATUS] * 12)
    assert [answer.sw for answer in report.responses] == [0x9000] * 12
    assert phone.last[-1].sw >> 8 == 0x91


def test_a_replayed_packet_is_answered_with_02_and_runs_nothing(phone: Phone) -> None:
    packet = phone.entity().seal(bytes.fromhex("AA0722 0580CA006600".replace(" ", "")), 1)
    first, again = (phone.entity().open(phone.deliver(packet).data, 1) for _ in range(2))
    assert (first.status, again.status) == (Status.OK, Status.COUNTER_LOW)
    assert first.data
    assert (again.data, again.authentic) == (b"", True)


def test_wrong_keys_are_answered_with_01_in_clear_without_a_counter(uicc: Uicc) -> None:
    wrong = Phone(uicc.handle, KeySet.aes(RAW[0], bytes(16), RAW[2]))
    answer = wrong.deliver(wrong.entity().seal(b"\xaa\0", 7)).data
    inner = open_response(read_response(answer, SMS_PP), Suite(), SMS_PP)
    assert (inner.status, inner.cntr, inner.rest) == (Status.CHECK_FAILED, 0, b"")
    # The counter was not used up by whoever that was.
    right = Phone(uicc.handle)
    assert right.send(STATUS).counter == 1


@pytest.mark.parametrize(
    ("spi", "status"),
    [(PLAIN, Status.INSUFFICIENT_LEVEL), (Spi.of(ciphered=False, por_ciphered=False), Status.OK)],
)
def test_the_minimum_security_level_holds(phone: Phone, spi: Spi, status: int) -> None:
    packet = phone.entity(spi=spi).seal(b"\xaa\0", 1)
    assert phone.entity(spi=spi).open(phone.deliver(packet).data, 1).status == status


def test_the_minimum_security_level_is_a_parameter(memory: RamMemory) -> None:
    with SecureElement(memory=memory) as element:
        phone = Phone(Uicc(element, msl=0x16).handle)
        with pytest.raises(OtaStatusError, match="0A"):
            phone.send(STATUS, spi=Spi.of(ciphered=False, por_ciphered=False))


def test_an_unknown_tar_is_answered_with_09(phone: Phone) -> None:
    with pytest.raises(OtaStatusError, match="09"):
        drive(send_packet(phone.entity(bytes.fromhex("C0FFEE")), b"\xaa\0", 0), phone)


@pytest.mark.parametrize("kvn", [0x02, 0x0F])
def test_a_key_version_that_is_not_there_is_answered_with_06(phone: Phone, kvn: int) -> None:
    with pytest.raises(OtaStatusError, match="06"):
        drive(send_packet(phone.entity(kvn=kvn), b"\xaa\0", 0), phone)


def test_key_versions_past_0f_are_not_for_packets(memory: RamMemory) -> None:
    with SecureElement(memory=memory) as element:
        assert element.air.key_set(DEFAULT_ISD, 0xFF) is None
        assert element.air.key_set(DEFAULT_ISD, KVN) is not None


def test_triple_des_keys_serve_packets_too() -> None:
    memory = RamMemory()
    personalised(memory, tuple(map(TripleDesKey, RAW)), 0x03)
    with SecureElement(memory=memory) as element:
        phone = Phone(Uicc(element).handle, KeySet.des(*RAW))
        entity = phone.entity(kvn=3, algorithm=5)
        report = drive(send_script(entity, [STATUS], 0), phone)
        assert report.responses[0].sw == 0x9000


def test_short_checksums_are_a_parameter(memory: RamMemory) -> None:
    with SecureElement(memory=memory) as element:
        phone = Phone(Uicc(element, mac_length=4).handle, KeySet.aes(*RAW, mac_length=4))
        assert phone.send(STATUS).responses[0].sw == 0x9000
        with pytest.raises(ValueError, match="8 or 4"):
            Uicc(element, mac_length=5)


def test_the_profile_is_the_elements(memory: RamMemory) -> None:
    unchecked = Spi.of(counter=CounterMode.UNCHECKED)
    for profile, status in ((PROFILES["default"], Status.SECURITY_ERROR), (PROFILES["sja5"], Status.OK)):
        with SecureElement(memory=memory, profile=profile) as element:
            phone = Phone(Uicc(element, msl=0).handle)
            lenient = Profile(aes_needs_counter=False)
            entity = SendingEntity(KEYS, EXPANDED, spi=unchecked, kic=0x12, kid=0x12, profile=lenient)
            assert entity.open(phone.deliver(entity.seal(b"\xaa\0", 1)).data, 1).status == status


# ---- counters and power


def test_counters_outlive_the_power(memory: RamMemory) -> None:
    with SecureElement(memory=memory) as element:
        uicc = Uicc(element)
        phone = Phone(uicc.handle)
        phone.send(STATUS)
        uicc.reset()
        packet = phone.entity().seal(b"\xaa\0", 1)
        assert phone.entity().open(phone.deliver(packet).data, 1).status == Status.COUNTER_LOW
    with SecureElement(memory=memory) as element:
        again = Phone(Uicc(element).handle)
        assert again.entity().open(again.deliver(packet).data, 1).status == Status.COUNTER_LOW


def test_new_keys_under_an_old_number_begin_at_counter_0(uicc: Uicc, phone: Phone) -> None:
    phone.counter = 500
    phone.send(STATUS)
    new = Phone(uicc.handle, KeySet.aes(*reversed(RAW)))
    ask = new.ask
    session = drive(open_channel(Scp03Keys.of(*RAW), bytes(8), kvn=KVN), ask)
    drive(secured(session, put_key(tuple(map(AesKey, reversed(RAW))), session, kvn=KVN, replace=KVN)), ask)
    assert new.send(STATUS).counter == 1
    with pytest.raises(OtaStatusError, match=r"0[15] .*nothing proves"):
        phone.send(STATUS)


@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_at_the_counter_never_lets_a_packet_run_twice(memory: RamMemory, *, after: bool) -> None:
    packet = Phone(bytes).entity().seal(b"\xaa\x0c\x22\x0a" + STORE.encode(), 1)
    cut = CutMemory(memory, cut_after=1 if after else 0, cut_before=0 if after else 1)
    with SecureElement(memory=cut) as element, pytest.raises(PowerCut):
        Phone(Uicc(element).handle).deliver(packet)
    assert cut.fired
    assert cut.commits == int(after)
    with SecureElement(memory=memory) as element:
        phone = Phone(Uicc(element).handle)
        assert phone.ask(READ).sw == 0x6A88
        receipt = phone.entity().open(phone.deliver(packet).data, 1)
        assert receipt.status == (Status.COUNTER_LOW if after else Status.OK)
        assert phone.ask(READ).sw == (0x6A88 if after else 0x9000)


def test_a_memory_that_takes_no_counter_runs_nothing(memory: RamMemory) -> None:
    class Full:
        load, names = memory.load, memory.names

        def commit(self, changes: object) -> None:
            raise StoreError("full")

    with SecureElement(memory=Full()) as element:
        phone = Phone(Uicc(element).handle)
        response = phone.deliver(phone.entity().seal(b"\xaa\x0c\x22\x0a" + STORE.encode(), 1))
        assert (response.data, response.sw) == (b"", SW.NOT_ENOUGH_MEMORY)
        assert phone.ask(READ).sw == 0x6A88


# ---- other domains


def lv(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def made(phone: Phone, aid: bytes, parameters: bytes) -> None:
    """A supplementary domain, installed over the air."""
    file, module = bytes.fromhex("A0000001515350"), bytes.fromhex("A000000151535041")
    data = lv(file) + lv(module) + lv(aid) + lv(bytes.fromhex("80")) + lv(parameters) + b"\0"
    assert phone.send(Command(0x80, 0xE6, 0x0C, 0, data, 0)).responses[-1].sw == 0x9000


@pytest.mark.parametrize("form", list(Format)[:2])
def test_bytes_13_to_15_of_an_aid_name_a_domain_which_takes_both_formats(phone: Phone, form: Format) -> None:
    aid = bytes.fromhex("A0000005591010FFFFFFFF89" + "C1A5E0" + "00")
    made(phone, aid, b"\xc9\0")
    script = send_script(phone.entity(aid[12:15]), [STORE], phone.counter, form=form)
    assert drive(script, phone).responses[-1].sw == 0x9000
    assert phone.ask(READ).sw == 0x6A88, "it is the other domain that has it"


def test_toolkit_parameters_name_a_domain_and_its_level(phone: Phone) -> None:
    toolkit = bytes.fromhex("01 00 00 00 00 02 01 16 03 ABCDEF".replace(" ", ""))
    inside = b"\x80" + bytes((len(toolkit),)) + toolkit
    made(phone, bytes.fromhex("A000000151000009"), b"\xc9\0\xea" + bytes((len(inside),)) + inside)
    tar = bytes.fromhex("ABCDEF")
    low = Spi.of(ciphered=False, por_ciphered=False)
    with pytest.raises(OtaStatusError, match="0A"):
        drive(send_packet(phone.entity(tar, low), b"\xaa\0", phone.counter), phone)
    receipt, _ = drive(send_packet(phone.entity(tar), b"\xaa\0", phone.counter), phone)
    assert receipt is not None
    assert receipt.status == Status.OK


# ---- the reader


def test_a_card_that_speaks_t0_keeps_the_report_for_get_response() -> None:
    with SecureElement(atr=build_atr(b"\x80", (0,))) as element:
        uicc = Uicc(element)
        packet = SendingEntity(KEYS, bytes.fromhex("C0FFEE"), kic=0x12, kid=0x12).seal(b"", 1)
        (message,) = packet_messages(packet, SENDER, 1, COMMAND_IE)
        first = Response.parse(uicc.handle(envelope(message).encode()))
        assert (first.data, first.sw >> 8) == (b"", 0x61)
        rest = Response.parse(uicc.handle(Command(0, 0xC0, 0, 0, b"", first.sw & 0xFF).encode()))
        assert rest.sw == 0x9000
        assert rest.data[:3] == bytes.fromhex("027100")
        assert Response.parse(uicc.handle(Command(0, 0xC0, 0, 0, b"", 1).encode())).sw == 0x6985


def test_the_uri_opens_one_and_its_memory_keeps_the_counters(tmp_path: Path) -> None:
    from keywright.store.journal import Journal

    file = tmp_path / "uicc.kw"
    with closing(Journal(file)) as journal:
        personalised(journal.memory("element"))
    uri = f"sim:uicc?memory={file}&msl=16"
    for expected in (1, 2):
        with closing(open_link(uri)) as link:
            phone = Phone(link.exchange)
            phone.counter = expected - 1
            assert phone.send(STATUS).counter == expected
            link.reset()
    with closing(open_simulated(parse_uri(uri))) as simulated:
        assert simulated.uicc is not None
    with closing(open_simulated(parse_uri(f"sim:element?memory={file}"))) as simulated:
        assert simulated.uicc is None


@pytest.mark.parametrize("transport", ["t0", "t1", "nfc-a"])
def test_it_is_reached_block_by_block(transport: str) -> None:
    with closing(open_link(f"sim:uicc?transport={transport}")) as link:
        assert link.exchange(bytes.fromhex("8010000001FF")) == bytes.fromhex("9000")


@pytest.mark.parametrize("uri", ["sim:element?msl=12", "sim:uicc?msl=1x", "sim:uicc?serial=A"])
def test_a_uri_that_cannot_be_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        open_link(uri)


# ---- administration over HTTP


def trigger(port: int) -> bytes:
    parameters = TriggerParameters(
        SessionParameters(
            comprehension_item(TRANSPORT, b"\x02" + port.to_bytes(2)) + address_objects(("127.0.0.1",)),
            SecurityParameters(b"card-1", KeyReference(0x40, 1)),
            http=HttpParameters(b"127.0.0.1", b"//se-id/eid/1", b"/ram"),
        )
    )
    return trigger_message(parameters, expanded=True)


def reading() -> Generator[Command, Response, bytes]:
    check((yield STORE), "STORE DATA")
    return check((yield READ), "GET DATA")


def served(server: PlainServer | PskServer, administration: AdministrationServer) -> threading.Thread:
    def run() -> None:
        try:
            connection = server.accept()
        except LinkError:
            return
        if connection is not None:
            serve_card(administration, connection)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_trigger_makes_the_card_call_and_run_scripts(uicc: Uicc, phone: Phone) -> None:
    server = PlainServer(timeout_s=20)
    administration = AdministrationServer(commands(reading()), "/ram", bytes)
    thread = served(server, administration)
    try:
        drive(send_packet(phone.entity(), trigger(server.port), 0), phone)
        (call,) = uicc.calls()
        (ended,) = call_server(call, without_tls=True)
    finally:
        server.close()
        thread.join(20)
    assert ended.reason == ""
    assert administration.result == bytes.fromhex("DF20023132")
    assert uicc.calls() == []


def with_psk(uicc: Uicc, phone: Phone, psk: Psk) -> None:
    ask = phone.ask
    session = drive(open_channel(Scp03Keys.of(*RAW), bytes(8), kvn=KVN), ask)
    block = put_key_block(psk, session, bytes)
    answer = drive(secured(session, one(Command(0x80, 0xD8, 0, 1, b"\x40" + block, 0))), ask)
    assert answer.sw == 0x9000


def one(command: Command) -> Generator[Command, Response, Response]:
    return (yield command)


@pytest.mark.parametrize("right", [True, False])
def test_the_card_calls_by_tls_with_the_key_that_the_trigger_names(uicc: Uicc, phone: Phone, *, right: bool) -> None:
    require_peer("python-mbedtls", importlib.util.find_spec("mbedtls") is not None, ".ci/install ota")
    psk = Psk(bytes(range(16)))
    with_psk(uicc, phone, psk)
    server = PskServer({"card-1": psk.reveal() if right else bytes(16)}.get, timeout_s=20)
    administration = AdministrationServer(commands(reading()), "/ram", bytes)
    thread = served(server, administration)
    try:
        drive(send_packet(phone.entity(), trigger(server.port), 0), phone)
        (call,) = uicc.calls()
        (ended,) = call_server(call)
    finally:
        server.close()
        thread.join(20)
    assert (ended.reason == "", administration.is_done) == (right, right)


def test_without_the_key_the_card_does_not_call(uicc: Uicc, phone: Phone) -> None:
    drive(send_packet(phone.entity(), trigger(9), 0), phone)
    (call,) = uicc.calls()
    (ended,) = call_server(call)
    assert "TLS" in ended.reason


def test_a_trigger_that_is_incomplete_is_rejected(uicc: Uicc, phone: Phone) -> None:
    drive(send_packet(phone.entity(), trigger_message(TriggerParameters(), expanded=True), 0), phone)
    assert uicc.calls() == []
