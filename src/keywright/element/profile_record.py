"""The card profile as an element keeps it: all of it, as JSON in one fixed order, so that a later default changes none.

A memory without the record has the default profile, and so has every element that was made without one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.element.state import Storage
from keywright.errors import StoreError
from keywright.globalplatform.profile import DEFAULT, CardProfile

PROFILE: Final = "profile"
"""Name of the record."""


def build_profile(profile: CardProfile) -> bytes:
    """The record: members sorted by name, bytes in base64."""
    return msgspec.json.encode(profile, order="sorted")


def parse_profile(record: bytes) -> CardProfile:
    """Inverse of `build_profile`; a field that the record lacks has its default. Raises StoreError."""
    try:
        return msgspec.json.decode(record, type=CardProfile)
    except msgspec.DecodeError as error:
        raise StoreError(f"the card profile in this memory cannot be read: {error}") from None


def kept_profile(storage: Storage) -> CardProfile:
    """The profile of an element. Raises StoreError."""
    record = storage.read(PROFILE)
    return DEFAULT if record is None else parse_profile(record)
