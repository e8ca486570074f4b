"""A reader as Matter's Door Lock cluster shows it: its configuration, and the keys that may open it.

The responder of a small protocol: `invoke` takes a command by its number and fields, and answers every one. What a
command undoes (a key that must no longer open) is in its outcome as an effect: whoever runs the reader ends sessions
and forgets Kpersistent accordingly. The configuration is committed before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, ClassVar, Final, TypeAlias, final

import msgspec

from keywright.aliro.documents.verification import Trust
from keywright.aliro.matter.cluster import (
    ALL_INDICES,
    ENDPOINTS,
    TIMED,
    TYPES,
    Attribute,
    ClearCredential,
    CredentialType,
    GetCredentialStatus,
    Invoke,
    Operation,
    SetCredential,
    SetReaderConfig,
    Slot,
    Status,
)
from keywright.aliro.matter.keeping import (
    Credential,
    Limits,
    ReaderConfig,
    keep_credentials,
    keep_reader,
    load_credentials,
    load_reader,
    sub_identifier,
)
from keywright.crypto.ec import EcPublicKey
from keywright.store.memory import Memory


class State(Enum):
    """What of the table applies."""

    BLANK = "no reader configuration"
    CONFIGURED = "reader configured"


class Effects(msgspec.Struct, frozen=True):
    """What must end: sessions that are open, and Kpersistent."""

    everything: bool = False
    """The reader's keys are gone: nothing of before may go on."""
    endpoints: tuple[EcPublicKey, ...] = ()
    """Credentials that no longer open."""
    issuers: tuple[EcPublicKey, ...] = ()
    """Issuers whose documents no longer count, nor what was admitted by them and is cached."""

    def __bool__(self) -> bool:
        return self.everything or bool(self.endpoints) or bool(self.issuers)


NOTHING: Final = Effects()


class Outcome(msgspec.Struct, frozen=True):
    """The answer to a command, and its effects."""

    status: int
    """Of the interaction; a SetCredentialResponse has one of its own in field 0."""
    response: int | None = None
    """Number of the response command, if there is one."""
    fields: Mapping[int, Any] = {}
    effects: Effects = NOTHING
    detail: str = ""
    """What was wrong, for logs."""


Act: TypeAlias = Callable[["DoorLock", Mapping[int, Any], int], Outcome]
"""Answers a command, given its fields and the fabric that sends it."""


