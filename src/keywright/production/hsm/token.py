"""A token through python-pkcs11: log in, make and use objects. Only the client process imports this module.

Three traps of that library are closed here. It promises the token that there is one thread: `initialize_for_threads`.
It gives a derived key every right unless each is written out: `template` writes them all. It cannot write some
attributes, and after having said so it frees memory that it never had at the next object: `checked` refuses such an
attribute before the library sees it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import Any, Final, final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.attributes import ATTRIBUTE_TYPES

from keywright.codec.ber import items
from keywright.crypto.ec import EcPublicKey
from keywright.errors import PolicyError, StoreError
from keywright.production.hsm.attributes import KINDS, RIGHTS, Kind, Right

BLOCK: Final = 16
_OS_LOCKING_OK: Final = 2
APPLICATION: Final = "keywright"
_RIGHTS: Final[dict[Right, Any]] = {right: Attribute[right.upper()] for right in RIGHTS}
_CURVES: Final = {"P-256": bytes.fromhex("06082A8648CE3D030107"), "P-384": bytes.fromhex("06052B81040022")}
"""Curves as CKA_EC_PARAMS names them: a DER OBJECT IDENTIFIER (RFC 5480 2.1.1.1)."""
_ROOM: Final = 64

Handle = Any
"""An object of the library, bound to the session that found or made it."""


def checked(template: Mapping[Any, Any]) -> dict[Any, Any]:
    """The template, if the library can write all of it. Raises TypeError before it would do harm."""
    for attribute in template:
        if attribute not in ATTRIBUTE_TYPES:
            raise TypeError(f"{attribute!r} cannot be written through this library")
    return dict(template)


def rights_of(kind: Kind) -> dict[Any, bool]:
    """Every right of an object, written out."""
    return {attribute: kind.may(right) for right, attribute in _RIGHTS.items()}


def template(kind: Kind, *, in_token: bool, label: str = "", object_id: bytes = b"") -> dict[Any, Any]:
    """Attributes of a new object of this kind. MODIFIABLE stands last: a copy takes no other change after it."""
    made = {
        Attribute.TOKEN: in_token,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: kind.extractable,
        Attribute.LABEL: label,
        Attribute.ID: object_id,
        **rights_of(kind),
        Attribute.MODIFIABLE: False,
    }
    return checked(made)


_SESSION_TEMPLATES: Final = {name: template(kind, in_token=False) for name, kind in KINDS.items()}


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 2.40 3.6.1)."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


def initialize_for_threads(module: str) -> bool:
    """Initialise a loaded library anew, with locks; False if it has none, so that one call at a time may be made.

    python-pkcs11 calls C_Initialize without arguments, which promises that there is one thread: SoftHSM then locks
    nothing, and answers CKR_GENERAL_ERROR or worse to two threads at once.
    """
    functions = ctypes.c_void_p()
    ctypes.CDLL(module).C_GetFunctionList(ctypes.byref(functions))
    # CK_FUNCTION_LIST: the version, filled up to a pointer's size, then C_Initialize and C_Finalize (2.40, 3.4).
    table = (ctypes.c_void_p * 2).from_address((functions.value or 0) + ctypes.sizeof(ctypes.c_void_p))
    function = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
    initialize, finalize = (function(address or 0) for address in table)
    finalize(None)
    if initialize(ctypes.addressof(arguments := _InitializeArguments(flags=_OS_LOCKING_OK))) == 0:
        return True
    del arguments
    initialize(None)
    return False


def load_library(module: str) -> Any:
    """The PKCS#11 library. Raises StoreError if it cannot be loaded."""
    try:
        return pkcs11.lib(module)
    except pkcs11.PKCS11Error as error:
        raise StoreError(
            f"{module}: not a PKCS#11 library that can be loaded",
            hint="name one with pkcs11:LABEL?module=PATH or KEYWRIGHT_PKCS11_MODULE",
        ) from error


def find_token(library: Any, label: str) -> Any:
    """The one token with that label, or without one the only token. Raises StoreError unless there is exactly one."""
    found = [token for token in library.get_tokens() if token.label and label in ("", token.label)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted({token.label for token in library.get_tokens() if token.label})) or "none"
    which = f"labelled {label!r}" if label else "there"
    raise StoreError(
        f"{len(found)} tokens are {which}" if found else f"no token is {which}", hint=f"tokens there: {known}"
    )


