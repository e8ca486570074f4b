"""GlobalPlatformPro, as a model, with signatures: load files with DAP, tokens of an issuer, receipts of the card.

Sources: martinpaljak/GlobalPlatformPro `library/.../DAPSigner.java`, `DMTokenizer.java`, `ReceiptVerifier.java`,
`GPSession.java`. What it signs are the bytes of the specification (GPCS C.2 to C.5), with schemes by key size (B.3):
PKCS #1 with the hash of the load file up to 1024 bits, PSS with SHA-256 above; EC with SHA-256. Its confirmations have
a length around them, which kaoh's library does not expect: a switch of the element's profile.
"""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interop.foreign import ForeignError, Plain, ber_length, cmac, lv
from interop.gp_pro import GlobalPlatformPro, ec_key, rsa_key
from interop.transports import javax
from keywright.element import SecureElement
from keywright.globalplatform.profile import CardProfile
from support.cards import ISD, element
from support.content import DOMAIN, FILE, INSTANCE, MODULE, package

CODE = package(FILE, [MODULE], size=300)
RSA = {bits: rsa.generate_private_key(65537, bits) for bits in (1024, 2048)}
EC = ec.generate_private_key(ec.SECP256R1())
RECEIPT_KEY = bytes(range(0x30, 0x40))
INNER = bytes.fromhex("F06B77000D02")
HASHES: dict[str, tuple[HashAlgorithm, bytes]] = {
    "SHA-1": (SHA1(), hashlib.sha1(CODE).digest()),
    "SHA-256": (SHA256(), hashlib.sha256(CODE).digest()),
}


