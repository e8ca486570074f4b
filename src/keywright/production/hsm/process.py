"""The client process: `python -m keywright.production.hsm.process FD…`, started by `watchdog` and by nobody else.

Each descriptor is one end of a pair of sockets and gets a thread and a session of the token. The first question, on
the first, says which token. When the other end of any of them is closed, the line is gone, and so is this process;
its session objects go with it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Any, Final

import msgspec

from keywright.errors import KeywrightError
from keywright.production.hsm import frames
from keywright.production.hsm import messages as m
from keywright.production.hsm.harden import harden

LINE_GONE: Final = 0
TOKEN_GONE: Final = 70
"""Exit codes: nothing to do any more; the token or the login is lost, and a new process may find it again."""

_GONE: Final = (
    "CryptokiNotInitialized",
    "DeviceError",
    "DeviceRemoved",
    "SessionClosed",
    "SessionHandleInvalid",
    "TokenNotPresent",
    "UserNotLoggedIn",
)
_STALE: Final = ("KeyHandleInvalid", "ObjectHandleInvalid")
_encoder: Final = msgspec.msgpack.Encoder()
_questions: Final = msgspec.msgpack.Decoder(m.Envelope)


def main() -> None:
    """Serve until the line is gone."""
    harden()
    streams = [socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[1:]]
    lanes = _start(streams[0], len(streams))
    for lane, stream in zip(lanes[1:], streams[1:], strict=True):
        threading.Thread(target=_serve, args=(lane, stream), daemon=True).start()
    _serve(lanes[0], streams[0])


def _start(stream: socket.socket, count: int) -> list[Any]:
    """Log in, open so many sessions, and say whether that worked."""
    hello = _next(stream).question
    try:
        # Imported here: an extra that is missing must be told like every other failure.
        from keywright.production.hsm.client import lanes_of  # noqa: PLC0415 - needs the extra
        from keywright.production.hsm.pin import read_pin  # noqa: PLC0415 - beside it

        if not isinstance(hello, m.Hello):
            raise TypeError("the first question says which token")  # noqa: TRY301 - told like the others
        lanes = lanes_of(hello, read_pin, count)
    except Exception as error:  # noqa: BLE001 - told to the line, whatever it is
        _tell(stream, m.Reply(failure=_failure(error)))
        os._exit(TOKEN_GONE)
    _tell(stream, m.Reply())
    return lanes


def _serve(lane: Any, stream: socket.socket) -> None:
    while True:
        envelope = _next(stream)
        _tell(stream, _reply(lane, envelope))


def _reply(lane: Any, envelope: m.Envelope, *, again: bool = True) -> m.Reply:
    try:
        lane.forget(envelope.forgotten)
        return m.Reply(msgspec.Raw(_encoder.encode(lane.answer(envelope.question))))
    except Exception as error:  # noqa: BLE001 - told to the line, whatever it is
        name = type(error).__name__
        if name in _GONE:
            os._exit(TOKEN_GONE)
        if name in _STALE:
            lane.re_resolve()
            if again and not isinstance(envelope.question, m.OF_A_CHANNEL):
                return _reply(lane, envelope, again=False)
        return m.Reply(failure=_failure(error))


def _next(stream: socket.socket) -> m.Envelope:
    try:
        return _questions.decode(frames.receive(stream))
    except (EOFError, OSError, msgspec.MsgspecError):
        os._exit(LINE_GONE)


def _tell(stream: socket.socket, reply: m.Reply) -> None:
    try:
        frames.send(stream, _encoder.encode(reply))
    except OSError:
        os._exit(LINE_GONE)


def _failure(error: Exception) -> m.Failure:
    """What may be told of an error: our own words, or only its name: a library's may repeat what it was given."""
    name = type(error).__name__
    if isinstance(error, KeywrightError):
        return m.Failure(name, str(error), error.hint)
    if isinstance(error, ValueError) and type(error) is ValueError:
        return m.Failure("ValueError", str(error))
    if isinstance(error, ModuleNotFoundError):
        return m.Failure("UsageError", "the token needs python-pkcs11", "install keywright with the extra `hsm`")
    return m.Failure("StoreError", f"the token refused: {name}", "see `keywright keystore audit`")


if __name__ == "__main__":
    main()
