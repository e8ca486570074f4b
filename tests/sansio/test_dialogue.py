"""The drivers of dialogues: results, recovery from a lost answer, and generators that are always closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator

import pytest

from keywright.errors import LinkError, StatusError
from keywright.sansio import adrive, drive, through

Talk = Generator[bytes, bytes, str]


def reversed_bytes(request: bytes) -> bytes:
    return request[::-1]


def asynchronous(exchange: Callable[[bytes], bytes]) -> Callable[[bytes], Awaitable[bytes]]:
    async def wrapped(request: bytes) -> bytes:
        await asyncio.sleep(0)
        return exchange(request)

    return wrapped


Run = Callable[[Talk, Callable[[bytes], bytes]], str]


def run_blocking(dialogue: Talk, exchange: Callable[[bytes], bytes]) -> str:
    return drive(dialogue, exchange)


def run_async(dialogue: Talk, exchange: Callable[[bytes], bytes]) -> str:
    return asyncio.run(adrive(dialogue, asynchronous(exchange)))


def through_nothing(request: bytes) -> Generator[bytes, bytes, bytes]:
    return (yield request)


def run_layered(dialogue: Talk, exchange: Callable[[bytes], bytes]) -> str:
    return drive(through(dialogue, through_nothing), exchange)


runners = pytest.mark.parametrize("run", [run_blocking, run_async, run_layered])


class Losing:
    """Loses the answers whose numbers are given."""

    def __init__(self, *lost: int) -> None:
        self.requests: list[bytes] = []
        self.lost = lost

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        if len(self.requests) - 1 in self.lost:
            raise LinkError("lost", delivered=None)
        return reversed_bytes(request)


@runners
def test_the_result_is_what_the_dialogue_returns(run: Run) -> None:
    def dialogue() -> Talk:
        first = yield b"ab"
        second = yield first + b"c"
        return (first + second).decode()

    assert run(dialogue(), reversed_bytes) == "bacab"


@runners
def test_a_dialogue_that_asks_nothing_returns_at_once(run: Run) -> None:
    def dialogue() -> Talk:
        return "done"
        yield b""

    assert run(dialogue(), reversed_bytes) == "done"


@runners
def test_a_link_error_is_raised_at_the_yield_and_the_dialogue_may_go_on(run: Run) -> None:
    def dialogue() -> Talk:
        try:
            yield b"change"
        except LinkError as error:
            return (yield b"probe").decode() + f" {error.delivered}"
        return "not reached"

    link = Losing(0)
    assert run(dialogue(), link) == "eborp None"
    assert link.requests == [b"change", b"probe"]


@runners
def test_a_dialogue_may_recover_from_several_losses_in_a_row(run: Run) -> None:
    def dialogue() -> Talk:
        for _ in range(5):
            try:
                return (yield b"again").decode()
            except LinkError:
                continue
        return "gave up"

    assert run(dialogue(), Losing(0, 1, 2)) == "niaga"


@runners
def test_a_link_error_that_is_not_caught_ends_the_dialogue_and_reaches_the_caller(run: Run) -> None:
    closed = []

    def dialogue() -> Talk:
        try:
            yield b"x"
        finally:
            closed.append(True)
        return ""

    with pytest.raises(LinkError, match="lost"):
        run(dialogue(), Losing(0))
    assert closed == [True]


@runners
def test_an_error_of_the_dialogue_reaches_the_caller_unchanged(run: Run) -> None:
    def dialogue() -> Talk:
        yield b"x"
        raise StatusError(0x6982, "PUT KEY")

    with pytest.raises(StatusError) as caught:
        run(dialogue(), reversed_bytes)
    assert caught.value.sw == 0x6982


@runners
def test_any_other_failure_of_the_link_closes_the_dialogue_without_being_shown_to_it(run: Run) -> None:
    seen: list[str] = []

    def dialogue() -> Talk:
        try:
            yield b"x"
        except GeneratorExit:
            seen.append("closed")
            raise
        except BaseException:
            seen.append("shown")
            raise
        return ""

    def broken(_request: bytes) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(dialogue(), broken)
    assert seen == ["closed"]


def test_a_layer_may_use_several_exchanges_for_one() -> None:
    def twice(request: bytes) -> Generator[bytes, bytes, bytes]:
        first = yield request
        second = yield b"more"
        return first + second

    def dialogue() -> Talk:
        return (yield b"ab").decode()

    link = Losing()
    assert drive(through(dialogue(), twice), link) == "baerom"
    assert link.requests == [b"ab", b"more"]


def test_a_layer_may_hide_a_lost_answer_from_the_dialogue() -> None:
    def persistent(request: bytes) -> Generator[bytes, bytes, bytes]:
        try:
            return (yield request)
        except LinkError:
            return (yield request)

    def dialogue() -> Talk:
        return (yield b"ab").decode()

    assert drive(through(dialogue(), persistent), Losing(0)) == "ba"


def test_a_loss_inside_a_layer_is_raised_at_the_dialogues_yield() -> None:
    def dialogue() -> Talk:
        try:
            yield b"ab"
        except LinkError:
            return "told"
        return ""

    assert drive(through(dialogue(), through_nothing), Losing(0)) == "told"


def test_closing_a_layered_dialogue_closes_the_inner_one() -> None:
    closed = []

    def dialogue() -> Talk:
        try:
            yield b"x"
        finally:
            closed.append("inner")
        return ""

    def layer(request: bytes) -> Generator[bytes, bytes, bytes]:
        try:
            return (yield request)
        finally:
            closed.append("layer")

    layered = through(dialogue(), layer)
    next(layered)
    layered.close()
    assert closed == ["layer", "inner"]


def test_an_error_of_the_layer_closes_the_dialogue() -> None:
    closed = []

    def dialogue() -> Talk:
        try:
            yield b"x"
        finally:
            closed.append(True)
        return ""

    def layer(request: bytes) -> Generator[bytes, bytes, bytes]:
        yield request
        raise StatusError(0x6F00)

    with pytest.raises(StatusError):
        drive(through(dialogue(), layer), reversed_bytes)
    assert closed == [True]
