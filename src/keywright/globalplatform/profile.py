"""Where cards differ, or the specification leaves a choice: one named field each, for both ends.

A field marked [?] rests on one implementation or on a reading that could not be checked; its default is the usual one.
The protocols have profiles of their own; a card is all of them together. `PROFILES` names known kinds of card.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from keywright.globalplatform.install import InstallFor
from keywright.globalplatform.key_data import Padding
from keywright.iso7816.status import SW
from keywright.scp.scp02.profile import DEFAULT as SCP02_DEFAULT
from keywright.scp.scp02.profile import Profile as Scp02Profile
from keywright.scp.scp03.profile import Profile as Scp03Profile
from keywright.scp.scp10.profile import Profile as Scp10Profile
from keywright.scp.scp11 import profile as scp11
from keywright.scp.scp11.profile import Profile as Scp11Profile
from keywright.scp.scp80.profile import Profile as Scp80Profile

StatusWord: TypeAlias = Annotated[int, msgspec.Meta(ge=0x6000, le=0x9FFF)]
Bits: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]


class RestrictBits(msgspec.Struct, frozen=True):
    """Bits of D9 of INSTALL [for registry update]: what is no longer allowed, for good (GPCS 11.5.2.3.7).

    [?] Which bit is which, and what each is about: the specification's table was not at hand.
    """

    registry_update: Bits = 0x01
    """[?] No more registry update of the application or load file."""
    personalization: Bits = 0x02
    """[?] No more INSTALL [for personalization] of the application."""
    extradition: Bits = 0x04
    """[?] No more extradition of the application or load file."""
    make_selectable: Bits = 0x08
    """[?] No more INSTALL [for make selectable] of the application."""
    install: Bits = 0x10
    """[?] No more INSTALL [for install] from the load file."""
    load: Bits = 0x20
    """[?] No more load files for the security domain."""
    delete: Bits = 0x40
    """[?] No more DELETE of the application or load file."""


class CardProfile(msgspec.Struct, frozen=True):
    """How one kind of card manages its content, for both ends: what a host should send, what a simulated card does."""

    # ---- objects and lists ------------------------------------------------------------------------------------

    iso_class_returns_value: bool = True
    """GET DATA with the ISO class answers the value alone, with GlobalPlatform's the whole object (GPCS 11.3.3.1); else
    both answer the whole object."""
    extended_key_information: bool = False
    """Key information tells usage and access of every key (format FF); hosts of before GPCS 2.2 do not read it. Without
    it only of keys that have some, or a component of more than 255 bytes."""
    legacy_status: bool = True
    """GET STATUS knows the format without tags (P2 bit b2 clear); else it is refused with 6A86."""
    application_list_in_templates: bool = True
    """[?] The list of 2F00 has a 61 around each AID; else they stand there alone."""
    fci_tells_card_data: bool = False
    """The answer to SELECT of a domain tells its card data (73) and life cycle (9F6E) too."""

    # ---- content ----------------------------------------------------------------------------------------------

    changes_need_mac: bool = False
    """What changes the card needs a session with C-MAC, as many issuers set their cards; else being authenticated
    suffices, at level 00 too (GPCS 11)."""
    combined_p1: Literal[0x0E, 0x02] = InstallFor.LOAD_INSTALL_AND_MAKE_SELECTABLE
    """[?] P1 of both INSTALL of a combined process, as a host sends it: 0E; or 02, and then 0C in the last. The element
    takes both."""
    restrict: RestrictBits = RestrictBits()
    """[?] Which bit of D9 is which."""
    domain_load_file: bytes = bytes.fromhex("A0000001515350")
    """Load file of security domains, by the AIDs that GlobalPlatform assigned for it. The element takes those of the
    older assignment too."""
    domain_module: bytes = bytes.fromhex("A000000151535041")
    """Module of security domains."""
    single_privileges_move: bool = True
    """[?] A privilege that one application holds moves to the next that is given it; else the second is refused with
    6985, unless the issuer security domain is the first."""
    privileges_later: bool = True
    """[?] INSTALL [for make selectable] gives privileges to an application that is selectable already, as
    GlobalPlatformPro asks for the default selected one; else only registry update does."""
    delete_token: bool = True
    """[?] A domain with delegated management needs a token to delete; if not, one that comes is checked."""
    load_order_status: StatusWord = SW.INCORRECT_P1P2
    """Status for a LOAD whose block is not the next: 6A86, or 6985 on some cards. The load is aborted either way."""
    same_state_status: StatusWord = SW.CONDITIONS_NOT_SATISFIED
    """[?] Status for SET STATUS into the state that is there."""

    # ---- keys and data ----------------------------------------------------------------------------------------

    aes_inner_length: bool = True
    """PUT KEY of an AES key has its length before the ciphertext, as a host sends it: so the specification and
    GlobalPlatformPro. Yubico's and gpshell send it without. The element reads both."""
    wrong_kcv_status: StatusWord = SW.SECURITY_STATUS_NOT_SATISFIED
    """Status for a key that does not arrive as its check value says: 6982, or the older 9485."""
    encrypted_value_padding: Padding = "80"
    """[?] Padding of values under the data encryption key in STORE DATA: 80 and zeros, or zeros where needed."""
    inherit_keys: bool = True
    """A security domain without keys of its own opens sessions with those of the domain it is associated with, as many
    cards do, so that it can be personalised; else it has none before STORE DATA brought some."""
    issuer_objects: bool = True
    """[?] STORE DATA renames the issuer security domain (4F) and writes the personalisation fields of the CPLC (9F66,
    9F67), as cards do that GlobalPlatformPro is used with; else those tags are refused as unknown."""

    # ---- proofs -----------------------------------------------------------------------------------------------

    receipts: bool = True
    """A card with a receipt key gives receipts; the confirmation is 00 otherwise."""
    confirmation_length: bool = False
    """[?] An answer with a receipt begins with the length of all that follows, as GlobalPlatformPro reads it; else with
    the length of the receipt, as kaoh's library does (GPCS 11.1.6)."""
    receipt_tells_token: bool = True
    """[?] Confirmation data end with the identifier of the token (93 in B6), when one was used."""

    # ---- protocols --------------------------------------------------------------------------------------------

    scp02: Scp02Profile = SCP02_DEFAULT
    """SCP02."""
    scp03: Scp03Profile = Scp03Profile()
    """SCP03."""
    scp10: Scp10Profile = Scp10Profile()
    """SCP10."""
    scp11: Scp11Profile = Scp11Profile()
    """SCP11."""
    scp80: Scp80Profile = Scp80Profile()
    """SCP80."""


