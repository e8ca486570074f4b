"""Playing scenarios against a side under test, and writing down what came of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar, final

from keywright.aliro.conformance.outcome import (
    Exchanged,
    Nonconformity,
    NotConfigured,
    Result,
    Scenario,
    Verdict,
    shape,
)
from keywright.aliro.conformance.reader import ReaderScenario
from keywright.aliro.conformance.tester_device import TesterDevice
from keywright.errors import KeywrightError, LinkError
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
        except LinkError:
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
    """The result of each scenario as it comes. between: what is done before each, such as a reset of the link.

    A link that fails makes its scenario a failure; the next one is tried all the same.
    """
    for one in scenarios:
        between()
        transcript = Transcript(send)
        yield _result(one, transcript, *_verdict(one.play(given), transcript))


def _verdict(dialogue: Generator[Command, Response, None], transcript: Transcript) -> tuple[Verdict, str, int | None]:
    try:
        command = next(dialogue)
        while True:
            command = dialogue.send(transcript(command))
    except StopIteration:
        return "passed", "", None
    except NotConfigured as missing:
        return "skipped", str(missing), None
    except Nonconformity as found:
        return "failed", str(found), found.at
    except LinkError as error:
        return "failed", f"the link failed: {error}", None
    finally:
        dialogue.close()


def _result(one: Scenario[Given], transcript: Transcript, verdict: Verdict, why: str, at: int | None) -> Result:
    exchanged = tuple(transcript.exchanged)
    return Result(one.name, one.family, verdict, one.text, why, at, exchanged, shape(exchanged, why))


def play_reader(
    scenarios: Iterable[ReaderScenario],
    device_of: Callable[[ReaderScenario], TesterDevice],
    meet: Callable[[TesterDevice], object],
) -> Iterator[Result]:
    """The result of each scenario. device_of: the device that plays it; meet: one transaction of the reader.

    What the reader raises when it has told the device is its own affair; what counts is what the device has seen.
    """
    for one in scenarios:
        device = device_of(one)
        try:
            meet(device)
        except KeywrightError as error:
            raised = str(error)
        else:
            raised = ""
        transcript = tuple(device.seen.exchanged)
        try:
            one.check(device.seen)
        except Nonconformity as found:
            why = f"{found} (the reader: {raised})" if raised else str(found)
            yield Result(one.name, one.family, "failed", one.text, why, found.at, transcript, shape(transcript, why))
        else:
            told = device.seen.reader_status
            detail = f"{told:04X} {raised}" if told is not None else raised
            yield Result(one.name, one.family, "passed", one.text, "", None, transcript, shape(transcript, detail))
