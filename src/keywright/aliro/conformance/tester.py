"""The tester's reader: honest in its steps, and as dishonest as a scenario wants in any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, TypeVar, final

import msgspec

from keywright.aliro.conformance.outcome import Nonconformity, NotConfigured
from keywright.aliro.exchange import Exchange, ExchangeAnswer, MailboxRequest
from keywright.aliro.keys import (
    CURVE,
    Direction,
    Kpersistent,
    Mode,
    Transaction,
    fast_keys,
    key_agreement,
    open_cryptogram,
    persistent_key,
    step_up_keys,
    volatile_keys,
    x_of,
)
from keywright.aliro.messages import (
    CLASSES,
    EXPEDITED_AID,
    NAMES,
    STEP_UP_AID,
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    FastStatus,
    Ins,
    Policy,
    Proprietary,
    Signed,
    Usage,
    parse_selected,
)
from keywright.aliro.reader import Dialogue, Fresh, Reader
from keywright.codec.ber import item, items
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import AuthenticationError, DecodeError
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW

Parsed = TypeVar("Parsed")

ANY_ERROR: Final = range(0x6400, 0x7000)


class Bench(msgspec.Struct, frozen=True):
    """What the tester knows of the device under test."""

    reader: Reader
    """A reader that the device knows by its own key."""
    certified: Reader | None = None
    """A reader of another group, of which the device knows the issuer."""
    credential: EcPublicKey | None = None
    """The device's key for the group, if it is known before."""
    element: str = "door"
    """An element that the device's Access Document has."""
    mailbox_bytes: int = 0
    """Size of its mailbox; 0: none."""
    strict: bool = True
    """A wrong status word is a failure too; False: any error will do, and is noted."""
    seed: str = "keywright"

    def random(self, name: str) -> Callable[[int], bytes]:
        """Randomness of a scenario, the same at every run."""
        count = 0

        def draw(size: int) -> bytes:
            nonlocal count
            count += 1
            return hashlib.shake_256(f"{self.seed}/{name}/{count}".encode()).digest(size)

        return draw


