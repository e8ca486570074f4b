"""What differs between SCP11 cards, and what is unsure for want of a copy of Amendment F: one named field each.

A field marked [?] rests on one implementation or on a guess; its default is what most cards and hosts do.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from keywright.scp.scp11.messages import LEVELS_OF_USAGE, I, i_bytes

Fragments: TypeAlias = Literal["p1", "p1-chained", "chained", "extended"]
"""How a host sends a certificate that does not fit one command: class 80 and P1|80; class 90 and P1|80; class 90 and P1
unchanged (ISO chaining); or one command of extended length."""

Ecka: TypeAlias = Literal["x", "sha1"]
GroupId: TypeAlias = Literal["lv", "raw"]

BUILT_IN: Final = (0x70, 0xA4, 0xC0, 0xCA)
"""MANAGE CHANNEL, SELECT, GET RESPONSE, GET DATA."""


EVERYTHING: Final = (I.A | I.B | I.CHAINS | I.C | I.AUTHORISATION_IN_C | I.SECOND) << 8 | I.AUTHORISATION_IN_A | I.X509
"""The "i" of a card that does all of it."""


class Profile(msgspec.Struct, frozen=True):
    """Facts about a kind of card, for both ends."""

    i: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] = EVERYTHING
    """The "i" parameter: which variants, S8 or S16, which certificates. Nothing in the handshake tells S16."""

    # ---- derivation -------------------------------------------------------------------------------------------

    ecka: Ecka = "x"
    """Result of a key agreement: the X coordinate, or its SHA-1, which Java Card gives by default and deployed wallet
    cards use."""
    group_id: GroupId = "lv"
    """CardGroupID in the derivation of SCP11c: after its length, or without, as deployed wallet cards do."""
    kdf_hash: Literal["sha256", "sha384", "sha512"] = "sha256"
    """Hash of the key derivation. [?] Whether larger keys ask for a larger one; nobody does it."""
    empty_ids: bool = False
    """[?] SIN or SDIN that the card does not have count as empty; else the card refuses with 6A88."""
    static_dek: bool = True
    """[?] The key-DEK beside SK.SD.ECKA, if loaded, encrypts sensitive data instead of the session's S-DEK."""

    # ---- levels -----------------------------------------------------------------------------------------------

    usages: tuple[int, ...] = (0x34, 0x3C)
    """Key usage qualifiers that are taken. [?] 1C and 74 exist on one card; `ALL_USAGES` adds them."""
    r_mac_sessions: bool = False
    """[?] BEGIN and END R-MAC SESSION inside SCP11: refused with 6985 unless on."""
    always_owner: bool = False
    """Whoever a CA-KLOC certifies is the owner (AUTHENTICATED), as on a YubiKey; else only a holder whose subject
    identifier equals the provider identifier of the security domain. [?] For X.509 that is the subject key
    identifier."""
    built_in: tuple[int, ...] = BUILT_IN
    """[?] Instructions that need no entry in BF20 of a certificate whose holder is ANY_AUTHENTICATED."""

    # ---- certificates -----------------------------------------------------------------------------------------

    policies: Literal["required", "if-present", "ignored"] = "if-present"
    """[?] Whether an X.509 certificate must name its place by a policy."""
    gp_hash: Literal["by-curve", "sha256"] = "by-curve"
    """[?] Hash of a signature in GlobalPlatform's format: as wide as the signer's curve, or always SHA-256."""
    certificate_bytes: Annotated[int, msgspec.Meta(ge=0xFF, le=0xFFFF)] = 4096
    """Largest certificate that the card takes in fragments."""

    # ---- what the host does -----------------------------------------------------------------------------------

    fragments: Fragments = "chained"
    """A YubiKey answers 6A80 to extended length, a known Java Card applet takes nothing else."""
    pads_empty: bool = False
    """Empty data under C-DEC: one encrypted block of padding (YubiKey), or nothing (Amd D 6.2.6)."""
    gp_class_for_certificates: bool = False
    """Ask for BF21 with class 80, not 00; the answer then has the tag around it."""
    tries_layouts: bool = False
    """Try every `ecka` and `group_id`: the receipt shows which is the card's."""
    receipt_may_lack: bool = False
    """[?] SCP11b before version 1.4: accept an answer without receipt; chaining then starts with zeros."""

    # ---- status words -----------------------------------------------------------------------------------------

    no_certificate: Annotated[int, msgspec.Meta(ge=0x6000, le=0x9FFF)] = 0x6985
    """[?] MUTUAL AUTHENTICATE with no certificate before it: 6985 at one card, 6A88 elsewhere."""
    wrong_p2: Annotated[int, msgspec.Meta(ge=0x6000, le=0x9FFF)] = 0x6A86
    """AUTHENTICATE with P2 that is no key of the variant; 6B00 at one card."""
    failure_limit: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)] = 0
    """Failures in a row that block a key (6983); 0: none do. A YubiKey blocks within 65."""

    @property
    def mac_length(self) -> int:
        """Bytes of a C-MAC or R-MAC: 16 in S16 mode, else 8."""
        return 16 if i_bytes(self.i)[0] & I.S16 else 8

    @property
    def levels(self) -> tuple[int, ...]:
        """Security levels of the usages taken."""
        return tuple(LEVELS_OF_USAGE[usage] for usage in self.usages)

    def offers(self, letter: str) -> bool:
        """Whether "i" names the variant "a", "b" or "c"."""
        return bool(i_bytes(self.i)[0] & {"a": I.A, "b": I.B, "c": I.C}[letter])

    def takes_authorisation(self, letter: str) -> bool:
        """Whether BF20 in a certificate is supported with this variant."""
        first, second = i_bytes(self.i)
        return bool(first & I.AUTHORISATION_IN_C if letter == "c" else second & I.AUTHORISATION_IN_A)

    @property
    def takes_x509(self) -> bool:
        """Whether X.509 certificates are taken."""
        return bool(i_bytes(self.i)[1] & I.X509)

    @property
    def takes_gp_certificates(self) -> bool:
        """Whether certificates of GlobalPlatform's format are taken."""
        return not i_bytes(self.i)[1] & I.NO_GP_CERTIFICATES

    @property
    def takes_chains(self) -> bool:
        """Whether there may be CA certificates before the last one."""
        return bool(i_bytes(self.i)[0] & I.CHAINS)

    @property
    def remembers_pk(self) -> bool:
        """Whether PK.OCE of the last chain serves later sessions."""
        return bool(i_bytes(self.i)[0] & I.PERSISTENT_PK)


ALL_USAGES: Final = tuple(sorted(LEVELS_OF_USAGE))

YUBIKEY: Final = Profile(i=0x9B06, pads_empty=True, always_owner=True, policies="required", failure_limit=64)
"""Retail YubiKey from firmware 5.7.2."""

WALLET: Final = Profile(i=I.C, ecka="sha1", group_id="raw", usages=(0x3C,))
"""Deployed hardware wallets on Java Card, SCP11c with certificates of GlobalPlatform's format."""
