"""CKM_SP800_108_COUNTER_KDF (PKCS#11 3.0, 2.44): an SCP03 session key in one call, for S8 and S16, without masks.

The library passes a parameter that is bytes on as it is, so the structures are laid out here as C lays them out. The
message is 11 x 00 || constant || 00 || L || i || context, which as data parameters is byte array, counter of 8 bits,
byte array.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from pkcs11 import KeyType, Mechanism

from keywright.production.hsm.attributes import KINDS
from keywright.production.hsm.token import Handle, template
from keywright.scp.scp03.keys import derivation_block

COUNTER_KDF: Final = 0x3AC
_AES_CMAC: Final = 0x108A
_ITERATION_VARIABLE: Final = 1
_BYTE_ARRAY: Final = 4


class CounterFormat(ctypes.Structure):
    """CK_SP800_108_COUNTER_FORMAT."""

    _fields_ = (("little_endian", ctypes.c_ubyte), ("width_in_bits", ctypes.c_ulong))


class DataParameter(ctypes.Structure):
    """CK_PRF_DATA_PARAM."""

    _fields_ = (("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


class Parameters(ctypes.Structure):
    """CK_SP800_108_KDF_PARAMS."""

    _fields_ = (
        ("prf", ctypes.c_ulong),
        ("count", ctypes.c_ulong),
        ("data", ctypes.POINTER(DataParameter)),
        ("additional_count", ctypes.c_ulong),
        ("additional", ctypes.c_void_p),
    )


def parameters(constant: int, size: int, context: bytes) -> tuple[bytes, tuple[object, ...]]:
    """The mechanism's parameter, and what must live as long as it is used: it holds their addresses."""
    # The last byte of the block before the context is the counter; the token writes it.
    before = ctypes.create_string_buffer(derivation_block(constant, size, 1)[:-1], 15)
    after = ctypes.create_string_buffer(context, len(context))
    counter = CounterFormat(0, 8)
    data = (DataParameter * 3)(
        DataParameter(_BYTE_ARRAY, ctypes.cast(before, ctypes.c_void_p), 15),
        DataParameter(
            _ITERATION_VARIABLE, ctypes.cast(ctypes.pointer(counter), ctypes.c_void_p), ctypes.sizeof(counter)
        ),
        DataParameter(_BYTE_ARRAY, ctypes.cast(after, ctypes.c_void_p), len(context)),
    )
    whole = Parameters(_AES_CMAC, 3, data, 0, None)
    return bytes(whole), (before, after, counter, data, whole)


def derive_by_kdf(static: Handle, constant: int, size: int, context: bytes, kind: str) -> Any:
    """A session key of `size` bytes as an object of that kind."""
    parameter, alive = parameters(constant, size, context)
    made = static.derive_key(
        KeyType.AES,
        size * 8,
        capabilities=0,
        mechanism=Mechanism(COUNTER_KDF),
        mechanism_param=parameter,
        template=template(KINDS[kind], in_token=False),
    )
    del alive
    return made
