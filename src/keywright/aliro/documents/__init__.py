"""Access and Revocation Documents: built, signed, released in part, read and verified (Aliro 1.0 chapter 7)."""

from keywright.aliro.documents.access_data import (
    AccessData,
    AccessExtension,
    AccessRule,
    Capability,
    Extension,
    Pattern,
    Recurrence,
    Schedule,
)
from keywright.aliro.documents.document import (
    ACCESS,
    MATTER_ELEMENT,
    REVOCATION,
    Document,
    SecurityObject,
    SignedItem,
    Validity,
)
from keywright.aliro.documents.exchange import DeviceRequest, DeviceResponse, DocumentRequest, answer_request, respond
from keywright.aliro.documents.revocation_data import APPEND, OVERWRITE, RevocationData, RevocationEntry, key_hash
from keywright.aliro.documents.verification import (
    CHECKS,
    DocumentRefusedError,
    Policy,
    Trust,
    Verified,
    issuer_kid,
    verify,
)

__all__ = [
    "ACCESS",
    "APPEND",
    "CHECKS",
    "MATTER_ELEMENT",
    "OVERWRITE",
    "REVOCATION",
    "AccessData",
    "AccessExtension",
    "AccessRule",
    "Capability",
    "DeviceRequest",
    "DeviceResponse",
    "Document",
    "DocumentRefusedError",
    "DocumentRequest",
    "Extension",
    "Pattern",
    "Policy",
    "Recurrence",
    "RevocationData",
    "RevocationEntry",
    "Schedule",
    "SecurityObject",
    "SignedItem",
    "Trust",
    "Validity",
    "Verified",
    "answer_request",
    "issuer_kid",
    "key_hash",
    "respond",
    "verify",
]
