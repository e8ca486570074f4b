"""The card's side of remote administration: it calls, runs scripts, tries again (Amd B 3.3 to 3.5).

An endpoint over typed values: it says when to connect, what to post and when to hang up, and is told what came of it.
Three counters are never mixed: tries of a session, tries of an address, and none at all after a TLS alert.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, final

import msgspec

from keywright.errors import WireError
from keywright.scp.scp81.administration import ANSWERS, Order, Report, Script, ScriptResult
from keywright.scp.scp81.http import HttpRequest, HttpResponse
from keywright.scp.scp81.parameters import Settings

_ABSOLUTE: Final = ("http://", "https://")


class Open(msgspec.Struct, frozen=True):
    """Connect with TLS to this host; `address` empty: the terminal finds it."""

    host: str
    address: str
    settings: Settings


class Close(msgspec.Struct, frozen=True):
    """Hang up."""


Action = Open | Close | HttpRequest


class Failure(enum.Enum):
    """What may happen to a connection."""

    NOT_CONNECTED = "no connection"
    LOST = "connection lost"
    ALERT = "TLS alert, wrong PSK, wrong MAC or version"


class Ended(msgspec.Struct, frozen=True):
    """A session is over. `reason` is empty when it was done."""

    settings: Settings
    reason: str = ""


class Retrying(msgspec.Struct, frozen=True):
    """A try failed; the next one comes at `at`."""

    at: float
    new_session: bool


Event = Ended | Retrying


class Domain(Protocol):
    """What runs scripts on the card."""

    def run(self, script: Script, *, new_session: bool) -> ScriptResult:
        """Run one. `new_session`: target or media type changed, so secure channels inside are over."""
        ...


class _State(enum.Enum):
    IDLE = "idle"
    DELAYED = "delayed"
    CONNECTING = "connecting"
    WAITING = "waiting for the server"


@final
class AdministrationAgent:
    """The client on the card. `trigger` starts a session, or queues it while another one runs."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._queue: deque[Settings] = deque()
        self._state = _State.IDLE
        self._actions: list[Action] = []
        self._events: list[Event] = []
        self._session: _Session | None = None
        self._until: float | None = None

    # ---- what drives it -----------------------------------------------------------------------------------------

    def trigger(self, settings: Settings) -> None:
        """Start an administration session."""
        self._queue.append(settings)
        if self._session is None:
            self._start()

    def connected(self, now: float) -> None:
        """The connection of the last `Open` is up: the first request goes out."""
        session = self._in(_State.CONNECTING)
        if session is not None:
            self._post(session, now)

    def failed(self, failure: Failure, now: float) -> None:
        """The connection did not come up, or broke."""
        session = self._session
        if session is None or self._state is _State.DELAYED:
            return
        if failure is Failure.ALERT:
            self._end(failure.value)
        elif self._state is _State.WAITING:
            self._try_session(session, now, failure.value)
        else:
            self._try_address(session, now, failure.value)

    def receive(self, response: HttpResponse, now: float) -> None:
        """Take the server's answer: run its script, and post again, or hang up. What comes unasked is dropped."""
        session = self._in(_State.WAITING)
        if session is None:
            return
        try:
            order = Order.read(response)
            result, content_type = self._run(session, order.script)
            following = session.next_host(order.next_uri)
        except WireError as error:
            self._actions.append(Close())
            self._end(str(error))
            return
        session.resume = False
        session.result, session.content_type = result, content_type
        if order.next_uri is None:
            self._actions.append(Close())
            self._end("")
        elif following:
            self._actions.append(Close())
            self._connect(session)
        else:
            self._post(session, now)

    def reset(self, now: float) -> None:
        """The card was reset: a delay may be skipped, a connection is gone."""
        if self._state is _State.DELAYED:
            self._until = now
        else:
            self.failed(Failure.LOST, now)

    def outgoing(self, now: float) -> Sequence[Action]:
        """What to do now, in order; each is given out once. Also does what is due."""
        session = self._session
        if session is not None and self._until is not None and now >= self._until:
            if self._state is _State.DELAYED:
                self._connect(session)
            else:
                self._actions.append(Close())
                self._try_session(session, now, "the server did not answer in time")
        actions, self._actions = self._actions, []
        return actions

    def deadline(self) -> float | None:
        """When `outgoing` wants to be called at the latest."""
        return self._until

    def events(self) -> Sequence[Event]:
        """What has happened since the last call."""
        events, self._events = self._events, []
        return events

    # ---- what it does -------------------------------------------------------------------------------------------

    def _in(self, state: _State) -> _Session | None:
        return self._session if self._state is state else None

    def _start(self) -> None:
        self._session = _Session(self._queue.popleft())
        self._connect(self._session)

    def _connect(self, session: _Session) -> None:
        self._state, self._until = _State.CONNECTING, None
        self._actions.append(Open(session.host, session.address, session.settings))

    def _post(self, session: _Session, now: float) -> None:
        settings = session.settings
        report = Report(
            session.uri,
            session.host,
            settings.agent,
            session.result,
            session.content_type,
            session.resume,
        )
        self._actions.append(report.build())
        self._state = _State.WAITING
        session.posted = True
        self._until = now + settings.inactivity_s if settings.inactivity_s is not None else None

    def _run(self, session: _Session, script: Script | None) -> tuple[ScriptResult | None, str | None]:
        if script is None:
            return None, None
        key = (script.target, script.content_type)
        result = self._domain.run(script, new_session=session.command_session != key)
        session.command_session = key
        return result, ANSWERS[script.content_type]

    def _try_address(self, session: _Session, now: float, why: str) -> None:
        if session.address_tries > 0:
            session.address_tries -= 1
            self._delay(now, session.settings.address_delay_s, new_session=False)
        elif session.next_address():
            self._delay(now, 0, new_session=False)
        else:
            self._try_session(session, now, why)

    def _try_session(self, session: _Session, now: float, why: str) -> None:
        if session.session_tries <= 0:
            self._end(why)
            return
        session.session_tries -= 1
        session.begin_again()
        self._delay(now, session.settings.session_delay_s, new_session=True)

    def _delay(self, now: float, seconds: float, *, new_session: bool) -> None:
        self._state, self._until = _State.DELAYED, now + seconds
        self._events.append(Retrying(self._until, new_session))

    def _end(self, reason: str) -> None:
        if self._session is not None:
            self._events.append(Ended(self._session.settings, reason))
        self._session, self._state, self._until = None, _State.IDLE, None
        if self._queue:
            self._start()


