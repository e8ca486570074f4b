"""Drives a lot on a cluster: makes its stations, has them work, and says when nothing is left.

It holds no state that counts. Killed and started again it finds the stations at work; where the cluster was lost it
ends, and its supervisor starts it into the next one. Run by `production.cluster.run`, with a `LotPlan` on its input.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, final

import msgspec

from keywright.production.cluster.actor import StationActor
from keywright.production.cluster.library import ClusterLostError
from keywright.production.cluster.plan import PREFIX, End, Report, StationPlan

CALL_S: Final = 4.0
"""How long a station takes up new units in one call."""
GIVE_UP_S: Final = 8.0
"""Without a word from any station for so long after one failed, the cluster is taken for lost."""
PENDING_S: Final = 30.0
"""After so long without its first answer, a station is asked for: is there a machine with its reader?"""
TROUBLE_S: Final = 120.0
"""Trouble that lasts so long at a station, store or link, is not passing: the station is left out."""
_PAUSE_S: Final = 0.3
_TICK_S: Final = 0.5
_REAP_S: Final = 1.0
_LOOK_S: Final = 0.5
STUCK_S: Final = 300.0
"""A call of so long is given up, and the station made anew: no step of a unit may take so long."""
_CPUS: Final = 0.01
"""Of a machine's logical processors: a station waits for its device most of the time."""

logger = logging.getLogger(__name__)


class Lot(Protocol):
    """The lot as its driver sees it."""

    def reap(self) -> int:
        """Put units of stations that are gone where they are recovered; how many."""
        ...

    def left(self) -> int:
        """Units that are not finished."""
        ...

    def leased(self) -> int:
        """Units that some station has in hand."""
        ...


class Lane(Protocol):
    """Work of the bulk lane, beside the stations."""

    def calls(self) -> Iterable[Any]:
        """References that are waited for, among them new ones if there is something to begin."""
        ...

    def take(self, call: Any) -> bool:
        """Take the result of one of `calls`, or its failure. False for a reference of others."""
        ...


@final
class _Seat:
    """One station as the driver sees it."""

    def __init__(self, plan: StationPlan, name: str) -> None:
        self.plan = plan
        self.name = name
        self.actor: Any = None
        self.call: Any = None
        self.due = 0.0
        self.made = 0.0
        self.called = 0.0
        self.answered = False
        self.idle = False
        self.failing_since: float | None = None
        self.trouble_since: float | None = None
        self.ended: Report | None = None
        self.missing: Report | None = None

    @property
    def is_resting(self) -> bool:
        """Whether no answer is to be waited for."""
        return self.call is None or self.missing is not None


