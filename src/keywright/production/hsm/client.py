"""What the client process does with each question: one `Lane` for each session of the token, on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, final

import pkcs11

from keywright.errors import AuthenticationError, SequenceError, StoreError
from keywright.production.hsm import messages as m
from keywright.production.hsm import records
from keywright.production.hsm.card_keys import CardKeysInside, Remembered
from keywright.production.hsm.channel import Channel, open_channel
from keywright.production.hsm.fresh import make_keystore
from keywright.production.hsm.mechanisms import Abilities
from keywright.production.hsm.probe import abilities_of
from keywright.production.hsm.signing import Signing
from keywright.production.hsm.token import TokenSession, find_token, initialize_for_threads, load_library, log_in
from keywright.production.hsm.token_registry import (
    TokenRegistry,
    destroy_objects,
    keep_people,
    store_accepted,
    store_record,
)
from keywright.production.keystores.key_states import KeyState, KeyStateError

REGISTRY_S: Final = 2.0
"""How long a registry that was read is gone by: a key that another process suspends stops within that time."""


@final
class Client:
    """The token, logged in to, with its registry; shared by the lanes."""

    def __init__(self, hello: m.Hello, read_pin: Callable[[str], str]) -> None:
        """Load the library, log in, and look at what the token can do. Raises StoreError, PolicyError."""
        library = load_library(hello.module)
        self._has_locks = initialize_for_threads(hello.module)
        self._token = find_token(library, hello.label)
        self.abilities: Abilities = abilities_of(library, self._token)
        self.abilities.check()
        # The login holds for every session of the process; this one stays open, or the token would log out.
        self._first = log_in(self._token, read_pin(hello.pin_file))
        self._taken = False
        self._registry: TokenRegistry | None = None
        self._read_at = 0.0
        self._mutex = threading.Lock()
        self._one_at_a_time = threading.RLock()
        self.remembered = Remembered()

    def turn(self) -> AbstractContextManager[object]:
        """To be held while the library is called: nothing, or a lock where it has none of its own."""
        return nullcontext() if self._has_locks else self._one_at_a_time

    def session(self) -> TokenSession:
        """A session for one more lane."""
        with self._mutex:
            if not self._taken:
                self._taken = True
                return TokenSession(self._first)
            return TokenSession(self._token.open(rw=True))

    def registry(self, session: TokenSession) -> TokenRegistry:
        """The registry, read anew after a while: another process may have suspended a key.

        Raises StoreError if the token holds no keystore.
        """
        with self._mutex:
            if self._registry is None or time.monotonic() - self._read_at > REGISTRY_S:
                found = TokenRegistry.read(session)
                if self._registry is None or not self._registry.is_same(found):
                    self._registry = found
                self._read_at = time.monotonic()
            return self._registry

    def forget(self) -> None:
        """The registry was changed."""
        with self._mutex:
            self._registry = None


@final
class Lane:
    """One session and the channels that were opened on it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._session = client.session()
        self._channels: dict[int, Channel] = {}
        self._opened = 0
        self._made: tuple[TokenRegistry, CardKeysInside, Signing] | None = None
        self._answers: Final[dict[type, Callable[[Any], Any]]] = {
            m.New: self._new,
            m.Load: self._load,
            m.ChangeState: self._change_state,
            m.Accept: self._accept,
            m.Audit: self._audit,
            m.Check: self._check,
            m.Open: self._open,
            m.Authenticate: self._authenticate,
            m.Wrap: self._wrap,
            m.Unwrap: self._unwrap,
            m.PutKeys: self._put_keys,
            m.Close: self._close,
            m.Issue: self._issue,
            m.Request: self._request,
            m.Sign: self._sign,
            m.PublicKey: self._public_key,
        }

    def forget(self, channels: tuple[int, ...]) -> None:
        """Close channels that the line dropped without closing them."""
        with self._client.turn():
            for number in channels:
                self._close(m.Close(number))

    def answer(self, question: m.Question) -> Any:
        """Do what is asked. Raises errors of ours, of the library, and ValueError."""
        with self._client.turn():
            return self._answers[type(question)](question)

    def re_resolve(self) -> None:
        """Look up every object of the token anew."""
        self._session.forget()
        self._made = None

    # ---- what is made for a registry

    def _with_registry(self) -> tuple[TokenRegistry, CardKeysInside, Signing]:
        registry = self._client.registry(self._session)
        if self._made is None or self._made[0] is not registry:
            keys = CardKeysInside(self._session, registry, self._client.remembered)
            self._made = registry, keys, Signing(self._session, registry)
        return self._made

    @property
    def _keys(self) -> CardKeysInside:
        return self._with_registry()[1]

    @property
    def _signing(self) -> Signing:
        return self._with_registry()[2]

    # ---- the registry

    def _new(self, question: m.New) -> m.Loaded:
        make_keystore(self._session, now=question.now, test=question.test, owner=question.owner)
        self._client.forget()
        return self._load(m.Load())

    def _change_state(self, question: m.ChangeState) -> m.Loaded:
        registry = TokenRegistry.read(self._session)
        record = registry.keys.get(question.name)
        if record is None:
            raise StoreError(f"the keystore has no key {question.name!r}", hint=f"it has: {', '.join(registry.keys)}")
        if not _is_done(record, question):
            if not registry.head.test:
                _check_approval(registry, question)
                keep_people(self._session, registry, question.people)
            changed = registry.known.with_state(
                question.name, question.to, at=question.at, reason=question.reason, approval=question.approval
            )
            store_record(self._session, records.changed(record, changed.named(question.name)))
        if question.to is KeyState.DESTROYED:
            destroy_objects(self._session, record)
        self._client.forget()
        return self._load(m.Load())

    def _accept(self, question: m.Accept) -> m.Loaded:
        registry = TokenRegistry.read(self._session)
        accepted = records.Accepted(question.digest, question.approval, question.at)
        # Asked again, because the answer was lost with the client before, it is there.
        if accepted not in registry.accepted:
            if question.approval in {one.approval for one in registry.accepted}:
                raise KeyStateError(
                    f"the approval {question.approval} has been used for this token", hint="ask for a new approval"
                )
            keep_people(self._session, registry, question.people)
            store_accepted(self._session, accepted)
        self._client.forget()
        return self._load(m.Load())

    def _load(self, _: m.Load) -> m.Loaded:
        registry = self._client.registry(self._session)
        head = registry.head
        return m.Loaded(
            head.keystore_id, head.test, tuple(registry.keys.values()), self._client.abilities, registry.accepted
        )

    def _audit(self, _: m.Audit) -> tuple[m.Finding, ...]:
        from keywright.production.hsm.audit import audit_token  # noqa: PLC0415 - only this question needs it

        return audit_token(self._session, self._client.abilities)

    # ---- units' keys

    def _check(self, question: m.Check) -> tuple[bytes, ...]:
        return tuple(self._keys.facts(ref).kcvs for ref in question.refs)

    def _open(self, question: m.Open) -> m.Opened:
        channel = open_channel(self._keys, question)
        self._opened += 1
        self._channels[self._opened] = channel
        return m.Opened(self._opened, channel.size)

    def _authenticate(self, question: m.Authenticate) -> Any:
        return self._channel(question.channel).authenticate(question.level, pads_empty=question.pads_empty)

    def _wrap(self, question: m.Wrap) -> Any:
        return self._channel(question.channel).messaging.wrap(question.command)

    def _unwrap(self, question: m.Unwrap) -> Any:
        try:
            return self._channel(question.channel).messaging.unwrap(question.response)
        except AuthenticationError:
            self._close(m.Close(question.channel))
            raise

    def _put_keys(self, question: m.PutKeys) -> tuple[tuple[m.WrappedKeyData, ...], ...]:
        current = self._channel(question.channel).ref
        return tuple(self._keys.wrapped(current, new, zeros=question.zeros) for new in question.refs)

    def _close(self, question: m.Close) -> None:
        channel = self._channels.pop(question.channel, None)
        if channel is not None:
            channel.close()

    def _channel(self, number: int) -> Channel:
        found = self._channels.get(number)
        if found is None:
            raise SequenceError("this secure channel is closed", hint="open a new session")
        return found

    # ---- signatures

    def _issue(self, question: m.Issue) -> bytes:
        return self._signing.issue(question)

    def _request(self, question: m.Request) -> bytes:
        return self._signing.request(question)

    def _sign(self, question: m.Sign) -> bytes:
        return self._signing.sign(question)

    def _public_key(self, question: m.PublicKey) -> tuple[str, bytes]:
        key = self._signing.public_key(question.name)
        return key.curve, key.point


