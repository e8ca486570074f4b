"""The host end of SCP03 against sessions recorded with cards and hosts that nobody here wrote."""

from __future__ import annotations

import msgspec
import pytest

from keywright.errors import AuthenticationError, LinkError, PolicyError, SequenceError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.failure import OtherProtocolError
from keywright.scp.scp03.host import CardCryptogramError, HostChannel, external_authenticate, open_channel
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import InitializeUpdateResponse, InitializeUpdateResponse8
from keywright.scp.session import HostSession
from support.vectors import Case, load, unhex

FILES = ("scp/scp03_kaoh.json", "scp/scp03_openscp.json", "scp/scp03_pysim_euicc.json")
CASES = [case for file in FILES for case in load(file)]
sessions = pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])


class Recording:
    """Answers with what the card of the recording answered, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    def __call__(self, command: Command) -> Response:
        self.sent.append(command.encode())
        return Response.parse(self.answers[len(self.sent) - 1])


def keys(case: Case) -> KeySet:
    return KeySet.of(*(unhex(case[f"key_{name}"]) for name in ("enc", "mac", "dek")))


def opened(case: Case, **changes: object) -> tuple[HostChannel, Recording]:
    card = Recording(unhex(case["initialize_update_rdata"]) + b"\x90\x00", b"\x90\x00")
    aids = case.get("pseudo_random_challenge_aid") or [None]
    arguments = {
        "kvn": unhex(case["initialize_update_rdata"])[10],
        "level": int(case["security_level"], 16),
        "aid": unhex(aids[0]) if aids[0] else None,
    } | changes
    return drive(open_channel(keys(case), unhex(case["host_challenge"]), **arguments), card), card  # type: ignore[arg-type]  # of mixed kinds


@sessions
def test_the_host_sends_the_bytes_of_the_recording(case: Case) -> None:
    channel, card = opened(case)
    if "initialize_update_capdu" in case:
        assert card.sent[0].hex() == case["initialize_update_capdu"]
    assert card.sent[1].hex() == case["external_authenticate_capdu"]
    for exchange in case["exchanges"]:
        wrapped = channel.wrap(Command.parse(unhex(exchange["plain_capdu"])))
        assert wrapped.encode().hex() == exchange["wrapped_capdu"]
        if "wrapped_rapdu" in exchange:
            answer = channel.unwrap(Response.parse(unhex(exchange["wrapped_rapdu"])))
            assert answer.data.hex() == exchange["plain_rdata"]


PROTECTED = [
    case for case in CASES if int(case["security_level"], 16) & 0x10 and "wrapped_rapdu" in case["exchanges"][0]
]


@pytest.mark.parametrize("case", PROTECTED, ids=[case["name"] for case in PROTECTED])
def test_every_flipped_bit_of_a_protected_answer_is_refused(case: Case) -> None:
    exchange = case["exchanges"][0]
    command, raw = Command.parse(unhex(exchange["plain_capdu"])), unhex(exchange["wrapped_rapdu"])
    for bit in range(0, (len(raw) - 2) * 8, 7):
        channel, _ = opened(case)
        channel.wrap(command)
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(AuthenticationError):
            channel.unwrap(Response.parse(bytes(flipped)))
        assert not channel.is_open


CASE = next(case for case in CASES if case["name"] == "scp03-aes128-s8")


def test_a_wrong_key_sends_no_external_authenticate() -> None:
    card = Recording(unhex(CASE["initialize_update_rdata"]) + b"\x90\x00")
    with pytest.raises(CardCryptogramError):
        drive(open_channel(KeySet.gp_test(), unhex(CASE["host_challenge"])), card)
    assert len(card.sent) == 1


def test_a_pseudo_random_challenge_of_another_counter_is_refused() -> None:
    case = next(case for case in CASES if case["name"] == "SCP03_Test_AES128_33")
    with pytest.raises(CardCryptogramError, match="pseudo-random"):
        opened(case, aid=bytes.fromhex("A000000151000000"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kvn": 0x31}, WireError),  # asked for another key version than the card answers for
        ({"level": 0x10}, ValueError),  # does not exist
        ({"level": 0x31}, ValueError),
    ],
)
def test_what_was_asked_for_is_what_must_be_answered(change: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        opened(CASE, **change)


@pytest.mark.parametrize(
    ("i", "level", "allowed"),
    [(0x60, 0x33, True), (0x20, 0x33, False), (0x20, 0x13, True), (0x00, 0x11, False), (0x00, 0x03, True)],
)
def test_the_host_never_downgrades_below_the_level_it_was_told(i: int, level: int, *, allowed: bool) -> None:
    from keywright.scp.scp03.host import verify_card
    from keywright.scp.scp03.messages import InitializeUpdateResponse8

    raw = bytearray(unhex(CASE["initialize_update_rdata"]))
    raw[12] = i
    opening = verify_card(keys(CASE), unhex(CASE["host_challenge"]), InitializeUpdateResponse8.parse(bytes(raw)))
    dialogue = external_authenticate(opening, level)
    if allowed:
        assert next(dialogue).p1 == level
    else:
        with pytest.raises(PolicyError, match="does not offer"):
            next(dialogue)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (bytes.fromhex("6A88"), StatusError),
        (bytes(28) + b"\x90\x00", WireError),
        (bytes(10) + b"\x20\x02" + bytes(16) + b"\x90\x00", OtherProtocolError),
        (bytes(30) + b"\x90\x00", WireError),
        (b"\x90\x00", WireError),
    ],
)
def test_any_other_answer_to_initialize_update_ends_the_dialogue(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        drive(open_channel(keys(CASE), unhex(CASE["host_challenge"])), Recording(answer))


def test_an_answer_with_9000_and_no_mac_closes_the_session() -> None:
    channel, _ = opened(CASE)
    channel.wrap(Command.parse(unhex(CASE["exchanges"][0]["plain_capdu"])))
    with pytest.raises(AuthenticationError):
        channel.unwrap(Response(b"", 0x9000))
    with pytest.raises(SequenceError):
        channel.wrap(Command(0x80, 0xCA, 0, 0x66))


def test_an_error_status_comes_bare_and_keeps_the_session() -> None:
    channel, _ = opened(CASE)
    channel.wrap(Command.parse(unhex(CASE["exchanges"][0]["plain_capdu"])))
    assert channel.unwrap(Response(b"", 0x6A88)) == Response(b"", 0x6A88)
    assert channel.is_open


def test_the_longest_command_that_fits_is_wrapped_and_one_byte_more_is_refused() -> None:
    for name, most in (("scp03-aes128-s8", 239), ("scp03-aes128-s16", 223)):
        channel, _ = opened(next(case for case in CASES if case["name"] == name))
        assert channel.max_data == most
        assert len(channel.wrap(Command(0x80, 0xE2, 0, 0, bytes(most))).data) <= 255
        with pytest.raises(ValueError, match=str(most)):
            channel.wrap(Command(0x80, 0xE2, 0, 0, bytes(most + 1)))


def test_a_command_that_is_refused_as_too_long_leaves_the_session_as_it_was() -> None:
    channel, _ = opened(CASE)
    with pytest.raises(ValueError, match="do not fit"):
        channel.wrap(Command(0x80, 0xE2, 0, 0, bytes(250)))
    exchange = CASE["exchanges"][0]
    assert channel.wrap(Command.parse(unhex(exchange["plain_capdu"]))).encode().hex() == exchange["wrapped_capdu"]


def test_data_beside_an_error_status_is_dropped_because_nothing_protects_it() -> None:
    channel, _ = opened(CASE)
    channel.wrap(Command.parse(unhex(CASE["exchanges"][0]["plain_capdu"])))
    assert channel.unwrap(Response(b"forged", 0x6A80)) == Response(b"", 0x6A80)


def test_a_lost_answer_closes_the_session() -> None:
    channel, _ = opened(CASE)
    dialogue = channel.secure(Command(0x80, 0xCA, 0, 0x66, b"", 0))
    next(dialogue)
    with pytest.raises(LinkError):
        dialogue.throw(LinkError("gone"))
    assert not channel.is_open


# ---- keys that live elsewhere ---------------------------------------------------------------------------------


class Elsewhere:
    """A card's cryptogram was right, and the session is in an HSM: of it there is only what `HostSession` has."""

    def __init__(self, channel: HostChannel, command: Command, answer: InitializeUpdateResponse) -> None:
        self.answer = answer
        self.asked: list[tuple[int, bool]] = []
        self._channel = channel
        self._command = command

    def authenticate(self, level: int, *, pads_empty: bool = False) -> tuple[HostSession, Command]:
        self.asked.append((level, pads_empty))
        return self._channel, self._command

    def close(self) -> None:
        raise AssertionError("it was gone on with")


