"""One unit on its way through a recipe, as its steps see it.

A step is a dialogue that yields `Command` (for the unit), `OnAir` (for the radio beside it) and `Commit` (for the
store); all are answered with a `Response`, a commit with an empty one once it is on the disk. `act` is the one way to
change a unit: the intent is durable before the first command leaves, and an intent found open is settled by a probe,
never by a guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, final

import msgspec

from keywright.errors import KeywrightError, PolicyError, StatusError
from keywright.fob.mesh_model import Carrier
from keywright.globalplatform.host import Dialogue, Identity, select
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW
from keywright.production.keystores.keystore import CardKeys, FactorySet, KeyRef, Keystore
from keywright.production.order_names import named
from keywright.production.parameters import Authenticate, OwnKeys
from keywright.production.recipe import Recipe
from keywright.production.unit_store.prepared_rows import PreparedUnit
from keywright.production.unit_store.units import Certificate, Change, Event, Leave, Phase, Unit, UnitChange
from keywright.sansio.dialogue import through
from keywright.scp.scp03.host import CardCryptogramError, Verified, external_authenticate, request_challenge
from keywright.scp.session import HostSession

if TYPE_CHECKING:
    from keywright.production.mesh_lot import LotNetwork

Got = TypeVar("Got")

_NO_SUCH_KEYS: Final = (SW.REFERENCED_DATA_NOT_FOUND, SW.INCORRECT_P1P2)


@final
class Commit(msgspec.Struct, frozen=True):
    """Ask for changes to be durable before the dialogue goes on.

    `step` is where the unit stands; `intent` says that an intent is among the changes, `settled` names the steps of
    which a result is: one transaction often holds the result of one action and the intent of the next.
    """

    changes: tuple[Change, ...]
    step: str
    intent: bool = False
    settled: tuple[str, ...] = ()


@final
class OnAir(msgspec.Struct, frozen=True):
    """Ask for frames to be sent by the radio beside the unit, and for what is heard within `wait_s` seconds of it.

    Answered with a `Response` whose data are a `fob.mesh_model.Heard`; `production.on_air` reads it. carrier,
    connects: as `fob.mesh_model.Sent` says.
    """

    frames: tuple[bytes, ...]
    wait_s: float
    carrier: Carrier = "advertising"
    connects: bool = False


@final
class Fetch(msgspec.Struct, frozen=True):
    """Ask for what is at an https address, beside the unit. roots_pem: who vouches for the server, empty: the system's.

    Answered with a `Response` whose data `production.fetching` reads; a server that cannot be asked is thrown.
    """

    uri: str
    accept: str
    roots_pem: str = ""


StepRequest: TypeAlias = Command | Commit | OnAir | Fetch
StepDialogue = Generator[StepRequest, Response, Got]
Facts = Mapping[str, Any]


class Verdict(Enum):
    """What a probe found about an intent that was left open."""

    APPLIED = "applied"
    NOT_APPLIED = "not applied"
    UNKNOWN = "unknown"


class Role(Enum):
    """Whose keys a session is opened with."""

    FACTORY = "factory"
    OWN = "own"


class RejectedError(PolicyError):
    """Not a unit for this recipe: another product, or one that has been through the line."""

    code = "wrong-unit"
    hint = "take it out of the lot; nothing was changed on it"


class UncertainError(KeywrightError):
    """A probe could not tell whether a step took effect; a person has to look."""

    code = "uncertain"
    hint = "the unit is set aside; compare its key information with the intent in the report"


class MismatchError(KeywrightError):
    """What the unit returns is not what the line recorded."""

    code = "mismatch"
    hint = "the unit is set aside; do not ship it"


Probe = Callable[[Facts], StepDialogue[tuple[Verdict, Facts]]]


class Job:
    """One unit, the recipe, and the means its steps may use. `facts` of settled actions are kept by action name."""

    def __init__(
        self,
        unit: Unit,
        recipe: Recipe,
        keystore: Keystore,
        *,
        clock: Callable[[], float],
        rng: Callable[[int], bytes],
        history: tuple[Event, ...] = (),
        certificate: Certificate | None = None,
        prepared: PreparedUnit | None = None,
        own: CardKeys | None = None,
        network: LotNetwork | None = None,
        has_gatt: bool = False,
    ) -> None:
        """`prepared`: what was prepared for the unit; `own`: its own keys, if they were derived with it.

        `has_gatt`: its radio is reached by GATT connections, not by advertisements.
        """
        self.unit = unit
        self.named = named(unit.extra)
        self.prepared = prepared
        self.recipe = recipe
        self.keystore = keystore
        self.clock = clock
        self.rng = rng
        self.certificate = certificate
        self.network = network
        self.has_gatt = has_gatt
        self.identity: Identity | None = None
        self.step = ""
        self.channel: HostSession | None = None
        self.plain: Command | None = None
        self.opened: Response | None = None
        self.begun = 0.0
        self._kdd = unit.kdd
        self._tries = unit.tries
        self._pending: list[Change] = []
        self._results: list[str] = []
        self._attempts: dict[str, int] = {}
        self._open: dict[str, Event] = {}
        self._settled: dict[str, Facts] = {}
        self._keys: dict[Role, CardKeys] = {}
        self._own = own
        self._live: Verified[HostSession] | HostSession | None = None
        for event in history:
            self._remember(event)

    # ---- history

    def _remember(self, event: Event) -> None:
        self._attempts[event.step] = max(self._attempts.get(event.step, 0), event.attempt)
        if event.phase == "intent":
            self._open[event.step] = event
        elif event.phase in ("done", "recovered"):
            self._open.pop(event.step, None)
            self._settled[event.step] = event.facts
        elif event.phase in ("failed", "mismatch"):
            self._open.pop(event.step, None)

    def is_settled(self, action: str) -> bool:
        """Whether an action is known to have taken effect."""
        return action in self._settled

    def is_open(self, action: str) -> bool:
        """Whether an intent of this action was left without a result: only a probe can tell."""
        return action in self._open

    def is_new(self, action: str) -> bool:
        """Whether this action was never begun, or is known not to have taken effect."""
        return action not in self._settled and action not in self._open

    def intent(self, action: str) -> Facts:
        """What was recorded with the intent that is open. KeyError when none is."""
        return self._open[action].facts

    def attempts(self, action: str) -> int:
        """How often the action was begun, this time included."""
        return self._attempts.get(action, 0)

    def facts(self, action: str) -> Facts:
        """What was recorded when the action was settled. KeyError when it was not."""
        return self._settled[action]

    def evidence(self) -> Facts:
        """What each step of the recipe recorded when it was done."""
        return {spec.name: self._settled[spec.name] for spec in self.recipe.steps if spec.name in self._settled}

    # ---- store

    def record(self, phase: Phase, action: str, facts: Facts | None = None) -> None:
        """Add an event to the next commit; one that settles an open intent carries that intent's attempt number."""
        begun = None if phase == "intent" else self._open.get(action)
        attempt = self._attempts.get(action, 0) + 1 if begun is None else begun.attempt
        event = Event(unit=self.unit.n, step=action, phase=phase, attempt=attempt, facts=facts or {}, at=self.clock())
        self._remember(event)
        self._pending.append(event)
        if phase in ("done", "recovered") and self.step not in self._results:
            self._results.append(self.step)

    def change(self, **values: object) -> None:
        """Set columns of the unit's row with the next commit."""
        self._pending.append(UnitChange(self.unit.n, values))

    def leave(self) -> None:
        """Put the unit back with the next commit, to be recovered in a later run."""
        self._pending.append(Leave(self.unit.n))

    def keep(self, certificate: Certificate) -> None:
        """Add an issued certificate to the next commit."""
        self.certificate = certificate
        self._pending.append(certificate)

    def add(self, change: Change) -> None:
        """Add any other change to the next commit."""
        self._pending.append(change)

    def take_pending(self, *, intent: bool = False) -> Commit:
        """Everything recorded since the last commit; it is then the caller's to write."""
        pending = Commit(tuple(self._pending), self.step, intent, tuple(self._results))
        self._pending.clear()
        self._results.clear()
        return pending

    def commit(self, *, intent: bool = False) -> StepDialogue[None]:
        """Have everything recorded so far on the disk before going on."""
        yield self.take_pending(intent=intent)

    def intend(self, action: str, facts: Facts) -> StepDialogue[None]:
        """Make the intent of an action durable."""
        self.record("intent", action, facts)
        yield from self.commit(intent=True)

    def act(
        self,
        action: str,
        facts: Facts,
        perform: Callable[[], StepDialogue[Facts]],
        probe: Probe,
    ) -> StepDialogue[Facts]:
        """Change the unit once. Returns what was recorded of it.

        Done before: nothing is sent. An intent left open: `probe` decides; "unknown" raises UncertainError.
        """
        if (yield from self.took_effect(action, probe)):
            return self.facts(action)
        yield from self.intend(action, facts)
        found = yield from perform()
        self.record("done", action, found)
        return found

    def took_effect(self, action: str, probe: Probe) -> StepDialogue[bool]:
        """Whether an action is settled; `probe` decides about an intent left open. Raises UncertainError."""
        if self.is_open(action):
            verdict, found = yield from probe(self.intent(action))
            if verdict is Verdict.UNKNOWN:
                raise UncertainError(f"{action}: the probe could not tell whether it took effect")
            if verdict is Verdict.NOT_APPLIED:
                self.record("failed", action, {"probe": verdict.value})
                return False
            self.record("recovered", action, found)
        return self.is_settled(action)

    # ---- keys

    @property
    def kdd(self) -> bytes:
        """Key diversification data of the unit, 10 bytes, as its first INITIALIZE UPDATE gave it."""
        if self._kdd is None:
            raise MismatchError("the unit's key diversification data is not known yet")
        return self._kdd

    def parameters(self, kind: type[Got]) -> Got:
        """Parameters of the recipe's step of that class. KeyError when the recipe has none."""
        for spec in self.recipe.steps:
            if type(spec.parameters) is kind:
                return spec.parameters
        raise KeyError(kind.__name__)

    def own_keys(self) -> CardKeys:
        """The unit's own key set, derived from the issuer master: the same at every call."""
        return self.keys(Role.OWN)

    def own_context(self) -> bytes:
        """What the own keys are derived from. Raises PolicyError as `OwnKeys.context` does."""
        return self.parameters(OwnKeys).context(self.kdd, self.unit.serial, self.recipe.name)

    def check_prepared(self, step: str, facts: Facts) -> None:
        """Raise MismatchError unless what was prepared for a step, if anything was, is what is true of this unit."""
        values: Facts = {} if self.prepared is None else self.prepared.steps.get(step, {})
        wrong = ", ".join(name for name, value in values.items() if facts.get(name) != value)
        if wrong:
            raise MismatchError(f"{step}: what was prepared for the unit is not what it is to get ({wrong})")

    def kvn(self, role: Role) -> int:
        """Key version number of a role. A factory set asked for as 00 (default) has the number it answered with."""
        if role is Role.OWN:
            return self.parameters(OwnKeys).kvn
        asked = self.parameters(Authenticate).kvn
        return asked or int(self._settled.get(_session(role), {}).get("kvn", 0))

    def keys(self, role: Role) -> CardKeys:
        """Key set of a role, the same at every call; its derivation needs the unit's KDD."""
        found = self._keys.get(role)
        if found is None and role is Role.OWN and self._own is not None:
            found, self._own = self._keys.setdefault(role, self._own), None
        if found is None:
            found = self._keys[role] = self.keystore.card_keys(
                self._ref(role), session_keys=self.parameters(Authenticate).session_keys
            )
        return found

    def _ref(self, role: Role) -> KeyRef:
        if role is Role.FACTORY:
            return FactorySet(self.parameters(Authenticate).keys, self.kdd)
        return self.parameters(OwnKeys).ref(self.own_context())

    def release(self) -> None:
        """Close the unit's channel and forget its keys: it is worked on no more, or only after a reset."""
        self._end_session()
        while self._keys:
            self._keys.popitem()[1].close()

    def path(self, role: Role) -> str:
        """How a channel of these keys keeps them, a `KeyPath`. Raises PolicyError if not as the recipe allows."""
        return self.keys(role).path(self.facts("identify")["challenge_bytes"]).value

    # ---- sessions

    def challenge(self) -> bytes:
        """A host challenge of the length that the unit's card data ask for: 8 bytes, or 16 for S16."""
        return self.rng(self.facts("identify")["challenge_bytes"])

    def is_keyed(self, role: Role) -> StepDialogue[bool]:
        """Whether the unit answers to these keys, by INITIALIZE UPDATE alone: costs no try.

        No such key set, or another card cryptogram, is a no; every other refusal raises StatusError.
        """
        challenge = self.challenge()
        try:
            answer = yield from request_challenge(challenge, kvn=self.kvn(role))
            self._learn(answer.kdd)
            self.keys(role).open(challenge, answer).close()
        except CardCryptogramError:
            return False
        except StatusError as error:
            if error.sw not in _NO_SUCH_KEYS:
                raise
            return False
        return True

    def session(self, role: Role, aid: bytes = b"") -> StepDialogue[HostSession]:
        """SELECT, then a fresh channel at the recipe's level; the one before ends, as on the card.

        While these keys are unproven on this unit, the opening is an intent of its own: the card cryptogram is
        checked by INITIALIZE UPDATE, the intent made durable, and only then EXTERNAL AUTHENTICATE leaves.
        """
        self._end_session()
        yield from select(aid)
        action = _session(role)
        kvn, challenge = self.kvn(role), self.challenge()
        answer = yield from request_challenge(challenge, kvn=kvn)
        self._learn(answer.kdd)
        keys = self.keys(role)
        try:
            self._live = opening = keys.open(challenge, answer)
        except CardCryptogramError:
            self.record("mismatch", action, {"kvn": answer.kvn, "kcvs": keys.kcvs.hex()})
            raise
        proven = self.is_settled(action)
        if self.is_open(action):
            self.record("failed", action, {"probe": "the card cryptogram fits; whether it was opened is not known"})
        self._tries += 1
        self.change(tries=self._tries)
        if not proven:
            counter = answer.sequence_counter.hex()
            yield from self.intend(action, {"kvn": answer.kvn, "kcvs": keys.kcvs.hex(), "counter": counter})
        p = self.parameters(Authenticate)
        self._live = channel = yield from external_authenticate(opening, p.level, pads_empty=p.profile.scp03.pads_empty)
        if not proven:
            self.record("done", action, {"kvn": answer.kvn, "path": self.path(role)})
        return channel

    def _end_session(self) -> None:
        live, self._live, self.channel = self._live, None, None
        if live is not None:
            live.close()

    def _learn(self, kdd: bytes) -> None:
        if self.named.kdd not in (None, kdd):
            raise RejectedError("another device: its key diversification data are not those that the order names")
        if self._kdd is None:
            self._kdd = kdd
            self.change(kdd=kdd)
        elif kdd != self._kdd:
            raise MismatchError("the unit's key diversification data has changed: another device answers")

    def under(self, channel: HostSession, dialogue: Dialogue[Got]) -> Dialogue[Got]:
        """Run a dialogue under the channel, remembering what the protected commands say in clear."""
        return (yield from through(dialogue, lambda command: self._protected(channel, command)))

    def _protected(self, channel: HostSession, command: Command) -> Dialogue[Response]:
        self.plain = command
        try:
            self.opened = response = yield from channel.secure(command)
        finally:
            self.plain = None
        return response


def _session(role: Role) -> str:
    return f"session.{role.value}"


def digest(data: bytes) -> str:
    """SHA-256 as hex, for facts."""
    return hashlib.sha256(data).hexdigest()
