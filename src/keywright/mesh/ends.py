"""What the two ends of the provisioning protocol have in common: PDUs to send, events, and the provisioning timer.

Nothing of a session is here: no key, no value, no state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from keywright.crypto.ec import EcPublicKey
from keywright.mesh.messages import Pdu, build_pdu

Event = TypeVar("Event")
RandomBytes = Callable[[int], bytes]

TIMEOUT_S: Final = 60.0
"""Least time without a PDU after which a session ends (MshPRT 5.4.4)."""
TIMEOUT_WITH_PERSON_S: Final = 120.0
"""The same where somebody carries a value between the two."""
CURVE: Final = "P-256"


class AgreementKey(Protocol):
    """A P-256 private key, wherever it lives."""

    @property
    def public(self) -> EcPublicKey:
        """Its public key."""
        ...

    def agree(self, peer: EcPublicKey, /) -> bytes:
        """X coordinate of the shared point, 32 octets."""
        ...


class CloseReason:
    """Why a provisioning link is closed (MshPRT 5.3.1.4.3)."""

    SUCCESS: Final = 0x00
    TIMEOUT: Final = 0x01
    FAIL: Final = 0x02


class End(ABC, Generic[Event]):
    """Base of both ends: an endpoint whose frames are whole provisioning PDUs."""

    def __init__(self) -> None:
        self._pdus: list[bytes] = []
        self._events: list[Event] = []
        self._until: float | None = None
        self._timeout_s = TIMEOUT_S

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Provisioning PDUs to send now; also notes that the provisioning timer is over."""
        if self._until is not None and now >= self._until:
            self._until = None
            self._expired()
        pdus, self._pdus = self._pdus, []
        return pdus

    def deadline(self) -> float | None:
        """At once while a PDU waits, else when the provisioning timer is over; None while it does not run."""
        return float("-inf") if self._pdus else self._until

    def events(self) -> Sequence[Event]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    def _send(self, message: Pdu, now: float) -> None:
        self._pdus.append(build_pdu(message))
        self._restart_timer(now)

    def _restart_timer(self, now: float) -> None:
        self._until = now + self._timeout_s

    @abstractmethod
    def _expired(self) -> None:
        """The provisioning timer is over."""
