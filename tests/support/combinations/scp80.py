"""SCP80: every SPI with the keys that fit it, on every transport; two packets each (TS 102 225 5.1)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from keywright.errors import KeywrightError, PolicyError
from keywright.sansio.dialogue import drive
from keywright.scp.scp80.card import ReceivingEntity
from keywright.scp.scp80.host import Request, SendingEntity, Transmit, send_packet
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import BINDINGS, Binding, Check, CounterMode, PorMode, Spi, Status
from support.combinations.outcome import Attack, Outcome
from support.over_the_air import OLD, Recorder, Rooms, flipped, receiving

TAR = bytes.fromhex("B00001")
KVN = 3
"""No other number that one flipped bit makes of it is there."""
DATA = (b"command", b"")
NOT_COVERED = (
    "packets without redundancy check or cryptographic checksum, in either direction: nothing covers them",
    "with counter modes 00 and 01 a packet is accepted again: that is what they mean",
    "with counter mode 10 a later packet is accepted before an earlier one, which is then refused",
)


class Suite(NamedTuple):
    """Keys and the low nibbles of KIc and KID that name their algorithms. `mac_length`: of an AES checksum."""

    name: str
    kic: int
    kid: int
    size: int
    mac_length: int = 8

    @property
    def keys(self) -> KeySet:
        """The key set."""
        raw = bytes(range(self.size)), bytes(range(64, 64 + self.size))
        return KeySet.aes(*raw, mac_length=self.mac_length) if self.is_aes else KeySet.des(*raw)

    @property
    def is_aes(self) -> bool:
        """Whether ciphering or checksum is by AES."""
        return self.kic == 2


TDES2 = Suite("2-key triple DES", 5, 5, 16)
WITH_CHECKSUM = (
    TDES2,
    Suite("3-key triple DES", 9, 9, 24),
    *(
        Suite(f"AES-{8 * size}, CMAC of {mac} bytes", 2, 2, size, mac)
        for size, mac in itertools.product((16, 24, 32), (8, 4))
    ),
)
WITH_REDUNDANCY = (Suite("CRC16", 5, 1, 16), Suite("CRC32", 5, 5, 16))
SINGLE = Suite("single DES", 1, 1, 8)


class Scp80(NamedTuple):
    """One way to protect packets and their answers."""

    suite: Suite
    spi: Spi
    binding: Binding

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return "SCP80"

    @property
    def channel(self) -> int:
        """There is none."""
        return 0

    @property
    def is_legal(self) -> bool:
        """Whether both ends take it."""
        return _is_legal(self.suite, self.spi)

    def sender(self) -> SendingEntity:
        """The host; one that would send what is illegal too."""
        kic, kid = KVN << 4 | self.suite.kic, KVN << 4 | self.suite.kid
        given = {} if self.is_legal else {"profile": OLD}
        return SendingEntity(self.suite.keys, TAR, spi=self.spi, kic=kic, kid=kid, binding=self.binding, **given)


class _Air:
    """Between host and card; flips one bit of the nth message."""

    def __init__(self, kind: Scp80, flip: tuple[int, int] | None = None) -> None:
        self.rooms = Rooms({KVN: kind.suite.keys})
        self.application = Recorder(b"answer")
        self.card: ReceivingEntity = receiving(self.rooms, self.application, TAR, binding=kind.binding)
        self.messages: list[bytes] = []
        self._flip = flip

    def __call__(self, request: Request) -> bytes | None:
        if not isinstance(request, Transmit):
            return None
        answer = self.card.handle(self._carried(request.packet))
        return self._carried(answer.packet) if answer.packet else None

    def _carried(self, packet: bytes) -> bytes:
        self.messages.append(packet)
        number, bit = self._flip or (-1, 0)
        return flipped(packet, bit) if number == len(self.messages) - 1 else packet

    def run(self, kind: Scp80) -> None:
        counter = 0
        for data in DATA:
            receipt, counter = drive(send_packet(kind.sender(), data, counter), self)
            asked = kind.spi.por == PorMode.ALWAYS
            assert (receipt.data if receipt else b"") == (b"answer" if asked else b"")
            if receipt is not None:
                assert receipt.authentic == (kind.spi.por_check == Check.CC)
        assert [data for data, _ in self.application.got] == list(DATA)


def run(kind: Scp80) -> Outcome:
    """Two packets through host and card; or, where the combination is illegal, how both refuse."""
    if not kind.is_legal:
        return _refused(kind)
    air = _Air(kind)
    air.run(kind)
    digest = _digest(air.messages)
    return Outcome(digest, digest, lambda: _attack(kind, air))


def _refused(kind: Scp80) -> Outcome:
    with pytest.raises(PolicyError) as error:
        SendingEntity(kind.suite.keys, TAR, spi=kind.spi, kic=KVN << 4 | kind.suite.kic, kid=KVN << 4 | kind.suite.kid)
    air = _Air(kind)
    packet = kind.sender().seal(DATA[0], 1)
    answer = air.card.handle(packet)
    assert answer.status == Status.SECURITY_ERROR
    assert not air.application.got
    digest = _digest([packet, answer.packet, str(error.value).encode()])
    return Outcome(digest, digest, Attack)


def _attack(kind: Scp80, air: _Air) -> Attack:
    """One bit, the last packet again, the second before the first."""
    return Attack(_tampered(kind, air.messages), repeated=_repeated(kind, air), reordered=_reordered(kind))


def _tampered(kind: Scp80, clean: Sequence[bytes]) -> str:
    spi = kind.spi
    answered = spi.por == PorMode.ALWAYS
    covered = [spi.check != Check.NONE, spi.por_check != Check.NONE] if answered else [spi.check != Check.NONE]
    numbers = [number for number in range(len(clean)) if covered[number % len(covered)]]
    if not numbers:
        return ""
    seed = int.from_bytes(_digest(clean))
    number = numbers[seed % len(numbers)]
    bit = seed // len(numbers) % (8 * len(clean[number]))
    tampered = _Air(kind, (number, bit))
    is_answer = answered and number % 2
    if is_answer or answered:
        with pytest.raises(KeywrightError):
            tampered.run(kind)
    else:
        sender = kind.sender()
        for at in range(number + 1):
            tampered(Transmit(sender.seal(DATA[at], 0 if spi.counter == CounterMode.NONE else at + 1), None))
    accepted = (number // 2 if answered else number) + bool(is_answer)
    assert len(tampered.application.got) == accepted
    assert len(tampered.rooms.commits) == (accepted if spi.counter >= CounterMode.HIGHER else 0)
    return "answer" if is_answer else "command"


def _repeated(kind: Scp80, air: _Air) -> bool:
    if kind.spi.counter < CounterMode.HIGHER:
        return False
    packets = air.messages[:: 2 if kind.spi.por == PorMode.ALWAYS else 1]
    for packet in packets:
        assert air.card.handle(packet).status == Status.COUNTER_LOW
    assert len(air.application.got) == len(DATA)
    return True


def _reordered(kind: Scp80) -> bool:
    mode = kind.spi.counter
    if mode < CounterMode.HIGHER:
        return False
    air, sender = _Air(kind), kind.sender()
    first, second = (sender.seal(data, at) for at, data in enumerate(DATA, 1))
    statuses = [air.card.handle(packet).status for packet in (second, first)]
    assert statuses == (
        [Status.COUNTER_HIGH, Status.OK] if mode == CounterMode.NEXT else [Status.OK, Status.COUNTER_LOW]
    )
    assert len(air.application.got) == 1
    return True


def _digest(messages: Sequence[bytes]) -> bytes:
    return hashlib.sha256(b"".join(len(message).to_bytes(4) + message for message in messages)).digest()


# ---- all of them ----------------------------------------------------------------------------------------------


def _is_legal(suite: Suite, spi: Spi) -> bool:
    uses_aes = suite.is_aes and (spi.ciphered or spi.check == Check.CC)
    return (
        spi.por_check in (Check.NONE, spi.check)
        and spi.por_ciphered <= spi.ciphered
        and not (uses_aes and spi.counter < CounterMode.HIGHER)
        and suite is not SINGLE
    )


def _spis(check: Check) -> Iterator[Spi]:
    """Where no answer is asked for, nothing is asked of it either."""
    for ciphered, counter in itertools.product((False, True), CounterMode):
        yield Spi.of(
            check, ciphered=ciphered, counter=counter, por=PorMode.NEVER, por_check=Check.NONE, por_ciphered=False
        )
        answers = itertools.product(
            (PorMode.ALWAYS, PorMode.ON_ERROR), (Check.NONE, Check.RC, Check.CC), (False, True), (False, True)
        )
        for por, por_check, por_ciphered, by_submit in answers:
            yield Spi.of(
                check,
                ciphered=ciphered,
                counter=counter,
                por=por,
                por_check=por_check,
                por_ciphered=por_ciphered,
                by_submit=by_submit,
            )


def _all() -> Iterator[tuple[Suite, Spi]]:
    for check, suites in ((Check.CC, WITH_CHECKSUM), (Check.RC, WITH_REDUNDANCY), (Check.NONE, (TDES2,))):
        for suite, spi in itertools.product(suites, _spis(check)):
            if _is_legal(suite, spi):
                yield suite, spi
    for spi in _spis(Check.CC):
        sample = spi.por == PorMode.ALWAYS and not spi.by_submit and spi.ciphered
        if sample and not _is_legal(TDES2, spi):
            yield TDES2, spi
        if sample and not _is_legal(WITH_CHECKSUM[2], spi) and _is_legal(TDES2, spi):
            yield WITH_CHECKSUM[2], spi
        if sample and _is_legal(TDES2, spi):
            yield SINGLE, spi


def combinations(*, everything: bool = False) -> Iterator[Scp80]:
    """Each on one transport, which take turns; or on every one."""
    bindings = tuple(BINDINGS.values())
    for number, (suite, spi) in enumerate(_all()):
        for binding in bindings if everything else (bindings[number % len(bindings)],):
            yield Scp80(suite, spi, binding)