class _Session:
    """Where one session stands."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.host = settings.host
        self.uri = settings.uri
        self.session_tries = settings.session_retries
        self.posted = False
        self.resume = False
        self.result: ScriptResult | None = None
        self.content_type: str | None = None
        self.command_session: tuple[bytes | None, str] | None = None
        self._elsewhere = False
        self._begin()

    def _begin(self) -> None:
        known = (*self.settings.addresses, *self.settings.fallbacks) or ("",)
        self._addresses = deque(("",) if self._elsewhere else known)
        self.address_tries = self.settings.address_retries

    @property
    def address(self) -> str:
        """The address in turn, empty where the terminal is to find it."""
        return self._addresses[0]

    def next_address(self) -> bool:
        """Go on to the next address; False if there is none."""
        self._addresses.popleft()
        self.address_tries = self.settings.address_retries
        return bool(self._addresses)

    def begin_again(self) -> None:
        """A new try of the session: all addresses, and what was interrupted is resumed without its result."""
        self._begin()
        self.resume, self.result, self.content_type = self.posted, None, None
        self.command_session = None

    def next_host(self, uri: str | None) -> bool:
        """Take the next URI; whether it is on another server. Raises WireError for one that cannot be posted to."""
        if uri is None:
            return False
        scheme = next((scheme for scheme in _ABSOLUTE if uri.lower().startswith(scheme)), "")
        host, slash, path = uri[len(scheme) :].partition("/") if scheme else ("", "/", uri.removeprefix("/"))
        if any(not "\x20" < letter < "\x7f" for letter in uri) or (scheme and not host) or not uri:
            raise WireError("the next URI cannot be posted to")
        self.uri = slash + path if slash else "/"
        if not scheme or host == self.host:
            return False
        self.host, self._elsewhere = host, True
        self._begin()
        return True
