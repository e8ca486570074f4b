"""What the card end of SCP02 refuses, what it counts, and what it does not tell."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import msgspec
import pytest

from keywright.crypto.des import TripleDesKey
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.sansio.dialogue import drive
from keywright.scp.scp02 import keys
from keywright.scp.scp02.card import CardChannel
from keywright.scp.scp02.host import external_authenticate, initialize_update, open_implicit
from keywright.scp.scp02.keys import KeySet
from keywright.scp.scp02.messaging import HostChannel
from keywright.scp.scp02.profile import DEFAULT, Profile

KEYS = KeySet.gp_test()
AID = bytes.fromhex("A000000151000000")
PLAIN = Command(0x80, 0xE2, 0, 0, b"data", 0)


def refused(sw: int) -> AbstractContextManager[object]:
    return pytest.raises(Refusal, match=f"^{sw:04X}$")


def challenged(i: int = 0x15, profile: Profile = DEFAULT) -> tuple[CardChannel, HostChannel, Command]:
    """Card, host, and the right EXTERNAL AUTHENTICATE at level 03 (13 with R-MAC)."""
    card = CardChannel.explicit(KEYS, i, bytes(8), 5, aid=AID, card_challenge=b"random", profile=profile)
    answer = Response(card.initialize_update(bytes(10), 0x20))
    opening = drive(initialize_update(KEYS, bytes(8), i=i, aid=AID, allow_legacy=True), lambda _: answer)
    sent: list[Command] = []

    def keep(command: Command) -> Response:
        sent.append(command)
        return Response(b"")

    host = drive(external_authenticate(opening, 0x13 if i & 0x20 else 0x03), keep)
    return card, host, sent[0]


def opened(i: int = 0x15, profile: Profile = DEFAULT) -> tuple[CardChannel, HostChannel]:
    card, host, command = challenged(i, profile)
    card.external_authenticate(command)
    return card, host


def changed(command: Command, **fields: object) -> Command:
    return msgspec.structs.replace(command, **fields)


def test_external_authenticate_opens_the_session_and_moves_the_counter() -> None:
    card, _, command = challenged()
    assert (card.level, card.authentication, card.counter) == (None, 0, 5)
    card.external_authenticate(command)
    assert (card.level, card.authentication, card.counter) == (3, 0x80, 6)


@pytest.mark.parametrize(
    ("change", "sw"),
    [
        ({"p1": 0x33}, 0x6A86),
        ({"p1": 0x10}, 0x6A86),
        ({"p2": 0x01}, 0x6A86),
        ({"data": bytes(15)}, 0x6700),
        ({"data": bytes(17)}, 0x6700),
        ({"data": bytes(16)}, 0x6982),
        ({"p1": 0x01}, 0x6982),
        ({"cla": 0x80}, 0x6982),
        ({"ins": 0x83}, 0x6982),
    ],
)
def test_external_authenticate_is_refused_and_counts_nothing(change: dict[str, object], sw: int) -> None:
    card, _, command = challenged()
    with refused(sw):
        card.external_authenticate(changed(command, **change))
    assert (card.level, card.counter) == (None, 5)


@pytest.mark.parametrize(("counts", "after"), [(False, 5), (True, 6)])
def test_a_wrong_cryptogram_behind_a_right_mac_counts_where_the_profile_says_so(counts: bool, after: int) -> None:  # noqa: FBT001 - a parameter
    card, host, _ = challenged(profile=Profile(count_wrong_cryptogram=counts))
    host._icv = bytes(8)
    with refused(0x6300):
        card.external_authenticate(host.authenticate(Command(0x80, 0x82, 3, 0, bytes(8))))
    assert (card.level, card.counter) == (None, after)


def test_a_session_wants_secure_messaging_exactly_when_its_level_says_so() -> None:
    card, _ = opened()
    with refused(0x6982):
        card.unwrap(PLAIN)
    card, _, _ = challenged()
    for command in (PLAIN, changed(PLAIN, cla=0x84, data=bytes(16))):
        with refused(0x6982):
            card.unwrap(command)


def test_a_command_too_short_for_its_mac_is_refused() -> None:
    for size in range(8):
        card, _ = opened()
        with refused(0x6982):
            card.unwrap(changed(PLAIN, cla=0x84, data=bytes(size)))


def test_wrong_padding_and_wrong_mac_look_alike_and_cost_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every last byte of a forged block: one decryption, one MAC over as many blocks (within one), one answer."""
    work: list[tuple[str, int]] = []
    mac, decrypt = TripleDesKey.retail_mac, TripleDesKey.decrypt_cbc

    def counted_mac(self: TripleDesKey, iv: bytes, blocks: bytes) -> bytes:
        work.append(("mac", len(blocks)))
        return mac(self, iv, blocks)

    def counted_decrypt(self: TripleDesKey, iv: bytes, data: bytes) -> bytes:
        work.append(("decrypt", len(data)))
        return decrypt(self, iv, data)

    card, host = opened()
    good = host.wrap(changed(PLAIN, data=bytes(range(16))))
    monkeypatch.setattr(TripleDesKey, "retail_mac", counted_mac)
    monkeypatch.setattr(TripleDesKey, "decrypt_cbc", counted_decrypt)
    padded = card._keys.enc
    shapes = set()
    for tail in ("80", "8000", "8000000000000000", "01", "0080FF", "0000000000000000"):
        clear = bytes(16) + bytes.fromhex(tail).rjust(8, b"\x11")
        forged = padded.encrypt_cbc(bytes(8), clear) + good.data[-8:]
        work.clear()
        with refused(0x6982):
            card.unwrap(changed(good, data=forged))
        assert [name for name, _ in work] == ["decrypt", "mac"]
        shapes.add(work[1][1])
    assert max(shapes) - min(shapes) <= 8


