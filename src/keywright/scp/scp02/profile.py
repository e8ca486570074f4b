"""Where the text of SCP02 leaves a choice, or cards are known to differ."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from keywright.scp.scp02.messages import MAX_COUNTER


class Profile(msgspec.Struct, frozen=True):
    """How one kind of card does SCP02. A card is one of these; a host may be told what to expect."""

    r_mac_counter: Literal["current", "session"] = "current"
    """[?] Which counter makes the R-MAC key when BEGIN R-MAC SESSION comes in an explicit session: the current value,
    one more than the session began with (GPCS E.4.1 as it stands), or the session's own, as some hosts compute it. A
    host tries the other as well and remembers which it was."""
    r_mac_on_errors: bool = True
    """[?] Whether an error status carries its R-MAC too. A card behind T=0 cannot; the chain counts it all the same. A
    host with False here takes bare errors, as well as covered ones; with True only covered ones."""
    count_wrong_cryptogram: bool = False
    """[?] The sequence counter goes on when EXTERNAL AUTHENTICATE has the right C-MAC and a wrong cryptogram."""
    max_counter: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNTER)] = MAX_COUNTER
    """Where the sequence counter stops for good; 7FFF on some cards. From there on only explicit sessions with random
    challenges open: the others would accept a recorded session once more."""
    any_kvn: bool = False
    """Whether a host takes the answer of another key version than it asked for. The recorded card that pySim tests
    with does so (asked for 20, it names 70); its cryptogram still proves the keys."""


DEFAULT = Profile()
"""The reading of the specification's own text."""
HOST = Profile(r_mac_on_errors=False)
"""What a host assumes that does not know its card."""