def _is_done(record: records.TokenRecord, question: m.ChangeState) -> bool:
    """Whether this very change is in the token: it is asked again when its answer was lost with a client."""
    last = record.entry.history[-1]
    wanted = question.to, question.reason, question.approval
    return (last.state, last.reason, last.approval) == wanted and last.at >= question.at


def _check_approval(registry: TokenRegistry, question: m.ChangeState) -> None:
    """Raise KeyStateError unless two persons allowed the change, and that approval allowed nothing before.

    The file of an approval can be copied; what it allowed stands in the token.
    """
    if not question.approval:
        raise KeyStateError(
            f"the state of the production key {question.name!r} is not changed by one person",
            hint="ask for an approval: keywright approve",
        )
    used = {change.approval for record in registry.known.records for change in record.history}
    if question.approval in used:
        raise KeyStateError(
            f"the approval {question.approval} has changed a key of this token before", hint="ask for a new approval"
        )


def lanes_of(hello: m.Hello, read_pin: Callable[[str], str], count: int) -> list[Lane]:
    """Log in, and a lane for each of so many sessions. Raises as `Client`, and StoreError if there are fewer."""
    client = Client(hello, read_pin)
    lanes: list[Lane] = []
    for _ in range(count):
        try:
            lanes.append(Lane(client))
        except pkcs11.PKCS11Error as error:
            raise StoreError(
                f"the token gave {len(lanes)} of {count} sessions ({type(error).__name__})",
                hint=f"ask for fewer, pkcs11:LABEL?sessions={len(lanes)}, or end what else holds some",
            ) from error
    return lanes
