"""Answers to SELECT, AUTH0 and AUTH1, right and wrong, and what a reader must make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from keywright.aliro.conformance.reader_checks import (
    ReaderScenario,
    commands,
    ended,
    gave_up,
    granted,
    if_asked_fast,
    if_asked_key,
    refused_somehow,
    told_status,
)
from keywright.aliro.conformance.tester_device import Behaviour
from keywright.aliro.envelope import unwrap
from keywright.aliro.messages import (
    Auth0Answer,
    Auth1Answer,
    ControlFlow,
    Ins,
    Proprietary,
    ReaderStatus,
    Signaling,
    Usage,
)
from keywright.codec.ber import item, items


def nominal() -> Iterator[ReaderScenario]:
    """A device that is right, in each way that it may be."""
    right = Behaviour()
    yield ReaderScenario(
        "standard and step-up",
        "nominal",
        "a device with a document is let in",
        right,
        commands(Ins.AUTH0, Ins.AUTH1, Ins.ENVELOPE, Ins.EXCHANGE),
    )
    yield ReaderScenario(
        "without a second SELECT",
        "nominal",
        "a device that takes ENVELOPE at once",
        msgspec.structs.replace(right, signaling=Signaling.ACCESS_DOCUMENT),
        commands(Ins.AUTH1, Ins.ENVELOPE),
    )
    yield ReaderScenario(
        "bare step-up",
        "nominal",
        "DO'53' without CBOR around the ciphertext",
        msgspec.structs.replace(right, envelope=lambda data: item(0x53, unwrap(data))),
        granted,
    )
    yield ReaderScenario(
        "two versions",
        "nominal",
        "a device that offers a newer version too",
        msgspec.structs.replace(right, proprietary=Proprietary(0, b"\x7f\0\1\0").build()),
        granted,
    )
    yield ReaderScenario(
        "vendor field in SELECT",
        "nominal",
        "B3 goes into the salts with the rest of A5",
        msgspec.structs.replace(right, proprietary=Proprietary(0, b"\1\0", None, b"keywright").build()),
        granted,
    )


def select() -> Iterator[ReaderScenario]:
    """Answers to SELECT that leave nothing to go on with."""
    for name, text, behaviour, check in (
        (
            "no common version",
            "versions that the reader does not have",
            Behaviour(proprietary=Proprietary(0, b"\x7f\x7f").build()),
            gave_up(ControlFlow.NO_VERSION),
        ),
        ("no version", "5C is empty", Behaviour(proprietary=Proprietary(0, b"").build()), ended),
        ("odd versions", "5C has three bytes", Behaviour(proprietary=Proprietary(0, b"\1\0\1").build()), ended),
        (
            "no proprietary information",
            "A5 is missing",
            Behaviour(select=lambda _: item(0x6F, item(0x84, b"\xa0\0\0\x09\x09\xac\xce\x55\1"))),
            ended,
        ),
        ("not an FCI", "the answer is no 6F", Behaviour(select=lambda data: data[2:]), ended),
        ("cut FCI", "the last byte is missing", Behaviour(select=lambda data: data[:-1]), ended),
    ):
        yield ReaderScenario(f"select, {name}", "select", text, behaviour, check)


def auth0() -> Iterator[ReaderScenario]:
    """Each field of the answer to AUTH0 missing, doubled, too long, too short, and values that none may have."""

    def doubled(tag: int) -> Callable[[Auth0Answer], bytes]:
        return lambda answer: b"".join(item(t, v) * (2 if t == tag else 1) for t, v in items(answer.build()))

    for tag in (0x86, 0x9D):
        for name, make in (
            ("missing", _without(tag)),
            ("twice", doubled(tag)),
            ("too long", _changed(tag, lambda value: value + b"\0")),
            ("too short", _changed(tag, lambda value: value[:-1])),
        ):
            check = if_asked_fast(gave_up()) if tag == 0x9D else gave_up()
            yield ReaderScenario(
                f"auth0, {tag:02X} {name}", "auth0", f"tag {tag:02X} {name}", Behaviour(auth0=make), check
            )
    for name, text, make in (
        (
            "point beside the curve",
            "86 is no point",
            _changed(0x86, lambda value: value[:-1] + bytes((value[-1] ^ 1,))),
        ),
        ("compressed point", "86 in another form", _changed(0x86, lambda value: b"\2" + value[1:])),
        ("point at infinity", "86 is zeros", _changed(0x86, lambda value: bytes(len(value)))),
        ("empty", "no data", lambda _: b""),
        (
            "out of order",
            "9D before 86",
            lambda answer: b"".join(item(t, v) for t, v in reversed(items(answer.build()))),
        ),
        ("unknown tag", "a tag that Aliro does not have", lambda answer: answer.build() + b"\x99\x00"),
        ("no TLV", "bytes that are no TLV", lambda answer: answer.build()[:-1]),
    ):
        yield ReaderScenario(f"auth0, {name}", "auth0", text, Behaviour(auth0=make), gave_up())


def auth1() -> Iterator[ReaderScenario]:
    """The answer to AUTH1: its signature, its fields, its seal."""
    yield from _signatures()
    status = ReaderStatus
    for name, text, behaviour, check in (
        ("no signature", "9E is missing", Behaviour(auth1=_without(0x9E)), told_status(status.NO_SIGNATURE)),
        (
            "no public key",
            "5A is missing",
            Behaviour(auth1=_without(0x5A)),
            if_asked_key(told_status(status.NO_PUBLIC_KEY)),
        ),
        (
            "point beside the curve",
            "5A is no point",
            Behaviour(auth1=_changed(0x5A, _flipped(60))),
            if_asked_key(told_status(status.WRONG_CONTENT)),
        ),
        ("no bitmap", "5E is missing", Behaviour(auth1=_without(0x5E)), told_status(status.WRONG_FORMAT)),
        (
            "bitmap of three bytes",
            "5E too long",
            Behaviour(auth1=_changed(0x5E, lambda value: value + b"\0")),
            told_status(status.WRONG_FORMAT),
        ),
        (
            "signature too short",
            "9E of 63 bytes",
            Behaviour(auth1=_changed(0x9E, lambda value: value[:-1])),
            told_status(status.WRONG_FORMAT),
        ),
        (
            "public key too short",
            "5A of 64 bytes",
            Behaviour(auth1=_changed(0x5A, lambda value: value[:-1])),
            if_asked_key(told_status(status.WRONG_FORMAT)),
        ),
        (
            "no TLV",
            "content that is no TLV",
            Behaviour(auth1=lambda answer: answer.build()[:-1]),
            told_status(status.WRONG_FORMAT),
        ),
        (
            "empty content",
            "no field at all",
            Behaviour(auth1=lambda _: b"\x5e\x02\0\0"),
            told_status(status.NO_SIGNATURE),
        ),
    ):
        yield ReaderScenario(f"auth1, {name}", "auth1", text, behaviour, check)
    yield from _sealed()
    yield ReaderScenario(
        "auth1, no document",
        "auth1",
        "a stranger without a document",
        Behaviour(signaling=0),
        told_status(status.PUBLIC_KEY_NOT_FOUND, status.PUBLIC_KEY_NOT_TRUSTED, status.ACCESS_RIGHTS),
    )


def _signatures() -> Iterator[ReaderScenario]:
    for name, text, behaviour, check in (
        (
            "wrong signature",
            "one bit of the signature changed",
            Behaviour(auth1=_changed(0x9E, _flipped(40))),
            told_status(ReaderStatus.WRONG_SIGNATURE),
        ),
        (
            "signature zero",
            "r and s are 0",
            Behaviour(auth1=_changed(0x9E, lambda _: bytes(64))),
            told_status(ReaderStatus.WRONG_SIGNATURE),
        ),
        (
            "signature of another key",
            "signed by another credential",
            Behaviour(signs_with="other"),
            told_status(ReaderStatus.WRONG_SIGNATURE),
        ),
        (
            "reflected signature",
            "signed with the reader's usage",
            Behaviour(usage=Usage.READER),
            told_status(ReaderStatus.WRONG_SIGNATURE),
        ),
    ):
        yield ReaderScenario(f"auth1, {name}", "auth1", text, behaviour, check)


def _sealed() -> Iterator[ReaderScenario]:
    for name, text, behaviour, check in (
        ("changed bit", "the ciphertext is changed", Behaviour(sealed=_flipped(0)), gave_up()),
        ("changed tag", "the tag is changed", Behaviour(sealed=_flipped(-1)), gave_up()),
        ("cut", "the last byte is missing", Behaviour(sealed=lambda data: data[:-1]), gave_up()),
        ("no data", "9000 and nothing", Behaviour(sealed=lambda _: b""), refused_somehow),
        ("clear text", "the answer is not sealed", Behaviour(sealed=lambda _: bytes(175)), gave_up()),
    ):
        yield ReaderScenario(f"auth1, {name}", "auth1", text, behaviour, check)


def _without(tag: int) -> Callable[[Auth0Answer | Auth1Answer], bytes]:
    return lambda answer: b"".join(item(t, v) for t, v in items(answer.build()) if t != tag)


def _changed(tag: int, make: Callable[[bytes], bytes]) -> Callable[[Auth0Answer | Auth1Answer], bytes]:
    return lambda answer: b"".join(item(t, make(v) if t == tag else v) for t, v in items(answer.build()))


def _flipped(at: int) -> Callable[[bytes], bytes]:
    def change(value: bytes) -> bytes:
        raw = bytearray(value)
        raw[at] ^= 1
        return bytes(raw)

    return change


def statuses() -> Iterator[ReaderScenario]:
    """Status words in place of an answer."""
    for ins, where in ((Ins.AUTH0, "AUTH0"), (Ins.AUTH1, "AUTH1")):
        for sw in (0x6400, 0x6581, 0x6700, 0x6900, 0x6982, 0x6985, 0x6A80, 0x6D00, 0x6E00):
            yield ReaderScenario(
                f"{where} answered {sw:04X}",
                "status word",
                f"{where} is answered {sw:04X}",
                Behaviour(statuses={ins: sw}),
                gave_up(),
            )
    for sw in (0x6A82, 0x6999):
        yield ReaderScenario(
            f"SELECT answered {sw:04X}",
            "status word",
            "there is no Aliro",
            Behaviour(statuses={Ins.SELECT: sw}),
            ended,
        )
    for sw in (0x6982, 0x6985, 0x6D00):
        yield ReaderScenario(
            f"ENVELOPE answered {sw:04X}",
            "status word",
            "the document is not given",
            Behaviour(statuses={Ins.ENVELOPE: sw}),
            told_status(ReaderStatus.STATUS_WORD),
        )
