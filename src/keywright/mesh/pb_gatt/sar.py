"""Messages over one GATT connection, cut and joined, for provisioning and for the proxy alike (MshPRT 6.3, 6.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, final

from keywright.errors import SequenceError, WireError
from keywright.mesh.pb_gatt.messages import COMPLETE, CONTINUATION, FIRST, KINDS, LAST, ProxyPdu, proxy_pdus

PARTIAL_S: Final = 20.0
"""A message that is not whole after this long ends the connection; counted from its first part (MshPRT 6.6)."""
LONGEST: Final = 1 << 16
"""Octets of a message that are kept at most. The standard has no limit; no message of it is longer."""


@final
class ProxySar:
    """Both directions of one connection. Every error it raises means: disconnect (MshPRT 6.6)."""

    def __init__(self, mtu: int, kinds: Iterable[int]) -> None:
        """mtu: ATT_MTU of the connection. kinds: messages that may come."""
        self.mtu = mtu
        self._kinds = frozenset(kinds)
        self._kind: int | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._until: float | None = None

    def cut(self, kind: int, message: bytes) -> Sequence[bytes]:
        """The values that carry a message."""
        return proxy_pdus(kind, message, self.mtu)

    def take(self, value: bytes, now: float) -> tuple[int, bytes] | None:
        """Take the value of a write or notification: kind and octets of the message that it makes whole, else None.

        Raises DecodeError for no Proxy PDU, WireError for a kind that may not come and for a message without end,
        SequenceError for a part that does not follow on the one before.
        """
        pdu = ProxyPdu.parse(value)
        if pdu.kind not in self._kinds:
            raise WireError(f"a Proxy PDU of kind {_called(pdu.kind)} may not come here (MshPRT 6.3.1)")
        goes_on = pdu.sar in {CONTINUATION, LAST}
        if goes_on != (self._kind is not None) or (goes_on and pdu.kind != self._kind):
            held = "nothing" if self._kind is None else f"a part of a {_called(self._kind)}"
            raise SequenceError(f"{_PLACES[pdu.sar]} of a {_called(pdu.kind)} after {held} (MshPRT 6.3.1)")
        if pdu.sar == COMPLETE:
            return (pdu.kind, pdu.data)
        if pdu.sar == FIRST:
            self._kind, self._until = pdu.kind, now + PARTIAL_S
        self._parts.append(pdu.data)
        self._size += len(pdu.data)
        if self._size > LONGEST:
            raise WireError(f"a {_called(pdu.kind)} of more than {LONGEST} octets")
        return self._whole(pdu.kind) if pdu.sar == LAST else None

    def check(self, now: float) -> None:
        """Raise WireError if a message is not whole in time."""
        if self._until is not None and now >= self._until:
            raise WireError(f"a message was not whole in {PARTIAL_S:.0f} s (MshPRT 6.6)")

    def deadline(self) -> float | None:
        """When a message has to be whole, None if none is under way."""
        return self._until

    def _whole(self, kind: int) -> tuple[int, bytes]:
        octets = b"".join(self._parts)
        self._kind = self._until = None
        self._parts, self._size = [], 0
        return kind, octets


_PLACES: Final = ("a complete message", "the first part", "a further part", "the last part")


def _called(kind: int) -> str:
    return KINDS[kind] if kind < len(KINDS) else f"{kind:02X}"