def encoded(bits: int) -> bytes:
    """An RSA public key for PUT KEY."""
    numbers = RSA[bits].public_key().public_numbers()
    return rsa_key(numbers.n.to_bytes(bits // 8), b"\1\0\1")


def point() -> bytes:
    """The EC public key for PUT KEY."""
    return ec_key(EC.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), 0)


def sign(bits: int, data: bytes, scheme: HashAlgorithm) -> bytes:
    """`GPCrypto.rsa_sign`, `DAPSigner.sign`: by the size of the key; 0 stands for EC."""
    if not bits:
        r, s = decode_dss_signature(EC.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)
    if bits == 1024:
        return RSA[bits].sign(data, padding.PKCS1v15(), scheme)
    return RSA[bits].sign(data, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())


def opened(card: SecureElement, aid: bytes = ISD) -> GlobalPlatformPro:
    """A session in a security domain."""
    gp = GlobalPlatformPro(javax(card.handle))
    gp.connect(aid)
    gp.open()
    return gp


def load_with_dap(gp: GlobalPlatformPro, digest: bytes, signature: bytes, *, to: bytes) -> int:
    """`--load --dap-key --to`: hash announced, E2 before C4; the last status word."""
    announced = lv(FILE) + lv(to) + lv(digest) + b"\0\0"
    assert gp.secured(Plain(0x80, 0xE6, 0x02, 0x00, announced, 256)).sw == 0x9000
    dap = b"\x4f" + lv(to) + b"\xc3" + ber_length(len(signature)) + signature
    whole = b"\xe2" + ber_length(len(dap)) + dap + b"\xc4" + ber_length(len(CODE)) + CODE
    sw = 0
    for number, at in enumerate(range(0, len(whole), gp.room)):
        p1 = 0x80 if at + gp.room >= len(whole) else 0x00
        sw = gp.secured(Plain(0x80, 0xE8, p1, number, whole[at : at + gp.room], 256)).sw
    return sw


@pytest.mark.parametrize("bits", [1024, 2048, 0], ids=["RSA-1024", "RSA-2048", "P-256"])
@pytest.mark.parametrize("name", HASHES)
def test_a_dap_is_verified_and_a_wrong_one_refused(bits: int, name: str) -> None:
    scheme, digest = HASHES[name]
    card = element()
    opened(card).domain(DOMAIN, b"\xc0")
    there = opened(card, DOMAIN)
    there.put_public_key(0x73, encoded(bits) if bits else point())
    issuer = opened(card)
    right = sign(bits, digest, scheme)
    wrong = bytes((right[0] ^ 1,)) + right[1:]
    assert load_with_dap(issuer, digest, wrong, to=DOMAIN) != 0x9000
    assert load_with_dap(opened(card), digest, right, to=DOMAIN) == 0x9000


class Delegated:
    """A card whose issuer checks tokens and gives receipts, and gp.jar in a domain with delegated management."""

    def __init__(self, bits: int, *, confirmation_length: bool = True) -> None:
        self.bits = bits
        profile = CardProfile(confirmation_length=confirmation_length)
        card = element(privileges=bytes.fromhex("9C6E80"), iin=b"IIN", cin=b"CIN", profile=profile)
        issuer = opened(card)
        issuer.domain(DOMAIN, bytes.fromhex("A00000"))
        issuer.domain(INNER)
        issuer.put_public_key(0x70, encoded(bits))
        issuer.put_secret_key(0x71, RECEIPT_KEY)
        self.gp = opened(card, DOMAIN)

    def send(self, ins: int, p1: int, data: bytes, context: bytes, *, p2: int = 0, token: bytes | None = None) -> None:
        """One command with its token (`DMTokenizer`), and its receipt checked (`AESReceiptVerifier`)."""
        signed = bytes((p1, p2, len(data))) + data
        token = sign(self.bits, signed, SHA1()) if token is None else token
        data += (b"\x9e" if ins == 0xE4 and token else b"") + (ber_length(len(token)) + token if token else b"\0")
        answer = self.gp.secured(Plain(0x80, ins, p1, p2, data))
        if answer.sw != 0x9000:
            raise ForeignError(f"INS {ins:02X}", answer.sw)
        check_receipt(answer.data, context)


def check_receipt(data: bytes, context: bytes) -> None:
    """Length, receipt after its own length, confirmation data; the CMAC is over those and what was done."""
    if data[0] == 0:
        raise ForeignError("no receipt")
    receipt, confirmation = data[2 : 2 + data[1]], data[2 + data[1] : data[0] + 1]
    if len(data) != data[0] + 1 or cmac(RECEIPT_KEY, confirmation + context) != receipt:
        raise ForeignError("receipt verification")


@pytest.mark.parametrize("bits", [1024, 2048])
def test_what_the_issuer_signed_is_done_and_confirmed(bits: int) -> None:
    here = Delegated(bits)
    digest = hashlib.sha256(CODE).digest()
    announced = lv(FILE) + lv(DOMAIN) + lv(digest) + b"\0"
    signed = b"\x02\0" + lv(announced)
    token = sign(bits, signed, SHA1())
    answer = here.gp.secured(Plain(0x80, 0xE6, 0x02, 0x00, announced + ber_length(len(token)) + token))
    assert answer == (b"\0", 0x9000)
    whole = b"\xc4" + ber_length(len(CODE)) + CODE
    for number, at in enumerate(range(0, len(whole), here.gp.room)):
        last = at + here.gp.room >= len(whole)
        piece = whole[at : at + here.gp.room]
        answer = here.gp.secured(Plain(0x80, 0xE8, 0x80 if last else 0, number, piece, 256))
    check_receipt(answer.data, lv(FILE) + lv(DOMAIN))
    installed = lv(FILE) + lv(MODULE) + lv(INSTANCE) + lv(b"\0") + lv(b"\xc9\0")
    here.send(0xE6, 0x0C, installed, lv(FILE) + lv(INSTANCE))
    moved = lv(INNER) + b"\0" + lv(INSTANCE) + b"\0\0"
    here.send(0xE6, 0x10, moved, lv(DOMAIN) + lv(INSTANCE) + lv(INNER))


@pytest.mark.parametrize("bits", [1024, 2048])
def test_delete_has_its_token_under_9e(bits: int) -> None:
    here = Delegated(bits)
    digest = hashlib.sha256(CODE).digest()
    token = sign(bits, b"\x02\0" + lv(lv(FILE) + lv(DOMAIN) + lv(digest) + b"\0"), SHA1())
    here.gp.secured(
        Plain(0x80, 0xE6, 0x02, 0x00, lv(FILE) + lv(DOMAIN) + lv(digest) + b"\0" + ber_length(len(token)) + token)
    )
    whole = b"\xc4" + ber_length(len(CODE)) + CODE
    for number, at in enumerate(range(0, len(whole), 200)):
        here.gp.secured(Plain(0x80, 0xE8, 0x80 if at + 200 >= len(whole) else 0, number, whole[at : at + 200], 256))
    with pytest.raises(ForeignError, match="6982"):
        here.send(0xE4, 0x00, b"\x4f" + lv(FILE), lv(FILE), token=bytes(bits // 8))
    here.send(0xE4, 0x00, b"\x4f" + lv(FILE), lv(FILE))


def test_without_the_length_around_it_a_receipt_reads_as_kaohs_library_does() -> None:
    """`globalplatform.c`, `fillReceipt`; gpshell `verify-receipt`: receipt, counter and unique data, each after its
    length; the CMAC as above.
    """
    here = Delegated(1024, confirmation_length=False)
    digest = hashlib.sha256(CODE).digest()
    announced = lv(FILE) + lv(DOMAIN) + lv(digest) + b"\0"
    token = sign(1024, b"\x02\0" + lv(announced), SHA1())
    here.gp.secured(Plain(0x80, 0xE6, 0x02, 0x00, announced + ber_length(len(token)) + token))
    whole = b"\xc4" + ber_length(len(CODE)) + CODE
    assert here.gp.secured(Plain(0x80, 0xE8, 0x00, 0, whole[:200])).sw == 0x9000
    answer = here.gp.secured(Plain(0x80, 0xE8, 0x80, 1, whole[200:], 256))
    receipt, confirmation = answer.data[1:17], answer.data[17:]
    assert answer.data[0] == 16
    assert confirmation.startswith(lv(b"\0\0") + lv(b"IINCIN"))
    assert cmac(RECEIPT_KEY, confirmation + lv(FILE) + lv(DOMAIN)) == receipt


def test_without_a_token_a_delegated_domain_does_nothing() -> None:
    here = Delegated(1024)
    with pytest.raises(ForeignError, match="6982"):
        here.send(0xE6, 0x02, lv(FILE) + lv(DOMAIN) + lv(bytes(32)) + b"\0", b"", token=b"")
