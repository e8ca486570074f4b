"""A model of gpshell over kaoh's library: the bytes it sends, where it puts Le, and how strictly it reads.

Facts from kaoh/globalplatform: `globalplatform/src/globalplatform.c` (commands, `parse_application_data`,
`parse_executable_load_file_data`, `GP211_get_card_recognition_data`, `get_key_information_templates`),
`globalplatform/src/scp.c` (INITIALIZE UPDATE), `globalplatform/src/connection.c` (`OPGP_send_chained_APDU`),
`gppcscconnectionplugin/src/gppcscconnectionplugin.c` (see `transports.gppcsc`).

SELECT and EXTERNAL AUTHENTICATE go without Le; INSTALL [for load], [for extradition], [for personalization] and DELETE
with it; INSTALL [for install and make selectable] and all LOAD but the last without.
"""

from __future__ import annotations

from typing import Final, NamedTuple

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
    lv,
    one,
    tlvs,
)

MAX_MODULES: Final = 5
"""Executable modules that the library has room for; more are counted and dropped."""
ISD: Final = bytes.fromhex("A000000151000000")


class Listed(NamedTuple):
    """One entry of `get_status`."""

    aid: bytes
    state: int
    privileges: int
    domain: bytes
    version: bytes
    modules: tuple[bytes, ...]


