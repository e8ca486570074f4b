"""TLS 1.2 with pre-shared keys over TCP (extra `ota`: python-mbedtls), for SCP81: client and server, blocking.

Python's own ssl has no PSK server before 3.13. A server gives an unknown identity a random key, so that whoever guesses
cannot tell it from a known one; the handshake fails at the same place with the same alert.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar, final

from keywright.errors import LinkError, PolicyError, UsageError
from keywright.link.sockets import Acceptor, dial

AES_128_CBC_SHA256: Final = 0x00AE
NULL_SHA256: Final = 0x00B0
_NAMES: Final = {AES_128_CBC_SHA256: "TLS-PSK-WITH-AES-128-CBC-SHA256", NULL_SHA256: "TLS-PSK-WITH-NULL-SHA256"}

_CHUNK: Final = 1 << 14
_RECORD_HEADER: Final = 5
_RECORD_TYPES: Final = range(20, 24)
_RECORD_MOST: Final = (1 << 14) + 2048
"""Bytes of a ciphered record at most; a longer one is given to the library cut, which refuses it."""
_RECORD: Final = 512
"""Plain bytes of a record that we send: what a card's buffer takes (max_fragment_length)."""
_DUMMY_BYTES: Final = 32
_CLOSE_NOTIFY: Final = 0x7880
"""The library's number for it."""
_CONNECT_TIMEOUT_S: Final = 10.0

Lookup = Callable[[str], bytes | None]
"""The PSK of an identity, None if there is none."""
_Result = TypeVar("_Result")


class TlsError(LinkError):
    """TLS ended with an alert: wrong key, wrong version, changed bytes. A card does not try again (Amd B 3.5)."""

    code = "tls"
    hint = "compare PSK and identity on both sides"


def mbedtls_tls() -> Any:
    """The library, or a UsageError that says how to get it."""
    try:
        from mbedtls import tls  # noqa: PLC0415 - an optional extra  # pyright: ignore[reportMissingImports] - as said
    except ImportError as error:
        raise UsageError(
            "TLS-PSK needs python-mbedtls", hint="install the extra: pip install 'keywright[ota]'"
        ) from error
    return tls


def suite_names(*, allow_null: bool = False) -> tuple[str, ...]:
    """The suites offered and taken, in the library's words: 00AE, and 00B0 (no ciphering) only if allowed.

    Raises PolicyError if the library was built without one of them.
    """
    names = tuple(
        _NAMES[suite] for suite in ((AES_128_CBC_SHA256, NULL_SHA256) if allow_null else (AES_128_CBC_SHA256,))
    )
    missing = set(names) - set(mbedtls_tls().ciphers_available())
    if missing:
        raise PolicyError(f"this build of mbedtls has no {', '.join(sorted(missing))}")
    return names


class _Keys(Mapping[str, bytes]):
    """What the library asks; it remembers the identity and never says that it does not know one."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.identity = ""

    def __getitem__(self, identity: str) -> bytes:
        self.identity = identity
        return self._lookup(identity) or secrets.token_bytes(_DUMMY_BYTES)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@final
class PskConnection:
    """One TLS connection. `identity` is the client's, `suite` what was agreed on. Raises LinkError where it breaks."""

    def __init__(
        self, connection: socket.socket, buffer: Any, keys: _Keys | None, identity: str, timeout_s: float
    ) -> None:
        self._tls = mbedtls_tls()
        self._socket = connection
        self._buffer = buffer
        self._incoming = bytearray()
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        connection.settimeout(timeout_s)
        try:
            self._handshake()
        except BaseException:
            self.close()
            raise
        self.identity = keys.identity if keys is not None else identity
        self.suite = next(number for number, name in _NAMES.items() if name == buffer.cipher())

    def _handshake(self) -> None:
        over = self._tls.HandshakeStep.HANDSHAKE_OVER
        while self._buffer._handshake_state is not over:  # noqa: SLF001 - the library has no other way to ask
            self._pump(self._buffer.do_handshake)
        self._flush()

    def send(self, data: bytes) -> None:
        """Send all of it, in records that a card can take."""
        self._deadline = time.monotonic() + self._timeout_s
        for start in range(0, len(data), _RECORD):
            part = data[start : start + _RECORD]
            self._pump(lambda part=part: self._buffer.write(part))  # type: ignore[misc]  # bound at once
            self._flush()

    def receive(self, timeout_s: float | None = None) -> bytes:
        """What has come, at least one byte; empty once the other side has closed."""
        self._deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                data: bytes = self._pump(lambda: self._buffer.read(_CHUNK))
            except TlsError as error:
                if _is_goodbye(error.__cause__):
                    return b""
                raise
            if data or not self._more():
                return data

    def close(self) -> None:
        """Say goodbye and close; twice does no harm."""
        with contextlib.suppress(Exception):
            self._buffer.shutdown()
            self._flush()
        with contextlib.suppress(OSError):
            self._socket.close()

    def __enter__(self) -> PskConnection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _pump(self, step: Callable[[], _Result]) -> _Result:
        """Do something with the library, moving bytes as it wants them moved."""
        while True:
            try:
                return step()
            except self._tls.WantWriteError:
                self._flush()
            except self._tls.WantReadError:
                self._flush()
                if not self._more():
                    raise LinkError("the other side hung up", delivered=None, hint="compare PSK and identity") from None
            except Exception as error:
                with contextlib.suppress(LinkError):
                    self._flush()  # the alert
                if isinstance(error, LinkError):
                    raise
                raise TlsError(f"TLS failed: {error}", delivered=None) from error

    def _more(self) -> bool:
        """Give the library one whole record; False once there are no more.

        One and whole: of several it loses those that it has opened already when the last one is not there yet.
        """
        while (size := _record_size(self._incoming)) > len(self._incoming):
            try:
                self._socket.settimeout(max(0.001, self._deadline - time.monotonic()))
                data = self._socket.recv(_CHUNK)
            except OSError as error:
                raise LinkError(f"nothing came: {error}", delivered=None) from error
            if not data:
                return False
            self._incoming += data
        self._buffer.receive_from_network(bytes(self._incoming[:size]))
        del self._incoming[:size]
        return True

    def _flush(self) -> None:
        try:
            while waiting := self._buffer.peek_outgoing(_CHUNK):
                self._socket.sendall(waiting)
                self._buffer.consume_outgoing(len(waiting))
        except OSError as error:
            raise LinkError(f"not sent: {error}", delivered=None) from error


