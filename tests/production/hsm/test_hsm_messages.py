"""What goes between the line and the HSM client: every message there and back, cut anywhere, and bytes of any kind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.iso7816.apdu import Command, Response
from keywright.production.hsm import frames
from keywright.production.hsm import messages as m
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.keystore import Diversified, FactorySet

UNIT = Diversified("issuer", "ecb", b"a unit", 16)
SET = FactorySet("gp-test", bytes(10))
QUESTIONS: tuple[m.Question, ...] = (
    m.Hello("label", "/a/library.so", "/a/file"),
    m.New(1_795_780_800, test=True, owner="line 7"),
    m.Load(),
    m.Check((UNIT, SET)),
    m.Open(SET, "inside-masks", bytes(8), bytes(28), 1, b"\xa0\x00\x00\x00\x03"),
    m.Authenticate(1, 0x33, pads_empty=False),
    m.Wrap(1, Command(0x80, 0xF2, 0x80, 0, b"\x4f\x00", 0)),
    m.Unwrap(1, Response(b"data", 0x9000)),
    m.PutKeys(1, (UNIT,), zeros=True),
    m.Close(1),
    m.Issue("device-ca", "unit", "unit", "P-256", bytes(65), bytes(20), 0, 1),
    m.Request("device-ca", "line CA"),
    m.Sign("unit-records", bytes(32)),
    m.PublicKey("unit-records"),
    m.ChangeState("issuer", KeyState.SUSPENDED, 0, "why", "approval", "people"),
    m.Accept("00" * 32, "approval", 0, "people"),
    m.Audit(),
)
REPLIES = (
    m.Reply(),
    m.Reply(msgspec.Raw(msgspec.msgpack.encode((b"", 5)))),
    m.Reply(failure=m.Failure("PolicyError", "no", "do")),
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_every_kind_of_question_is_here() -> None:
    assert {type(question) for question in QUESTIONS} == set(get_args(m.Question))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_a_question_comes_back_and_no_prefix_of_it_is_one(question: m.Question) -> None:
    envelope = m.Envelope(question, (3, 4))
    encoded = msgspec.msgpack.encode(envelope)
    assert msgspec.msgpack.decode(encoded, type=m.Envelope) == envelope
    for size in range(len(encoded)):
        with pytest.raises(msgspec.DecodeError):
            msgspec.msgpack.decode(encoded[:size], type=m.Envelope)


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_comes_back(reply: m.Reply) -> None:
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=m.Reply)
    assert (bytes(decoded.value), decoded.failure) == (bytes(reply.value), reply.failure)


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_a_question_or_refused(data: bytes) -> None:
    try:
        decoded = msgspec.msgpack.decode(data, type=m.Envelope)
    except msgspec.MsgspecError:
        return
    assert isinstance(decoded.question, get_args(m.Question))


def test_no_question_has_room_for_a_key_or_a_pin() -> None:
    fields = {field for kind in get_args(m.Question) for field in kind.__struct_fields__}
    assert not fields & {"pin", "key", "secret", "value", "data", "plaintext", "mechanism"}


def test_frames_arrive_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    for body in (b"", b"x", bytes(70_000)):
        if len(body) < 50_000:
            frames.send(ours, body)
            assert frames.receive(theirs) == body
    ours.sendall((5).to_bytes(4) + b"ab")
    ours.sendall(b"cde")
    assert frames.receive(theirs) == b"abcde"


@pytest.mark.parametrize("sent", [b"", b"\x00\x00", (5).to_bytes(4), (5).to_bytes(4) + b"abcd", b"\xff\xff\xff\xff"])
def test_a_frame_that_is_cut_or_too_long_ends_the_lane(pair: tuple[socket.socket, socket.socket], sent: bytes) -> None:
    ours, theirs = pair
    ours.sendall(sent)
    ours.close()
    with pytest.raises(EOFError):
        frames.receive(theirs)


def test_a_message_that_is_too_long_is_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="bytes"):
        frames.send(pair[0], bytes(frames.LIMIT + 1))
