"""Card content management on the wire, for both ends (GlobalPlatform Card Specification 2.3.1, "GPCS").

Tags carry their inner value: `item(CARD_DATA, CardData(...).build())` is the object as GET DATA returns it.
"""

from __future__ import annotations

from typing import Annotated, Final

from keywright.codec.record import U8, U16, Record, Rest, prefixed, raw
from keywright.codec.tlv import Template, item, items, tag
from keywright.errors import DecodeError


class Ins:
    """Instruction bytes (GPCS table 11-2; SELECT, MANAGE CHANNEL and GET RESPONSE are ISO 7816-4's)."""

    MANAGE_SECURITY_ENVIRONMENT: Final = 0x22
    PERFORM_SECURITY_OPERATION: Final = 0x2A
    INITIALIZE_UPDATE: Final = 0x50
    MANAGE_CHANNEL: Final = 0x70
    END_R_MAC_SESSION: Final = 0x78
    BEGIN_R_MAC_SESSION: Final = 0x7A
    EXTERNAL_AUTHENTICATE: Final = 0x82
    """MUTUAL AUTHENTICATE in SCP11."""
    GET_CHALLENGE: Final = 0x84
    INTERNAL_AUTHENTICATE: Final = 0x88
    SELECT: Final = 0xA4
    GET_RESPONSE: Final = 0xC0
    GET_DATA: Final = 0xCA
    GET_DATA_ODD: Final = 0xCB
    """The same with an ISO class alone (GPCS 11.3.2)."""
    PUT_KEY: Final = 0xD8
    STORE_DATA: Final = 0xE2
    DELETE: Final = 0xE4
    INSTALL: Final = 0xE6
    LOAD: Final = 0xE8
    SET_STATUS: Final = 0xF0
    GENERATE_EC_KEY: Final = 0xF1
    """Yubico's own: a new key of SCP11."""
    GET_STATUS: Final = 0xF2


class Tag:
    """Data objects of GET DATA and of the templates below (GPCS 11.3.3.1, H.2)."""

    IIN: Final = 0x42
    CIN: Final = 0x45
    AID: Final = 0x4F
    CARD_DATA: Final = 0x66
    CAPABILITIES: Final = 0x67
    FCI: Final = 0x6F
    SEQUENCE_COUNTER: Final = 0xC1
    CONFIRMATION_COUNTER: Final = 0xC2
    KDD: Final = 0xCF
    SECURITY_LEVEL: Final = 0xD3
    KEY_INFORMATION: Final = 0xE0
    APPLICATION: Final = 0xE3
    APPLICATION_LIST: Final = 0x2F00
    MANAGER_URL: Final = 0x5F50
    CPLC: Final = 0x9F7F
    CERTIFICATES: Final = 0xBF21
    RESOURCES: Final = 0xFF21


DEFAULT_ISD: Final = bytes.fromhex("A000000151000000")
"""AID of the issuer security domain on most cards."""


class KeyType:
    """Key type coding (GPCS table 11-16)."""

    DES: Final = 0x80
    AES: Final = 0x88
    EC_PUBLIC: Final = 0xB0
    EC_PRIVATE: Final = 0xB1
    EC_PARAMETERS: Final = 0xF0


class FciProprietary(Template, frozen=True):
    """Proprietary part of the answer to SELECT (GPCS 11.9.3.1)."""

    max_data: Annotated[int | None, tag(0x9F65)] = None
    life_cycle_data: Annotated[bytes | None, tag(0x9F6E)] = None
    management_data: Annotated[bytes | None, tag(0x73)] = None


class Fci(Template, frozen=True):
    """Inside 6F of the answer to SELECT."""

    aid: Annotated[bytes, tag(0x84)]
    proprietary: Annotated[FciProprietary | None, tag(0xA5)] = None


class Cplc(Record, frozen=True):
    """Card production life cycle data, the 42 bytes of 9F7F. Dates are BCD YDDD."""

    ic_fabricator: U16
    ic_type: U16
    os_id: U16
    os_date: U16
    os_level: U16
    ic_date: U16
    ic_serial: Annotated[bytes, raw(4)]
    ic_batch: U16
    module_fabricator: U16
    module_date: U16
    icc_manufacturer: U16
    embedding_date: U16
    pre_personaliser: U16
    pre_perso_date: U16
    pre_perso_equipment: Annotated[bytes, raw(4)]
    personaliser: U16
    perso_date: U16
    perso_equipment: Annotated[bytes, raw(4)]

    @property
    def chip_id(self) -> bytes:
        """What tells one chip from every other, 10 bytes: fabricator, type, batch and serial number."""
        return self.ic_fabricator.to_bytes(2) + self.ic_type.to_bytes(2) + self.ic_batch.to_bytes(2) + self.ic_serial


class Oid(Template, frozen=True):
    """A template that holds one object identifier, coded as in DER."""

    oid: Annotated[bytes, tag(0x06)]


class Oids(Template, frozen=True):
    """A template that holds object identifiers; nearly always one, but some cards put all they have into one 64."""

    oids: Annotated[tuple[bytes, ...], tag(0x06)] = ()


