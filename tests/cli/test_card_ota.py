"""`keywright card ota`: packets sent, built and explained; administration served and triggered."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright.cli import links
from keywright.cli.card.ota_options import Protection, protection
from keywright.element import SecureElement
from keywright.errors import LinkError, PolicyError, StoreError, UsageError
from keywright.fob.open import SimulatedLink
from keywright.fob.uicc import Uicc
from keywright.iso7816.apdu import Command, Response
from keywright.link import Loopback
from keywright.scp.scp80.messages import Check, CounterMode, PorMode, Spi
from keywright.store import RamMemory
from support.commands import Keywright, Ran, environment

KIC, KID, KIK = (bytes(range(start, start + 16)).hex() for start in (0, 16, 32))
STATUS, STORE, READ = "80F28002024F0000", "80E2800006DF2003313233", "80CADF2000"
Run = Callable[..., Ran]


def private(path: Path, **lines: str) -> Path:
    path.write_text("".join(f'{name} = "{value}"\n' for name, value in lines.items()))
    path.chmod(0o600)
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return private(tmp_path / "ota.toml", kic=KIC, kid=KID, kik=KIK, kvn="01")


@pytest.fixture
def uri(tmp_path: Path, keywright: Keywright) -> str:
    """A simulated UICC with the key set 01."""
    uri = f"sim:uicc?memory={tmp_path / 'uicc.kw'}"
    new = private(tmp_path / "new.toml", enc=KIC, mac=KID, dek=KIK, kvn="01")
    assert keywright("card", "keys", "put", new, "--link", uri).code == 0
    return uri


@pytest.fixture
def send(keywright: Keywright, keys: Path, uri: str, tmp_path: Path) -> Run:
    """`card ota send` with keys, link and counter file, unless told otherwise."""

    def call(*words: object, **given: object) -> Ran:
        options = {"keys": keys, "link": uri, "counter-file": tmp_path / "counter"} | given
        pairs = [part for name, value in options.items() if value for part in (f"--{name}", value)]
        return keywright("card", "ota", "send", *words, *pairs)

    return call


def test_commands_run_and_their_answers_and_the_proof_are_told(send: Run) -> None:
    ran = send(STORE, READ)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "sent 1 packet in 1 message, counter 1",
        "  PoR 00 ok",
        "  STORE DATA block 00, last  9000 ok",
        "  GET DATA DF20  9000 ok",
        "    DF2003313233",
    ]


def test_json_has_packets_and_answers(send: Run) -> None:
    document = json.loads(send(STATUS, "--json").out)
    (packet,) = document["packets"]
    assert (packet["status"], packet["authentic"], document["counter"]) == ("00", True, 1)
    assert document["answers"][0]["sw"] == "9000"
    assert packet["packet"].startswith("0028151619")


def test_the_compact_format_follows_from_the_tar_and_tells_the_last_answer(send: Run) -> None:
    ran = send(STATUS[:-2], "00C0000000", "--tar", "000000")
    assert "GET STATUS issuer security domain  not told" in ran.out
    assert "GET RESPONSE  9000 ok" in ran.out
    assert ran.code == 0


def test_a_command_without_a_place_in_the_compact_format_is_named(send: Run) -> None:
    ran = send("80990000", "--tar", "000000")
    assert ran.code == 2
    assert "instruction 99" in ran.err
    assert "--form expanded" in ran.err


def test_a_refused_command_ends_with_1(send: Run) -> None:
    ran = send("80CA00EE00", STORE)
    assert ran.code == 1
    assert "6A88" in ran.out
    assert "STORE DATA block 00, last  not told" in ran.out


def test_the_counter_is_in_the_file_before_its_packet_leaves(
    send: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        name, atr, extended = "broken", b"", True

        def exchange(self, command: bytes, /) -> bytes:
            if command[1] == 0xC2:
                assert (tmp_path / "counter").read_text() == "0000000000001\n"
                raise LinkError("gone", delivered=None)
            return bytes.fromhex("9000")

        def reset(self) -> bytes:
            return b""

        def close(self) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr(links, "open_link", lambda _: Broken())
        ran = send(STATUS)
    assert ran.code != 0
    assert "look what it did" in ran.err
    assert "counter 2" in send(STATUS).out
    assert (tmp_path / "counter").read_text().splitlines() == ["0000000000001", "0000000000002"]


def test_a_counter_record_that_was_cut_off_is_written_again(send: Run, tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0000000000041\n00000")
    assert "counter 42" in send(STATUS).out
    assert (tmp_path / "counter").read_text() == "0000000000041\n0000000000042\n"


def test_a_counter_file_that_is_none_is_left_alone(send: Run, tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("# notes, not a counter\n")
    ran = send(STATUS)
    assert ran.code != 0
    assert "no counter" in ran.err
    assert (tmp_path / "counter").read_text() == "# notes, not a counter\n"


def test_one_program_at_a_time_has_a_counter(tmp_path: Path, keys: Path) -> None:
    asked = given(keys, counter_file=tmp_path / "counter")
    with asked.counting() as counting, pytest.raises(StoreError, match="another program"), asked.counting():
        pass
    assert counting.last == 0


def test_without_a_counter_nothing_is_sent(send: Run) -> None:
    ran = send(STATUS, **{"counter-file": ""})
    assert ran.code == 2
    assert "--counter-file" in ran.err


def test_a_counter_that_is_given_is_never_moved_on(send: Run) -> None:
    assert send(STATUS, cntr=5, **{"counter-file": ""}).code == 0
    again = send(STATUS, cntr=5, **{"counter-file": ""})
    assert again.code == 6
    assert "status 02 (counter low)" in again.err
    assert "continue above it" in again.err
    assert "authentic" not in again.err
    low = send(STATUS, cntr=5)
    assert low.code == 6
    assert send(STATUS, cntr=5).code == 5, "the file says that 5 is used"


def test_a_lost_counter_file_is_made_good_by_a_jump(send: Run) -> None:
    assert send(STATUS, cntr=9, **{"counter-file": ""}).code == 0
    assert "counter 65537" in send(STATUS).out


def test_wrong_keys_are_told_with_a_remedy_and_as_unproven(send: Run, tmp_path: Path) -> None:
    wrong = private(tmp_path / "wrong.toml", kic=KIC, kid=KIC)
    ran = send(STATUS, keys=wrong)
    assert ran.code == 6
    assert "status 01" in ran.err
    assert "nothing proves" in ran.err
    assert "another key" in ran.err


def test_too_little_security_is_told_with_a_remedy(send: Run, uri: str) -> None:
    ran = send(STATUS, "--no-cipher", link=f"{uri}&msl=16")
    assert "status 0A" in ran.err
    assert "more protection" in ran.err


def test_no_proof_means_that_nothing_is_known(send: Run) -> None:
    ran = send(STATUS, "--por", "never")
    assert ran.code == 0
    assert "no proof of receipt" in ran.out
    assert "not told" in ran.out


@pytest.mark.parametrize("words", [["--by-submit"], ["--no-por-cipher"], ["--check", "cc", "--por-check", "none"]])
def test_the_proof_comes_as_asked(send: Run, words: list[str]) -> None:
    ran = send(STATUS, *words)
    assert ran.code == 0
    assert "  PoR 00 ok" in ran.out
    assert ("not authenticated" in ran.out) == ("none" in words)


def test_a_long_script_goes_in_many_messages(send: Run) -> None:
    ran = send(*[STORE] * 30, "--messages", 2)
    assert ran.code == 0
    assert ran.out.count("PoR 00 ok") > 1
    assert ran.out.count("9000 ok") == 30


def test_a_script_file_has_variables_and_expectations(send: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.script"
    file.write_text("$V = 313233\nsend 80E28000 [DF20 [${V}]]\nexpect 9000\n80CADF2000\nexpect 9000 DF20 03 ..\n")
    assert send("--script", file).code == 0
    file.write_text("80CADF2000\nexpect 6A88\n")
    ran = send("--script", file)
    assert ran.code == 1
    assert "a.script:2" in ran.err
    for text in ("open-session", "reset", "80CA006600\n$X = answer\n80CA00${X}00"):
        file.write_text(text + "\n")
        ran = send("--script", file)
        assert ran.code == 2
        assert "over the air" in ran.err


def test_a_card_without_toolkit_is_named(send: Run) -> None:
    ran = send(STATUS, link="sim:element")
    assert "no toolkit" in ran.err
    assert "sim:uicc" in ran.err


def test_a_real_card_is_asked_for_first(send: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(uri: str) -> Any:
        raise AssertionError(uri)

    monkeypatch.setattr(links, "open_link", never)
    ran = send(STATUS, link="pcsc:")
    assert ran.code == 5
    assert "--yes" in ran.err


def test_what_a_card_asks_for_at_first_is_answered(send: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Menu:
        """A card that wants a menu and a timer before anything else."""

        def __init__(self) -> None:
            menu, timer = "D00D81030125008202818285024D4E", "D00C810302270082028182240101"
            self.waiting = [bytes.fromhex(menu), bytes.fromhex(timer)]
            self.answers: list[str] = []

        atr = b""

        def handle(self, raw: bytes) -> bytes:
            command = Command.parse(raw)
            if command.ins == 0x12:
                return Response(self.waiting[0], 0x9000).encode()
            if command.ins == 0x14:
                self.waiting.pop(0)
                self.answers.append(command.data.hex().upper())
            if command.ins in (0x10, 0x14) and self.waiting:
                return Response(b"", 0x9100 | len(self.waiting[0])).encode()
            return Response(b"", 0x9000).encode()

        def reset(self) -> object:
            return None

    menu = Menu()
    monkeypatch.setattr(links, "open_link", lambda _: Loopback(menu))
    assert send(STATUS, "--por", "never").code == 0
    assert menu.answers == ["810301250082028281830100", "810302270082028281830130"]


# ---- options


def given(keys: Path, **options: object) -> Protection:
    usual: dict[str, object] = {
        "keys": str(keys),
        "kvn": "",
        "tar": "B20100",
        "spi": "",
        "kic": "",
        "kid": "",
        "check": "cc",
        "cipher": True,
        "counter": "higher",
        "por": "always",
        "por_check": "",
        "por_cipher": None,
        "by_submit": False,
        "cntr": None,
        "counter_file": None,
        "form": "auto",
        "profile": "",
        "legacy": False,
    }
    return protection(usual | options)


@pytest.mark.parametrize(
    ("options", "spi", "indicators"),
    [
        ({}, "1619", "1212"),
        ({"kvn": "3"}, "1619", "3232"),
        ({"cipher": False}, "1209", "1212"),
        ({"counter": "next", "by_submit": True}, "1E39", "1212"),
        ({"check": "rc", "cipher": False, "kid": "11"}, "1105", "1211"),
        ({"check": "rc", "cipher": False}, "1105", "1215"),
        ({"por": "never"}, "1600", "1212"),
        ({"por": "on-error", "por_check": "none", "por_cipher": False}, "1602", "1212"),
        ({"spi": "0619", "kic": "22", "kid": "22"}, None, None),
        ({"spi": "1602", "kic": "22", "kid": "22"}, "1602", "2222"),
    ],
)
def test_words_come_to_the_bytes_of_the_header(
    keys: Path, options: dict[str, object], spi: str | None, indicators: str | None
) -> None:
    if spi is None:
        with pytest.raises(PolicyError, match="counter"):
            given(keys, **options)
        return
    header = given(keys, **options).entity.header
    assert header.spi.build().hex().upper() == spi
    assert f"{header.kic:02X}{header.kid:02X}" == indicators


@pytest.mark.parametrize(
    "options",
    [
        {"spi": "1619", "check": "rc"},
        {"spi": "16"},
        {"kvn": "10"},
        {"tar": "B201"},
        {"check": "ds"},
        {"counter": "lower"},
        {"form": "long"},
    ],
)
def test_options_that_cannot_be_are_refused(keys: Path, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        given(keys, **options)


def test_a_card_profile_allows_what_its_kind_takes(keys: Path) -> None:
    options = {"spi": "0419", "kic": "12", "kid": "12"}
    with pytest.raises(PolicyError, match="counter"):
        given(keys, **options)
    assert given(keys, spi="0600", profile="sja5").profile.aes_needs_counter is False
    assert given(keys, spi="0600", legacy=True).profile.single_des


def test_a_packet_needs_keys(send: Run) -> None:
    ran = send(STATUS, keys="")
    assert ran.code == 2
    assert "--keys FILE" in ran.err


def test_key_files_of_both_kinds(tmp_path: Path) -> None:
    des = private(tmp_path / "des.toml", kic=KIC, kid=KID, kik=KIK, type="des", kvn="2")
    assert given(des).entity.header.kic == 0x25
    one = private(tmp_path / "one.toml", key=KIC)
    assert given(one).keys.kid == given(one).keys.kic
    for wrong in ({"kic": KIC}, {"key": KIC, "type": "xor"}, {"key": KIC, "kvn": "10"}, {"key": "00"}, {"kez": KIC}):
        with pytest.raises(UsageError):
            given(private(tmp_path / "wrong.toml", **wrong))


# ---- without a card


@pytest.fixture
def built(keywright: Keywright, keys: Path) -> dict[str, Any]:
    ran = keywright("card", "ota", "packet", STATUS, "--keys", keys, "--cntr", 7, "--json")
    document: dict[str, Any] = json.loads(ran.out)
    return document


def test_a_packet_is_built_and_the_card_takes_it(built: dict[str, Any], uri: str) -> None:
    assert built["counter"] == 7
    (envelope,) = built["envelopes"]
    from keywright.fob.open import open_link

    link = open_link(uri)
    try:
        answer = Response.parse(link.exchange(bytes.fromhex(envelope + "00")))
    finally:
        link.close()
    assert (answer.data[:3].hex(), answer.sw) == ("027100", 0x9000)


@pytest.mark.parametrize("form", ["envelope", "tpdu", "user data", "packet"])
def test_a_packet_is_explained_in_whatever_it_comes(
    keywright: Keywright, built: dict[str, Any], keys: Path, form: str
) -> None:
    data = {
        "envelope": built["envelopes"][0],
        "tpdu": built["tpdus"][0],
        "user data": "027000" + built["packet"],
        "packet": built["packet"],
    }[form]
    clear = json.loads(keywright("card", "ota", "explain", data, "--json").out)
    assert clear["kind"] == "command packet"
    assert clear["fields"]["SPI"].startswith("1619  CC, ciphered, counter must be higher; PoR always")
    assert clear["fields"]["KIc"] == "12  key set 1, AES-CBC"
    assert clear["fields"]["TAR"].startswith("B20100  issuer security domain")
    assert "counter" not in clear["fields"]
    fields = json.loads(keywright("card", "ota", "explain", data, "--keys", keys, "--json").out)["fields"]
    assert fields["counter"] == "7  0000000007"
    assert fields["CC"] == "right"
    assert fields["command 1"] == "GET STATUS issuer security domain"
    wrong = keywright("card", "ota", "explain", data, "--keys", "gp-test")
    assert "with these keys" in wrong.out


def test_parts_are_put_together(keywright: Keywright, keys: Path) -> None:
    words = [STORE] * 20
    built = json.loads(keywright("card", "ota", "packet", *words, "--keys", keys, "--cntr", 1, "--json").out)
    assert len(built["tpdus"]) > 1
    ran = keywright("card", "ota", "explain", *reversed(built["envelopes"]), "--keys", keys)
    assert "command 20" in ran.out
    lone = keywright("card", "ota", "explain", built["tpdus"][0])
    assert lone.code != 0
    assert "parts" in lone.err


def test_an_answer_is_explained_with_the_header_of_its_command(send: Run, keywright: Keywright, keys: Path) -> None:
    answer = json.loads(send(STATUS, "--json").out)["packets"][0]["por"]
    closed = keywright("card", "ota", "explain", answer, "--keys", keys)
    assert "status" not in closed.out
    told = keywright("card", "ota", "explain", answer, "--keys", keys, "--spi", "16191212")
    assert "00 ok" in told.out
    assert "9000" in told.out


def test_what_is_no_packet_is_named(keywright: Keywright) -> None:
    ran = keywright("card", "ota", "explain", "C0FFEE")
    assert ran.code != 0
    assert "no over-the-air packet" in ran.err


def test_decode_tells_the_packet_in_an_envelope(keywright: Keywright, built: dict[str, Any]) -> None:
    ran = keywright("decode", built["envelopes"][0])
    assert "issuer security domain, expanded format" in ran.out
    assert "counter must be higher" in ran.out
    assert keywright("decode", "80C2000003D70100").out.startswith("ENVELOPE")


# ---- administration


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start `card ota serve` at a free port; its HOST:PORT once it listens."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "keywright", "card", "ota", "serve", *map(str, words), "--port", "0"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        )
        started.append(process)
        assert process.stderr is not None
        told = process.stderr.readline()
        return process, told.rpartition(" ")[2].partition("/")[0]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_card_calls_and_the_commands_run(
    keywright: Keywright, served: Callable[..., Any], keys: Path, uri: str
) -> None:
    process, at = served(STORE, READ, "--plain", "--json")
    ran = keywright("card", "ota", "trigger", at, "--plain", "--keys", keys, "--cntr", 1, "--link", uri)
    assert ran.code == 0, ran.err
    assert "the card called, all done" in ran.out
    out, _ = process.communicate(timeout=30)
    document = json.loads(out)
    assert process.returncode == 0
    assert [answer["sw"] for answer in document["answers"]] == ["9000", "9000"]
    assert document["answers"][1]["data"] == "DF2003313233"


def test_a_uicc_that_is_served_takes_packets(send: Run, keywright: Keywright, uri: str) -> None:
    memory = uri.partition("memory=")[2]
    words = ["element", "serve", "--uicc", "--memory", memory, "--link", "tcp:127.0.0.1:0", "--json"]
    command = [sys.executable, "-m", "keywright", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            link = json.loads(process.stdout.readline())["ready"]
            assert send(STORE, link=link).code == 5, "a card that may be real is asked for"
            ran = send(STORE, "--yes", link=link)
        finally:
            process.terminate()
    assert ran.code == 0, ran.err
    assert "PoR 00 ok" in ran.out
    assert keywright("element", "serve", "--uicc", "--fob", "A").code == 2


def test_without_the_key_on_the_card_no_call_comes_to_be(keywright: Keywright, keys: Path, uri: str) -> None:
    ran = keywright("card", "ota", "trigger", "127.0.0.1:9", "--keys", keys, "--cntr", 1, "--link", uri)
    assert ran.code == 1
    assert "TLS" in ran.out


@pytest.mark.parametrize(
    "words", [["--plain", "--remote"], [], ["--psk", "none.toml"], ["--plain", "--host", "192.0.2.1"]]
)
def test_a_server_that_cannot_be_is_refused(keywright: Keywright, words: list[str]) -> None:
    assert keywright("card", "ota", "serve", STATUS, *words, "--port", 0).code in (2, 5)


def test_a_server_is_host_and_port(keywright: Keywright, keys: Path, uri: str) -> None:
    ran = keywright("card", "ota", "trigger", "nowhere", "--keys", keys, "--cntr", 1, "--link", uri)
    assert ran.code == 2
    assert "HOST:PORT" in ran.err


def test_spi_words_are_those_of_the_class() -> None:
    assert Spi.of(Check.CC, counter=CounterMode.HIGHER, por=PorMode.ALWAYS).build() == bytes.fromhex("1619")


def test_a_uicc_in_memory_is_a_link_like_any_other(send: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with SecureElement(memory=RamMemory()) as element:
        uicc = Uicc(element)
        monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, element, lambda: None, uicc=uicc))
        ran = send(STATUS)
    assert "status 06" in ran.err