def _record_size(data: bytearray) -> int:
    """Bytes of the record at the start of `data`, its header included (RFC 5246 6.2.1)."""
    if len(data) < _RECORD_HEADER or data[0] not in _RECORD_TYPES:
        return _RECORD_HEADER
    return _RECORD_HEADER + min(int.from_bytes(data[3:5]), _RECORD_MOST)


def _is_goodbye(error: BaseException | None) -> bool:
    """Whether the library raised this because the other side said close_notify."""
    return getattr(error, "err", None) == _CLOSE_NOTIFY


def connect(
    host: str, port: int, identity: str, psk: bytes, *, timeout_s: float = 30.0, allow_null: bool = False
) -> PskConnection:
    """Connect as a card does. `timeout_s` holds for each step. Raises LinkError; TlsError when keys do not agree."""
    tls = mbedtls_tls()
    context = tls.ClientContext(
        _configuration(tls, allow_null, pre_shared_key=(identity, psk), max_fragmentation_length=_fragment(tls))
    )
    connection = dial(host, port, _CONNECT_TIMEOUT_S, "is the administration server running there?")
    return PskConnection(connection, context.wrap_buffers(None), None, identity, timeout_s)


@final
class PskServer:
    """Listens for cards, one connection at a time. `port` is the real one if 0 was asked for."""

    def __init__(
        self,
        lookup: Lookup,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        remote: bool = False,
        timeout_s: float = 30.0,
        allow_null: bool = False,
    ) -> None:
        """Listen. Raises PolicyError if the host is not loopback unless `remote`, LinkError if the port is taken."""
        suite_names(allow_null=allow_null)
        self._lookup = lookup
        self._timeout_s = timeout_s
        self._allow_null = allow_null
        self._acceptor = Acceptor(host, port, remote=remote)
        self.port: int = self._acceptor.port

    def accept(self) -> PskConnection | None:
        """The next card, its handshake done; None once `stop` was called. Raises LinkError for one that failed."""
        connection = self._acceptor.accept()
        if connection is None:
            return None
        tls, keys = mbedtls_tls(), _Keys(self._lookup)
        context = tls.ServerContext(_configuration(tls, self._allow_null, pre_shared_key_store=keys))
        return PskConnection(connection, context.wrap_buffers(), keys, "", self._timeout_s)

    def stop(self) -> None:
        """Make `accept` return None; any thread may call it."""
        self._acceptor.stop()

    def close(self) -> None:
        """Give up the port."""
        self._acceptor.close()


def _configuration(tls: Any, allow_null: bool, **settings: Any) -> Any:  # noqa: FBT001 - handed through by name above
    return tls.TLSConfiguration(
        validate_certificates=False,  # there are none: both sides prove the PSK
        ciphers=suite_names(allow_null=allow_null),
        lowest_supported_version=tls.TLSVersion.TLSv1_2,
        highest_supported_version=tls.TLSVersion.TLSv1_2,
        **settings,
    )


def _fragment(tls: Any) -> Any:
    """max_fragment_length 512, in the library's name for it."""
    return tls.MaxFragmentLength(1)
