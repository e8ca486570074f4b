"""A lot of devices becomes nodes of a network over one radio: so many at once, the rest waiting.

Endpoint on the advertising bearer. A device that cannot be reached is tried again; one that may be a node already is
not, because it has to be probed first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import final

import msgspec

from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.certificates import check_time
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.ends import AgreementKey, RandomBytes
from keywright.mesh.enrolment import Candidate, Enrolled, Enrolment, EnrolmentEvent, Failed
from keywright.mesh.oob import Value
from keywright.mesh.pb_adv.link import PbAdvLink, Timing
from keywright.mesh.pb_adv.links import Links
from keywright.mesh.policy import Policy
from keywright.mesh.provisioner import Provisioner
from keywright.mesh.retrieval import HttpAnswer
from keywright.mesh.session import ProvisionerSession


class LotEvent(msgspec.Struct, frozen=True):
    """What has happened with one device of the lot."""

    candidate: Candidate
    event: EnrolmentEvent


class Radio(msgspec.Struct, frozen=True):
    """What a radio of advertising bearers is given: chance, keys, times."""

    new_key: Callable[[], AgreementKey]
    """A fresh P-256 key pair, one a session."""
    random_bytes: RandomBytes
    """n random octets."""
    random: Callable[[], float]
    """A number from 0 up to 1, for the delays between PDUs."""
    timing: Timing = Timing()
    at_once: int = 16
    """Links that are open at the same time at most."""
    attempts: int = 3
    """How often a device is called that does not answer."""


@final
class Enrolments:
    """Endpoint: enrolments side by side. Each candidate ends with one `Enrolled` or `Failed`."""

    def __init__(
        self,
        radio: Radio,
        database: NetworkDatabase,
        *,
        policy: Policy,
        timestamp: str,
        opening: Callable[[bytes, int], None] = lambda _, __: None,
        certificates: CertificatePolicy | None = None,
    ) -> None:
        """timestamp, certificates: as for `Enrolment`. opening(uuid, link_id): told before a link is opened."""
        if certificates is not None:
            check_time(timestamp)
        self._radio = radio
        self._database = database
        self._policy = policy
        self._timestamp = timestamp
        self._opening = opening
        self._certificates = certificates
        self._links: Links[EnrolmentEvent] = Links()
        self._waiting: deque[tuple[Candidate, int]] = deque()
        self._running: dict[int, tuple[Candidate, int, Enrolment]] = {}
        self._events: list[LotEvent] = []
        self._now = 0.0

    def __len__(self) -> int:
        """How many candidates have not ended."""
        return len(self._waiting) + len(self._running)

    def add(self, candidate: Candidate, now: float) -> None:
        """Enrol one more device. Raises UsageError for one that is under way."""
        others = [one for one, _ in self._waiting] + [one for one, _, _ in self._running.values()]
        if any(one.uuid == candidate.uuid for one in others):
            raise UsageError(f"{candidate.uuid.hex()} is being provisioned already")
        self._waiting.append((candidate, 1))
        self._now = now

    def enter(self, uuid: bytes, value: Value, now: float) -> None:
        """The value that this device shows. Raises UsageError for no such device, and as `Enrolment.enter`."""
        self._do(uuid, lambda enrolment: enrolment.enter(value, now), now)

    def retrieved(self, uuid: bytes, answer: HttpAnswer | KeywrightError, now: float) -> None:
        """What came of a `RetrievalWanted` of this device. Raises UsageError for no such device, SequenceError."""
        if isinstance(answer, HttpAnswer):
            self._do(uuid, lambda enrolment: enrolment.retrieved(answer, now), now)
        else:
            self._do(uuid, lambda enrolment: enrolment.not_retrieved(answer, now), now)

    def _do(self, uuid: bytes, step: Callable[[Enrolment], None], now: float) -> None:
        for link_id, (candidate, _, enrolment) in self._running.items():
            if candidate.uuid == uuid:
                step(enrolment)
                self._links.wake(link_id, now)
                return
        raise UsageError(f"{uuid.hex()} is not being provisioned")

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data."""
        self._links.receive(data, now)

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now."""
        self._start(now)
        frames = [*self._links.outgoing(now)]
        self._notice()
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        return self._now if self._has_room else self._links.deadline()

    def events(self) -> Sequence[LotEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    @property
    def _has_room(self) -> bool:
        return bool(self._waiting) and len(self._links) < self._radio.at_once

    def _start(self, now: float) -> None:
        self._now = now
        radio = self._radio
        while self._has_room:
            candidate, attempt = self._waiting.popleft()
            link_id = self._links.new_link_id(radio.random_bytes)
            self._opening(candidate.uuid, link_id)
            link = PbAdvLink.connect(candidate.uuid, link_id, now, random=radio.random, timing=radio.timing)
            enrolment = Enrolment(
                ProvisionerSession(Provisioner(radio.new_key(), radio.random_bytes), link),
                self._database,
                candidate,
                policy=self._policy,
                timestamp=self._timestamp,
                certificates=self._certificates,
            )
            self._running[link_id] = (candidate, attempt, enrolment)
            self._links.add(link_id, enrolment, now)

    def _notice(self) -> None:
        for link_id, event in self._links.events():
            candidate, attempt, _ = self._running[link_id]
            if isinstance(event, Enrolled | Failed):
                del self._running[link_id]
            if isinstance(event, Failed) and self._again(event, attempt):
                self._waiting.append((candidate, attempt + 1))
            else:
                self._events.append(LotEvent(candidate, event))

    def _again(self, event: Failed, attempt: int) -> bool:
        return isinstance(event.error, LinkError) and not event.may_be_node and attempt < self._radio.attempts
