"""What the tests with foreign peers share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from yubikit.core import TRANSPORT

from interop.pcscd import (
    LISTENING_PORT,
    Card,
    Daemon,
    Insert,
    Keywright,
    Serve,
    daemon,
    eventually,
    in_reader,
    is_there,
    require_pyscard,
    require_reader,
    served,
    socket_of,
)


@pytest.fixture(params=[TRANSPORT.USB, TRANSPORT.NFC], ids=["extended", "short"])
def transport(request: pytest.FixtureRequest) -> TRANSPORT:
    """How yubikit believes to be connected: USB takes extended APDUs, NFC short ones that it chains."""
    found: TRANSPORT = request.param
    return found


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this process has its daemons. One place, for the client library looks once for its socket."""
    require_reader()
    found = tmp_path_factory.mktemp("pcscd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCSCLITE_CSOCK_NAME", str(socket_of(found)))
        yield found


@pytest.fixture
def insert(place: Path) -> Iterator[Insert]:
    """Put a device of this process into the reader, once for a test."""
    require_pyscard()
    with ExitStack() as stack:
        yield lambda device: stack.enter_context(in_reader(device, place))


@pytest.fixture
def listening(place: Path) -> Iterator[Daemon]:
    """A daemon whose driver waits for cards."""
    require_pyscard()
    with daemon(place, f"/dev/null:0x{LISTENING_PORT:X}", network=True) as started:
        yield started


@pytest.fixture
def serve(listening: Daemon) -> Iterator[Serve]:
    """Put `keywright element serve` into the reader, as often as a test likes, and wait until it is seen."""
    with ExitStack() as stack:

        def inserted(*words: object) -> Card:
            card = served("--link", f"vpcd+connect:127.0.0.1:{LISTENING_PORT}", *words, beside=listening)
            stack.callback(card.take_out)
            eventually("the card is in the reader", is_there)
            return card

        yield inserted


@pytest.fixture
def keywright(capsys: pytest.CaptureFixture[str]) -> Keywright:
    """Our program, called in this process."""
    return Keywright(capsys)