@final
class Tester:
    """One transaction of the tester with the device under test."""

    def __init__(self, bench: Bench, name: str, reader: Reader | None = None) -> None:
        self.bench = bench
        self.reader = reader or bench.reader
        self.fresh = Fresh.draw(bench.random(name))
        self.other_status: tuple[int, int] | None = None
        """A status word that was another error than the expected one."""
        self.proprietary = b""
        self.transaction: Transaction | None = None
        self.to_device: Direction | None = None
        self.to_reader: Direction | None = None
        self.answer: Auth1Answer | None = None
        self.kept: Kpersistent | None = None
        self._step_up: Any = None
        self._sealed = b""
        """The last message of EXCHANGE as it was sealed, sent or not."""

    # ---- honest steps ---------------------------------------------------------------------------------------

    def select(self, aid: bytes = EXPEDITED_AID) -> Dialogue[bytes]:
        """SELECT, accepted."""
        data = self.good((yield Command(0x00, Ins.SELECT, 0x04, 0x00, aid, 0)), "SELECT")
        if aid == EXPEDITED_AID:
            found, self.proprietary = self.parse("SELECT", lambda: parse_selected(data))
            if found.proprietary is None:
                raise Nonconformity("SELECT", "proprietary information A5", "none")
            versions = self.parse("SELECT", Proprietary.parse(found.proprietary).version_numbers)
            if list(versions) != sorted(versions, reverse=True):
                raise Nonconformity("SELECT", "versions, the highest first", " ".join(map(str, versions)))
        return data

    def auth0_fields(self, **changed: Any) -> Auth0:
        """A right AUTH0, but for what is changed."""
        fields: dict[str, Any] = {
            "parameters": 0,
            "policy": Policy.USER_DEVICE_SETTING,
            "version": self.reader.versions[0],
            "ephemeral": self.fresh.ephemeral.public.point,
            "transaction_identifier": self.fresh.transaction_identifier,
            "reader_identifier": self.reader.identifier,
            **changed,
        }
        return Auth0(**fields)

    def auth0(self, **changed: Any) -> Dialogue[Auth0Answer]:
        """AUTH0, accepted; the answer is as it must be."""
        command = self.auth0_fields(**changed)
        data = self.good((yield command_of(Ins.AUTH0, command.build())), "AUTH0")
        answer = self.parse("AUTH0", lambda: Auth0Answer.parse(data))
        self.parse("AUTH0", lambda: EcPublicKey.from_point(CURVE, answer.ephemeral))
        if (answer.cryptogram is not None) != bool(command.parameters & Auth0.FAST):
            raise Nonconformity("AUTH0", "a cryptogram exactly if asked for", str([tag for tag, _ in items(data)]))
        self.transaction = Transaction(
            self.reader.group_key_x(), self.reader.interface, self.proprietary, command, answer, self.reader.profile
        )
        return answer

    def auth1_fields(self, *, key: EcPrivateKey | None = None, usage: bytes = Usage.READER, **changed: Any) -> Auth1:
        """A right AUTH1, but for what is changed; key: who signs instead."""
        signer = key or self.reader.key
        fields: dict[str, Any] = {
            "parameters": Auth1.PUBLIC_KEY,
            "certificate": None,
            "signature": signer.sign(self.signed(usage)),
            **changed,
        }
        return Auth1(**fields)

    def auth1(self, **changed: Any) -> Dialogue[Auth1Answer]:
        """AUTH1, accepted; the device's signature is verified and the channel is open."""
        request = self.auth1_fields(**changed)
        data = self.good((yield command_of(Ins.AUTH1, request.build())), "AUTH1")
        return self.take_auth1(request, data)

    def take_auth1(self, request: Auth1, data: bytes) -> Auth1Answer:
        """What the answer to AUTH1 must be."""
        transaction = self._transaction()
        device = EcPublicKey.from_point(CURVE, transaction.answer.ephemeral)
        kdh = key_agreement(self.fresh.ephemeral.agree(device), self.fresh.transaction_identifier)
        keys = volatile_keys(kdh, transaction)
        self._open(keys.reader, keys.device)
        self._step_up = keys.step_up
        answer = self.parse("AUTH1", lambda: Auth1Answer.parse(self.opened(data, "AUTH1")))
        if answer.signature is None:
            raise Nonconformity("AUTH1", "a signature (9E)", "none")
        public = self._public_key(request, answer)
        if public is not None:
            self._verify(public, answer.signature)
            self.kept = persistent_key(kdh, transaction, public)
        self.answer = answer
        return answer

    def open_channel(self, *, fast: bool = False) -> Dialogue[Auth1Answer]:
        """SELECT, AUTH0, AUTH1."""
        yield from self.select()
        yield from self.auth0(parameters=Auth0.FAST if fast else 0)
        return (yield from self.auth1())

    def open_fast(self, kept: Kpersistent, credential: EcPublicKey) -> FastStatus | None:
        """Take up the channel of the fast phase; None when the cryptogram is of another key."""
        transaction = self._transaction()
        keys = fast_keys(kept, transaction, x_of(credential.point))
        try:
            status = open_cryptogram(keys.cryptogram, transaction.answer.cryptogram or b"")
        except AuthenticationError:
            return None
        self._open(keys.reader, keys.device)
        return status

    def exchange(self, request: Exchange) -> Dialogue[ExchangeAnswer]:
        """EXCHANGE, accepted."""
        return (yield from self.exchange_plain(request.build()))

    def exchange_plain(self, plain: bytes) -> Dialogue[ExchangeAnswer]:
        """EXCHANGE with any content, accepted."""
        data = self.good((yield self.sealed(plain)), "EXCHANGE")
        return self.parse("EXCHANGE", lambda: ExchangeAnswer.parse(self.opened(data, "EXCHANGE")))

    def mailbox(self, *operations: Any, continues: bool = False) -> Dialogue[ExchangeAnswer]:
        """A request to the mailbox."""
        return (yield from self.exchange(Exchange(mailbox=MailboxRequest(operations, continues).build())))

    def begin_step_up(self, *, selects: bool = True) -> Dialogue[None]:
        """Go over to the step-up channel."""
        if selects:
            yield from self.select(STEP_UP_AID)
        reader, device = step_up_keys(self._step_up)
        self.to_device, self.to_reader = Direction(reader, Mode.TO_DEVICE), Direction(device, Mode.TO_READER)

    # ---- pieces ---------------------------------------------------------------------------------------------

    def signed(self, usage: bytes) -> bytes:
        """What is signed in this transaction."""
        transaction = self._transaction()
        return Signed(
            transaction.command.reader_identifier,
            x_of(transaction.answer.ephemeral),
            x_of(transaction.command.ephemeral),
            transaction.command.transaction_identifier,
            usage,
        ).build()

    def sealed(self, plain: bytes) -> Command:
        """EXCHANGE with this content, sealed as the next message."""
        if self.to_device is None:
            raise NotConfigured("no channel")
        self._sealed = self.to_device.seal(plain)
        return command_of(Ins.EXCHANGE, self._sealed)

    def opened(self, data: bytes, where: str) -> bytes:
        """The next message of the device."""
        if self.to_reader is None:
            raise NotConfigured("no channel")
        try:
            return self.to_reader.open(data)
        except AuthenticationError as error:
            raise Nonconformity(where, "a message sealed with the device's key", "one that does not open") from error

    # ---- what must be ---------------------------------------------------------------------------------------

    def good(self, response: Response, where: str) -> bytes:
        """9000."""
        if response.sw != SW.OK:
            raise _other(where, (SW.OK,), response.sw)
        return response.data

    def refused(self, response: Response, where: str, *statuses: int) -> None:
        """One of these status words, and no data."""
        if response.data:
            whole = response.data + response.sw.to_bytes(2)
            raise Nonconformity.of_bytes(where, [sw.to_bytes(2) for sw in statuses], whole)
        if response.sw in statuses:
            return
        if self.bench.strict or response.sw not in ANY_ERROR:
            raise _other(where, statuses, response.sw)
        self.other_status = (statuses[0], response.sw)

    def erased(self) -> Dialogue[None]:
        """Nothing of the transaction is left: what would be right by now is not taken any more.

        Only a right message can tell: a wrong one is refused by a device that has kept everything too.
        """
        if self.to_device is not None:
            for data in (self._sealed, self.sealed(Exchange(ursk_ready=True).build()).data):
                if data:
                    yield from self._not_taken(Ins.EXCHANGE, data)
        if self.transaction is not None:
            yield from self._not_taken(Ins.AUTH1, self.auth1_fields().build())
        else:
            yield from self._not_taken(Ins.EXCHANGE, bytes(32))

    def _not_taken(self, ins: int, data: bytes) -> Dialogue[None]:
        response = yield command_of(ins, data)
        if response.sw == SW.OK:
            raise Nonconformity(f"{NAMES[ins]} after the error", "an error: the session is erased", "9000")

    def parse(self, where: str, read: Callable[[], Parsed]) -> Parsed:
        """Read an answer, or say that it cannot be read."""
        try:
            return read()
        except DecodeError as error:
            raise Nonconformity(where, "an answer in its form", str(error), error.offset) from error

    def _public_key(self, request: Auth1, answer: Auth1Answer) -> EcPublicKey | None:
        if request.parameters & Auth1.PUBLIC_KEY:
            if answer.public_key is None or answer.key_slot is not None:
                raise Nonconformity("AUTH1", "the public key (5A), no key slot", "another answer")
            point = answer.public_key
            public = self.parse("AUTH1", lambda: EcPublicKey.from_point(CURVE, point))
            if self.bench.credential not in (None, public) and self.reader is self.bench.reader:
                raise Nonconformity("AUTH1", "the credential's public key", "another one")
            return public
        if answer.key_slot is None or answer.public_key is not None:
            raise Nonconformity("AUTH1", "the key slot (4E), no public key", "another answer")
        return self.bench.credential

    def _verify(self, public: EcPublicKey, signature: bytes) -> None:
        try:
            public.verify(signature, self.signed(Usage.DEVICE))
        except AuthenticationError as error:
            raise Nonconformity("AUTH1", "a signature of the credential's key", "one that does not verify") from error

    def _transaction(self) -> Transaction:
        if self.transaction is None:
            raise NotConfigured("AUTH0 first")
        return self.transaction

    def _open(self, reader: Any, device: Any) -> None:
        empty = self.reader.profile.seals_empty
        self.to_device = Direction(reader, Mode.TO_DEVICE, seals_empty=empty)
        self.to_reader = Direction(device, Mode.TO_READER, seals_empty=empty)


def _other(where: str, expected: tuple[int, ...], got: int) -> Nonconformity:
    return Nonconformity.of_bytes(where, [sw.to_bytes(2) for sw in expected], got.to_bytes(2))


def command_of(ins: int, data: bytes, *, le: int | None = 0) -> Command:
    """A command with the class that it has; CONTROL FLOW has no Le."""
    return Command(CLASSES[ins], ins, 0, 0, data, None if ins == Ins.CONTROL_FLOW else le)


def tlvs(parts: list[tuple[int, bytes]]) -> bytes:
    """TLVs one after the other."""
    return b"".join(item(tag, value) for tag, value in parts)
