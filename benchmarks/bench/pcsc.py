"""The virtual element as PC/SC programs meet it: a real pcscd with the vpcd driver, both readers at work at once.

Each reader holds a card that is the element or, after a command that switches it, a card which only echoes: so both run
in one daemon, turn by turn. Needs what the tests of PC/SC need (`.ci/run` installs it); where it is missing, no rows.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

from bench.figures import Figure, micro, rate
from bench.reader import CHALLENGE, COMMANDS, KVN, SELECT, Echo
from keywright.element import SecureElement
from keywright.errors import KeywrightError
from keywright.iso7816.apdu import Command, Response
from keywright.link.pcsc import PcscLink
from keywright.link.vpcd import VpcdServer
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, open_channel

READERS: Final = ("Virtual PCD 00 00", "Virtual PCD 00 01")
SWITCH: Final = bytes.fromhex("FFFE0000")
ROUNDS: Final = 15
EXCHANGES: Final = 200
SESSIONS: Final = 60
TESTS: Final = Path(__file__).resolve().parents[2] / "tests"


class Switched:
    """The element, or the echoing card, whichever was chosen last."""

    def __init__(self) -> None:
        self._cards = [SecureElement(), Echo()]

    @property
    def atr(self) -> bytes:
        """That of the element."""
        return SecureElement().atr

    def handle(self, request: bytes, /) -> bytes:
        """The answer of the card that is there now."""
        if request == SWITCH:
            self._cards.reverse()
            return b"\x90\x00"
        return self._cards[0].handle(request)

    def reset(self) -> None:
        """Of the card that is there now."""
        self._cards[0].reset()


def figures() -> list[Figure]:
    """Every row, or none where there is no PC/SC to be had."""
    try:
        with _links() as links:
            return _measured(links)
    except (ImportError, OSError, KeywrightError) as error:
        print(f"PC/SC is not measured: {error}", file=sys.stderr)
        return []


def _measured(links: Sequence[PcscLink]) -> list[Figure]:
    rounds: dict[str, list[float]] = {"plain": [], "element": [], "echo": []}
    for _ in range(ROUNDS):
        rounds["plain"].append(_together(links, _plain) / (2 * EXCHANGES))
        rounds["element"].append(_together(links, _sessions) / (2 * SESSIONS))
        for link in links:
            link.exchange(SWITCH)
        rounds["echo"].append(_together(links, _echoed) / (2 * SESSIONS))
        for link in links:
            link.exchange(SWITCH)
    plain = 1 / sorted(rounds["plain"])[ROUNDS // 2]
    shares = sorted(echo / own for echo, own in zip(rounds["echo"], rounds["element"], strict=True))
    own, echo = (micro(sorted(rounds[name])[ROUNDS // 2]) for name in ("element", "echo"))
    share = shares[ROUNDS // 2] * 100
    return [
        Figure("element through pcscd and vpcd, two readers at once", rate(plain), "", plain, 5_000, form="{:,.0f}/s"),
        Figure(
            "SELECT and SCP03 open through pcscd and vpcd, two readers at once",
            own,
            f"echo card {echo}",
            share,
            50,
            form="{:.0f} %",
        ),
    ]


def _together(links: Sequence[PcscLink], work: Callable[[PcscLink], None]) -> float:
    """Seconds, by the wall clock, for the same work in both readers at once."""
    threads = [threading.Thread(target=work, args=(link,)) for link in links]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def _plain(link: PcscLink) -> None:
    for at in range(EXCHANGES):
        link.exchange(COMMANDS[at % len(COMMANDS)])


def _sessions(link: PcscLink) -> None:
    keys = KeySet.gp_test()
    for _ in range(SESSIONS):
        link.exchange(SELECT)
        drive(open_channel(keys, CHALLENGE, kvn=KVN), lambda command: Response.parse(link.exchange(command.encode())))


def _echoed(link: PcscLink) -> None:
    initialize = Command(0x80, 0x50, KVN, 0, CHALLENGE, 0).encode()
    authenticate = Command(0x84, 0x82, 0x33, 0, bytes(16)).encode()
    for _ in range(SESSIONS):
        for command in (SELECT, initialize, authenticate):
            link.exchange(command)


@contextmanager
def _links() -> Iterator[list[PcscLink]]:
    """Links to both readers of a daemon of our own, whose cards are a process of their own."""
    sys.path.append(str(TESTS))
    from interop.pcscd import daemon, socket_of  # noqa: PLC0415 - the tests' own daemon, only where this is measured

    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cards = stack.enter_context(Popen([sys.executable, "-m", "bench.pcsc"], stdout=PIPE, env=environment))
        stack.callback(cards.terminate)
        assert cards.stdout is not None
        port = int(cards.stdout.readline())
        os.environ["PCSCLITE_CSOCK_NAME"] = str(socket_of(place))
        stack.enter_context(daemon(place, f"127.0.0.1:0x{port:X}"))
        yield [stack.enter_context(closing(PcscLink(reader))) for reader in READERS]


def main() -> None:
    """Serve two cards until killed; the first port is printed."""
    server = VpcdServer(Switched(), Switched())
    server.serve(port=0, on_ready=lambda port, _: print(port, flush=True))


if __name__ == "__main__":
    main()
