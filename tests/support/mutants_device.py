"""Broken devices: our own with one rule taken out each, by a patch or by a change to the bytes at its edge."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from keywright.aliro import certificates, envelope, user_device
from keywright.aliro.conformance import own
from keywright.aliro.documents.document import Document
from keywright.aliro.documents.exchange import DeviceResponse
from keywright.aliro.exchange import ExchangeAnswer, MailboxStatus
from keywright.aliro.keys import Direction
from keywright.aliro.mailbox import Mailbox
from keywright.aliro.messages import CLASSES, EXPEDITED_AID, Auth0, Auth0Answer, Ins, Usage
from keywright.aliro.session import Session, State
from keywright.aliro.user_device import TABLE, UserDevice
from keywright.codec.ber import item
from keywright.errors import AuthenticationError
from keywright.iso7816.refusal import Refusal
from support.mutants import Handle, Mutant, Patch, any_signature

DEVICE: Any = user_device
# ---- at the edge of a device ----------------------------------------------------------------------------------


def asked(change: Callable[[bytes], bytes], *ins: int) -> Callable[[Handle], Handle]:
    """The device sees other bytes."""
    return lambda handle: lambda request: handle(change(request) if not ins or request[1] in ins else request)


def answered(change: Callable[[bytes, bytes], bytes], *ins: int) -> Callable[[Handle], Handle]:
    """The reader sees other bytes: of the request and the answer."""

    def edge(handle: Handle) -> Handle:
        def whole(request: bytes) -> bytes:
            answer = handle(request)
            return change(request, answer) if not ins or request[1] in ins else answer

        return whole

    return edge


def status(old: int, new: int, *ins: int) -> Callable[[Handle], Handle]:
    """Another status word."""
    return answered(lambda _, answer: new.to_bytes(2) if answer == old.to_bytes(2) else answer, *ins)


def instead(make: Callable[[bytes], bytes | None]) -> Callable[[Handle], Handle]:
    """Some requests never reach the device."""

    def edge(handle: Handle) -> Handle:
        def whole(request: bytes) -> bytes:
            answer = make(request)
            return handle(request) if answer is None else answer

        return whole

    return edge


def remembering(*ins: int) -> Callable[[Handle], Handle]:
    """The same request gets the same answer, without the device."""

    def edge(handle: Handle) -> Handle:
        known: dict[bytes, bytes] = {}

        def whole(request: bytes) -> bytes:
            if request[1] not in ins:
                return handle(request)
            if request not in known:
                known[request] = handle(request)
            return known[request]

        return whole

    return edge


def _with_le(request: bytes) -> bytes:
    return request + b"\0" if len(request) == 5 + request[4] else request


def _with_version(request: bytes) -> bytes:
    return request.replace(b"\x5c\x02\x7f\x7f", b"\x5c\x02\x01\x00")


def _canned(request: bytes, answer: bytes) -> bytes:
    good = Auth0Answer(own.key("canned").public.point).build() + b"\x90\0"
    return good if answer == b"\x6a\x80" else answer


def _no_a5(_: bytes, answer: bytes) -> bytes:
    return item(0x6F, item(0x84, EXPEDITED_AID)) + b"\x90\0" if answer[:1] == b"\x6f" else answer


def _with_data(_: bytes, answer: bytes) -> bytes:
    return b"\0" + answer if answer != b"\x90\0" and len(answer) == 2 else answer


# ---- patches of a device --------------------------------------------------------------------------------------


def _no_erasing(patch: Patch) -> None:
    erase = Session.erase

    def kept(session: Session) -> None:
        if not hasattr(session, "signaling"):
            erase(session)

    begin = Session.begin

    def begun(session: Session) -> None:
        begin(session)
        erase(session)

    patch.setattr(Session, "erase", kept)
    patch.setattr(Session, "begin", begun)


def _all_at_any_time(patch: Patch) -> None:
    for state in State:
        patch.setitem(TABLE, state, tuple(CLASSES))


def _one_ephemeral(patch: Patch) -> None:
    patch.setattr(DEVICE, "EcPrivateKey", SimpleNamespace(draw=lambda *_: own.key("ephemeral")))


def _auth0_of_known(patch: Patch, act: Callable[[Session], None]) -> None:
    cryptogram = UserDevice._cryptogram

    def changed(self: UserDevice, session: Session, records: Any) -> Any:
        if session.credential is None:
            act(session)
        return cryptogram(self, session, records) if session.credential is not None else None

    patch.setattr(UserDevice, "_cryptogram", changed)


def _tells_strangers(patch: Patch) -> None:
    auth1 = UserDevice._auth1

    def changed(self: UserDevice, data: bytes, session: Session, *more: Any) -> bytes:
        if session.credential is None:
            raise Refusal(0x6A88)
        return auth1(self, data, session, *more)

    patch.setattr(UserDevice, "_auth1", changed)


def _refuses_strangers(patch: Patch) -> None:
    find = DEVICE.find_credential

    def changed(records: Any, group: bytes) -> Any:
        found = find(records, group)
        if found is None:
            raise Refusal(0x6A88)
        return found

    patch.setattr(DEVICE, "find_credential", changed)


def _whole_identifier(patch: Patch) -> None:
    find = DEVICE.find_credential
    known = own.bench().reader.identifier
    auth0 = UserDevice._auth0

    def changed(self: UserDevice, data: bytes, session: Session, records: Any) -> bytes:
        command = Auth0.parse(data)
        is_known = command.reader_identifier[16:] == known[16:]
        patch.setattr(DEVICE, "find_credential", find if is_known else lambda *_: None)
        return auth0(self, data, session, records)

    patch.setattr(UserDevice, "_auth0", changed)


def _mailbox(change: Callable[[Mailbox, Any, ExchangeAnswer], ExchangeAnswer]) -> Callable[[Patch], object]:
    run = Mailbox.run
    return lambda patch: patch.setattr(Mailbox, "run", lambda self, request: change(self, request, run(self, request)))


def _keeps_at_once(box: Mailbox, _: Any, answer: ExchangeAnswer) -> ExchangeAnswer:
    if box._open is not None:
        box.kept = bytes(box._open)
    return answer


def _forgets_atomic(box: Mailbox, _: Any, answer: ExchangeAnswer) -> ExchangeAnswer:
    box._open = None if box._open is None else bytearray(box.kept)
    return answer


def _answer1(change: Callable[[Any], Any]) -> Callable[[Patch], object]:
    make = UserDevice._answer
    return lambda patch: patch.setattr(UserDevice, "_answer", lambda *given: change(make(*given)))


def _always_the_key(answer: Any) -> Any:
    return msgspec.structs.replace(answer, key_slot=None, public_key=own.key("credential").public.point)


def _documents(change: Callable[[bytes, list[bytes], bytes], bytes]) -> Callable[[Patch], object]:
    ask = envelope.answer_request

    def changed(request: bytes, documents: list[bytes]) -> bytes:
        return change(request, documents, ask(request, documents))

    return lambda patch: patch.setattr(DEVICE.envelope, "answer_request", changed)


def _every_document(_: bytes, documents: list[bytes], answer: bytes) -> bytes:
    given = tuple(Document.parse(one) for one in documents)
    return DeviceResponse(given).build() if not DeviceResponse.parse(answer).documents else answer


def _no_status(_: bytes, __: list[bytes], answer: bytes) -> bytes:
    return DeviceResponse(DeviceResponse.parse(answer).documents).build()


def _fast_signaling(patch: Patch) -> None:
    made = DEVICE.FastStatus
    patch.setattr(DEVICE, "FastStatus", lambda _, *more: made(0, *more))


def _open_again(patch: Patch) -> None:
    """Messages that are left out do not matter to it, nor those that do not open."""
    opened = Direction.open

    def tolerant(self: Direction, sealed: bytes, associated: bytes = b"") -> bytes:
        for _ in range(3):
            try:
                return opened(self, sealed, associated)
            except AuthenticationError:
                self._ended = False
        raise AuthenticationError("no")

    patch.setattr(Direction, "open", tolerant)


def _table(state: State, *ins: int) -> Callable[[Patch], object]:
    return lambda patch: patch.setitem(TABLE, state, (*TABLE[state], *ins))


def _signs_with_another(patch: Patch) -> None:
    build = UserDevice.__init__

    def changed(self: UserDevice, settings: Any, signer: Any, *more: Any, **named: Any) -> None:
        build(self, settings, lambda _: own.key("other"), *more, **named)

    patch.setattr(UserDevice, "__init__", changed)


def _versions_backwards(patch: Patch) -> None:
    proprietary = item(0xA5, bytes.fromhex("800200005C0401000200"))
    init = UserDevice.__init__

    def changed(self: UserDevice, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        self._proprietary = proprietary

    patch.setattr(UserDevice, "__init__", changed)


def _counted() -> Callable[[bytes, bytes], bytes]:
    count = iter(range(256))

    def change(_: bytes, answer: bytes) -> bytes:
        if answer[:1] != b"\x6f":
            return answer
        inside = bytes.fromhex("80020000") + item(0x5C, b"\1\0") + item(0xB3, bytes((next(count) % 256,)))
        return item(0x6F, item(0x84, EXPEDITED_AID) + item(0xA5, inside)) + b"\x90\0"

    return change


AUTH0_FIELDS = ("AUTH0 41 missing", "AUTH0 87 too short", "AUTH0 point beside the curve")

DEVICES = (
    Mutant("does not erase", ("signature r", "AUTH1 9E missing"), _no_erasing),
    Mutant("takes every command in every state", ("order",), _all_at_any_time),
    Mutant("takes AUTH0 twice", ("auth0, AUTH0",), _table(State.AUTH0, Ins.AUTH0)),
    Mutant("takes AUTH1 twice", ("open, AUTH1",), _table(State.OPEN, Ins.AUTH1)),
    Mutant("takes LOAD CERT late", ("open, LOAD CERT",), _table(State.OPEN, Ins.LOAD_CERT)),
    Mutant(
        "takes any reader's signature",
        ("signature r", "signature zero", "signature of another key", "signature for the device", "replayed auth1"),
        any_signature(Usage.READER),
    ),
    Mutant("has one ephemeral key", ("auth0 fresh", "replayed auth1"), _one_ephemeral),
    Mutant(
        "has one cryptogram",
        ("cryptogram fresh", "fast"),
        lambda patch: patch.setattr(DEVICE, "seal_cryptogram", lambda *_: bytes(64)),
    ),
    Mutant(
        "gives strangers no cryptogram",
        ("unknown reader, fast",),
        lambda patch: _auth0_of_known(patch, lambda _: None),
    ),
    Mutant("refuses strangers in AUTH0", ("unknown reader, standard", "unknown reader, fast"), _refuses_strangers),
    Mutant("tells strangers in AUTH1", ("unknown reader, auth1",), _tells_strangers),
    Mutant("knows one reader of a group", ("another reader of the group",), _whole_identifier),
    Mutant(
        "forgets for the fast phase",
        ("fast",),
        lambda patch: patch.setattr(DEVICE, "keep_persistent", lambda *_: None),
    ),
    Mutant("says something else in the fast phase", ("fast",), _fast_signaling),
    Mutant("signs with another key", ("standard", "key slot"), _signs_with_another),
    Mutant(
        "signs as the reader",
        ("standard",),
        lambda patch: patch.setattr(DEVICE, "Usage", SimpleNamespace(READER=Usage.READER, DEVICE=Usage.READER)),
    ),
    Mutant("does not sign", ("standard",), _answer1(lambda one: msgspec.structs.replace(one, signature=None))),
    Mutant("gives the key in place of the slot", ("key slot",), _answer1(_always_the_key)),
    Mutant("names its versions backwards", ("select",), _versions_backwards),
    Mutant("says nothing of itself", ("select", "auth0"), edge=answered(_no_a5, Ins.SELECT)),
    Mutant(
        "changes its answer to SELECT",
        ("select twice",),
        edge=answered(_counted(), Ins.SELECT),
    ),
    Mutant(
        "lets SELECT pass it by",
        ("select ends it", "mailbox rollback"),
        edge=remembering(Ins.SELECT),
    ),
    Mutant(
        "takes any P1 and P2",
        ("AUTH0 p1", "AUTH1 p2", "CONTROL FLOW p1"),
        edge=asked(lambda r: r[:2] + b"\0\0" + r[4:], *(ins for ins in CLASSES if ins != Ins.SELECT)),
    ),
    Mutant(
        "takes any class",
        ("AUTH0 class", "ENVELOPE class"),
        edge=asked(lambda r: bytes((CLASSES.get(r[1], r[0]) | r[0] & 0x10,)) + r[1:]),
    ),
    Mutant(
        "takes commands without Le",
        ("AUTH0 without Le", "EXCHANGE without Le"),
        edge=asked(_with_le, Ins.AUTH0, Ins.AUTH1, Ins.LOAD_CERT, Ins.EXCHANGE, Ins.ENVELOPE),
    ),
    Mutant(
        "answers any instruction",
        ("unknown instruction",),
        edge=status(0x6D00, 0x9000),
    ),
    Mutant(
        "is selected by any name",
        ("unknown AID",),
        edge=status(0x6A82, 0x9000, Ins.SELECT),
    ),
    Mutant(
        "takes no chains",
        ("chained command",),
        edge=instead(lambda request: b"\x68\x84" if request[0] & 0x10 else None),
    ),
    Mutant("overlooks a broken chain", ("chain interrupted",), edge=status(0x6883, 0x9000)),
    Mutant(
        "collects without end",
        ("chain too long",),
        edge=instead(lambda r: b"\x90\0" if r[0] & 0x10 or len(r) > 255 else None),
    ),
    Mutant("answers AUTH0 whatever it says", ("field", *AUTH0_FIELDS), edge=answered(_canned, Ins.AUTH0)),
    Mutant("calls a wrong field a wrong key", ("AUTH1 41 missing", "step-up not DO 53"), edge=status(0x6A80, 0x6982)),
    Mutant("calls a wrong key a wrong field", ("signature r", "exchange last bit"), edge=status(0x6982, 0x6A80)),
    Mutant("says data with an error", ("order", "header", "field", "cryptography"), edge=answered(_with_data)),
    Mutant(
        "takes any policy",
        ("AUTH0 policy 00", "AUTH0 policy 04"),
        lambda patch: patch.setattr(DEVICE, "POLICIES", range(256)),
    ),
    Mutant("takes any version", ("AUTH0 version that was not offered",), edge=asked(_with_version, Ins.AUTH0)),
    Mutant(
        "takes any vendor field",
        ("AUTH0 vendor field of 128 bytes",),
        lambda patch: patch.setattr(DEVICE, "VENDOR_BYTES", 1000),
    ),
    Mutant(
        "leaves the vendor field out of the salts",
        ("vendor field",),
        edge=asked(
            lambda r: r[:4] + bytes((r[4] - 11,)) + r[5:-12] + r[-1:] if b"\xb1\x09keywright" in r else r, Ins.AUTH0
        ),
    ),
    Mutant("takes a message twice", ("exchange twice",), edge=remembering(Ins.EXCHANGE)),
    Mutant("overlooks lost messages", ("exchange skipped",), _open_again),
    Mutant(
        "trusts any certificate",
        ("certificate of a stranger", "certificate changed"),
        lambda patch: patch.setattr(certificates, "reader_key", lambda *_: own.key("certified reader").public),
    ),
    Mutant(
        "loads what is no certificate",
        ("certificate empty", "certificate cut", "certificate of another profile"),
        edge=status(0x6A80, 0x9000, Ins.LOAD_CERT),
    ),
    Mutant(
        "knows no certificates",
        ("load cert", "certificate in auth1"),
        lambda patch: patch.setattr(certificates, "reader_key", lambda *_: None),
    ),
    Mutant(
        "overlooks CONTROL FLOW",
        ("control flow", "no common version"),
        edge=instead(lambda r: b"\x90\0" if r[1] == Ins.CONTROL_FLOW else None),
    ),
    Mutant("keeps what an atomic session has not ended", ("mailbox rollback",), _mailbox(_keeps_at_once)),
    Mutant("forgets an atomic session", ("mailbox atomic",), _mailbox(_forgets_atomic)),
    Mutant(
        "reads beyond its mailbox",
        ("mailbox read out of range", "mailbox write out of range"),
        _mailbox(lambda _, __, answer: ExchangeAnswer((b"\0",)) if answer.status else answer),
    ),
    Mutant(
        "answers reads backwards",
        ("mailbox two reads",),
        _mailbox(lambda _, __, answer: msgspec.structs.replace(answer, reads=answer.reads[::-1])),
    ),
    Mutant(
        "calls everything malformed out of range",
        ("mailbox malformed", "mailbox unknown operation", "mailbox without 8C"),
        lambda patch: patch.setattr(DEVICE, "MailboxStatus", SimpleNamespace(MALFORMED=MailboxStatus.OUT_OF_RANGE)),
    ),
    Mutant("leaves an atomic session for AUTH0", ("mailbox atomic alone",), edge=status(0x6900, 0x6985)),
    Mutant("gives every document", ("step-up unknown element", "step-up unknown type"), _documents(_every_document)),
    Mutant(
        "gives no document",
        ("step-up access", "step-up revocation", "step-up twice"),
        _documents(lambda *_: DeviceResponse().build()),
    ),
    Mutant(
        "does not say what was wrong with a request", ("step-up not cbor", "step-up not valid"), _documents(_no_status)
    ),
    Mutant(
        "opens step-up with nothing",
        ("step-up without auth1", "step-up after auth0"),
        edge=status(0x6985, 0x9000, Ins.ENVELOPE),
    ),
    Mutant("ends without a word", ("exchange",), edge=status(0x6985, 0x6F00, Ins.EXCHANGE)),
)
