"""The fobs' own process: answers for every fob of a tray from one journal. Started by `fob.pool`."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import msgspec

from keywright.element import SecureElement
from keywright.errors import KeywrightError
from keywright.fob.fobs import simulated_fob
from keywright.fob.mesh_model import Sent
from keywright.fob.pool import AIR, POWER_OFF, POWER_ON, Cut, Frames, Plan, frame
from keywright.fob.shared_tray import serve_many
from keywright.store import Journal, Memory, RamMemory

if TYPE_CHECKING:
    from keywright.fob.ble_tray import FobsOnAir
    from keywright.fob.mesh_device import DeviceOnAir

_CHUNK: Final = 1 << 18
_ANSWER: Final = 0
_LOST: Final = 1


class PowerCut(BaseException):
    """The fob lost its power; nothing of the program may catch this as an error."""


class CutMemory:
    """A memory whose device loses power just before a chosen commit."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.left = 0

    def load(self, name: str) -> bytes | None:
        """As the memory beneath."""
        return self._memory.load(name)

    def names(self) -> list[str]:
        """As the memory beneath."""
        return self._memory.names()

    def commit(self, changes: Mapping[str, bytes | None]) -> None:
        """As the memory beneath, unless the power goes. Raises PowerCut."""
        if self.left:
            self.left -= 1
            if not self.left:
                raise PowerCut
        self._memory.commit(changes)


class Tray:
    """Fobs that are powered, each made from its memory when it is first asked for something."""

    def __init__(self, plan: Plan, memory: Callable[[str], Memory], air: FobsOnAir | None = None) -> None:
        """air: what the fobs are on, if they are reached by Bluetooth."""
        self._air = air
        self._plan = plan
        self._memory = memory
        self._fobs: dict[str, tuple[SecureElement, CutMemory | None]] = {}
        self._cuts: dict[str, Cut] = dict(plan.cuts)
        self._seen: dict[str, int] = {}
        self._radios: dict[str, DeviceOnAir] = {}

    def answer(self, kind: int, name: str, payload: bytes) -> bytes:
        """The message for one message of the host; empty for a removal."""
        if kind in (POWER_OFF, POWER_ON):
            return self._switch(name, on=kind == POWER_ON)
        if self._air is not None:
            return frame(_LOST, name, b"the fob is reached by Bluetooth alone")
        if kind == AIR:
            return frame(_ANSWER, name, self._on_air(name, payload))
        if not self._plan.has_chip:
            return frame(_LOST, name, b"there is no chip to be asked")
        try:
            return frame(_ANSWER, name, self.handle(name, payload))
        except PowerCut:
            return frame(_LOST, name, b"the fob lost its power; whether the command took effect is unknown")

    def _switch(self, name: str, *, on: bool) -> bytes:
        self._radios.pop(name, None)
        if self._air is not None:
            self._air.take_off(name)
        if not on:
            self._fobs.pop(name, None)
            return b""
        if not self._plan.has_chip:
            return frame(_ANSWER, name)
        atr = self.reset(name)
        if self._air is not None:
            self._air.put_on(name, _Powered(self, name), self._memory, self._plan.mesh)
        return frame(_ANSWER, name, atr)

    def handle(self, name: str, command: bytes) -> bytes:
        """The answer of a fob's chip. Raises PowerCut where one is planned: the fob is off then."""
        element, memory = self._fob(name)
        loses_answer = self._arm(name, memory, command)
        answer = b""
        try:
            answer = element.handle(command)
        except PowerCut:
            loses_answer = True
        if loses_answer:
            del self._fobs[name]
            raise PowerCut
        return answer

    def reset(self, name: str) -> bytes:
        """Reset a fob's chip; its answer to reset."""
        return self._fob(name)[0].reset()

    def _fob(self, name: str) -> tuple[SecureElement, CutMemory | None]:
        found = self._fobs.get(name)
        if found is None:
            memory = self._memory(name)
            cut = CutMemory(memory) if name in self._cuts else None
            found = self._fobs[name] = (
                simulated_fob(name, cut or memory, self._plan.models.get(name, self._plan.usual)),
                cut,
            )
        return found

    def _on_air(self, name: str, payload: bytes) -> bytes:
        from keywright.fob import mesh_device  # noqa: PLC0415 - loads only where a radio is used

        radio = self._radios.get(name)
        if radio is None:
            memory = self._memory(f"{mesh_device.NAMESPACE}{name}")
            radio = self._radios[name] = mesh_device.DeviceOnAir(name, memory, self._plan.mesh)
        sent = msgspec.msgpack.decode(payload, type=Sent)
        return msgspec.msgpack.encode(radio.exchange(sent))

    def _arm(self, name: str, memory: CutMemory | None, command: bytes) -> bool:
        """Make ready for the planned cut, if this is its command; True when only the answer is to be lost."""
        cut = self._cuts.get(name)
        if cut is None or memory is None or command[1:2] != bytes((cut.ins,)):
            return False
        self._seen[name] = self._seen.get(name, 0) + 1
        if self._seen[name] != cut.nth:
            return False
        del self._cuts[name]
        memory.left = cut.commit
        return not cut.commit


