"""The asking side as a generator, and the two drivers that run one.

A dialogue yields a request, is sent the answer, and returns its result. It holds no link, clock or randomness,
so it runs over any link, can be nested with `yield from`, and can be cut at every `yield`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

from keywright.errors import LinkError

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Result = TypeVar("Result")


def drive(dialogue: Generator[Request, Answer, Result], exchange: Callable[[Request], Answer]) -> Result:
    """Run a dialogue over a blocking link; a link failure is raised at its `yield`, so that it may recover."""
    try:
        request = next(dialogue)
        while True:
            try:
                answer = exchange(request)
            except LinkError as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(answer)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        dialogue.close()


async def adrive(
    dialogue: Generator[Request, Answer, Result], exchange: Callable[[Request], Awaitable[Answer]]
) -> Result:
    """Run a dialogue over an asynchronous link; the twin of `drive`."""
    try:
        request = next(dialogue)
        while True:
            try:
                answer = await exchange(request)
            except LinkError as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(answer)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        dialogue.close()


def through(
    dialogue: Generator[Request, Answer, Result],
    layer: Callable[[Request], Generator[Request, Answer, Answer]],
) -> Generator[Request, Answer, Result]:
    """Pass every exchange of `dialogue` through `layer`, itself a dialogue for one exchange."""
    try:
        request = next(dialogue)
        while True:
            try:
                answer = yield from layer(request)
            except LinkError as error:
                request = dialogue.throw(error)
            else:
                request = dialogue.send(answer)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        dialogue.close()
