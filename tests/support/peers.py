"""Foreign peers: programs and libraries that nobody here wrote. Where one is missing, the suite says so loudly."""

from __future__ import annotations

import os

import pytest

REQUIRE = "KEYWRIGHT_REQUIRE_PEERS"
_MARK = "foreign peer left out: "


def peers_required() -> bool:
    """Whether this run promised every peer (continuous integration does), so that a missing one is a failure."""
    return os.environ.get(REQUIRE, "") not in ("", "0")


def require_peer(name: str, available: bool, how_to_get: str) -> None:  # noqa: FBT001 - the one question asked
    """Go on if the peer is there; else skip, or fail where `KEYWRIGHT_REQUIRE_PEERS=1`.

    Call it in a test, in a fixture, or at the top of a module. The one way to skip a test in this suite.
    `how_to_get` ends the sentence "to run it: …", for example `apt-get install pcscd`.
    """
    if available:
        return
    text = f"{_MARK}{name} (to run it: {how_to_get})"
    if peers_required():
        pytest.fail(f"{text}; {REQUIRE} is set, so this is a failure", pytrace=False)
    pytest.skip(text, allow_module_level=True)


def left_out(reasons: list[str]) -> dict[str, int]:
    """Count skipped tests per peer, from the reasons pytest kept: "NAME (to run it: …)" -> how many tests."""
    counts: dict[str, int] = {}
    for reason in reasons:
        _, mark, peer = reason.partition(_MARK)
        if mark:
            counts[peer] = counts.get(peer, 0) + 1
    return counts