class GpShell:
    """The commands of a gpshell script, one a method."""

    def __init__(self, transmit: Transmit, keys: Keys | None = None, *, inner_length: bool = True) -> None:
        """inner_length: whether AES keys carry their length inside the block; versions up to 2020 leave it out."""
        self._transmit = transmit
        self.keys = keys or Keys()
        self.inner_length = inner_length
        self.session: Session | None = None
        self.scp = (0, 0)

    def send(self, plain: Plain) -> Answer:
        """One command, protected if there is a session."""
        session = self.session
        if session is None:
            return Answer.of(self._transmit(plain.encode()))
        return session.unwrap(Answer.of(self._transmit(session.wrap(plain).encode())))

    def send_chained(self, plain: Plain) -> Answer:
        """One command in several APDUs: protected whole, cut at 255 bytes, P1 b8 on all but the last, which has Le."""
        session = self._open()
        wrapped = session.wrap(plain)
        pieces = [wrapped.data[at : at + 255] for at in range(0, len(wrapped.data), 255)]
        for piece in pieces[:-1]:
            answer = Answer.of(self._transmit(wrapped._replace(p1=plain.p1 | 0x80, data=piece, ne=None).encode()))
            if answer != (b"", 0x9000):
                raise ForeignError("chained APDU", answer.sw)
        return session.unwrap(Answer.of(self._transmit(wrapped._replace(data=pieces[-1]).encode())))

    def _open(self) -> Session:
        if self.session is None:
            raise ForeignError("no session")
        return self.session

    # ---- before a session --------------------------------------------------------------------------------------

    def select(self, aid: bytes = ISD) -> bytes:
        """`select -AID`: without Le; a session is no more."""
        self.session = None
        return _good("SELECT", self.send(Plain(0x00, 0xA4, 0x04, 0x00, aid)))

    def recognition_data(self) -> list[tuple[int, int]]:
        """GET DATA 66: protocols with their "i". Every template must come, in the order of appendix H."""
        data = _good("GET DATA", self.send(Plain(0x80, 0xCA, 0x00, 0x66, ne=MOST)))
        inside = one(data, 0x66)
        while (first := tlvs(inside)[0])[0] != 0x73:
            inside = first[1]
        objects = tlvs(first[1])
        if [tag for tag, _ in objects[:3]] != [0x06, 0x60, 0x63] or objects[3][0] != 0x64:
            raise ForeignError("card recognition data in another order")
        told = [inner for tag, value in objects if tag == 0x64 for inner in tlvs(value)]
        return [(oid[-2], oid[-1]) for tag, oid in told if tag == 0x06]

    def key_information(self) -> list[tuple[int, int, int, int]]:
        """`get_key_information_templates`: KVN, KID, type, length; nothing but C0 may be inside."""
        data = _good("GET DATA", self.send(Plain(0x80, 0xCA, 0x00, 0xE0, ne=MOST)))
        return [_key(tag, value) for tag, value in tlvs(one(data, 0xE0))]

    def resources(self) -> dict[int, int]:
        """`get_extended_card_resources_information`: applications (81), free memory (82, 83)."""
        data = _good("GET DATA", self.send(Plain(0x80, 0xCA, 0xFF, 0x21, ne=MOST)))
        return {tag: int.from_bytes(value) for tag, value in tlvs(one(data, 0xFF21))}

    def get_data(self, tag: int, *, gp: bool = True) -> bytes:
        """`get_data -identifier`, with the GlobalPlatform class or, `GP211_get_data_iso7816_4`, with 00."""
        plain = Plain(0x80 if gp else 0x00, 0xCA, tag >> 8, tag & 0xFF, ne=MOST)
        return _good("GET DATA", self.send(plain))

    def open(self, level: int = 0x33, kvn: int = 0, challenge: bytes = bytes(range(8))) -> Session:
        """`open_sc`: the first of SCP01 to SCP03 that the card names; its "i" must come back in SCP03."""
        self.scp = next(pair for pair in self.recognition_data() if pair[0] in (1, 2, 3))
        told = _good("INITIALIZE UPDATE", self.send(Plain(0x80, 0x50, kvn, 0x00, challenge, MOST)))
        number, i = self.scp
        if told[11] != number or (number == 3 and told[12] != i):
            raise ForeignError("inconsistent secure channel protocol")
        if len(told) != (28 if number == 2 else 32 if i & 0x10 else 29):
            raise ForeignError("invalid response data")
        session, expected, got = self._agreed(told, challenge)
        if got != expected[0]:
            raise ForeignError("card cryptogram verification")
        self.session = session
        _good("EXTERNAL AUTHENTICATE", self.send(Plain(0x84, 0x82, level, 0x00, expected[1])))
        session.begin(level)
        return session

    def _agreed(self, told: bytes, challenge: bytes) -> tuple[Session, tuple[bytes, bytes], bytes]:
        if self.scp[0] == 2:
            old = Scp02(self.keys, told[12:14], encrypted_icv=bool(self.scp[1] & 0x10))
            return old, old.cryptograms(challenge, told[12:20]), told[20:28]
        new = Scp03(self.keys, challenge + told[13:21], 8, self.scp[1])
        return new, new.cryptograms(challenge, told[13:21]), told[21:29]

    @property
    def room(self) -> int:
        """MAX_APDU_DATA_SIZE."""
        level = self._open().level
        return 239 if level & 2 else 247 if level & 1 else 255

    # ---- registry ----------------------------------------------------------------------------------------------

    def get_status(self, element: int, *, deprecated: bool = False) -> list[Listed]:
        """`get_status -element`: pages until no 6310 comes; each entry parsed to its end."""
        p2, whole = (0x00 if deprecated else 0x02), b""
        while True:
            answer = self.send(Plain(0x80, 0xF2, element, p2, bytes.fromhex("4F00"), MOST))
            if answer.sw not in (0x9000, 0x6310):
                raise ForeignError("GET STATUS", answer.sw)
            whole += answer.data
            p2 |= 0x01
            if answer.sw == 0x9000:
                break
        return _deprecated(whole, element) if deprecated else [_listed(tag, value) for tag, value in tlvs(whole)]

    def set_status(self, element: int, state: int, aid: bytes = b"") -> None:
        """`set_status`: an Lc of 00 where there is no AID, which reads as Le."""
        plain = Plain(0x80, 0xF0, element, state, aid, None if aid else MOST)
        answer = self.send(plain)
        if len(answer.data):
            raise ForeignError("insufficient buffer")
        _good("SET STATUS", answer)

    # ---- content -----------------------------------------------------------------------------------------------

    def install_for_load(self, file: bytes, domain: bytes, size: int, *, digest: bytes = b"", limits: str = "") -> None:
        """`install_for_load`: code space in C6 of EF, and RAM and data space behind it."""
        inside = b"\xc6\x02" + size.to_bytes(2) + bytes.fromhex(limits)
        data = lv(file) + lv(domain) + lv(digest) + lv(b"\xef" + lv(inside)) + b"\0"
        _good("INSTALL [for load]", self.send(Plain(0x80, 0xE6, 0x02, 0x00, data, MOST)))

    def load(self, code: bytes, daps: bytes = b"") -> bytes:
        """`load`: DAP blocks, then C4; Le on the last command alone."""
        whole = daps + b"\xc4" + ber_length(len(code)) + code
        answer = b""
        for number, at in enumerate(range(0, len(whole), self.room)):
            last = at + self.room >= len(whole)
            piece = whole[at : at + self.room]
            plain = Plain(0x80, 0xE8, 0x80 if last else 0x00, number, piece, MOST if last else None)
            answer = _good("LOAD", self.send(plain))
        return answer

    def install(self, file: bytes, module: bytes, instance: bytes, privileges: int = 0, *, limits: str = "") -> None:
        """`install_for_install` with make selectable: C9 first, then EF; no Le."""
        system = b"\xef" + lv(bytes.fromhex(limits)) if limits else b""
        data = lv(file) + lv(module) + lv(instance) + lv(bytes((privileges,))) + lv(b"\xc9\0" + system) + b"\0"
        _good("INSTALL [for install]", self.send(Plain(0x80, 0xE6, 0x0C, 0x00, data)))

    def make_selectable(self, instance: bytes, privileges: int = 0) -> None:
        """`install_for_make_selectable`, with a privilege byte whatever it be."""
        data = b"\0\0" + lv(instance) + lv(bytes((privileges,))) + b"\0\0"
        _good("INSTALL [for make selectable]", self.send(Plain(0x80, 0xE6, 0x08, 0x00, data, MOST)))

    def extradite(self, instance: bytes, domain: bytes) -> None:
        """`install_for_extradition`."""
        data = lv(domain) + b"\0" + lv(instance) + b"\0\0\0"
        _good("INSTALL [for extradition]", self.send(Plain(0x80, 0xE6, 0x10, 0x00, data, MOST)))

    def delete(self, *aids: bytes) -> bytes:
        """`delete -AID`: always with P2 80, with Le; the answer, that may be a receipt."""
        data = b"".join(b"\x4f" + lv(aid) for aid in aids)
        return _good("DELETE", self.send(Plain(0x80, 0xE4, 0x00, 0x80, data, MOST)))

    # ---- keys and data -----------------------------------------------------------------------------------------

    def put_channel_keys(self, kvn: int, keys: Keys, *, replaced: int = 0, aes: bool = True) -> None:
        """`put_sc_key`: three keys with P2 81; every check value must come back."""
        fields = [self._field(key, aes=aes) for key in keys]
        data = bytes((kvn,)) + b"".join(fields)
        told = _good("PUT KEY", self.send(Plain(0x80, 0xD8, replaced, 0x81, data, MOST)))
        if told[1:] != b"".join(field[-3:] for field in fields):
            raise ForeignError("key check value")

    def put_key(self, kvn: int, kid: int, key: bytes, *, replaced: int = 0, aes: bool = True) -> None:
        """`put_key -keytype`: one symmetric key."""
        data = bytes((kvn,)) + self._field(key, aes=aes)
        told = _good("PUT KEY", self.send(Plain(0x80, 0xD8, replaced, kid, data, MOST)))
        if told[1:4] != data[-3:]:
            raise ForeignError("key check value")

    def put_rsa_key(self, kvn: int, kid: int, modulus: bytes, exponent: bytes) -> None:
        """`put_key` of an RSA key: a check value length of 00 behind each component; in segments when it is long."""
        data = bytes((kvn, 0xA1)) + ber_length(len(modulus)) + modulus + b"\0\xa0" + lv(exponent) + b"\0"
        plain = Plain(0x80, 0xD8, 0x00, kid, data, MOST)
        _good("PUT KEY", self.send(plain) if len(data) < 240 else self.send_chained(plain))

    def delete_key(self, kvn: int, kid: int | None = None) -> None:
        """`delete_key`; index FF stands for all of a set."""
        data = (b"" if kid is None else bytes((0xD0, 1, kid))) + bytes((0xD2, 1, kvn))
        _good("DELETE", self.send(Plain(0x80, 0xE4, 0x00, 0x00, data, MOST)))

    def store(self, data: bytes, p1: int = 0x00) -> None:
        """`store_data`."""
        for number, at in enumerate(range(0, len(data), self.room)):
            last = 0x80 if at + self.room >= len(data) else 0x00
            piece = data[at : at + self.room]
            _good("STORE DATA", self.send(Plain(0x80, 0xE2, p1 | last, number, piece)))

    def _field(self, key: bytes, *, aes: bool) -> bytes:
        block = self._open().encrypt_key(key)
        if aes and (self.inner_length or len(key) % 16):
            block = lv(key)[:1] + block
        return bytes((0x88 if aes else 0x80,)) + lv(block) + lv(aes_kcv(key) if aes else des_kcv(key))


