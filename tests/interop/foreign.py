"""What the models of foreign hosts stand on: plain bytes, and secure channels written from the specifications alone.

Nothing here uses keywright's codecs, messages, sessions or cryptography, so that what agrees with the element agrees
for a reason: ISO 7816-4 5.1 for commands, GPCS appendix E for SCP02, Amendment D for SCP03, over the block ciphers of
`cryptography`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC

TEST_KEY: Final = bytes(range(0x40, 0x50))
"""Every host's default key."""
MOST: Final = 256
"""Ne of a short command that asks for all there is; Le is 00."""

Transmit = Callable[[bytes], bytes]
"""Takes a command APDU to a card and brings the answer."""


class ForeignError(Exception):
    """The foreign host stops: an answer that it does not take."""

    def __init__(self, doing: str, sw: int = 0) -> None:
        super().__init__(f"{doing}: {sw:04X}" if sw else doing)
        self.sw = sw


class Answer(NamedTuple):
    """A response APDU in its two halves."""

    data: bytes
    sw: int

    @classmethod
    def of(cls, raw: bytes) -> Answer:
        """Split what came."""
        if len(raw) < 2:
            raise ForeignError("an answer shorter than its status word")
        return cls(raw[:-2], int.from_bytes(raw[-2:]))


class Plain(NamedTuple):
    """A command APDU before it is protected. ne: bytes asked for, None for no Le field."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    ne: int | None = None

    def encode(self) -> bytes:
        """The shortest of the seven forms (ISO 7816-4 5.1)."""
        head = bytes((self.cla, self.ins, self.p1, self.p2))
        if len(self.data) > 0xFF or (self.ne or 0) > MOST:
            le = b"" if self.ne is None else (self.ne & 0xFFFF).to_bytes(2)
            return head + b"\0" + (len(self.data).to_bytes(2) + self.data + le if self.data else le)
        body = bytes((len(self.data),)) + self.data if self.data else b""
        return head + body + (b"" if self.ne is None else bytes((self.ne & 0xFF,)))


class Wire:
    """Carries APDUs to a card and keeps what went both ways."""

    def __init__(self, transmit: Transmit) -> None:
        self._transmit = transmit
        self.log: list[tuple[bytes, bytes]] = []

    def __call__(self, apdu: bytes) -> bytes:
        """One exchange."""
        answer = self._transmit(apdu)
        self.log.append((apdu, answer))
        return answer

    def sent(self, ins: int) -> list[bytes]:
        """The commands with this instruction."""
        return [apdu for apdu, _ in self.log if apdu[1] == ins]


def tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """BER-TLV objects of a field, strictly: raises ForeignError when anything is left over or missing."""
    found = []
    while data:
        size = 2 if data[0] & 0x1F == 0x1F else 1
        tag, rest = data[:size], data[size:]
        if not rest or (size == 2 and tag[-1] & 0x80):
            raise ForeignError(f"no TLV: {data.hex()}")
        length, rest = rest[0], rest[1:]
        if length > 0x7F:
            count = length & 0x7F
            length, rest = int.from_bytes(rest[:count]), rest[count:]
        if length > len(rest):
            raise ForeignError(f"a TLV longer than its field: {data.hex()}")
        found.append((int.from_bytes(tag), rest[:length]))
        data = rest[length:]
    return found


def one(data: bytes, tag: int) -> bytes:
    """The only object with this tag in a field. Raises ForeignError unless there is exactly one."""
    found = [value for number, value in tlvs(data) if number == tag]
    if len(found) != 1:
        raise ForeignError(f"{len(found)} objects {tag:X} in {data.hex()}")
    return found[0]


def lv(data: bytes) -> bytes:
    """A length in one byte and the value."""
    return bytes((len(data),)) + data


def ber_length(size: int) -> bytes:
    """A length as BER has it."""
    if size < 0x80:
        return bytes((size,))
    return b"\x81" + bytes((size,)) if size < 0x100 else b"\x82" + size.to_bytes(2)


def pad80(data: bytes, size: int) -> bytes:
    """80, then 00 to whole blocks; at least the 80."""
    data += b"\x80"
    return data + bytes(-len(data) % size)


def unpad80(data: bytes) -> bytes:
    """Take the padding off. Raises ForeignError if there is none."""
    stripped = data.rstrip(b"\0")
    if not stripped.endswith(b"\x80"):
        raise ForeignError("no padding")
    return stripped[:-1]


def _cbc(cipher: BlockCipherAlgorithm, iv: bytes, data: bytes) -> bytes:
    worker = Cipher(cipher, CBC(iv)).encryptor()
    return worker.update(data) + worker.finalize()


def _des3(key: bytes) -> TripleDES:
    return TripleDES((key + key[:8])[:24])


def des3_cbc(key: bytes, data: bytes) -> bytes:
    """Triple DES with two keys, CBC, ICV 0."""
    return _cbc(_des3(key), bytes(8), data)


def des3_ecb(key: bytes, data: bytes) -> bytes:
    """Triple DES with two keys, each block for itself."""
    worker = Cipher(_des3(key), ECB()).encryptor()
    return worker.update(data) + worker.finalize()


def full_mac(key: bytes, data: bytes) -> bytes:
    """The last block of triple DES in CBC, padded (GPCS B.1.2.1)."""
    return des3_cbc(key, pad80(data, 8))[-8:]


def retail_mac(key: bytes, icv: bytes, data: bytes) -> bytes:
    """Single DES in CBC, the last block with triple DES, padded (GPCS B.1.2.2)."""
    data = pad80(data, 8)
    head = _cbc(_des3(key[:8] * 2), icv, data[:-8])[-8:] if data[:-8] else icv
    return des3_ecb(key, bytes(a ^ b for a, b in zip(head, data[-8:], strict=True)))


def aes_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES in CBC."""
    return _cbc(AES(key), iv, data)