class CardRecognitionData(Template, frozen=True):
    """Inside 73 of card data (GPCS H.2): what the card is and which secure channels it speaks."""

    oid: Annotated[bytes, tag(0x06)]
    management: Annotated[Oid | None, tag(0x60)] = None
    identification: Annotated[Oid | None, tag(0x63)] = None
    secure_channels: Annotated[tuple[Oids, ...], tag(0x64)] = ()
    configuration: Annotated[bytes | None, tag(0x65)] = None
    chip: Annotated[bytes | None, tag(0x66)] = None


class CardData(Template, frozen=True):
    """Inside 66."""

    recognition: Annotated[CardRecognitionData, tag(0x73)]

    @property
    def secure_channels(self) -> tuple[tuple[int, int], ...]:
        """Pairs (protocol, "i") the card names, e.g. ((3, 0x70),). Two-byte "i" values are kept joined."""
        found = (secure_channel_of(oid) for entry in self.recognition.secure_channels for oid in entry.oids)
        return tuple(pair for pair in found if pair is not None)

    @property
    def challenge_bytes(self) -> int:
        """Length of SCP03 challenges with this card: 16 when it names an "i" with the S16 bit, else 8 (Amd D 5.1)."""
        return 16 if any(scp == 0x03 and i & 0x01 for scp, i in self.secure_channels) else 8


GP_OID: Final = bytes.fromhex("2A864886FC6B")
"""1.2.840.114283, the arc of GlobalPlatform."""


def secure_channel_of(oid: bytes) -> tuple[int, int] | None:
    """Protocol and "i" of an object identifier {GlobalPlatform 4 scp i}; None for another one.

    Cards write the last arcs raw (SCP80 as 8000, the two bytes of SCP11's "i" as 9B06) or as numbers to base 128 (SCP81
    as 8101xx); both are read. Three bytes that begin with 8100 or 8101 are the second form.
    """
    arcs = oid.removeprefix(GP_OID)
    if arcs == oid or len(arcs) < 3 or arcs[0] != _SECURE_CHANNEL_ARC:
        return None
    scp, i = arcs[1], arcs[2:]
    if scp == _CONTINUED and len(i) >= 2 and i[0] in (0, 1):
        scp, i = 0x80 | i[0], i[1:]
    return scp, int.from_bytes(i)


def secure_channel_oid(scp: int, i: int) -> bytes:
    """Inverse of `secure_channel_of`: SCP81 to base 128, all others raw."""
    protocol = bytes((_CONTINUED, 1)) if scp == _SCP81 else bytes((scp,))
    return GP_OID + bytes((_SECURE_CHANNEL_ARC,)) + protocol + i.to_bytes(2 if i > 0xFF else 1)


_SECURE_CHANNEL_ARC: Final = 4
_CONTINUED: Final = 0x81
_SCP81: Final = 0x81


def card_data(secure_channels: tuple[tuple[int, int], ...], version: bytes = b"\x02\x03\x01") -> CardData:
    """Card data of a GPCS 2.3.1 card that speaks these (protocol, "i") pairs."""
    return CardData(
        CardRecognitionData(
            GP_OID + b"\x01",
            Oid(GP_OID + b"\x02" + version),
            Oid(GP_OID + b"\x03"),
            tuple(Oids((secure_channel_oid(scp, i),)) for scp, i in secure_channels),
        )
    )


class KeyComponent(Record, frozen=True):
    """Type and length of one component of a key."""

    type: U8
    length: U8


class KeyEntry(Record, frozen=True):
    """Inside C0 of key information, basic format (GPCS table 11-36)."""

    kid: U8
    kvn: U8
    components: tuple[KeyComponent, ...] = ()


class KeyInformation(Template, frozen=True):
    """Inside E0: every key the security domain holds."""

    keys: Annotated[tuple[KeyEntry, ...], tag(0xC0)] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """The key version numbers present, each once, in the card's order."""
        return tuple(dict.fromkeys(key.kvn for key in self.keys))


class ApplicationEntry(Template, frozen=True):
    """Inside E3 of GET STATUS (GPCS 11.4.3.1). version: two bytes, of a load file. implicit_selection: one CF each."""

    aid: Annotated[bytes, tag(0x4F)]
    life_cycle: Annotated[int, tag(0x9F70)]
    privileges: Annotated[bytes | None, tag(0xC5)] = None
    load_file: Annotated[bytes | None, tag(0xC4)] = None
    security_domain: Annotated[bytes | None, tag(0xCC)] = None
    version: Annotated[bytes | None, tag(0xCE)] = None
    modules: Annotated[tuple[bytes, ...], tag(0x84)] = ()
    implicit_selection: Annotated[tuple[bytes, ...], tag(0xCF)] = ()


class StatusList(Template, frozen=True):
    """Answer to GET STATUS in TLV format."""

    applications: Annotated[tuple[ApplicationEntry, ...], tag(0xE3)] = ()


