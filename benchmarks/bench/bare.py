"""SCP03 as nothing but its cryptography, to be the measure of everything around it.

*Bare* is the same primitives from `cryptography`: ECB and CMAC contexts that are kept, and one new CBC context for
each message. Messages are parsed by nobody: their parts stand ready, padded, and only what depends on a key is made.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

S_ENC, S_MAC, S_RMAC = (bytes(11) + bytes((constant, 0, 0, 0x80, 1)) for constant in (4, 6, 7))
CARD, HOST = (bytes(11) + bytes((constant, 0, 0, 0x40, 1)) for constant in (0, 1))
CHALLENGE = bytes(11) + bytes((2, 0, 0, 0x40, 1))
"""What stands before the context in each derivation (GP Amendment D 4.1.5)."""

_ANSWER = 1 << 127


class BareCmac:
    """A kept CMAC context."""

    def __init__(self, key: bytes) -> None:
        self._kept = CMAC(algorithms.AES(key))

    def __call__(self, message: bytes) -> bytes:
        """16 bytes."""
        context = self._kept.copy()
        context.update(message)
        return context.finalize()


class BareSession:
    """The keys of one end of a session, with contexts for its messages."""

    def __init__(self, enc: bytes, mac: BareCmac, rmac: bytes) -> None:
        self._enc = algorithms.AES(enc)
        self._ecb: Callable[[bytes], bytes] = Cipher(self._enc, modes.ECB()).encryptor().update
        self.mac = mac
        self.rmac = BareCmac(rmac)
        self.chaining = bytes(16)
        self.counter = 0

    def seal_command(self, header: bytes, padded: bytes) -> bytes:
        """Ciphertext and full C-MAC of the next command; `header` with Lc."""
        self.counter += 1
        icv = self._ecb(self.counter.to_bytes(16))
        sealed = Cipher(self._enc, modes.CBC(icv)).encryptor().update(padded)
        self.chaining = self.mac(self.chaining + header + sealed)
        return sealed

    def open_command(self, header: bytes, sealed: bytes, mac: bytes) -> bytes:
        """Padded data of the next command, its C-MAC checked."""
        self.counter += 1
        expected = self.mac(self.chaining + header + sealed)
        if not compare_digest(expected[:8], mac):
            raise ValueError("C-MAC")
        self.chaining = expected
        icv = self._ecb(self.counter.to_bytes(16))
        return Cipher(self._enc, modes.CBC(icv)).decryptor().update(sealed)

    def seal_answer(self, padded: bytes, sw: bytes) -> tuple[bytes, bytes]:
        """Ciphertext and R-MAC of the answer to the last command."""
        icv = self._ecb((self.counter | _ANSWER).to_bytes(16))
        sealed = Cipher(self._enc, modes.CBC(icv)).encryptor().update(padded)
        return sealed, self.rmac(self.chaining + sealed + sw)[:8]

    def open_answer(self, sealed: bytes, mac: bytes, sw: bytes) -> bytes:
        """Padded data of an answer, its R-MAC checked."""
        if not compare_digest(self.rmac(self.chaining + sealed + sw)[:8], mac):
            raise ValueError("R-MAC")
        icv = self._ecb((self.counter | _ANSWER).to_bytes(16))
        return Cipher(self._enc, modes.CBC(icv)).decryptor().update(sealed)


class BareEnd:
    """One end's static keys, their contexts kept."""

    def __init__(self, enc: bytes, mac: bytes) -> None:
        self.enc = BareCmac(enc)
        self.mac = BareCmac(mac)

    def session_keys(self, context: bytes) -> tuple[bytes, BareCmac, bytes]:
        """S-ENC, a context of S-MAC, S-RMAC."""
        return self.enc(S_ENC + context), BareCmac(self.mac(S_MAC + context)), self.mac(S_RMAC + context)


def open_host(end: BareEnd, host_challenge: bytes, card_challenge: bytes, cryptogram: bytes, header: bytes) -> bytes:
    """Session keys, the card's cryptogram checked, ours made, and the C-MAC of EXTERNAL AUTHENTICATE; returns that."""
    context = host_challenge + card_challenge
    _, mac, _ = end.session_keys(context)
    if not compare_digest(mac(CARD + context)[:8], cryptogram):
        raise ValueError("card cryptogram")
    host = mac(HOST + context)[:8]
    return host + mac(bytes(16) + header + host)


def open_both(host: BareEnd, card: BareEnd, host_challenge: bytes, counter: bytes, aid: bytes, header: bytes) -> None:
    """What both ends cipher until a session is open: challenge, keys, both cryptograms and the C-MAC at each end."""
    card_challenge = card.enc(CHALLENGE + counter + aid)[:8]
    context = host_challenge + card_challenge
    _, card_mac, _ = card.session_keys(context)
    cryptogram = card_mac(CARD + context)[:8]
    sent = open_host(host, host_challenge, card_challenge, cryptogram, header)
    if not compare_digest(card_mac(bytes(16) + header + sent[:8])[:8], sent[8:16]):
        raise ValueError("C-MAC")
    if not compare_digest(card_mac(HOST + context)[:8], sent[:8]):
        raise ValueError("host cryptogram")


def exchange(host: BareSession, card: BareSession, header: bytes, padded: bytes, sw: bytes) -> bytes:
    """One command and its answer of as many bytes, sealed and opened at both ends."""
    sealed = host.seal_command(header, padded)
    opened = card.open_command(header, sealed, host.chaining[:8])
    answer, tag = card.seal_answer(opened, sw)
    return host.open_answer(answer, tag, sw)
