"""Sessions that `keywright card` opens: with the keys it is given, or only as far as INITIALIZE UPDATE to try keys."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from keywright.errors import DecodeError, StatusError, WireError
from keywright.globalplatform.host import Dialogue, get_status, get_value, key_information, secured, select
from keywright.globalplatform.messages import ApplicationEntry, CardData, KeyInformation, StatusScope, Tag
from keywright.scp.scp03.host import CardCryptogramError, HostChannel, external_authenticate, initialize_update
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import I

_S8: Final = 8
_NONE: Final = KeyInformation()


class Probe(msgspec.Struct, frozen=True):
    """One key version, and whether the public test keys open it; None: it cannot be told, and `note` says why."""

    kvn: int
    opens: bool | None
    note: str


class Listing(msgspec.Struct, frozen=True):
    """The registry of a card: issuer security domain, applications, load files."""

    domain: tuple[ApplicationEntry, ...]
    applications: tuple[ApplicationEntry, ...]
    load_files: tuple[ApplicationEntry, ...]


def challenge_bytes() -> Dialogue[int]:
    """How long the card's challenges are, as its card data say: 16 bytes for S16, else 8."""
    value = yield from get_value(Tag.CARD_DATA)
    try:
        return CardData.parse(value or b"").challenge_bytes
    except DecodeError:
        return _S8


def probe_keys(aid: bytes = b"") -> Dialogue[tuple[KeyInformation, tuple[Probe, ...]]]:
    """Key information, and for every version whether the test keys 40..4F are its keys.

    Only INITIALIZE UPDATE is sent: the card uses up sequence numbers, but counts no try.
    """
    yield from select(aid)
    information = (yield from key_information()) or _NONE
    size = yield from challenge_bytes()
    probes: tuple[Probe, ...] = ()
    for kvn in information.versions:
        probes += ((yield from _probe(kvn, size)),)
    return information, probes


def _probe(kvn: int, size: int) -> Dialogue[Probe]:
    try:
        yield from initialize_update(KeySet.gp_test(), os.urandom(size), kvn=kvn)
    except CardCryptogramError:
        return Probe(kvn, False, "other keys")
    except StatusError as error:
        return Probe(kvn, None, f"no SCP03 session ({error.sw:04X})")
    except WireError as error:
        return Probe(kvn, None, str(error))
    return Probe(kvn, True, "open to everyone")


def open_session(keys: KeySet, kvn: int, aid: bytes = b"") -> Dialogue[HostChannel]:
    """A session at the highest level the card offers. A wrong key set ends before anything is counted."""
    yield from select(aid)
    size = yield from challenge_bytes()
    opening = yield from initialize_update(keys, os.urandom(size), kvn=kvn)
    i = opening.answer.i
    level = 0x33 if i & I.R_ENC else 0x13 if i & I.R_MAC else 0x03
    return (yield from external_authenticate(opening, level))


def registry(keys: KeySet, kvn: int, aid: bytes = b"") -> Dialogue[Listing]:
    """What is on the card, by GET STATUS in a session."""
    channel = yield from open_session(keys, kvn, aid)
    found = []
    for scope in (StatusScope.ISSUER_DOMAIN, StatusScope.APPLICATIONS, StatusScope.LOAD_FILES_AND_MODULES):
        try:
            found.append((yield from secured(channel, get_status(scope))))
        except StatusError:
            if scope != StatusScope.LOAD_FILES_AND_MODULES:
                raise
            found.append((yield from secured(channel, get_status(StatusScope.LOAD_FILES))))
    return Listing(*found)