class StatusQuery(Template, frozen=True):
    """Search criteria of GET STATUS: an AID or its beginning, and the tags wanted (GPCS 11.4.2.3)."""

    aid: Annotated[bytes, tag(0x4F)]
    tags: Annotated[bytes | None, tag(0x5C)] = None


class DeleteKey(Template, frozen=True):
    """Data of DELETE for keys: a key identifier, a key version number, or both (GPCS 11.2.2.3.2)."""

    kid: Annotated[int | None, tag(0xD0, size=1)] = None
    kvn: Annotated[int | None, tag(0xD2, size=1)] = None


class PutKeyField(Record, frozen=True):
    """One key of PUT KEY, basic format (GPCS 11.8.2.3): type, encrypted block, check value."""

    type: U8
    block: Annotated[bytes, prefixed(1)]
    kcv: Annotated[bytes, prefixed(1)]

    def split(self, cipher_block: int = 16) -> tuple[int, bytes]:
        """Key length in bytes and ciphertext of an AES or DES block.

        Both forms in the field: with the key length before the ciphertext (as the specification has it) and
        without (as kaoh and yubikit send it); the length is there iff the block is no whole number of cipher
        blocks. Without it the key is as long as its ciphertext.
        """
        if len(self.block) % cipher_block == 1:
            return self.block[0], self.block[1:]
        return len(self.block), self.block


class PutKey(Record, frozen=True):
    """Data of PUT KEY."""

    kvn: U8
    keys: tuple[PutKeyField, ...] = ()


class PutKeyResponse(Record, frozen=True):
    """Answer to PUT KEY: the key version number and the check values of its keys, 3 bytes each."""

    kvn: U8
    kcvs: Annotated[bytes, Rest()] = b""


MORE_COMMANDS: Final = 0x80
"""P1 bit of DELETE, INSTALL and PUT KEY: more of this command follows."""
CHAINED: Final = frozenset({Ins.DELETE, Ins.INSTALL, Ins.PUT_KEY})
"""Instructions whose P1 has that bit; on LOAD and STORE DATA the same bit means "last"."""
MULTIPLE_KEYS: Final = 0x80
"""P2 bit of PUT KEY: several keys in one command."""


class StatusScope:
    """P1 of GET STATUS (GPCS table 11-33), and of SET STATUS as far as it has them."""

    ISSUER_DOMAIN: Final = 0x80
    APPLICATIONS: Final = 0x40
    LOAD_FILES: Final = 0x20
    LOAD_FILES_AND_MODULES: Final = 0x10
    DOMAIN_AND_APPLICATIONS: Final = 0x60
    """SET STATUS only: a security domain and all its applications, locked or unlocked together."""


class StatusFormat:
    """P2 bits of GET STATUS (GPCS table 11-34)."""

    NEXT: Final = 0x01
    TLV: Final = 0x02


class StoreData:
    """P1 bits of STORE DATA (GPCS table 11-89)."""

    LAST: Final = 0x80
    ENCRYPTION: Final = 0x60
    """Mask of the two bits that say what is encrypted."""
    APPLICATION_ENCRYPTED: Final = 0x20
    """In a way that the application knows."""
    ENCRYPTED: Final = 0x60
    """Under the data encryption key."""
    STRUCTURE: Final = 0x18
    """Mask of the two bits that say how the data are built."""
    DGI: Final = 0x08
    BER_TLV: Final = 0x10
    CASE_4: Final = 0x01


def build_dgi(groups: tuple[tuple[int, bytes], ...]) -> bytes:
    """Data groups as EMV CPS writes them: identifier 2 bytes, length 1 byte or FF and 2 bytes, value."""
    out = []
    for identifier, value in groups:
        size = len(value)
        length = bytes((size,)) if size < 0xFF else b"\xff" + size.to_bytes(2)
        out.append(identifier.to_bytes(2) + length + value)
    return b"".join(out)


def parse_dgi(data: bytes) -> tuple[tuple[int, bytes], ...]:
    """Inverse of `build_dgi`. Raises DecodeError for a group that is cut off."""
    groups, at = [], 0
    while at < len(data):
        header = 5 if data[at + 2 : at + 3] == b"\xff" else 3
        if at + header > len(data):
            raise DecodeError("a data group is cut off in its header", at)
        size = int.from_bytes(data[at + 3 : at + 5]) if header == 5 else data[at + 2]
        end = at + header + size
        if end > len(data):
            raise DecodeError(f"data group {data[at : at + 2].hex().upper()} has {size} bytes, fewer are there", at)
        groups.append((int.from_bytes(data[at : at + 2]), data[at + header : end]))
        at = end
    return tuple(groups)


def wrapped(number: int, value: bytes) -> bytes:
    """The object `number` with its value, as the GlobalPlatform class of GET DATA returns it."""
    return item(number, value)


def unwrapped(number: int, data: bytes) -> bytes:
    """Value of the object `number` in an answer to GET DATA. Raises DecodeError when it is another object."""
    found = items(data)
    if len(found) != 1 or found[0][0] != number:
        raise DecodeError(f"expected one object {number:X}")
    return found[0][1]
