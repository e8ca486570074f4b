"""How a step talks over the radio beside its unit: an endpoint with time, carried by `OnAir` requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

import msgspec

from keywright.errors import LinkError
from keywright.fob.mesh_model import Carrier, Heard, Sent
from keywright.production.job import OnAir, StepDialogue
from keywright.sansio.endpoint import Endpoint

LONGEST_WAIT_S: Final = 10.0
"""Of the radio's time in one request."""


def encode_sent(request: OnAir) -> bytes:
    """A request as a station takes it."""
    return msgspec.msgpack.encode(Sent(request.frames, request.wait_s, request.carrier, request.connects))


def decode_heard(data: bytes) -> Heard:
    """What a station gave. Raises LinkError for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=Heard)
    except msgspec.DecodeError as error:
        raise LinkError(f"the radio's answer of {len(data)} bytes is none", None) from error


@final
class AirClock:
    """The radio's time as a step has it, from 0: it moves only while the step listens."""

    def __init__(self) -> None:
        self.now = 0.0
        self._carrier: Carrier = "advertising"

    def listen(self, seconds: float) -> StepDialogue[tuple[bytes, ...]]:
        """The advertisements that are heard first, none if the radio is silent for that long."""
        self._carrier = "advertising"
        end = self.now + seconds
        while self.now < end:
            until = min(end, self.now + LONGEST_WAIT_S)
            frames = (yield from self._ask((), until - self.now)).frames
            if frames:
                return frames
            self.now = max(self.now, until)
        return ()

    def connect(self, carrier: Carrier) -> StepDialogue[int]:
        """Connect to a mesh service, which carries all frames from now on: the ATT_MTU. Raises LinkError."""
        self._carrier = carrier
        mtu = (yield from self._ask((), 0.0, connects=True)).mtu
        if not mtu:
            raise LinkError("the station made no connection", delivered=False)
        return mtu

    def _ask(self, frames: tuple[bytes, ...], wait_s: float, *, connects: bool = False) -> StepDialogue[Heard]:
        heard = decode_heard((yield OnAir(frames, wait_s, self._carrier, connects)).data)
        self.now += heard.seconds
        return heard

    def carry(
        self,
        endpoint: Endpoint[Any],
        seconds: float,
        is_over: Callable[[], bool],
        *,
        before_sending: Callable[[], StepDialogue[None]] | None = None,
    ) -> StepDialogue[None]:
        """Carry frames of an endpoint until `is_over()` or for that long.

        before_sending(): run between the frames being made and being sent, for what has to be durable by then.
        """
        end = self.now + seconds
        while True:
            frames = tuple(endpoint.outgoing(self.now))
            if before_sending is not None:
                yield from before_sending()
            # What is still to be said is said, also when it is over; only nothing is waited for.
            ends = is_over() or self.now >= end
            if ends and not frames:
                return
            due = endpoint.deadline()
            until = self.now if ends else min(end, self.now + LONGEST_WAIT_S, end if due is None else due)
            heard = yield from self._ask(frames, max(0.0, until - self.now))
            if not heard.frames:
                # Silence lasts as long as was asked for: sums of floats would fall short of a deadline for ever.
                self.now = max(self.now, until)
            for frame in heard.frames:
                endpoint.receive(frame, self.now)