DEFAULT: Final = CardProfile()
"""A card that does what GPCS 2.3.1 says, read as most implementations read it."""

YUBIKEY: Final = CardProfile(aes_inner_length=False, scp03=Scp03Profile(pads_empty=True), scp11=scp11.YUBIKEY)
"""Retail YubiKey from firmware 5.7.2, as its own tools speak with it."""

WALLET: Final = CardProfile(scp11=scp11.WALLET)
"""Deployed hardware wallets on Java Card."""

GP211: Final = CardProfile(wrong_kcv_status=0x9485, load_order_status=SW.CONDITIONS_NOT_SATISFIED)
"""A card of GPCS 2.1.1, with the status words of that time."""

OLD_SIM: Final = CardProfile(scp80=Scp80Profile(single_des=True, errors_in_clear=False))
"""A SIM of the years of single DES, that signs its errors: what the key search of 2013 lived on."""

SJA5: Final = CardProfile(scp80=Scp80Profile(aes_needs_counter=False))
"""sysmoISIM-SJA5: AES packets without a counter are taken."""

PROFILES: Final[Mapping[str, CardProfile]] = MappingProxyType(
    {
        "default": DEFAULT,
        "yubikey": YUBIKEY,
        "wallet": WALLET,
        "gp211": GP211,
        "old-sim": OLD_SIM,
        "sja5": SJA5,
    }
)
"""Kinds of card by name, as the command line has them."""
