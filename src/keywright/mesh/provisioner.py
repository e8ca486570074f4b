"""The provisioner's end of the provisioning protocol (MshPRT 5.4.2, 5.4.4).

An endpoint whose frames are provisioning PDUs; a bearer carries them. Its owner decides: it asks for records or
invites, chooses when the capabilities are there, carries values, and gives the provisioning data when the device is
authenticated. The device key is known before the data leave, so that it can be written down first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, LinkError, SequenceError, WireError
from keywright.mesh.ends import CURVE, TIMEOUT_WITH_PERSON_S, AgreementKey, CloseReason, End, RandomBytes
from keywright.mesh.keys import HMAC, Algorithm, SessionKeys, session_keys
from keywright.mesh.messages import (
    ERRORS,
    Capabilities,
    Complete,
    Confirmation,
    Data,
    ErrorCode,
    Failed,
    InputComplete,
    Invite,
    Pdu,
    PduError,
    ProvisioningData,
    PublicKey,
    Random,
    RecordRequest,
    RecordResponse,
    RecordsGet,
    RecordsList,
    Start,
    describe,
    parse_pdu,
)
from keywright.mesh.oob import Authentication, Method, Value, auth_value
from keywright.mesh.policy import Choice
from keywright.mesh.records import RecordStatus

State: TypeAlias = Literal[
    "idle",
    "listing",
    "fetching",
    "inviting",
    "invited",
    "keying",
    "value",
    "input",
    "confirming",
    "randomising",
    "authenticated",
    "completing",
    "provisioned",
    "failed",
]

TABLE: Final[Mapping[State, tuple[type[Pdu], ...]]] = {
    "idle": (),
    "listing": (RecordsList,),
    "fetching": (RecordResponse,),
    "inviting": (Capabilities,),
    "invited": (),
    "keying": (PublicKey,),
    "value": (),
    "input": (InputComplete,),
    "confirming": (Confirmation,),
    "randomising": (Random,),
    "authenticated": (),
    "completing": (Complete,),
    "provisioned": (),
    "failed": (),
}
"""What is expected in which state, besides Failed; everything else ends the session."""

CLAUSES: Final[Mapping[type[Pdu], str]] = {
    RecordsList: "MshPRT 5.4.1.14",
    RecordResponse: "MshPRT 5.4.1.12",
    Capabilities: "MshPRT 5.4.1.2",
    PublicKey: "MshPRT 5.4.2.3",
    InputComplete: "MshPRT 5.4.2.4",
    Confirmation: "MshPRT 5.4.2.4.1",
    Random: "MshPRT 5.4.2.4.2",
    Complete: "MshPRT 5.4.2.5",
    Failed: "MshPRT 5.4.1.10",
}
_HINTS: Final[Mapping[int, str]] = {
    ErrorCode.CONFIRMATION_FAILED: "the OOB value is not the device's, or somebody stands between; try once more",
    ErrorCode.OUT_OF_RESOURCES: "the device has no room; reset it and try again",
    ErrorCode.CANNOT_ASSIGN_ADDRESSES: "the address range does not fit its elements; give another first address",
    ErrorCode.INVALID_DATA: "it judges NetKey index, flags and IV index; see that they are this network's",
}


class RecordsListed(msgspec.Struct, frozen=True):
    """The records that the device has."""

    records: tuple[int, ...]


class RecordPart(msgspec.Struct, frozen=True):
    """One answer to `Provisioner.request`."""

    response: RecordResponse


class CapabilitiesReceived(msgspec.Struct, frozen=True):
    """Choose, and call `Provisioner.start`."""

    capabilities: Capabilities


class ValueWanted(msgspec.Struct, frozen=True):
    """Output OOB: the device shows a value; call `Provisioner.enter` with it."""

    authentication: Authentication


class ValueShown(msgspec.Struct, frozen=True):
    """Input OOB: somebody has to enter this value at the device."""

    authentication: Authentication
    value: Value


class Authenticated(msgspec.Struct, frozen=True):
    """The device has proved itself; write the device key down, then call `Provisioner.provide`."""

    elements: int
    device_key: AesKey


class Provisioned(msgspec.Struct, frozen=True):
    """The device has taken the data and is a node."""


class Ended(msgspec.Struct, frozen=True):
    """The session failed; close the link with `reason` (`CloseReason`)."""

    error: KeywrightError
    reason: int
    error_code: int = 0
    """What the device said in Failed, 0 if it said nothing."""


ProvisionerEvent: TypeAlias = (
    RecordsListed | RecordPart | CapabilitiesReceived | ValueWanted | ValueShown | Authenticated | Provisioned | Ended
)


@final
class Provisioner(End[ProvisionerEvent]):
    """Endpoint: the provisioner's side of one provisioning session."""

    def __init__(self, key: AgreementKey, random: RandomBytes) -> None:
        """key: a P-256 key pair for this session alone. random(n): n random octets."""
        super().__init__()
        self.state: State = "idle"
        self.choice: Choice | None = None
        """What `start` was told."""
        self._key = key
        self._random = random
        self._elements = 0
        self._offered: Capabilities | None = None
        self._unanswered: list[Pdu] = []
        self._inputs = b""
        self._auth_value = self._confirmation_key = self._salt = self._secret = b""
        self._my_random = self._my_confirmation = self._their_confirmation = b""
        self._keys: SessionKeys | None = None

    # ---- what the owner asks ----------------------------------------------------------------------------------

    def list_records(self, now: float) -> None:
        """Ask which records there are; before `invite`. Raises SequenceError."""
        self._ask("idle", "listing", RecordsGet(), now)

    def request(self, record: int, offset: int, most: int, now: float) -> None:
        """Ask for up to `most` octets of a record; before `invite`. Raises SequenceError."""
        self._ask("idle", "fetching", RecordRequest(record, offset, most), now)

    def invite(self, attention_s: int, now: float) -> None:
        """Invite the device, which makes itself known for `attention_s` seconds. Raises SequenceError."""
        invite = Invite(attention_s)
        self._ask("idle", "inviting", invite, now)
        self._inputs = invite.build()

    def start(
        self, choice: Choice, now: float, *, static_oob: bytes = b"", device_key: EcPublicKey | None = None
    ) -> None:
        """Say how to go on, and send this side's public key.

        static_oob: the value of the static method. device_key: the key that came out of band, if the choice uses it.
        Raises SequenceError, ValueError for a choice without what it needs.
        """
        chosen = choice.authentication
        if choice.uses_oob_key and device_key is None:
            raise ValueError("this choice needs the device's public key")
        if chosen.method == Method.STATIC and not static_oob:
            raise ValueError("this choice needs the static OOB value")
        start = Start(choice.algorithm.number, int(choice.uses_oob_key), chosen.method, chosen.action, chosen.size)
        self._ask("invited", "keying", start, now)
        self.choice = choice
        self._inputs += start.build()
        self._auth_value = auth_value(self._algorithm, static_oob if chosen.method == Method.STATIC else 0)
        if chosen.takes_a_person:
            self._timeout_s = TIMEOUT_WITH_PERSON_S
        self._send(PublicKey(self._key.public.point[1:]), now)
        if choice.uses_oob_key and device_key is not None:
            self._agree(device_key, now)

    def enter(self, value: Value, now: float) -> None:
        """The value of output OOB, as shown. Raises SequenceError unless asked, ValueError for its form."""
        if self.state != "value" or self.choice is None:
            raise SequenceError("no value is to be entered now")
        if not self.choice.authentication.accepts(value):
            raise ValueError(f"not a value of {self.choice.authentication}")
        self._auth_value = auth_value(self._algorithm, value)
        self._confirm(now)

    def provide(self, data: ProvisioningData, now: float) -> None:
        """Give the device its data, once everything needed after a crash is written. Raises SequenceError."""
        keys = self._keys
        if self.state != "authenticated" or keys is None:
            raise SequenceError("the device is not authenticated")
        self._ask("authenticated", "completing", Data(keys.session_key.seal(keys.session_nonce, data.build())), now)

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one provisioning PDU."""
        if self.state in {"provisioned", "failed"}:
            return
        self._restart_timer(now)
        try:
            message = parse_pdu(data)
        except PduError as error:
            self._end(WireError(f"device sent what is no provisioning PDU: {error} (MshPRT 5.4.1)"), CloseReason.FAIL)
            return
        try:
            self._check_expected(message)
            asked, self._unanswered = self._unanswered, []
            self._take(message, asked, now)
        except KeywrightError as error:
            self._end(error, CloseReason.FAIL, message.error_code if isinstance(message, Failed) else 0)

    def link_closed(self, why: str) -> None:
        """The bearer has lost the link."""
        if self.state not in {"provisioned", "failed"}:
            self._end(LinkError(f"{why} while {self.state}", delivered=None), CloseReason.FAIL)

    # ---- the protocol -----------------------------------------------------------------------------------------

    @property
    def _algorithm(self) -> Algorithm:
        assert self.choice is not None  # set by `start`, which every user of this comes after
        return self.choice.algorithm

    def _ask(self, state: State, then: State, message: Pdu, now: float) -> None:
        if self.state != state:
            raise SequenceError(f"{describe(message)} while {self.state}")
        self.state = then
        self._send(message, now)

    def _send(self, message: Pdu, now: float) -> None:
        self._unanswered.append(message)
        super()._send(message, now)

    def _check_expected(self, message: Pdu) -> None:
        if isinstance(message, Failed):
            raise self._refused(message)
        if not isinstance(message, TABLE[self.state]):
            raise SequenceError(f"device sent {describe(message)} while {self.state} (MshPRT 5.4.4)")

    def _take(self, message: Pdu, asked: list[Pdu], now: float) -> None:
        match message:
            case RecordsList():
                self.state = "idle"
                self._events.append(RecordsListed(message.records))
            case RecordResponse():
                self._take_record(message, asked[0])
            case Capabilities():
                self._take_capabilities(message)
            case PublicKey():
                self._take_key(message, now)
            case InputComplete():
                self._confirm(now)
            case Confirmation():
                self._take_confirmation(message, now)
            case Random():
                self._take_random(message)
            case _:  # Complete: TABLE lists nothing else
                self._over("provisioned")
                self._events.append(Provisioned())

    def _take_record(self, message: RecordResponse, asked: Pdu) -> None:
        assert isinstance(asked, RecordRequest)  # the state says so
        if message.status > RecordStatus.OUT_OF_BOUNDS:
            raise _wrong(message, f"status {message.status:02X} is prohibited")
        if (message.record, message.offset) != (asked.record, asked.offset) or len(message.data) > asked.most:
            raise _wrong(message, f"it answers another request than record {asked.record:04X} from {asked.offset}")
        if message.status and message.data:
            raise _wrong(message, "a refusal has no data")
        if not message.status and not (message.data and message.offset + len(message.data) <= message.total):
            raise _wrong(message, f"{len(message.data)} octets from {message.offset} of {message.total}")
        self.state = "idle"
        self._events.append(RecordPart(message))

    def _take_capabilities(self, message: Capabilities) -> None:
        if not message.elements:
            raise _wrong(message, "a device has at least one element")
        self._elements = message.elements
        self._offered = message
        self._inputs += message.build()
        self.state = "invited"
        self._events.append(CapabilitiesReceived(message))

    def _take_key(self, message: PublicKey, now: float) -> None:
        if equal(message.point, self._key.public.point[1:]):
            raise AuthenticationError("device sent this side's own public key back (MshPRT 5.4.2.3)")
        try:
            key = EcPublicKey.from_point(CURVE, b"\x04" + message.point)
        except DecodeError as error:
            raise _wrong(message, "no point of P-256") from error
        self._agree(key, now)

    def _agree(self, key: EcPublicKey, now: float) -> None:
        self._secret = self._key.agree(key)
        self._inputs += self._key.public.point[1:] + key.point[1:]
        self._salt = self._algorithm.confirmation_salt(self._inputs)
        assert self.choice is not None  # `start` came before
        chosen = self.choice.authentication
        if chosen.method == Method.OUTPUT:
            self.state = "value"
            self._events.append(ValueWanted(chosen))
        elif chosen.method == Method.INPUT:
            value = chosen.draw(self._random)
            self._auth_value = auth_value(self._algorithm, value)
            self.state = "input"
            self._events.append(ValueShown(chosen, value))
        else:
            self._confirm(now)

    def _confirm(self, now: float) -> None:
        self._confirmation_key = self._algorithm.confirmation_key(self._secret, self._salt, self._auth_value)
        self._my_random = self._random(self._algorithm.size)
        self._my_confirmation = self._confirmation(self._my_random)
        self.state = "confirming"
        self._send(Confirmation(self._my_confirmation), now)

    def _take_confirmation(self, message: Confirmation, now: float) -> None:
        if len(message.value) != self._algorithm.size:
            raise _wrong(message, f"{len(message.value)} octets, not {self._algorithm.size}")
        if equal(message.value, self._my_confirmation):
            raise AuthenticationError("device sent this side's own confirmation back (MshPRT 5.4.2.4.1)")
        self._their_confirmation = message.value
        self.state = "randomising"
        self._send(Random(self._my_random), now)

    def _take_random(self, message: Random) -> None:
        if len(message.value) != self._algorithm.size:
            raise _wrong(message, f"{len(message.value)} octets, not {self._algorithm.size}")
        if not equal(self._confirmation(message.value), self._their_confirmation):
            raise AuthenticationError(
                "the device's Random does not fit its Confirmation (MshPRT 5.4.2.4.2)",
                hint=_HINTS[ErrorCode.CONFIRMATION_FAILED],
            )
        self._keys = session_keys(self._secret, self._salt, self._my_random, message.value)
        self.state = "authenticated"
        self._events.append(Authenticated(self._elements, self._keys.device_key))

    def _confirmation(self, random: bytes) -> bytes:
        return self._algorithm.confirmation(self._confirmation_key, random, self._auth_value)

    # ---- endings ----------------------------------------------------------------------------------------------

    def _refused(self, message: Failed) -> KeywrightError:
        name = ERRORS.get(message.error_code, "reserved")
        hint = _HINTS.get(message.error_code, "")
        # What follows Start at once (Public Key, and Confirmation where no key is awaited) hides which one is refused.
        if message.error_code == ErrorCode.INVALID_FORMAT and any(isinstance(one, Start) for one in self._unanswered):
            if self.choice is not None and self.choice.algorithm == HMAC:
                hint = "it does not support HMAC, whatever it offers; retry with --algorithm cmac"
            else:
                hint = "it refuses what was chosen of its own capabilities; retry with another --oob"
        asked = " or ".join(map(describe, self._unanswered)) or "nothing"
        return WireError(
            f"device answered {asked} with Failed {message.error_code:02X} ({name}; MshPRT 5.4.1.10)", hint=hint
        )

    def _expired(self) -> None:
        if self.state not in {"provisioned", "failed"}:
            asked = " or ".join(map(describe, self._unanswered)) or "nothing"
            self._end(
                LinkError(f"no answer to {asked} for {self._timeout_s:.0f} s while {self.state} (MshPRT 5.4.4)"),
                CloseReason.TIMEOUT,
            )

    def _end(self, error: KeywrightError, reason: int, error_code: int = 0) -> None:
        self._over("failed")
        self._pdus.clear()
        self._events.append(Ended(error, reason, error_code))

    def _over(self, state: State) -> None:
        self.state = state
        self._until = None
        self._keys = None
        self._auth_value = self._confirmation_key = self._salt = self._secret = b""
        self._my_random = self._my_confirmation = self._their_confirmation = b""


def _wrong(message: Pdu, why: str) -> WireError:
    return WireError(f"device sent a wrong {describe(message)}: {why} ({CLAUSES[type(message)]})")
