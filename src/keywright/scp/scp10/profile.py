"""What the text of SCP10 leaves open, each with the reading taken here as its default.

No public vector and no second implementation settles these; a card that reads one otherwise is met by changing the
field. Both ends of a channel must have the same profile.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from keywright.iso7816.status import SW


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The readings of Appendix F that one card or project has taken."""

    mac_class: Literal["unprotected", "sent"] = "unprotected"
    """[?] CLA under the C-MAC: of the command before protection (F.3.2, literally) or as sent; without channel bits."""

    le_object_for_r_mac: bool = True
    """[?] Whether the host puts `97 01 00` into a command that only R-MAC gives an answer with data (F.3.2 is silent).

    A card reads both: it takes the MAC over exactly the objects that came.
    """

    counter: Literal["key", "session", "direction"] = "key"
    """[?] What has its own ICV counter: each key (one for both directions counts both); the whole session, from the
    first counter given; or each direction, even of one key. F.3.2 says only "one new value for the next C-MAC or
    R-MAC"."""

    bare_answers_count: bool = False
    """[?] Whether an answer that bears no R-MAC, because its status word is an error, advances the counter too."""

    dek_mode: Literal["ecb", "cbc"] = "ecb"
    """[?] Mode of the data encryption key when its template names no key type 82 or 83; CBC has ICV 0."""

    command_dek: Literal[0x80, 0x40] = 0x80
    """[?] Usage bit of the key for sensitive data in commands: table F-11 has 80, GPCS 11.1.9 has 40.

    Matters only when there are two such keys; a single one serves both directions whatever its bits.
    """

    identifier_end: Literal["last", "first"] = "last"
    """[?] Which 8 bytes of the holder reference (5F20) identify card and host in what they sign ("TBD" in F.1.4.3)."""

    check_host_identifier: bool = True
    """[?] Whether INTERNAL AUTHENTICATE is refused (6A80) when its identifier is not that of the host's certificate."""

    random_padding: bool = False
    """[?] Whether the host pads what the card deciphers with random bytes (F.2.1, RSAES-PKCS1-v1_5), or with FF (F-32).

    A card reads both.
    """

    certificate_hash: Literal["sha1", "sha256", "sha384", "sha512"] = "sha1"
    """Hash of certificates without message recovery; another than SHA-1 only if card data says so (F.1.3.4).

    Signatures with message recovery and those of the authentication itself have SHA-1 always.
    """

    issuer_bytes: Annotated[int, msgspec.Meta(ge=1, le=16)] = 8
    """[?] Non-self-descriptive certificates: length of the issuer reference, which comes first."""

    holder_bytes: Annotated[int, msgspec.Meta(ge=1, le=16)] = 8
    """[?] Non-self-descriptive certificates: length of the holder reference, which follows."""

    exponent_bytes: Annotated[int, msgspec.Meta(ge=1, le=4)] = 3
    """[?] Non-self-descriptive certificates: length of the public exponent, at the end; the modulus is between."""

    wrong_order: Annotated[int, msgspec.Meta(ge=0x6000, le=0x9FFF)] = SW.CONDITIONS_NOT_SATISFIED
    """[?] Status word for a command of the initiation that comes at the wrong moment (F.4 names no own one)."""
