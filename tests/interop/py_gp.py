"""Py-GP (PyPI `py-gp` 1.0.0 by GPContributors): a GlobalPlatform host that nobody here wrote, SCP02 and SCP03.

It was made for Windows: its PC/SC is a binary that only Windows loads. A stand-in with nothing in it takes that place
while it is imported, and its `connection_module`, the place where a host program plugs in another reader, is a wire to
the element. It also asks `cryptography.utils` for `register_interface`, a decorator that is gone from there since;
during the import it is back and does nothing, as it did. All commands, keys, cryptograms and all reading are Py-GP's.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

from interop.foreign import TEST_KEY, Transmit
from support.peers import require_peer

KEY: Final = TEST_KEY.hex().upper()
T0, T1 = 1, 2
_WINDOWS: Final = "_scard"
_GONE: Final = "cryptography.utils.register_interface"


class _Nothing(types.ModuleType):
    """Has whatever constant it is asked for."""

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        return 0


@cache
def pygp() -> Any:
    """The package; skips the test, or fails it where all peers were promised, when it is not installed."""
    require_peer("py-gp", importlib.util.find_spec("pygp") is not None, ".ci/install pygp")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(sys.modules, _WINDOWS, _Nothing(_WINDOWS))
        patch.setattr(_GONE, lambda _: lambda cls: cls, raising=False)
        return importlib.import_module("pygp")


class PyGp:
    """The functions of `pygp`, over a wire. They tell of an error by raising BaseException itself."""

    def __init__(self, transmit: Transmit, protocol: int = T1) -> None:
        """protocol: T0 makes it strip Le, follow 61xx and 6Cxx, and ask for an answer after 9000 too."""
        self._module = pygp()
        connection: Any = importlib.import_module("pygp.connection.connection")
        no_error = self._module.error.create_no_error_status

        def send(_info: object, command: list[int]) -> tuple[object, list[int]]:
            # A Le of 256 comes as 256; the C of its PC/SC takes the low byte.
            return no_error(0), list(transmit(bytes(value & 0xFF for value in command)))

        connection.connection_module = types.SimpleNamespace(send_apdu_T0=send, send_apdu_T1=send)
        connection.card_context = 1
        connection.create_card_info_dict("3B00", "", protocol, 1)
        self._module.gp.clear_securityInfo()
        self._module.pygp.key_list.clear()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A function of Py-GP."""
        found: Callable[..., Any] = getattr(self._module, name)
        return found

    def enter(self, scp: str, level: int, kvn: str = "00", key: str = KEY) -> None:
        """Select the issuer domain and open a session."""
        self.select_isd()
        self.auth(key, key, key, scp=scp, keysetversion=kvn, securitylevel=level)

    def listed(self, element: str) -> list[dict[str, str]]:
        """What GET STATUS tells, as Py-GP read it."""
        status, entries = self._module.gp.get_status(element)
        assert status["errorStatus"] == 0
        found: list[dict[str, str]] = entries
        return found

    def key_list(self) -> list[tuple[str, str, str, str]]:
        """KID, KVN, length and type of every key, as Py-GP read them."""
        status, entries = self._module.gp.get_key_information_template()
        assert status["errorStatus"] == 0
        found: list[tuple[str, str, str, str]] = entries
        return found
