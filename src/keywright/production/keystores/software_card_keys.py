"""The keys of one unit in this process's memory: what a software keystore answers with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final

from keywright.crypto.aes import AesKey
from keywright.crypto.key import Secret
from keywright.errors import PolicyError
from keywright.globalplatform.key_fields import WrappedKey
from keywright.iso7816.apdu import Command
from keywright.production.keystores.key_paths import KeyPath
from keywright.scp.scp03.host import HostChannel, Opening, verify_card
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import InitializeUpdateResponse
from keywright.scp.session import HostSession


@final
class SoftwareCardKeys(Secret):
    """`CardKeys` over a key set in memory. One thread at a time."""

    __slots__ = ("_check_originates", "_keys", "_owner")

    def __init__(self, keys: KeySet, owner: object, check_originates: Callable[[], None]) -> None:
        """`owner`: whoever's sessions they may be wrapped for. `check_originates` raises where they may not be new."""
        self._keys = keys
        self._owner = owner
        self._check_originates = check_originates

    @property
    def kcvs(self) -> bytes:
        """The three key check values joined, 9 bytes: ENC, MAC, DEK."""
        return self._keys.kcvs

    @property
    def size(self) -> int:
        """Length of each key in bytes."""
        return self._keys.enc.size

    def path(self, challenge_bytes: int) -> KeyPath:
        """In memory, whatever the recipe allows."""
        del challenge_bytes
        return KeyPath.MEMORY

    def open(
        self, host_challenge: bytes, answer: InitializeUpdateResponse, *, channel: int = 0, aid: bytes | None = None
    ) -> _Verified:
        """Derive the session keys and check the card cryptogram. Raises CardCryptogramError."""
        return _Verified(verify_card(self._keys, host_challenge, answer, channel=channel, aid=aid), self._owner)

    def wrap_for(
        self, session: HostSession, *, kcv: Literal["ones", "zeros"] = "ones"
    ) -> tuple[WrappedKey, WrappedKey, WrappedKey]:
        """ENC, MAC and DEK for PUT KEY under the K-DEK of a session. Raises PolicyError for another's session,
        KeyStateError when what they come from makes nothing new.
        """
        if not isinstance(session, _OwnChannel) or session.owner is not self._owner:
            raise PolicyError("keys are wrapped only for a session that the same keystore opened")
        self._check_originates()
        keys = self._keys
        return (
            _wrapped(keys.enc, session, kcv),
            _wrapped(keys.mac, session, kcv),
            _wrapped(keys.dek, session, kcv),
        )

    def close(self) -> None:
        """Nothing to do: what is in memory goes with its last use."""

    def __repr__(self) -> str:
        return f"<card keys {self.kcvs.hex()}>"


class _OwnChannel(HostChannel):
    """A session that remembers which keystore opened it."""

    __slots__ = ("owner",)

    owner: object


@final
class _Verified(Secret):
    """`Verified` that lets nobody at the keys of its session."""

    __slots__ = ("_opening", "_owner")

    def __init__(self, opening: Opening, owner: object) -> None:
        self._opening = opening
        self._owner = owner

    @property
    def answer(self) -> InitializeUpdateResponse:
        """What the card answered."""
        return self._opening.answer

    def authenticate(self, level: int, *, pads_empty: bool = False) -> tuple[_OwnChannel, Command]:
        """The session at that level, and EXTERNAL AUTHENTICATE."""
        channel = _OwnChannel(self._opening, level, pads_empty=pads_empty)
        channel.owner = self._owner
        return channel, channel.authenticate(self._opening.host_cryptogram, level)

    def close(self) -> None:
        """Nothing to do: what is in memory goes with its last use."""


def _wrapped(key: AesKey, session: HostChannel, kcv: Literal["ones", "zeros"]) -> WrappedKey:
    raw_key = key.reveal()
    filled = raw_key + bytes(-len(raw_key) % session.sensitive_block)
    return WrappedKey(key.size, session.encrypt_sensitive(filled), key.kcv(kcv))
