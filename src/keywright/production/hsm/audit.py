"""Is the token as its registry and the attribute table say? Every object is read, and every forbidden use tried.

What could do harm is tried on a probe first: a session object made with the same rights, destroyed at once. Only a
token that keeps a probe from being changed is asked to change its own objects, and of those none that is MODIFIABLE. A
use that the token carries out although the object lacks the right is "wrong"; what no right can forbid is
"not-enforceable" by name: then the boundary is the HSM client and the PIN, not the token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pkcs11
import pkcs11._pkcs11 as _library
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from keywright.errors import StoreError
from keywright.production.hsm.attributes import KINDS, RIGHTS, Kind, Right
from keywright.production.hsm.fresh import LABEL
from keywright.production.hsm.mechanisms import Abilities
from keywright.production.hsm.messages import Finding
from keywright.production.hsm.records import TokenRecord
from keywright.production.hsm.token import BLOCK, Handle, TokenSession, template
from keywright.production.hsm.token_registry import TokenRegistry, mac_key
from keywright.production.keystores.key_states import KeyState

OK: Final = "ok"
WRONG: Final = "wrong"
NOT_ENFORCEABLE: Final = "not-enforceable"

_FLAGS: Final = {
    Attribute.SENSITIVE: True,
    Attribute.PRIVATE: True,
    Attribute.MODIFIABLE: False,
    Attribute.TOKEN: True,
}
_KEY_CLASSES: Final = (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY)
_UNNAMED: Final = {" 0x68": "KEY_FUNCTION_NOT_PERMITTED", " 0x1b": "ACTION_PROHIBITED"}
_REFUSALS: Final = (
    *_UNNAMED.values(),
    "ActionProhibited",
    "AttributeReadOnly",
    "AttributeSensitive",
    "AttributeTypeInvalid",
    "KeyFunctionNotPermitted",
    "KeyNotWrappable",
    "KeyTypeInconsistent",
    "KeyUnextractable",
)
"""Errors that say: this object may not. Any other shows that the token did not look at the right."""

library: Any = _library
_OF_PRIVATE_KEYS: Final[tuple[Right, ...]] = ("decrypt", "sign", "unwrap", "derive")


def audit_token(session: TokenSession, abilities: Abilities) -> tuple[Finding, ...]:
    """Every finding, good ones too. Raises StoreError if the token holds no keystore."""
    registry = TokenRegistry.read(session)
    return (
        *_mechanisms(abilities),
        *_inventory(session, registry),
        *_attributes(session, registry),
        *_forbidden(session, registry),
        *_templates(session),
    )


def _mechanisms(abilities: Abilities) -> Iterator[Finding]:
    for operation, way in abilities.strategies().items():
        yield Finding(abilities.model, operation, OK, way)


# ---- inventory


def _inventory(session: TokenSession, registry: TokenRegistry) -> Iterator[Finding]:
    """What the registry names and the token lacks, and the other way round."""
    known = {ref.object_id: record.name for record in _held(registry) for ref in record.objects}
    there: dict[bytes, int] = {}
    mac_id = mac_key(session)[Attribute.ID]
    for handle in session.objects():
        if handle[Attribute.CLASS] not in _KEY_CLASSES:
            continue
        object_id = handle[Attribute.ID]
        there[object_id] = there.get(object_id, 0) + 1
        if object_id not in known and object_id != mac_id:
            ours = str(handle[Attribute.LABEL]).startswith(LABEL)
            text = "an object of ours that no record names" if ours else "a foreign object in this token"
            yield Finding(_shown(handle), "inventory", WRONG, text)
    for record in _held(registry):
        for ref in record.objects:
            count = there.get(ref.object_id, 0)
            subject = f"{record.name} {ref.kind}{f' {ref.part}' if ref.part else ''}"
            if count == 1:
                yield Finding(subject, "inventory", OK, f"id {ref.object_id.hex()}")
            else:
                yield Finding(subject, "inventory", WRONG, f"{count} objects with the id {ref.object_id.hex()}")


def _held(registry: TokenRegistry) -> list[TokenRecord]:
    """The keys that are there: of a destroyed one only the record is."""
    return [record for record in registry.keys.values() if record.entry.state is not KeyState.DESTROYED]


def _shown(handle: Handle) -> str:
    return f"{handle[Attribute.LABEL] or 'unnamed'} ({bytes(handle[Attribute.ID]).hex() or 'no id'})"


# ---- attributes


def _attributes(session: TokenSession, registry: TokenRegistry) -> Iterator[Finding]:
    yield _compared("record-mac", mac_key(session), KINDS["record-mac"])
    for subject, handle, kind in _objects(session, registry):
        yield _compared(subject, handle, kind)
    yield from _check_values(session, registry)


def _objects(session: TokenSession, registry: TokenRegistry) -> Iterator[tuple[str, Handle, Kind]]:
    for record in _held(registry):
        for ref in record.objects:
            try:
                handle = session.key(ref.object_id, ref.kind)
            except StoreError:
                continue  # The inventory has said so.
            yield f"{record.name} {ref.kind}{f' {ref.part}' if ref.part else ''}", handle, KINDS[ref.kind]


def _compared(subject: str, handle: Handle, kind: Kind) -> Finding:
    wanted: dict[Any, bool] = {**_FLAGS, Attribute.EXTRACTABLE: kind.extractable}
    for right in RIGHTS if kind.key == "secret" else _OF_PRIVATE_KEYS:
        wanted[Attribute[right.upper()]] = kind.may(right)
    wrong = []
    for attribute, value in wanted.items():
        try:
            found = handle[attribute]
        except pkcs11.PKCS11Error as error:
            found = type(error).__name__
        if found is not value:
            wrong.append(f"{attribute.name} is {found}")
    return Finding(subject, "attributes", WRONG if wrong else OK, ", ".join(wrong) or "as the table has them")


def _check_values(session: TokenSession, registry: TokenRegistry) -> Iterator[Finding]:
    """Factory keys that may encrypt show their check value; a master that only derives cannot, but by a probe."""
    for record in _held(registry):
        if record.entry.purpose == "factory":
            found = "".join(
                session.ecb(session.key(ref.object_id, ref.kind), b"\x01" * BLOCK)[:3].hex()
                for ref in record.objects
                if ref.kind == "static-encrypt"
            )
            yield _check_value(record, found)


def _check_value(record: TokenRecord, found: str) -> Finding:
    expected = record.kcv.hex()
    same = found == expected
    text = f"{found.upper()} (aes-ones)" if same else f"{found}, the record has {expected}"
    return Finding(record.name, "check value", OK if same else WRONG, text)


# ---- forbidden uses


def _forbidden(session: TokenSession, registry: TokenRegistry) -> Iterator[Finding]:
    keeps = True
    for name in ("s-enc", "s-mac", "k-dek", "new-key", "new-key-check", "static"):
        subject, kind = f"a session object ({name})", KINDS[name]
        probe = session.generate_aes(128, template(kind, in_token=False))
        try:
            changes = list(_changes(subject, probe, kind))
            keeps = keeps and all(finding.result == OK for finding in changes)
            yield from changes
            yield from _tried(session, subject, probe, kind)
        finally:
            probe.destroy()
    for subject, handle, kind in (("record-mac", mac_key(session), KINDS["record-mac"]), *_objects(session, registry)):
        # A change that is carried out would stay.
        if keeps and handle[Attribute.MODIFIABLE] is False:
            yield from _changes(subject, handle, kind)
        else:
            yield Finding(subject, "change what it may do", WRONG, "was not tried: the token would carry it out")
        yield from _tried(session, subject, handle, kind)


def _changes(subject: str, handle: Handle, kind: Kind) -> Iterator[Finding]:
    yield _refused(subject, "make it extractable", lambda: handle.__setitem__(Attribute.EXTRACTABLE, True))
    for right in RIGHTS if kind.key == "secret" else _OF_PRIVATE_KEYS:
        if not kind.may(right):
            attribute = Attribute[right.upper()]
            yield _refused(subject, f"turn {right} on", lambda: handle.__setitem__(attribute, True))  # noqa: B023 - called at once


def _tried(session: TokenSession, subject: str, handle: Handle, kind: Kind) -> Iterator[Finding]:
    yield _refused(subject, "read its value", lambda: handle[Attribute.VALUE])
    yield _refused(subject, "copy it with every right", lambda: _destroyed(handle.copy(_every_right(kind))))
    for right, use in _uses(session, handle, kind):
        if not kind.may(right):
            yield _refused(subject, right, use)
    if not kind.extractable:
        yield _refused(subject, "wrap it under another key", lambda: _wrapped_out(session, handle))


def _uses(session: TokenSession, handle: Handle, kind: Kind) -> Iterator[tuple[Right, Callable[[], object]]]:
    """How each right is used, through a handle that has every method: the library's own has only those it read."""
    able = _Able(handle)
    if kind.key == "private":
        yield "derive", able.agree
        yield "decrypt", able.decrypt_ec
        return
    yield "encrypt", lambda: able.encrypt(bytes(BLOCK))
    yield "decrypt", lambda: able.decrypt(bytes(BLOCK))
    yield "sign", lambda: able.sign(bytes(BLOCK))
    yield "derive", lambda: _destroyed(able.derive(bytes(BLOCK)))
    yield "wrap", lambda: _wraps(session, able)
    # No wrapped key: whoever may unwrap finds that out, who may not is refused before.
    yield "unwrap", lambda: _destroyed(able.unwrap(bytes(BLOCK + BLOCK // 2)))


class _Able:
    """An object with every method of the library, whatever rights it was read with: the token is to refuse, not it."""

    def __init__(self, handle: Handle) -> None:
        mixins = (
            library.EncryptMixin,
            library.DecryptMixin,
            library.SignMixin,
            library.WrapMixin,
            library.UnwrapMixin,
            library.DeriveMixin,
        )
        base = library.PrivateKey if handle[Attribute.CLASS] is ObjectClass.PRIVATE_KEY else library.SecretKey
        self._key: Any = type("Able", (base, *mixins, library.Object), {})(handle.wrapper)

    def encrypt(self, data: bytes) -> object:
        return self._key.encrypt(data, mechanism=Mechanism.AES_ECB)

    def decrypt(self, data: bytes) -> object:
        return self._key.decrypt(data, mechanism=Mechanism.AES_ECB)

    def sign(self, data: bytes) -> object:
        return self._key.sign(data, mechanism=Mechanism.AES_CMAC)

    def derive(self, data: bytes) -> Any:
        return self._key.derive_key(
            KeyType.AES,
            128,
            capabilities=0,
            mechanism=Mechanism.AES_ECB_ENCRYPT_DATA,
            mechanism_param=data,
            template=template(KINDS["s-mac"], in_token=False),
        )

    def wrap(self, key: Handle) -> object:
        return self._key.wrap_key(key, mechanism=Mechanism.AES_CBC, mechanism_param=bytes(BLOCK))

    def unwrap(self, data: bytes) -> Any:
        return self._key.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            data,
            capabilities=0,
            mechanism=Mechanism.AES_KEY_WRAP,
            template={
                Attribute.TOKEN: False,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.MODIFIABLE: False,
            },
        )

    def agree(self) -> object:
        point = bytes.fromhex(
            # The generator of P-256 (FIPS 186-5, SP 800-186 3.2.1.3): a peer's point like any other.
            "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
            "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
        )
        return self._key.derive_key(
            KeyType.AES,
            128,
            capabilities=0,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(pkcs11.KDF.NULL, None, point),
            template=template(KINDS["s-mac"], in_token=False),
        )

    def decrypt_ec(self) -> object:
        return self._key.decrypt(bytes(BLOCK), mechanism=Mechanism.RSA_PKCS)


def _wraps(session: TokenSession, able: _Able) -> object:
    victim = session.generate_aes(128, template(KINDS["new-key"], in_token=False))
    try:
        return able.wrap(victim)
    finally:
        victim.destroy()


def _wrapped_out(session: TokenSession, handle: Handle) -> object:
    wrapping = session.generate_aes(256, template(KINDS["transport"], in_token=False))
    try:
        return _Able(wrapping).wrap(handle)
    finally:
        wrapping.destroy()


def _every_right(kind: Kind) -> dict[Any, Any]:
    rights = RIGHTS if kind.key == "secret" else _OF_PRIVATE_KEYS
    return {Attribute.TOKEN: False, **{Attribute[right.upper()]: True for right in rights}}


def _destroyed(handle: Handle) -> Handle:
    handle.destroy()
    return handle


def _refused(subject: str, use: str, attempt: Callable[[], object]) -> Finding:
    try:
        attempt()
    except pkcs11.MechanismInvalid:
        return Finding(subject, use, OK, "the token has no such operation")
    except pkcs11.PKCS11Error as error:
        name = error_name(error)
        if name in _REFUSALS:
            return Finding(subject, use, OK, f"refused ({name})")
        # It went on to the data, or to something else that is not the object's right.
        return Finding(subject, use, WRONG, f"was not refused for want of the right, but failed ({name})")
    return Finding(subject, use, WRONG, "was carried out although the object lacks the right")


def error_name(error: pkcs11.PKCS11Error) -> str:
    """The library's name of an error; two that it has no name for by the names of PKCS#11."""
    for code, name in _UNNAMED.items():
        if str(error).endswith(code):
            return name
    return type(error).__name__


# ---- what a token may not be able to enforce


def _templates(session: TokenSession) -> Iterator[Finding]:
    """May a caller have the result of a derivation readable, and take a key for PUT KEY out under a key of its own?"""
    base = session.generate_aes(256, template(KINDS["master"], in_token=False))
    try:
        yield _oracle(base)
    finally:
        base.destroy()
    yield _taken_out(session)


def _oracle(base: Handle) -> Finding:
    use = "derive with a readable result"
    readable = {**template(KINDS["new-key"], in_token=False), Attribute.SENSITIVE: False}
    try:
        made = base.derive_key(
            KeyType.AES,
            128,
            capabilities=0,
            mechanism=Mechanism.AES_ECB_ENCRYPT_DATA,
            mechanism_param=bytes(BLOCK),
            template=readable,
        )
    except pkcs11.PKCS11Error as error:
        return Finding("master, static", use, OK, f"refused ({error_name(error)})")
    try:
        shown = len(made[Attribute.VALUE])
    except pkcs11.PKCS11Error as error:
        return Finding("master, static", use, OK, f"the result is not readable ({type(error).__name__})")
    finally:
        made.destroy()
    return Finding(
        "master, static",
        use,
        NOT_ENFORCEABLE,
        f"DERIVE gave {shown} readable bytes: the token enforces no derive template, so who has the PIN can compute "
        "card keys and session keys",
    )


def _taken_out(session: TokenSession) -> Finding:
    use = "wrap a key for PUT KEY under a key with a known value"
    made = session.generate_aes(128, template(KINDS["new-key"], in_token=False))
    known = session.import_aes(bytes(BLOCK), template(KINDS["transport"], in_token=False))
    try:
        _Able(known).wrap(made)
    except pkcs11.PKCS11Error as error:
        return Finding("new-key", use, OK, f"refused ({error_name(error)})")
    finally:
        known.destroy()
        made.destroy()
    return Finding(
        "new-key",
        use,
        NOT_ENFORCEABLE,
        "was carried out: a new card key must be extractable to be wrapped under K-DEK, and then any key may wrap it; "
        "it lives for that one call",
    )
