"""Signatures, certificates and messages that are not what they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from keywright.aliro import certificates
from keywright.aliro.conformance.cases import BAD, SECURITY, Play, scenario
from keywright.aliro.conformance.outcome import Scenario
from keywright.aliro.conformance.tester import Bench, Tester, command_of
from keywright.aliro.exchange import Exchange
from keywright.aliro.messages import (
    Auth0,
    Ins,
    Usage,
)
from keywright.aliro.reader import Dialogue
from keywright.crypto.ec import EcPrivateKey


def _wrong_auth1(**changed: Any) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.select()
        yield from t.auth0()
        made: dict[str, Any] = {name: value(t) if callable(value) else value for name, value in changed.items()}
        t.refused((yield command_of(Ins.AUTH1, t.auth1_fields(**made).build())), "AUTH1", SECURITY)
        yield from t.erased()

    return play


def _flipped(at: int) -> Callable[[Tester], bytes]:
    def make(t: Tester) -> bytes:
        signature = bytearray(t.reader.key.sign(t.signed(Usage.READER)))
        signature[at] ^= 1
        return bytes(signature)

    return make


def _other_key(t: Tester) -> EcPrivateKey:
    return EcPrivateKey.draw("P-256", t.bench.random("a stranger"))


def _replayed(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    old = t.auth1_fields().build()
    yield from t.auth1()
    yield from t.select()
    yield from t.auth0()
    t.refused((yield command_of(Ins.AUTH1, old)), "AUTH1 of another transaction", SECURITY)


def _exchange_case(make: Callable[[Tester, bytes], bytes]) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.open_channel()
        sealed = t.sealed(Exchange(ursk_ready=True).build()).data
        t.refused((yield command_of(Ins.EXCHANGE, make(t, sealed))), "EXCHANGE", SECURITY)
        yield from t.erased()

    return play


def _changed_at(at: int) -> Callable[[Tester, bytes], bytes]:
    def make(_: Tester, sealed: bytes) -> bytes:
        raw = bytearray(sealed)
        raw[at] ^= 0x80
        return bytes(raw)

    return make


def _again(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()
    sealed = t.sealed(Exchange(ursk_ready=True).build())
    t.good((yield sealed), "EXCHANGE")
    t.refused((yield sealed), "the same EXCHANGE again", SECURITY)
    yield from t.erased()


def _skipped(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()
    t.sealed(Exchange(ursk_ready=True).build())
    t.refused((yield t.sealed(Exchange(ursk_ready=True).build())), "the message after next", SECURITY)


def _own_message(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    request = t.auth1_fields()
    data = t.good((yield command_of(Ins.AUTH1, request.build())), "AUTH1")
    t.take_auth1(request, data)
    t.refused((yield command_of(Ins.EXCHANGE, data)), "the device's own message, sent back", SECURITY)


def _tag_alone(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()
    t.refused((yield command_of(Ins.EXCHANGE, bytes(15))), "fewer bytes than a tag", SECURITY)


def _fast_guess(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0(parameters=Auth0.FAST)
    t.refused((yield command_of(Ins.EXCHANGE, bytes(40))), "EXCHANGE by who has no Kpersistent", SECURITY)


def _certificate_case(make: Callable[[Tester], bytes], *statuses: int, at_load: bool = False) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.select()
        yield from t.auth0()
        response = yield command_of(Ins.LOAD_CERT, make(t))
        if at_load:
            t.refused(response, "LOAD CERT", *statuses)
            return
        t.good(response, "LOAD CERT")
        t.refused((yield command_of(Ins.AUTH1, t.auth1_fields().build())), "AUTH1", *statuses)

    return play


def _of_a_stranger(t: Tester) -> bytes:
    stranger = EcPrivateKey.draw("P-256", t.bench.random("a strange issuer"))
    return certificates.compress(certificates.issue(stranger, t.reader.key.public))


def _of_another_reader(t: Tester) -> bytes:
    changed = bytearray(t.reader.certificate)
    changed[-1] ^= 1
    return bytes(changed)


def _twice_given(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    t.good((yield command_of(Ins.LOAD_CERT, t.reader.certificate)), "LOAD CERT")
    request = t.auth1_fields(certificate=t.reader.certificate)
    t.refused((yield command_of(Ins.AUTH1, request.build())), "AUTH1", BAD)


def cryptography() -> Iterator[Scenario[Bench]]:
    """Signatures, messages and certificates, each wrong in one way."""
    for name, text, changed in (
        ("signature r", "one bit of r changed", {"signature": _flipped(0)}),
        ("signature s", "one bit of s changed", {"signature": _flipped(63)}),
        ("signature zero", "r and s are 0", {"signature": bytes(64)}),
        ("signature of another key", "a reader that is not the one it says", {"key": _other_key}),
        ("signature for the device", "what the device would sign, signed by the reader", {"usage": Usage.DEVICE}),
        ("reflected signature", "usage of nobody", {"usage": bytes(4)}),
    ):
        yield scenario("cryptography", name, text, _wrong_auth1(**changed))

    yield scenario("cryptography", "replayed auth1", "AUTH1 of an earlier transaction", _replayed)
    yield scenario("cryptography", "exchange first bit", "ciphertext changed", _exchange_case(_changed_at(0)))
    yield scenario("cryptography", "exchange last bit", "tag changed", _exchange_case(_changed_at(-1)))
    yield scenario(
        "cryptography", "exchange shortened", "the tag is cut short", _exchange_case(lambda _, sealed: sealed[:-1])
    )
    yield scenario(
        "cryptography", "exchange lengthened", "a byte after the tag", _exchange_case(lambda _, sealed: sealed + b"\0")
    )
    yield scenario("cryptography", "exchange twice", "a message is taken once", _again)
    yield scenario("cryptography", "exchange skipped", "no message may be left out", _skipped)
    yield scenario("cryptography", "exchange reflected", "a message of the device itself", _own_message)
    yield scenario("cryptography", "exchange too short", "fewer bytes than a tag", _tag_alone)
    yield scenario(
        "cryptography", "fast without a key", "a cryptogram tells a stranger nothing to go on with", _fast_guess
    )

    for name, text, make, status, at_load in (
        ("certificate of a stranger", "another issuer signed it", _of_a_stranger, SECURITY, False),
        ("certificate changed", "one bit of its signature changed", _of_another_reader, SECURITY, False),
        ("certificate empty", "LOAD CERT with nothing", lambda _: b"", BAD, True),
        (
            "certificate of another profile",
            "profile 0001",
            lambda t: t.reader.certificate.replace(b"\4\2\0\0", b"\4\2\0\1", 1),
            BAD,
            True,
        ),
        ("certificate cut", "the last byte is missing", lambda t: t.reader.certificate[:-1], BAD, True),
    ):
        yield scenario("cryptography", name, text, _certificate_case(make, status, at_load=at_load), certified=True)

    yield scenario("cryptography", "certificate twice", "by LOAD CERT and in AUTH1", _twice_given, certified=True)
