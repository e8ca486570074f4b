"""The unprovisioned device's end of the provisioning protocol (MshPRT 5.4.2, 5.4.4).

An endpoint whose frames are provisioning PDUs; a bearer carries them. One object is one session: a retry begins on a
new link with a new object. Whatever the peer sends, the answer is a PDU of the table or Failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias, final

import msgspec

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPublicKey
from keywright.errors import AuthenticationError, DecodeError, KeywrightError, SequenceError, StoreError
from keywright.mesh.ends import CURVE, TIMEOUT_WITH_PERSON_S, AgreementKey, End, RandomBytes
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC, Algorithm, session_keys
from keywright.mesh.messages import (
    IV_UPDATE,
    KEY_REFRESH,
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
    RecordsGet,
    Start,
    describe,
    parse_pdu,
)
from keywright.mesh.oob import (
    INPUT_ACTIONS,
    OOB_KEY_AVAILABLE,
    OOB_ONLY,
    OUTPUT_ACTIONS,
    STATIC_AVAILABLE,
    Authentication,
    Method,
    Value,
    auth_value,
)
from keywright.mesh.records import NO_RECORDS, Records

State: TypeAlias = Literal[
    "idle", "invited", "started", "input", "keyed", "confirmed", "authenticated", "provisioned", "failed"
]

TABLE: Final[Mapping[State, tuple[type[Pdu], ...]]] = {
    "idle": (RecordsGet, RecordRequest, Invite),
    "invited": (Start,),
    "started": (PublicKey,),
    "input": (),
    "keyed": (Confirmation,),
    "confirmed": (Random,),
    "authenticated": (Data,),
    "provisioned": (),
    "failed": (),
}
"""What is expected in which state; everything else is answered with Failed, unexpected PDU."""

UNICAST_LAST: Final = 0x7FFF
_RESERVED_FLAGS: Final = 0xFF & ~(KEY_REFRESH | IV_UPDATE)
_KEY_INDEX_LAST: Final = 0x0FFF


class Attention(msgspec.Struct, frozen=True):
    """Make the device known to whoever stands before it; 0: stop."""

    seconds: int


class ValueShown(msgspec.Struct, frozen=True):
    """Output OOB: show this value."""

    authentication: Authentication
    value: Value


class ValueWanted(msgspec.Struct, frozen=True):
    """Input OOB: let somebody enter a value, then call `Device.enter`."""

    authentication: Authentication


class Provisioned(msgspec.Struct, frozen=True):
    """The device is a node; what it got is in its memory already."""

    unicast_address: int
    elements: int


class Refused(msgspec.Struct, frozen=True):
    """The session is over, with the error code that was sent; 0: it was only waited too long."""

    error_code: int
    why: str


DeviceEvent: TypeAlias = Attention | ValueShown | ValueWanted | Provisioned | Refused


class Abilities(msgspec.Struct, frozen=True):
    """What a device can do: its Capabilities, and what stands behind them."""

    elements: int = 1
    algorithms: int = CMAC.bit | HMAC.bit
    static_oob: bytes = b""
    """The static OOB value, at most 32 octets; empty: none."""
    static_key: AgreementKey | None = None
    """Key pair whose public key the provisioner gets out of band."""
    oob_only: bool = False
    output_size: int = 0
    output_actions: int = 0
    input_size: int = 0
    input_actions: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for what no device may say of itself (MshPRT 5.4.1.2)."""
        has_person = bool(self.output_size or self.input_size)
        if not 1 <= self.elements <= 0xFF:
            raise ValueError(f"a device has 1 to 255 elements, not {self.elements}")
        if not self.algorithms & (CMAC.bit | HMAC.bit):
            raise ValueError("a device has at least one algorithm")
        if len(self.static_oob) > HMAC.size:
            raise ValueError(f"a static OOB value has at most {HMAC.size} octets")
        if self.oob_only and (self.algorithms & CMAC.bit or not (self.static_oob or has_person)):
            raise ValueError("a device that takes OOB alone has HMAC alone and some OOB method")
        for kind, size, actions, known in (
            ("output", self.output_size, self.output_actions, OUTPUT_ACTIONS),
            ("input", self.input_size, self.input_actions, INPUT_ACTIONS),
        ):
            if not 0 <= size <= 8 or bool(size) != bool(actions) or actions >> len(known):
                raise ValueError(f"{kind} OOB: size 1 to 8 with some of {', '.join(known)}, or neither")

    def __repr__(self) -> str:
        return f"<Abilities of {self.elements} elements>"

    def capabilities(self) -> Capabilities:
        """The PDU that says so."""
        return Capabilities(
            elements=self.elements,
            algorithms=self.algorithms,
            public_key_type=OOB_KEY_AVAILABLE if self.static_key else 0,
            oob_type=(STATIC_AVAILABLE if self.static_oob else 0) | (OOB_ONLY if self.oob_only else 0),
            output_size=self.output_size,
            output_actions=self.output_actions,
            input_size=self.input_size,
            input_actions=self.input_actions,
        )


