"""Where the random numbers of a session come from: the system, or for a recording that is played back, the recording.

With the host challenges that were sent then, a session of SCP02 or SCP03 is the same byte for byte, and the recording
answers it as the card did. What SCP11 draws cannot be read back from what travelled.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from keywright.fob.uri import parse_uri
from keywright.globalplatform.messages import Ins
from keywright.iso7816.channels import is_secured
from keywright.link.pcapng import read_recording

Rng = Callable[[int], bytes]


def randomness_of(uri: str) -> Rng:
    """Random bytes for sessions over this link. Raises UsageError, DecodeError for a recording that cannot be read."""
    parsed = parse_uri(uri)
    if parsed.scheme != "replay":
        return os.urandom
    recorded = [
        event.data[5 : 5 + event.data[4]]
        for event in read_recording(parsed.rest)
        if event.direction == "command" and len(event.data) > 5 and _is_challenge(event.data)
    ]
    waiting = iter(recorded)

    def next_one(size: int) -> bytes:
        found = next(waiting, b"")
        return found if len(found) == size else os.urandom(size)

    return next_one


def _is_challenge(command: bytes) -> bool:
    return command[1] == Ins.INITIALIZE_UPDATE and not is_secured(command[0])
