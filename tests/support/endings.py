"""How a unit must end that went through the fob's recipe, whatever disturbed it on the way.

What it remembers is held against an undisturbed run; what it was told, against what the store says of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from keywright.crypto.ec import EcPrivateKey
from keywright.fob.credential.messages import CREDENTIAL_AID, Dgi
from keywright.iso7816.status import SW
from keywright.production.unit_store.rows import Certificate, Event

_APPLET: Final = f"applet/{CREDENTIAL_AID.hex().upper()}"
KEY: Final = f"{_APPLET}/key"
POINT: Final = f"{_APPLET}/point"
CERTIFICATE: Final = f"{_APPLET}/{Dgi.CERTIFICATE:04X}"
OWN_RANDOM: Final = (KEY, POINT, CERTIFICATE)
"""What a fob draws itself, or what is made from that: other in every run, compared with the store instead."""
COUNTING: Final = ("attempts", "counter/")
"""Records that count what was tried, and so differ after a recovery."""

EXTERNAL_AUTHENTICATE: Final = 0x82


def check_end(
    memory: Mapping[str, bytes],
    expected: Mapping[str, bytes],
    events: Iterable[Event],
    certificate: Certificate,
    answers: Iterable[tuple[int, int]],
    *,
    most: int,
) -> None:
    """The fob as an undisturbed run leaves it, nothing done twice, nothing lost, and no try wasted.

    events: all of the unit. answers: INS and status of every command it answered. most: so many sessions may have
    been opened more than `expected` has.
    """
    assert memory.keys() == expected.keys()
    same = [name for name in expected if name not in OWN_RANDOM and not name.startswith(COUNTING)]
    assert {name: memory[name] for name in same} == {name: expected[name] for name in same}
    key = EcPrivateKey.from_pkcs8(memory[KEY], "P-256")
    assert memory[CERTIFICATE] == certificate.der
    assert hashlib.sha256(key.public.spki()).digest() == certificate.spki_sha256
    _everything_was_done_once(list(events), memory[POINT])
    wrong = no_try_is_wrong(answers)
    assert not wrong, f"EXTERNAL AUTHENTICATE was answered {wrong}"
    more = int.from_bytes(memory["attempts"]) - int.from_bytes(expected["attempts"])
    assert 0 <= more <= most, f"{more} sessions more than undisturbed, at most {most} are known"


def _everything_was_done_once(events: list[Event], point: bytes) -> None:
    for action in {event.step for event in events if event.phase == "intent"}:
        ends = [event for event in events if event.step == action and event.phase in ("done", "recovered")]
        assert len(ends) == 1, f"{action} was done {len(ends)} times"
        if action == "personalise.generate":
            assert ends[0].facts["point"] == point.hex()
    assert not any(event.phase == "mismatch" for event in events)


def no_try_is_wrong(answers: Iterable[tuple[int, int]]) -> list[str]:
    """The statuses with which EXTERNAL AUTHENTICATE was refused: each of them was a try."""
    return [f"{sw:04X}" for ins, sw in answers if ins == EXTERNAL_AUTHENTICATE and sw != SW.OK]
