"""Unicast addresses: each is given to one device, also after a crash (MshPRT 3.4.2.2, 3.11.7).

An address is reserved in memory before anything else happens with it. A device that is tried again gets the addresses
it had, because it may have taken them; those of a device that certainly has not are free again at once, those of a node
that was removed after the IV index has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from keywright.errors import PolicyError

UNICAST_FIRST: Final = 0x0001
UNICAST_LAST: Final = 0x7FFF


class Reservation(msgspec.Struct, frozen=True, array_like=True):
    """Addresses `first` to `last`, for the device with this UUID (16 octets); `iv_index` if they rest since then."""

    first: int
    last: int
    uuid: bytes
    rests_since: int | None = None

    @property
    def addresses(self) -> range:
        """All of them."""
        return range(self.first, self.last + 1)


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Addresses that may be given out, both ends included."""

    first: int
    last: int


def reserve(
    reservations: Sequence[Reservation], ranges: Sequence[Range], uuid: bytes, elements: int, iv_index: int
) -> Reservation:
    """The addresses for a device: those it had, if they are as many, else the first free ones.

    Pure: the caller writes the reservation before it tells the device. Raises PolicyError if no range has room.
    """
    for held in reservations:
        if held.uuid == uuid and held.rests_since is None and held.last - held.first + 1 == elements:
            return held
    taken = sorted((one.first, one.last) for one in reservations if not _is_free(one, iv_index))
    for allowed in ranges:
        first = _first_gap(taken, allowed, elements)
        if first is not None:
            return Reservation(first, first + elements - 1, uuid)
    raise PolicyError(
        f"no {elements} addresses in a row are free",
        hint="give the provisioner another range, or update the IV index so that addresses of removed nodes come back",
    )


def with_reservation(reservations: Iterable[Reservation], new: Reservation, iv_index: int) -> tuple[Reservation, ...]:
    """The reservations after one more; those that rested long enough and are given out anew are gone."""
    kept = (one for one in reservations if one != new and not (_is_free(one, iv_index) and _overlap(one, new)))
    return (*kept, new)


def _is_free(reservation: Reservation, iv_index: int) -> bool:
    return reservation.rests_since is not None and iv_index > reservation.rests_since


def _overlap(one: Reservation, other: Reservation) -> bool:
    return one.first <= other.last and other.first <= one.last


def _first_gap(taken: Sequence[tuple[int, int]], allowed: Range, elements: int) -> int | None:
    first, end = max(allowed.first, UNICAST_FIRST), min(allowed.last, UNICAST_LAST)
    for low, high in taken:
        if low - first >= elements:
            break
        first = max(first, high + 1)
    return first if first + elements - 1 <= end else None
