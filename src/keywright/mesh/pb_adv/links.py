"""Several PB-ADV links at one radio, told apart by their Link ID (MshPRT 5.2.1, 5.3.2).

A provisioner may provision many devices at once; a frame of a link is given to that link's endpoint alone, so that a
thousand links cost no more than one each.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar, final

from keywright.errors import DecodeError
from keywright.mesh.advertising import PB_ADV, ad_structures
from keywright.mesh.pb_adv.messages import LinkOpen, PbAdvPdu, parse_generic
from keywright.sansio.endpoint import Endpoint

Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")


class OnLink(Endpoint[Event_co], Protocol[Event_co]):
    """An endpoint on one link."""

    @property
    def is_over(self) -> bool:
        """Whether its link is closed and nothing more is to be sent."""
        ...


@final
class Links(Generic[Event]):
    """Endpoint: everything on the links of one provisioner. Frames are advertising data.

    What is put in is an endpoint on a `PbAdvLink`: a session or an enrolment. It is forgotten when it is over.
    """

    def __init__(self) -> None:
        self._links: dict[int, OnLink[Event]] = {}
        self._used: set[int] = set()
        self._touched: dict[int, None] = {}
        self._due: list[tuple[float, int]] = []
        self._planned: dict[int, float] = {}
        self._events: list[tuple[int, Event]] = []
        self._now = 0.0

    def __len__(self) -> int:
        """How many links are not closed."""
        return len(self._links)

    def new_link_id(self, random: Callable[[int], bytes]) -> int:
        """A Link ID that this radio has not used, so that nothing late of an old link is taken for this one.

        random(n): n random octets.
        """
        while (link_id := int.from_bytes(random(4))) in self._used:
            pass
        return link_id

    def add(self, link_id: int, endpoint: OnLink[Event], now: float) -> None:
        """Run an endpoint whose link has this Link ID. Raises ValueError for one that was used before."""
        if link_id in self._used:
            raise ValueError(f"Link ID {link_id:08X} was used before")
        self._used.add(link_id)
        self._links[link_id] = endpoint
        self.wake(link_id, now)

    def get(self, link_id: int) -> OnLink[Event] | None:
        """The endpoint with this Link ID, None once its link is closed."""
        return self._links.get(link_id)

    def wake(self, link_id: int, now: float) -> None:
        """Look at a link at the next `outgoing`, because its owner told it something."""
        if link_id in self._links:
            self._touched[link_id] = None
            self._now = now

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take advertising data; what is of no link here is passed over."""
        for kind, content in ad_structures(data):
            if kind == PB_ADV:
                link_id = int.from_bytes(content[:4])
                endpoint = self._links.get(link_id)
                if endpoint is not None:
                    endpoint.receive(data, now)
                    self.wake(link_id, now)
                return

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Advertising data to send now, of every link."""
        while self._due and self._due[0][0] <= now:
            time, link_id = heapq.heappop(self._due)
            if self._planned.get(link_id) == time:
                self._touched[link_id] = None
        frames: list[bytes] = []
        while self._touched:
            link_id = next(iter(self._touched))
            del self._touched[link_id]
            self._planned.pop(link_id, None)
            endpoint = self._links[link_id]
            frames += endpoint.outgoing(now)
            self._events += [(link_id, event) for event in endpoint.events()]
            if endpoint.is_over:
                del self._links[link_id]
            else:
                self._plan(link_id, endpoint.deadline())
        return frames

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        if self._touched:
            return self._now
        while self._due and self._planned.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def events(self) -> Sequence[tuple[int, Event]]:
        """What has happened, each with the Link ID."""
        events, self._events = self._events, []
        return events

    def _plan(self, link_id: int, time: float | None) -> None:
        if time is not None:
            self._planned[link_id] = time
            heapq.heappush(self._due, (time, link_id))


def topic(data: bytes) -> Hashable | None:
    """What advertising data are about, for an air with many stations (`sansio.air.Air`).

    The UUID (bytes) of a Link Open, the Link ID (int) of other PB-ADV PDUs, else the AD type as a word; None for what
    is no advertising data.
    """
    for kind, content in ad_structures(data):
        if kind != PB_ADV:
            return f"AD {kind:02X}"
        try:
            pdu = PbAdvPdu.parse(content)
            message = parse_generic(pdu.generic)
        except DecodeError:
            return None
        return message.uuid if isinstance(message, LinkOpen) else pdu.link_id
    return None
