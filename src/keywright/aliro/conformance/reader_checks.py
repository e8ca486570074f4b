"""What a scenario for a reader is, and what the reader must have done in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from keywright.aliro.conformance.outcome import Nonconformity, NotConfigured
from keywright.aliro.conformance.tester_device import Behaviour, Seen
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Document, Validity
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.messages import NAMES, READER_STATUSES, ControlFlow, Ins, ReaderStatus
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


# ---- checks ---------------------------------------------------------------------------------------------------


def granted(seen: Seen) -> None:
    """The device was told a success, after a signature that it can verify."""
    if seen.reader_status is None or not _is_success(seen.reader_status):
        raise Nonconformity("EXCHANGE", "a success (97 01xx)", told(seen))
    if seen.signature_was_good is False:
        raise Nonconformity("AUTH1", "a signature that the device can verify", "one that it cannot")


def told_status(*statuses: int) -> Check:
    """The device was told one of these reader statuses."""

    def check(seen: Seen) -> None:
        status = seen.reader_status
        if status is None:
            expected = " or ".join(f"97 {one:04X} {READER_STATUSES.get(one, '')}".rstrip() for one in statuses)
            raise Nonconformity("EXCHANGE", expected, told(seen))
        if status not in statuses:
            raise Nonconformity.of_bytes(
                "tag 97 of EXCHANGE", [one.to_bytes(2) for one in statuses], status.to_bytes(2)
            )

    return check


def refused(seen: Seen) -> None:
    """The device was told a failure."""
    if seen.reader_status is None or _is_success(seen.reader_status):
        raise Nonconformity("EXCHANGE", "a failure (97 00xx)", told(seen))


def refused_somehow(seen: Seen) -> None:
    """Told by whichever way there is."""
    if seen.reader_status is None and seen.control_flow is None:
        raise Nonconformity("the end", "EXCHANGE or CONTROL FLOW with a failure", told(seen))
    _no_success(seen)


def gave_up(s2: int | None = None) -> Check:
    """CONTROL FLOW with failure, and this second byte if one is given."""

    def check(seen: Seen) -> None:
        _no_success(seen)
        flow = seen.control_flow
        if flow is None:
            raise Nonconformity("the end", "CONTROL FLOW with failure", told(seen))
        expected = bytes((ControlFlow.FAILURE, flow.s2 if s2 is None else s2))
        if (got := bytes((flow.s1, flow.s2))) != expected:
            raise Nonconformity.of_bytes("41 and 42 of CONTROL FLOW", [expected], got)

    return check


def ended(seen: Seen) -> None:
    """Nothing of the access protocol has begun after SELECT."""
    _no_success(seen)
    found = [one.command.ins for one in seen.exchanged]
    if Ins.SELECT not in found:
        raise Nonconformity("the end", "SELECT first", told(seen))
    further = [NAMES[ins] for ins in found if ins in (Ins.AUTH0, Ins.AUTH1, Ins.EXCHANGE, Ins.ENVELOPE)]
    if further:
        raise Nonconformity("the end", "an end right after SELECT", further[0])


def commands(*wanted: int) -> Check:
    """Granted, and these commands came."""

    def check(seen: Seen) -> None:
        granted(seen)
        found = [one.command.ins for one in seen.exchanged]
        missing = [NAMES[ins] for ins in wanted if ins not in found]
        if missing:
            raise Nonconformity("the transaction", missing[0], ", ".join(NAMES.get(ins, f"{ins:02X}") for ins in found))

    return check


def after_asking(check: Check) -> Check:
    """The same, of a reader that has asked for documents: whoever refuses everybody has judged none."""

    def whole(seen: Seen) -> None:
        if not seen.asked:
            raise Nonconformity("ENVELOPE", "a request for documents", told(seen))
        check(seen)

    return whole


def if_asked_fast(check: Check) -> Check:
    """The same, for a reader that asks for the fast phase."""

    def whole(seen: Seen) -> None:
        if seen.asked_fast is False:
            raise NotConfigured("the reader does not ask for the fast phase")
        check(seen)

    return whole


def if_asked_key(check: Check) -> Check:
    """The same, for a reader that asks for the public key, not the key slot."""

    def whole(seen: Seen) -> None:
        if seen.asked_key is False:
            raise NotConfigured("the reader asks for the key slot, not for the public key")
        check(seen)

    return whole


def told(seen: Seen) -> str:
    """What the device was told in the end, in words."""
    if seen.reader_status is not None:
        return f"97 {seen.reader_status:04X}"
    if seen.control_flow is not None:
        return f"CONTROL FLOW {seen.control_flow.s1:02X} {seen.control_flow.s2:02X}"
    last = seen.exchanged[-1].command.ins if seen.exchanged else None
    return "nothing" if last is None else f"nothing after {NAMES.get(last, f'{last:02X}')}"


def _no_success(seen: Seen) -> None:
    if seen.reader_status is not None and _is_success(seen.reader_status):
        raise Nonconformity("the end", "no success", told(seen))


def _is_success(status: int) -> bool:
    return status >> 8 == ReaderStatus.SECURED >> 8
