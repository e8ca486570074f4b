"""What a real reader passes on, and what happens when the daemon, the card or a program behind it comes to its end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from interop.pcscd import (
    LISTENING_PORT,
    PATIENCE_S,
    READER,
    Card,
    Daemon,
    Insert,
    Serve,
    eventually,
    is_there,
    read_in,
    session,
    versions,
)
from interop.yubico import OBJECT, OWN_KVN
from keywright.codec.tlv import item
from keywright.element import SecureElement
from keywright.errors import LinkError
from keywright.globalplatform import host
from keywright.globalplatform.messages import StoreData, Tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import PcscLink
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet
from support.cards import OWN, element

SPEAKS_T0_ALONE = bytes.fromhex("3B00")


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


def test_another_card_in_the_reader_is_another_card(serve: Serve, tmp_path: Path) -> None:
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
    with pytest.raises(LinkError, match="no card in the reader") as caught:
        PcscLink(READER)
    assert caught.value.delivered is False


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