def aes_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES in CBC, the other way."""
    worker = Cipher(AES(key), CBC(iv)).decryptor()
    return worker.update(data) + worker.finalize()


def cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC, 16 bytes."""
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()


def des_kcv(key: bytes) -> bytes:
    """Check value of a DES key: of a block of 00."""
    return des3_ecb(key, bytes(8))[:3]


def aes_kcv(key: bytes) -> bytes:
    """Check value of an AES key: of a block of 01."""
    return aes_cbc(key, bytes(16), b"\1" * 16)[:3]


def kdf(key: bytes, constant: int, context: bytes, size: int) -> bytes:
    """SP 800-108 in counter mode as Amendment D 4.1.5 orders it. size: bytes."""
    out, counter = b"", 1
    while len(out) < size:
        out += cmac(key, bytes(11) + bytes((constant, 0)) + (size * 8).to_bytes(2) + bytes((counter,)) + context)
        counter += 1
    return out[:size]


class Keys(NamedTuple):
    """Three static keys."""

    enc: bytes = TEST_KEY
    mac: bytes = TEST_KEY
    dek: bytes = TEST_KEY


class Scp02:
    """An SCP02 session with three keys, explicit initiation, C-MAC on the modified command ("i" 05, 15, 45, 55, +20).

    encrypted_icv: bit 10 of "i". R-MAC begins with the C-MAC of EXTERNAL AUTHENTICATE (GPCS E.4.5).
    """

    overhead = 8
    number = 2
    i = 0x55

    def __init__(self, keys: Keys, counter: bytes, *, encrypted_icv: bool = True) -> None:
        def session(key: bytes, constant: str) -> bytes:
            return des3_cbc(key, bytes.fromhex(constant) + counter + bytes(12))

        self.enc, self.mac = session(keys.enc, "0182"), session(keys.mac, "0101")
        self.rmac, self.dek = session(keys.mac, "0102"), session(keys.dek, "0181")
        self.level = 1
        self._encrypted_icv = encrypted_icv
        self._icv: bytes | None = None
        self._response_icv = b""
        self._command = b""

    def cryptograms(self, host: bytes, card: bytes) -> tuple[bytes, bytes]:
        """Those of the card and of the host; `card` is counter and challenge."""
        return full_mac(self.enc, host + card), full_mac(self.enc, card + host)

    def wrap(self, plain: Plain) -> Plain:
        """Protect a command."""
        if self.level & 0x10:
            self._command = bytes((plain.cla & ~7, plain.ins, plain.p1, plain.p2)) + lv(plain.data)
        if not self.level & 1:
            return plain
        icv = self._icv or bytes(8)
        if self._icv is not None and self._encrypted_icv:
            icv = des3_ecb(self.mac[:8] * 2, icv)
        head = bytes((plain.cla | 4, plain.ins, plain.p1, plain.p2, len(plain.data) + 8))
        self._icv = retail_mac(self.mac, icv, head + plain.data)
        data = plain.data
        if data and self.level & 2:
            data = des3_cbc(self.enc, pad80(data, 8))
        return plain._replace(cla=plain.cla | 4, data=data + self._icv)

    def begin(self, level: int) -> None:
        """The level that EXTERNAL AUTHENTICATE set."""
        self.level = level
        self._response_icv = self._icv or bytes(8)

    def unwrap(self, answer: Answer) -> Answer:
        """Check an answer. Raises ForeignError."""
        if not self.level & 0x10:
            return answer
        data, mac = answer.data[:-8], answer.data[-8:]
        self._response_icv = retail_mac(self.rmac, self._response_icv, self._command + lv(data) + answer.sw.to_bytes(2))
        if mac != self._response_icv:
            raise ForeignError("R-MAC of SCP02")
        return Answer(data, answer.sw)

    def encrypt_key(self, key: bytes) -> bytes:
        """A key under the data encryption key."""
        return des3_ecb(self.dek, key)