def test_padding_that_fills_more_than_a_block_is_refused_whatever_its_mac() -> None:
    card, host = opened()
    clear = b"data\x80".ljust(16, b"\0")
    mac = host._mac(PLAIN)
    with refused(0x6982):
        card.unwrap(changed(PLAIN, cla=0x84, data=card._keys.enc.encrypt_cbc(bytes(8), clear) + mac))
    card, host = opened()
    assert card.unwrap(host.wrap(PLAIN)) == PLAIN


def test_wrong_padding_is_refused_whatever_its_mac() -> None:
    """Even one that is right for the data as they would stand if the last byte alone were padding."""
    card, host = opened()
    clear = bytes(range(1, 17))
    mac = host._mac(changed(PLAIN, data=clear[:-1]))
    with refused(0x6982):
        card.unwrap(changed(PLAIN, cla=0x84, data=card._keys.enc.encrypt_cbc(bytes(8), clear) + mac))
    whole = opened()[1]._mac(changed(PLAIN, data=clear))
    with refused(0x6982):
        card.unwrap(changed(PLAIN, cla=0x84, data=card._keys.enc.encrypt_cbc(bytes(8), clear) + whole))


@pytest.mark.parametrize("size", [1, 7, 9, 15])
def test_a_rest_of_a_block_is_refused(size: int) -> None:
    card, _ = opened()
    with refused(0x6982):
        card.unwrap(changed(PLAIN, cla=0x84, data=bytes(size + 8)))
    with refused(0x6A80):
        card.decrypt_sensitive(bytes(size))


def test_the_counter_stops_and_only_random_challenges_still_open() -> None:
    end = Profile(max_counter=5)
    card, _, command = challenged(profile=end)
    card.external_authenticate(command)
    assert (card.level, card.counter) == (3, 5)
    with refused(0x6985):
        challenged(0x55, end)
    with refused(0x6985):
        CardChannel.implicit(KEYS, 0x1A, 5, aid=AID, profile=end)


def test_a_host_challenge_has_eight_bytes() -> None:
    with refused(0x6A80):
        CardChannel.explicit(KEYS, 0x15, bytes(16), 1, aid=AID, card_challenge=b"random")


def implicit(i: int = 0x3A, counter: int = 5) -> tuple[CardChannel, HostChannel]:
    card = CardChannel.implicit(KEYS, i, counter, aid=AID)
    return card, open_implicit(KEYS, counter, i=i, aid=AID, allow_legacy=True)


def test_an_implicit_session_begins_with_its_first_right_mac_and_counts_then() -> None:
    card, host = implicit()
    assert (card.level, card.authentication) == (None, 0)
    wrapped = host.wrap(PLAIN)
    with refused(0x6982):
        card.unwrap(changed(wrapped, p1=1))
    assert (card.level, card.counter) == (None, 5)
    assert card.unwrap(wrapped) == PLAIN
    assert (card.level, card.authentication, card.counter) == (1, 0x80, 6)


def test_a_plain_command_suspends_an_implicit_session_for_good() -> None:
    card, host = implicit()
    assert not card.is_suspended
    card.unwrap(host.wrap(PLAIN))
    assert not card.is_suspended
    assert card.unwrap(PLAIN) == PLAIN
    assert (card.level, card.authentication, card.counter) == (0, 0x80, 6)
    assert card.is_suspended
    for other in (host, open_implicit(KEYS, 6, i=0x3A, aid=AID, allow_legacy=True)):
        with refused(0x6982):
            card.unwrap(other.wrap(PLAIN))
    assert card.counter == 6


def test_plain_commands_before_an_implicit_session_open_nothing() -> None:
    card, _ = implicit()
    assert card.unwrap(PLAIN) == PLAIN
    assert card.wrap(Response(b"x")) == Response(b"x")
    assert (card.level, card.authentication, card.counter) == (None, 0, 5)


def test_r_macs_cover_plain_commands_of_an_implicit_session_too() -> None:
    card, host = implicit()
    card.unwrap(host.wrap(Command(0x80, 0x7A, 0x10, 0x01)))
    card.begin_r_mac(0x10, b"")
    card.wrap(Response(b""))
    card.unwrap(PLAIN)
    assert (card.level, len(card.wrap(Response(b"answer")).data)) == (0x10, 14)


