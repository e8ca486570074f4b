"""What the host end of SCP02 refuses, and what it never sends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.errors import (
    AuthenticationError,
    LinkError,
    PolicyError,
    SequenceError,
    StatusError,
    UsageError,
    WireError,
)
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp import scp03
from keywright.scp.scp02 import CardCryptogramError
from keywright.scp.scp02.card import CardChannel
from keywright.scp.scp02.host import (
    external_authenticate,
    initialize_update,
    open_channel,
    open_implicit,
    read_counter,
    request_challenge,
    verify_card,
)
from keywright.scp.scp02.keys import KeySet, derive_session, response_mac
from keywright.scp.scp02.messages import InitializeUpdateResponse
from keywright.scp.scp02.messaging import HostChannel
from keywright.scp.scp02.profile import Profile

TEST = KeySet.gp_test()
AID = bytes.fromhex("A000000151000000")
Answer = Callable[[Command], Response]


class Sent:
    """A card that keeps what it was sent and answers like `answers`, the last one for ever."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.sent: list[Command] = []

    def __call__(self, command: Command) -> Response:
        self.sent.append(command)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answer(keys: KeySet = TEST, *, i: int = 0x15, aid: bytes = AID) -> Response:
    session = CardChannel.explicit(keys, i, bytes(8), 7, aid=aid, card_challenge=b"random")
    return Response(session.initialize_update(bytes(10), 0x20))


def test_legacy_is_allowed_by_name_or_not_at_all() -> None:
    card = Sent(answer())
    parsed = InitializeUpdateResponse.parse(answer().data)
    for opener in (
        lambda: drive(open_channel(TEST, bytes(8)), card),
        lambda: drive(initialize_update(TEST, bytes(8)), card),
        lambda: drive(request_challenge(bytes(8)), card),
        lambda: verify_card(TEST, bytes(8), parsed),
        lambda: open_implicit(TEST, 1, i=0x1A, aid=AID),
    ):
        with pytest.raises(PolicyError, match="SCP02 is legacy") as refused:
            opener()
        assert "allow legacy protocols explicitly" in refused.value.hint
    assert card.sent == []


def test_a_wrong_card_cryptogram_is_found_before_external_authenticate() -> None:
    card = Sent(answer(KeySet.base(bytes(16))))
    with pytest.raises(CardCryptogramError, match=r"KVN 20, SCP02"):
        drive(open_channel(TEST, bytes(8), allow_legacy=True), card)
    assert [command.ins for command in card.sent] == [0x50]
    assert CardCryptogramError is scp03.CardCryptogramError


def test_every_bit_of_the_answer_that_proves_the_card_matters() -> None:
    good = answer().data
    for bit in range(12 * 8, len(good) * 8):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CardCryptogramError):
            drive(initialize_update(TEST, bytes(8), allow_legacy=True), Sent(Response(bytes(data))))


def test_a_well_known_challenge_is_checked_against_the_application() -> None:
    def opening(aid: bytes | None, i: int = 0x55) -> None:
        drive(initialize_update(TEST, bytes(8), i=i, aid=aid, allow_legacy=True), Sent(answer(i=0x55)))

    opening(AID)
    opening(None)
    opening(b"other", i=0x15)
    with pytest.raises(CardCryptogramError, match="not the pseudo-random one"):
        opening(b"other")


