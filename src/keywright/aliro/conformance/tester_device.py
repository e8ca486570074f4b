"""The tester's user device: honest in its steps, and as dishonest as a scenario wants in any of them.

It shares no code of state with `aliro.user_device`: the two were written to the same text and are held against the
same vectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final, final

import msgspec

from keywright.aliro import certificates
from keywright.aliro.conformance.outcome import Exchanged
from keywright.aliro.envelope import unwrap, wrap
from keywright.aliro.exchange import Exchange, ExchangeAnswer
from keywright.aliro.keys import (
    CURVE,
    Direction,
    Mode,
    Transaction,
    key_agreement,
    step_up_keys,
    volatile_keys,
    x_of,
)
from keywright.aliro.messages import (
    STEP_UP_AID,
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    ControlFlow,
    Ins,
    Proprietary,
    Signaling,
    Signed,
    Usage,
    selected,
)
from keywright.aliro.profile import V1_0, Interface
from keywright.codec.ber import item
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, KeywrightError
from keywright.iso7816.apdu import Command, Response

Bytes = Callable[[bytes], bytes]


def _same(data: bytes) -> bytes:
    return data


class Behaviour(msgspec.Struct, frozen=True):
    """What a device does otherwise than it must; nothing by default."""

    proprietary: bytes = Proprietary(0, V1_0.to_bytes(2)).build()
    select: Bytes = _same
    auth0: Callable[[Auth0Answer], bytes] = Auth0Answer.build
    cryptogram: bool | None = None
    """Send a cryptogram, or none, whatever was asked for."""
    auth1: Callable[[Auth1Answer], bytes] = Auth1Answer.build
    """The content before it is sealed."""
    sealed: Bytes = _same
    """The answer to AUTH1 after it was sealed."""
    exchange: Bytes = _same
    envelope: Callable[[bytes], bytes] = _same
    """What DO'53' holds in the step-up phase."""
    response: Bytes = _same
    """The DeviceResponse before it is sealed."""
    statuses: dict[int, int] = {}
    """Status word in place of 9000, by instruction."""
    signs_with: str = "credential"
    usage: bytes = Usage.DEVICE
    signaling: int = Signaling.ACCESS_DOCUMENT | Signaling.SELECT_STEP_UP


class Seen(msgspec.Struct):
    """What a reader did with the device."""

    exchanged: list[Exchanged] = []
    reader_status: int | None = None
    """Of tag 97, as it was opened."""
    control_flow: ControlFlow | None = None
    signature_was_good: bool | None = None
    """Of the reader in AUTH1."""
    asked: list[bytes] = []
    """DeviceRequests."""
    asked_fast: bool | None = None
    """Whether AUTH0 wanted a cryptogram."""
    asked_key: bool | None = None
    """Whether AUTH1 wanted the public key, not the key slot."""


@final
class TesterDevice:
    """One device for one scenario: `__call__` answers commands, `seen` says what the reader did."""

    def __init__(
        self,
        behaviour: Behaviour,
        key: Callable[[str], EcPrivateKey],
        group_key: EcPublicKey,
        random: Callable[[int], bytes],
        answer: Callable[[bytes], bytes],
        interface: Interface = Interface.NFC,
    ) -> None:
        """key: private keys by name. group_key: of the reader, or its issuer. answer: what a DeviceRequest gets."""
        self.seen = Seen()
        self._how = behaviour
        self._key = key
        self._group_key = group_key
        self._ephemeral = EcPrivateKey.draw(CURVE, random)
        self._random = random
        self._answer = answer
        self._interface = interface
        self._certificate: bytes | None = None
        self._transaction: Transaction | None = None
        self._from_reader: Direction | None = None
        self._to_reader: Direction | None = None
        self._step_up: tuple[Direction, Direction] | None = None

    def __call__(self, command: Command) -> Response:
        """The answer to one command, whole."""
        response = self._take(command)
        if command.ins in self._how.statuses:
            response = Response(b"", self._how.statuses[command.ins])
        self.seen.exchanged.append(Exchanged(command, response))
        return response

    def _take(self, command: Command) -> Response:
        act = _ACTS.get(command.ins)
        if act is None:
            return Response(b"", 0x6D00)
        try:
            return Response(act(self, command.data))
        except KeywrightError:
            return Response(b"", 0x6A80)

    def select(self, aid: bytes) -> bytes:
        """SELECT."""
        if aid == STEP_UP_AID:
            return selected(aid)
        return self._how.select(selected(aid, self._how.proprietary))

    def auth0(self, data: bytes) -> bytes:
        """AUTH0."""
        command = Auth0.parse(data)
        self.seen.asked_fast = asked = bool(command.parameters & Auth0.FAST)
        shown = asked if self._how.cryptogram is None else self._how.cryptogram
        answer = Auth0Answer(self._ephemeral.public.point, self._random(64) if shown else None)
        proprietary = item(Proprietary.TAG, self._how.proprietary)
        self._transaction = Transaction(x_of(self._group_key.point), self._interface, proprietary, command, answer)
        return self._how.auth0(answer)

    def load_cert(self, data: bytes) -> bytes:
        """LOAD CERT."""
        self._certificate = data
        return b""

    def auth1(self, data: bytes) -> bytes:
        """AUTH1."""
        request = Auth1.parse(data)
        transaction = self._there()
        self._look_at_signature(request)
        reader = EcPublicKey.from_point(CURVE, transaction.command.ephemeral)
        kdh = key_agreement(self._ephemeral.agree(reader), transaction.command.transaction_identifier)
        keys = volatile_keys(kdh, transaction)
        self._from_reader, self._to_reader = (
            Direction(keys.reader, Mode.TO_DEVICE),
            Direction(keys.device, Mode.TO_READER),
        )
        to_device, to_reader = step_up_keys(keys.step_up)
        self._step_up = Direction(to_device, Mode.TO_DEVICE), Direction(to_reader, Mode.TO_READER)
        point = self._key("credential").public.point
        self.seen.asked_key = wants_key = bool(request.parameters & Auth1.PUBLIC_KEY)
        answer = Auth1Answer(
            key_slot=None if wants_key else certificates.key_slot(point),
            public_key=point if wants_key else None,
            signature=self._key(self._how.signs_with).sign(self._signed(self._how.usage)),
            signaling=self._how.signaling.to_bytes(2),
        )
        return self._how.sealed(self._to_reader.seal(self._how.auth1(answer)))

    def exchange(self, data: bytes) -> bytes:
        """EXCHANGE, in whichever channel is open."""
        if self._from_reader is None or self._to_reader is None:
            return b""
        request = Exchange.parse(self._from_reader.open(data))
        if request.status is not None:
            self.seen.reader_status = request.status
        return self._how.exchange(self._to_reader.seal(ExchangeAnswer().build()))

    def envelope(self, data: bytes) -> bytes:
        """ENVELOPE."""
        if self._step_up is not None:
            self._from_reader, self._to_reader = self._step_up
            self._step_up = None
        if self._from_reader is None or self._to_reader is None:
            return b""
        request = self._from_reader.open(unwrap(data))
        self.seen.asked.append(request)
        return self._how.envelope(wrap(self._to_reader.seal(self._how.response(self._answer(request)))))

    def control_flow(self, data: bytes) -> bytes:
        """CONTROL FLOW."""
        self.seen.control_flow = ControlFlow.parse(data)
        return b""

    def _look_at_signature(self, request: Auth1) -> None:
        key, certificate = self._group_key, request.certificate or self._certificate
        found = key if certificate is None else certificates.reader_key(certificate, key)
        self.seen.signature_was_good = False
        if found is not None:
            with contextlib.suppress(AuthenticationError):
                found.verify(request.signature, self._signed(Usage.READER))
                self.seen.signature_was_good = True

    def _signed(self, usage: bytes) -> bytes:
        transaction = self._there()
        return Signed(
            transaction.command.reader_identifier,
            x_of(transaction.answer.ephemeral),
            x_of(transaction.command.ephemeral),
            transaction.command.transaction_identifier,
            usage,
        ).build()

    def _there(self) -> Transaction:
        if self._transaction is None:
            raise KeywrightError("AUTH0 first")
        return self._transaction


_ACTS: Final[dict[int, Callable[[TesterDevice, bytes], bytes]]] = {
    Ins.SELECT: TesterDevice.select,
    Ins.AUTH0: TesterDevice.auth0,
    Ins.LOAD_CERT: TesterDevice.load_cert,
    Ins.AUTH1: TesterDevice.auth1,
    Ins.EXCHANGE: TesterDevice.exchange,
    Ins.ENVELOPE: TesterDevice.envelope,
    Ins.CONTROL_FLOW: TesterDevice.control_flow,
}