@final
class Device(End[DeviceEvent]):
    """Endpoint: the device's side of one provisioning session."""

    def __init__(
        self,
        abilities: Abilities,
        *,
        new_key: Callable[[], AgreementKey],
        random: RandomBytes,
        remember: Callable[[ProvisioningData, AesKey], None],
        records: Records = NO_RECORDS,
        judge: Callable[[ProvisioningData], int] = lambda _: 0,
    ) -> None:
        """new_key(): a fresh P-256 key pair. random(n): n random octets.

        remember(data, device_key): writes what the node needs into its memory, before Complete leaves; a StoreError is
        answered with Failed, out of resources. Any other KeywrightError of these is answered with Failed, unexpected
        error. judge(data): an error code for data that this device will not have, 0
        if it will; called after the checks that hold for every device.
        """
        super().__init__()
        self.state: State = "idle"
        self._abilities = abilities
        self._new_key = new_key
        self._random = random
        self._remember = remember
        self._records = records
        self._judge = judge
        self._algorithm: Algorithm = CMAC
        self._authentication = Authentication()
        self._inputs = b""
        self._auth_value = self._confirmation_key = self._salt = self._secret = b""
        self._my_random = self._my_confirmation = self._their_confirmation = self._their_random = b""

    # ---- what the person in front of the device does ----------------------------------------------------------

    def enter(self, value: Value, now: float) -> None:
        """The value of input OOB, as entered. Raises SequenceError unless asked, ValueError for its form."""
        if self.state != "input":
            raise SequenceError("no value is to be entered now")
        if not self._authentication.accepts(value):
            raise ValueError(f"not a value of {self._authentication}")
        self._auth_value = auth_value(self._algorithm, value)
        self.state = "keyed"
        self._send(InputComplete(), now)

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one provisioning PDU."""
        if self.state == "failed":
            self._send(Failed(ErrorCode.UNEXPECTED_PDU), now)
            return
        self._restart_timer(now)
        try:
            self._take(self._expected(parse_pdu(data)), now)
        except PduError as error:
            self._fail(error.error_code, str(error), now)
        except KeywrightError as error:
            # Not the peer's doing: the device's key, memory or judgement failed it.
            self._fail(ErrorCode.UNEXPECTED_ERROR, str(error), now)

    def link_closed(self) -> None:
        """The bearer has closed the link: whatever was under way is over (MshPRT 5.4.4)."""
        self._until = None
        if self.state not in {"provisioned", "failed"}:
            self._over("failed")

    # ---- the protocol -----------------------------------------------------------------------------------------

    def _expected(self, message: Pdu) -> Pdu:
        if not isinstance(message, TABLE[self.state]):
            raise PduError(f"{describe(message)} while {self.state}", ErrorCode.UNEXPECTED_PDU)
        return message

    def _take(self, message: Pdu, now: float) -> None:
        match message:
            case RecordsGet():
                self._send(self._records.listed(), now)
            case RecordRequest():
                self._send(self._records.answer(message), now)
            case Invite():
                self._invited(message, now)
            case Start():
                self._started(message, now)
            case PublicKey():
                self._keyed(message, now)
            case Confirmation():
                self._confirm(message, now)
            case Random():
                self._authenticate(message, now)
            case Data():
                self._provision(message, now)
            case _:  # TABLE lists nothing else
                raise PduError(f"{describe(message)} is not for a device", ErrorCode.UNEXPECTED_PDU)

    def _invited(self, message: Invite, now: float) -> None:
        capabilities = self._abilities.capabilities()
        self._inputs = message.build() + capabilities.build()
        if message.attention_s:
            self._events.append(Attention(message.attention_s))
        self.state = "invited"
        self._send(capabilities, now)

    def _started(self, message: Start, now: float) -> None:
        able = self._abilities
        chosen = Authentication(message.method, message.action, message.size)
        if message.algorithm >= len(ALGORITHMS) or not able.algorithms & ALGORITHMS[message.algorithm].bit:
            raise PduError(f"Start asks for algorithm {message.algorithm}", ErrorCode.INVALID_FORMAT, 1)
        if message.public_key > 1 or (message.public_key and able.static_key is None):
            raise PduError(f"Start asks for public key {message.public_key}", ErrorCode.INVALID_FORMAT, 2)
        if not chosen.is_valid or not self._offers(chosen):
            raise PduError(f"Start asks for {chosen}", ErrorCode.INVALID_FORMAT, 3)
        self._algorithm = ALGORITHMS[message.algorithm]
        self._authentication = chosen
        self._inputs += message.build()
        self._key = able.static_key if message.public_key and able.static_key else self._new_key()
        self._shows_key = not message.public_key
        if chosen.takes_a_person:
            self._timeout_s = TIMEOUT_WITH_PERSON_S
            self._restart_timer(now)
        self._events.append(Attention(0))
        self.state = "started"

    def _offers(self, chosen: Authentication) -> bool:
        able = self._abilities
        match chosen.method:
            case Method.STATIC:
                return bool(able.static_oob)
            case Method.OUTPUT:
                return chosen.size <= able.output_size and bool(able.output_actions >> chosen.action & 1)
            case Method.INPUT:
                return chosen.size <= able.input_size and bool(able.input_actions >> chosen.action & 1)
            case _:
                return not able.oob_only

    def _keyed(self, message: PublicKey, now: float) -> None:
        mine = self._key.public.point[1:]
        if equal(message.point, mine):
            raise PduError("Public Key is the device's own", ErrorCode.INVALID_FORMAT, 1)
        try:
            peer = EcPublicKey.from_point(CURVE, b"\x04" + message.point)
        except DecodeError as error:
            raise PduError("Public Key is no point of P-256", ErrorCode.INVALID_FORMAT, 1) from error
        self._secret = self._key.agree(peer)
        self._inputs += message.point + mine
        self._salt = self._algorithm.confirmation_salt(self._inputs)
        if self._shows_key:
            self._send(PublicKey(mine), now)
        self._ask_or_show()

    def _ask_or_show(self) -> None:
        chosen = self._authentication
        self.state = "keyed"
        value: Value = 0
        if chosen.method == Method.STATIC:
            value = self._abilities.static_oob
        elif chosen.method == Method.OUTPUT:
            value = chosen.draw(self._random)
            self._events.append(ValueShown(chosen, value))
        elif chosen.method == Method.INPUT:
            self.state = "input"
            self._events.append(ValueWanted(chosen))
        self._auth_value = auth_value(self._algorithm, value)

    def _confirm(self, message: Confirmation, now: float) -> None:
        size = self._algorithm.size
        if len(message.value) != size:
            raise PduError(f"Confirmation of {len(message.value)} octets", ErrorCode.INVALID_FORMAT, 1)
        self._confirmation_key = self._algorithm.confirmation_key(self._secret, self._salt, self._auth_value)
        self._my_random = self._random(size)
        self._my_confirmation = self._confirmation(self._my_random)
        if equal(message.value, self._my_confirmation):
            raise PduError("Confirmation is the device's own", ErrorCode.INVALID_FORMAT, 1)
        self._their_confirmation = message.value
        self.state = "confirmed"
        self._send(Confirmation(self._my_confirmation), now)

    def _authenticate(self, message: Random, now: float) -> None:
        if len(message.value) != self._algorithm.size:
            raise PduError(f"Random of {len(message.value)} octets", ErrorCode.INVALID_FORMAT, 1)
        if not equal(self._confirmation(message.value), self._their_confirmation):
            raise PduError("Random does not fit the confirmation", ErrorCode.CONFIRMATION_FAILED, 1)
        self._their_random = message.value
        self.state = "authenticated"
        self._send(Random(self._my_random), now)

    def _confirmation(self, random: bytes) -> bytes:
        return self._algorithm.confirmation(self._confirmation_key, random, self._auth_value)

    def _provision(self, message: Data, now: float) -> None:
        keys = session_keys(self._secret, self._salt, self._their_random, self._my_random)
        try:
            data = ProvisioningData.parse(keys.session_key.open(keys.session_nonce, message.sealed))
        except AuthenticationError as error:
            raise PduError("Data not accepted", ErrorCode.DECRYPTION_FAILED, 1) from error
        if data.flags & _RESERVED_FLAGS or data.key_index > _KEY_INDEX_LAST:
            raise PduError("Data with reserved flags or key index", ErrorCode.INVALID_DATA, 1)
        last = data.unicast_address + self._abilities.elements - 1
        if not data.unicast_address or last > UNICAST_LAST:
            raise PduError(f"addresses {data.unicast_address:04X} to {last:04X}", ErrorCode.CANNOT_ASSIGN_ADDRESSES, 1)
        refusal = self._judge(data)
        if refusal:
            raise PduError("Data that this device will not have", refusal, 1)
        try:
            self._remember(data, keys.device_key)
        except StoreError as error:
            raise PduError(f"memory: {error}", ErrorCode.OUT_OF_RESOURCES) from error
        self._over("provisioned")
        self._events.append(Provisioned(data.unicast_address, self._abilities.elements))
        self._send(Complete(), now)

    # ---- endings ----------------------------------------------------------------------------------------------

    def _fail(self, error_code: int, why: str, now: float) -> None:
        self._over("failed")
        self._events.append(Refused(error_code, why))
        self._send(Failed(error_code), now)
        self._until = None

    def _expired(self) -> None:
        if self.state not in {"provisioned", "failed"}:
            self._over("failed")
            self._events.append(Refused(0, "no PDU came in time"))

    def _over(self, state: State) -> None:
        self.state = state
        self._auth_value = self._confirmation_key = self._salt = self._secret = b""
        self._my_random = self._my_confirmation = self._their_confirmation = self._their_random = b""
