"""Ask a token for its mechanisms and its limits."""

from __future__ import annotations

from typing import Any, Final

from keywright.production.hsm.mechanisms import Abilities

_UNLIMITED: Final = 16


def abilities_of(library: Any, token: Any) -> Abilities:
    """What the token says of itself; nothing is used."""
    names = sorted({getattr(mechanism, "name", f"{int(mechanism):08X}") for mechanism in token.slot.get_mechanisms()})
    major, minor = library.library_version
    return Abilities(
        manufacturer=token.manufacturer_id,
        model=token.model,
        serial=token.serial.decode("ascii", "replace").strip("\x00 "),
        library=f"{library.library_description} {major}.{minor}",
        mechanisms=tuple(name.lstrip("_") for name in names),
    )
