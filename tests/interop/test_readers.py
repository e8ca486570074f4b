"""Readers as a user has them, on a real PC/SC daemon: listed, watched, shared, two at once; foreign programs and a
foreign card (Debian's `pcsc_scan` and `vicc`) in place of ours.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from interop.pcscd import (
    LISTENING_PORT,
    PATIENCE_S,
    READER,
    Daemon,
    Insert,
    Keywright,
    Serve,
    eventually,
    in_reader,
    is_there,
    program,
    require_pyscard,
    session,
)
from interop.yubico import TEST_KVN
from keywright.errors import LinkError
from keywright.fob.open import open_link
from keywright.globalplatform import host
from keywright.globalplatform.messages import Tag
from keywright.iso7816 import atr as answer_to_reset
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import transmit
from keywright.link import PcscLink
from keywright.link.pcsc_readers import ReaderState, reader_states, wait_for_card, wait_for_removal, watch_readers
from keywright.sansio import Device
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, open_channel
from support.cards import element
from support.commands import environment
from support.echo import Echo
from support.peers import require_peer
from support.serving import running

SECOND = "Virtual PCD 00 01"
SESSIONS = 12
VICC = """
import runpy, sys
import Cryptodome, Cryptodome.Cipher, Cryptodome.Hash
sys.modules |= {"Crypto": Cryptodome, "Crypto.Cipher": Cryptodome.Cipher, "Crypto.Hash": Cryptodome.Hash}
sys.path.insert(0, "/usr/lib/python3/site-packages/virtualsmartcard")
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Debian 12 puts the package of `vicc` where its Python does not look, and has PyCrypto under another name."""
DEBIAN_PYTHON = "/usr/bin/python3"
PING = b"\x00\xa4\x04\x00"

Both = Callable[[Device, Device], Daemon]


@pytest.fixture
def both(place: Path) -> Iterator[Both]:
    """Put two devices of this process into the two readers."""
    require_pyscard()
    with ExitStack() as stack:
        yield lambda first, second: stack.enter_context(in_reader(first, place, second))


# ---- what is there ----------------------------------------------------------------------------------------------


def test_readers_and_cards_are_listed(both: Both, keywright: Keywright) -> None:
    both(element(), Echo())
    found = keywright.json("reader", "list")["readers"]
    assert [(one["reader"], one["present"]) for one in found] == [(READER, True), (SECOND, True)]
    assert [one["atr"] for one in found] == [element().atr.hex().upper(), Echo().atr.hex().upper()]
    shown = keywright("reader", "list")
    assert READER in shown
    assert element().atr.hex().upper() in shown


def test_pcsc_scan_sees_what_we_list(both: Both) -> None:
    require_peer("pcsc_scan", bool(program("pcsc_scan")), "apt-get install pcsc-tools")
    both(element(), element())
    listed = subprocess.run(
        [program("pcsc_scan"), "-r"], capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False
    ).stdout
    assert [state.name in listed for state in reader_states()] == [True, True]
    cards = subprocess.run(
        [program("pcsc_scan"), "-c"], capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False
    ).stdout
    assert cards.replace(" ", "").count(element().atr.hex().upper()) == 2


def test_a_card_that_is_used_is_told_so(both: Both) -> None:
    both(element(), element())
    with closing(PcscLink(READER)), closing(PcscLink(SECOND, mode="shared")):
        assert [state.what for state in reader_states()] == ["card, taken by another program", "card, in use"]


def test_coming_and_going_is_watched(serve: Serve, listening: Daemon) -> None:
    assert not is_there()
    seen: list[ReaderState] = []
    ended = threading.Event()

    def watch() -> None:
        for state in watch_readers():
            seen.append(state)
            if ended.is_set():
                return

    def was(*states: bool) -> bool:
        return [state.present for state in seen if state.name == READER and not state.in_use][-len(states) :] == [
            *states
        ]

    with running(watch, ended.set):
        eventually("the empty reader is seen", lambda: was(False))
        card = serve()
        eventually("the card is seen", lambda: was(True))
        assert wait_for_card(READER, PATIENCE_S).atr
        ended.set()
        card.take_out()
        wait_for_removal(READER, PATIENCE_S)
    assert listening.runs


def test_waiting_for_a_card_ends_in_time(listening: Daemon) -> None:
    assert listening.runs
    with pytest.raises(LinkError, match="no card came in 0 s"):
        open_link(f"pcsc:{READER}?wait=0")


# ---- sharing and protocols --------------------------------------------------------------------------------------


def test_two_programs_share_a_card_when_both_ask_so(insert: Insert) -> None:
    insert(Echo())
    with closing(open_link("pcsc:0?mode=shared")) as one, closing(open_link("pcsc:0?mode=shared")) as other:
        assert one.exchange(PING) == other.exchange(PING) == PING + b"\x90\x00"
        with pytest.raises(LinkError, match="another program"):
            open_link("pcsc:0")


@pytest.mark.parametrize(
    ("atr", "protocol", "extended"),
    [("3B00", "t0", False), ("3B808131FE458B", "t1", True), ("3B80800101", "any", True), ("3B80800101", "t0", False)],
)
def test_the_protocol_is_chosen_and_fixes_the_length(
    insert: Insert, atr: str, protocol: str, *, extended: bool
) -> None:
    insert(element(atr=bytes.fromhex(atr)))
    with closing(open_link(f"pcsc:0?protocol={protocol}")) as link:
        assert link.extended == extended
        drive(host.select(), transmit(link))
        channel = drive(open_channel(KeySet.gp_test(), os.urandom(8), kvn=TEST_KVN), transmit(link))
        assert drive(host.secured(channel, host.get_value(Tag.CPLC)), transmit(link))


def test_a_protocol_that_the_card_has_not_is_refused_by_name(insert: Insert) -> None:
    insert(element(atr=answer_to_reset.build(b"", (0,))))
    with pytest.raises(LinkError, match="no protocol in common"):
        open_link("pcsc:0?protocol=t1")


@pytest.mark.usefixtures("listening")
def test_a_reader_is_asked_without_a_card_in_it(keywright: Keywright) -> None:
    assert keywright.json("reader", "features", READER)["features"] == {}
    assert "takes no escape commands" in keywright("reader", "escape", READER, "E0000000", "--yes", code=4)


def test_a_reader_without_escape_says_so(insert: Insert, keywright: Keywright) -> None:
    insert(element())
    assert keywright.json("reader", "features", READER)["features"] == {}
    assert "takes no escape commands" in keywright("reader", "escape", READER, "E0000000", "--yes", code=4)
    assert "needs a confirmation" in keywright("reader", "escape", READER, "E0000000", code=5)


# ---- two readers at once ----------------------------------------------------------------------------------------


def test_two_readers_are_served_at_once_and_nothing_is_swapped(both: Both) -> None:
    first, second = element(cin=b"\x01" * 8), element(cin=b"\x02" * 8)
    both(first, second)

    def provision(reader: str, mark: bytes) -> int:
        with closing(PcscLink(reader)) as link:
            for _ in range(SESSIONS):
                drive(host.select(), transmit(link))
                channel = session(link)
                assert drive(host.secured(channel, host.get_value(Tag.CIN)), transmit(link)) == mark * 8
        return SESSIONS

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(provision, READER, b"\x01"), pool.submit(provision, SECOND, b"\x02")]
        assert [one.result(PATIENCE_S) for one in done] == [SESSIONS, SESSIONS]
    assert (first.attempts, second.attempts) == (SESSIONS, SESSIONS)


# ---- a foreign card ---------------------------------------------------------------------------------------------


def test_our_host_reads_a_foreign_card(listening: Daemon, keywright: Keywright) -> None:
    require_peer("vicc", bool(program("vicc")), "apt-get install vsmartcard-vpicc python3-pycryptodome")
    vicc = [DEBIAN_PYTHON, "-c", VICC, program("vicc"), "-t", "iso7816", "-H", "127.0.0.1", "-P", str(LISTENING_PORT)]
    card = subprocess.Popen(
        [*listening.beside(), *vicc], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually("the foreign card is in the reader", is_there)
        with closing(open_link("pcsc:0")) as link:
            answer = transmit(link)(Command(0x00, 0xA4, 0x00, 0x0C, b"\x3f\x00"))
            assert answer.sw == 0x9000
            challenge = transmit(link)(Command(0x00, 0x84, 0x00, 0x00, b"", 8))
            assert (len(challenge.data), challenge.sw) == (8, 0x9000)
        assert "SELECT" in keywright("card", "info", "--link", "pcsc:0", code=6)
    finally:
        card.terminate()
        card.communicate(timeout=PATIENCE_S)