def log_in(token: Any, pin: str) -> Any:
    """A session of the normal user. Raises PolicyError for a PIN that is not accepted: it is never tried twice."""
    try:
        return token.open(rw=True, user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
        raise PolicyError(
            "the token does not accept the PIN",
            hint="check the PIN file before trying again: tokens lock after a few wrong ones",
        ) from error
    except pkcs11.PinLocked as error:
        raise PolicyError("the token's PIN is locked", hint="the token's security officer can set a new one") from error
    except (pkcs11.PinExpired, pkcs11.UserPinNotInitialized) as error:
        raise PolicyError(
            f"the token takes no PIN now ({type(error).__name__})", hint="set a new one with the token's own tool"
        ) from error


@final
class TokenSession:
    """One session with the token, for one thread."""

    __slots__ = ("_found", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._found: dict[tuple[bytes, str], Handle] = {}

    def forget(self) -> None:
        """Look up every object anew when it is next used."""
        self._found.clear()

    # ---- objects

    def key(self, object_id: bytes, kind: str) -> Handle:
        """The token object with that id. Raises StoreError unless there is exactly one."""
        found = self._found.get((object_id, kind))
        if found is None:
            found = self._found[object_id, kind] = self._one(object_id, kind)
        return found

    def _one(self, object_id: bytes, kind: str) -> Handle:
        private = KINDS[kind].key == "private"
        wanted = ObjectClass.PRIVATE_KEY if private else ObjectClass.SECRET_KEY
        found = list(self.raw.get_objects({Attribute.CLASS: wanted, Attribute.ID: object_id, Attribute.TOKEN: True}))
        if len(found) != 1:
            raise StoreError(
                f"the token has {len(found)} {kind} objects with the id {object_id.hex()}, its registry one",
                hint="run `keywright keystore audit`; restore the token from its backup if keys are gone",
            )
        return found[0]

    def objects(self, kind: ObjectClass | None = None) -> Iterator[Handle]:
        """All token objects, or those of one class."""
        wanted: dict[Any, Any] = {Attribute.TOKEN: True}
        if kind is not None:
            wanted[Attribute.CLASS] = kind
        # All at once: a search that is not read to its end leaves the session busy.
        yield from list(self.raw.get_objects(wanted))

    def generate_aes(self, bits: int, attributes: Mapping[Any, Any]) -> Handle:
        """A new AES key."""
        return self.raw.generate_key(KeyType.AES, bits, capabilities=0, template=checked(attributes))

    def import_aes(self, value: bytes, attributes: Mapping[Any, Any]) -> Handle:
        """An AES key whose value is known."""
        return self.raw.create_object(
            checked(
                {
                    Attribute.CLASS: ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: KeyType.AES,
                    Attribute.VALUE: value,
                    **attributes,
                }
            )
        )

    def generate_ec(self, curve: str, kind: str, *, label: str, object_id: bytes) -> Handle:
        """A new key pair in the token; the private key."""
        parameters = self.raw.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: _CURVES[curve]}, local=True)
        private = template(KINDS[kind], in_token=True, label=label, object_id=object_id)
        # What no private key has is left out: tokens refuse what their class does not know.
        for right in ("encrypt", "verify", "wrap"):
            del private[_RIGHTS[right]]
        public = {
            Attribute.TOKEN: True,
            Attribute.LABEL: label,
            Attribute.ID: object_id,
            Attribute.ENCRYPT: False,
            Attribute.WRAP: False,
            Attribute.VERIFY: True,
            Attribute.MODIFIABLE: False,
        }
        _, made = parameters.generate_keypair(
            capabilities=0, store=True, public_template=checked(public), private_template=checked(private)
        )
        return made

    def public_key(self, object_id: bytes, curve: str) -> EcPublicKey:
        """The public half of a key pair. Raises StoreError if it is not there."""
        wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: object_id, Attribute.TOKEN: True}
        for found in list(self.raw.get_objects(wanted)):
            point = found[Attribute.EC_POINT]
            if point[:1] == b"\x04" and len(point) > 2 and point[1] == len(point) - 2:
                # DER OCTET STRING around the point (PKCS#11 2.40 2.3.3).
                ((_, point),) = items(point)
            return EcPublicKey.from_point(curve, point)
        raise StoreError(f"the token has no public key {object_id.hex()}", hint="run `keywright keystore audit`")

    # ---- use

    def derive(self, base: Handle, data: bytes, size: int, kind: str) -> Handle:
        """AES_ECB_ENCRYPT_DATA: a session object whose value are the first `size` bytes of E(data)."""
        return base.derive_key(
            KeyType.AES,
            size * 8,
            capabilities=0,
            mechanism=Mechanism.AES_ECB_ENCRYPT_DATA,
            mechanism_param=data,
            template=_SESSION_TEMPLATES[kind],
        )

    @staticmethod
    def ecb(key: Handle, blocks: bytes) -> bytes:
        """AES-ECB over whole blocks."""
        done: bytes = key.encrypt(blocks, mechanism=Mechanism.AES_ECB, buffer_size=len(blocks) + _ROOM)
        return done

    @staticmethod
    def cmac(key: Handle, message: bytes) -> bytes:
        """AES-CMAC, 16 bytes."""
        mac: bytes = key.sign(message, mechanism=Mechanism.AES_CMAC, buffer_size=_ROOM)
        return mac

    @staticmethod
    def ecdsa(key: Handle, digest: bytes) -> bytes:
        """ECDSA over a digest, r || s."""
        signature: bytes = key.sign(digest, mechanism=Mechanism.ECDSA, buffer_size=4 * _ROOM)
        return signature

    @staticmethod
    def wrap_cbc(wrapping: Handle, key: Handle) -> bytes:
        """A key encrypted in CBC with IV 0, no padding."""
        wrapped: bytes = wrapping.wrap_key(key, mechanism=Mechanism.AES_CBC, mechanism_param=bytes(BLOCK))
        return wrapped

    def store_data(self, label: str, value: bytes) -> Handle:
        """A data object in the token."""
        return self.raw.create_object(
            checked(
                {
                    Attribute.CLASS: ObjectClass.DATA,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.LABEL: label,
                    Attribute.APPLICATION: APPLICATION,
                    Attribute.VALUE: value,
                    Attribute.MODIFIABLE: False,
                }
            )
        )

    def data(self) -> Iterator[tuple[Handle, str, bytes]]:
        """Our data objects: the object, its label and its value."""
        for found in self.objects(ObjectClass.DATA):
            try:
                if found[Attribute.APPLICATION] == APPLICATION:
                    yield found, found[Attribute.LABEL], found[Attribute.VALUE]
            except pkcs11.PKCS11Error:
                continue
