"""A model of GlobalPlatformPro (`gp.jar`): the bytes it sends, the order, and how strictly it reads.

Facts from martinpaljak/GlobalPlatformPro: `library/.../GPSession.java`, `GPData.java`, `GPRegistry.java`,
`GPKeyInfo.java`, `GPCommands.java`, `SCP02Wrapper.java`, `SCP03Wrapper.java`, `tool/.../GPTool.java`; and from
martinpaljak/apdu4j: `GetResponseWrapper.java`. Two generations differ. The one of 2020 puts Le only where it wants
data. The present one puts Le 00 behind every protected command, cuts what is longer than 255 bytes into segments with
P1 b8 after it made the C-MAC (and so sends nothing at all at level 00 without data), and takes challenges of 16 bytes
when 8 are refused with 6700.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from interop.foreign import (
    MOST,
    Answer,
    ForeignError,
    Keys,
    Plain,
    Scp02,
    Scp03,
    Session,
    Transmit,
    aes_kcv,
    ber_length,
    des_kcv,
    kdf,
    lv,
    one,
    tlvs,
)

BLOCK: Final = 255
"""Data bytes of one command, unless 9F65 of SELECT says less."""
AES, DES3, RSA_E, RSA_N, EC = 0x88, 0x80, 0xA0, 0xA1, 0xB0
DOMAIN_FILE: Final = bytes.fromhex("A0000001515350")
DOMAIN_MODULE: Final = bytes.fromhex("A000000151535041")
DUMPED: Final = (0x9F7F, 0x42, 0x45, 0xCF, 0xC1, 0x66, 0x67, 0xE0)
"""What `--info` reads, in this order."""
GLOBALPLATFORM: Final = bytes.fromhex("2A864886FC6B01")


@dataclass
class Entry:
    """A line of `gp --list`."""

    kind: str
    aid: bytes
    state: int
    privileges: bytes = b""
    domain: bytes = b""
    load_file: bytes = b""
    version: bytes = b""
    modules: list[bytes] = field(default_factory=list[bytes])

    def has(self, byte: int, bit: int) -> bool:
        """Whether it has a privilege."""
        return len(self.privileges) > byte and bool(self.privileges[byte] & bit)


class GlobalPlatformPro:
    """`gp`, one command line option a method."""

    def __init__(self, transmit: Transmit, keys: Keys | None = None, *, kvn: int = 0, modern: bool = True) -> None:
        """transmit: the card below javax.smartcardio. kvn: `--key-ver`. modern: the present generation."""
        self._transmit = transmit
        self.keys = keys or Keys()
        self.kvn = kvn
        self.modern = modern
        self.aid = b""
        self.block = BLOCK
        self.session: Session | None = None
        self.card_kvn = 0

    # ---- below the session -------------------------------------------------------------------------------------

    def bare(self, plain: Plain) -> Answer:
        """A command as it is."""
        return Answer.of(self._transmit(plain.encode()))

    def secured(self, plain: Plain) -> Answer:
        """A command through the secure channel; cut into segments by the present generation."""
        session = self._open()
        wrapped = session.wrap(plain)
        if not self.modern:
            return session.unwrap(self.bare(wrapped))
        pieces = [wrapped.data[at : at + BLOCK] for at in range(0, len(wrapped.data), BLOCK)]
        answer = Answer(b"", 0)
        for number, piece in enumerate(pieces, 1):
            last = number == len(pieces)
            p1 = plain.p1 if last else plain.p1 | 0x80
            answer = self.bare(Plain(wrapped.cla, wrapped.ins, p1, wrapped.p2, piece, MOST))
            if not last:
                _check("segment", answer)
        return session.unwrap(answer)

    def _open(self) -> Session:
        if self.session is None:
            raise ForeignError("no session")
        return self.session

    # ---- discovery ---------------------------------------------------------------------------------------------

    def discover(self) -> bytes:
        """SELECT without AID, else the default AID; the AID of the FCI."""
        answer = self.bare(Plain(0x00, 0xA4, 0x04, 0x00, ne=MOST))
        if answer.sw == 0x6A82:
            self.bare(Plain(0x00, 0xA4, 0x04, 0x00, bytes.fromhex("A000000167413000FF"), MOST))
        if answer.sw == 0x6A87:
            return self.connect(bytes.fromhex("A000000151000000"))
        _check("SELECT", answer, 0x6283)
        self.aid = one(one(answer.data, 0x6F), 0x84)
        if not self.aid:
            raise ForeignError("an empty AID in the FCI")
        return self.aid

    def connect(self, aid: bytes) -> bytes:
        """`--connect`: SELECT by AID, and what the FCI tells."""
        answer = self.bare(Plain(0x00, 0xA4, 0x04, 0x00, aid, MOST))
        _check("SELECT", answer, 0x6283)
        fci = one(answer.data, 0x6F)
        self.aid = one(fci, 0x84)
        for number, value in tlvs(one(fci, 0xA5)):
            if number == 0x9F65:
                self.block = min(self.block, int.from_bytes(value))
            if number == 0x73 and not one(value, 0x06).startswith(GLOBALPLATFORM[:-1]):
                raise ForeignError("card recognition data of something else")
        return self.aid

    def info(self) -> dict[int, bytes | None]:
        """`--info`: GET DATA with the GlobalPlatform class, whole objects; CPLC with the ISO class if that fails."""
        found = {
            tag: self._data(tag, again=tag == 0x9F7F) for tag in (0x9F7F, 0x42, 0x45, 0xCF, 0xC1, 0x66, 0x67, 0xE0)
        }
        cplc = found[0x9F7F]
        if cplc is not None and len(cplc) < 0x2A:
            raise ForeignError("CPLC too short")
        if cplc is not None and cplc[:3] == bytes.fromhex("9F7F2A"):
            found[0x9F7F] = cplc[3:]
        if found[0x66] is not None:
            self.identifiers = _identifiers(one(one(found[0x66], 0x66), 0x73))
        return found

    identifiers: tuple[bytes, ...] = ()
    """Object identifiers of the card recognition data."""

    def _data(self, tag: int, *, again: bool) -> bytes | None:
        answer = self.bare(Plain(0x80, 0xCA, tag >> 8, tag & 0xFF, ne=MOST))
        if again and answer.sw != 0x9000:
            answer = self.bare(Plain(0x00, 0xCA, tag >> 8, tag & 0xFF, ne=MOST))
        return answer.data if answer.sw == 0x9000 else None

    def key_information(self) -> list[tuple[int, int, int, int]]:
        """KVN, KID, type and length of every key; through the session if there is one."""
        asked = Plain(0x80, 0xCA, 0x00, 0xE0, ne=MOST)
        answer = self.bare(asked) if self.session is None else self.secured(asked)
        _check("GET DATA", answer)
        return [_key(value) for number, value in tlvs(one(answer.data, 0xE0)) if number == 0xC0 and value]

    def bare_select(self, aid: bytes) -> int:
        """`--apdu` after `--applet`: status word of a SELECT without Le."""
        return self.bare(Plain(0x00, 0xA4, 0x04, 0x00, aid)).sw

    def read(self, tag: int) -> bytes:
        """`--secure-apdu` with GET DATA."""
        answer = self.secured(Plain(0x80, 0xCA, tag >> 8, tag & 0xFF, ne=MOST))
        _check("GET DATA", answer)
        return answer.data

    # ---- session -----------------------------------------------------------------------------------------------

    def open(self, level: int = 0x01, challenge: bytes = bytes(range(8)), *, i: int = 0x55) -> Session:
        """INITIALIZE UPDATE, EXTERNAL AUTHENTICATE. i: what SCP02 is taken for; gp.jar always takes 15 or 55."""
        answer = self.bare(Plain(0x80, 0x50, self.kvn, 0x00, challenge, MOST))
        if answer.sw == 0x6700 and self.modern and len(challenge) == 8:
            return self.open(level, challenge * 2, i=i)
        if answer.sw in (0x6982, 0x6983):
            raise ForeignError("card locked?", answer.sw)
        _check("INITIALIZE UPDATE", answer)
        session, expected, cryptogram = self._agreed(answer.data, challenge, i)
        if expected != cryptogram[0]:
            raise ForeignError("card cryptogram invalid")
        self.session = session
        _check("EXTERNAL AUTHENTICATE", self.secured(Plain(0x84, 0x82, level, 0x00, cryptogram[1])))
        session.begin(level)
        return session

    def _agreed(self, told: bytes, challenge: bytes, i: int) -> tuple[Session, bytes, tuple[bytes, bytes]]:
        """The session, the cryptogram that came, and the two that should."""
        self.card_kvn, scp = told[10], told[11]
        if self.kvn and self.card_kvn != self.kvn:
            raise ForeignError("key version mismatch")
        size = len(challenge)
        if scp == 2:
            if len(told) != 28:
                raise ForeignError(f"INITIALIZE UPDATE response length: {len(told)}")
            old = Scp02(self.keys, told[12:14], encrypted_icv=bool(i & 0x10))
            return old, told[20:28], old.cryptograms(challenge, told[12:20])
        option = told[12]
        expected = 29 + 3 * bool(option & 0x10) + 16 * (option & 1)
        if scp != 3 or len(told) != expected or (size == 16) != bool(option & 1):
            raise ForeignError(f"INITIALIZE UPDATE response length: {len(told)}")
        card = told[13 : 13 + size]
        if option & 0x10 and kdf(self.keys.enc, 2, told[-3:] + self.aid, size) != card:
            raise ForeignError("pseudo-random card challenge")
        new = Scp03(self.keys, challenge + card, size, option)
        return new, told[13 + size : 13 + 2 * size], new.cryptograms(challenge, card)

    @property
    def room(self) -> int:
        """Bytes that one command carries inside the session."""
        session = self._open()
        return self.block - 8 * bool(session.level & 1) - 8 * bool(session.level & 2)

    # ---- registry ----------------------------------------------------------------------------------------------

    def registry(self, *, tags: bool = True, modules: bool = True) -> list[Entry]:
        """`--list`: the issuer domain, applications, load files with modules, load files; merged by AID."""
        found: dict[bytes, Entry] = {}
        asked = [(0x80, "ISD"), (0x40, "APP"), *([(0x10, "PKG")] if modules else []), (0x20, "PKG")]
        for p1, kind in asked:
            raw, in_tags = self._status(p1, tags=tags)
            for entry in _tagged(raw, kind) if in_tags else _legacy(raw, kind, with_modules=p1 == 0x10):
                if kind == "APP" and entry.has(0, 0x80):
                    entry.kind = "DOM"
                found.setdefault(entry.aid, entry)
        return list(found.values())

    def _status(self, p1: int, *, tags: bool) -> tuple[bytes, bool]:
        p2 = 0x02 if tags else 0x00
        query = bytes.fromhex("4F00")
        answer = self.secured(Plain(0x80, 0xF2, p1, p2, query, MOST))
        if p1 == 0x80 and answer.sw == 0x6A86 and tags:
            return self._status(p1, tags=False)
        if answer.sw not in (0x9000, 0x6310):
            return answer.data, tags
        whole = answer.data
        while answer.sw == 0x6310 and answer.data:
            answer = self.secured(Plain(0x80, 0xF2, p1, p2 | 1, query, MOST))
            _check("GET STATUS", answer, 0x6310)
            whole += answer.data
        return whole, tags

    # ---- content -----------------------------------------------------------------------------------------------

    def load(self, file: bytes, code: bytes, *, to: bytes = b"", digest: bytes = b"", parameters: bytes = b"") -> None:
        """`--load`: INSTALL [for load] and LOAD."""
        announced = lv(file) + lv(to or self.aid) + lv(digest) + ber_length(len(parameters)) + parameters
        ne = MOST if self.modern else None
        _check("INSTALL [for load]", self.secured(Plain(0x80, 0xE6, 0x02, 0x00, announced + b"\0", ne)))
        whole = b"\xc4" + ber_length(len(code)) + code
        pieces = [whole[at : at + self.room] for at in range(0, len(whole), self.room)]
        for number, piece in enumerate(pieces):
            p1 = 0x80 if number == len(pieces) - 1 else 0x00
            _check("LOAD", self.secured(Plain(0x80, 0xE8, p1, number & 0xFF, piece, ne)))

    def install(
        self, file: bytes, module: bytes, instance: bytes, privileges: bytes = b"\0", parameters: bytes = b""
    ) -> None:
        """`--create`, the end of `--install`: INSTALL [for install and make selectable]; parameters go into C9."""
        if not parameters.startswith(b"\xc9"):
            parameters = b"\xc9" + lv(parameters)
        data = lv(file) + lv(module) + lv(instance) + lv(privileges) + ber_length(len(parameters)) + parameters
        _check("INSTALL [for install and make selectable]", self.secured(Plain(0x80, 0xE6, 0x0C, 0, data + b"\0")))

    def domain(
        self, aid: bytes, privileges: bytes = b"\x80", *, allow_from: bool = False, allow_to: bool = False
    ) -> None:
        """`--domain`: a security domain with the protocol of the session, and rules for extradition."""
        session = self._open()
        parameters = bytes((0x81, 0x02, session.number, session.i))
        parameters += bytes.fromhex("82022020") * allow_to + bytes.fromhex("87022020") * allow_from
        self.install(DOMAIN_FILE, DOMAIN_MODULE, aid, privileges, parameters)

    def move(self, what: bytes, to: bytes) -> None:
        """`--move --to`: INSTALL [for extradition]."""
        data = lv(to) + b"\0" + lv(what) + b"\0\0\0"
        _check("INSTALL [for extradition]", self.secured(Plain(0x80, 0xE6, 0x10, 0x00, data)))

    def make_default(self, aid: bytes) -> None:
        """`--make-default`: INSTALL [for make selectable] with the card reset privilege."""
        data = b"\0\0" + lv(aid) + lv(b"\x04") + b"\0\0"
        _check("INSTALL [for make selectable]", self.secured(Plain(0x80, 0xE6, 0x08, 0x00, data)))

    def delete(self, aid: bytes, *, dependencies: bool = False) -> None:
        """`--delete`, `--uninstall`."""
        p2 = 0x80 if dependencies else 0x00
        _check("DELETE", self.secured(Plain(0x80, 0xE4, 0x00, p2, b"\x4f" + lv(aid))))

    def lock_applet(self, aid: bytes, *, lock: bool) -> None:
        """`--lock-applet`, `--unlock-applet`: SET STATUS to 80, or to 00."""
        _check("SET STATUS", self.secured(Plain(0x80, 0xF0, 0x40, 0x80 if lock else 0x00, aid)))

    def set_card(self, state: int) -> None:
        """`--initialize-card`, `--secure-card`, `--lock-card`, `--unlock-card`: SET STATUS without data."""
        _check("SET STATUS", self.secured(Plain(0x80, 0xF0, 0x80, state)))

    # ---- keys and data -----------------------------------------------------------------------------------------

    def put_keys(self, kvn: int, keys: Keys, *, aes: bool = True, replace: bool = False) -> None:
        """`--lock`: three keys in one PUT KEY; AES with the key length inside its block."""
        data = bytes((kvn,))
        for key in keys:
            block = self._open().encrypt_key(key)
            data += bytes((AES,)) + lv(lv(key)[:1] + block) if aes else bytes((DES3,)) + lv(block)
            data += lv(aes_kcv(key) if aes else des_kcv(key))
        answer = self.secured(Plain(0x80, 0xD8, kvn if replace else 0, 0x81, data))
        _check("PUT KEY", answer)
        if answer.data[:1] != bytes((kvn,)) or len(answer.data) not in (1, 10):
            raise ForeignError(f"answer to PUT KEY: {answer.data.hex()}")

    def put_public_key(self, kvn: int, encoded: bytes, *, replace: bool = False) -> None:
        """`--put-key`: a key in the clear, as `rsa_key` and `ec_key` write it; P2 01, one KCV length 00 at the end."""
        plain = Plain(0x80, 0xD8, kvn if replace else 0, 0x01, bytes((kvn,)) + encoded, MOST)
        _check("PUT KEY", self.secured(plain))

    def put_secret_key(self, kvn: int, key: bytes) -> None:
        """`--put-key` of a symmetric key (for receipts): AES with its length inside, P2 01."""
        block = lv(key)[:1] + self._open().encrypt_key(key)
        data = bytes((kvn, AES)) + lv(block) + lv(aes_kcv(key))
        _check("PUT KEY", self.secured(Plain(0x80, 0xD8, 0x00, 0x01, data, MOST)))

    def delete_key(self, kvn: int | None = None, kid: int | None = None) -> None:
        """`--delete-key`."""
        data = b"" if kid is None else bytes((0xD0, 1, kid))
        data += b"" if kvn is None else bytes((0xD2, 1, kvn))
        _check("DELETE", self.secured(Plain(0x80, 0xE4, 0x00, 0x00, data)))

    def store(self, data: bytes, p1: int = 0x01, *, applet: bytes = b"") -> bytes:
        """`--store-data`, with `--applet` to an application: blocks with P1 b1, for an answer may come."""
        if applet:
            what = Plain(0x80, 0xE6, 0x20, 0x00, b"\0\0" + lv(applet) + b"\0\0\0", MOST)
            _check("INSTALL [for personalization]", self.secured(what))
        pieces = [data[at : at + self.room] for at in range(0, len(data), self.room)]
        answers = b""
        for number, piece in enumerate(pieces):
            last = 0x80 if number == len(pieces) - 1 else 0x00
            answer = self.secured(Plain(0x80, 0xE2, p1 & 0x7F | last, number, piece, MOST))
            _check("STORE DATA", answer)
            answers += answer.data
        return answers

    def rename_issuer(self, aid: bytes) -> None:
        """`--rename-isd`: STORE DATA of 4F, as BER-TLV in one block."""
        _check("STORE DATA", self.secured(Plain(0x80, 0xE2, 0x90, 0x00, b"\x4f" + lv(aid))))
        self.aid = aid

    def set_personalization(self, data: bytes, *, before: bool = False) -> None:
        """`--set-perso`, `--set-pre-perso`: 8 bytes of the CPLC, as 9F66 or 9F67."""
        tag = 0x9F67 if before else 0x9F66
        _check("STORE DATA", self.secured(Plain(0x80, 0xE2, 0x80, 0x00, tag.to_bytes(2) + lv(data))))


def rsa_key(modulus: bytes, exponent: bytes) -> bytes:
    """An RSA public key in a key data field."""
    return bytes((RSA_N,)) + ber_length(len(modulus)) + modulus + bytes((RSA_E,)) + lv(exponent) + b"\0"


def ec_key(point: bytes, reference: int) -> bytes:
    """An EC public key in a key data field."""
    return bytes((EC,)) + ber_length(len(point)) + point + bytes((0xF0, 1, reference, 0))


def _check(doing: str, answer: Answer, *also: int) -> None:
    if answer.sw != 0x9000 and answer.sw not in also:
        raise ForeignError(doing, answer.sw)


def _identifiers(data: bytes) -> tuple[bytes, ...]:
    """Object identifiers of card recognition data, each in its template."""
    return tuple(
        inner for number, value in tlvs(data) for inner in ([value] if number == 6 else [v for _, v in tlvs(value)])
    )


def _key(told: bytes) -> tuple[int, int, int, int]:
    """One C0 of the key information template. Raises ForeignError for a short one or an unknown type."""
    if len(told) < 4:
        raise ForeignError("key information shorter than 4 bytes")
    kid, kvn, kind = told[0], told[1], told[2]
    extended = kind == 0xFF
    if extended:
        kind = told[3]
    length = int.from_bytes(told[4:6]) if extended else told[3]
    if kind not in (0x80, 0x81, 0x82, 0x85, 0x88, 0xA0, 0xA1, 0xB0, 0xB1):
        raise ForeignError(f"key type {kind:02X}")
    return kvn, kid, kind, length


def _tagged(raw: bytes, kind: str) -> list[Entry]:
    return [_from_tags(value, kind) for number, value in tlvs(raw) if number == 0xE3]


def _from_tags(value: bytes, kind: str) -> Entry:
    entry = Entry(kind, b"", 0)
    for tag, inner in tlvs(value):
        match tag:
            case 0x4F:
                entry.aid = inner
            case 0x9F70:
                entry.state = inner[0]
            case 0xC5:
                entry.privileges = inner
            case 0xCF if len(inner) != 1:
                raise ForeignError("CF is not a single byte")
            case 0xC4:
                entry.load_file = inner
            case 0xCE:
                entry.version = inner
            case 0xCC:
                entry.domain = inner
            case 0x84:
                entry.modules.append(inner)
            case _:
                pass
    return entry


def _legacy(raw: bytes, kind: str, *, with_modules: bool) -> list[Entry]:
    """The old form: LV of AID, state, privileges; then, with modules, their number and LVs."""
    found, at = [], 0
    while at < len(raw):
        end = at + 1 + raw[at]
        aid, state, privileges = raw[at + 1 : end], raw[end], raw[end + 1 : end + 2]
        at = end + 2
        entry = Entry(kind, aid, state, privileges)
        if kind == "PKG" and privileges != b"\0":
            raise ForeignError("a load file with privileges")
        if with_modules:
            count, at = raw[at], at + 1
            for _ in range(count):
                entry.modules.append(raw[at + 1 : at + 1 + raw[at]])
                at += 1 + raw[at]
        found.append(entry)
    if at != len(raw):
        raise ForeignError("invalid response to GET STATUS")
    return found
