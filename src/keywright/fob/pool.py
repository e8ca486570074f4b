"""A tray of simulated fobs in a process of their own, whose memories share one journal.

The host side is `FobPool`: commands go out in batches and answers come back as they are made, so that both
processes work at once. The fobs' process ends when its host is gone and finishes the command in hand first;
what a killed host finds afterwards is what its fobs were left with.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import Final, Self

import msgspec

from keywright.errors import LinkError
from keywright.fob.fobs import Model
from keywright.fob.mesh_model import MeshModel

_CHUNK: Final = 1 << 18
_HEAD: Final = struct.Struct(">IBB")
_GOODBYE_S: Final = 10.0

COMMAND: Final = 0
POWER_ON: Final = 1
POWER_OFF: Final = 2
AIR: Final = 3
"""Frames for the radio of a device and how long to listen, `mesh_model.Sent`; answered with `mesh_model.Heard`."""
_ANSWER: Final = 0
_LOST: Final = 1


class Plan(msgspec.Struct, frozen=True):
    """What the tray is to be like. `journal` "" keeps everything in RAM; `keep` False changes no file.

    `listen` names a local socket at which several processes may reach the tray (`FobPool.connect`), each with the fobs
    that it powered on; it is made by the tray's process, in a folder that only its user may enter.

    `models` are the fobs that differ from the `usual` one; `cuts` takes the power away from a fob once. Each has a mesh
    radio, as `mesh` says; without `has_chip` it is nothing else, and answers no command.

    `ble` names a local socket at which hosts join the air of the fobs, by HCI. Each fob that is powered on then has a
    virtual Bluetooth controller, and is reached by it alone: no command and no frame is taken here.
    """

    journal: str = ""
    keep: bool = True
    wait_s: float = 20.0
    listen: str = ""
    usual: Model = Model()
    models: Mapping[str, Model] = {}
    cuts: Mapping[str, Cut] = {}
    has_chip: bool = True
    mesh: MeshModel = MeshModel()
    ble: str = ""


class Cut(msgspec.Struct, frozen=True):
    """One power cut, at the n-th command of instruction `ins` that the fob gets.

    It comes before the memory is written for the `commit`-th time inside that command; with 0, after everything
    was written and before the answer.
    """

    ins: int
    nth: int = 1
    commit: int = 1


def frame(kind: int, name: str, payload: bytes = b"") -> bytes:
    """One message of the socket: length 4, kind 1, length of name 1, name, payload."""
    label = name.encode()
    size = len(label)
    return _HEAD.pack(2 + size + len(payload), kind, size) + label + payload


class Frames:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, str, bytes]]:
        """The whole messages that `data` completes: kind, name, payload."""
        buffer = self._rest + data if self._rest else data
        found, at, end = [], 0, len(buffer)
        while end - at >= _HEAD.size:
            size, kind, label = _HEAD.unpack_from(buffer, at)
            stop = at + 4 + size
            if stop > end:
                break
            payload = at + 6 + label
            found.append((kind, buffer[at + 6 : payload].decode(), buffer[payload:stop]))
            at = stop
        self._rest = buffer[at:]
        return found


class FobPool:
    """Host side of a tray: `submit` and `flush`, then `receive`."""

    width = 128
    """How many fobs are worth working on at once: with half as many the commits are twice as many, and the two
    processes wait for each other (measured: 335 fobs a second instead of 385); twice as many gain nothing."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        """Take a connected socket whose other end runs `keywright.fob.tray.serve`."""
        self._sock = sock
        self._process = process
        self._out: list[bytes] = []
        self._frames = Frames()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.waiting = 0

    @classmethod
    def start(cls, plan: Plan) -> Self:
        """Start the fobs' process. Its errors (a journal held by another) come with the first answer."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no outside text
                [sys.executable, "-m", "keywright.fob.tray", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.sendall(frame(COMMAND, "", msgspec.json.encode(plan)))
        return cls(ours, process)

    @classmethod
    def connect(cls, path: str) -> Self:
        """Reach a tray that was started with this `listen`. Raises LinkError if nobody listens there."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise LinkError(f"the tray of simulated fobs is not there: {error.strerror}", delivered=False) from error
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return cls(sock)

    def wait_until_listening(self) -> None:
        """Wait until a tray started with `listen` or `ble` is there. Raises LinkError, in its words, if not."""
        self.waiting += 1
        self.receive()

    @property
    def is_running(self) -> bool:
        """Whether the fobs' process, if this side started one, is still there."""
        return self._process is None or self._process.poll() is None

    def submit(self, name: str, command: bytes) -> None:
        """Queue a command APDU for a fob. Exactly one message comes back for it."""
        self._out.append(frame(COMMAND, name, command))
        self.waiting += 1

    def submit_air(self, name: str, sent: bytes) -> None:
        """Queue frames for a fob's radio. Exactly one message comes back for it: what was heard."""
        self._out.append(frame(AIR, name, sent))
        self.waiting += 1

    def power_on(self, name: str) -> None:
        """Queue a reset of a fob; the answer to reset comes back as its message."""
        self._out.append(frame(POWER_ON, name))
        self.waiting += 1

    def power_off(self, name: str) -> None:
        """Queue the removal of a fob from the tray; nothing comes back."""
        self._out.append(frame(POWER_OFF, name))

    def flush(self) -> None:
        """Send what is queued. Raises LinkError when the fobs' process is gone."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise self._gone() from error

    def _gone(self) -> LinkError:
        """Why the fobs' process is gone, in its own last words if it had any."""
        with contextlib.suppress(OSError):
            for _, name, payload in self._frames.feed(self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)):
                if not name:
                    return LinkError(payload.decode(), delivered=False)
        return LinkError("the process of the simulated fobs is gone", None)

    def receive(self, *, block: bool = True, limit_s: float | None = None) -> list[tuple[str, bytes | LinkError]]:
        """Messages that have arrived: (fob, answer or what happened instead), in the order of what each was sent.

        Empty only when not blocking, or when none came in `limit_s` seconds. Raises LinkError when the fobs' process
        is gone.
        """
        found: list[tuple[str, bytes | LinkError]] = []
        self.flush()
        while not found:
            try:
                if block and limit_s is not None and not self._poll.poll(1000 * limit_s):
                    return found
                data = self._sock.recv(_CHUNK, 0 if block else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:
                raise LinkError("the process of the simulated fobs is gone", None) from error
            if not data:
                raise LinkError("the process of the simulated fobs has ended", None)
            for kind, name, payload in self._frames.feed(data):
                if not name:
                    raise LinkError(payload.decode(), delivered=False)
                found.append((name, payload if kind == _ANSWER else LinkError(payload.decode(), delivered=None)))
            self.waiting -= len(found)
        return found

    def close(self) -> None:
        """Let the fobs' process end, and wait for it: its journal is then free."""
        self._sock.close()
        if self._process is not None:
            try:
                self._process.wait(_GOODBYE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the fobs' process; our own when it was given a socket only."""
        return self._process.pid if self._process is not None else os.getpid()
