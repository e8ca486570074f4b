"""What a reader asks for in the step-up phase, and what a device answers (Aliro 1.0 8.4, ISO 18013-5 8.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import msgspec

from keywright.aliro.documents.document import Document
from keywright.aliro.documents.reading import elements, embedded, field, number, of_kind, version
from keywright.codec.cbor import EMBEDDED, Cbor, Tag, decode, encode
from keywright.errors import DecodeError

_MANY: Final = 64


class Status:
    """Status of a DeviceResponse (ISO 18013-5 8.3.2.1.2.3)."""

    OK: Final = 0
    GENERAL_ERROR: Final = 10
    NOT_CBOR: Final = 11
    NOT_VALID: Final = 12


class DocumentRequest(msgspec.Struct, frozen=True):
    """One document, with the elements wanted."""

    doc_type: str
    elements: Mapping[str, bool]
    """By identifier: whether the reader means to keep it."""

    def value(self) -> Cbor:
        """As CBOR; the namespace is named as the document."""
        inside: dict[str, Cbor] = {"1": {self.doc_type: dict(self.elements)}, "5": self.doc_type}
        return {"1": Tag(EMBEDDED, encode(inside))}

    @classmethod
    def read(cls, value: object) -> Self:
        """From decoded CBOR. Raises DecodeError."""
        what = "document request"
        inside: dict[Any, Any] = of_kind(embedded(field(of_kind(value, dict, what), "1", what), what), dict, what)
        doc_type = of_kind(field(inside, "5", what), str, f"{what}: docType")
        names: dict[Any, Any] = of_kind(field(inside, "1", what), dict, f"{what}: namespaces")
        asked: dict[Any, Any] = of_kind(names.get(doc_type, {}), dict, f"{what}: elements")
        keep = {
            of_kind(name, str, f"{what}: element"): of_kind(one, bool, f"{what}: retain") for name, one in asked.items()
        }
        return cls(doc_type, keep)


class DeviceRequest(msgspec.Struct, frozen=True):
    """What a reader sends."""

    documents: tuple[DocumentRequest, ...]

    def build(self) -> bytes:
        """As bytes."""
        return encode({"1": "1.0", "2": [one.value() for one in self.documents]})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From bytes. Raises DecodeError."""
        what = "DeviceRequest"
        found: dict[Any, Any] = of_kind(decode(data), dict, what)
        version(found, what)
        listed = elements(field(found, "2", what), _MANY, f"{what}: documents")
        return cls(tuple(DocumentRequest.read(one) for one in listed))


class DeviceResponse(msgspec.Struct, frozen=True):
    """What a device answers; without documents nothing was released."""

    documents: tuple[Document, ...] = ()
    status: int = Status.OK

    def build(self) -> bytes:
        """As bytes."""
        documents: dict[str, Cbor] = {"2": [one.value() for one in self.documents]} if self.documents else {}
        return encode({"1": "1.0", **documents, "3": self.status})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From bytes. Nothing of the documents is verified. Raises DecodeError."""
        what = "DeviceResponse"
        found: dict[Any, Any] = of_kind(decode(data), dict, what)
        version(found, what)
        listed = elements(found["2"], _MANY, f"{what}: documents") if "2" in found else []
        return cls(
            tuple(Document.read(one) for one in listed),
            number(field(found, "3", what), 0xFFFF, f"{what}: status"),
        )

    def document(self, doc_type: str) -> Document | None:
        """The document of a type, None if it was not released. Raises DecodeError if there are two."""
        found = [one for one in self.documents if one.doc_type == doc_type]
        if len(found) > 1:
            raise DecodeError(f"DeviceResponse: two documents {doc_type}")
        return found[0] if found else None


def respond(request: DeviceRequest, documents: Iterable[Document]) -> DeviceResponse:
    """What a device that has these documents releases: of each one asked for, the elements asked for."""
    asked = {(one.doc_type, name) for one in request.documents for name in one.elements}
    shown = (
        # An element is asked for in the namespace that has the name of its document.
        document.with_elements({name for doc_type, name in asked if doc_type == document.doc_type})
        for document in documents
    )
    return DeviceResponse(tuple(one for one in shown if one.items))


def answer_request(request: bytes, documents: Iterable[bytes]) -> bytes:
    """The bytes of a device's answer to the bytes of a request, `documents` as their issuer encoded them.

    Total as to the request: one that cannot be read is answered with a status. Raises DecodeError for a stored document
    that cannot be read.
    """
    stored = [Document.parse(one) for one in documents]
    try:
        decode(request)
    except DecodeError:
        return DeviceResponse(status=Status.NOT_CBOR).build()
    try:
        asked = DeviceRequest.parse(request)
    except DecodeError:
        return DeviceResponse(status=Status.NOT_VALID).build()
    return respond(asked, stored).build()
