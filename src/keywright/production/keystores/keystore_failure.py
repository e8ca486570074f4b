"""What goes wrong with a keystore, so that the line knows what to do: go on with the unit, or stop the lot."""

from __future__ import annotations

from keywright.errors import LinkError, PolicyError


class KeystoreLostError(LinkError):
    """Whatever holds the keys has ended, and every channel open through it; it comes back by itself.

    `delivered` speaks of the card's command, as with every link: False while one was being made.
    """

    code = "keystore-lost"
    hint = "the unit is reset and probed; if this goes on, look at the HSM"


class KeystoreBusyError(LinkError):
    """Whatever holds the keys did not get to it in time; the channel it was for is gone."""

    code = "keystore-busy"
    hint = "the unit is reset and probed; work on fewer units at once (--width)"


class KeystoreRefusedError(PolicyError):
    """The keystore refuses what was asked, and would for every unit: the lot has to wait for a person."""

    code = "keystore-refused"
