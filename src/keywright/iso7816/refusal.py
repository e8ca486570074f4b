"""How card-side code says no."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it is an answer of the card, not a fault of the program
    """The command is answered with this status word and changes nothing. A host never sees it, but `StatusError`."""

    def __init__(self, sw: int) -> None:
        super().__init__(f"{sw:04X}")
        self.sw = sw
