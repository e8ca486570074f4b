"""The host end of SCP10: what it refuses to send, and which answers it refuses to believe."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.errors import (
    AuthenticationError,
    KeywrightError,
    LinkError,
    PolicyError,
    SequenceError,
    StatusError,
    WireError,
)
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import chained, sized
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp10 import Holder, HostChannel, Profile, Request, issue_certificate, open_channel
from keywright.scp.scp10.authentication import convey, conveyed
from keywright.scp.scp10.keys import SEPARATE_KEYS, SHARED_KEYS
from support.scp10 import CARD, HOST, Card, Domain, Stream, card_holder, host_identity, key

ALL_I = pytest.mark.parametrize("i", [0, 1, 2, 3])


def unreachable(command: Command) -> Response:
    raise AssertionError(f"{command.ins:02X} was sent")


def opened(exchange: Any, request: Request | None = None, **changes: Any) -> HostChannel:
    arguments: dict[str, Any] = {"card": card_holder(), "allow_legacy": True, **changes}
    identity = arguments.pop("identity", None) or host_identity()
    rng = arguments.pop("rng", None) or Stream()
    return drive(through(open_channel(identity, rng, request, **arguments), chained), exchange)


class Changed:
    """A card whose answers to one instruction are changed."""

    def __init__(self, ins: int, change: Any, **domain: Any) -> None:
        self.card, self.ins, self.change = Card(Domain(**domain)), ins, change

    def __call__(self, command: Command) -> Response:
        response = self.card(command)
        return self.change(response) if command.ins == self.ins and response.sw == 0x9000 else response


@pytest.mark.parametrize(
    "request_",
    [
        Request(level=0x04),
        Request(level=0x80),
        Request(i=4),
        Request(level=0x01, keys=()),
        Request(level=0x33, keys=SHARED_KEYS[:1]),
        Request(keys=(*SHARED_KEYS, *SHARED_KEYS)),
        Request(keys=((0xB6, 0x10),), level=0),
        Request(key_bytes=8),
    ],
)
def test_a_session_that_cannot_be_is_a_mistake_before_anything_is_sent(request_: Request) -> None:
    with pytest.raises(ValueError, match=r"no SCP10|cannot be"):
        opened(unreachable, request_)


def test_a_legacy_protocol_is_opened_only_by_who_allows_it() -> None:
    with pytest.raises(PolicyError, match="SCP10 is legacy"):
        opened(unreachable, allow_legacy=False)


@pytest.mark.parametrize("size", [0, 7, 9])
def test_an_identifier_has_eight_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="identifier has 8 bytes"):
        opened(unreachable, identity=host_identity(identifier=bytes(size)))


def test_a_command_too_long_for_a_short_link_is_protected_once_and_sent_in_parts() -> None:
    card = Card(Domain())
    channel = opened(card)
    command = sized(Command(0x80, 0xE2, 0, 0, bytes(range(250)) * 3, 0), extended=False, room=channel.max_data)
    card.answer = Response(bytes(300))
    before = len(card.sent)
    assert drive(through(channel.secure(command), chained), card).data == bytes(300)
    assert len(card.sent) - before == 4
    assert card.received[-1].data == command.data


def test_agreement_without_proof_of_the_card_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(PolicyError, match="INTERNAL AUTHENTICATE"):
        opened(unreachable, Request(i=1, mutual=False))


def test_keys_of_two_lengths_do_not_agree() -> None:
    with pytest.raises(PolicyError, match="one length"):
        opened(Card(Domain()), Request(i=1), card=card_holder(2048))


def test_more_session_keys_than_fit_the_key_of_the_card_are_refused() -> None:
    with pytest.raises(PolicyError, match="do not fit the card's key of 1024 bits"):
        opened(Card(Domain()), Request(i=2, keys=SEPARATE_KEYS))


def test_a_card_key_that_nobody_vouches_for_is_not_used() -> None:
    with pytest.raises(PolicyError, match="neither known"):
        opened(Card(Domain()), card=None, identity=host_identity(trust_point=None))


@pytest.mark.parametrize(("signer", "error"), [("tp_in_1024", None), ("sd_1024", AuthenticationError)])
@pytest.mark.parametrize("kind", ["A", "B", "C", "C values"])
def test_the_card_certificate_is_verified(kind: Any, signer: str, error: type[KeywrightError] | None) -> None:
    certificate = issue_certificate(kind, Holder(CARD, key("sd_1024").public, b"TPIN0001"), key(signer), Profile())
    card = Card(Domain(certificate=certificate.encoded))
    if error is None:
        assert opened(card, card=None, card_form=certificate.form).is_open
        return
    with pytest.raises(error):
        opened(card, card=None, card_form=certificate.form)
    assert card.initiation._challenge == b""


def test_a_card_certificate_that_does_not_parse_is_an_error_of_the_wire() -> None:
    with pytest.raises(WireError, match="does not parse"):
        opened(Card(Domain(certificate=b"\x7f\x21\x00")), card=None)


def test_what_the_card_refuses_is_an_error_with_its_status() -> None:
    with pytest.raises(StatusError, match="MANAGE SECURITY ENVIRONMENT: status 9484"):
        opened(Card(Domain(options=(1,))), Request(i=2))
    with pytest.raises(StatusError, match="6A88"):
        opened(Card(Domain()), identity=host_identity(private_key_reference=b"\2"))
    with pytest.raises(AuthenticationError, match="verify certificate"):
        opened(Card(Domain(root=key("sd_1024").public)))
    with pytest.raises(StatusError, match="decipher"):
        opened(Card(Domain(own=key("tp_in_1024"))))


@ALL_I
def test_a_host_with_another_key_than_certified_is_told_so(i: int) -> None:
    card = Card(Domain())
    with pytest.raises(AuthenticationError, match="EXTERNAL AUTHENTICATE refused"):
        opened(card, Request(i=i), identity=host_identity(private_key=key("tp_in_1024")))
    assert card.session is None


@ALL_I
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_a_challenge_of_another_length_is_refused(i: int, change: Any) -> None:
    with pytest.raises(WireError, match="a challenge of"):
        opened(Changed(0x84, lambda response: Response(change(response.data))), Request(i=i))


@ALL_I
def test_no_flipped_bit_of_the_proof_of_the_card_is_accepted(i: int) -> None:
    size = 256 if i == 3 else 128
    for bit in range(0, size * 8, 131):

        def flip(response: Response, bit: int = bit) -> Response:
            return Response((int.from_bytes(response.data) ^ 1 << bit).to_bytes(size))

        with pytest.raises(AuthenticationError):
            opened(Changed(0x88, flip), Request(i=i))
    for wrong in (b"", bytes(size), bytes(size - 1), b"\xff" * size):
        with pytest.raises(AuthenticationError):
            opened(Changed(0x88, lambda _, wrong=wrong: Response(wrong)), Request(i=i))


@ALL_I
def test_a_card_without_the_private_key_is_not_believed(i: int) -> None:
    card = Card(Domain())
    honest = card.domain.own

    def swap(command: Command) -> Response:
        response = card(command)
        if command.ins == 0x82 and card.initiation._environment is not None:
            environment = card.initiation._environment
            card.initiation._environment = type(environment)(environment.i, key("tp_in_1024"))
        return response

    with pytest.raises(AuthenticationError):
        opened(swap, Request(i=i))
    assert card.domain.own is honest


def test_only_the_host_is_authenticated_if_it_wants_no_more() -> None:
    card = Card(Domain())
    channel = opened(card, Request(mutual=False))
    assert [command[1] for command in card.sent] == [0x22, 0x2A, 0x2A, 0x2A, 0x84, 0x82]
    assert card.sent[0].hex() == "002281b60480021002"
    assert card.session is not None
    assert card(channel.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0))).sw == 0x9000


def test_references_and_a_known_host_key_are_announced() -> None:
    card = Card(Domain(host=Holder(HOST, key("oce_1024").public)))
    identity = host_identity(certificates=(), public_key_reference=b"\1", private_key_reference=b"\1")
    assert opened(card, identity=identity).is_open
    assert card.sent[0].hex() == "0022c1a40a80021002830101840101"
    assert card.sent[1][1:4].hex() == "2a8084"


def test_random_padding_is_what_the_profile_asks_for() -> None:
    cards = [Card(Domain(profile=Profile(random_padding=chosen))) for chosen in (False, False, True)]
    channels = [opened(card, rng=Stream(5), profile=card.domain.profile) for card in cards]
    assert all(channel.is_open for channel in channels)
    assert cards[0].sent[3] == cards[1].sent[3] != cards[2].sent[3]


def test_the_padding_before_a_secret_holds_no_start_of_parameters() -> None:
    def rng(size: int) -> bytes:
        return (b"\xd3\x01" * size)[:size]

    hidden = convey(key("oce_1024"), key("sd_1024").public, b"secret", b"context", 1, rng)
    found = conveyed(key("sd_1024"), key("oce_1024").public, hidden, b"context", 1)
    assert found.endswith(b"secret")
    assert b"\xd3\x01" not in found
    for i in (1, 3):
        assert opened(Card(Domain()), Request(i=i), rng=rng).is_open


def test_a_secret_that_does_not_fit_is_a_mistake_of_the_caller() -> None:
    own, peer = key("oce_1024"), key("sd_1024").public
    for i, size in ((1, 106), (3, 118)):
        with pytest.raises(ValueError, match="fit"):
            convey(own, peer, bytes(size), b"", i, Stream())
        convey(own, peer, bytes(size - 1), b"", i, Stream())
    with pytest.raises(ValueError, match="not of one length"):
        convey(own, key("sd_2048").public, bytes(32), b"", 1, Stream())


def test_a_short_secret_of_the_card_is_refused() -> None:
    card = Card(Domain())
    honest = card.domain.rng
    card.domain.rng = lambda size: honest(size)[: 31 if size == 32 else size]
    with pytest.raises(WireError, match="31 bytes"):
        opened(card, Request(i=3))


def test_a_closed_or_lost_session_is_of_no_more_use() -> None:
    channel = opened(Card(Domain()))
    channel.close()
    with pytest.raises(SequenceError, match="closed"):
        channel.wrap(Command(0x80, 0xCA, 0, 0x66, b"", 0))
    channel = opened(Card(Domain()))
    layer = channel.secure(Command(0x80, 0xCA, 0, 0x66, b"", 0))
    next(layer)
    with pytest.raises(LinkError):
        layer.throw(LinkError("gone"))
    assert not channel.is_open


def test_sensitive_data_needs_its_key_and_whole_blocks() -> None:
    channel = opened(Card(Domain()), Request(keys=SHARED_KEYS[:2]))
    with pytest.raises(PolicyError, match="no data encryption key"):
        channel.encrypt_sensitive(bytes(8))
    channel = opened(Card(Domain()), Request(i=1, keys=SEPARATE_KEYS))
    with pytest.raises(ValueError, match="whole blocks"):
        channel.encrypt_sensitive(bytes(7))


@pytest.mark.parametrize(("level", "room"), [(0x00, 255), (0x01, 239), (0x02, 247), (0x03, 231), (0x33, 231)])
def test_the_room_of_a_short_command_is_used_up(level: int, room: int) -> None:
    card = Card(Domain())
    channel = opened(card, Request(level=level))
    assert channel.max_data == room
    fits = channel.wrap(Command(0x80, 0xE2, 0, 0, bytes(room), 0))
    assert len(fits.data) <= 255
    assert card.session is not None
    assert card.session.unwrap(fits).data == bytes(room)
    if not level & 0x03:
        return
    over = Command(0x80, 0xE2, 0, 0, bytes(room + 1), 0)
    with pytest.raises(ValueError, match=f"at this level {room} do"):
        channel.wrap(over)
    extended = Command(0x80, 0xE2, 0, 0, bytes(room + 1), 0, extended=True)
    assert card.session.unwrap(channel.wrap(extended)) == extended