def test_an_error_leaves_without_data() -> None:
    card, host = opened(0x35)
    card.unwrap(host.wrap(PLAIN))
    answer = card.wrap(Response(b"left over", 0x6A88))
    assert len(answer.data) == 8
    assert host.unwrap(answer) == Response(b"", 0x6A88)


R_MAC_REFUSALS = [
    (0x35, "begin", 0x30, b"", 0x6A86),
    (0x35, "begin", 0x01, b"", 0x6A86),
    (0x35, "begin", 0x10, b"", 0x6985),
    (0x15, "begin", 0x10, b"", 0x6985),
    (0x35, "begin", 0x10, b"\x02x", 0x6A80),
    (0x35, "begin", 0x10, b"\x19" + bytes(25), 0x6A80),
    (0x15, "end", 0x03, b"", 0x6985),
    (0x35, "end", 0x00, b"", 0x6A86),
    (0x35, "end", 0x02, b"", 0x6A86),
]


@pytest.mark.parametrize(("i", "what", "parameter", "data", "sw"), R_MAC_REFUSALS)
def test_an_r_mac_instruction_out_of_place_is_refused(i: int, what: str, parameter: int, data: bytes, sw: int) -> None:
    card, _ = opened(i)
    with refused(sw):
        if what == "begin":
            card.begin_r_mac(parameter, data)
        else:
            card.end_r_mac(parameter)


def test_twenty_four_bytes_begin_an_r_mac_session_and_nobody_begins_one_unauthenticated() -> None:
    card, host, command = challenged(0x35)
    with refused(0x6985):
        card.begin_r_mac(0x10, b"")
    card.external_authenticate(command)
    card.unwrap(host.wrap(Command(0x80, 0x78, 0, 3, le=0)))
    assert len(card.end_r_mac(3)) == 8
    card.wrap(Response(b""))
    card.begin_r_mac(0x00, b"\x18" + bytes(24))


class Ends(NamedTuple):
    """A card in some state, and the host that goes with it."""

    card: CardChannel
    host: HostChannel


def in_state(state: str) -> Ends:
    if state.startswith("implicit"):
        card, host = implicit()
        if state != "implicit, fresh":
            card.unwrap(host.wrap(PLAIN))
        if state == "implicit, suspended":
            card.unwrap(PLAIN)
            host = open_implicit(KEYS, card.counter, i=0x3A, aid=AID, allow_legacy=True)
        return Ends(card, host)
    card, host, command = challenged(0x35 if state == "R-MAC" else 0x15)
    if state in {"open", "R-MAC"}:
        card.external_authenticate(command)
    elif state == "level 00":
        card, host, _ = challenged(0x35)
        host.level, host._icv = 0, bytes(8)
        card.external_authenticate(host.authenticate(Command(0x80, 0x82, 0, 0, host_cryptogram(host))))
    return Ends(card, host)


def host_cryptogram(host: HostChannel) -> bytes:
    return keys.host_cryptogram(host._session.enc, bytes(8), 5, b"random")


EVENTS: dict[str, Callable[[Ends], object]] = {
    "plain": lambda ends: ends.card.unwrap(PLAIN),
    "secured": lambda ends: ends.card.unwrap(ends.host.wrap(PLAIN)),
    "wrong MAC": lambda ends: ends.card.unwrap(changed(PLAIN, cla=0x84, data=bytes(16))),
    "EXTERNAL AUTHENTICATE": lambda ends: ends.card.external_authenticate(Command(0x84, 0x82, 3, 0, bytes(16))),
    "begin": lambda ends: ends.card.begin_r_mac(0x10, b""),
    "end": lambda ends: ends.card.end_r_mac(0x03),
}
STATES: dict[str, dict[str, int]] = {
    "challenged": {"plain": 0x6982, "secured": 0x6982, "wrong MAC": 0x6982, "EXTERNAL AUTHENTICATE": 0x6982},
    "open": {"plain": 0x6982, "secured": 0x9000, "wrong MAC": 0x6982},
    "level 00": {"plain": 0x9000, "wrong MAC": 0x6982, "secured": 0x9000, "begin": 0x9000},
    "R-MAC": {"plain": 0x6982, "secured": 0x9000, "wrong MAC": 0x6982, "end": 0x9000},
    "implicit, fresh": {"plain": 0x9000, "secured": 0x9000, "wrong MAC": 0x6982},
    "implicit, open": {"plain": 0x9000, "secured": 0x9000, "wrong MAC": 0x6982, "begin": 0x9000},
    "implicit, suspended": {"plain": 0x9000, "secured": 0x6982, "wrong MAC": 0x6982, "begin": 0x9000},
}
"""What each state answers; what is not listed is refused with 6985. At level 00 nothing is there to secure."""


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_every_event_in_every_state_has_its_answer(state: str, event: str) -> None:
    ends = in_state(state)
    try:
        EVENTS[event](ends)
    except Refusal as refusal:
        assert refusal.sw == STATES[state].get(event, 0x6985)  # noqa: PT017 - success is checked below
    else:
        assert STATES[state].get(event, 0x6985) == 0x9000
