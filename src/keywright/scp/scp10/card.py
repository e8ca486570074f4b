"""SCP10, card end: the initiation of a session on one logical channel (GPCS F.1.4, F.4).

The element keeps one `Initiation` for each logical channel, and gives it every command of the channel:

    if initiation.concerns(command):              # as it came, chained parts put together, before any secure messaging
        outcome = initiation.handle(command)
        if outcome.ends_session:                  # whatever session runs on this channel, of any protocol
            channel.drop_session()
        if outcome.session is not None:
            channel.session = outcome.session     # a `CardSession`, open
        return outcome.response
    initiation.interrupted()                      # any other command: EXTERNAL and INTERNAL AUTHENTICATE come at once

That is for a selected security domain, and for an application that has its domain open its sessions. One that knows
these instructions itself (GET CHALLENGE is common) is handed them, and `interrupted` is called.

SELECT of another application, MANAGE CHANNEL (close) and a reset take a new `Initiation`. Whether the card's life cycle
state allows an initiation at all (OP_READY to SECURED, CARD_LOCKED for the final application only) is the element's to
ask before.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final, TypeAlias, TypeVar, final

import msgspec

from keywright.crypto.compare import equal
from keywright.crypto.rsa import RsaPrivateKey, RsaPublicKey
from keywright.errors import AuthenticationError, DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_gp
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level
from keywright.scp.scp10.authentication import check_proof, convey, conveyed, prove
from keywright.scp.scp10.card_channel import CardChannel
from keywright.scp.scp10.certificates import Holder, verify_certificate
from keywright.scp.scp10.keys import (
    Reference,
    Source,
    agreed,
    find_parameters,
    read_parameters,
    session_keys,
    transported,
)
from keywright.scp.scp10.messages import (
    ALGORITHM,
    CERTIFICATES,
    DECIPHER_P1,
    DECIPHER_P2,
    EXTERNAL_AUTHENTICATE,
    EXTERNAL_ONLY,
    GET_CHALLENGE,
    INTERNAL_AUTHENTICATE,
    MANAGE_SECURITY_ENVIRONMENT,
    MUTUAL,
    NO_CERTIFICATES,
    NOT_SELF_DESCRIPTIVE,
    PERFORM_SECURITY_OPERATION,
    SECRET_BYTES,
    SELF_DESCRIPTIVE,
    I,
    InternalAuthenticate8,
    InternalAuthenticate16,
    SecurityEnvironment,
    challenge_bytes,
)
from keywright.scp.scp10.messaging import is_protected
from keywright.scp.scp10.security_domain import SecurityDomain

Key = TypeVar("Key", RsaPrivateKey, RsaPublicKey, Holder)


class State(IntEnum):
    """How far the initiation has come."""

    IDLE = 0
    """Nothing begun, or all done: a session that was opened runs on by itself."""
    BEGUN = 1
    """A security environment is set, or a certificate has been verified."""
    CHALLENGED = 2
    """The last command was GET CHALLENGE."""
    HOST_AUTHENTICATED = 3
    """The last command was EXTERNAL AUTHENTICATE, with success."""


class Step(IntEnum):
    """The commands of an initiation."""

    MANAGE = 0
    VERIFY = 1
    DECIPHER = 2
    CHALLENGE = 3
    EXTERNAL = 4
    INTERNAL = 5


class Outcome(msgspec.Struct, frozen=True):
    """What a command of the initiation led to."""

    response: Response
    ends_session: bool = False
    """Whether a session that runs on this channel has to be dropped."""
    session: CardChannel | None = None
    """The session that the command opened."""


class _Environment(msgspec.Struct, frozen=True):
    """What MANAGE SECURITY ENVIRONMENT sets."""

    i: int
    own_key: RsaPrivateKey
    mutual: bool = True


_INSTRUCTIONS: Final = {
    MANAGE_SECURITY_ENVIRONMENT: Step.MANAGE,
    GET_CHALLENGE: Step.CHALLENGE,
    EXTERNAL_AUTHENTICATE: Step.EXTERNAL,
    INTERNAL_AUTHENTICATE: Step.INTERNAL,
}


@final
class Initiation:
    """The volatile state of an initiation on one logical channel."""

    __slots__ = (
        "_challenge",
        "_domain",
        "_environment",
        "_host",
        "_opened",
        "_references",
        "_secret",
        "_signed",
        "_verifier",
        "state",
    )

    def __init__(self, domain: SecurityDomain) -> None:
        self._domain = domain
        self._forget()

    def _forget(self) -> None:
        """Back to the beginning: keys validated in this initiation are discarded (GPCS F.1.4)."""
        self.state = State.IDLE
        self._environment: _Environment | None = None
        self._verifier: RsaPublicKey | None = None
        self._host: Holder | None = None
        self._references: tuple[Reference, ...] = ()
        self._signed = b""
        self._challenge = b""
        self._secret = b""
        self._opened: CardChannel | None = None

    @staticmethod
    def concerns(command: Command) -> bool:
        """Whether the command is one of an initiation: one of its instructions in an ISO class."""
        return not is_gp(command.cla) and (command.ins in _INSTRUCTIONS or command.ins == PERFORM_SECURITY_OPERATION)

    def interrupted(self) -> None:
        """Another command came on this channel: what has to follow at once can no longer do so."""
        self._challenge = b""
        if self.state == State.CHALLENGED:
            self.state = State.BEGUN
        elif self.state == State.HOST_AUTHENTICATED:
            self._forget()

    def handle(self, command: Command) -> Outcome:
        """Answer a command of the initiation. Total: a refusal is an answer too, and `Outcome` says what it ends."""
        before = self.state
        step: Step | None = None
        try:
            step = _step(command)
            response = self._perform(step, command)
        except Refusal as refusal:
            self._failed(step, before)
            return Outcome(Response(b"", refusal.sw), ends_session(step, before, failed=True))
        opened, self._opened = self._opened, None
        return Outcome(response, ends_session(step, before, failed=False), opened)

    def _perform(self, step: Step, command: Command) -> Response:
        if is_protected(command.cla):
            raise Refusal(SW.SECURE_MESSAGING_NOT_SUPPORTED)
        function = TABLE.get((self.state, step))
        if function is None:
            raise Refusal(self._domain.profile.wrong_order)
        try:
            return function(self, command)
        except DecodeError:
            raise Refusal(SW.INCORRECT_DATA) from None

    def _failed(self, step: Step | None, before: State) -> None:
        """A failed command ends the initiation, unless it only came where it is not allowed or had wrong parameters."""
        harmless = step in (None, Step.CHALLENGE) or (step == Step.DECIPHER and (before, step) not in TABLE)
        if harmless:
            self.interrupted()
        else:
            self._forget()

    # ---- the commands

    def manage(self, command: Command) -> Response:
        """MANAGE SECURITY ENVIRONMENT (GPCS F.4): begin anew, with these keys and this option.

        Refuses with 6A86, 6A80, 9484 (option not offered), 6A88 (no such key).
        """
        self._forget()
        if command.p1 not in (EXTERNAL_ONLY, MUTUAL) or command.p2 not in (CERTIFICATES, NO_CERTIFICATES):
            raise Refusal(SW.INCORRECT_P1P2)
        data = SecurityEnvironment.parse(command.data)
        i = data.algorithm ^ ALGORITHM
        if i > 0xFF:
            raise Refusal(SW.INCORRECT_DATA)
        if i not in self._domain.options:
            raise Refusal(SW.ALGORITHM_NOT_SUPPORTED)
        mutual = command.p1 == MUTUAL
        if i & I.AGREEMENT and not mutual:
            raise Refusal(SW.INCORRECT_P1P2)
        environment = _Environment(i, self._own_key(data.private_key or b""), mutual)
        if command.p2 == CERTIFICATES:
            self._verifier = _known(self._domain.trust_point(data.public_key or b""))
        else:
            self._host = _known(self._domain.host_key(data.public_key or b""))
        self._environment = environment
        self.state = State.BEGUN
        return Response(b"")

    def _own_key(self, reference: bytes) -> RsaPrivateKey:
        return _known(self._domain.private_key(reference))

    def verify_first(self, command: Command) -> Response:
        """A PERFORM SECURITY OPERATION [verify certificate] that nothing came before: begin anew, with all defaults."""
        self._forget()
        self._environment = _Environment(self._domain.options[0], self._own_key(b""))
        self._verifier = _known(self._domain.trust_point(b""))
        return self.verify(command)

    def verify(self, command: Command) -> Response:
        """PERFORM SECURITY OPERATION [verify certificate] (GPCS F.4): its key verifies the next, or is the host's.

        Refuses with 6A86 (P2), 6985 (no certificates announced), 6A80 (does not parse), 6300 (signature).
        """
        if command.p2 not in (SELF_DESCRIPTIVE, NOT_SELF_DESCRIPTIVE):
            raise Refusal(SW.INCORRECT_P1P2)
        if self._verifier is None:
            raise Refusal(self._domain.profile.wrong_order)
        try:
            holder = verify_certificate(command.data, command.p2, self._verifier, self._domain.profile)
        except AuthenticationError:
            raise Refusal(SW.AUTHENTICATION_FAILED) from None
        self._host, self._verifier = holder, holder.public_key
        self.state = State.BEGUN
        return Response(b"")

    def decipher(self, command: Command) -> Response:
        """PERFORM SECURITY OPERATION [decipher] (GPCS F.4): session keys from the host; key transport only.

        Refuses with 6985 (key agreement), 6A80 for everything else: wrong padding looks like wrong contents.
        """
        environment = self._now()
        if environment.i & I.AGREEMENT:
            raise Refusal(self._domain.profile.wrong_order)
        try:
            clear = environment.own_key.decrypt(command.data)
        except AuthenticationError:
            raise Refusal(SW.INCORRECT_DATA) from None
        _, self._references = read_parameters(clear, environment.i)
        self._signed = clear
        self.state = State.BEGUN
        return Response(b"")

    def challenge(self, command: Command) -> Response:
        """GET CHALLENGE (GPCS F.4). Refuses with 6A86, 6700 for another Le than all there is."""
        size = challenge_bytes(self._now().i)
        if command.p1 or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        if command.data or command.le not in (0, size):
            raise Refusal(SW.WRONG_LENGTH)
        self._challenge = self._domain.random(size)
        self.state = State.CHALLENGED
        return Response(self._challenge)

    def external(self, command: Command) -> Response:
        """EXTERNAL AUTHENTICATE (GPCS F.4). With key transport the session is open then.

        Refuses with 6A86, 6985 (no validated key, or no session keys), 9484 (keys of two lengths), 6300, and with 6A80
        for security parameters that are signed but cannot be.
        """
        environment, host = self._now(), self._host
        if command.p1 or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        agreement = environment.i & I.AGREEMENT
        if host is None or not (agreement or self._signed):
            raise Refusal(self._domain.profile.wrong_order)
        challenge, self._challenge = self._challenge, b""
        try:
            if agreement:
                self._take_secret(environment, host, command.data, challenge)
            else:
                check_proof(host.public_key, self._signed + challenge, command.data, environment.i)
        except AuthenticationError:
            raise Refusal(SW.AUTHENTICATION_FAILED) from None
        self.state = State.HOST_AUTHENTICATED
        if not agreement:
            self._open(transported)
        return Response(b"")

    def _take_secret(self, environment: _Environment, host: Holder, data: bytes, challenge: bytes) -> None:
        if host.public_key.bits != environment.own_key.public.bits:
            raise Refusal(SW.ALGORITHM_NOT_SUPPORTED)
        context = challenge + self._domain.identifier
        hidden = conveyed(environment.own_key, host.public_key, data, context, environment.i)
        try:
            self._signed = find_parameters(hidden[:-SECRET_BYTES])
        except DecodeError:
            raise Refusal(SW.AUTHENTICATION_FAILED) from None
        _, self._references = read_parameters(self._signed, environment.i)
        self._secret = hidden[-SECRET_BYTES:]

    def internal(self, command: Command) -> Response:
        """INTERNAL AUTHENTICATE (GPCS F.4). With key agreement the session is open then.

        Refuses with 6A86, 6985 (only the host was to be authenticated), 6A80 (length, or not the host's identifier).
        """
        environment, host = self._now(), self._host
        if command.p1 or command.p2:
            raise Refusal(SW.INCORRECT_P1P2)
        if host is None or not environment.mutual:
            raise Refusal(self._domain.profile.wrong_order)
        agreement = environment.i & I.AGREEMENT
        data = (InternalAuthenticate8 if agreement else InternalAuthenticate16).parse(command.data)
        profile, own = self._domain.profile, environment.own_key
        if profile.check_host_identifier and not equal(data.host_identifier, host.identifier(profile)):
            raise Refusal(SW.INCORRECT_DATA)
        if agreement:
            secret, context = self._domain.random(SECRET_BYTES), data.challenge + data.host_identifier
            answer = convey(own, host.public_key, secret, context, environment.i, self._domain.random)
            self._open(agreed(self._secret, secret))
        else:
            keys = b"".join(transported(reference)[0] for reference in self._references)
            answer = prove(own, keys + data.challenge, environment.i, self._domain.random)
        opened = self._opened
        self._forget()
        self._opened = opened
        return Response(answer)

    def _open(self, source: Source) -> None:
        environment, profile = self._now(), self._domain.profile
        level = read_parameters(self._signed, environment.i)[0].level
        keys = session_keys(self._references, source, profile)
        self._opened = CardChannel(keys, environment.i, level, self._authentication(), profile)

    def _authentication(self) -> int:
        """Who the host is for the selected application (GPCS 10.4.2)."""
        provider = self._domain.provider_id
        own = provider is not None and self._host is not None and self._host.name == provider
        return Level.AUTHENTICATED if own else Level.ANY_AUTHENTICATED

    def _now(self) -> _Environment:
        assert self._environment is not None, "the table has no other way here"
        return self._environment


Function: TypeAlias = Callable[[Initiation, Command], Response]

_BEGUN: Final[dict[Step, Function]] = {
    Step.MANAGE: Initiation.manage,
    Step.VERIFY: Initiation.verify,
    Step.DECIPHER: Initiation.decipher,
    Step.CHALLENGE: Initiation.challenge,
}
_ANEW: Final[dict[Step, Function]] = {Step.MANAGE: Initiation.manage, Step.VERIFY: Initiation.verify_first}
_BY_STATE: Final[dict[State, dict[Step, Function]]] = {
    State.IDLE: _ANEW,
    State.BEGUN: _BEGUN,
    State.CHALLENGED: _BEGUN | {Step.EXTERNAL: Initiation.external},
    State.HOST_AUTHENTICATED: _ANEW | {Step.INTERNAL: Initiation.internal},
}
TABLE: Final[dict[tuple[State, Step], Function]] = {
    (state, step): function for state, functions in _BY_STATE.items() for step, function in functions.items()
}
"""(state, command) -> what happens. Whatever is not listed is refused with `Profile.wrong_order`."""


def _step(command: Command) -> Step:
    """Which command of an initiation it is. Refuses with 6A86 for another PERFORM SECURITY OPERATION, 6D00."""
    if command.ins != PERFORM_SECURITY_OPERATION:
        if command.ins not in _INSTRUCTIONS:
            raise Refusal(SW.INS_NOT_SUPPORTED)
        return _INSTRUCTIONS[command.ins]
    if command.p1 == 0:
        return Step.VERIFY
    if (command.p1, command.p2) == (DECIPHER_P1, DECIPHER_P2):
        return Step.DECIPHER
    raise Refusal(SW.INCORRECT_P1P2)


def ends_session(step: Step | None, before: State, *, failed: bool) -> bool:
    """Whether a running session is dropped (GPCS F.1.4).

    MANAGE SECURITY ENVIRONMENT and a certificate that begins an initiation always do, failed or not; EXTERNAL and
    INTERNAL AUTHENTICATE do when they fail, for whatever reason.
    """
    if step == Step.MANAGE or (step == Step.VERIFY and before in (State.IDLE, State.HOST_AUTHENTICATED)):
        return True
    return failed and step in (Step.EXTERNAL, Step.INTERNAL)


def _known(key: Key | None) -> Key:
    if key is None:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return key
