"""The same code over real PC/SC: pcscd and Debian's virtual reader between our element and hosts, ours and foreign.

`opensc-tool` and Yubico's library are foreign hosts; the card is `keywright element serve` or a device of this process.
The driver dials the card (both slots) or, where cards come and go, listens in a network of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid
from yubikit.securitydomain import SecurityDomainSession

from interop.pcscd import (
    EMPTY_READER,
    LINK,
    PATIENCE_S,
    READER,
    Insert,
    Keywright,
    daemon,
    program,
    read_in,
    require_opensc,
    require_pyscard,
    served,
    session,
    versions,
)
from interop.yubico import OBJECT, OWN_KVN, TEST_KVN, Wire, static
from keywright.codec.tlv import item
from keywright.crypto.aes import AesKey
from keywright.crypto.diversification import card_context, derive_key_set
from keywright.element import SecureElement
from keywright.errors import LinkError, StatusError, UsageError
from keywright.fob.open import open_link
from keywright.globalplatform import host
from keywright.globalplatform.messages import KeyInformation, Tag, unwrapped
from keywright.iso7816.layers import transmit
from keywright.link import PcscLink, list_readers
from keywright.production.keystores import sealed
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.host import CardCryptogramError
from keywright.scp.scp03.keys import KeySet
from support.cards import ISD, OWN, element
from support.commands import environment

CARD_TOML = Path(__file__).parents[2] / "examples" / "card.toml"
RESPONSE = re.compile(r"Received \(SW1=0x(..), SW2=0x(..)\)(?::\n((?:(?:[0-9A-F]{2} )+.*\n?)*))?")


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


def test_yubikit_provisions_a_card_in_a_reader(insert: Insert) -> None:
    insert(element())
    value = os.urandom(1500)
    with closing(PcscLink(READER)) as link:
        foreign = SecurityDomainSession(Wire(link.exchange))
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
        assert [(one["serial"], one["problem"]) for one in checked["units"]] == [("CARD-1", "")]
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
        derived = KeySet.of(*derive_key_set(AesKey(master(keystore)), "sp800-108", context, key_bytes=16))
        with closing(PcscLink(READER)) as link:
            drive(host.select(), transmit(link))
            with pytest.raises(StatusError, match="6A88"):
                session(link)
            with pytest.raises(CardCryptogramError):
                session(link, kvn=OWN_KVN)
            foreign = SecurityDomainSession(Wire(link.exchange))
            foreign.authenticate(Scp03KeyParams(KeyRef(ScpKid.SCP03, OWN_KVN), static(derived)))
            assert {key.kvn for key in foreign.get_key_information()} == {OWN_KVN}
    with SecureElement(path=memory) as card:
        assert card.attempts == 4, "the factory session, the proof, verify, and Yubico's"


def master(keystore: Path) -> bytes:
    """The issuer master, from the sealed file: an open keystore does not give it away."""
    unlock = keystore.with_name(f"{keystore.name}.unlock").read_bytes().strip()
    _, content = sealed.SealedFile.open(keystore, lambda: unlock)
    return next(entry.secret for entry in content.entries if entry.name == "issuer")


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
    from smartcard import scard  # pyright: ignore[reportMissingImports] - an optional extra

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
