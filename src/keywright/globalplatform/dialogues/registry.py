"""The whole registry of a card, whatever its age: every subset of GET STATUS, in the format that it knows."""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.errors import StatusError
from keywright.globalplatform.host import Dialogue, get_status
from keywright.globalplatform.messages import ApplicationEntry, StatusScope
from keywright.iso7816.status import SW

_UNKNOWN: Final = (SW.INCORRECT_P1P2, SW.INCORRECT_DATA, SW.FUNCTION_NOT_SUPPORTED)
"""How cards refuse a subset or a format that they do not have."""


class Registry(msgspec.Struct, frozen=True):
    """What a card holds. `legacy`: it knows only the format without tags."""

    issuer_domain: ApplicationEntry | None
    applications: tuple[ApplicationEntry, ...]
    load_files: tuple[ApplicationEntry, ...]
    legacy: bool = False

    @property
    def packages(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """AID and version of each load file, the version None where the card does not tell it."""
        return tuple((file.aid, file.version) for file in self.load_files)


def read_registry() -> Dialogue[Registry]:
    """Every entry of the registry that the session may see.

    A card that refuses the tagged format is asked in the old one, a card that does not list modules for files alone.
    Raises StatusError for any other refusal.
    """
    legacy = False
    try:
        domains = yield from get_status(StatusScope.ISSUER_DOMAIN)
    except StatusError as error:
        if error.sw not in _UNKNOWN:
            raise
        legacy = True
        domains = yield from get_status(StatusScope.ISSUER_DOMAIN, legacy=True)
    applications = yield from get_status(StatusScope.APPLICATIONS, legacy=legacy)
    try:
        files = yield from get_status(StatusScope.LOAD_FILES_AND_MODULES, legacy=legacy)
    except StatusError as error:
        if error.sw not in _UNKNOWN:
            raise
        files = yield from get_status(StatusScope.LOAD_FILES, legacy=legacy)
    return Registry(domains[0] if domains else None, applications, files, legacy)