@final
class DoorLock:
    """The cluster of one lock."""

    __slots__ = ("_credentials", "_memory", "_reader", "limits", "sub_identifier")

    def __init__(self, memory: Memory, rng: Callable[[int], bytes], limits: Limits | None = None) -> None:
        """Take up what the memory holds; the group sub-identifier is drawn once in the life of a lock.

        Raises StoreError when what is kept cannot be read.
        """
        self._memory = memory
        self.limits = limits or Limits()
        self._reader = load_reader(memory)
        self._credentials = load_credentials(memory)
        self.sub_identifier = sub_identifier(memory, rng)
        """reader_group_sub_identifier."""

    @property
    def state(self) -> State:
        """Of the table."""
        return State.BLANK if self._reader is None else State.CONFIGURED

    @property
    def reader(self) -> ReaderConfig | None:
        """The reader's keys and group, None before they are set."""
        return self._reader

    def credentials(self, *types: int) -> Iterator[Credential]:
        """The credentials of some types, or all, by type and index."""
        for slot in sorted(self._credentials, key=lambda slot: (slot.type, slot.index)):
            if not types or slot.type in types:
                yield self._credentials[slot]

    def endpoint(self, key: EcPublicKey) -> Credential | None:
        """The credential of a device's key, if it may open."""
        return next((one for one in self.credentials(*ENDPOINTS) if one.key == key), None)

    def trust(self) -> Trust:
        """Whose Access Documents and Revocation Documents count: the issuers in the slots."""
        return Trust.of(one.key for one in self.credentials(CredentialType.ISSUER))

    def registered(self) -> dict[EcPublicKey, str]:
        """The keys that open without a document, each with its place; none before the reader is configured."""
        opening = self.credentials(*ENDPOINTS) if self._reader is not None else ()
        return {one.key: f"{TYPES[one.slot.type]} {one.slot.index}" for one in opening}

    def strangers(self, keys: Iterable[EcPublicKey]) -> list[EcPublicKey]:
        """Those of some keys that may not open, or no longer.

        A reader asks for its Kpersistent when it starts: an effect that a power cut swallowed is made up for by that.
        """
        opening = self.registered()
        return [key for key in keys if key not in opening]

    def read(self, attribute: int) -> tuple[int, Any]:
        """Status and value of an attribute; None is Matter's null."""
        reader, limits = self._reader, self.limits
        values: dict[int, Any] = {
            Attribute.READER_VERIFICATION_KEY: reader and reader.signing_key.public.point,
            Attribute.READER_GROUP_IDENTIFIER: reader and reader.group_identifier,
            Attribute.READER_GROUP_SUB_IDENTIFIER: self.sub_identifier,
            Attribute.EXPEDITED_VERSIONS: [one.to_bytes(2) for one in limits.expedited_versions],
            Attribute.ISSUER_KEYS_SUPPORTED: limits.issuer_keys,
            Attribute.ENDPOINT_KEYS_SUPPORTED: limits.endpoint_keys,
            Attribute.FEATURE_MAP: limits.features,
        }
        if limits.ble_uwb_versions:
            values[Attribute.GROUP_RESOLVING_KEY] = reader and reader.group_resolving_key
            values[Attribute.BLE_UWB_VERSIONS] = [one.to_bytes(2) for one in limits.ble_uwb_versions]
            values[Attribute.BLE_ADVERTISING_VERSION] = 0
        if attribute not in values:
            return Status.UNSUPPORTED_ATTRIBUTE, None
        return Status.SUCCESS, values[attribute]

    def write(self, attribute: int, _value: object) -> int:
        """Status of an attempt to write an attribute: there is none that is written."""
        status, _ = self.read(attribute)
        return Status.UNSUPPORTED_WRITE if status == Status.SUCCESS else status

    def invoke(self, command: int, fields: Mapping[int, Any], *, timed: bool = True, fabric: int = 1) -> Outcome:
        """Answer a command of a fabric's administrator. Total as to command and fields; raises StoreError only."""
        act = self.TABLE.get((self.state, command))
        if act is None:
            refused = command in {known for _, known in self.TABLE}
            return Outcome(Status.INVALID_IN_STATE if refused else Status.UNSUPPORTED_COMMAND, detail=self.state.value)
        if command in TIMED and not timed:
            return Outcome(Status.NEEDS_TIMED_INTERACTION)
        try:
            return act(self, fields, fabric)
        except ValueError as error:
            # Of wrong fields only: everything else that an act calls has been checked before.
            return Outcome(Status.INVALID_COMMAND, detail=str(error))

    def enrol(self, issuer: EcPublicKey, key: EcPublicKey) -> Outcome:
        """Add a device that step-up let in by a document of an issuer, as an evictable key of the issuer's user.

        That is what Matter 5.2.6.9.1 asks for. Is there no room, the user's oldest evictable key goes; has the user
        none, nothing is added (RESOURCE_EXHAUSTED).
        """
        trusted = next((one for one in self.credentials(CredentialType.ISSUER) if one.key == issuer), None)
        if trusted is None:
            return Outcome(Status.INVALID_IN_STATE, detail="the issuer's key is not of this lock")
        if self.endpoint(key) is not None:
            return Outcome(Status.DUPLICATE)
        changes: dict[Slot, Credential | None] = {}
        effects = NOTHING
        if not self._has_room(CredentialType.EVICTABLE, trusted.user):
            own = [one for one in self.credentials(CredentialType.EVICTABLE) if one.user == trusted.user]
            if not own:
                return Outcome(Status.RESOURCE_EXHAUSTED)
            oldest = min(own, key=lambda one: one.added)
            changes[oldest.slot] = None
            effects = Effects(endpoints=(oldest.key,))
        taken = {
            slot.index for slot in self._credentials if slot.type == CredentialType.EVICTABLE and slot not in changes
        }
        index = next(number for number in range(1, self.limits.endpoint_keys + 1) if number not in taken)
        slot = Slot(CredentialType.EVICTABLE, index)
        changes[slot] = Credential(slot, key, trusted.user, trusted.fabric, trusted.modified_by, self._next_added())
        self._commit(changes)
        return Outcome(Status.SUCCESS, fields={0: index}, effects=effects)

    # ---- commands --------------------------------------------------------------------------------------------

    def _set_reader_config(self, fields: Mapping[int, Any], _fabric: int) -> Outcome:
        asked = SetReaderConfig.read(fields)
        if (asked.group_resolving_key is not None) != bool(self.limits.ble_uwb_versions):
            raise ValueError("GroupResolvingKey: there if and only if the lock has Bluetooth and UWB")
        reader = ReaderConfig(asked.signing_key, asked.group_identifier, asked.group_resolving_key)
        keep_reader(self._memory, reader)
        self._reader = reader
        return Outcome(Status.SUCCESS)

    def _clear_reader_config(self, _fields: Mapping[int, Any], _fabric: int) -> Outcome:
        if self._reader is None:
            return Outcome(Status.SUCCESS)
        keep_reader(self._memory, None)
        self._reader = None
        return Outcome(Status.SUCCESS, effects=Effects(everything=True))

    def _set_credential(self, fields: Mapping[int, Any], fabric: int) -> Outcome:
        asked = SetCredential.read(fields)
        self._check(asked.slot)
        if any(one.key == asked.key and one.slot != asked.slot for one in self.credentials(asked.slot.type)):
            return self._set_response(asked, Status.DUPLICATE)
        if asked.operation == Operation.ADD:
            return self._add(asked, fabric)
        if asked.operation == Operation.MODIFY:
            return self._modify(asked, fabric)
        raise ValueError("OperationType: Add or Modify")

    def _add(self, asked: SetCredential, fabric: int) -> Outcome:
        if asked.slot in self._credentials:
            return self._set_response(asked, Status.OCCUPIED)
        users = {one.user for one in self._credentials.values()}
        if asked.user is not None and asked.user not in users:
            raise ValueError("UserIndex: no such user")
        free = (number for number in range(1, self.limits.users + 1) if number not in users)
        user = next(free, None) if asked.user is None else asked.user
        if user is None or not self._has_room(asked.slot.type, user):
            return self._set_response(asked, Status.RESOURCE_EXHAUSTED)
        self._commit({asked.slot: Credential(asked.slot, asked.key, user, fabric, fabric, self._next_added())})
        return self._set_response(asked, Status.SUCCESS, user if asked.user is None else None)

    def _modify(self, asked: SetCredential, fabric: int) -> Outcome:
        if (asked.user_status, asked.user_type) != (None, None):
            raise ValueError("UserStatus and UserType: null with Modify")
        if asked.user not in {one.user for one in self._credentials.values()}:
            raise ValueError("UserIndex: no such user")
        before = self._credentials.get(asked.slot)
        if before is None or before.user != asked.user:
            return self._set_response(asked, Status.OCCUPIED)
        self._commit({asked.slot: msgspec.structs.replace(before, key=asked.key, modified_by=fabric)})
        effects = NOTHING if before.key == asked.key else self._effects([before])
        return msgspec.structs.replace(self._set_response(asked, Status.SUCCESS), effects=effects)

    def _get_credential_status(self, fields: Mapping[int, Any], _fabric: int) -> Outcome:
        slot = GetCredentialStatus.read(fields).slot
        self._check(slot)
        found = self._credentials.get(slot)
        later = [one.slot.index for one in self.credentials(slot.type) if one.slot.index > slot.index]
        answer = {
            0: found is not None,
            1: found and found.user,
            2: found and found.fabric,
            3: found and found.modified_by,
            4: min(later, default=None),
            5: found and found.key.point,
        }
        return Outcome(Status.SUCCESS, Invoke.GET_CREDENTIAL_STATUS_RESPONSE, answer)

    def _clear_credential(self, fields: Mapping[int, Any], _fabric: int) -> Outcome:
        slot = ClearCredential.read(fields).slot
        if slot is None:
            cleared = list(self.credentials())
        elif slot.index == ALL_INDICES:
            self._check(Slot(slot.type, 1))
            cleared = list(self.credentials(slot.type))
        else:
            self._check(slot)
            cleared = [self._credentials[slot]] if slot in self._credentials else []
        self._commit({one.slot: None for one in cleared})
        return Outcome(Status.SUCCESS, effects=self._effects(cleared))

    # ---- what several use ------------------------------------------------------------------------------------

    def _room(self, kind: int) -> int:
        return self.limits.issuer_keys if kind == CredentialType.ISSUER else self.limits.endpoint_keys

    def _check(self, slot: Slot) -> None:
        if slot.type not in TYPES:
            raise ValueError(f"CredentialType: {slot.type} is not one of Aliro")
        if not 1 <= slot.index <= self._room(slot.type):
            raise ValueError(f"CredentialIndex: {slot.index} is not from 1 to {self._room(slot.type)}")

    def _has_room(self, kind: int, user: int) -> bool:
        of_user = sum(1 for one in self._credentials.values() if one.user == user)
        counted = ENDPOINTS if kind in ENDPOINTS else (kind,)
        return of_user < self.limits.credentials_per_user and len(list(self.credentials(*counted))) < self._room(kind)

    def _next_added(self) -> int:
        return 1 + max((one.added for one in self._credentials.values()), default=0)

    def _set_response(self, asked: SetCredential, status: int, user: int | None = None) -> Outcome:
        kind, index = asked.slot.type, asked.slot.index
        counted = ENDPOINTS if kind in ENDPOINTS else (kind,)
        full = len(list(self.credentials(*counted))) >= self._room(kind)
        free = (
            number for number in range(index + 1, self._room(kind) + 1) if Slot(kind, number) not in self._credentials
        )
        fields = {0: status, 1: user, 2: None if full else next(free, None)}
        return Outcome(Status.SUCCESS, Invoke.SET_CREDENTIAL_RESPONSE, fields)

    def _effects(self, cleared: Iterable[Credential]) -> Effects:
        """A key that is still in another slot goes on opening."""
        endpoints: list[EcPublicKey] = []
        issuers: list[EcPublicKey] = []
        for one in cleared:
            kinds = ENDPOINTS if one.slot.type in ENDPOINTS else (one.slot.type,)
            if all(other.key != one.key for other in self.credentials(*kinds)):
                (endpoints if one.slot.type in ENDPOINTS else issuers).append(one.key)
        return Effects(endpoints=tuple(dict.fromkeys(endpoints)), issuers=tuple(dict.fromkeys(issuers)))

    def _commit(self, changes: Mapping[Slot, Credential | None]) -> None:
        if not changes:
            return
        keep_credentials(self._memory, changes)
        kept = {**self._credentials, **changes}
        self._credentials = {slot: one for slot, one in kept.items() if one is not None}

    TABLE: ClassVar[dict[tuple[State, int], Act]] = {
        (State.BLANK, Invoke.SET_READER_CONFIG): _set_reader_config,
        **{
            (state, command): act
            for command, act in (
                (Invoke.CLEAR_READER_CONFIG, _clear_reader_config),
                (Invoke.SET_CREDENTIAL, _set_credential),
                (Invoke.GET_CREDENTIAL_STATUS, _get_credential_status),
                (Invoke.CLEAR_CREDENTIAL, _clear_credential),
            )
            for state in State
        },
    }
    """What is answered where. A command of another state is refused with INVALID_IN_STATE: a configuration that is
    there is cleared before another one is set."""