def elsewhere() -> Elsewhere:
    channel, card = opened(CASE)
    answer = InitializeUpdateResponse8.parse(unhex(CASE["initialize_update_rdata"]))
    return Elsewhere(channel, Command.parse(card.sent[1]), answer)


def test_external_authenticate_takes_the_session_and_its_first_command_from_whoever_has_the_keys() -> None:
    ready, card = elsewhere(), Recording(b"\x90\x00")
    session = drive(external_authenticate(ready, 0x03, pads_empty=True), card)
    assert session is ready._channel
    assert ready.asked == [(0x03, True)]
    assert card.sent[0].hex() == CASE["external_authenticate_capdu"]


def test_a_level_that_the_card_does_not_offer_is_refused_before_the_keys_are_asked() -> None:
    ready = elsewhere()
    ready.answer = msgspec.structs.replace(ready.answer, i=0)
    with pytest.raises(PolicyError, match="does not offer security level 33"):
        drive(external_authenticate(ready, 0x33), Recording())
    assert ready.asked == []


@pytest.mark.parametrize("answer", [bytes.fromhex("6300"), bytes.fromhex("6985"), None])
def test_a_session_that_was_not_opened_is_closed_where_its_keys_are(answer: bytes | None) -> None:
    def send(_: Command) -> Response:
        if answer is None:
            raise LinkError("lost", None)
        return Response.parse(answer)

    ready = elsewhere()
    with pytest.raises((AuthenticationError, StatusError, LinkError)):
        drive(external_authenticate(ready, 0x03), send)
    assert not ready._channel.is_open
