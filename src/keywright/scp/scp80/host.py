"""SCP80, sending entity: protect scripts, send them, and read what comes back (TS 102 225, TS 102 226).

The dialogue asks its driver for three things: `Commit` a counter durably, `Transmit` a packet and give its answer,
`Await` a further answer. A counter is never taken back, and a packet of unknown fate is never followed by another
one with the same commands, unless the caller asks.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import Final, final

import msgspec

from keywright.errors import (
    AuthenticationError,
    DecodeError,
    KeywrightError,
    LinkError,
    PolicyError,
    SequenceError,
    WireError,
)
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import (
    LAST_COUNTER,
    SMS_PP,
    Binding,
    CounterMode,
    PorMode,
    ResponseBody,
    SecuredResponse,
    Spi,
    Status,
    status_name,
)
from keywright.scp.scp80.packet import (
    Header,
    Suite,
    command_suite,
    open_response,
    read_response,
    response_suite,
    seal_command,
)
from keywright.scp.scp80.profile import STRICT, Profile

JUMP: Final = 1 << 16
"""How far a counter is moved on when the card says that it is low."""


class OtaStatusError(KeywrightError):
    """The card refused a packet with a response status; nothing of it was executed."""

    code = "ota-status"
    exit_code = 6

    def __init__(self, status: int, *, authentic: bool, hint: str = "") -> None:
        source = "" if authentic else "; nothing proves that the card said so"
        super().__init__(f"the card refused the packet: status {status:02X} ({status_name(status)}){source}", hint=hint)
        self.status = status
        self.authentic = authentic


class Channel(enum.Enum):
    """Where an answer comes."""

    REPORT = "delivery report"
    SUBMIT = "SMS-SUBMIT"
    USSD = "USSD"


class Commit(msgspec.Struct, frozen=True):
    """Store this as the last counter used, durably, before the next request; answered with None."""

    counter: int


class Transmit(msgspec.Struct, frozen=True):
    """Send this packet; answered with the response packet, None if none came in time, or a LinkError."""

    packet: bytes
    answer: Channel | None


class Await(msgspec.Struct, frozen=True):
    """Wait for a further response packet to what was sent last; answered as `Transmit` is."""

    answer: Channel


Request = Commit | Transmit | Await


class Receipt(msgspec.Struct, frozen=True):
    """A proof of receipt: status, data, and whether its protection was checked and found right."""

    status: int
    data: bytes
    authentic: bool


@final
class SendingEntity:
    """Protects commands to one application and reads its answers. Raises PolicyError for parameters that cannot be."""

    def __init__(
        self,
        keys: KeySet,
        tar: bytes,
        *,
        spi: Spi | None = None,
        kic: int = 0x12,
        kid: int = 0x12,
        binding: Binding = SMS_PP,
        profile: Profile = STRICT,
    ) -> None:
        if len(tar) != 3:
            raise ValueError(f"a TAR has 3 bytes, not {len(tar)}")
        self.header = Header(Spi.of() if spi is None else spi, kic, kid, tar)
        self.binding = binding
        self._suite = command_suite(self.header, keys, profile)
        self._response_suite = response_suite(self.header, keys, profile)

    def seal(self, data: bytes, cntr: int) -> bytes:
        """A command packet with this counter. Raises ValueError when it is too long."""
        return seal_command(msgspec.structs.replace(self.header, cntr=cntr), data, self._suite, self.binding)

    def packet_size(self, data: int) -> int:
        """Bytes of a packet with `data` bytes of secured data."""
        return len(self.seal(bytes(data), 0))

    def open(self, packet: bytes, cntr: int) -> Receipt:
        """The answer to the command with this counter.

        An error may come without the protection that was asked for; status 00 may not. Raises WireError for bytes
        that are no answer to it, AuthenticationError when protection is wrong or missing.
        """
        try:
            body = read_response(packet, self.binding)
        except DecodeError as error:
            raise WireError("the answer is no response packet") from error
        if body.tar != self.header.tar:
            raise WireError(f"the answer is from application {body.tar.hex().upper()}")
        inner, authentic = self._opened(body)
        if inner.cntr != cntr and (inner.cntr or inner.status == Status.OK):
            raise WireError("the answer is to a command with another counter")
        return Receipt(inner.status, inner.rest, authentic)

    def _opened(self, body: ResponseBody) -> tuple[SecuredResponse, bool]:
        try:
            inner = open_response(body, self._response_suite, self.binding)
        except AuthenticationError:
            inner = self._in_clear(body)
            return inner, False
        return inner, self._response_suite.check is not None and self._response_suite.check.key is not None

    def _in_clear(self, body: ResponseBody) -> SecuredResponse:
        """An error without protection. Raises AuthenticationError for everything else."""
        try:
            inner = open_response(body, Suite(), self.binding)
        except AuthenticationError:
            inner = None
        if inner is None or inner.status == Status.OK or inner.rest:
            raise AuthenticationError("the answer has not the protection that was asked for, or it is wrong") from None
        return inner


def send_packet(
    sender: SendingEntity, data: bytes, counter: int, *, repeats: int = 0, jump: int = JUMP
) -> Generator[Request, bytes | None, tuple[Receipt | None, int]]:
    """One packet and its answer; the receipt (None when none was asked for) and the last counter used.

    `counter` is the last one used. With `repeats`, the same bytes go out again when no answer came: the card cannot
    execute them twice, so this needs counter mode 10 or 11. In mode 10 a counter that is low is moved on by `jump`,
    once, if the answer is authentic (`jump` 0: never). A forged one does not. Raises OtaStatusError; LinkError, whose
    `delivered` is True when a repeat tells that the first one had arrived.
    """
    mode = sender.header.spi.counter
    if repeats and mode < CounterMode.HIGHER:
        raise PolicyError("a repeated packet could be executed twice", hint="use counter mode 10 or 11")
    counter = _next(counter, 1, mode)
    yield Commit(counter)
    receipt, tries = yield from _exchange(sender, data, counter, repeats)
    if jump and mode == CounterMode.HIGHER and tries == 1 and _surely_low(receipt):
        counter = _next(counter, jump, mode)
        yield Commit(counter)
        receipt, tries = yield from _exchange(sender, data, counter, repeats)
    if receipt is None or receipt.status == Status.OK:
        return receipt, counter
    if tries > 1 and _surely_low(receipt):
        raise LinkError(
            "the packet had arrived, its answer is lost", delivered=True, hint="look what it did before sending more"
        )
    raise OtaStatusError(receipt.status, authentic=receipt.authentic, hint=_HINTS.get(receipt.status, ""))


def _surely_low(receipt: Receipt | None) -> bool:
    """Whether the card itself says so: a forged "low" would make us send the same commands twice."""
    return receipt is not None and receipt.status == Status.COUNTER_LOW and receipt.authentic


_HINTS: Final[dict[int, str]] = {
    Status.CHECK_FAILED: "another key, or another MAC length",
    Status.COUNTER_LOW: "the card has seen a higher counter: continue above it",
    Status.COUNTER_HIGH: "the card wants exactly the next counter",
    Status.COUNTER_BLOCKED: "the counter is used up: this key set is lost until it is replaced another way",
    Status.CIPHERING_ERROR: "another ciphering key",
    Status.SECURITY_ERROR: "SPI, KIc and KID do not fit this card's keys",
    Status.TAR_UNKNOWN: "no application has this TAR",
    Status.INSUFFICIENT_LEVEL: "the application wants more protection than this SPI has",
}


def _next(counter: int, step: int, mode: CounterMode) -> int:
    if mode == CounterMode.NONE:
        return 0
    following = counter + step
    if not 0 < following < LAST_COUNTER:
        raise SequenceError("the counter is used up", hint="replace the key set before its counter ends")
    return following


def _exchange(
    sender: SendingEntity, data: bytes, counter: int, repeats: int
) -> Generator[Request, bytes | None, tuple[Receipt | None, int]]:
    """Send, perhaps again, until an answer comes; the receipt and how often it was sent."""
    packet, spi = sender.seal(data, counter), sender.header.spi
    wanted = None if spi.por == PorMode.NEVER else Channel.SUBMIT if spi.by_submit else Channel.REPORT
    for tries in range(1, repeats + 2):
        try:
            answer = yield Transmit(packet, wanted)
            if wanted is None:
                return None, tries
            receipt = yield from _received(sender, answer, counter, wanted)
        except LinkError as error:
            if error.delivered is False and tries == 1:
                raise
            receipt = None
        if receipt is not None:
            return receipt, tries
    if spi.por == PorMode.ON_ERROR:
        return None, repeats + 1
    raise LinkError("no answer to the packet", delivered=None, hint="look what it did before sending it again")


def _received(
    sender: SendingEntity, answer: bytes | None, counter: int, channel: Channel
) -> Generator[Request, bytes | None, Receipt | None]:
    """The last of the answers to one packet: a card may ask for time, or answer somewhere else."""
    for _ in range(_MOST_ANSWERS):
        if answer is None:
            return None
        receipt = sender.open(answer, counter)
        if receipt.status not in _LATER:
            return receipt
        channel = _LATER[receipt.status] or channel
        answer = yield Await(channel)
    raise WireError("the card asks for more time without end")


_MOST_ANSWERS: Final = 16
_LATER: Final[dict[int, Channel | None]] = {
    Status.MORE_TIME: None,
    Status.BY_SMS_SUBMIT: Channel.SUBMIT,
    Status.BY_USSD: Channel.USSD,
}
"""Where the real answer comes; None: where this one came."""
