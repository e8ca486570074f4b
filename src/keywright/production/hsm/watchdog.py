"""The line's end of the HSM client: starts the client process, watches it, and asks it.

Each pair of sockets is a lane to one session of the token; a caller has a lane for one question. There are few lanes,
so callers wait for one, and not for ever. A process that ends, or does not answer in time, is replaced; whoever was
waiting for its answer gets KeystoreLostError, and so does every later use of a channel it had open.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar, final

import msgspec

from keywright.crypto.key import Secret
from keywright.errors import (
    AuthenticationError,
    DecodeError,
    KeywrightError,
    PolicyError,
    SequenceError,
    StoreError,
    UsageError,
    WireError,
)
from keywright.production.hsm import frames
from keywright.production.hsm import messages as m
from keywright.production.keystores.key_states import KeyStateError
from keywright.production.keystores.keystore import KeystoreBusyError, KeystoreLostError
from keywright.scp.failure import CardCryptogramError

LANES: Final = 4
_Got = TypeVar("_Got")

_ANSWER_S: Final = 30.0
LANE_S: Final = 30.0
"""How long a caller waits for a free lane."""
_RESTART_S: Final = 20.0
_END_S: Final = 5.0
_QUICK_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_REPEATS: Final = 3

_ERRORS: Final[dict[str, type[KeywrightError]]] = {
    error.__name__: error
    for error in (
        AuthenticationError,
        CardCryptogramError,
        DecodeError,
        KeyStateError,
        PolicyError,
        SequenceError,
        StoreError,
        UsageError,
        WireError,
    )
}
_encoder: Final = msgspec.msgpack.Encoder()
_replies: Final = msgspec.msgpack.Decoder(m.Reply)


class Place(NamedTuple):
    """Where a channel is: which client process, counted from 1, and which lane of it."""

    generation: int
    lane: int


@final
class Lane:
    """The line's end of one pair of sockets; `forgotten`: channels to close with its next question."""

    __slots__ = ("busy", "forgotten", "place", "stream")

    def __init__(self, place: Place, stream: socket.socket) -> None:
        self.place = place
        self.stream = stream
        self.busy = False
        self.forgotten: list[int] = []


