"""Recorded exchanges put together: what the layers took apart comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.assembly import Assembly, Part, Whole
from keywright.iso7816.channels import with_channel
from keywright.iso7816.layers import transmit

OK = Response(b"")


class Wire:
    """A link without extended length whose card wants the exact Le, in pieces; notes what travels."""

    extended = False

    def __init__(self, answer: bytes, piece: int, *, exact: bool) -> None:
        self.answer, self.piece, self.exact = answer, piece, exact
        self.rest = b""
        self.seen: list[tuple[Command, Response]] = []

    def exchange(self, raw: bytes) -> bytes:
        command = Command.parse(raw)
        response = self._answered(command)
        self.seen.append((command, response))
        return response.encode()

    def _answered(self, command: Command) -> Response:
        if command.cla & 0x10:
            return OK
        if command.ins != 0xC0:
            if self.exact and self.answer and command.le != min(len(self.answer), self.piece):
                return Response(b"", 0x6C00 | min(len(self.answer), self.piece) & 0xFF)
            self.rest = self.answer
        data, self.rest = self.rest[: self.piece], self.rest[self.piece :]
        return Response(data, 0x6100 | min(len(self.rest), self.piece) & 0xFF if self.rest else 0x9000)


@given(
    st.binary(max_size=700),
    st.binary(max_size=700),
    st.sampled_from((1, 7, 200, 256)),
    st.booleans(),
    st.sampled_from((0, 3, 4, 19)),
)
def test_what_was_chained_repeated_and_fetched_in_pieces_comes_back_whole(
    data: bytes,
    answer: bytes,
    piece: int,
    exact: bool,  # noqa: FBT001 - a case
    channel: int,
) -> None:
    answer = answer[: piece * 200]
    wire = Wire(answer, piece, exact=exact)
    command = Command(with_channel(0x80, channel), 0xE2, 0x88, 0, data, 0)
    assert transmit(wire)(command) == Response(answer)
    assembly = Assembly()
    results = [assembly.exchange(*exchange) for exchange in wire.seen]
    assert all(isinstance(result, Part) for result in results[:-1])
    whole = results[-1]
    assert isinstance(whole, Whole)
    assert (whole.command.ins, whole.command.data, whole.response) == (0xE2, data, Response(answer))
    assert (whole.command.cla, whole.command.extended) == (with_channel(0x80, channel), len(data) > 255)
    assert whole.pieces == len(wire.seen)


def test_a_command_that_comes_between_ends_what_was_begun() -> None:
    assembly = Assembly()
    select, part = Command(0x00, 0xA4, 4, 0), Command(0x90, 0xE2, 0, 0, b"a")
    assert assembly.exchange(part, OK) == Part("part of a command")
    assert assembly.exchange(select, OK) == Whole(select, OK, 2)
    assert assembly.exchange(Command(0x80, 0xE2, 0, 0, b"b"), OK) == Whole(Command(0x80, 0xE2, 0, 0, b"b"), OK)


def test_a_refused_part_is_the_answer_to_the_command() -> None:
    part = Command(0x90, 0xE2, 0, 0, b"a")
    whole = Assembly().exchange(part, Response(b"", 0x6884))
    assert isinstance(whole, Whole)
    assert whole.response == Response(b"", 0x6884)


@pytest.mark.parametrize("lost_at", [0, 1])
def test_a_lost_answer_ends_the_command(lost_at: int) -> None:
    assembly = Assembly()
    get, more = Command(0x80, 0xCA, 0, 0x66, b"", 0), Command(0x00, 0xC0, 0, 0, b"", 4)
    if lost_at:
        assert assembly.exchange(get, Response(b"abc", 0x6104)) == Part("the answer goes on")
        assert assembly.exchange(more, None) == Whole(get, None, 2)
    else:
        assert assembly.exchange(get, None) == Whole(get, None)
    assert assembly.exchange(more, OK) == Whole(more, OK)


def test_a_reset_forgets_what_was_begun() -> None:
    assembly = Assembly()
    assembly.exchange(Command(0x80, 0xCA, 0, 0x66, b"", 0), Response(b"abc", 0x6104))
    assembly.reset()
    more = Command(0x00, 0xC0, 0, 0, b"", 4)
    assert assembly.exchange(more, OK) == Whole(more, OK)
