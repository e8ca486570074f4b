"""Change the keys of a security domain without ever losing it: put, prove, and only then delete.

The new set is put beside the old one; a session opened with it proves that the card has what we think it has; only a
session of the new set deletes the old one. Cut off anywhere, the domain answers at least one of the two sets, and
running the same dialogue again finishes what is left: it looks before it acts.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias, TypeVar

import msgspec

from keywright.errors import AuthenticationError, PolicyError, StatusError
from keywright.globalplatform.host import Dialogue, ThreeKeys, delete_keys, key_information, put_keys, secured
from keywright.iso7816.status import SW
from keywright.scp.session import HostSession

Keys = TypeVar("Keys", bound=ThreeKeys)
OpenSession: TypeAlias = Callable[[Keys, int], Dialogue[HostSession]]
"""Opens a session of a key set under a key version number. It must check the card's cryptogram before it authenticates
itself, as SCP02 and SCP03 do, so that a wrong set costs no try."""


class Step(StrEnum):
    """What a rotation did; what is missing was done before."""

    PUT = "put"
    PROVED = "proved"
    DELETED = "deleted"


class Rotation(msgspec.Struct, frozen=True):
    """A rotation that ended well, and the steps that it took."""

    steps: tuple[Step, ...]
    versions: tuple[int, ...] | None
    """Key version numbers that the card lists now; None when it does not tell."""
    session: HostSession
    """The session of the new set, still open."""


def rotate_keys(
    open_session: OpenSession[Keys], current: tuple[Keys, int], new: tuple[Keys, int], *, delete_old: bool = True
) -> Dialogue[Rotation]:
    """Replace the set `current` (keys, version number) by `new`, whose version number is another one.

    Raises ValueError for the same version number: put in place of the old set, new keys could not be proved before the
    old are gone. Raises PolicyError when the new version number is taken by other keys; AuthenticationError when
    neither set is the card's, or the new one does not prove itself: then the old set is still there.
    """
    (_, old_kvn), (_, kvn) = current, new
    if old_kvn == kvn:
        raise ValueError(f"the new keys need another version number than {kvn:02X}")
    steps: list[Step] = []
    session = yield from _session_of_new(open_session, new)
    if session is None:
        yield from _put(open_session, current, new)
        steps.append(Step.PUT)
        session = yield from open_session(*new)
    steps.append(Step.PROVED)
    versions = yield from _versions(session)
    if delete_old and (versions is None or old_kvn in versions) and (yield from _delete(session, old_kvn)):
        steps.append(Step.DELETED)
        versions = yield from _versions(session)
    return Rotation(tuple(steps), versions, session)


def _session_of_new(open_session: OpenSession[Keys], new: tuple[Keys, int]) -> Dialogue[HostSession | None]:
    """A session of the new set, if an earlier run has put it; None when the card does not have it."""
    kvn = new[1]
    try:
        information = yield from key_information()
    except StatusError:
        # Not told in clear, as while an earlier session is still open on the card: INITIALIZE UPDATE will tell.
        information = None
    if information is not None and kvn not in information.versions:
        return None
    try:
        return (yield from open_session(*new))
    except StatusError as error:
        if error.sw != SW.REFERENCED_DATA_NOT_FOUND:
            raise
        return None
    except AuthenticationError as error:
        raise PolicyError(
            f"key version {kvn:02X} of the card holds other keys than the new ones",
            hint="choose a version number that is free; nothing was changed",
        ) from error


def _put(open_session: OpenSession[Keys], current: tuple[Keys, int], new: tuple[Keys, int]) -> Dialogue[None]:
    session = yield from open_session(*current)
    yield from secured(session, put_keys(session, new[0], kvn=new[1]))
    session.close()


def _versions(session: HostSession) -> Dialogue[tuple[int, ...] | None]:
    information = yield from secured(session, key_information())
    return None if information is None else information.versions


def _delete(session: HostSession, kvn: int) -> Dialogue[bool]:
    """Delete the old set; False when the card has it no more (it forgets initial keys by itself)."""
    try:
        yield from secured(session, delete_keys(kvn))
    except StatusError as error:
        if error.sw not in (SW.REFERENCED_DATA_NOT_FOUND, SW.NOT_FOUND):
            raise
        return False
    return True
