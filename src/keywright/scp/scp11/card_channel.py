"""An open session of SCP11, card end: messaging of SCP03 from another start, and what a certificate allows (Amd F)."""

from __future__ import annotations

from typing import Final, final

from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import is_gp, plain, with_channel
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import LEVELS, Level
from keywright.scp.scp03.messages import NO_IV
from keywright.scp.scp03.messaging import CardMessaging
from keywright.scp.scp11.keys import Secrets, SessionDek
from keywright.scp.scp11.messages import SCP11, Authorisation, Variant
from keywright.scp.scp11.profile import Profile

_PUT_KEY, _DELETE, _SET_STATUS, _GENERATE_EC_KEY = 0xD8, 0xE4, 0xF0, 0xF1
_KEY_TAGS: Final = (0xD0, 0xD2)
"""What the data of DELETE begins with when keys are meant (GPCS 11.2.2.3.2)."""


@final
class CardChannel(CardMessaging):
    """An open session, card end."""

    __slots__ = ("_authorisation", "_dek", "_profile", "authentication", "kvn", "variant")

    def __init__(
        self,
        variant: Variant,
        secrets: Secrets,
        level: int,
        kvn: int,
        receipt: bytes,
        profile: Profile,
        *,
        authentication: int,
        authorisation: bytes | None,
        static_dek: AesKey | None,
    ) -> None:
        """`authentication`: of `Level`, 0 for nobody. `authorisation`: inside BF20 of the host's certificate."""
        levels = LEVELS if profile.r_mac_sessions else ()
        super().__init__(secrets.session, profile.mac_length, level, levels, receipt)
        self._dek = secrets.dek if static_dek is None else SessionDek(static_dek)
        self._profile = profile
        self._authorisation = authorisation
        self.variant = variant
        self.kvn = kvn
        self.authentication = authentication

    @property
    def scp(self) -> int:
        """17."""
        return SCP11

    @property
    def sensitive_block(self) -> int:
        """16."""
        return len(NO_IV)

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Open whole blocks under S-DEK or the static key-DEK: AES-CBC, ICV 0. Refuses with 6A80 for a rest."""
        if len(data) % self.sensitive_block:
            raise Refusal(SW.INCORRECT_DATA)
        return self._dek.decrypt_sensitive(data)

    @property
    def may_change_keys(self) -> bool:
        """False with SCP11c, whatever command brings them."""
        return not self.variant.is_static

    def authorised(self, command: Command) -> bool:
        """Whether this kind of session and the host's certificate allow an opened command.

        SCP11c never allows PUT KEY, GENERATE EC KEY, DELETE of keys and SET STATUS, because what was recorded works
        again on every card of the group; keys in STORE DATA are the caller's to refuse, by `may_change_keys`. Who is
        not the owner may, with SCP11c or with BF20, do only what is built in and what BF20
        lists. Beside this the caller checks `authentication` and `level`.
        """
        if not self.may_change_keys and _changes_keys_or_state(command):
            return False
        if not self.variant.authenticates_host or self.authentication == Level.AUTHENTICATED:
            return True
        if self._authorisation is None and not self.variant.is_static:
            return True
        if command.ins in self._profile.built_in:
            return True
        cla = plain(command.cla)
        return bool({(cla, command.ins), (_without_channel(cla), command.ins)} & _listed(self._authorisation))


def _changes_keys_or_state(command: Command) -> bool:
    if not is_gp(command.cla):
        return False
    deletes_key = command.ins == _DELETE and command.data[:1] and command.data[0] in _KEY_TAGS
    return command.ins in (_PUT_KEY, _SET_STATUS, _GENERATE_EC_KEY) or bool(deletes_key)


def _without_channel(cla: int) -> int:
    return with_channel(cla & ~0x4F if cla & 0x40 else cla, 0)


def _listed(authorisation: bytes | None) -> frozenset[tuple[int, int]]:
    """What BF20 lists; what cannot be read lists nothing."""
    try:
        return Authorisation.parse(authorisation or b"").commands
    except DecodeError:
        return frozenset()
