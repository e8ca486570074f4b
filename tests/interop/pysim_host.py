"""A model of pySim-shell's GlobalPlatform commands: the bytes it sends and how strictly it reads.

Facts from osmocom/pysim: `pySim/global_platform/__init__.py` (`ADF_SD`), `pySim/global_platform/scp.py`,
`pySim/commands.py` (SELECT); the transport is `transports.pysim`.

Every command has Le 00, also where no data come; SELECT asks for the FCP (P2 04); SCP02 goes up to C-DEC, and protects
only what has a class of 80 and up; an AES key carries its length only if it had to be filled up; GET STATUS always
names its tags.
"""

from __future__ import annotations

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
    lv,
    one,
    tlvs,
)

STATUS_TAGS: Final = bytes.fromhex("5C054F9F70C5CC")
REGISTRY_TAGS: Final = {0x4F, 0x9F70, 0xC5, 0xCC, 0xCF, 0xC4, 0xCE, 0x84}
LOAD_BLOCK: Final = 240
DES, PSK, AES = 0x80, 0x85, 0x88


class PySim:
    """`pySim-shell` in a security domain."""

    def __init__(self, transmit: Transmit, keys: Keys | None = None, *, kvn: int = 0, size: int = 8) -> None:
        """size: `--s-mode`, bytes of challenges and MACs of SCP03."""
        self._transmit = transmit
        self.keys = keys or Keys()
        self.kvn = kvn
        self.size = size
        self.session: Session | None = None
        self.level = 0

    def send(self, plain: Plain) -> Answer:
        """One command; protected when its class says GlobalPlatform and there is a session."""
        session = self.session
        if session is None or not plain.cla & 0x80:
            return Answer.of(self._transmit(plain.encode()))
        wrapped = session.wrap(plain)
        if len(wrapped.data) > 0xFF:
            raise ForeignError("modified Lc would exceed the maximum")
        return session.unwrap(Answer.of(self._transmit(wrapped.encode())))

    def good(self, plain: Plain) -> bytes:
        """One command that must succeed."""
        answer = self.send(plain)
        if answer.sw != 0x9000:
            raise ForeignError(f"INS {plain.ins:02X}", answer.sw)
        return answer.data

    def select(self, aid: bytes) -> bytes:
        """`select ADF.SD`: SELECT with P2 04; the AID of the template."""
        self.session = None
        template = self.good(Plain(0x00, 0xA4, 0x04, 0x04, aid, MOST))
        return one(one(template, 0x6F), 0x84)

    def get_data(self, tag: int) -> bytes:
        """`get_data`: with class 80; the object must have its tag."""
        return one(self.good(Plain(0x80, 0xCA, tag >> 8, tag & 0xFF, ne=MOST)), tag)

    def establish(self, scp: int, level: int, challenge: bytes | None = None) -> None:
        """`establish_scp02`, `establish_scp03`: exact fields of the answer to INITIALIZE UPDATE."""
        challenge = challenge or bytes(self.size)
        told = self.good(Plain(0x80, 0x50, self.kvn, 0x00, challenge, MOST))
        session: Session
        if scp == 2:
            if len(told) != 28 or told[11] != 2:
                raise ForeignError("invalid length of INITIALIZE UPDATE response")
            session, card, expected = Scp02(self.keys, told[12:14]), told[12:20], told[20:28]
        else:
            if len(told) not in (13 + 2 * self.size, 16 + 2 * self.size) or told[11] != 3:
                raise ForeignError("invalid length of INITIALIZE UPDATE response")
            card, expected = told[13 : 13 + self.size], told[13 + self.size : 13 + 2 * self.size]
            session = Scp03(self.keys, challenge + card, self.size, told[12])
        cryptograms = session.cryptograms(challenge, card)
        if cryptograms[0] != expected:
            raise ForeignError("card cryptogram doesn't match")
        self.session = session
        self.good(Plain(0x80, 0x82, level, 0x00, cryptograms[1]))
        session.begin(level)

    def get_status(self, subset: int, aid: bytes = b"") -> list[dict[int, bytes]]:
        """`get_status`: AID filter and tag list, pages; nothing but E3, each with known objects."""
        query, p2, found = b"\x4f" + lv(aid) + STATUS_TAGS, 0x02, []
        while True:
            answer = self.send(Plain(0x80, 0xF2, subset, p2, query, MOST))
            for tag, value in tlvs(answer.data):
                entry = dict(tlvs(value))
                if tag != 0xE3 or not {0x4F, 0x9F70} <= entry.keys() <= REGISTRY_TAGS:
                    raise ForeignError(f"GET STATUS: {value.hex()}")
                found.append(entry)
            if answer.sw != 0x6310:
                return found
            p2 |= 0x01

    def set_status(self, scope: int, status: int, aid: bytes = b"") -> None:
        """`set_status`: Lc 00 where there is no AID."""
        self.good(Plain(0x80, 0xF0, scope, status, aid, None if aid else MOST))

    def install_for_load(self, file: bytes, domain: bytes = b"") -> None:
        """`install_for_load`: an empty domain AID unless one is given."""
        data = lv(file) + lv(domain) + b"\0\0\0"
        self.good(Plain(0x80, 0xE6, 0x02, 0x00, data, MOST))

    def load(self, code: bytes) -> None:
        """`load`: blocks of 240 bytes."""
        whole = b"\xc4" + ber_length(len(code)) + code
        for number, at in enumerate(range(0, len(whole), LOAD_BLOCK)):
            p1 = 0x80 if at + LOAD_BLOCK >= len(whole) else 0x00
            self.good(Plain(0x80, 0xE8, p1, number % 256, whole[at : at + LOAD_BLOCK], MOST))

    def install_for_install(
        self, file: bytes, module: bytes, instance: bytes, *, privileges: bytes = b"\0", parameters: bytes = b""
    ) -> None:
        """`install_for_install`, with `--make-selectable`; parameters as they are given, none at all among them."""
        data = lv(file) + lv(module) + lv(instance) + lv(privileges) + lv(parameters) + b"\0"
        self.good(Plain(0x80, 0xE6, 0x0C, 0x00, data, MOST))

    def install_for_personalization(self, aid: bytes) -> None:
        """`install_for_personalization`."""
        self.good(Plain(0x80, 0xE6, 0x20, 0x00, b"\0\0" + lv(aid) + b"\0\0\0", MOST))

    def delete(self, aid: bytes, *, related: bool = False) -> None:
        """`delete_card_content`."""
        self.good(Plain(0x80, 0xE4, 0x00, 0x80 if related else 0x00, b"\x4f" + lv(aid), MOST))

    def delete_key(self, *, kid: int | None = None, kvn: int | None = None, related: bool = False) -> None:
        """`delete_key`: by identifier, by version, or both; P2 80 is legal here too."""
        data = (b"" if kid is None else bytes((0xD0, 1, kid))) + (b"" if kvn is None else bytes((0xD2, 1, kvn)))
        self.good(Plain(0x80, 0xE4, 0x00, 0x80 if related else 0x00, data, MOST))

    def put_key(self, kvn: int, kid: int, keys: list[tuple[int, bytes]], *, old: int = 0, check: bool = True) -> bytes:
        """`put_key`: of any types; `--suppress-key-check` leaves check values out."""
        fields = b"".join(self._field(kind, key, check=check) for kind, key in keys)
        p2 = kid | (0x80 if len(keys) > 1 else 0)
        return self.good(Plain(0x80, 0xD8, old, p2, bytes((kvn,)) + fields, MOST))

    def _field(self, kind: int, key: bytes, *, check: bool) -> bytes:
        if self.session is None:
            raise ForeignError("no session")
        block = self.session.encrypt_key(key)
        if kind == PSK or len(key) % 16:
            block = ber_length(len(key)) + block
        kcv = b"" if not check or kind == PSK else aes_kcv(key) if kind == AES else des_kcv(key)
        return bytes((kind,)) + lv(block) + lv(kcv)

    def store_data(self, data: bytes, *, structure: int = 0, response: bool = False, size: int = 239) -> None:
        """`store_data`: structure 1 for DGI, 2 for BER-TLV; a bit says whether an answer may come."""
        for number, at in enumerate(range(0, len(data), size)):
            last = 0x80 if at + size >= len(data) else 0x00
            self.good(Plain(0x80, 0xE2, last | structure << 3 | response, number, data[at : at + size], MOST))
