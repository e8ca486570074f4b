"""The step-up phase, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keywright.aliro.conformance.cases import BAD, ERASED, SECURITY, Play, scenario
from keywright.aliro.conformance.outcome import Nonconformity, NotConfigured, Scenario
from keywright.aliro.conformance.tester import Bench, Tester, command_of
from keywright.aliro.documents.document import ACCESS, REVOCATION
from keywright.aliro.documents.exchange import DeviceRequest, DeviceResponse, DocumentRequest, Status
from keywright.aliro.envelope import unwrap, wrap
from keywright.aliro.exchange import Exchange
from keywright.aliro.messages import (
    STEP_UP_AID,
    Auth0,
    Ins,
    ReaderStatus,
    Signaling,
)
from keywright.aliro.reader import Dialogue
from keywright.codec.ber import item


def _documents(t: Tester, request: bytes, *, raw: bytes | None = None) -> Dialogue[DeviceResponse]:
    answer = yield from t.open_channel()
    if not int.from_bytes(answer.signaling) & Signaling.ACCESS_DOCUMENT:
        raise NotConfigured("the device has no Access Document")
    yield from t.begin_step_up()
    return (yield from _ask(t, request, raw=raw))


def _ask(t: Tester, request: bytes, *, raw: bytes | None = None) -> Dialogue[DeviceResponse]:
    if t.to_device is None:
        raise NotConfigured("no channel")
    sealed = t.to_device.seal(request)
    data = t.good((yield command_of(Ins.ENVELOPE, wrap(sealed) if raw is None else raw)), "ENVELOPE")
    plain = t.opened(t.parse("ENVELOPE", lambda: unwrap(data)), "ENVELOPE")
    return t.parse("ENVELOPE", lambda: DeviceResponse.parse(plain))


def _request(kind: str, *names: str) -> bytes:
    return DeviceRequest((DocumentRequest(kind, dict.fromkeys(names, False)),)).build()


def _access(t: Tester) -> Dialogue[None]:
    response = yield from _documents(t, _request(ACCESS, t.bench.element))
    if t.parse("ENVELOPE", lambda: response.document(ACCESS)) is None:
        raise Nonconformity("ENVELOPE", "the Access Document", "none")


def _unknown_element(t: Tester) -> Dialogue[None]:
    response = yield from _documents(t, _request(ACCESS, "no such element"))
    if response.documents:
        raise Nonconformity("ENVELOPE", "no document", "one")


def _unknown_type(t: Tester) -> Dialogue[None]:
    response = yield from _documents(t, _request("aliro-x", t.bench.element))
    if response.documents:
        raise Nonconformity("ENVELOPE", "no document", "one")


def _twice(t: Tester) -> Dialogue[None]:
    yield from _documents(t, _request(ACCESS, t.bench.element))
    response = yield from _ask(t, _request(ACCESS, t.bench.element))
    if not response.documents:
        raise Nonconformity("ENVELOPE", "the document again", "none")


def _then_status(t: Tester) -> Dialogue[None]:
    yield from _documents(t, _request(ACCESS, t.bench.element))
    yield from t.exchange(Exchange(status=ReaderStatus.UNSECURED))


def _not_cbor(t: Tester) -> Dialogue[None]:
    response = yield from _documents(t, b"\xff\xff")
    if response.status != Status.NOT_CBOR:
        raise Nonconformity("ENVELOPE", f"status {Status.NOT_CBOR}", str(response.status))


def _not_valid(t: Tester) -> Dialogue[None]:
    response = yield from _documents(t, b"\xa0")
    if response.status != Status.NOT_VALID:
        raise Nonconformity("ENVELOPE", f"status {Status.NOT_VALID}", str(response.status))


def _revocation(t: Tester) -> Dialogue[None]:
    answer = yield from t.open_channel()
    if not int.from_bytes(answer.signaling) & Signaling.REVOCATION_DOCUMENT:
        raise NotConfigured("the device has no Revocation Document")
    yield from t.begin_step_up()
    response = yield from _ask(t, _request(REVOCATION, t.bench.element))
    if t.parse("ENVELOPE", lambda: response.document(REVOCATION)) is None:
        raise Nonconformity("ENVELOPE", "the Revocation Document", "none")


def _refused(data: Callable[[Tester], bytes], *statuses: int) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        yield from t.open_channel()
        yield from t.begin_step_up()
        t.refused((yield command_of(Ins.ENVELOPE, data(t))), "ENVELOPE", *statuses)
        yield from t.erased()

    return play


def _flipped(t: Tester) -> bytes:
    if t.to_device is None:
        raise NotConfigured("no channel")
    sealed = bytearray(t.to_device.seal(_request(ACCESS, "x")))
    sealed[0] ^= 1
    return wrap(bytes(sealed))


def _without_auth1(t: Tester) -> Dialogue[None]:
    yield from t.select(STEP_UP_AID)
    t.refused((yield command_of(Ins.ENVELOPE, wrap(bytes(32)))), "ENVELOPE", ERASED)


def _after_fast(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0(parameters=Auth0.FAST)
    yield from t.select(STEP_UP_AID)
    t.refused((yield command_of(Ins.ENVELOPE, wrap(bytes(32)))), "ENVELOPE", ERASED)


def step_up() -> Iterator[Scenario[Bench]]:
    """Documents that are asked for, and requests that are none."""
    for name, text, play in (
        ("step-up access", "the Access Document with the element asked for", _access),
        ("step-up revocation", "the Revocation Document", _revocation),
        ("step-up unknown element", "an element that is not there: nothing is released", _unknown_element),
        ("step-up unknown type", "a document type that is not there: nothing is released", _unknown_type),
        ("step-up twice", "two requests in one channel", _twice),
        ("step-up then status", "the reader status goes over the step-up channel", _then_status),
        ("step-up not cbor", "a request that is no CBOR: status 11", _not_cbor),
        ("step-up not valid", "a request that lacks its fields: status 12", _not_valid),
    ):
        yield scenario("step-up", name, text, play)

    for name, text, data, status in (
        ("step-up not DO 53", "ENVELOPE without DO'53'", lambda _: b"\x54\x00", BAD),
        ("step-up empty", "ENVELOPE with nothing", lambda _: b"", BAD),
        ("step-up short", "fewer bytes than a tag", lambda _: wrap(bytes(8)), BAD),
        ("step-up without data", "SessionData without data", lambda _: item(0x53, b"\xa0"), BAD),
        ("step-up changed bit", "a sealed request with one bit changed", _flipped, SECURITY),
        ("step-up random", "a request sealed with another key", lambda _: wrap(bytes(40)), SECURITY),
    ):
        yield scenario("step-up negative", name, text, _refused(data, status))

    yield scenario("step-up negative", "step-up without auth1", "there is no key for it", _without_auth1)
    yield scenario("step-up negative", "step-up after auth0", "the fast phase has no key for it", _after_fast)
