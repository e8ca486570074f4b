"""Composition Data page 0: what a node is made of (MshPRT 4.2.2.1). Little-endian, as all access messages."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keywright.codec.record import U8, U16, LittleRecord, Rest
from keywright.errors import DecodeError

RELAY: Final = 0x0001
PROXY: Final = 0x0002
FRIEND: Final = 0x0004
LOW_POWER: Final = 0x0008
CONFIGURATION_SERVER: Final = 0x0000
CONFIGURATION_CLIENT: Final = 0x0001
HEALTH_SERVER: Final = 0x0002
REMOTE_PROVISIONING_SERVER: Final = 0x0004
REMOTE_PROVISIONING_CLIENT: Final = 0x0005
DEVICE_KEY_MODELS: Final = (
    CONFIGURATION_SERVER,
    CONFIGURATION_CLIENT,
    REMOTE_PROVISIONING_SERVER,
    REMOTE_PROVISIONING_CLIENT,
)
"""Models whose messages are under the device key alone: they have no bindings, publish and subscribe nothing."""


class _Head(LittleRecord, frozen=True):
    cid: U16
    pid: U16
    vid: U16
    crpl: U16
    features: U16
    elements: Annotated[bytes, Rest()]


class _ElementHead(LittleRecord, frozen=True):
    location: U16
    sig: U8
    vendor: U8
    models: Annotated[bytes, Rest()]


class Element(msgspec.Struct, frozen=True):
    """One element: where it is, and its models."""

    location: int
    sig_models: tuple[int, ...] = ()
    vendor_models: tuple[tuple[int, int], ...] = ()
    """Company identifier and model identifier."""

    def has(self, model: int, company: int | None = None) -> bool:
        """Whether it has this model."""
        return model in self.sig_models if company is None else (company, model) in self.vendor_models


class Composition(msgspec.Struct, frozen=True):
    """Page 0."""

    cid: int
    pid: int
    vid: int
    crpl: int
    """How many sources its replay protection list has room for."""
    features: int
    elements: tuple[Element, ...]

    def build(self) -> bytes:
        """The page. Raises ValueError for what does not fit its fields."""
        return self._build(self.elements)

    def build_within(self, room: int) -> bytes:
        """The page with as many of the first elements as fit into so many octets (MshPRT 4.4.1.2.2)."""
        count = len(self.elements)
        while count and len(self._build(self.elements[:count])) > room:
            count -= 1
        return self._build(self.elements[:count])

    def _build(self, elements: tuple[Element, ...]) -> bytes:
        built = b"".join(map(_build_element, elements))
        return _Head(self.cid, self.pid, self.vid, self.crpl, self.features, built).build()


def parse_composition(data: bytes) -> Composition:
    """Page 0. Raises DecodeError, also for a node without an element."""
    head = _Head.parse(data)
    rest, elements = head.elements, []
    while rest:
        element, rest = _take_element(rest)
        elements.append(element)
    if not elements:
        raise DecodeError("composition data without an element", len(data))
    return Composition(head.cid, head.pid, head.vid, head.crpl, head.features, tuple(elements))


def _build_element(element: Element) -> bytes:
    models = [model.to_bytes(2, "little") for model in element.sig_models]
    models += [part.to_bytes(2, "little") for vendor in element.vendor_models for part in vendor]
    return _ElementHead(element.location, len(element.sig_models), len(element.vendor_models), b"".join(models)).build()


def _take_element(data: bytes) -> tuple[Element, bytes]:
    head = _ElementHead.parse(data)
    end = 2 * head.sig + 4 * head.vendor
    if len(head.models) < end:
        raise DecodeError(f"an element with {head.sig} and {head.vendor} models in {len(head.models)} octets")
    numbers = [int.from_bytes(head.models[at : at + 2], "little") for at in range(0, end, 2)]
    vendor = numbers[head.sig :]
    pairs = tuple(zip(vendor[::2], vendor[1::2], strict=True))
    return Element(head.location, tuple(numbers[: head.sig]), pairs), head.models[end:]
