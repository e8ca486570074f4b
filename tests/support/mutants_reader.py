"""Broken readers: our own lock with one rule taken out each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from keywright.aliro import lock as lock_module
from keywright.aliro import reader as reader_module
from keywright.aliro.conformance import own
from keywright.aliro.documents import verification
from keywright.aliro.documents.exchange import DeviceResponse
from keywright.aliro.documents.verification import Trust
from keywright.aliro.lock import Lock, Outcome
from keywright.aliro.messages import ControlFlow, Proprietary, ReaderStatus, Usage
from keywright.aliro.reader import Opened, Reader
from keywright.codec.ber import item
from keywright.crypto.ec import EcPublicKey
from keywright.errors import WireError
from support.mutants import Mutant, Patch, any_signature

LOCK: Any = lock_module
READER: Any = reader_module


def _silent(*_: Any) -> Iterator[Any]:
    return
    yield


def _one_status(patch: Patch) -> None:
    told = READER._tell_status
    patch.setattr(READER, "_tell_status", lambda opened, _: told(opened, ReaderStatus.WRONG_FORMAT))


def _everybody(patch: Patch) -> None:
    def decide(self: Lock, opened: Opened, _: Any) -> Any:
        return Outcome(True, self.settings.unlocked, "", opened.credential, is_fast=False)
        yield

    patch.setattr(Lock, "_decide_standard", decide)


def _nobody(patch: Patch) -> None:
    def decide(_: Lock, opened: Opened, __: Any) -> Any:
        return Outcome(False, ReaderStatus.ACCESS_RIGHTS, "", opened.credential, is_fast=False)
        yield

    patch.setattr(Lock, "_decide_standard", decide)


def _verifies(**changed: Any) -> Callable[[Patch], object]:
    """Documents are judged with something else."""
    verify = LOCK.verify
    return lambda patch: patch.setattr(
        LOCK, "verify", lambda document, trust, **named: verify(document, trust, **{**named, **changed})
    )


def _trusts_strangers(patch: Patch) -> None:
    verify = LOCK.verify
    both = Trust.of((own.key("credential issuer").public, own.key("stranger").public))
    patch.setattr(LOCK, "verify", lambda document, _, **named: verify(document, both, **named))


def _any_rights(patch: Patch) -> None:
    decide = LOCK.access.decide

    def changed(*given: Any, **named: Any) -> Any:
        found = decide(*given, **named)
        return SimpleNamespace(granted=True, data=found.data, element=found.element, status=found.status)

    patch.setattr(LOCK.access, "decide", changed)


def _any_element(patch: Patch) -> None:
    decide = LOCK.access.decide
    patch.setattr(LOCK.access, "decide", lambda found, _, *more, **named: decide(found, tuple(found), *more, **named))


def _first_version(patch: Patch) -> None:
    patch.setattr(Proprietary, "version_numbers", lambda _: (0x0100,))


def _without_vendor(patch: Patch) -> None:
    parse = READER.parse_selected

    def changed(data: bytes) -> Any:
        found, _ = parse(data)
        return found, item(0xA5, bytes.fromhex("800200005C020100"))

    patch.setattr(READER, "parse_selected", changed)


def _wrong_key(patch: Patch) -> None:
    x_of = Reader.group_key_x
    patch.setattr(Reader, "group_key_x", lambda self: x_of(self)[::-1])


def _raises(patch: Patch) -> None:
    def parse(_: bytes) -> DeviceResponse:
        raise WireError("no")

    patch.setattr(LOCK, "DeviceResponse", SimpleNamespace(parse=parse))


def _any_ciphertext(patch: Patch) -> None:
    """An answer to AUTH1 that does not open is taken for one with a good content."""
    opened = READER._there

    class Tolerant:
        def __init__(self, direction: Any) -> None:
            self._direction = direction
            self.seal = direction.seal

        def open(self, data: bytes) -> bytes:
            try:
                return bytes(self._direction.open(data))
            except READER.AuthenticationError:
                return bytes.fromhex("5E020000")

    patch.setattr(READER, "_there", lambda direction: Tolerant(opened(direction)))


def _no_points(patch: Patch) -> None:
    made = EcPublicKey.from_point

    def changed(curve: Any, point: bytes) -> Any:
        try:
            return made(curve, point)
        except READER.DecodeError:
            return own.key("other").public

    patch.setattr(READER, "EcPublicKey", SimpleNamespace(from_point=changed))


READERS = (
    Mutant(
        "takes any device's signature",
        (
            "auth1, wrong signature",
            "auth1, signature zero",
            "auth1, signature of another key",
            "auth1, reflected signature",
        ),
        any_signature(Usage.DEVICE),
    ),
    Mutant(
        "says nothing when it gives up",
        ("auth0, 86 missing", "auth1, changed bit", "status word", "select"),
        lambda p: p.setattr(READER, "_tell", _silent),
    ),
    Mutant(
        "says nothing on an open channel",
        ("auth1, no signature", "ENVELOPE answered 6D00", "envelope, changed bit"),
        lambda p: p.setattr(READER, "_tell_status", _silent),
    ),
    Mutant(
        "has one status for all",
        ("auth1, wrong signature", "auth1, no public key", "ENVELOPE answered 6985"),
        _one_status,
    ),
    Mutant(
        "gives up with a success",
        ("auth0, empty", "AUTH1 answered 6982"),
        lambda p: p.setattr(READER, "_GIVES_UP", ControlFlow(1, 0).build()),
    ),
    Mutant(
        "does not say that it lacks the version",
        ("select, no common version",),
        lambda p: p.setattr(ControlFlow, "NO_VERSION", 0),
    ),
    Mutant("goes on without a common version", ("select, no common version", "select, no version"), _first_version),
    Mutant("leaves a vendor field out of the salts", ("vendor field in SELECT", "two versions"), _without_vendor),
    Mutant("has another group key in its salts", ("standard and step-up", "bare step-up"), _wrong_key),
    Mutant(
        "signs as a device",
        ("standard and step-up",),
        lambda p: p.setattr(READER, "Usage", SimpleNamespace(READER=Usage.DEVICE, DEVICE=Usage.DEVICE)),
    ),
    Mutant("takes what does not open", ("auth1, changed bit", "auth1, cut", "auth1, clear text"), _any_ciphertext),
    Mutant("takes any point", ("auth1, point beside the curve",), _no_points),
    Mutant("lets everybody in", ("auth1, no document", "document, expired", "document, none released"), _everybody),
    Mutant("lets nobody in", ("nominal", "document, right"), _nobody),
    Mutant(
        "overlooks the time",
        ("document, expired", "document, not yet valid"),
        lambda p: p.setattr(verification, "_check_time", lambda *_: None),
    ),
    Mutant("trusts every issuer", ("document, of a stranger",), _trusts_strangers),
    Mutant(
        "overlooks whose document it is",
        ("document, for another key",),
        lambda p: p.setattr(verification, "_check_device_key", lambda *_: None),
    ),
    Mutant(
        "overlooks digests",
        ("document, changed value",),
        lambda p: p.setattr(verification, "_check_digests", lambda *_: None),
    ),
    Mutant("overlooks rights", ("document, another capability", "document, no capability"), _any_rights),
    Mutant("takes any element", ("document, another element",), _any_element),
    Mutant(
        "falls silent over a response it cannot read",
        ("document, not cbor", "document, cut", "document, another version"),
        _raises,
    ),
)
