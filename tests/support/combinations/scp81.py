"""SCP81: how an administration session can go: targets, kinds of script, levels, breaks and retries (Amd B 3.3, 3.4).

TLS is not here: what crosses are the HTTP messages inside it, and the security level that its cipher suite is worth.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator, Iterator
from typing import Any, Literal, NamedTuple

from keywright.errors import LinkError, WireError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp80.expanded import Script as Commands
from keywright.scp.scp81.administration import ANSWERS, SUITES, X_SCRIPT_STATUS, Script, ScriptResult
from keywright.scp.scp81.card import AdministrationAgent, Ended, Failure, Open
from keywright.scp.scp81.domains import ScriptDomains, Target
from keywright.scp.scp81.http import HttpRequest, RequestReader, ResponseReader
from keywright.scp.scp81.parameters import KeyReference, SecurityParameters, Settings
from keywright.scp.scp81.server import AdministrationServer
from keywright.scp.transport import TransportSession
from support.combinations.outcome import Attack, Outcome
from support.combinations.sessions import Stream
from support.over_the_air import flipped

AID = bytes.fromhex("A0000005591010FFFFFFFF8900000100")
URI = "/ram?cmd=1"
KVN = 0x40
INSTRUCTIONS = (0xF2, 0xE6, 0xE4)
LEVELS = tuple(dict.fromkeys(level for _, level in SUITES.values()))
Where = Literal["session's domain", "associated", "not associated", "own keys", "no domain", "unknown"]
Fault = Literal["none", "request lost", "answer lost", "silence"]
NOT_COVERED = (
    "bits of HTTP messages other than in the address of a request: TLS protects them, and TLS is not in this table",
)


class _Executor:
    """Answers every command with its instruction and the level it came with."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    def start(self) -> None:
        """A new command session."""

    def execute(self, command: Command, session: TransportSession, /) -> Response:
        """One command."""
        self.ran.append(command.ins)
        return Response(bytes((command.ins, session.protection)))


class Scp81(NamedTuple):
    """One session of three scripts. `fault` strikes at exchange `at`; `retries`: further sessions that are tried."""

    where: Where
    content_type: str
    indefinite: bool
    level: int
    fault: Fault = "none"
    at: int = 0
    retries: int = 0

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return "SCP81"

    @property
    def channel(self) -> int:
        """There is none."""
        return 0

    @property
    def is_legal(self) -> bool:
        """All are."""
        return True


class _World:
    """Both ends and what is between them; flips one bit of the address of the nth request."""

    def __init__(self, kind: Scp81, flip: tuple[int, int] | None = None) -> None:
        self.executor = _Executor()
        targets: dict[Where, Target] = {
            "associated": Target(self.executor),
            "not associated": Target(self.executor, associated=False),
            "own keys": Target(self.executor, has_keys=True),
            "no domain": Target(self.executor, is_security_domain=False),
        }
        reachable = {AID: targets[kind.where]} if kind.where in targets else {}
        domains = ScriptDomains(self.executor, TransportSession(0x81, kind.level, KVN), reachable)
        self.agent = AdministrationAgent(domains)
        self.server = AdministrationServer(_plan(kind), URI, Stream("server"))
        security = SecurityParameters(b"id", KeyReference(KVN, 1))
        self.agent.trigger(
            Settings(b"\x35\x01\x03", security, "admin.host", "//agent", URI, kind.retries, inactivity_s=60)
        )
        self.kind, self.flip = kind, flip
        self.wire: list[bytes] = []
        self.requests: list[HttpRequest] = []
        self.arrived: list[HttpRequest] = []
        self.now = 0.0

    def run(self) -> Ended:
        """Until the card has done with it."""
        for _ in range(100):
            actions = self.agent.outgoing(self.now)
            for action in actions:
                self._do(action)
            ended = [event for event in self.agent.events() if isinstance(event, Ended)]
            if ended:
                return ended[0]
            deadline = self.agent.deadline()
            if deadline is not None and not actions:
                self.now = deadline
        raise AssertionError("the session does not end")

    def _do(self, action: object) -> None:
        if isinstance(action, Open):
            self.agent.connected(self.now)
        elif isinstance(action, HttpRequest):
            self._exchange(action)

    def _exchange(self, action: HttpRequest) -> None:
        number = len(self.requests)
        self.requests.append(action)
        fault = self.kind.fault if number == self.kind.at else "none"
        self.wire.append(action.encode(10))
        if fault == "request lost":
            self.agent.failed(Failure.LOST, self.now)
            return
        self.arrived.append(action)
        answer = self.post(action, number)
        self.wire.append(answer)
        if fault == "answer lost":
            self.agent.failed(Failure.LOST, self.now)
        elif fault != "silence":
            (response,) = ResponseReader().feed(answer)
            self.agent.receive(response, self.now)

    def post(self, request: HttpRequest, number: int = -1) -> bytes:
        """A request to the server as bytes; the bytes of the answer."""
        target = request.target
        if self.flip is not None and self.flip[0] == number:
            target = flipped(target.encode(), self.flip[1]).decode("latin-1")
        try:
            (read,) = RequestReader().feed(HttpRequest(request.method, target, request.headers, request.body).encode())
        except (ValueError, WireError):
            return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        return self.server.handle(read).encode(7, tight=True)


