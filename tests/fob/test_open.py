"""From a URI to something to talk to, and from a device to something others can talk to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from keywright.element import SecureElement
from keywright.errors import KeywrightError, LinkError, StoreError, UsageError
from keywright.fob import open as opening
from keywright.fob.fobs import Model
from keywright.fob.open import DEFAULT_SERIAL, check_link, model_of, open_link, open_server, open_simulated
from keywright.fob.uri import FORMS, Uri, forms, is_simulated, parse_uri
from keywright.link import base
from keywright.link.record import Recording
from keywright.link.trace import TraceFile

SELECT = bytes.fromhex("00A4040000")
KEY_INFORMATION = bytes.fromhex("80CA00E000")
COUNTER = bytes.fromhex("80CA00C100")
INITIALIZE_UPDATE = bytes.fromhex("8050000008000000000000000000")


@pytest.mark.parametrize("uri", ["sim:element", "sim:card", "sim:fob", "sim:fob?serial=A1"])
def test_a_simulated_device_answers(uri: str) -> None:
    with closing(open_link(uri)) as link:
        assert isinstance(link, base.Exchange)
        assert link.extended
        assert link.exchange(SELECT)[-2:] == b"\x90\x00"
        assert link.reset() == link.atr


def test_parameters_make_another_element() -> None:
    with closing(open_link("sim:element?kvn=30&i=60&stay=yes")) as link:
        assert link.exchange(KEY_INFORMATION)[:8].hex() == "e012c00401308810"


def test_fobs_differ_by_their_serial() -> None:
    kdd = bytes.fromhex("80CA00CF00")
    with closing(open_link("sim:fob?serial=A")) as a, closing(open_link("sim:fob?serial=B")) as b:
        assert a.exchange(kdd) != b.exchange(kdd)


def test_a_memory_outlives_its_link_and_is_let_go(tmp_path: Path) -> None:
    uri = f"sim:element?memory={tmp_path / 'e'}"
    with closing(open_link(uri)) as link:
        link.exchange(INITIALIZE_UPDATE)
        used = link.exchange(COUNTER)
    with closing(open_link(uri)) as link:
        assert link.exchange(COUNTER) == used
        assert used != bytes.fromhex("C103000000") + b"\x90\x00"


def test_a_memory_is_one_with_the_path_of_an_element(tmp_path: Path) -> None:
    with SecureElement(path=str(tmp_path / "e"), kvn=0x30):
        pass
    with closing(open_link(f"sim:element?memory={tmp_path / 'e'}")) as link:
        assert link.exchange(KEY_INFORMATION)[5:6] == b"\x30"


def test_a_memory_in_use_is_refused(tmp_path: Path) -> None:
    uri = f"sim:element?memory={tmp_path / 'e'}"
    with closing(open_link(uri)), pytest.raises(StoreError):
        open_link(uri)


def test_a_journal_of_other_fobs_gets_no_new_one_by_a_wrong_serial(tmp_path: Path) -> None:
    memory = tmp_path / "fobs"
    open_link(f"sim:fob?serial=KW-1&memory={memory}").close()
    before = memory.read_bytes()
    with pytest.raises(StoreError, match="no fob KW-2 in it, but 1 other device") as raised:
        open_link(f"sim:fob?serial=KW-2&memory={memory}")
    assert raised.value.hint == f"for example sim:fob?serial=KW-1&memory={memory}"
    with pytest.raises(StoreError, match="no element"):
        open_link(f"sim:element?memory={memory}")
    assert memory.read_bytes() == before


def test_a_closed_link_says_so() -> None:
    link = open_link("sim:element")
    link.close()
    link.close()
    with pytest.raises(LinkError) as raised:
        link.exchange(SELECT)
    assert raised.value.delivered is False


def test_the_device_behind_a_simulated_link_can_be_reached_by_its_owner() -> None:
    with closing(open_simulated(Uri("sim", "fob", {"serial": "A"}))) as link:
        assert link.element.attempts == 0


def test_a_fob_without_serial_has_a_usual_one() -> None:
    kdd = bytes.fromhex("80CA00CF00")
    with closing(open_link("sim:fob")) as a, closing(open_link(f"sim:fob?serial={DEFAULT_SERIAL}")) as b:
        assert a.exchange(kdd) == b.exchange(kdd)


@pytest.mark.parametrize(
    ("uri", "message", "hint"),
    [
        ("", "'' is no link", "use one of: sim:element"),
        ("element", "'element' is no link", "use one of: sim:element"),
        ("simm:element", "'simm:element' is no link", "did you mean sim:element?"),
        ("pcsc", "'pcsc' is no link", "did you mean pcsc:READER?"),
        ("sim:elemnt", "no such simulated device", "did you mean sim:element?"),
        ("sim:xyz", "no such simulated device", "there are: sim:element, sim:card, sim:fob"),
        ("sim:fob?seral=1", "unknown parameter 'seral'", "did you mean serial?"),
        ("sim:fob?zzz=1", "unknown parameter 'zzz'", "there are: memory"),
        ("sim:fob?serial", "parameter serial has no value", "write serial=VALUE"),
        ("sim:fob?serial=a&serial=b", "parameter serial is there twice", ""),
        ("sim:element?serial=1", "only sim:fob has a serial", "leave it out"),
        ("sim:element?kvn=100", "kvn is one byte in hex, not '100'", "for example kvn=30"),
        ("sim:element?kvn=zz", "kvn is one byte in hex, not 'zz'", "for example kvn=30"),
        ("sim:element?kvn=0", "kvn: a key version number is 01 to FF", ""),
        ("sim:element?i=FF", "is no SCP03 option set", ""),
        ("sim:element?stay=maybe", "stay is yes or no, not 'maybe'", ""),
        ("tcp:127.0.0.1", "this needs HOST:PORT", "for example tcp:127.0.0.1:35963"),
        ("tcp:127.0.0.1:99999", "this needs HOST:PORT", ""),
        ("tcp::1", "this needs HOST:PORT", ""),
        ("replay:", "names no file", "write replay:FILE"),
        ("replay:/nonexistent", "cannot be read", ""),
        ("vpcd:127.0.0.1:35963", "this form serves a device", "serve with: keywright element serve --link vpcd:127.0"),
        ("serial:/dev/ttyS0", "this version has no serial links", "use one of: sim:element"),
    ],
)
def test_a_uri_that_cannot_be_used_says_why_and_what_to_do(uri: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_link(uri)
    assert message in str(raised.value)
    assert hint in raised.value.hint


def test_a_link_is_checked_without_opening_it() -> None:
    assert check_link("pcsc:no such reader").rest == "no such reader"
    assert check_link("sim:fob?memory=/nonexistent/x").is_simulated
    for uri in ("vpcd:127.0.0.1:1", "sim:fbo", "nothing", "sim:fob?i=41", "sim:element?kvn=00", "sim:fob?i=112"):
        with pytest.raises(UsageError):
            check_link(uri)


def test_what_a_link_does_not_say_of_its_device_is_as_usual() -> None:
    usual = Model(kvn=0x20, i=0x60, initial_keys_stay=True, try_limit=3, factory_key="11" * 16)
    assert model_of(parse_uri("sim:fob"), usual) == usual
    said = model_of(parse_uri("sim:fob?kvn=30&i=71&stay=no"), usual)
    assert said == msgspec.structs.replace(usual, kvn=0x30, i=0x71, initial_keys_stay=False)
    assert model_of(parse_uri("sim:fob?stay=yes")) == Model(initial_keys_stay=True)


def test_every_form_is_known_to_the_parser_and_listed_for_its_use() -> None:
    for form in FORMS:
        assert parse_uri(form.text.replace("HOST:PORT", "127.0.0.1:1")).scheme == form.text.partition(":")[0]
    assert "vpcd" not in forms()
    assert forms(serving=True) == "tcp:HOST:PORT, ble:PEER, vpcd:HOST:PORT, vpcd+connect:HOST:PORT"


def test_only_simulated_devices_are_simulated() -> None:
    assert is_simulated("sim:fob?serial=1")
    assert not is_simulated("pcsc:Reader 0")


def test_names_may_hold_what_a_query_cannot() -> None:
    assert parse_uri("sim:fob?serial=a%26b").parameters == {"serial": "a&b"}
    assert parse_uri("pcsc:Reader? 00&").rest == "Reader? 00&"


def test_addresses_of_both_families() -> None:
    assert parse_uri("tcp:127.0.0.1:80").address() == ("127.0.0.1", 80)
    assert parse_uri("tcp:[::1]:80").address() == ("::1", 80)


def test_nobody_listening_is_a_link_error_with_a_hint() -> None:
    with pytest.raises(LinkError) as raised:
        open_link("tcp:127.0.0.1:1")
    assert "element serve" in raised.value.hint


def test_a_recording_is_played_back(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with TraceFile(path) as sink:
        link = Recording(open_link("sim:element"), sink)
        answer = link.exchange(SELECT)
        link.close()
    with closing(open_link(f"replay:{path}")) as played:
        assert played.exchange(SELECT) == answer
    with closing(open_link(f"replay:{path}")) as played, pytest.raises(LinkError):
        played.exchange(COUNTER)
    with closing(open_link(f"replay:{path}?lenient=yes")) as played:
        assert played.exchange(COUNTER) == answer


def test_of_a_recording_of_several_links_the_first_is_played(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with TraceFile(path) as sink:
        first = Recording(open_link("sim:element"), sink)
        second = Recording(open_link("sim:fob"), sink)
        answer = first.exchange(SELECT)
        second.exchange(COUNTER)
        first.exchange(COUNTER)
    with closing(open_link(f"replay:{path}")) as played:
        assert played.exchange(SELECT) == answer
        played.exchange(COUNTER)


asked: list[dict[str, object]] = []
READERS = ["Alpha Reader 00", "Beta Reader 01"]


Readers = Callable[[list[str]], list[str]]


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Readers:
    """Pretend that these readers are there; returns the names that were connected to."""
    from keywright.link import pcsc

    connected: list[str] = []

    def connect(name: str, **how: object) -> None:
        connected.append(name)
        asked.append(how)

    def there_are(names: list[str]) -> list[str]:
        monkeypatch.setattr(pcsc, "list_readers", lambda: names)
        monkeypatch.setattr(pcsc, "PcscLink", connect)
        return connected

    return there_are


@pytest.mark.parametrize(("uri", "name"), [("pcsc:1", READERS[1]), ("pcsc:0", READERS[0]), ("pcsc:beta", "beta")])
def test_a_reader_is_named_by_number_or_name(readers: Readers, uri: str, name: str) -> None:
    connected = readers(READERS)
    open_link(uri)
    assert connected == [name]


@pytest.mark.parametrize(
    ("parameters", "how"),
    [
        ("", {"mode": "exclusive", "protocol": "any", "extended": None}),
        ("?mode=shared&protocol=t0", {"mode": "shared", "protocol": "t0", "extended": None}),
        ("?mode=transaction&extended=no", {"mode": "transaction", "protocol": "any", "extended": False}),
        ("?extended=yes&protocol=t1", {"mode": "exclusive", "protocol": "t1", "extended": True}),
    ],
)
def test_how_a_reader_is_used_stands_in_the_uri(readers: Readers, parameters: str, how: dict[str, object]) -> None:
    readers(READERS)
    asked.clear()
    open_link(f"pcsc:0{parameters}")
    assert asked == [how]


@pytest.mark.parametrize("parameters", ["mode=mine", "protocol=t3", "extended=1", "wait=soon", "speed=9600"])
def test_a_parameter_that_no_reader_has_is_refused(readers: Readers, parameters: str) -> None:
    connected = readers(READERS)
    with pytest.raises(UsageError):
        open_link(f"pcsc:0?{parameters}")
    assert connected == []


def test_the_only_reader_needs_no_name(readers: Readers) -> None:
    connected = readers(READERS[:1])
    open_link("pcsc:")
    assert connected == READERS[:1]


@pytest.mark.parametrize(
    ("uri", "names", "error", "message"),
    [
        ("pcsc:", READERS, UsageError, "there are 2 readers: Alpha Reader 00, Beta Reader 01"),
        ("pcsc:2", READERS, UsageError, "there are only 2 readers, counted from 0"),
        ("pcsc:", [], LinkError, "there is no reader"),
        ("pcsc:0", [], LinkError, "there is no reader"),
    ],
)
def test_a_reader_that_cannot_be_told_is_refused_with_the_list(
    readers: Readers, uri: str, names: list[str], error: type[Exception], message: str
) -> None:
    readers(names)
    with pytest.raises(error, match=message):
        open_link(uri)


@pytest.mark.parametrize("uri", ["tcp:127.0.0.1:0", "vpcd:127.0.0.1:0"])
def test_a_served_device_says_where_it_is_and_ends_when_stopped(uri: str) -> None:
    server = open_server(uri, SecureElement())
    where: list[str] = []
    ready = threading.Event()

    def tell(text: str) -> None:
        where.append(text)
        ready.set()

    thread = threading.Thread(target=server.serve, args=(tell,))
    thread.start()
    assert ready.wait(10)
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
    server.close()
    scheme, host, port = where[0].split(":")
    assert f"{scheme}:{host}" == uri.rpartition(":")[0]
    assert int(port) > 0


def test_a_served_element_is_reached_over_tcp() -> None:
    server = open_server("tcp:127.0.0.1:0", SecureElement(kvn=0x42))
    ready = threading.Event()
    where: list[str] = []

    def tell(text: str) -> None:
        where.append(text)
        ready.set()

    thread = threading.Thread(target=server.serve, args=(tell,))
    thread.start()
    try:
        assert ready.wait(10)
        with closing(open_link(where[0])) as link:
            assert link.exchange(KEY_INFORMATION)[5:6] == b"\x42"
    finally:
        server.stop()
        thread.join(10)
        server.close()


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("sim:element", UsageError),
        ("replay:x", UsageError),
        ("tcp:8.8.8.8:0", KeywrightError),
        ("vpcd:127.0.0.1", UsageError),
    ],
)
def test_what_cannot_be_served_is_refused(uri: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        open_server(uri, SecureElement()).serve(lambda _: None)


def test_dialling_a_driver_that_is_not_there_is_a_link_error() -> None:
    server = open_server("vpcd+connect:127.0.0.1:1", SecureElement())
    with pytest.raises(LinkError):
        server.serve(lambda _: None)
    server.close()


def test_every_device_of_the_list_can_be_opened() -> None:
    for name in opening._DEVICES:
        open_link(f"sim:{name}").close()
