"""How a scenario for a user device is made of a function of the tester."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from keywright.aliro.conformance.outcome import NotConfigured, OtherStatus, Scenario
from keywright.aliro.conformance.tester import Bench, Tester
from keywright.aliro.reader import Dialogue

Play: TypeAlias = Callable[[Tester], Dialogue[None]]

ERASED: Final = 0x6985
"""What every command is answered that the state has no place for."""
BAD: Final = 0x6A80
NOT_ALLOWED: Final = 0x6900
SECURITY: Final = 0x6982


def scenario(family: str, name: str, text: str, play: Play, *, certified: bool = False) -> Scenario[Bench]:
    """A case; certified: with the reader that has a certificate."""

    def run(bench: Bench) -> Dialogue[None]:
        if certified and bench.certified is None:
            raise NotConfigured("no reader with a certificate is known to the device")
        tester = Tester(bench, name, bench.certified if certified else None)
        yield from play(tester)
        if tester.other_status is not None:
            raise OtherStatus(*tester.other_status)

    return Scenario(name, family, text, run)
