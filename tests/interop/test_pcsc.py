"""The same code over real PC/SC: pcscd and Debian's virtual reader between our element and hosts, ours and foreign.

`opensc-tool` and Yubico's library are foreign hosts; the card is `keywright element serve` or a device of this process.
The driver dials the card (both slots) or, where cards come and go, listens in a network of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import SmartCardConnection
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, StaticKeys
from yubikit.securitydomain import SecurityDomainSession

from interop.pcscd import (
    EMPTY_READER,
    LISTENING_PORT,
    PATIENCE_S,
    READER,
    Card,
    Daemon,
    daemon,
    eventually,
    in_reader,
    program,
    require_opensc,
    require_pyscard,
    require_reader,
    served,
    socket_of,
)
from keywright.cli.main import main
from keywright.codec.tlv import item
from keywright.crypto.diversification import card_context
from keywright.element import SecureElement
from keywright.errors import LinkError, StatusError, UsageError
from keywright.fob.open import open_link
from keywright.globalplatform import host
from keywright.globalplatform.messages import KeyInformation, StoreData, Tag, unwrapped
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import PcscLink, list_readers
from keywright.production.keystore import open_keystore
from keywright.sansio import Device
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.scp.scp03.host import CardCryptogramError
from support.cards import ISD, OWN, element
from support.commands import environment

TEST_KVN, OWN_KVN = 0xFF, 0x30
OBJECT = 0xDF01
LINK = f"pcsc:{READER}"
SPEAKS_T0_ALONE = bytes.fromhex("3B00")
CARD_TOML = Path(__file__).parents[2] / "examples" / "card.toml"
RESPONSE = re.compile(r"Received \(SW1=0x(..), SW2=0x(..)\)(?::\n((?:(?:[0-9A-F]{2} )+.*\n?)*))?")

Insert = Callable[[Device], Daemon]
Serve = Callable[..., Card]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this process has its daemons. One place, for the client library looks once for its socket."""
    require_reader()
    found = tmp_path_factory.mktemp("pcscd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCSCLITE_CSOCK_NAME", str(socket_of(found)))
        yield found


@pytest.fixture
def insert(place: Path) -> Iterator[Insert]:
    """Put a device of this process into the reader, once for a test."""
    require_pyscard()
    with ExitStack() as stack:
        yield lambda device: stack.enter_context(in_reader(device, place))


@pytest.fixture
def listening(place: Path) -> Iterator[Daemon]:
    """A daemon whose driver waits for cards."""
    require_pyscard()
    with daemon(place, f"/dev/null:0x{LISTENING_PORT:X}", network=True) as started:
        yield started


@pytest.fixture
def serve(listening: Daemon) -> Iterator[Serve]:
    """Put `keywright element serve` into the reader, as often as a test likes, and wait until it is seen."""
    with ExitStack() as stack:

        def inserted(*words: object) -> Card:
            card = served("--link", f"vpcd+connect:127.0.0.1:{LISTENING_PORT}", *words, beside=listening)
            stack.callback(card.take_out)
            eventually("the card is in the reader", is_there)
            return card

        yield inserted


def is_there() -> bool:
    return bool(state_of_reader() & 0x20)


def state_of_reader() -> int:
    """SCARD_STATE_… bits of the first slot."""
    from smartcard import scard

    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    assert code == scard.SCARD_S_SUCCESS
    try:
        code, readers = scard.SCardGetStatusChange(context, 0, [(READER, scard.SCARD_STATE_UNAWARE)])
        assert code == scard.SCARD_S_SUCCESS, hex(code & 0xFFFFFFFF)
        return int(readers[0][1])
    finally:
        scard.SCardReleaseContext(context)


