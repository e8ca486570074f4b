"""A ceremony's key in a token: it goes in, is generated, wrapped and unwrapped inside; only check values come out.

A key begins as a session object that may only encrypt: from it check value and masks are taken. The object that stays
is its copy with the rights of its row in the attribute table, which nobody can change afterwards; the first one is
destroyed. Until its record is written, the copy is an object that no name leads to, and the next store removes it.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final, final

import msgspec
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.kcv import VALUE_BYTES, Kcv, Rule
from keywright.crypto.keyblocks import Header, check_strength
from keywright.errors import AuthenticationError, PolicyError, StoreError
from keywright.production.ceremony.carried import Carried
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.target import WRAPPING, Held, Kek, Pending, Wrapped
from keywright.production.hsm import records
from keywright.production.hsm.attributes import KINDS
from keywright.production.hsm.diversify import master_masks
from keywright.production.hsm.pin import read_pin
from keywright.production.hsm.records import Head, ObjectRef, TokenRecord
from keywright.production.hsm.token import (
    BLOCK,
    TokenSession,
    checked,
    find_token,
    load_library,
    log_in,
    rights_of,
    template,
)
from keywright.production.hsm.token_registry import (
    TokenRegistry,
    destroy_objects,
    keep_people,
    store_head,
    store_record,
)
from keywright.production.hsm.uri import TokenUri
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.keystore import Unlock
from keywright.production.keystores.registry import Registry, new_record

_LABEL: Final = "keywright "
_ONES: Final = b"\x01" * BLOCK
_ID_BYTES: Final = 16


@final
class TokenTarget:
    """One token, logged in, in this process: a ceremony's host serves nobody else."""

    def __init__(self, uri: str, session: TokenSession, *, test: bool, people: str) -> None:
        """`test`: whether the keys of a token that holds no keystore yet are TEST keys; it gets an empty one.

        `people`: id of the directory of those who hold the ceremony. Raises KeyStateError for people whom a production
        token does not know; the first ones that change something in it are known from then on.
        """
        self._uri = uri
        self._session = session
        self._people = people
        if not any(label == records.HEAD_LABEL for _, label, _ in session.data()):
            _begin(session, test=test)
        registry = TokenRegistry.read(session)
        registry.check_people(people)
        self._head = registry.head

    @property
    def uri(self) -> str:
        """As `--keystore` names it."""
        return self._uri

    @property
    def test(self) -> bool:
        """As the token's registry says."""
        return self._head.test

    def find(self, name: str) -> Held | None:
        """The key of that name. Raises PolicyError for a key that is neither master nor transport key."""
        record = self._registry().keys.get(name)
        if record is None or record.entry.state is KeyState.DESTROYED:
            return None
        if record.entry.purpose not in ("master", "transport"):
            raise PolicyError(
                f"{name!r} is a {record.entry.purpose} key, no master", hint="ceremonies are for masters and KEKs"
            )
        ref = record.objects[0]
        if not self._objects(ref):
            return None
        kind = KINDS[ref.kind]
        mode = "B" if record.entry.purpose == "transport" else "X"
        header = Header("D", record.entry.usage, "A", mode, exportability="E" if kind.extractable else "N")
        return Held(_check_of(record), header, "AES", record.key_bytes * 8)

    def check_free(self, name: str) -> None:
        """Raise StoreError if a key has, or had, that name."""
        if name in self._registry().keys:
            raise StoreError(f"the token has, or had, a key {name!r}", hint="give another name")

    def check_wraps(self, name: str, kek: str, at_ms: int) -> None:
        """Raise KeyStateError unless the key may still be used and the KEK of that name (if any) may still wrap."""
        known = self._registry().known
        known.check_uses(name, at_ms // 1000)
        if kek:
            known.check_originates(kek, at_ms // 1000)

    def load(self, key: AesKey | TripleDesKey, header: Header) -> Pending:
        """A session object; the caller's copy of the key stays the caller's to forget."""
        if not isinstance(key, AesKey):
            raise PolicyError("triple DES keys are not kept in a token", hint="use AES")
        made = self._session.import_aes(key.reveal(), _first(header))
        return self._pending(made, header, key.size * 8)

    def generate(self, bits: int, header: Header) -> Pending:
        """A session object, generated in the token."""
        return self._pending(self._session.generate_aes(bits, _first(header)), header, bits)

    def unwrap(self, carried: Carried, kek: Kek) -> Pending:
        """A session object, unwrapped in the token (RFC 3394)."""
        if carried.form != "aes-key-wrap":
            raise PolicyError(
                "the file holds a key block, which is not opened inside a token", hint="load the key by components"
            )
        header = carried.key_header
        with _Wrapping(self, kek) as wrapping:
            check_strength(("A", wrapping.bits), ("A", carried.bits))
            try:
                made = wrapping.handle.unwrap_key(
                    ObjectClass.SECRET_KEY,
                    KeyType.AES,
                    bytes.fromhex(carried.wrapped),
                    mechanism=Mechanism.AES_KEY_WRAP,
                    capabilities=0,
                    template=checked(_first(header)),
                )
            except pkcs11.PKCS11Error as error:
                raise _refused() from error
        pending = self._pending(made, header, carried.bits)
        if not carried.key_check.is_same(pending.check):
            made.destroy()
            raise _refused()
        return pending

    def store(self, name: str, pending: Pending, plan: Plan, at_ms: int) -> None:
        """The object that stays, then its record: the name leads to it from then on."""
        first: Any = pending.inside
        kind = _kind_of(pending.header, plan.zone)
        purpose = "transport" if kind == "transport" else "master"
        known = self._known_to_people().known
        self._remove_unnamed()
        object_id = secrets.token_bytes(_ID_BYTES)
        masks = master_masks(lambda blocks: self._session.ecb(first, blocks))
        ones = Kcv(Rule.AES_ONES, self._session.ecb(first, _ONES)[: VALUE_BYTES[Rule.AES_ONES]])
        _keep(pending, kind, f"{_LABEL}{name}", object_id)
        entry = new_record(
            self._head.keystore_id,
            name,
            purpose,
            f"AES-{pending.bits}",
            (ones, pending.check),
            environment=known.environment,
            created=at_ms // 1000,
            state=KeyState.ACTIVE,
            zone=plan.zone,
            owner=plan.owner,
            usage=pending.header.usage,
            parents=(known.named(plan.kek).id,) if plan.kek else (),
        )
        known.with_record(entry)
        store_record(
            self._session,
            TokenRecord(
                entry=entry,
                objects=(ObjectRef(kind, object_id),),
                key_bytes=pending.bits // 8,
                masks=masks if purpose == "master" else {},
            ),
        )
        first.destroy()

    def wrap(self, name: str, kek: Kek, header: Header) -> Wrapped:
        """RFC 3394 inside the token; what the key may do is bound by the file's signature."""
        del header
        record = self._known_to_people().keys[name]
        ref = record.objects[0]
        if not KINDS[ref.kind].extractable:
            raise PolicyError(f"{name!r} never leaves its token", hint="only keys of the offline zone can be wrapped")
        with _Wrapping(self, kek) as wrapping:
            check_strength(("A", wrapping.bits), ("A", record.key_bytes * 8))
            key = self._session.key(ref.object_id, ref.kind)
            wrapped: bytes = wrapping.handle.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)
        return Wrapped("aes-key-wrap", wrapped.hex())

    def destroy(self, name: str, plan: Plan, at_ms: int, approval: str) -> None:
        """The objects, then a record that says so; repeated, it finishes what was cut off."""
        del plan
        registry = self._known_to_people()
        record = registry.keys[name]
        destroy_objects(self._session, record)
        if record.entry.state is not KeyState.DESTROYED:
            gone = _destroyed(registry.known, name, at_ms // 1000, approval)
            changed = msgspec.structs.replace(
                record, entry=gone.named(name), objects=(), masks={}, version=record.version + 1
            )
            store_record(self._session, changed)

    def close(self) -> None:
        """Log out; session objects go with the session."""
        self._session.raw.close()

    def wrapping_key(self, kek: Kek) -> tuple[Any, int, bool]:
        """The object that wraps, its length in bits, and whether it is there for this once only."""
        if isinstance(kek, AesKey):
            made = self._session.import_aes(kek.reveal(), template(KINDS["transport"], in_token=False))
            return made, kek.size * 8, True
        record = self._registry().find(kek, "transport", "transport key")
        return self._session.key(record.only_object("transport"), "transport"), record.key_bytes * 8, False

    def _registry(self) -> TokenRegistry:
        self._session.forget()
        return TokenRegistry.read(self._session)

    def _known_to_people(self) -> TokenRegistry:
        """The registry, before something is changed: whoever changes it is who may."""
        registry = self._registry()
        keep_people(self._session, registry, self._people)
        return registry

    def _objects(self, ref: ObjectRef) -> list[Any]:
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.ID: ref.object_id, Attribute.TOKEN: True}
        return list(self._session.raw.get_objects(wanted))

    def _pending(self, first: Any, header: Header, bits: int) -> Pending:
        # CMAC of one whole block of zeros is E(0 xor K1) (SP 800-38B 6.2).
        k1 = master_masks(lambda blocks: self._session.ecb(first, blocks))["k1"]
        check = Kcv(Rule.AES_CMAC, self._session.ecb(first, k1)[: VALUE_BYTES[Rule.AES_CMAC]])
        return Pending(first, check, header, bits)

    def _remove_unnamed(self) -> None:
        """Secret keys of ours that no record names: what a host left behind that was killed between copy and record."""
        named = {ref.object_id for record in self._registry().keys.values() for ref in record.objects}
        for found in list(self._session.objects(ObjectClass.SECRET_KEY)):
            label = str(found[Attribute.LABEL])
            if label.startswith(_LABEL) and label != records.MAC_LABEL and found[Attribute.ID] not in named:
                found.destroy()


@final
class _Wrapping:
    """A wrapping key for one use; one that custodians put together is destroyed after it."""

    def __init__(self, target: TokenTarget, kek: Kek) -> None:
        self.handle, self.bits, self._is_once = target.wrapping_key(kek)

    def __enter__(self) -> _Wrapping:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_once:
            self.handle.destroy()


def open_token(plan: Plan, unlock: Unlock | None) -> TokenTarget:
    """Log in to the plan's token. `unlock`: the file with its PIN, None for where PINs come from otherwise."""
    if unlock is not None and not isinstance(unlock, Path):
        raise PolicyError("a token has a PIN, no passphrase", hint="give the file with its PIN: --unlock FILE")
    uri = TokenUri.parse(plan.target)
    token = find_token(load_library(str(uri.find_module())), uri.label)
    pin = read_pin("" if unlock is None else str(unlock))
    session = TokenSession(log_in(token, pin))
    try:
        return TokenTarget(plan.target, session, test=plan.test, people=plan.directory)
    except BaseException:
        session.raw.close()
        raise


def _begin(session: TokenSession, *, test: bool) -> None:
    """An empty keystore: the key that MACs its records, then its head."""
    for found in list(session.objects(ObjectClass.SECRET_KEY)):
        if found[Attribute.LABEL] == records.MAC_LABEL:
            found.destroy()
    object_id = secrets.token_bytes(_ID_BYTES)
    made = template(KINDS["record-mac"], in_token=True, label=records.MAC_LABEL, object_id=object_id)
    session.generate_aes(256, made)
    store_head(session, Head(secrets.token_hex(16), test))


def _kind_of(header: Header, zone: str) -> str:
    if header.usage in WRAPPING:
        return "transport"
    return "master-offline" if zone == "offline" and header.exportability != "N" else "master"


def _first(header: Header) -> dict[Any, Any]:
    """A session object that may encrypt, and be copied; extractable only if its copy may be."""
    made = template(KINDS["static-encrypt"], in_token=False)
    made[Attribute.EXTRACTABLE] = _is_extractable(header)
    del made[Attribute.MODIFIABLE]
    return made


def _is_extractable(header: Header) -> bool:
    return header.exportability != "N" and header.usage not in WRAPPING


def _keep(pending: Pending, kind: str, label: str, object_id: bytes) -> None:
    first: Any = pending.inside
    wanted = {Attribute.TOKEN: True, Attribute.LABEL: label, Attribute.ID: object_id}
    if _is_extractable(pending.header) and not KINDS[kind].extractable:
        # Only if it changes: once false, tokens let nobody write it, not even false.
        wanted[Attribute.EXTRACTABLE] = False
    wanted |= {**rights_of(KINDS[kind]), Attribute.MODIFIABLE: False}
    try:
        first.copy(checked(wanted))
    except pkcs11.PKCS11Error as error:
        raise StoreError(
            f"the token does not copy a key into one with other rights ({type(error).__name__})",
            hint="it cannot hold keys of ceremonies",
        ) from error


def _check_of(record: TokenRecord) -> Kcv:
    return next(kcv for kcv in record.entry.kcvs() if kcv.rule is Rule.AES_CMAC)


def _destroyed(known: Registry, name: str, at: int, approval: str) -> Registry:
    if known.named(name).state in (KeyState.ACTIVE, KeyState.SUSPENDED):
        known = known.with_state(name, KeyState.DEACTIVATED, at=at, reason="to be destroyed", approval=approval)
    return known.with_state(name, KeyState.DESTROYED, at=at, reason="destroyed in a ceremony", approval=approval)


def _refused() -> AuthenticationError:
    return AuthenticationError("the wrapped key is not accepted", hint="compare the check value of the KEK")
