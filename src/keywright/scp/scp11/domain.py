"""What the card end of SCP11 asks of the security domain around it."""

from __future__ import annotations

from typing import Protocol

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPublicKey
from keywright.scp.scp11.keys import AgreementKey
from keywright.scp.scp11.messages import AllowList
from keywright.scp.scp11.profile import Profile


class SecurityDomain(Protocol):
    """What an initiation asks of the security domain it is for. Keys are found by key version number and identifier."""

    @property
    def profile(self) -> Profile:
        """What kind of card this is."""
        ...

    def agreement_key(self, kvn: int, kid: int, /) -> AgreementKey | None:
        """SK.SD.ECKA."""
        ...

    def static_dek(self, kvn: int, kid: int, /) -> AesKey | None:
        """The static key-DEK that is used in place of S-DEK, if it is loaded."""
        ...

    def ephemeral_key(self, curve: str, /) -> AgreementKey:
        """A new key, for one session: `EcPrivateKey.draw` with the card's source of randomness."""
        ...

    def ca_key(self, kvn: int, kid: int, /) -> EcPublicKey | None:
        """PK.CA-KLOC."""
        ...

    def allow_list(self, kvn: int, kid: int, /) -> AllowList | None:
        """What is stored for a CA-KLOC key; None, or a list without serial numbers, allows every certificate."""
        ...

    def sin(self) -> bytes | None:
        """Value of GET DATA 42, if there is one."""
        ...

    def sdin(self) -> bytes | None:
        """Value of GET DATA 45, if there is one."""
        ...

    def group_id(self, kvn: int, kid: int, /) -> bytes | None:
        """CardGroupID: the subject identifier of the certificate of this SK.SD.ECKA."""
        ...

    def provider_id(self) -> bytes | None:
        """Application provider identifier (5F20 of INSTALL): who shows it as subject identifier is the owner."""
        ...

    def is_static_session_elsewhere(self) -> bool:
        """Whether a session of SCP11c runs with this security domain on another channel."""
        ...

    def remembered(self) -> bytes | None:
        """The certificate that `remember` was last given, as long as CA key and allow-list stay that accepted it."""
        ...

    def remember(self, certificate: bytes, /) -> None:
        """Keep the last certificate of a chain that was accepted; asked only where "i" says so."""
        ...

    def is_blocked(self, kvn: int, kid: int, /) -> bool:
        """Whether too many failures have blocked this key."""
        ...

    def count(self, kvn: int, kid: int, /, *, accepted: bool) -> None:
        """A use of a key succeeded, or failed for what the host sent."""
        ...
