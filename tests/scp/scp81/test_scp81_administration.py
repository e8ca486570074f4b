"""Administration sessions: what each end says, then both against each other, with every break there can be."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from keywright.errors import LinkError, StatusError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import check
from keywright.scp.level import Level
from keywright.scp.scp80.expanded import Script as Commands
from keywright.scp.scp80.expanded import ScriptResponse
from keywright.scp.scp81.administration import (
    ANSWERS,
    MANAGEMENT,
    PROTOCOL,
    SUITES,
    Order,
    Report,
    Script,
    ScriptResult,
    ScriptStatus,
    Trust,
    read_target,
    target_text,
    trust,
)
from keywright.scp.scp81.card import Action, AdministrationAgent, Close, Ended, Failure, Open, Retrying
from keywright.scp.scp81.domains import ScriptDomains, Target
from keywright.scp.scp81.http import HttpRequest, HttpResponse, RequestReader, ResponseReader
from keywright.scp.scp81.parameters import KeyReference, SecurityParameters, Settings
from keywright.scp.scp81.server import AdministrationServer, commands
from keywright.scp.transport import TransportSession

SESSION = TransportSession(0x81, 0xB3, 0x40)
AID = bytes.fromhex("A0000005591010FFFFFFFF8900000100")
AGENT = "//se-id/eid/89001012012341234012345678901224;//aa-id/aid/A000000559/1010FFFFFFFF8900000100"
BASE = Settings(b"\x35\x01\x03", SecurityParameters(b"id", KeyReference(0x40, 1)), "admin.host", AGENT, "/ram?cmd=1")


def settings(**changes: Any) -> Settings:
    return Settings(**({name: getattr(BASE, name) for name in BASE.__struct_fields__} | changes))


class Executor:
    """Answers every command with its instruction; keeps what it ran, at which level, and how often it began."""

    def __init__(self, fails: int = -1) -> None:
        self.ran: list[tuple[Command, int]] = []
        self.started = 0
        self.fails = fails

    def start(self) -> None:
        self.started += 1

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        self.ran.append((command, session.protection))
        return Response(b"", 0x6A88) if len(self.ran) - 1 == self.fails else Response(bytes((command.ins,)))


# ---- messages -------------------------------------------------------------------------------------------------


def test_a_request_and_its_order_look_as_the_specification_has_them() -> None:
    first = Report("/ram?cmd=1", "admin.host", AGENT).build()
    assert first.encode().startswith(b"POST /ram?cmd=1 HTTP/1.1\r\nHost: admin.host\r\nX-Admin-Protocol: ")
    assert [name for name, _ in first.headers] == ["Host", "X-Admin-Protocol", "X-Admin-From"]
    order = Order(Script(bytes.fromhex("AE80220580CAFF21000000"), AID), "/ram?cmd=2").build()
    assert order.status == 200
    assert order.get("X-Admin-Targeted-Application") == "//aid/A000000559/1010FFFFFFFF8900000100"
    assert order.get("X-Admin-Next-URI") == "/ram?cmd=2"
    answer = bytes.fromhex("AF808001012304930590000000")
    report = Report(
        "/ram?cmd=2", "admin.host", AGENT, ScriptResult(ScriptStatus.OK, answer), ANSWERS[MANAGEMENT]
    ).build()
    assert report.get("X-Admin-Script-Status") == "ok"
    assert report.get("Content-Type") == "application/vnd.globalplatform.card-content-mgt-response;version=1.0"
    assert Order().build() == HttpResponse(204, (("X-Admin-Protocol", PROTOCOL),))


REPORTS = [
    Report("/", "h", "a"),
    Report("/", "h", "a", resume=True),
    Report("/", "h", "a", ScriptResult(ScriptStatus.OK, b"x"), ANSWERS[MANAGEMENT]),
    Report("/", "h", "a", ScriptResult(ScriptStatus.UNKNOWN_APPLICATION)),
]
ORDERS = [
    Order(),
    Order(None, "/next"),
    Order(Script(b"x")),
    Order(Script(b"x", AID, "application/vnd.etsi.scp.command-data;version=1.0"), "/next"),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_survives(report: Report) -> None:
    (request,) = RequestReader().feed(report.build().encode(5))
    assert Report.read(request) == report


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_survives(order: Order) -> None:
    (response,) = ResponseReader().feed(order.build().encode(100, tight=True))
    assert Order.read(response) == order


def with_headers(message: HttpRequest, **changes: str | None) -> HttpRequest:
    headers: dict[str, str | None] = {}
    headers.update(message.headers)
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    kept = tuple((name, value) for name, value in headers.items() if value is not None)
    return HttpRequest(message.method, message.target, kept, message.body)


WHOLE = REPORTS[2].build()


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest("GET", "/", WHOLE.headers, WHOLE.body),
        with_headers(WHOLE, X_Admin_Protocol="other/1.0"),
        with_headers(WHOLE, X_Admin_Protocol=None),
        with_headers(WHOLE, Host=None),
        with_headers(WHOLE, X_Admin_From=None),
        with_headers(WHOLE, X_Admin_Script_Status=None),
        with_headers(WHOLE, X_Admin_Script_Status="fine"),
        with_headers(WHOLE, X_Admin_Resume="false"),
        with_headers(WHOLE, X_Admin_Resume="true"),
        with_headers(WHOLE, Content_Type=None),
        with_headers(WHOLE, Content_Type="text/plain"),
        HttpRequest("POST", "/", WHOLE.headers, b""),
        HttpRequest("POST", "/", (*WHOLE.headers, ("host", "h")), WHOLE.body),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(request_: HttpRequest) -> None:
    with pytest.raises(WireError):
        Report.read(request_)


@pytest.mark.parametrize(
    "response",
    [
        *(HttpResponse(status, ORDERS[2].build().headers) for status in (100, 201, 301, 401, 404, 500, 503)),
        HttpResponse(200, (("Content-Type", MANAGEMENT),), b"x"),
        HttpResponse(200, (("X-Admin-Protocol", "x"), ("Content-Type", MANAGEMENT)), b"x"),
        HttpResponse(200, (("X-Admin-Protocol", PROTOCOL),), b"x"),
        HttpResponse(200, (("X-Admin-Protocol", PROTOCOL), ("Content-Type", ANSWERS[MANAGEMENT])), b"x"),
        HttpResponse(
            200,
            (
                ("X-Admin-Protocol", PROTOCOL),
                ("Content-Type", MANAGEMENT),
                ("X-Admin-Targeted-Application", "//aid/A0/"),
            ),
            b"x",
        ),
    ],
)
def test_a_response_that_contradicts_itself_closes_the_session(response: HttpResponse) -> None:
    with pytest.raises(WireError):
        Order.read(response)
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    agent.trigger(BASE)
    agent.connected(0)
    agent.outgoing(0)
    agent.receive(response, 1)
    assert list(agent.outgoing(1)) == [Close()]
    (ended,) = agent.events()
    assert isinstance(ended, Ended)
    assert ended.reason


def test_unknown_headers_and_blanks_are_ignored() -> None:
    spaced = MANAGEMENT.replace(";", " ; ").upper()
    headers = (("X-Admin-Protocol", PROTOCOL), ("X-Other", "1"), ("Content-Type", spaced))
    assert Order.read(HttpResponse(200, headers, b"x")) == Order(Script(b"x"))


@pytest.mark.parametrize("size", range(5, 17))
def test_a_target_survives_in_either_case(size: int) -> None:
    aid = AID[:size]
    assert read_target(target_text(aid)) == aid
    assert read_target(target_text(aid).lower()) == aid


@pytest.mark.parametrize(
    "text", ["", "//aid/A00000055/", "//aid/A000000559", "//aid/A000000559/1", "//aid/A000000559/" + "00" * 12]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        read_target(text)
    with pytest.raises(ValueError, match="AID"):
        target_text(bytes(4))


@pytest.mark.parametrize(
    ("own", "keys", "associated", "rule"),
    [
        (True, True, True, Trust.TRUSTED),
        (True, False, False, Trust.TRUSTED),
        (False, False, True, Trust.TRUSTED),
        (False, False, False, Trust.ASSOCIATED),
        (False, True, True, Trust.OWN),
        (False, True, False, Trust.OWN),
    ],
)
def test_who_answers_for_a_script(*, own: bool, keys: bool, associated: bool, rule: Trust) -> None:
    assert trust(is_session_domain=own, has_keys=keys, associated_is_session_domain=associated) is rule


def test_suites_without_ciphering_give_no_decryption() -> None:
    for name, level in SUITES.values():
        assert bool(level & Level.C_DEC) == bool(level & Level.R_ENC) == ("NULL" not in name)
        assert level & (Level.AUTHENTICATED | Level.C_MAC | Level.R_MAC) == 0x91


# ---- both ends ------------------------------------------------------------------------------------------------

NEXT = [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"]


def server(plan: Generator[Script, ScriptResult, Any], **changes: Any) -> AdministrationServer:
    tokens = iter(range(1, 100))
    return AdministrationServer(plan, "/ram?cmd=1", lambda size: next(tokens).to_bytes(size), **changes)


def three(
    results: list[Any] | None = None, *, again: bool = False
) -> Generator[Script, ScriptResult, list[ScriptResult]]:
    """A plan of three scripts; with `again`, one whose answer is lost is not repeated."""
    found = []
    for ins in (0xF2, 0xE6, 0xE4):
        try:
            found.append((yield Script(Commands.of([Command(0x80, ins, 0, 0, b"", 0)]).build())))
        except LinkError as error:
            if results is not None:
                results.append(error.delivered)
            if not again:
                raise
    return found


class World:
    """Carries requests as bytes; `breaks` says at which exchange the answer (or the request) is lost."""

    def __init__(
        self, agent: AdministrationAgent, far: AdministrationServer, breaks: Sequence[tuple[int, str]] = ()
    ) -> None:
        self.agent = agent
        self.far = far
        self.breaks = dict(breaks)
        self.now = 0.0
        self.actions: list[Action] = []
        self.requests: list[HttpRequest] = []
        self.events: list[Ended | Retrying] = []

    def run(self) -> Ended:
        for _ in range(100):
            actions = self.agent.outgoing(self.now)
            self.actions += actions
            for action in actions:
                self._do(action)
            self.events += self.agent.events()
            ended = [event for event in self.events if isinstance(event, Ended)]
            if ended:
                self.actions += self.agent.outgoing(self.now)
                return ended[0]
            deadline = self.agent.deadline()
            if deadline is not None and not actions:
                self.now = deadline
        raise AssertionError("the session does not end")

    def _do(self, action: Action) -> None:
        if isinstance(action, Open):
            self.agent.connected(self.now)
        elif isinstance(action, HttpRequest):
            (request,) = RequestReader().feed(action.encode(10))
            self.requests.append(request)
            fault = self.breaks.get(len(self.requests) - 1, "")
            if fault == "request":
                self.agent.failed(Failure.LOST, self.now)
                return
            (response,) = ResponseReader().feed(self.far.handle(request).encode(7, tight=True))
            if fault == "answer":
                self.agent.failed(Failure.LOST, self.now)
            elif fault != "silence":
                self.agent.receive(response, self.now)


def test_a_session_runs_its_scripts_and_ends() -> None:
    executor = Executor()
    agent, far = AdministrationAgent(ScriptDomains(executor, SESSION)), server(three(), agent=AGENT)
    agent.trigger(BASE)
    world = World(agent, far)
    assert world.run() == Ended(BASE)
    assert [command.ins for command, level in executor.ran if level == 0xB3] == [0xF2, 0xE6, 0xE4]
    assert executor.started == 1
    assert far.is_done
    assert far.error is None
    answers = [ScriptResponse.parse(result.body).responses for result in far.result]
    assert answers == [(Response(b"\xf2"),), (Response(b"\xe6"),), (Response(b"\xe4"),)]
    assert world.actions[0] == Open("admin.host", "", BASE)
    assert world.actions[-1] == Close()
    assert [request.get("X-Admin-Script-Status") for request in world.requests] == [None, "ok", "ok", "ok"]


def test_a_dialogue_of_commands_runs_over_http() -> None:
    def dialogue() -> Generator[Command, Response, bytes]:
        first = check((yield Command(0x80, 0xCA, 0, 0x66, b"", 0)), "GET DATA")
        return first + check((yield Command(0x80, 0xF2, 0x80, 2, b"\x4f\0", 0)), "GET STATUS")

    agent, far = AdministrationAgent(ScriptDomains(Executor(), SESSION)), server(commands(dialogue()))
    agent.trigger(BASE)
    World(agent, far).run()
    assert far.result == b"\xca\xf2"
    agent, far = AdministrationAgent(ScriptDomains(Executor(fails=1), SESSION)), server(commands(dialogue()))
    agent.trigger(BASE)
    World(agent, far).run()
    assert isinstance(far.error, StatusError)
    agent, far = AdministrationAgent(ScriptDomains(Executor(), SESSION)), server(commands(dialogue(), target=AID))
    agent.trigger(BASE)
    World(agent, far).run()
    assert isinstance(far.error, WireError)
    assert "unknown-application" in str(far.error)


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("fault", ["request", "answer", "silence"])
def test_a_session_resumes_and_runs_nothing_twice(at: int, fault: str) -> None:
    executor = Executor()
    told: list[Any] = []
    agent, far = AdministrationAgent(ScriptDomains(executor, SESSION)), server(three(told, again=True))
    agent.trigger(settings(session_retries=1, session_delay_s=30, inactivity_s=60))
    world = World(agent, far, [(at, fault)])
    ended = world.run()
    assert world.requests[at + 1].get("X-Admin-Resume") == "true"
    assert not world.requests[at + 1].body
    assert world.requests[at + 1].get("X-Admin-Script-Status") is None
    assert sum(request.get("X-Admin-Resume") == "true" for request in world.requests) == 1
    ran = [command.ins for command, _ in executor.ran]
    assert len(ran) == len(set(ran))
    assert world.now >= 30
    assert (ended.reason, far.error) == ("", None)


def test_where_a_card_resumes_tells_whether_the_script_ran() -> None:
    for at, fault, delivered in ((1, "request", True), (0, "answer", None), (1, "answer", None)):
        told: list[Any] = []
        agent, far = AdministrationAgent(ScriptDomains(Executor(), SESSION)), server(three(told))
        agent.trigger(settings(session_retries=1))
        World(agent, far, [(at, fault)]).run()
        assert told == [delivered], (at, fault)
        assert isinstance(far.error, LinkError)


def test_without_retries_a_break_ends_the_session() -> None:
    agent, far = AdministrationAgent(ScriptDomains(Executor(), SESSION)), server(three())
    agent.trigger(BASE)
    assert World(agent, far, [(1, "request")]).run().reason == Failure.LOST.value


# ---- the server alone -----------------------------------------------------------------------------------------


def posted(uri: str, result: ScriptResult | None = None, *, resume: bool = False, agent: str = AGENT) -> HttpRequest:
    kind = ANSWERS[MANAGEMENT] if result and result.body else None
    return Report(uri, "admin.host", agent, result, kind, resume).build()


DONE = ScriptResult(ScriptStatus.OK, b"\xab\0")


def test_a_request_is_answered_once_and_only_where_it_is_due() -> None:
    far = server(three(), agent=AGENT)
    assert far.handle(posted("/ram?cmd=1", DONE)).status == 400
    assert far.handle(posted("/other")).status == 404
    assert far.handle(posted("/ram?cmd=1", agent="//somebody")).status == 404
    assert far.handle(HttpRequest("GET", "/ram?cmd=1")).status == 400
    first = Order.read(far.handle(posted("/ram?cmd=1")))
    assert first.next_uri is not None
    assert far.handle(posted(first.next_uri)).status == 400
    second = Order.read(far.handle(posted(first.next_uri, DONE)))
    assert second.next_uri not in (None, first.next_uri)
    assert far.handle(posted(first.next_uri, DONE)).status == 404
    assert far.handle(posted("/ram?cmd=1", DONE)).status == 404
    third = Order.read(far.handle(posted(second.next_uri or "", DONE)))
    assert Order.read(far.handle(posted(third.next_uri or "", DONE))) == Order()
    assert far.is_done
    assert far.handle(posted(third.next_uri or "", DONE)).status == 404


def test_a_card_that_begins_again_is_a_break() -> None:
    told: list[Any] = []
    far = server(three(told))
    far.handle(posted("/ram?cmd=1"))
    assert far.handle(posted("/ram?cmd=1")).status == 204
    assert told == [None]


# ---- the card alone ---------------------------------------------------------------------------------------------


def opened(agent: AdministrationAgent, now: float) -> list[str]:
    return [action.address for action in agent.outgoing(now) if isinstance(action, Open)]


def test_addresses_are_tried_in_turn_each_as_often_as_told() -> None:
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    agent.trigger(
        settings(addresses=("a", "b"), fallbacks=("c",), address_retries=1, address_delay_s=5, session_retries=1)
    )
    now, tried = 0.0, []
    for _ in range(20):
        tried += opened(agent, now)
        agent.failed(Failure.NOT_CONNECTED, now)
        now = agent.deadline() or now
    assert tried == ["a", "a", "b", "b", "c", "c"] * 2
    *retries, ended = agent.events()
    assert [event.new_session for event in retries if isinstance(event, Retrying)].count(True) == 1
    assert isinstance(ended, Ended)
    assert now == 30


@pytest.mark.parametrize("connected", [False, True])
def test_a_tls_alert_is_never_followed_by_another_try(*, connected: bool) -> None:
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    agent.trigger(settings(address_retries=5, session_retries=5))
    agent.outgoing(0)
    if connected:
        agent.connected(0)
    agent.failed(Failure.ALERT, 0)
    assert agent.events() == [Ended(settings(address_retries=5, session_retries=5), Failure.ALERT.value)]
    assert agent.deadline() is None


def test_a_trigger_during_a_session_waits() -> None:
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    second = settings(uri="/second")
    agent.trigger(BASE)
    agent.trigger(second)
    agent.outgoing(0)
    agent.connected(0)
    agent.outgoing(0)
    agent.receive(Order().build(), 1)
    assert list(agent.outgoing(1)) == [Close(), Open("admin.host", "", second)]
    agent.connected(1)
    (request,) = agent.outgoing(1)
    assert isinstance(request, HttpRequest)
    assert request.target == "/second"


def test_a_reset_skips_the_delay_and_costs_a_try() -> None:
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    agent.trigger(settings(session_retries=1, session_delay_s=1000))
    agent.outgoing(0)
    agent.connected(0)
    agent.outgoing(0)
    agent.reset(1)
    assert agent.deadline() == 1001
    agent.reset(2)
    assert opened(agent, 2) == [""]
    agent.failed(Failure.NOT_CONNECTED, 3)
    assert isinstance(agent.events()[-1], Ended)


def test_a_script_without_next_uri_is_run_and_not_answered() -> None:
    executor = Executor()
    agent = AdministrationAgent(ScriptDomains(executor, SESSION))
    agent.trigger(BASE)
    agent.connected(0)
    agent.outgoing(0)
    agent.receive(Order(Script(Commands.of([Command(0x80, 0xCA, 0, 0x66, b"", 0)]).build())).build(), 1)
    assert len(executor.ran) == 1
    assert list(agent.outgoing(1)) == [Close()]


@pytest.mark.parametrize(
    ("uri", "host", "target"),
    [
        ("/next", None, "/next"),
        ("next", None, "/next"),
        ("https://admin.host/next?a=1", None, "/next?a=1"),
        ("https://other.host/x", "other.host", "/x"),
        ("HTTP://other.host", "other.host", "/"),
    ],
)
def test_the_next_uri_may_be_on_another_server(uri: str, host: str | None, target: str) -> None:
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    agent.trigger(settings(addresses=("10.0.0.1",)))
    agent.connected(0)
    agent.outgoing(0)
    agent.receive(Order(None, uri).build(), 1)
    actions = list(agent.outgoing(1))
    if host is not None:
        assert [type(action) for action in actions] == [Close, Open]
        assert isinstance(actions[1], Open)
        assert (actions[1].host, actions[1].address) == (host, "")
        agent.connected(1)
        actions = list(agent.outgoing(1))
    (request,) = actions
    assert isinstance(request, HttpRequest)
    assert (request.target, request.get("Host")) == (target, host or "admin.host")


@pytest.mark.parametrize("uri", ["https:///x", "/a b", ""])
def test_a_next_uri_that_cannot_be_posted_to_closes_the_session(uri: str) -> None:
    agent = AdministrationAgent(ScriptDomains(Executor(), SESSION))
    agent.trigger(BASE)
    agent.connected(0)
    agent.outgoing(0)
    agent.receive(Order(None, uri).build(), 1)
    assert isinstance(agent.events()[-1], Ended)


def test_what_comes_unasked_changes_nothing() -> None:
    executor = Executor()
    agent = AdministrationAgent(ScriptDomains(executor, SESSION))
    script = Order(Script(Commands.of([Command(0x80, 0xCA, 0, 0x66, b"", 0)]).build()), "/next").build()
    agent.receive(script, 0)
    agent.connected(0)
    agent.failed(Failure.LOST, 0)
    agent.reset(0)
    assert list(agent.outgoing(0)) == []
    agent.trigger(BASE)
    agent.receive(script, 0)
    assert [type(action) for action in agent.outgoing(0)] == [Open]
    assert not executor.ran


# ---- targets --------------------------------------------------------------------------------------------------


def run(domains: ScriptDomains, script: Script, *, new_session: bool = True) -> ScriptResult:
    return domains.run(script, new_session=new_session)


def one(ins: int, target: bytes | None = None) -> Script:
    return Script(Commands.of([Command(0x80, ins, 0, 0, b"", 0)]).build(), target)


@pytest.mark.parametrize(
    ("target", "status", "level"),
    [
        (Target(Executor(), has_keys=False, associated=True), ScriptStatus.OK, 0xB3),
        (Target(Executor(), has_keys=False, associated=False), ScriptStatus.OK, 0),
        (Target(Executor(), has_keys=True), ScriptStatus.OK, 0),
        (Target(Executor(), is_security_domain=False), ScriptStatus.NOT_A_SECURITY_DOMAIN, None),
        (None, ScriptStatus.UNKNOWN_APPLICATION, None),
    ],
)
def test_a_target_gets_the_level_that_its_rule_gives(
    target: Target | None, status: ScriptStatus, level: int | None
) -> None:
    domains = ScriptDomains(Executor(), SESSION, {AID: target} if target else {})
    assert run(domains, one(0xF2, AID)).status is status
    if target is not None and isinstance(target.executor, Executor):
        assert [found for _, found in target.executor.ran] == ([level] if level is not None else [])


@pytest.mark.parametrize("ins", [0x50, 0x82, 0x88, 0x2A])
def test_the_domain_of_the_session_opens_no_channel_inside(ins: int) -> None:
    own, other = Executor(), Executor()
    domains = ScriptDomains(own, SESSION, {AID: Target(other, has_keys=True)})
    assert ScriptResponse.parse(run(domains, one(ins)).body).responses == (Response(b"", 0x6985),)
    assert ScriptResponse.parse(run(domains, one(ins, AID)).body).responses == (Response(bytes((ins,))),)
    assert (len(own.ran), len(other.ran)) == (0, 1)


def test_a_channel_inside_lives_as_long_as_the_command_session() -> None:
    own, other = Executor(), Executor()
    agent = AdministrationAgent(ScriptDomains(own, SESSION, {AID: Target(other, has_keys=True)}))

    def plan() -> Generator[Script, ScriptResult, None]:
        for target in (AID, AID, None, AID):
            yield one(0xF2, target)

    agent.trigger(BASE)
    World(agent, server(plan())).run()
    assert (other.started, own.started) == (2, 1)
    assert len(other.ran) == 3