@final
class HsmClient(Secret):
    """The client process and its lanes. Any thread may call it; a forked child must open its own."""

    __slots__ = (
        "_begun",
        "_closed",
        "_failure",
        "_generation",
        "_hello",
        "_lanes",
        "_noticed",
        "_pid",
        "_process",
        "_ready",
        "_turn",
        "_width",
        "restarts",
    )

    def __init__(self, hello: m.Hello, *, lanes: int = LANES, noticed: Callable[[str], object] | None = None) -> None:
        """Start the client and log in to the token. Raises what the client raises: StoreError, PolicyError.

        `noticed` is told, by a thread of its own, whenever the client was started again.
        """
        self._hello = hello
        self._noticed = noticed
        self._ready = threading.Condition()
        self._lanes: list[Lane] = []
        self._turn = 0
        self._generation = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: KeywrightError | None = None
        self._closed = False
        self._begun = 0.0
        self._pid = os.getpid()
        self.restarts = 0
        """How often the client was started again."""
        self._width = lanes
        self._start()

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes to the client that serves now; none while there is none."""
        return self._lanes

    @property
    def client_pid(self) -> int:
        """Process id of the client that serves now; 0 while there is none."""
        process = self._process
        return 0 if process is None else process.pid

    def ask(
        self, question: m.Question, kind: type[_Got], *, place: Place | None = None, delivered: bool = False
    ) -> _Got:
        """The answer. Without `place` any lane does, and a question that was lost is asked again.

        `delivered`: what a KeystoreLostError says of the card's command. Raises the client's own errors,
        KeystoreLostError, and KeystoreBusyError when no lane is free in time.
        """
        return self.ask_where(question, kind, place=place, delivered=delivered)[0]

    def ask_where(
        self, question: m.Question, kind: type[_Got], *, place: Place | None = None, delivered: bool = False
    ) -> tuple[_Got, Place]:
        """As `ask`, and where the answer came from."""
        left = 1 if place is not None else _REPEATS
        while True:
            left -= 1
            try:
                return self._asked(question, kind, place, delivered=delivered)
            except KeystoreLostError:
                if not left:
                    raise

    def forget(self, place: Place, channel: int) -> None:
        """Have a channel closed with the next question on its lane; never waits and never fails."""
        for lane in self._lanes:
            if lane.place == place:
                lane.forgotten.append(channel)

    def close(self) -> None:
        """End the client process. May be repeated."""
        with self._ready:
            self._closed = True
            lanes, self._lanes = self._lanes, []
            process, self._process = self._process, None
            self._ready.notify_all()
        for lane in lanes:
            lane.stream.close()
        if process is not None and self._pid == os.getpid():
            _end(process)

    # ---- one question

    def _asked(
        self, question: m.Question, kind: type[_Got], place: Place | None, *, delivered: bool
    ) -> tuple[_Got, Place]:
        with self._lane(place, delivered=delivered) as lane:
            forgotten, lane.forgotten = lane.forgotten, []
            body = _encoder.encode(m.Envelope(question, tuple(forgotten)))
            try:
                frames.send(lane.stream, body)
                reply = _replies.decode(frames.receive(lane.stream))
                return _value(reply, kind), lane.place
            except (EOFError, OSError, msgspec.MsgspecError) as error:
                # A client that answers what was not asked is not to be asked again either.
                self._lost(lane.place.generation)
                raise _lost(delivered=delivered) from error
            except (KeywrightError, ValueError):
                raise  # What the client told, or a message too long to be sent.
            except BaseException:
                # Interrupted while the answer is on its way: whoever asked next on this lane would get it.
                self._lost(lane.place.generation)
                raise

    @contextmanager
    def _lane(self, place: Place | None, *, delivered: bool) -> Iterator[Lane]:
        lane = self._take(place, delivered=delivered)
        try:
            yield lane
        finally:
            with self._ready:
                lane.busy = False
                self._ready.notify_all()

    def _take(self, place: Place | None, *, delivered: bool) -> Lane:
        self._check_process()
        deadline = time.monotonic() + (LANE_S if self._lanes else _RESTART_S)
        with self._ready:
            while True:
                if place is not None and place.generation != self._generation:
                    raise _lost(delivered=delivered)
                if self._closed:
                    raise StoreError("this keystore is closed", hint="open it again")
                lane = self._free(place)
                if lane is not None:
                    lane.busy = True
                    return lane
                if self._failure is not None:
                    raise self._failure
                if not self._ready.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    if not self._lanes:
                        raise _lost(delivered=delivered)
                    raise KeystoreBusyError(f"no session of the token was free for {LANE_S:.0f} s", delivered)

    def _free(self, place: Place | None) -> Lane | None:
        if place is not None:
            return next((lane for lane in self._lanes if lane.place == place and not lane.busy), None)
        for _ in self._lanes:
            self._turn = (self._turn + 1) % len(self._lanes)
            if not self._lanes[self._turn].busy:
                return self._lanes[self._turn]
        return None

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise UsageError(
                "a keystore in a token was opened before this process was forked", hint="open it in each process"
            )

    # ---- the client process

    def _start(self) -> None:
        pairs = [socket.socketpair() for _ in range(self._width)]
        theirs = [pair[1].fileno() for pair in pairs]
        command = [sys.executable, "-P", "-m", "keywright.production.hsm.process", *map(str, theirs)]
        self._begun = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own module, no word of it comes from outside
            command, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        for _, theirs_end in pairs:
            theirs_end.close()
        streams = [ours for ours, _ in pairs]
        try:
            self._greet(streams[0])
        except BaseException:
            for stream in streams:
                stream.close()
            _end(process)
            raise
        with self._ready:
            closed = self._closed
            if not closed:
                self.restarts = self._generation
                self._generation += 1
                self._process = process
                self._lanes = [_lane(self._generation, number, stream) for number, stream in enumerate(streams)]
                self._ready.notify_all()
        if closed:
            # Somebody closed the keystore meanwhile: nobody else would end this process.
            for stream in streams:
                stream.close()
            _end(process)
            return
        for stream in streams:
            stream.settimeout(_ANSWER_S)
        threading.Thread(target=self._watch, args=(process, self._generation), daemon=True).start()

    def _greet(self, stream: socket.socket) -> None:
        # No time limit when a person types the PIN.
        stream.settimeout(_ANSWER_S if self._hello.pin_file else None)
        try:
            frames.send(stream, _encoder.encode(m.Envelope(self._hello)))
            reply = _replies.decode(frames.receive(stream))
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            raise StoreError(
                "the HSM client ended while it started",
                hint="look at the token's library: try it with `softhsm2-util` or the vendor's own tool",
            ) from error
        _value(reply, type(None))

    def _watch(self, process: subprocess.Popen[bytes], generation: int) -> None:
        """Wait for the end of a client; start the next one, slower each time while they end at once."""
        process.wait()
        self._lost(generation)
        pause = _FIRST_PAUSE_S if time.monotonic() - self._begun < _QUICK_S else 0.0
        while not self._closed:
            time.sleep(pause)
            try:
                self._start()
            except PolicyError as error:
                # A PIN that is not accepted is never tried again by itself: the token would lock.
                with self._ready:
                    self._failure = error
                    self._ready.notify_all()
                return
            except (KeywrightError, OSError):
                pause = min(_LONGEST_PAUSE_S, 2 * max(pause, _FIRST_PAUSE_S))
                continue
            if self._noticed is not None and not self._closed:
                self._noticed(f"the HSM client was started again ({self.restarts})")
            return

    def _lost(self, generation: int) -> None:
        """A client of that generation is not to be asked any more."""
        with self._ready:
            if generation != self._generation or not self._lanes:
                return
            lanes, self._lanes = self._lanes, []
            process, self._process = self._process, None
            self._ready.notify_all()
        for lane in lanes:
            lane.stream.close()
        if process is not None and process.poll() is None:
            process.kill()


def _lane(generation: int, number: int, stream: socket.socket) -> Lane:
    return Lane(Place(generation, number), stream)


def _value(reply: m.Reply, kind: type[_Got]) -> _Got:
    failure = reply.failure
    if failure is None:
        return msgspec.msgpack.decode(reply.value, type=kind)
    if failure.kind == "ValueError":
        raise ValueError(failure.message)
    raise _ERRORS.get(failure.kind, StoreError)(failure.message, hint=failure.hint)


def _lost(*, delivered: bool) -> KeystoreLostError:
    return KeystoreLostError("the HSM client ended; every channel that was open through it is gone", delivered)


def _end(process: subprocess.Popen[Any]) -> None:
    """Its sockets are closed: it ends by itself, or is ended."""
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