def _plan(kind: Scp81) -> Generator[Script, ScriptResult, list[Any]]:
    """Three scripts; one whose answer is lost is not repeated."""
    found: list[Any] = []
    target = None if kind.where == "session's domain" else AID
    for ins in INSTRUCTIONS:
        body = Commands.of([Command(0x80, ins, 0, 0, b"", 0)], indefinite=kind.indefinite).build()
        try:
            found.append((yield Script(body, target, kind.content_type)))
        except LinkError as error:
            found.append(error.delivered)
    return found


def run(kind: Scp81) -> Outcome:
    """The whole session, from trigger to end."""
    world = _World(kind)
    ended = world.run()
    known = kind.where not in ("no domain", "unknown")
    broken = kind.fault != "none"
    assert (ended.reason == "") is (not broken or bool(kind.retries))
    assert len(world.executor.ran) == len(set(world.executor.ran)), "a script ran twice"
    assert len(world.executor.ran) <= (len(INSTRUCTIONS) if known else 0)
    if not broken:
        assert world.server.is_done
        assert len(world.executor.ran) == (len(INSTRUCTIONS) if known else 0)
    text = f"{ended.reason} {world.server.result} {world.server.error} {world.now}".encode()
    digest = hashlib.sha256(b"\0".join([*world.wire, text])).digest()
    return Outcome(digest, digest, lambda: _attack(kind, world))


def _attack(kind: Scp81, world: _World) -> Attack:
    """One bit of the address of a request, every request again, and a result before its script."""
    for request in world.arrived:
        # A first request once more, while there is work to do, is a card that begins again.
        if world.server.is_done or request.get(X_SCRIPT_STATUS) is not None:
            assert not _gives_script(world.post(request)), "a script was given out once more"
    return Attack(_tampered(kind), repeated=True, reordered=_reordered(kind))


def _gives_script(answer: bytes) -> bool:
    return b" 200 " in answer.splitlines()[0]


def _unbroken(kind: Scp81, flip: tuple[int, int] | None = None) -> _World:
    return _World(kind._replace(fault="none", retries=0), flip)


def _tampered(kind: Scp81) -> str:
    clean = _unbroken(kind)
    clean.run()
    seed = int.from_bytes(hashlib.sha256(repr(kind).encode()).digest())
    number = seed % len(clean.requests)
    bit = seed // len(clean.requests) % (8 * len(clean.requests[number].target))
    world = _unbroken(kind, (number, bit))
    ended = world.run()
    assert ended.reason.startswith("the server answered 40")
    assert not world.server.is_done
    assert world.executor.ran == clean.executor.ran[:number]
    return "command"


def _reordered(kind: Scp81) -> bool:
    """The second and the last request of a session before the first."""
    clean, world = _unbroken(kind), _unbroken(kind)
    clean.run()
    for request in (clean.requests[1], clean.requests[-1]):
        assert not _gives_script(world.post(request))
    assert _gives_script(world.post(clean.requests[0]))
    return True


def _all() -> Iterator[Scp81]:
    """The level shows only where the TLS session answers for the script; breaks with one kind of script."""
    trusted: tuple[Where, ...] = ("session's domain", "associated")
    others: tuple[Where, ...] = ("not associated", "own keys", "no domain", "unknown")
    wheres: list[tuple[Where, int]] = [*itertools.product(trusted, LEVELS), *((where, LEVELS[0]) for where in others)]
    for (where, level), content_type, indefinite in itertools.product(wheres, ANSWERS, (True, False)):
        yield Scp81(where, content_type, indefinite, level)
    plain = Scp81("session's domain", next(iter(ANSWERS)), indefinite=True, level=LEVELS[0])
    faults: tuple[Fault, ...] = ("request lost", "answer lost", "silence")
    for fault, at, retries in itertools.product(faults, range(len(INSTRUCTIONS) + 1), (0, 1)):
        yield plain._replace(fault=fault, at=at, retries=retries)


def combinations(*, everything: bool = False) -> Iterator[Scp81]:
    """All of them always."""
    del everything
    yield from _all()
