"""Scenarios for a reader: what it must do with a user device that is right, and with one that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import msgspec

from keywright.aliro.conformance.outcome import Nonconformity
from keywright.aliro.conformance.tester_device import Behaviour, Seen
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import ACCESS, Document, Validity
from keywright.aliro.documents.exchange import DeviceResponse
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.messages import (
    READER_STATUSES,
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
from keywright.codec.cbor import encode
from keywright.crypto.ec import EcPrivateKey

Check: TypeAlias = Callable[[Seen], None]


class Issuing(msgspec.Struct, frozen=True):
    """What documents of a scenario are made with."""

    issuer: CredentialIssuer
    """Trusted by the reader."""
    stranger: CredentialIssuer
    credential: EcPrivateKey
    other: EcPrivateKey
    element: str
    now: int

    def document(self, **changed: Any) -> Document:
        """An Access Document that a reader takes, but for what is changed."""
        fields: dict[str, Any] = {
            "issuer": self.issuer,
            "key": self.credential.public,
            "element": self.element,
            "capabilities": Capability.UNSECURE,
            "begin": self.now - 3600,
            "end": self.now + 86_400,
            **changed,
        }
        data = AccessData(rules=(AccessRule(fields["capabilities"]),))
        validity = Validity(self.now - 3600, fields["begin"], fields["end"])
        made: Document = fields["issuer"].access_document(fields["key"], {fields["element"]: data}, validity)
        return made


class ReaderScenario(msgspec.Struct, frozen=True):
    """One case: how the device behaves, which document it has, and what the reader must have done in the end."""

    name: str
    family: str
    text: str
    behaviour: Behaviour
    check: Check
    document: Callable[[Issuing], bytes] | None = None
    """The DeviceResponse; None: a right one."""


def scenarios() -> list[ReaderScenario]:
    """All of them, in the order in which they are run."""
    return [*_nominal(), *_select(), *_auth0(), *_auth1(), *_statuses(), *_documents()]


# ---- what a reader must have done -----------------------------------------------------------------------------


def _granted(seen: Seen) -> None:
    if seen.reader_status is None or seen.reader_status >> 8 != 1:
        raise Nonconformity("EXCHANGE", "a success (97 01xx)", _told(seen))


def _told_status(*statuses: int) -> Check:
    def check(seen: Seen) -> None:
        if seen.reader_status not in statuses:
            expected = " or ".join(f"{status:04X} {READER_STATUSES.get(status, '')}".rstrip() for status in statuses)
            raise Nonconformity("EXCHANGE", f"97 {expected}", _told(seen))

    return check


def _refused(seen: Seen) -> None:
    if seen.reader_status is None or seen.reader_status >> 8 == 1:
        raise Nonconformity("EXCHANGE", "a failure (97 00xx)", _told(seen))


def _gave_up(s2: int | None = None) -> Check:
    def check(seen: Seen) -> None:
        flow = seen.control_flow
        if flow is None or flow.s1 != ControlFlow.FAILURE or (s2 is not None and flow.s2 != s2):
            expected = "CONTROL FLOW with failure" + ("" if s2 is None else f" and S2 {s2:02X}")
            raise Nonconformity("the end", expected, _told(seen))

    return check


def _told(seen: Seen) -> str:
    if seen.reader_status is not None:
        return f"97 {seen.reader_status:04X}"
    if seen.control_flow is not None:
        return f"CONTROL FLOW {seen.control_flow.s1:02X} {seen.control_flow.s2:02X}"
    last = seen.exchanged[-1].command.ins if seen.exchanged else None
    return "nothing" if last is None else f"nothing after INS {last:02X}"


def _commands(*wanted: int) -> Check:
    def check(seen: Seen) -> None:
        _granted(seen)
        found = [one.command.ins for one in seen.exchanged]
        if any(ins not in found for ins in wanted):
            raise Nonconformity(
                "the transaction", " ".join(f"{ins:02X}" for ins in wanted), " ".join(f"{i:02X}" for i in found)
            )
        if seen.signature_was_good is False:
            raise Nonconformity("AUTH1", "a signature that the device can verify", "one that it cannot")

    return check


# ---- families -------------------------------------------------------------------------------------------------


def _nominal() -> Iterator[ReaderScenario]:
    right = Behaviour()
    yield ReaderScenario(
        "standard and step-up",
        "nominal",
        "a device with a document is let in",
        right,
        _commands(Ins.AUTH0, Ins.AUTH1, Ins.ENVELOPE, Ins.EXCHANGE),
    )
    yield ReaderScenario(
        "without a second SELECT",
        "nominal",
        "a device that takes ENVELOPE at once",
        msgspec.structs.replace(right, signaling=Signaling.ACCESS_DOCUMENT),
        _commands(Ins.AUTH1, Ins.ENVELOPE),
    )
    yield ReaderScenario(
        "bare step-up",
        "nominal",
        "DO'53' without CBOR around the ciphertext",
        msgspec.structs.replace(right, envelope=lambda data: item(0x53, _inner(data))),
        _granted,
    )
    yield ReaderScenario(
        "two versions",
        "nominal",
        "a device that offers a newer version too",
        msgspec.structs.replace(right, proprietary=Proprietary(0, b"\x7f\0\1\0").build()),
        _granted,
    )
    yield ReaderScenario(
        "vendor field in SELECT",
        "nominal",
        "B3 goes into the salts with the rest of A5",
        msgspec.structs.replace(right, proprietary=Proprietary(0, b"\1\0", None, b"keywright").build()),
        _granted,
    )


def _inner(data: bytes) -> bytes:
    from keywright.aliro.envelope import unwrap  # noqa: PLC0415 - this case alone

    return unwrap(data)


def _select() -> Iterator[ReaderScenario]:
    for name, text, how, check in (
        (
            "no common version",
            "versions that the reader does not have",
            {"proprietary": Proprietary(0, b"\x7f\x7f").build()},
            _gave_up(ControlFlow.NO_VERSION),
        ),
        ("no version", "5C is empty", {"proprietary": Proprietary(0, b"").build()}, _ended),
        ("odd versions", "5C has three bytes", {"proprietary": Proprietary(0, b"\1\0\1").build()}, _ended),
        (
            "no proprietary information",
            "A5 is missing",
            {"select": lambda _: item(0x6F, item(0x84, b"\xa0\0\0\x09\x09\xac\xce\x55\1"))},
            _ended,
        ),
        ("not an FCI", "the answer is no 6F", {"select": lambda data: data[2:]}, _ended),
        ("cut FCI", "the last byte is missing", {"select": lambda data: data[:-1]}, _ended),
    ):
        yield ReaderScenario(f"select, {name}", "select", text, Behaviour(**how), check)


def _ended(seen: Seen) -> None:
    """Nothing was opened, and nothing was granted."""
    if seen.reader_status is not None and seen.reader_status >> 8 == 1:
        raise Nonconformity("the end", "no success", _told(seen))
    if any(one.command.ins == Ins.AUTH1 for one in seen.exchanged):
        raise Nonconformity("the end", "an end before AUTH1", "AUTH1")


def _auth0() -> Iterator[ReaderScenario]:
    def without(tag: int) -> Callable[[Auth0Answer], bytes]:
        return lambda answer: b"".join(item(t, v) for t, v in items(answer.build()) if t != tag)

    def changed(tag: int, make: Callable[[bytes], bytes]) -> Callable[[Auth0Answer], bytes]:
        return lambda answer: b"".join(item(t, make(v) if t == tag else v) for t, v in items(answer.build()))

    def doubled(tag: int) -> Callable[[Auth0Answer], bytes]:
        return lambda answer: b"".join(item(t, v) * (2 if t == tag else 1) for t, v in items(answer.build()))

    for tag in (0x86, 0x9D):
        for name, make in (
            ("missing", without(tag)),
            ("twice", doubled(tag)),
            ("too long", changed(tag, lambda value: value + b"\0")),
            ("too short", changed(tag, lambda value: value[:-1])),
        ):
            yield ReaderScenario(
                f"auth0, {tag:02X} {name}", "auth0", f"tag {tag:02X} {name}", Behaviour(auth0=make), _gave_up()
            )
    for name, text, make in (
        ("point beside the curve", "86 is no point", changed(0x86, lambda value: value[:-1] + bytes((value[-1] ^ 1,)))),
        ("compressed point", "86 in another form", changed(0x86, lambda value: b"\2" + value[1:])),
        ("point at infinity", "86 is zeros", changed(0x86, lambda value: bytes(len(value)))),
        ("empty", "no data", lambda _: b""),
        (
            "out of order",
            "9D before 86",
            lambda answer: b"".join(item(t, v) for t, v in reversed(items(answer.build()))),
        ),
        ("unknown tag", "a tag that Aliro does not have", lambda answer: answer.build() + b"\x99\x00"),
        ("no TLV", "bytes that are no TLV", lambda answer: answer.build()[:-1]),
    ):
        yield ReaderScenario(f"auth0, {name}", "auth0", text, Behaviour(auth0=make), _gave_up())


def _auth1() -> Iterator[ReaderScenario]:
    def without(tag: int) -> Callable[[Auth1Answer], bytes]:
        return lambda answer: b"".join(item(t, v) for t, v in items(answer.build()) if t != tag)

    def changed(tag: int, make: Callable[[bytes], bytes]) -> Callable[[Auth1Answer], bytes]:
        return lambda answer: b"".join(item(t, make(v) if t == tag else v) for t, v in items(answer.build()))

    def flipped(at: int) -> Callable[[bytes], bytes]:
        return lambda value: value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]

    status = ReaderStatus
    for name, text, how, check in (
        (
            "wrong signature",
            "one bit of the signature changed",
            {"auth1": changed(0x9E, flipped(40))},
            _told_status(status.WRONG_SIGNATURE),
        ),
        (
            "signature zero",
            "r and s are 0",
            {"auth1": changed(0x9E, lambda _: bytes(64))},
            _told_status(status.WRONG_SIGNATURE),
        ),
        (
            "signature of another key",
            "signed by another credential",
            {"signs_with": "other"},
            _told_status(status.WRONG_SIGNATURE),
        ),
        (
            "reflected signature",
            "signed with the reader's usage",
            {"usage": Usage.READER},
            _told_status(status.WRONG_SIGNATURE),
        ),
        ("no signature", "9E is missing", {"auth1": without(0x9E)}, _told_status(status.NO_SIGNATURE)),
        ("no public key", "5A is missing", {"auth1": without(0x5A)}, _told_status(status.NO_PUBLIC_KEY)),
        (
            "point beside the curve",
            "5A is no point",
            {"auth1": changed(0x5A, flipped(60))},
            _told_status(status.WRONG_CONTENT),
        ),
        ("no bitmap", "5E is missing", {"auth1": without(0x5E)}, _told_status(status.WRONG_FORMAT)),
        (
            "bitmap of three bytes",
            "5E too long",
            {"auth1": changed(0x5E, lambda value: value + b"\0")},
            _told_status(status.WRONG_FORMAT),
        ),
        (
            "signature too short",
            "9E of 63 bytes",
            {"auth1": changed(0x9E, lambda value: value[:-1])},
            _told_status(status.WRONG_FORMAT),
        ),
        (
            "public key too short",
            "5A of 64 bytes",
            {"auth1": changed(0x5A, lambda value: value[:-1])},
            _told_status(status.WRONG_FORMAT),
        ),
        (
            "no TLV",
            "content that is no TLV",
            {"auth1": lambda answer: answer.build()[:-1]},
            _told_status(status.WRONG_FORMAT),
        ),
        (
            "empty content",
            "no field at all",
            {"auth1": lambda _: b"\x5e\x02\0\0"},
            _told_status(status.NO_SIGNATURE),
        ),
        ("changed bit", "the ciphertext is changed", {"sealed": flipped(0)}, _gave_up()),
        ("changed tag", "the tag is changed", {"sealed": flipped(-1)}, _gave_up()),
        ("cut", "the last byte is missing", {"sealed": lambda data: data[:-1]}, _gave_up()),
        ("no data", "9000 and nothing", {"sealed": lambda _: b""}, _refused_somehow),
        ("clear text", "the answer is not sealed", {"sealed": lambda _: bytes(175)}, _gave_up()),
    ):
        yield ReaderScenario(f"auth1, {name}", "auth1", text, Behaviour(**how), check)
    yield ReaderScenario(
        "auth1, no document",
        "auth1",
        "a stranger without a document",
        Behaviour(signaling=0),
        _told_status(status.PUBLIC_KEY_NOT_FOUND, status.PUBLIC_KEY_NOT_TRUSTED, status.ACCESS_RIGHTS),
    )


def _refused_somehow(seen: Seen) -> None:
    """Told by whichever way there is."""
    if seen.reader_status is None and seen.control_flow is None:
        raise Nonconformity("the end", "EXCHANGE or CONTROL FLOW with a failure", _told(seen))
    if seen.reader_status is not None and seen.reader_status >> 8 == 1:
        raise Nonconformity("the end", "a failure", _told(seen))


def _statuses() -> Iterator[ReaderScenario]:
    for ins, where in ((Ins.AUTH0, "AUTH0"), (Ins.AUTH1, "AUTH1")):
        for sw in (0x6400, 0x6581, 0x6700, 0x6900, 0x6982, 0x6985, 0x6A80, 0x6D00, 0x6E00):
            yield ReaderScenario(
                f"{where} answered {sw:04X}",
                "status word",
                f"{where} is answered {sw:04X}",
                Behaviour(statuses={ins: sw}),
                _gave_up(),
            )
    for sw in (0x6A82, 0x6999):
        yield ReaderScenario(
            f"SELECT answered {sw:04X}",
            "status word",
            "there is no Aliro",
            Behaviour(statuses={Ins.SELECT: sw}),
            _ended,
        )
    for sw in (0x6982, 0x6985, 0x6D00):
        yield ReaderScenario(
            f"ENVELOPE answered {sw:04X}",
            "status word",
            "the document is not given",
            Behaviour(statuses={Ins.ENVELOPE: sw}),
            _told_status(ReaderStatus.STATUS_WORD),
        )


def _documents() -> Iterator[ReaderScenario]:
    def response(**changed: Any) -> Callable[[Issuing], bytes]:
        return lambda made: DeviceResponse(
            (made.document(**{k: v(made) if callable(v) else v for k, v in changed.items()}),)
        ).build()

    def broken(change: Callable[[bytes, Issuing], bytes]) -> Callable[[Issuing], bytes]:
        return lambda made: change(DeviceResponse((made.document(),)).build(), made)

    status = ReaderStatus
    yield ReaderScenario("document, right", "step-up", "access by document", Behaviour(), _granted, response())
    for name, text, document, check in (
        (
            "expired",
            "validUntil is over",
            response(end=lambda made: made.now - 1),
            _told_status(status.PUBLIC_KEY_EXPIRED),
        ),
        (
            "not yet valid",
            "validFrom is to come",
            response(begin=lambda made: made.now + 3600),
            _told_status(status.PUBLIC_KEY_EXPIRED),
        ),
        (
            "of a stranger",
            "an issuer that nobody trusts",
            response(issuer=lambda made: made.stranger),
            _told_status(status.PUBLIC_KEY_NOT_TRUSTED),
        ),
        (
            "for another key",
            "the device key in it is another one",
            response(key=lambda made: made.other.public),
            _told_status(status.WRONG_CONTENT),
        ),
        ("another element", "not the element asked for", response(element="cellar"), _refused),
        (
            "another capability",
            "it allows to secure only",
            response(capabilities=Capability.SECURE),
            _told_status(status.ACCESS_RIGHTS),
        ),
        ("no capability", "a rule that allows nothing", response(capabilities=0), _refused),
        ("changed value", "an element is not what was signed", broken(lambda raw, _: _swapped(raw)), _refused),
        (
            "changed signature",
            "one bit of the issuer's signature",
            broken(lambda raw, _: raw[:-4] + bytes((raw[-4] ^ 1,)) + raw[-3:]),
            _refused,
        ),
        ("none released", "status 0 and no document", lambda _: DeviceResponse().build(), _refused),
        ("error status", "status 10 and no document", lambda _: DeviceResponse(status=10).build(), _refused),
        ("not cbor", "bytes that are no CBOR", lambda _: b"\xff\xff", _refused),
        ("another structure", "CBOR without the fields", lambda _: encode({"1": "1.0"}), _refused),
        ("another version", "version 9.9", broken(lambda raw, _: raw.replace(b"c1.0", b"c9.9", 1)), _refused),
        (
            "twice",
            "two documents of one type",
            lambda made: DeviceResponse((made.document(), made.document())).build(),
            _refused,
        ),
        (
            "another type",
            "a document of another type",
            lambda made: DeviceResponse((msgspec.structs.replace(made.document(), doc_type="aliro-x"),)).build(),
            _refused,
        ),
        ("cut", "the last byte is missing", broken(lambda raw, _: raw[:-1]), _refused),
        ("empty", "no bytes", lambda _: b"", _refused),
    ):
        yield ReaderScenario(f"document, {name}", "step-up negative", text, Behaviour(), check, document)
    for name, text, how in (
        (
            "changed bit",
            "the sealed response is changed",
            {"envelope": lambda data: data[:-1] + bytes((data[-1] ^ 1,))},
        ),
        ("not DO 53", "the answer is no DO'53'", {"envelope": lambda data: b"\x54" + data[1:]}),
        ("no data", "9000 and nothing", {"envelope": lambda _: b""}),
    ):
        yield ReaderScenario(f"envelope, {name}", "step-up negative", text, Behaviour(**how), _refused)


def _swapped(raw: bytes) -> bytes:
    """The same response with another capability in the element, which no longer fits its digest."""
    at = raw.index(ACCESS.encode()) if ACCESS.encode() in raw else 0
    found = raw.find(b"\xa1\x00\x02", at)
    return raw if found < 0 else raw[: found + 2] + b"\x03" + raw[found + 3 :]


FAMILIES: Final = ("nominal", "select", "auth0", "auth1", "status word", "step-up", "step-up negative")