@pytest.mark.parametrize(
    ("response", "error", "text"),
    [
        (Response(b"", 0x6A88), StatusError, "KVN 20"),
        (Response(bytes(27)), WireError, "speaks SCP00"),
        (Response(bytes(11) + b"\x02" + bytes(15)), WireError, "27 bytes that are no SCP02 answer"),
        (Response(bytes(10) + b"\x30\x03\x70" + bytes(16)), WireError, "speaks SCP03"),
        (Response(b""), WireError, "0 bytes that are no SCP02 answer"),
        (Response(bytes(10) + b"\x21\x02" + bytes(16)), WireError, "asked for KVN 20, the card answered for KVN 21"),
    ],
)
def test_an_answer_that_is_none_is_named(response: Response, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        drive(request_challenge(bytes(8), kvn=0x20, allow_legacy=True), Sent(response))


@pytest.mark.parametrize("sw", [0x6300, 0x6982])
def test_a_refused_host_is_told_not_to_try_again(sw: int) -> None:
    with pytest.raises(AuthenticationError, match=f"{sw:04X}") as refused:
        drive(open_channel(TEST, bytes(8), allow_legacy=True), Sent(answer(), Response(b"", sw)))
    assert "do not repeat" in refused.value.hint


def test_another_refusal_of_external_authenticate_is_a_status() -> None:
    with pytest.raises(StatusError, match="6985"):
        drive(open_channel(TEST, bytes(8), allow_legacy=True), Sent(answer(), Response(b"", 0x6985)))


def test_what_i_does_not_fit_is_refused_before_anything_more_is_sent() -> None:
    three = KeySet.of(bytes(16), bytes(range(16)), bytes(16))
    card = Sent(answer())
    with pytest.raises(UsageError, match="i=14 has one base key"):
        drive(open_channel(three, bytes(8), i=0x14, allow_legacy=True), card)
    with pytest.raises(UsageError, match="begins its C-MAC with the AID"):
        drive(open_channel(TEST, bytes(8), i=0x1D, allow_legacy=True), card)
    with pytest.raises(UsageError, match="has no INITIALIZE UPDATE"):
        drive(open_channel(TEST, bytes(8), i=0x1A, allow_legacy=True), card)
    with pytest.raises(UsageError, match="opens with INITIALIZE UPDATE"):
        open_implicit(TEST, 1, i=0x15, aid=AID, allow_legacy=True)
    with pytest.raises(SequenceError, match="7FFF is used up"):
        open_implicit(TEST, 0x7FFF, i=0x1A, aid=AID, profile=Profile(max_counter=0x7FFF), allow_legacy=True)
    assert {command.ins for command in card.sent} == {0x50}


def test_a_level_that_does_not_exist_is_a_mistake_of_the_program() -> None:
    opening = drive(initialize_update(TEST, bytes(8), allow_legacy=True), Sent(answer()))
    with pytest.raises(ValueError, match="33 does not exist"):
        drive(external_authenticate(opening, 0x33), Sent(Response(b"")))
    with pytest.raises(ValueError, match="8 bytes"):
        drive(request_challenge(bytes(16), allow_legacy=True), Sent(answer()))


def opened(i: int = 0x35, level: int = 0x01) -> HostChannel:
    return drive(open_channel(TEST, bytes(8), i=i, level=level, allow_legacy=True), Sent(answer(), Response(b"")))


@pytest.mark.parametrize(("level", "most"), [(0x00, 255), (0x01, 247), (0x03, 239), (0x10, 255), (0x13, 239)])
def test_a_command_carries_what_fits_and_not_a_byte_more(level: int, most: int) -> None:
    channel = opened(level=level)
    assert channel.max_data == most
    assert len(channel.wrap(Command(0x80, 0xE2, 0, 0, bytes(most))).encode()) <= 5 + 255 + 1
    with pytest.raises(ValueError, match=f"at this level {most} do"):
        channel.wrap(Command(0x80, 0xE2, 0, 0, bytes(most + 1)))


def test_a_lost_answer_closes_the_session() -> None:
    channel = opened()

    def lost(_: Command) -> Response:
        raise LinkError("gone")

    with pytest.raises(LinkError):
        drive(channel.secure(Command(0x80, 0xCA, 0, 0x66)), lost)
    with pytest.raises(SequenceError, match="closed"):
        channel.wrap(Command(0x80, 0xCA, 0, 0x66))


def test_an_answer_wants_a_command() -> None:
    with pytest.raises(SequenceError, match="without a command"):
        opened().unwrap(Response(b""))


def test_bare_errors_are_refused_where_the_card_is_known_to_cover_them() -> None:
    opening = open_channel(TEST, bytes(8), i=0x35, level=0x11, profile=Profile(), allow_legacy=True)
    channel = drive(opening, Sent(answer(), Response(b"")))
    channel.wrap(Command(0x80, 0xCA, 0, 0x66, le=0))
    with pytest.raises(AuthenticationError):
        channel.unwrap(Response(b"", 0x6A88))


def test_an_error_with_data_beside_its_mac_is_refused() -> None:
    channel = opened(level=0x11)
    channel.wrap(Command(0x80, 0xCA, 0, 0x66, le=0))
    with pytest.raises(AuthenticationError):
        channel.unwrap(Response(bytes(9), 0x6A88))


def test_data_beside_the_right_mac_of_an_error_are_refused_too() -> None:
    keys = derive_session(TEST, 7)
    command = Command(0x80, 0xCA, 0, 0x66, le=0)
    for extra, taken in ((b"", True), (b"x", False)):
        channel = opened(level=0x11)
        mac = response_mac(keys.rmac, channel._chains[0].mac, command, Response(b"", 0x6A88))
        channel.wrap(command)
        if taken:
            assert channel.unwrap(Response(extra + mac, 0x6A88)) == Response(b"", 0x6A88)
        else:
            with pytest.raises(AuthenticationError):
                channel.unwrap(Response(extra + mac, 0x6A88))


def test_r_mac_sessions_are_begun_once_and_ended_once() -> None:
    with pytest.raises(PolicyError, match="i=15 has no R-MAC"):
        drive(opened(i=0x15).begin_r_mac(), Sent(Response(b"")))
    with pytest.raises(SequenceError, match="runs already"):
        drive(opened(level=0x11).begin_r_mac(), Sent(Response(b"")))
    with pytest.raises(SequenceError, match="no R-MAC session"):
        drive(opened().end_r_mac(), Sent(Response(b"")))
    with pytest.raises(ValueError, match="24 bytes"):
        drive(opened().begin_r_mac(bytes(25)), Sent(Response(b"")))
    channel = opened()
    with pytest.raises(StatusError, match="6A88"):
        drive(channel.begin_r_mac(), Sent(Response(b"", 0x6A88)))
    assert channel.level == 0x01


def test_the_counter_is_read_from_the_card() -> None:
    card = Sent(Response(bytes.fromhex("C1020105")))
    assert drive(read_counter(channel=1), card) == 0x0105
    assert card.sent == [Command(0x81, 0xCA, 0x00, 0xC1, le=0)]
    for data, text in (("C10400000105", "4 bytes"), ("0105", "no sequence counter"), ("", "no sequence counter")):
        with pytest.raises(WireError, match=text):
            drive(read_counter(), Sent(Response(bytes.fromhex(data))))
    with pytest.raises(StatusError):
        drive(read_counter(), Sent(Response(b"", 0x6A88)))


def test_key_sets_have_sixteen_byte_keys_and_check_values() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        KeySet.of(bytes(16), bytes(16), bytes(24))
    assert TEST.kcvs.hex() == "8baf47" * 3
    assert TEST.fit(0x15) is TEST.fit(0x14) is TEST
    assert TEST.sensitive_block == 8
