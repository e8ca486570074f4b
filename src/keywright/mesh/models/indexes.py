"""Key indexes as Configuration messages pack them: 12 bits each, two in 3 octets (MshPRT 4.3.1.1)."""

from __future__ import annotations

from keywright.errors import DecodeError


def pack_indexes(net_index: int, app_index: int) -> int:
    """A NetKey and an AppKey index in 3 octets (MshPRT 4.3.1.1)."""
    return net_index | app_index << 12


def unpack_indexes(packed: int) -> tuple[int, int]:
    """NetKey and AppKey index."""
    return packed & 0xFFF, packed >> 12


def pack_index_list(indexes: tuple[int, ...]) -> bytes:
    """Indexes, two in 3 octets, a last odd one in 2 (MshPRT 4.3.1.1)."""
    packed = [pack_indexes(*pair).to_bytes(3, "little") for pair in zip(indexes[::2], indexes[1::2], strict=False)]
    if len(indexes) % 2:
        packed.append(indexes[-1].to_bytes(2, "little"))
    return b"".join(packed)


def unpack_index_list(data: bytes) -> tuple[int, ...]:
    """Inverse of `pack_index_list`. Raises DecodeError for a length that no list has."""
    if len(data) % 3 == 1:
        raise DecodeError(f"key indexes in {len(data)} octets")
    found: list[int] = []
    for at in range(0, len(data) - 2, 3):
        found += unpack_indexes(int.from_bytes(data[at : at + 3], "little"))
    if len(data) % 3:
        found.append(int.from_bytes(data[-2:], "little") & 0xFFF)
    return tuple(found)
