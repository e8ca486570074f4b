"""Where cards differ in content management, or the specification leaves a choice: one named field each.

A field marked [?] rests on one implementation or on a reading that could not be checked; its default is the usual one.
The protocols have profiles of their own; a card is all of them together.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keywright.globalplatform.install import InstallFor
from keywright.globalplatform.key_data import Padding
from keywright.iso7816.status import SW
from keywright.scp.scp02.profile import DEFAULT as SCP02_DEFAULT
from keywright.scp.scp02.profile import Profile as Scp02Profile
from keywright.scp.scp10.profile import Profile as Scp10Profile
from keywright.scp.scp11.profile import Profile as Scp11Profile


class RestrictBits(msgspec.Struct, frozen=True):
    """Bits of D9 of INSTALL [for registry update]: what is no longer allowed (GPCS 11.5.2.3.7). [?] All of them."""

    registry_update: int = 0x01
    personalization: int = 0x02
    extradition: int = 0x04
    make_selectable: int = 0x08
    install: int = 0x10
    load: int = 0x20
    delete: int = 0x40

    @property
    def known(self) -> int:
        """All bits together."""
        return (
            self.registry_update
            | self.personalization
            | self.extradition
            | self.make_selectable
            | self.install
            | self.load
            | self.delete
        )


class CardProfile(msgspec.Struct, frozen=True):
    """How one kind of card manages its content, for both ends: what a host should send, what a simulated card does."""

    # ---- objects and lists ------------------------------------------------------------------------------------

    iso_class_returns_value: bool = True
    """GET DATA with the ISO class answers the value alone, with GlobalPlatform's the whole object (GPCS 11.3.3.1)."""
    extended_key_information: bool = False
    """Key information tells usage and access (format FF); hosts of before GPCS 2.2 do not read it."""
    legacy_status: bool = True
    """GET STATUS knows the format without tags (P2 bit b2 clear)."""
    application_list_in_templates: bool = True
    """The list of 2F00 has a 61 around each AID. [?]"""
    fci_names_resources: bool = False
    """The answer to SELECT of a domain tells its card data (73) and life cycle (9F6E) too."""

    # ---- installing -------------------------------------------------------------------------------------------

    combined_p1: int = InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE
    """P1 of both INSTALL of a combined process: 0E; or 02, and then 0C in the last. [?] Cards take both here."""
    restrict: RestrictBits = RestrictBits()
    """Which bit of D9 is which."""
    domain_load_file: bytes = bytes.fromhex("A0000001515350")
    """Load file of security domains, by the AIDs that GlobalPlatform assigned for it."""
    domain_module: bytes = bytes.fromhex("A000000151535041")
    """Module of security domains."""
    single_privileges_move: bool = True
    """A privilege that one application holds moves to the next that is given it; else the second is refused. [?]"""
    load_order_status: int = SW.CONDITIONS_NOT_SATISFIED
    """Status for a LOAD out of order: 6985, or 6A86 on some cards. The load is aborted either way."""
    same_state_status: int = SW.CONDITIONS_NOT_SATISFIED
    """Status for SET STATUS into the state that is there."""

    # ---- keys and data ----------------------------------------------------------------------------------------

    aes_inner_length: bool = True
    """PUT KEY of an AES key has its length before the ciphertext, as the specification and most hosts have it. Cards
    read both, also here; some old ones take only the form without."""
    wrong_kcv_status: int = SW.SECURITY_STATUS_NOT_SATISFIED
    """Status for a key that does not arrive as its check value says: 6982, or the older 9485."""
    encrypted_value_padding: Padding = "80"
    """Padding of values under the data encryption key in STORE DATA: 80 and zeros, or zeros where needed. [?]"""
    initial_keys_stay: bool = False
    """The initial set FF stays when the first set of the owner is complete."""

    # ---- chaining and proofs ----------------------------------------------------------------------------------

    bare_parts: bool = True
    """Parts of a command chained by P1 are answered with a bare 9000 in a session with R-MAC too (GPCS 11.1.5)."""
    receipts: bool = True
    """A card with a receipt key gives receipts; the confirmation is 00 otherwise."""
    receipt_tells_token: bool = True
    """Confirmation data end with the identifier of the token, when one was used. [?] Its exact place."""

    # ---- protocols --------------------------------------------------------------------------------------------

    scp02: Scp02Profile = SCP02_DEFAULT
    scp10: Scp10Profile = Scp10Profile()
    scp11: Scp11Profile = Scp11Profile()


DEFAULT: Final = CardProfile()
"""A card that does what GPCS 2.3.1 says, read as most implementations read it."""