@final
class _Powered:
    """A fob's chip as its radio reaches it."""

    def __init__(self, tray: Tray, name: str) -> None:
        self._tray = tray
        self._name = name
        self.atr = tray.reset(name)

    def handle(self, command: bytes, /) -> bytes:
        """As `Tray.handle`."""
        return self._tray.handle(self._name, command)

    def reset(self) -> bytes:
        """As `Tray.reset`."""
        return self._tray.reset(self._name)


def serve(sock: socket.socket) -> None:
    """Answer until the other end closes. The first message is the `Plan`."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    frames = Frames()
    waiting = _receive(sock, frames)
    if not waiting:
        return
    plan = msgspec.json.decode(waiting.pop(0)[2], type=Plan)
    try:
        there = plan.journal and (plan.keep or Path(plan.journal).exists())
        journal = Journal(plan.journal, wait_s=plan.wait_s, readonly=not plan.keep) if there else None
    except KeywrightError as error:
        sock.sendall(frame(_LOST, "", str(error).encode()))
        return
    air = None
    try:
        if plan.ble:
            from keywright.fob.ble_tray import FobsOnAir  # noqa: PLC0415 - loads only where Bluetooth is meant

            air = FobsOnAir(plan.ble)
            if not plan.listen:
                sock.sendall(frame(_ANSWER, "on air"))
        tray = Tray(plan, _memories(plan, journal), air)
        if plan.listen:
            _serve_many(sock, plan.listen, tray)
        else:
            _answer_all(sock, frames, waiting, tray)
    except KeywrightError as error:
        sock.sendall(frame(_LOST, "", str(error).encode()))
    finally:
        if air is not None:
            air.close()
        if journal is not None:
            journal.close()


def _serve_many(control: socket.socket, path: str, tray: Tray) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            Path(path).unlink(missing_ok=True)  # of a tray that was killed: the journal is ours, so it is gone
            listener.bind(path)
            listener.listen()
        except OSError as error:
            control.sendall(frame(_LOST, "", f"{path}: cannot be listened at: {error.strerror}".encode()))
            return
        control.sendall(frame(_ANSWER, "listening"))
        serve_many(control, listener, tray)


def _memories(plan: Plan, journal: Journal | None) -> Callable[[str], Memory]:
    rams: dict[str, Memory] = {}

    def in_ram(name: str) -> Memory:
        if name not in rams:
            kept = journal.memory(name) if journal is not None else None
            values = {key: kept.load(key) or b"" for key in kept.names()} if kept is not None else {}
            rams[name] = RamMemory(values)
        return rams[name]

    return journal.memory if journal is not None and plan.keep else in_ram


def _receive(sock: socket.socket, frames: Frames) -> list[tuple[int, str, bytes]]:
    found: list[tuple[int, str, bytes]] = []
    while not found:
        try:
            data = sock.recv(_CHUNK)
        except OSError:
            return []
        if not data:
            return []
        found = frames.feed(data)
    return found


def _answer_all(sock: socket.socket, frames: Frames, waiting: list[tuple[int, str, bytes]], tray: Tray) -> None:
    while True:
        out = []
        for kind, name, payload in waiting:
            out.append(tray.answer(kind, name, payload))
            if len(out) == 8:
                _send(sock, out)
        _send(sock, out)
        waiting = _receive(sock, frames)
        if not waiting:
            return


def _send(sock: socket.socket, out: list[bytes]) -> None:
    data = b"".join(out)
    out.clear()
    if data:
        try:
            sock.sendall(data)
        except OSError:
            return


def main() -> None:
    """Entry point of the process: the only argument is the number of the inherited socket."""
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        serve(sock)


if __name__ == "__main__":
    main()