def opensc(*words: str) -> str:
    """What opensc-tool prints; it must succeed."""
    require_opensc()
    ran = subprocess.run(
        [program("opensc-tool"), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def sent_by_opensc(*commands: str) -> list[bytes]:
    """Answers that opensc-tool got, read from what it prints."""
    words = itertools.chain.from_iterable(("--send-apdu", command) for command in commands)
    printed = opensc("--reader", "0", "--card-driver", "default", *words)
    answers = []
    for sw1, sw2, dump in RESPONSE.findall(printed):
        lines = dump.splitlines()
        # Three characters a byte, then one a byte as text; less than 16 bytes in all are not filled up to 16.
        width = 48 if len(lines) > 1 else len(dump.rstrip("\n")) * 3 // 4
        answers.append(bytes.fromhex("".join(line[:width] for line in lines) + sw1 + sw2))
    assert len(answers) == len(commands), printed
    return answers


class Keywright:
    """Our program, called in this process; without a terminal, and with no input."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object, code: int = 0) -> str:
        """What it prints; it must end with this code."""
        self._capsys.readouterr()
        ended = main([str(word) for word in words])
        out, err = self._capsys.readouterr()
        assert ended == code, err
        return err if code else out

    def json(self, *words: object) -> Any:
        """What it prints with --json."""
        return json.loads(self(*words, "--json"))


@pytest.fixture
def keywright(capsys: pytest.CaptureFixture[str]) -> Keywright:
    return Keywright(capsys)


def started(*words: object) -> Any:
    """What our program prints with --json when it is started as a user does."""
    ran = subprocess.run(
        [sys.executable, "-m", "keywright", *map(str, words), "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
        env=environment(),
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def versions(link: PcscLink) -> tuple[int, ...]:
    """Key versions that the card lists, after a SELECT, for whoever had the card before may have left a session."""
    information = drive(host.identify(), transmit(link)).keys
    assert information is not None
    return information.versions


def session(link: PcscLink, keys: KeySet | None = None, kvn: int = TEST_KVN) -> HostChannel:
    return drive(open_channel(keys or KeySet.gp_test(), os.urandom(8), kvn=kvn, aid=ISD), transmit(link))


def read_in(channel: HostChannel, link: PcscLink, tag: int) -> bytes | None:
    return drive(host.secured(channel, host.get_value(tag)), transmit(link))


# ---- foreign hosts


def test_opensc_sees_the_reader_and_the_card(insert: Insert) -> None:
    card = element()
    insert(card)
    assert re.findall(r"^(\d) +(\S+) +(Virtual PCD .*)$", opensc("--list-readers"), re.MULTILINE)[0] == (
        "0",
        "Yes",
        READER,
    )
    assert opensc("--reader", "0", "--atr").strip() == card.atr.hex(":")


def test_opensc_reads_what_our_host_reads(insert: Insert) -> None:
    card = element(kvn=OWN_KVN, cin=b"CIN 1")
    insert(card)
    commands = ["00A4040000", "80CA9F7F00", "80CA006600", "80CA00E000", "80CA004500", "80CA123400", "80F2800200"]
    by_opensc = sent_by_opensc(*commands)
    with closing(PcscLink(READER)) as link:
        assert by_opensc == [link.exchange(bytes.fromhex(command)) for command in commands]
    assert unwrapped(Tag.CIN, by_opensc[4][:-2]) == b"CIN 1"
    assert [answer[-2:].hex() for answer in by_opensc] == ["9000"] * 5 + ["6a88", "6982"]


class YubikitWire(SmartCardConnection):  # type: ignore[misc] # untyped base class
    """yubikit's APDUs over a PC/SC link."""

    transport = TRANSPORT.USB

    def __init__(self, link: PcscLink) -> None:
        self.link = link

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        answer = self.link.exchange(bytes(apdu))
        return answer[:-2], int.from_bytes(answer[-2:])

    def close(self) -> None:
        """The link is closed by whoever opened it."""


def static(keys: KeySet) -> StaticKeys:
    return StaticKeys(keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal())


def test_yubikit_provisions_a_card_in_a_reader(insert: Insert) -> None:
    insert(element())
    value = os.urandom(1500)
    with closing(PcscLink(READER)) as link:
        foreign = SecurityDomainSession(YubikitWire(link))
        foreign.authenticate(Scp03KeyParams())
        foreign.put_key(KeyRef(ScpKid.SCP03, OWN_KVN), static(OWN))
        foreign.store_data(item(OBJECT, value))
        assert foreign.get_data(OBJECT) == value
    with closing(PcscLink(READER)) as link:
        assert versions(link) == (OWN_KVN,)
        assert read_in(session(link, OWN, OWN_KVN), link, OBJECT) == value


# ---- our program


def test_card_info_tells_the_same_over_pcsc_as_in_process(insert: Insert, keywright: Keywright, tmp_path: Path) -> None:
    memory = tmp_path / "element"
    SecureElement(path=memory, kvn=0x31, kdd=os.urandom(10)).close()
    simulated = f"sim:element?memory={memory}"
    expected = keywright.json("card", "info", "--link", simulated)
    with closing(open_link(simulated)) as link:
        insert(link.element)  # type: ignore[attr-defined] # the simulated link's own
        trace = tmp_path / "trace"
        told = started("card", "info", "--link", LINK, "--trace", trace)
        probed = keywright.json("card", "keys", "--link", LINK)
        listed = keywright.json("card", "list", "--link", LINK, "--keys", "gp-test")
    assert told == expected | {"link": LINK}
    assert [(one["kvn"], one["gp_test"]) for one in probed["key_sets"]] == [("31", True)]
    assert [one["aid"] for one in listed["issuer_domain"]] == [ISD.hex().upper()]
    assert trace.stat().st_mode & 0o777 == 0o600
    assert "SELECT" in keywright("replay", trace)


def test_a_list_of_a_real_card_asks_for_its_keys(insert: Insert, keywright: Keywright) -> None:
    card = element()
    insert(card)
    assert "--keys" in keywright("card", "list", "--link", LINK, code=2)
    assert card.attempts == 0


def test_a_campaign_takes_over_a_card_in_a_reader(place: Path, keywright: Keywright, tmp_path: Path) -> None:
    """The proof that one code drives simulated and real cards; the card is `keywright element serve`."""
    require_pyscard()
    memory, order, keystore = tmp_path / "element", tmp_path / "order.csv", tmp_path / "keystore"
    order.write_text("serial,model,owner_group\nCARD-1,card,bench\n")
    kept = ("--store", tmp_path / "cards.db", "--keystore", keystore, "--link", LINK)
    lot = (CARD_TOML, "--order", order, *kept)
    kdd = os.urandom(10)
    SecureElement(path=memory, kdd=kdd).close()
    keywright("keystore", "new", keystore)
    with served_to_a_driver_that_dials(memory, place):
        checked = keywright.json("campaign", "run", *lot, "--check")
        assert [(one["serial"], one["problem"]) for one in checked] == [("CARD-1", "")]
        assert "--yes" in keywright("campaign", "run", *lot, code=5)
        assert not (tmp_path / "cards.db").exists()
        with closing(PcscLink(READER)) as link:
            assert versions(link) == (TEST_KVN,)
        done = started("campaign", "run", *lot, "--yes")
        assert [done[name] for name in ("ordered", "sealed", "quarantined", "open")] == [1, 1, 0, 0]
        keywright("campaign", "run", *lot, "--yes")
        verified = keywright.json("campaign", "verify", *kept)
        assert [verified[name] for name in ("checked", "agree", "disagree")] == [1, 1, 0]
        keys = sent_by_opensc("00A4040000", "80CA00E000")[1]
        assert KeyInformation.parse(unwrapped(Tag.KEY_INFORMATION, keys[:-2])).versions == (OWN_KVN,)
        context = card_context(kdd + b"CARD-1", b"card", OWN_KVN)
        derived = open_keystore(str(keystore)).derive_key_set("issuer", "sp800-108", context, 16)
        with closing(PcscLink(READER)) as link:
            drive(host.select(), transmit(link))
            with pytest.raises(StatusError, match="6A88"):
                session(link)
            with pytest.raises(CardCryptogramError):
                session(link, kvn=OWN_KVN)
            foreign = SecurityDomainSession(YubikitWire(link))
            foreign.authenticate(Scp03KeyParams(KeyRef(ScpKid.SCP03, OWN_KVN), static(derived)))
            assert {key.kvn for key in foreign.get_key_information()} == {OWN_KVN}
    with SecureElement(path=memory) as card:
        assert card.attempts == 4, "the factory session, the proof, verify, and Yubico's"


class served_to_a_driver_that_dials(ExitStack):  # noqa: N801 - used like a function
    """`keywright element serve --link vpcd:…` and a daemon whose driver dials it; the daemon ends first."""

    def __init__(self, memory: Path, place: Path) -> None:
        super().__init__()
        card = served("--link", "vpcd:127.0.0.1:0", "--memory", memory)
        self.callback(card.take_out)
        port = int(card.ready["ready"].rpartition(":")[2])
        self.enter_context(daemon(place, f"127.0.0.1:0x{port:X}"))


# ---- names of readers


def test_readers_are_named_in_full_in_part_or_by_number(insert: Insert) -> None:
    card = element()
    insert(card)
    assert list_readers() == [READER, EMPTY_READER]
    for uri in (LINK, "pcsc:pcd 00 00", "pcsc:0"):
        with closing(open_link(uri)) as link:
            assert (link.name, link.atr, link.extended) == (LINK, card.atr, True)
    for uri, error, told in (
        ("pcsc:", UsageError, f"{READER}, {EMPTY_READER}"),
        ("pcsc:PCD", LinkError, "several readers match"),
        ("pcsc:Omnikey", LinkError, f"no such reader; there are: {READER}"),
        ("pcsc:2", UsageError, "only 2 readers"),
    ):
        with pytest.raises(error, match=told):
            open_link(uri)


def test_the_empty_slot_has_a_card_that_nobody_can_connect_to(insert: Insert) -> None:
    insert(element())
    with pytest.raises(LinkError, match="no protocol in common") as caught:
        PcscLink(EMPTY_READER)
    assert caught.value.delivered is False


def test_without_a_daemon_the_link_says_to_start_it(place: Path) -> None:
    require_pyscard()
    with pytest.raises(LinkError, match="does not run") as caught:
        PcscLink(READER)
    assert (caught.value.delivered, caught.value.hint) == (False, "start pcscd")


# ---- sharing


def test_a_card_that_is_held_is_refused_to_others_until_it_is_let_go(insert: Insert, keywright: Keywright) -> None:
    insert(element())
    with closing(PcscLink(READER)) as link:
        channel = session(link)
        with pytest.raises(LinkError, match="another program uses the card") as caught:
            PcscLink(READER)
        assert caught.value.delivered is False
        assert "another program uses the card" in keywright("card", "info", "--link", LINK, code=4)
        assert read_in(channel, link, Tag.SECURITY_LEVEL) == b"\xb3"
    with closing(PcscLink(READER)) as link:
        assert versions(link) == (TEST_KVN,)


def test_the_reset_of_another_program_waits_for_the_transaction_and_then_ends_the_session(insert: Insert) -> None:
    from smartcard import scard

    insert(element())
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    shared = (scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1)
    code, other, _ = scard.SCardConnect(context, READER, *shared)
    assert code == scard.SCARD_S_SUCCESS
    codes: list[int] = []

    def reset() -> None:
        codes.append(scard.SCardReconnect(other, *shared, scard.SCARD_RESET_CARD)[0])

    link = PcscLink(READER, mode="transaction")
    resetting = threading.Thread(target=reset)
    try:
        channel = session(link)
        resetting.start()
        for _ in range(20):
            assert read_in(channel, link, Tag.SECURITY_LEVEL) == b"\xb3"
        assert not codes
    finally:
        link.close()
        resetting.join(PATIENCE_S)
        scard.SCardDisconnect(other, scard.SCARD_LEAVE_CARD)
        scard.SCardReleaseContext(context)
    assert codes == [scard.SCARD_S_SUCCESS]
    with closing(PcscLink(READER, mode="transaction")) as link:
        with pytest.raises(StatusError, match="6982"):
            read_in(channel, link, Tag.SECURITY_LEVEL)
        session(link)


def test_our_own_reset_ends_the_session_and_nothing_else(insert: Insert) -> None:
    card = element()
    insert(card)
    with closing(PcscLink(READER)) as link:
        channel = session(link)
        assert link.reset() == card.atr
        with pytest.raises(StatusError, match="6982"):
            read_in(channel, link, Tag.SECURITY_LEVEL)
        assert read_in(session(link), link, Tag.SECURITY_LEVEL) == b"\xb3"
    assert card.attempts == 2


# ---- what a reader passes on


class Scripted:
    """Answers by instruction: 01 what it was sent, 02 as many bytes as P1 P2 say, 03 one byte, 04 nothing."""

    atr = bytes.fromhex("3B80800101")

    def __init__(self) -> None:
        self.seen: list[int] = []

    def handle(self, request: bytes, /) -> bytes:
        """The answer that the instruction asks for."""
        self.seen.append(len(request))
        match request[1]:
            case 0x02:
                return bytes(int.from_bytes(request[2:4])) + b"\x90\x00"
            case 0x03:
                return b"\x90"
            case 0x04:
                return b""
        return request + b"\x90\x00"

    def reset(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("size", [4, 5, 6, 255, 256, 261, 262, 32767, 32768, 65533])
def test_a_command_and_an_answer_of_any_size_pass_unchanged(insert: Insert, size: int) -> None:
    insert(Scripted())
    command = bytes((0x00, 0x01)) + os.urandom(size - 2)
    with closing(PcscLink(READER)) as link:
        assert link.exchange(command) == command + b"\x90\x00"


def test_the_longest_command_and_the_longest_answer_pass(insert: Insert) -> None:
    card = Scripted()
    insert(card)
    with closing(PcscLink(READER)) as link:
        assert link.exchange(bytes((0x00, 0x02, 0x00, 0x10)) + bytes(0xFFFF - 4)) == bytes(16) + b"\x90\x00"
        assert link.exchange(bytes((0x00, 0x02, 0xFF, 0xFD))) == bytes(0xFFFD) + b"\x90\x00"
        assert link.exchange(bytes((0x00, 0x02, 0xFF, 0xFE))) == b"\x67\x00"
    assert card.seen == [0xFFFF, 4, 4]


def test_an_answer_of_one_byte_is_no_answer_and_none_at_all_does_not_hang_the_driver(insert: Insert) -> None:
    insert(Scripted())
    with closing(PcscLink(READER)) as link:
        with pytest.raises(LinkError) as caught:
            link.exchange(bytes((0x00, 0x03, 0x00, 0x00)))
        assert caught.value.delivered is None
        link.reset()
        assert link.exchange(bytes((0x00, 0x04, 0x00, 0x00))) == b"\x6f\x00"


def test_61xx_and_6cxx_come_through_and_our_host_follows_them(insert: Insert) -> None:
    insert(element(atr=SPEAKS_T0_ALONE))
    with closing(PcscLink(READER)) as link:
        assert (link.atr, link.protocol, link.extended) == (SPEAKS_T0_ALONE, 1, False)
        assert link.exchange(bytes.fromhex("80CA006600")).hex() == "6c33"
        assert link.exchange(bytes.fromhex("80CA006633"))[-2:].hex() == "9000"
        waiting = link.exchange(bytes.fromhex("00A4040008A00000015100000000"))
        assert waiting.hex() == "6113"
        assert link.exchange(bytes.fromhex("00C0000013"))[-2:].hex() == "9000"
        channel = session(link)
        drive(host.secured(channel, host.put_keys(KeySet.gp_test(), OWN, kvn=OWN_KVN)), transmit(link))
        assert versions(link) == (OWN_KVN,)
        assert read_in(session(link, OWN, OWN_KVN), link, Tag.SECURITY_LEVEL) == b"\xb3"


def test_long_protected_commands_and_answers_pass_as_extended_apdus(insert: Insert) -> None:
    insert(element())
    value = os.urandom(1900)
    with closing(PcscLink(READER)) as link:
        channel = session(link)
        store = Command(0x80, 0xE2, StoreData.BER_TLV | StoreData.LAST, 0, item(OBJECT, value), None, extended=True)
        read = Command(0x80, 0xCA, OBJECT >> 8, OBJECT & 0xFF, b"", 0, extended=True)
        answers = drive(host.secured(channel, both(store, read)), transmit(link))
    assert [answer.sw for answer in answers] == [0x9000, 0x9000]
    assert answers[1].data == item(OBJECT, value)


def both(first: Command, second: Command) -> host.Dialogue[tuple[Response, Response]]:
    one = yield first
    other = yield second
    return one, other


def test_a_thousand_exchanges_lose_and_swap_nothing(insert: Insert) -> None:
    card = Scripted()
    insert(card)
    with closing(PcscLink(READER)) as link:
        for n in range(1000):
            command = bytes((0x00, 0x01)) + n.to_bytes(2)
            assert link.exchange(command) == command + b"\x90\x00"
    assert card.seen == [4] * 1000


# ---- the daemon ends


class Slow(Scripted):
    """Has every command executed, and answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.has_it = threading.Event()
        self.may_answer = threading.Event()

    def handle(self, request: bytes, /) -> bytes:
        """The request, late."""
        self.has_it.set()
        assert self.may_answer.wait(PATIENCE_S)
        return super().handle(request)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_daemon_that_ends_with_a_command_at_the_card_leaves_it_uncertain(insert: Insert, number: int) -> None:
    card = Slow()
    started = insert(card)

    def end() -> None:
        assert card.has_it.wait(PATIENCE_S)
        started.end(number)
        card.may_answer.set()

    ending = threading.Thread(target=end)
    ending.start()
    with closing(PcscLink(READER)) as link:
        with pytest.raises(LinkError, match="service was lost") as caught:
            link.exchange(bytes((0x00, 0x01, 0x00, 0x00)))
        assert caught.value.delivered is None
        ending.join(PATIENCE_S)
        eventually("the card has executed it", lambda: card.seen == [4])
        with pytest.raises(LinkError, match="service does not run") as caught:
            link.exchange(bytes((0x00, 0x01, 0x00, 0x00)))
        assert caught.value.delivered is False
        with pytest.raises(LinkError, match="service does not run"):
            link.reset()
    assert card.seen == [4]


# ---- cards that come and go


def test_a_card_taken_out_ends_the_session_and_the_next_one_is_found_by_a_reset(serve: Serve, tmp_path: Path) -> None:
    memory = tmp_path / "element"
    card = serve("--memory", memory)
    with closing(PcscLink(READER)) as link:
        channel = session(link)
        card.take_out()
        with pytest.raises(LinkError, match="8010") as caught:
            read_in(channel, link, Tag.SECURITY_LEVEL)
        assert caught.value.delivered is None
        assert not channel.is_open
        eventually("the reader is empty", lambda: not is_there())
        with pytest.raises(LinkError, match="no card in the reader") as caught:
            link.reset()
        assert caught.value.delivered is False
        serve("--memory", memory)
        assert link.reset() == bytes(link.atr)
        assert read_in(session(link), link, Tag.SEQUENCE_COUNTER) == bytes((0, 0, 2))


def test_another_card_in_the_reader_is_another_card(serve: Serve, keywright: Keywright, tmp_path: Path) -> None:
    told: list[int] = []
    for name in ("10", "11"):
        memory = tmp_path / name
        SecureElement(path=memory, kvn=int(name, 16)).close()
        card = serve("--memory", memory)
        with closing(PcscLink(READER)) as link:
            told += versions(link)
        card.take_out()
        eventually("the reader is empty", lambda: not is_there())
    assert told == [0x10, 0x11]
    assert "no card in the reader" in keywright("card", "info", "--link", LINK, code=4)


def test_a_card_lost_in_put_key_is_found_in_the_new_state_by_a_probe(
    listening: Daemon, serve: Serve, tmp_path: Path
) -> None:
    memory = tmp_path / "element"
    card = Card([*listening.beside(), sys.executable, "-c", DIES_IN_PUT_KEY, str(memory), str(LISTENING_PORT)])
    eventually("the card is in the reader", is_there)
    with closing(PcscLink(READER)) as link:
        channel = session(link)
        with pytest.raises(LinkError) as caught:
            drive(host.secured(channel, host.put_keys(KeySet.gp_test(), OWN, kvn=OWN_KVN)), transmit(link))
        assert caught.value.delivered is None
        eventually("the card has ended", lambda: card.gone)
        eventually("the reader is empty", lambda: not is_there())
        serve("--memory", memory)
        link.reset()
        assert versions(link) == (OWN_KVN,)
        session(link, OWN, OWN_KVN)
    card.take_out()


DIES_IN_PUT_KEY = """
import os, sys
from keywright.crypto.diversification import card_context
from keywright.element import SecureElement
from keywright.link import VpcdServer

class Dying:
    def __init__(self, element):
        self.element, self.atr, self.reset = element, element.atr, element.reset

    def handle(self, request):
        answer = self.element.handle(request)
        if request[1] == 0xD8:
            assert answer[-2:] == b"\\x90\\x00"
            os._exit(9)
        return answer

element = SecureElement(path=sys.argv[1])
print('{"ready": ""}', flush=True)
VpcdServer(Dying(element)).connect(port=int(sys.argv[2]))
"""


def test_a_command_that_is_too_long_for_the_driver_fails_and_leaves_the_daemon_running(
    listening: Daemon, serve: Serve
) -> None:
    serve()
    with closing(PcscLink(READER)) as link, pytest.raises(LinkError):
        link.exchange(bytes((0x00, 0xCA, 0x00, 0x66)) + bytes(0x10000 - 4))
    assert listening.runs
