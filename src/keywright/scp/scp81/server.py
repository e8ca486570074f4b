"""The remote administration server: a dialogue of scripts behind HTTP (Amd B 3.4).

What is to be done is a dialogue that yields `Script` and is sent `ScriptResult`; `commands` makes one of any dialogue
that yields commands. A card that comes back after a break is a LinkError inside the dialogue: its answers are lost, and
whether the last script ran may be unknown (`delivered`), so it is for the dialogue to probe.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar, final

from keywright.errors import DecodeError, KeywrightError, LinkError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp80.expanded import Script as Commands
from keywright.scp.scp80.expanded import ScriptResponse
from keywright.scp.scp81.administration import MANAGEMENT, Order, Report, Script, ScriptResult, ScriptStatus
from keywright.scp.scp81.http import HttpRequest, HttpResponse

Result = TypeVar("Result")
Plan = Generator[Script, ScriptResult, Result]

_TOKEN_BYTES: Final = 16


def commands(
    dialogue: Generator[Command, Response, Result],
    *,
    target: bytes | None = None,
    content_type: str = MANAGEMENT,
    indefinite: bool = True,
) -> Plan[Result]:
    """Run a dialogue of commands as scripts of one command each.

    Raises WireError, and what the dialogue raises; a script the card did not run is a WireError inside it.
    """
    try:
        command = next(dialogue)
        while True:
            try:
                body = Commands.of([command], indefinite=indefinite).build()
                answer = _only_answer((yield Script(body, target, content_type)))
            except (LinkError, WireError) as error:
                command = dialogue.throw(error)
            else:
                command = dialogue.send(answer)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    finally:
        dialogue.close()


def _only_answer(result: ScriptResult) -> Response:
    if result.status is not ScriptStatus.OK:
        raise WireError(f"the card did not run the script: {result.status.value}")
    try:
        response = ScriptResponse.parse(result.body)
    except DecodeError as error:
        raise WireError("the card's answer is no response script") from error
    if len(response.responses) != 1 or response.bad_format is not None:
        raise WireError("the card's answer is not one response to one command")
    return response.responses[0]


@final
class AdministrationServer:
    """One session of one card, server end, for one thread at a time.

    `handle` is total over requests; `result` and `error` tell how it ended. `uri` is where the card posts first; each
    further one has a token of its own, drawn with `rng`, so that a request is answered once. `agent`, if given, is the
    only X-Admin-From that is let in.
    """

    def __init__(self, plan: Plan[Any], uri: str, rng: Callable[[int], bytes], *, agent: str | None = None) -> None:
        self.result: Any = None
        self.error: KeywrightError | None = None
        self.is_done = False
        self._plan = plan
        self._uri = uri
        self._rng = rng
        self._agent = agent
        self._next = self._previous = uri
        self._script: Script | None = None

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request: an order, or an error status that closes the session on the card."""
        try:
            report = Report.read(request)
        except WireError:
            return HttpResponse(400)
        if self._agent is not None and report.agent != self._agent:
            return HttpResponse(404)
        expected = {self._next} if report.result is not None else {self._next, self._previous, self._uri}
        if report.uri not in expected:
            return HttpResponse(404)
        if self.is_done:
            return Order().build() if report.resume else HttpResponse(404)
        try:
            return self._answer(report)
        except WireError:
            return HttpResponse(400)

    def _answer(self, report: Report) -> HttpResponse:
        result = report.result
        if self._script is None:
            if result is not None:
                raise WireError("a result of no script")
            return self._go(lambda: next(self._plan))
        if result is not None:
            return self._go(lambda: self._plan.send(result))
        if not report.resume and report.uri != self._uri:
            raise WireError("the result of the last script is missing")
        # Where it resumes tells: at the next URI only after the whole script.
        delivered = True if report.resume and report.uri == self._next else None
        lost = LinkError("the card came back after a break", delivered, hint="look what the last script did")
        return self._go(lambda: self._plan.throw(lost))

    def _go(self, step: Callable[[], Script]) -> HttpResponse:
        try:
            self._script = step()
        except StopIteration as stop:
            self.result, self.is_done = stop.value, True
            return Order().build()
        except KeywrightError as error:
            self.error, self.is_done = error, True
            return Order().build()
        self._previous = self._next
        self._next = f"{self._uri}{'&' if '?' in self._uri else '?'}s={self._rng(_TOKEN_BYTES).hex()}"
        return Order(self._script, self._next).build()
