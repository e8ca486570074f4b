"""EXCHANGE: the end of a transaction, and the mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keywright.aliro.conformance.cases import ERASED, NOT_ALLOWED, Play, scenario
from keywright.aliro.conformance.outcome import Nonconformity, NotConfigured, Scenario
from keywright.aliro.conformance.tester import Bench, Tester, command_of
from keywright.aliro.exchange import Exchange, ExchangeAnswer, MailboxStatus, Read, Set, Write
from keywright.aliro.messages import (
    READER_STATUSES,
    Ins,
)
from keywright.aliro.reader import Dialogue
from keywright.codec.ber import item


def _ends_with(status: int) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.open_channel()
        yield from t.exchange(Exchange(status=status))
        t.refused((yield command_of(Ins.EXCHANGE, bytes(32))), "EXCHANGE after the end", ERASED)

    return play


def _mailbox_case(work: Callable[[Tester], Dialogue[None]]) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        if not t.bench.mailbox_bytes:
            raise NotConfigured("the device has no mailbox")
        yield from t.open_channel()
        yield from work(t)

    return play


def _expect(got: ExchangeAnswer, *reads: bytes) -> None:
    """These are the answers to the reads."""
    if got.status != MailboxStatus.OK:
        _expect_status(got, MailboxStatus.OK)
    if got.reads != reads:
        raise Nonconformity.of_bytes("EXCHANGE, what was read", [b"".join(reads)], b"".join(got.reads))


def _expect_status(got: ExchangeAnswer, status: int) -> None:
    if got.status != status:
        raise Nonconformity.of_bytes("EXCHANGE, status", [status.to_bytes(2)], got.status.to_bytes(2))


def _write_read(t: Tester) -> Dialogue[None]:
    answer = yield from t.mailbox(Write(0, b"keywright"), Read(0, 9))
    _expect(answer, b"keywright")


def _set_read(t: Tester) -> Dialogue[None]:
    answer = yield from t.mailbox(Set(2, 3, 0x5A), Read(2, 3))
    _expect(answer, b"ZZZ")


def _two_reads(t: Tester) -> Dialogue[None]:
    answer = yield from t.mailbox(Write(0, b"ab"), Read(0, 1), Read(1, 1))
    _expect(answer, b"a", b"b")


def _atomic(t: Tester) -> Dialogue[None]:
    yield from t.mailbox(Write(0, b"one"), continues=True)
    answer = yield from t.mailbox(Write(3, b"two"), Read(0, 6))
    _expect(answer, b"onetwo")


def _rolled_back(t: Tester) -> Dialogue[None]:
    yield from t.mailbox(Set(0, 4, 0x11))
    yield from t.mailbox(Write(0, b"gone"), continues=True)
    yield from t.select()
    yield from t.auth0()
    yield from t.auth1()
    answer = yield from t.mailbox(Read(0, 4))
    _expect(answer, b"\x11" * 4)


def _only_exchange(t: Tester) -> Dialogue[None]:
    yield from t.mailbox(Write(0, b"x"), continues=True)
    t.refused((yield command_of(Ins.AUTH0, t.auth0_fields().build())), "AUTH0 in an atomic session", NOT_ALLOWED)


def _out_of_range(t: Tester) -> Dialogue[None]:
    answer = yield from t.mailbox(Read(t.bench.mailbox_bytes, 1))
    _expect_status(answer, MailboxStatus.OUT_OF_RANGE)


def _write_out_of_range(t: Tester) -> Dialogue[None]:
    last = t.bench.mailbox_bytes - 1
    yield from t.mailbox(Set(last, 1, 0x22))
    answer = yield from t.mailbox(Write(last, b"xy"))
    _expect_status(answer, MailboxStatus.OUT_OF_RANGE)
    _expect((yield from t.mailbox(Read(last, 1))), b"\x22")


def _malformed(t: Tester) -> Dialogue[None]:
    answer = yield from t.exchange_plain(item(0xBA, bytes.fromhex("8C0100870100")))
    _expect_status(answer, MailboxStatus.MALFORMED)


def _unknown_operation(t: Tester) -> Dialogue[None]:
    answer = yield from t.exchange_plain(item(0xBA, bytes.fromhex("8C01008400")))
    _expect_status(answer, MailboxStatus.MALFORMED)


def _no_atomic_tag(t: Tester) -> Dialogue[None]:
    answer = yield from t.exchange_plain(item(0xBA, bytes.fromhex("870400000001")))
    _expect_status(answer, MailboxStatus.MALFORMED)


def _in_fast_phase(t: Tester) -> Dialogue[None]:
    answer = yield from t.exchange(Exchange(ursk_ready=True))
    _expect_status(answer, MailboxStatus.OK)


def exchange() -> Iterator[Scenario[Bench]]:
    """Every reader status, and what a mailbox must do."""
    for status, what in READER_STATUSES.items():
        yield scenario("exchange", f"status {status:04X}", f"reader status: {what}", _ends_with(status))

    for name, text, work in (
        ("mailbox write and read", "what is written is read", _write_read),
        ("mailbox set", "a range is filled", _set_read),
        ("mailbox two reads", "answers come in the order of the reads", _two_reads),
        ("mailbox atomic", "an atomic session sees what it wrote", _atomic),
        ("mailbox rollback", "an atomic session that does not end leaves nothing", _rolled_back),
        ("mailbox atomic alone", "only EXCHANGE is taken in an atomic session", _only_exchange),
        ("mailbox read out of range", "status 0001", _out_of_range),
        ("mailbox write out of range", "status 0001, nothing written", _write_out_of_range),
        ("mailbox malformed", "status 0002", _malformed),
        ("mailbox unknown operation", "status 0002", _unknown_operation),
        ("mailbox without 8C", "status 0002", _no_atomic_tag),
        ("ursk ready", "98 is taken", _in_fast_phase),
    ):
        yield scenario("exchange", name, text, _mailbox_case(work))