def _good(doing: str, answer: Answer) -> bytes:
    if answer.sw != 0x9000:
        raise ForeignError(doing, answer.sw)
    return answer.data


def _key(tag: int, told: bytes) -> tuple[int, int, int, int]:
    if tag != 0xC0:
        raise ForeignError(f"{tag:X} in the key information template")
    kid, kvn = told[0], told[1]
    if told[2] != 0xFF:
        return kvn, kid, told[2], told[3]
    at = 2
    while told[at] == 0xFF:
        at += 4
    return kvn, kid, told[3], int.from_bytes(told[4:6])


def _listed(tag: int, value: bytes) -> Listed:
    if tag != 0xE3:
        raise ForeignError(f"{tag:X} in the answer to GET STATUS")
    found = tlvs(value)
    by_tag = dict(found)
    if len(by_tag[0x4F]) > 16 or len(by_tag.get(0xC5, bytes(3))) not in (1, 3):
        raise ForeignError("invalid response data")
    modules = tuple(aid for number, aid in found if number == 0x84)[:MAX_MODULES]
    privileges = int.from_bytes(by_tag.get(0xC5, bytes(3)).ljust(3, b"\0"))
    domain, version = by_tag.get(0xCC, b""), by_tag.get(0xCE, b"")[-2:]
    return Listed(by_tag[0x4F], by_tag[0x9F70][0], privileges, domain, version, modules)


def _deprecated(raw: bytes, element: int) -> list[Listed]:
    found, at = [], 0
    while at < len(raw):
        end = at + 1 + raw[at]
        aid, state, privileges = raw[at + 1 : end], raw[end], raw[end + 1] << 16
        at, modules = end + 2, []
        if element == 0x10:
            count, at = raw[at], at + 1
            for _ in range(count):
                modules.append(raw[at + 1 : at + 1 + raw[at]])
                at += 1 + raw[at]
        found.append(Listed(aid, state, privileges, b"", b"", tuple(modules)))
    return found
