"""`pkcs11:LABEL[?module=PATH][&sessions=N]`: which token, through which library, with how many sessions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

import msgspec

from keywright.errors import StoreError, UsageError

SCHEME: Final = "pkcs11:"
MODULE_VARIABLE: Final = "KEYWRIGHT_PKCS11_MODULE"
USUAL_PLACES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
SESSIONS: Final = 4
_MOST: Final = 64


class TokenUri(msgspec.Struct, frozen=True):
    """What a `pkcs11:` URI says. `module` empty: the environment, then the usual places of SoftHSM2."""

    label: str
    module: str = ""
    sessions: int = SESSIONS

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Read a URI; percent signs escape in a label. Raises UsageError, naming what is wrong in it."""
        label, _, query = text.removeprefix(SCHEME).partition("?")
        found = dict(parse_qsl(query, keep_blank_values=True))
        unknown = ", ".join(sorted(found.keys() - {"module", "sessions"}))
        if not text.startswith(SCHEME) or not label or unknown:
            raise UsageError(
                f"{text}: {f'unknown: {unknown}' if unknown else 'not a token'}",
                hint=f"write {SCHEME}LABEL, or {SCHEME}LABEL?module=PATH&sessions=N",
            )
        count = found.get("sessions", str(SESSIONS))
        if not count.isdecimal() or not 1 <= int(count) <= _MOST:
            raise UsageError(f"{text}: sessions={count}", hint=f"give a number from 1 to {_MOST}")
        return cls(unquote(label), found.get("module", ""), int(count))

    def find_module(self) -> Path:
        """The library. Raises StoreError if it is nowhere."""
        named = self.module or os.environ.get(MODULE_VARIABLE, "")
        if named:
            if not Path(named).is_file():
                raise StoreError(f"{named}: there is no PKCS#11 library", hint="give the path of the token's library")
            return Path(named)
        found = next((Path(place) for place in USUAL_PLACES if Path(place).is_file()), None)
        if found is None:
            raise StoreError(
                "no PKCS#11 library was found in the usual places of SoftHSM2",
                hint=f"install it, or name a library: {SCHEME}LABEL?module=PATH, or {MODULE_VARIABLE}",
            )
        return found

    def __str__(self) -> str:
        return SCHEME + quote(self.label, safe=" ")