class Scp03:
    """An SCP03 session. size: bytes of challenges and MACs, 8 or 16."""

    number = 3

    def __init__(self, keys: Keys, context: bytes, size: int = 8, i: int = 0x70) -> None:
        self.enc, self.mac, self.rmac = (
            kdf(key, constant, context, len(key)) for key, constant in ((keys.enc, 4), (keys.mac, 6), (keys.mac, 7))
        )
        self.dek = keys.dek
        self.level = 1
        self.i = i
        self.overhead = size
        self._context = context
        self.chain = bytes(16)
        self._counter = 0

    def cryptograms(self, host: bytes, card: bytes) -> tuple[bytes, bytes]:
        """Those of the card and of the host."""
        card_cryptogram, host_cryptogram = (kdf(self.mac, constant, host + card, self.overhead) for constant in (0, 1))
        return card_cryptogram, host_cryptogram

    def wrap(self, plain: Plain) -> Plain:
        """Protect a command."""
        if not self.level & 1:
            return plain
        data = plain.data
        if self.level & 2:
            self._counter += 1
            if data:
                iv = aes_cbc(self.enc, bytes(16), self._counter.to_bytes(16))
                data = aes_cbc(self.enc, iv, pad80(data, 16))
        size = len(data) + self.overhead
        lc = bytes((size,)) if size < 0x100 else b"\0" + size.to_bytes(2)
        head = bytes((plain.cla & ~3 | 4, plain.ins, plain.p1, plain.p2)) + lc
        self.chain = cmac(self.mac, self.chain + head + data)
        return plain._replace(cla=plain.cla | 4, data=data + self.chain[: self.overhead])

    def begin(self, level: int) -> None:
        """The level that EXTERNAL AUTHENTICATE set."""
        self.level = level

    def unwrap(self, answer: Answer) -> Answer:
        """Check and decrypt an answer; one with an error status has no protection. Raises ForeignError."""
        good = answer.sw == 0x9000 or answer.sw >> 8 in (0x62, 0x63)
        if not self.level & 0x10 or (not good and not answer.data):
            return answer
        data, mac = answer.data[: -self.overhead], answer.data[-self.overhead :]
        if cmac(self.rmac, self.chain + data + answer.sw.to_bytes(2))[: self.overhead] != mac:
            raise ForeignError("R-MAC of SCP03")
        if data and self.level & 0x20:
            iv = aes_cbc(self.enc, bytes(16), b"\x80" + self._counter.to_bytes(15))
            data = unpad80(aes_decrypt(self.enc, iv, data))
        return Answer(data, answer.sw)

    def encrypt_key(self, key: bytes) -> bytes:
        """A key under the static data encryption key, filled up to whole blocks."""
        return aes_cbc(self.dek, bytes(16), key + bytes(-len(key) % 16))


Session = Scp02 | Scp03