@final
class Driver:
    """The loop. Ray is handed in connected; `names` gives each station's actor its name."""

    def __init__(
        self,
        ray: Any,
        lot: Lot,
        stations: Iterable[tuple[str, StationPlan]],
        *,
        bulk: Lane | None = None,
        clock: Callable[[], float] = time.monotonic,
        actor: type = StationActor,
    ) -> None:
        """`stations`: each with the name of its actor, made by `plan.actor_name`."""
        self._ray = ray
        self._lot = lot
        self._bulk = bulk
        self._clock = clock
        self._class = actor
        self._seats = [_Seat(plan, name) for name, plan in stations]
        self._heard = clock()
        self._reaped = 0.0
        self._look = 0.0
        self._stopped = ""

    def run(self, alive: Callable[[], None] = lambda: None) -> End:
        """Work until nothing is left, or the lot has to stop. Raises ClusterLostError to be started anew.

        `alive` is called at every round.
        """
        self._end_strangers()
        while True:
            alive()
            if (end := self._end()) is not None:
                return end
            now = self._clock()
            if now - self._reaped >= _REAP_S:
                self._reaped = now
                self._reap()
            for seat in self._seats:
                self._see_to(seat, now)
            self._collect()
            self._check_heard()

    def close(self) -> None:
        """End the stations: nothing is left for them. A lost cluster has ended them itself."""
        for seat in self._seats:
            if seat.actor is not None:
                with contextlib.suppress(Exception):
                    self._ray.get(seat.actor.close.remote(), timeout=CALL_S)
                with contextlib.suppress(Exception):
                    self._ray.kill(seat.actor)

    def _reap(self) -> int:
        """Units of the dead are there to be taken up again: whoever found nothing looks again."""
        found = self._lot.reap()
        if found:
            self._wake()
        return found

    # ---- stations

    def _end_strangers(self) -> None:
        """End actors of this lot that are not ours: of another recipe, of other code, of a station that is no more."""
        known = {seat.name for seat in self._seats}
        for name in self._ray.util.list_named_actors():
            if name.startswith(PREFIX) and name not in known:
                logger.warning("ending actor %s, which is not of this plan", name)
                with contextlib.suppress(ValueError):
                    self._ray.kill(self._ray.get_actor(name))

    def _see_to(self, seat: _Seat, now: float) -> None:
        if seat.call is not None:
            self._look_after(seat, now)
            return
        if seat.ended is not None or now < seat.due or self._stopped:
            return
        try:
            if seat.actor is None:
                seat.actor, seat.made, seat.answered = self._make(seat), now, False
            seat.call, seat.called = seat.actor.work.remote(CALL_S), now
        except self._ray.exceptions.RayError as error:
            self._failed(seat, error)

    def _make(self, seat: _Seat) -> Any:
        plan = seat.plan
        options = {
            "name": seat.name,
            "lifetime": "detached",
            "get_if_exists": True,
            "max_restarts": -1,
            "max_task_retries": 0,  # Ray must not repeat what may have reached a device
            "max_concurrency": 1,
            "num_cpus": _CPUS,
            "resources": {plan.resource: 1} if plan.resource else {},
        }
        return self._ray.remote(self._class).options(**options).remote(msgspec.json.encode(plan))

    def _look_after(self, seat: _Seat, now: float) -> None:
        if not seat.answered and now - seat.made > PENDING_S:
            self._check_resource(seat, now)
        elif seat.answered and now - seat.called > STUCK_S:
            logger.error("station %s: no answer for %.0f s, made anew", seat.plan.name, STUCK_S)
            self._forget(seat)

    def _check_resource(self, seat: _Seat, now: float) -> None:
        """Ray waits without a word for a machine that does not come; we say which, and do not hold the lot up for it.

        Should it come while others are at work, the station begins.
        """
        seat.made, seat.missing = now, None
        resource = seat.plan.resource
        wanted = sum(one.plan.resource == resource and one.ended is None for one in self._seats)
        there = int(self._ray.cluster_resources().get(resource, 0)) if resource else wanted
        if there < wanted:
            found = f"only {there} of {wanted}" if there else "no"
            text = f"{found} {resource!r} in the cluster: station {seat.plan.name} waits for a machine with one"
            seat.missing = Report(trouble=text, hint="start one: keywright cluster node --reader URI")
        logger.warning("station %s has not begun after %.0f s", seat.plan.name, PENDING_S)

    def _forget(self, seat: _Seat) -> None:
        if seat.actor is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(seat.actor)
        seat.actor = seat.call = seat.missing = None

    # ---- answers

    def _collect(self) -> None:
        """Take every answer that is there. Asked for one at a time, Ray gives the quick stations again and again."""
        calls = [seat.call for seat in self._seats if seat.call is not None]
        calls += [] if self._bulk is None else self._bulk.calls()
        if not calls:
            time.sleep(_PAUSE_S)
            return
        ready, rest = self._ray.wait(calls, num_returns=1, timeout=_TICK_S)
        if ready and rest:
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for call in ready:
            seat = next((one for one in self._seats if one.call is call or one.call == call), None)
            if seat is not None:
                self._take(seat)
            elif self._bulk is not None and self._bulk.take(call):
                self._wake()  # rows that a task has hold of are passed over by whoever looks for units

    def _take(self, seat: _Seat) -> None:
        call, seat.call = seat.call, None
        try:
            report = msgspec.json.decode(self._ray.get(call), type=Report)
        except self._ray.exceptions.RayError as error:
            self._failed(seat, error)
            return
        now = self._heard = self._clock()
        seat.answered, seat.failing_since, seat.idle, seat.missing = True, None, report.idle, None
        seat.due = now + (_PAUSE_S if report.idle or report.trouble else 0.0)
        if report.sealed or report.failed or report.left_open:
            self._wake()
        if report.stopped:
            self._stopped = report.stopped
        if not report.trouble:
            seat.trouble_since = None
            return
        logger.warning("station %s: %s", seat.plan.name, report.trouble)
        if seat.trouble_since is None:
            seat.trouble_since = now
        if report.final or now - seat.trouble_since > TROUBLE_S:
            seat.ended = report

    def _failed(self, seat: _Seat, error: Exception) -> None:
        """The actor did not answer: it is being made again, or has to be, or its whole cluster is gone."""
        now = self._clock()
        logger.warning("station %s: %s", seat.plan.name, type(error).__name__)
        if seat.failing_since is None:
            seat.failing_since = now
        seat.due = now + _PAUSE_S
        if not isinstance(error, self._ray.exceptions.ActorUnavailableError):
            seat.actor = None

    def _check_heard(self) -> None:
        now = self._clock()
        failing = [seat.failing_since for seat in self._seats if seat.failing_since is not None]
        if failing and now - max(self._heard, min(failing)) > GIVE_UP_S:
            raise ClusterLostError(f"no station was heard of for {GIVE_UP_S:.0f} s; the cluster is taken for lost")

    def _wake(self) -> None:
        for seat in self._seats:
            seat.idle = False

    # ---- the end

    def _end(self) -> End | None:
        """How it ends, if it does: stopped, nothing left, or nothing left that a station would take up in this run."""
        resting = all(seat.is_resting for seat in self._seats)
        if self._stopped:
            return End(stopped=self._stopped) if resting else None
        at_rest = all(seat.idle or seat.ended or seat.missing for seat in self._seats)
        now = self._clock()
        if now < self._look and not (at_rest and resting):
            return None
        self._look = now + _LOOK_S
        if not self._lot.left():
            return End()
        preparing = self._bulk is not None and bool(self._bulk.calls())
        if not at_rest or not resting or preparing or self._lot.leased() or self._reap():
            return None
        troubles = [found for seat in self._seats if (found := seat.ended or seat.missing) is not None]
        return End(trouble=troubles[0].trouble, hint=troubles[0].hint) if troubles else End()
