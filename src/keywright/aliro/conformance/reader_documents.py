"""Documents in the step-up phase, right and wrong, and what a reader must make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from keywright.aliro.conformance.reader_checks import (
    Issuing,
    ReaderScenario,
    after_asking,
    granted,
    refused,
    told_status,
)
from keywright.aliro.conformance.tester_device import Behaviour
from keywright.aliro.documents.access_data import Capability
from keywright.aliro.documents.document import ACCESS
from keywright.aliro.documents.exchange import DeviceResponse
from keywright.aliro.messages import ReaderStatus
from keywright.codec.cbor import encode


def documents() -> Iterator[ReaderScenario]:
    """Documents that a reader takes, and those that it must not."""

    def response(**changed: Any) -> Callable[[Issuing], bytes]:
        return lambda made: DeviceResponse(
            (made.document(**{k: v(made) if callable(v) else v for k, v in changed.items()}),)
        ).build()

    def broken(change: Callable[[bytes, Issuing], bytes]) -> Callable[[Issuing], bytes]:
        return lambda made: change(DeviceResponse((made.document(),)).build(), made)

    status = ReaderStatus
    yield ReaderScenario("document, right", "step-up", "access by document", Behaviour(), granted, response())
    for name, text, document, check in (
        (
            "expired",
            "validUntil is over",
            response(end=lambda made: made.now - 1),
            told_status(status.PUBLIC_KEY_EXPIRED),
        ),
        (
            "not yet valid",
            "validFrom is to come",
            response(begin=lambda made: made.now + 3600),
            told_status(status.PUBLIC_KEY_EXPIRED),
        ),
        (
            "of a stranger",
            "an issuer that nobody trusts",
            response(issuer=lambda made: made.stranger),
            told_status(status.PUBLIC_KEY_NOT_TRUSTED),
        ),
        (
            "for another key",
            "the device key in it is another one",
            response(key=lambda made: made.other.public),
            told_status(status.WRONG_CONTENT),
        ),
        ("another element", "not the element asked for", response(element="cellar"), refused),
        (
            "another capability",
            "it allows to secure only",
            response(capabilities=Capability.SECURE),
            told_status(status.ACCESS_RIGHTS),
        ),
        ("no capability", "a rule that allows nothing", response(capabilities=0), refused),
        ("changed value", "an element is not what was signed", broken(lambda raw, _: _swapped(raw)), refused),
        (
            "changed signature",
            "one bit of the issuer's signature",
            broken(lambda raw, _: raw[:-4] + bytes((raw[-4] ^ 1,)) + raw[-3:]),
            refused,
        ),
        ("none released", "status 0 and no document", lambda _: DeviceResponse().build(), refused),
        ("error status", "status 10 and no document", lambda _: DeviceResponse(status=10).build(), refused),
        ("not cbor", "bytes that are no CBOR", lambda _: b"\xff\xff", refused),
        ("another structure", "CBOR without the fields", lambda _: encode({"1": "1.0"}), refused),
        ("another version", "version 9.9", broken(lambda raw, _: raw.replace(b"c1.0", b"c9.9", 1)), refused),
        (
            "twice",
            "two documents of one type",
            lambda made: DeviceResponse((made.document(), made.document())).build(),
            refused,
        ),
        (
            "another type",
            "a document of another type",
            lambda made: DeviceResponse((msgspec.structs.replace(made.document(), doc_type="aliro-x"),)).build(),
            refused,
        ),
        ("cut", "the last byte is missing", broken(lambda raw, _: raw[:-1]), refused),
        ("empty", "no bytes", lambda _: b"", refused),
    ):
        yield ReaderScenario(f"document, {name}", "step-up negative", text, Behaviour(), after_asking(check), document)
    yield from _envelopes()


def _envelopes() -> Iterator[ReaderScenario]:
    for name, text, behaviour in (
        (
            "changed bit",
            "the sealed response is changed",
            Behaviour(envelope=lambda data: data[:-1] + bytes((data[-1] ^ 1,))),
        ),
        ("not DO 53", "the answer is no DO'53'", Behaviour(envelope=lambda data: b"\x54" + data[1:])),
        ("no data", "9000 and nothing", Behaviour(envelope=lambda _: b"")),
    ):
        yield ReaderScenario(f"envelope, {name}", "step-up negative", text, behaviour, after_asking(refused))


def _swapped(raw: bytes) -> bytes:
    """The same response with another capability in the element, which no longer fits its digest."""
    at = raw.index(ACCESS.encode()) if ACCESS.encode() in raw else 0
    found = raw.find(b"\xa1\x00\x02", at)
    return raw if found < 0 else raw[: found + 2] + b"\x03" + raw[found + 3 :]
