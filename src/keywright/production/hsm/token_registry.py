"""The token's registry as the client process reads it, and what is written to it."""

from __future__ import annotations

import contextlib
from typing import Any, Final, final

import pkcs11
from pkcs11 import Attribute, ObjectClass

from keywright.errors import StoreError
from keywright.production.hsm import records
from keywright.production.hsm.records import Head, TokenRecord
from keywright.production.hsm.token import TokenSession
from keywright.production.keystores.key_states import KeyStateError
from keywright.production.keystores.registry import Registry

_OF_KEYS: Final = (ObjectClass.SECRET_KEY, ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)


def mac_key(session: TokenSession) -> Any:
    """The key that MACs records. Raises StoreError unless there is exactly one."""
    wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: records.MAC_LABEL, Attribute.TOKEN: True}
    found = list(session.raw.get_objects(wanted))
    if len(found) != 1:
        raise StoreError(
            "the token holds no keystore" if not found else "the token has more than one key for its records",
            hint="make one with `keywright keystore new pkcs11:LABEL`"
            if not found
            else "run `keywright keystore audit`",
        )
    return found[0]


@final
class TokenRegistry:
    """All records that are whole, newest versions only."""

    __slots__ = ("accepted", "head", "keys", "known", "people")

    def __init__(
        self,
        head: Head,
        keys: dict[str, TokenRecord],
        accepted: tuple[records.Accepted, ...] = (),
        people: frozenset[str] = frozenset(),
    ) -> None:
        self.head = head
        self.keys = keys
        self.accepted = accepted
        self.people = people
        """Ids of the directories of people whose approvals count: one, or none before the first approval."""
        self.known = Registry("test" if head.test else "production", tuple(record.entry for record in keys.values()))
        """The key registry: states, periods, parents."""

    @classmethod
    def read(cls, session: TokenSession) -> TokenRegistry:
        """Read it from the token. Raises StoreError if there is none, or an object of it is damaged."""
        key = mac_key(session)

        def mac(message: bytes) -> bytes:
            return session.cmac(key, message)

        heads, found, accepted, people = [], [], [], set[str]()
        for _, label, value in session.data():
            if label == records.HEAD_LABEL:
                heads.append(records.open_head(value, mac))
            elif label == records.ACCEPTED_LABEL:
                accepted.append(records.open_accepted(value, mac))
            elif label == records.PEOPLE_LABEL:
                people.add(records.open_people(value, mac).directory)
            elif records.is_record(label):
                found.append(records.open_record(label, value, mac))
        if len(heads) != 1:
            raise StoreError(
                "the token holds no whole keystore" if not heads else "the token holds two keystores",
                hint="make it again with `keywright keystore new`" if not heads else "restore it from its backup",
            )
        return cls(heads[0], records.newest(found), tuple(accepted), frozenset(people))

    def check_people(self, directory: str) -> None:
        """Raise KeyStateError for the people of another directory than the one that this keystore knows, if any.

        Whoever makes a directory of their own would otherwise be all the persons that an approval takes.
        """
        if not self.head.test and self.people - {directory}:
            raise KeyStateError(
                f"this keystore knows the people of another directory ({', '.join(sorted(self.people))})",
                hint="give the directory that its first approval came from",
            )

    def is_same(self, other: TokenRegistry) -> bool:
        """Whether nothing was changed."""
        return all(getattr(self, name) == getattr(other, name) for name in ("head", "keys", "accepted", "people"))

    def find(self, name: str, purpose: str, what: str) -> TokenRecord:
        """A record by name. Raises StoreError that lists the known ones."""
        record = self.keys.get(name)
        if record is None or record.entry.purpose != purpose:
            known = ", ".join(key.name for key in self.keys.values() if key.entry.purpose == purpose) or "none"
            raise StoreError(f"the keystore has no {what} {name!r}", hint=f"it has: {known}")
        return record


def store_record(session: TokenSession, record: TokenRecord) -> None:
    """Write a record, then destroy what it takes the place of."""
    key = mac_key(session)
    label = records.label_of(record)
    older = [handle for handle, found, _ in session.data() if found == label]
    session.store_data(label, records.sealed_record(record, lambda message: session.cmac(key, message)))
    for handle in older:
        # Somebody who changed the same key at the same time may have destroyed it.
        with contextlib.suppress(pkcs11.ObjectHandleInvalid):
            handle.destroy()


def store_head(session: TokenSession, head: Head) -> None:
    """Write the head: from now on the token is a keystore."""
    key = mac_key(session)
    session.store_data(records.HEAD_LABEL, records.sealed_head(head, lambda message: session.cmac(key, message)))


def keep_people(session: TokenSession, registry: TokenRegistry, directory: str) -> None:
    """Have the approvals of that directory count from now on, and of no other. Raises KeyStateError."""
    registry.check_people(directory)
    if registry.head.test or registry.people:
        return
    key = mac_key(session)
    sealed = records.sealed_people(records.People(directory), lambda message: session.cmac(key, message))
    session.store_data(records.PEOPLE_LABEL, sealed)


def destroy_objects(session: TokenSession, record: TokenRecord) -> None:
    """Destroy every object of a key; its record stays."""
    wanted = {ref.object_id for ref in record.objects}
    for handle in list(session.objects()):
        if handle[Attribute.CLASS] in _OF_KEYS and handle[Attribute.ID] in wanted:
            handle.destroy()
    session.forget()


def store_accepted(session: TokenSession, accepted: records.Accepted) -> None:
    """Write what two persons accepted."""
    key = mac_key(session)
    sealed = records.sealed_accepted(accepted, lambda message: session.cmac(key, message))
    session.store_data(records.ACCEPTED_LABEL, sealed)
