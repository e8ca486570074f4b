"""NSS's software token, which has the derivations of PKCS#11 3.0 that SoftHSM lacks, called through ctypes.

It wants parameters of its own at C_Initialize, which python-pkcs11 has no way to give. Nothing is stored.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from support.peers import require_peer

_PLACES: Final = ("/usr/lib/x86_64-linux-gnu/libsoftokn3.so", "/usr/lib/aarch64-linux-gnu/libsoftokn3.so")
_PARAMETERS: Final = b"configdir='' certPrefix='' keyPrefix='' secmod='' flags=readOnly,noCertDB,noModDB,forceOpen"
_OS_LOCKING_OK: Final = 2
_SERIAL_SESSION: Final = 4
_FUNCTIONS: Final = {
    "C_Initialize": 0,
    "C_Finalize": 1,
    "C_GetSlotList": 4,
    "C_OpenSession": 12,
    "C_CreateObject": 20,
    "C_GetAttributeValue": 24,
    "C_DeriveKey": 62,
}
"""Places in CK_FUNCTION_LIST (PKCS#11 2.40 3.4), counted from 0."""

CLASS, VALUE, KEY_TYPE, SENSITIVE, ENCRYPT, DERIVE, VALUE_LEN, EXTRACTABLE = (
    0x000,
    0x011,
    0x100,
    0x103,
    0x104,
    0x10C,
    0x161,
    0x162,
)
SECRET_KEY: Final = 4
AES: Final = 0x1F


class _Arguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS as NSS has it, with its own parameters before the reserved field."""

    _fields_ = (
        ("mutexes", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("parameters", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p),
    )


class _Attribute(ctypes.Structure):
    _fields_ = (("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


class _Mechanism(ctypes.Structure):
    _fields_ = (("type", ctypes.c_ulong), ("parameter", ctypes.c_void_p), ("length", ctypes.c_ulong))


class SofToken:
    """The token, with one session."""

    def __init__(self) -> None:
        place = next((place for place in _PLACES if Path(place).is_file()), "")
        require_peer("NSS softoken", bool(place), "apt-get install libnss3")
        library = ctypes.CDLL(place)
        functions = ctypes.c_void_p()
        library.C_GetFunctionList(ctypes.byref(functions))
        # The version stands before the first pointer, filled up to its alignment.
        table = (ctypes.c_void_p * 68).from_address((functions.value or 0) + ctypes.sizeof(ctypes.c_void_p))
        kind = ctypes.CFUNCTYPE(ctypes.c_ulong)
        self._functions: dict[str, Callable[..., int]] = {name: kind(table[at] or 0) for name, at in _FUNCTIONS.items()}
        self._call("C_Initialize", ctypes.byref(_Arguments(flags=_OS_LOCKING_OK, parameters=_PARAMETERS)))
        slots, count = (ctypes.c_ulong * 8)(), ctypes.c_ulong(8)
        self._call("C_GetSlotList", 1, slots, ctypes.byref(count))
        self._session = ctypes.c_ulong()
        self._call("C_OpenSession", ctypes.c_ulong(slots[0]), ctypes.c_ulong(_SERIAL_SESSION), None, None, self._out())

    def _out(self) -> Any:
        return ctypes.byref(self._session)

    def _call(self, name: str, *arguments: Any) -> None:
        answer = self._functions[name](*arguments)
        assert answer == 0, f"{name} answers {answer:#x}"

    def close(self) -> None:
        """End the library."""
        self._call("C_Finalize", None)

    def key(self, value: bytes) -> Any:
        """An AES key that may derive."""
        made = ctypes.c_ulong()
        template, held = _template({CLASS: SECRET_KEY, KEY_TYPE: AES, VALUE: value, DERIVE: True})
        self._call("C_CreateObject", self._session, template, ctypes.c_ulong(len(held)), ctypes.byref(made))
        return made

    def derive(self, key: Any, mechanism: int, parameter: bytes, size: int) -> bytes:
        """Derive an AES key that may be read, and read it."""
        held = ctypes.create_string_buffer(parameter, len(parameter))
        asked = _Mechanism(mechanism, ctypes.cast(held, ctypes.c_void_p), len(parameter))
        readable: dict[int, bool | int | bytes] = {CLASS: SECRET_KEY, KEY_TYPE: AES, VALUE_LEN: size}
        readable |= {SENSITIVE: False, EXTRACTABLE: True, ENCRYPT: True}
        template, values = _template(readable)
        made = ctypes.c_ulong()
        self._call(
            "C_DeriveKey",
            self._session,
            ctypes.byref(asked),
            key,
            template,
            ctypes.c_ulong(len(values)),
            ctypes.byref(made),
        )
        value = ctypes.create_string_buffer(size)
        wanted = (_Attribute * 1)(_Attribute(VALUE, ctypes.cast(value, ctypes.c_void_p), size))
        self._call("C_GetAttributeValue", self._session, made, wanted, ctypes.c_ulong(1))
        return value.raw


def _template(values: dict[int, bool | int | bytes]) -> tuple[Any, list[Any]]:
    """A template, and what its pointers point at: it has to live as long."""
    template = (_Attribute * len(values))()
    held: list[Any] = []
    for at, (kind, value) in enumerate(values.items()):
        if isinstance(value, bytes):
            data = value
        elif isinstance(value, bool):
            data = bytes((value,))
        else:
            data = value.to_bytes(ctypes.sizeof(ctypes.c_ulong), "little")
        held.append(ctypes.create_string_buffer(data, len(data)))
        template[at] = _Attribute(kind, ctypes.cast(held[-1], ctypes.c_void_p), len(data))
    return template, held
