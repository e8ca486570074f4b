"""The page of the documentation that shows what was measured, and how."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

from bench.figures import SHORT, Figure, table
from bench.measure import Contender, race
from keywright import __version__

_TURNS = 10_000

_HOW = """\
Contenders take turns in one process, A B C A B C …, in many rounds of about two milliseconds with the garbage collector
off, after all were warmed. A ratio is the median over the rounds, each compared within itself, so it holds on a busy
machine too; times are medians. Time is processor time of the thread, except where processes are compared.

- *Bare* is the same cryptography from the same library (`cryptography`) and nothing else: ECB and CMAC contexts that
  are kept, one new CBC context for each message, messages that stand ready. It parses nothing and checks no state.
- *yubikit* is Yubico's own host library, its functions called in its own order on canned answers.
- A session open at the host: the answer to INITIALIZE UPDATE parsed, session keys, both cryptograms, EXTERNAL
  AUTHENTICATE built. Both ends: the host against the virtual element in the same process, bytes in between, the
  element's counters committed to a memory in RAM. The round trip sends and returns as many bytes through an applet.
- SCP11 at the host: a new key, the card's recorded answer, two key agreements, derivation, receipt. Bare has nothing
  but those, and is itself only 1.3 to 1.5 times as fast as yubikit. *With a card met before* the agreement of the two
  static keys is kept (`scp11.keys.KeptAgreement`).
- Behind vpcd: the driver is played by sockets, as libifdvpcd sends; cards and driver are two processes. Through pcscd:
  a real daemon with the real driver. The echo card answers as many bytes to the same three commands, in the same run.
  Times are by the wall clock.
- Keys in a token: SoftHSM2, by the wall clock. *Bare PKCS#11* makes the same objects by the same calls of the same
  library in one process; ours are made by the HSM client, a process of its own, for a caller behind a pair of sockets.
- Durable transitions: eight units take six actions each, with intent and result, without a device. One transition is an
  event, a change of the unit's row and an entry of the log for each; a transaction holds one of every unit. The sync is
  one of 4 kB in the same folder, measured just before. A server whose sync takes 0.5 ms or more has no target.
- One process against two: each takes one unit at a time through the same transitions, one to a transaction, and sleeps
  where a device would work. All of it, and the lots, by the wall clock: they say little on a machine that is busy.
- UWB frames, keys and pulses against CCM, CMAC and AES alone, whose keys stand ready; a round is one initiator, one
  responder and the virtual air between them, by the wall clock.
- The ranging laboratory makes 48 packets with paths, noise and clocks, receives and judges them; time is the whole
  process's, so several cores do not make it faster.
- The lots and the large order run the product's own code with its own settings in fresh processes: the line in one, the
  simulated fobs with their journal in another. Durable means what the line below the table says.
"""


def page(figures: Sequence[Figure], notes: Sequence[str]) -> str:
    """Markdown: table, plot, notes, method, machine."""
    short = [figure.what for figure in figures if figure.verdict == SHORT]
    verdict = f"Short of the target: {'; '.join(short)}." if short else "Every target is met."
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Made by `make bench`, which measures all of this anew.",
            "",
            table(figures),
            verdict,
            "",
            "![How far each target is met](img/bench.svg)",
            "",
            *(f"{note}\n" for note in notes),
            "## How it is measured",
            "",
            _HOW,
            "## On what",
            "",
            machine(),
            "",
        ]
    )


def machine() -> str:
    """Processor, versions and load; nothing that names a machine or a place on it."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; {platform.python_implementation()} "
        f"{platform.python_version()}, cryptography {version('cryptography')} ({backend.openssl_version_text()}), "
        f"yubikey-manager {version('yubikey-manager')}, keywright {__version__}. When it ended, load averages were "
        f"{load} and a turn of an empty loop took {_turn() * 1e9:.0f} ns: that is how far absolute figures can be "
        "trusted."
    )


def _turn() -> float:
    """Seconds of one turn of a loop that adds: how fast this processor runs Python just now."""

    def loop() -> None:
        total = 0
        for number in range(_TURNS):
            total += number

    return race([Contender("loop", loop, _TURNS)], rounds=51).median("loop")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
