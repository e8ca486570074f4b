"""Keys made in a token or brought into it, and the keystore that a token begins with.

The head of a new keystore is written last: without it the token holds no keystore, and what a cut left is removed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, final

import pkcs11
from pkcs11 import Attribute

from keywright.crypto.certificates import issue_ca_certificate
from keywright.crypto.kcv import VALUE_BYTES, Kcv, Rule, identifier
from keywright.errors import StoreError
from keywright.production.hsm import records
from keywright.production.hsm.attributes import KINDS
from keywright.production.hsm.card_keys import ONES, PARTS, encrypted_constants, facts_of
from keywright.production.hsm.diversify import master_masks
from keywright.production.hsm.records import Head, ObjectRef, TokenRecord
from keywright.production.hsm.signing import TokenKey
from keywright.production.hsm.token import TokenSession, checked, rights_of, template
from keywright.production.hsm.token_registry import store_head, store_record
from keywright.production.keystores.key_states import KeyState
from keywright.production.keystores.registry import KeyRecord, new_record
from keywright.scp.scp03.keys import GP_TEST_KEY

LABEL: Final = "keywright "
_ID_BYTES: Final = 16
_DAY: Final = timedelta(days=1)
_CA_YEARS: Final = 30


def make_keystore(session: TokenSession, *, now: int, test: bool, owner: str) -> Head:
    """Make a whole new keystore in the token. Raises StoreError if there is one; what a cut left behind is removed.

    The keys of a production keystore begin pre-active.
    """
    if any(label == records.HEAD_LABEL for _, label, _ in session.data()):
        raise StoreError("the token holds a keystore already; it is never overwritten", hint="use another token")
    _remove_leftovers(session)
    kind = KINDS["record-mac"]
    session.generate_aes(256, template(kind, in_token=True, label=records.MAC_LABEL, object_id=_new_id()))
    head = Head(secrets.token_hex(16), test)
    maker = KeyMaker(session, head, now=now, owner=owner)
    for record in (
        maker.master("issuer", 256),
        maker.factory_set("gp-test", (GP_TEST_KEY, GP_TEST_KEY, GP_TEST_KEY)),
        maker.identity("unit-records", "P-256"),
        maker.issuer("access-issuer", "P-256"),
        maker.ca("device-ca", "P-256"),
    ):
        store_record(session, record)
    store_head(session, head)
    return head


@final
class KeyMaker:
    """Makes keys in a token and their records; storing a record is the caller's."""

    __slots__ = ("_head", "_now", "_owner", "_session")

    def __init__(self, session: TokenSession, head: Head, *, now: int, owner: str) -> None:
        """`now`: seconds since 1970."""
        self._session = session
        self._head = head
        self._now = now
        self._owner = owner

    def master(self, name: str, bits: int) -> TokenRecord:
        """A new AES master, generated in the token.

        It begins as a session object that may only encrypt, from which check values and masks are taken; the working
        object is its copy, which may only derive and can never be changed. The first is destroyed.
        """
        return self._master_of(name, bits, self._session.generate_aes(bits, _first()))

    def imported_master(self, name: str, value: bytes) -> TokenRecord:
        """A master whose value a ceremony put together, in the same way; the caller wipes the value."""
        return self._master_of(name, len(value) * 8, self._session.import_aes(value, _first()))

    def _master_of(self, name: str, bits: int, first: Any) -> TokenRecord:
        try:
            masks = master_masks(lambda blocks: self._session.ecb(first, blocks))
            ones, cmac = (self._session.ecb(first, block) for block in (ONES, masks["k1"]))
            object_id = _working_copy(first, name)
        finally:
            first.destroy()
        checks = (
            Kcv(Rule.AES_ONES, ones[: VALUE_BYTES[Rule.AES_ONES]]),
            # CMAC of one whole block of zeros is E(0 xor K1) (SP 800-38B 6.2).
            Kcv(Rule.AES_CMAC, cmac[: VALUE_BYTES[Rule.AES_CMAC]]),
        )
        return TokenRecord(
            entry=self._entry(name, "master", f"AES-{bits}", checks),
            key_bytes=bits // 8,
            objects=(ObjectRef("master", object_id),),
            masks=masks,
        )

    def factory_set(self, name: str, keys: tuple[bytes, bytes, bytes]) -> TokenRecord:
        """The keys that units come with, one object for each use; check values and masks are taken from them inside."""
        size = len(keys[0])
        refs: list[ObjectRef] = []
        checks: list[Kcv] = []
        zeros, masks = b"", dict[str, bytes]()
        for part, value in zip(PARTS, keys, strict=True):
            for kind in ("k-dek", "static-encrypt") if part == "dek" else ("static", "static-encrypt", "static-sign"):
                object_id = _new_id()
                made = self._session.import_aes(
                    value, template(KINDS[kind], in_token=True, label=f"{LABEL}{name} {part}", object_id=object_id)
                )
                refs.append(ObjectRef(kind, object_id, part))
                if kind == "static-encrypt":
                    encrypted = encrypted_constants(self._session, made, part, size)
                    one, zero, more = facts_of(part, size, encrypted)
                    checks.append(Kcv(Rule.AES_ONES, one))
                    zeros, masks = zeros + zero, masks | more
        return TokenRecord(
            entry=self._entry(name, "factory", f"AES-{size * 8}", checks),
            key_bytes=size,
            objects=tuple(refs),
            masks={**masks, "kcvs-zeros": zeros},
        )

    def identity(self, name: str, curve: str) -> TokenRecord:
        """A key pair that signs unit records."""
        return self._pair(name, "identity", curve)

    def issuer(self, name: str, curve: str) -> TokenRecord:
        """A key pair that signs documents of credentials."""
        return self._pair(name, "issuer", curve)

    def ca(self, name: str, curve: str) -> TokenRecord:
        """A CA whose key was generated in the token; self-signed, from the day before: clocks differ."""
        record = self._pair(name, "ca", curve)
        made = datetime.fromtimestamp(self._now, UTC)
        certificate = issue_ca_certificate(
            TokenKey(self._session, record),
            common_name=f"keywright {'TEST ' if self._head.test else ''}device CA",
            serial_number=int.from_bytes(b"\x40" + secrets.token_bytes(15)),
            not_before=made - _DAY,
            not_after=made + _CA_YEARS * 365 * _DAY,
        )
        return records.with_certificate(record, certificate)

    def _pair(self, name: str, purpose: str, curve: str) -> TokenRecord:
        object_id = _new_id()
        self._session.generate_ec(curve, purpose, label=f"{LABEL}{name}", object_id=object_id)
        check = identifier(purpose.upper().encode(), self._session.public_key(object_id, curve).spki())
        return TokenRecord(entry=self._entry(name, purpose, curve, (check,)), objects=(ObjectRef(purpose, object_id),))

    def _entry(self, name: str, purpose: str, algorithm: str, checks: Iterable[Kcv]) -> KeyRecord:
        test = self._head.test
        return new_record(
            self._head.keystore_id,
            name,
            purpose,
            algorithm,
            checks,
            environment="test" if test else "production",
            created=self._now,
            state=KeyState.ACTIVE if test else KeyState.PRE_ACTIVE,
            owner=self._owner,
        )


def _first() -> dict[Any, Any]:
    """A session object that may only encrypt, and may be copied into one that may not."""
    return {**template(KINDS["static-encrypt"], in_token=False), Attribute.MODIFIABLE: True}


def _working_copy(first: Any, name: str) -> bytes:
    """The token object of a master; its id."""
    object_id = _new_id()
    wanted = {
        Attribute.TOKEN: True,
        Attribute.LABEL: f"{LABEL}{name}",
        Attribute.ID: object_id,
        **rights_of(KINDS["master"]),
        # Last: a token takes no other change of the copy after it.
        Attribute.MODIFIABLE: False,
    }
    try:
        first.copy(checked(wanted))
    except pkcs11.PKCS11Error as error:
        raise StoreError(
            f"the token does not copy a key into one with other rights ({type(error).__name__})",
            hint="the masks of a master cannot be taken in this token: use another",
        ) from error
    return object_id


def _remove_leftovers(session: TokenSession) -> None:
    """Objects of ours in a token without a head: a cut while a keystore was made."""
    found = [handle for handle in session.objects() if str(handle[Attribute.LABEL]).startswith(LABEL)]
    for handle in found:
        handle.destroy()


def _new_id() -> bytes:
    return secrets.token_bytes(_ID_BYTES)
