"""Playing scenarios against a side under test, and writing down what came of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar, final

import msgspec

from keywright.aliro.conformance.outcome import (
    Exchanged,
    Nonconformity,
    NotConfigured,
    OtherStatus,
    Result,
    Role,
    Scenario,
    shape,
)
from keywright.aliro.conformance.reader_checks import ReaderScenario
from keywright.aliro.conformance.tester_device import TesterDevice
from keywright.errors import KeywrightError
from keywright.iso7816.apdu import Command, Response

Given = TypeVar("Given")


@final
class Transcript:
    """A link, as a function from command to answer, that remembers what went over it."""

    def __init__(self, send: Callable[[Command], Response]) -> None:
        self._send = send
        self.exchanged: list[Exchanged] = []

    def __call__(self, command: Command) -> Response:
        """Send one command."""
        try:
            response = self._send(command)
        except KeywrightError:
            self.exchanged.append(Exchanged(command, None))
            raise
        self.exchanged.append(Exchanged(command, response))
        return response


def play(
    scenarios: Iterable[Scenario[Given]],
    given: Given,
    send: Callable[[Command], Response],
    *,
    between: Callable[[], object] = lambda: None,
) -> Iterator[Result]:
    """The result of each scenario for a device as it comes. between: what is done before each, such as a reset.

    A link that fails, or brings what is no answer, makes its scenario a failure; the next one is tried all the same.
    """
    for one in scenarios:
        transcript = Transcript(send)
        empty = Result(one.name, one.family, "passed", one.text)

        def whole(one: Scenario[Given] = one, transcript: Transcript = transcript) -> None:
            between()
            _drive(one.play(given), transcript)

        yield judged(empty, whole, transcript.exchanged)


def _drive(dialogue: Generator[Command, Response, None], send: Callable[[Command], Response]) -> None:
    try:
        command = next(dialogue)
        while True:
            command = dialogue.send(send(command))
    except StopIteration:
        return
    finally:
        dialogue.close()


def judge(one: ReaderScenario, device: TesterDevice, raised: str = "") -> Result:
    """What came of a scenario for a reader. raised: what the reader said of it, if that is known."""
    empty = Result(one.name, one.family, "passed", one.text, role="reader")
    found = judged(empty, lambda: one.check(device.seen), device.seen.exchanged)
    if found.verdict == "failed" and raised:
        found = msgspec.structs.replace(found, why=f"{found.why} (the reader: {raised})")
    detail = raised if device.seen.reader_status is None else f"97:{device.seen.reader_status:04X} {raised}"
    return msgspec.structs.replace(found, outcome=f"{found.outcome} {detail}".rstrip())


def play_reader(
    scenarios: Iterable[ReaderScenario],
    device_of: Callable[[ReaderScenario], TesterDevice],
    meet: Callable[[TesterDevice], object],
) -> Iterator[Result]:
    """The result of each scenario. device_of: the device that plays it; meet: one transaction of the reader.

    What the reader raises when it has told the device is its own affair; what counts is what the device has seen.
    """
    for one in scenarios:
        device, raised = device_of(one), ""
        try:
            meet(device)
        except KeywrightError as error:
            raised = str(error)
        yield judge(one, device, raised)


def skipped(name: str, family: str, text: str, why: str, role: Role) -> Result:
    """The result of a scenario that was not played."""
    return Result(name, family, "skipped", text, why, role)


def judged(empty: Result, whole: Callable[[], object], exchanged: list[Exchanged]) -> Result:
    """`empty` with what `whole` has come to; exchanged: what it went through."""
    found = empty
    try:
        whole()
    except NotConfigured as missing:
        found = msgspec.structs.replace(empty, verdict="skipped", why=str(missing))
    except OtherStatus as other:
        found = msgspec.structs.replace(
            empty, verdict="other status", why=str(other), expected=f"{other.expected:04X}", got=f"{other.got:04X}"
        )
    except Nonconformity as bad:
        found = msgspec.structs.replace(
            empty, verdict="failed", why=str(bad), expected=bad.expected, got=bad.got, at=bad.at
        )
    except KeywrightError as error:
        found = msgspec.structs.replace(empty, verdict="failed", why=f"no answer that can be read: {error}")
    transcript = tuple(exchanged)
    return msgspec.structs.replace(found, transcript=transcript, outcome=shape(transcript))
