"""RSA keys: signatures of PKCS#1 and of ISO/IEC 9796-2 scheme 1, RSAES-PKCS1-v1_5, and the bare operation beneath them.

The bare private operation is for protocols whose blocks no library builds (SCP10). It is blinded and checks its own
result, but Python's integers do not compute in constant time: it is meant for simulated cards and for a host in a
guarded room, not for a service that strangers may time.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, TypeAlias, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from keywright.crypto.key import Secret
from keywright.errors import AuthenticationError, DecodeError

_Hash: TypeAlias = hashes.SHA1 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512
_HASHES: Final[dict[str, type[_Hash]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_MIN_BITS: Final = 1024
_MAX_BITS: Final = 8192
_EXPONENT: Final = 65537
_HEADER: Final = 0x6A
"""First byte of a scheme 1 block: partial recovery, no more padding (ISO/IEC 9796-2 8)."""
_TRAILER: Final = 0xBC
"""Last byte of a scheme 1 block: the hash function is agreed (ISO/IEC 9796-2 8)."""
_SHA1_BYTES: Final = 20
_PS_BYTES: Final = 8


@final
class RsaPublicKey:
    """A public key: a modulus of 1024 to 8192 bits and an exponent."""

    __slots__ = ("_key", "_numbers", "bits", "size")

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        """Wrap a key of the library. Raises DecodeError for a modulus that is too short or too long."""
        self._key = key
        self._numbers = key.public_numbers()
        self.bits = key.key_size
        """Length of the modulus in bits."""
        self.size = (key.key_size + 7) // 8
        """Length of the modulus, and of every signature and cryptogram, in bytes."""
        _check_bits(self.bits)

    @classmethod
    def from_numbers(cls, modulus: bytes, exponent: bytes) -> RsaPublicKey:
        """Take big-endian numbers, with or without leading zeros. Raises DecodeError if they are no public key."""
        n = int.from_bytes(modulus)
        _check_bits(n.bit_length())
        if n % 2 == 0:
            raise DecodeError("not an RSA public key")
        try:
            return cls(rsa.RSAPublicNumbers(int.from_bytes(exponent), n).public_key())
        except ValueError as error:
            raise DecodeError("not an RSA public key") from error

    @classmethod
    def from_spki(cls, der: bytes) -> RsaPublicKey:
        """Load a DER SubjectPublicKeyInfo (RFC 3279 2.3.1). Raises DecodeError."""
        from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415 - loads SSH too

        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise DecodeError("not a public key") from error
        if not isinstance(key, rsa.RSAPublicKey):
            raise DecodeError("not an RSA public key")
        return cls(key)

    @property
    def modulus(self) -> bytes:
        """The modulus, `size` bytes."""
        return self._numbers.n.to_bytes(self.size)

    @property
    def exponent(self) -> bytes:
        """The public exponent without leading zeros."""
        return _minimal(self._numbers.e)

    def spki(self) -> bytes:
        """The key as DER SubjectPublicKeyInfo (RFC 3279 2.3.1)."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - loads SSH too

        return self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def verify(self, signature: bytes, data: bytes, hash_name: str = "sha256") -> None:
        """Check RSASSA-PKCS1-v1_5 (RFC 8017 8.2) over `data`. Raises AuthenticationError."""
        try:
            self._key.verify(signature, data, padding.PKCS1v15(), _hash(hash_name))
        except InvalidSignature as error:
            raise AuthenticationError("signature not accepted") from error

    def verify_pss(
        self, signature: bytes, data: bytes, hash_name: str = "sha256", salt_length: int | None = None
    ) -> None:
        """Check RSASSA-PSS (RFC 8017 8.1) with MGF1 over the same hash. Raises AuthenticationError.

        `salt_length` in bytes is demanded exactly; None: as long as the hash.
        """
        try:
            self._key.verify(signature, data, _pss(hash_name, salt_length), _hash(hash_name))
        except InvalidSignature as error:
            raise AuthenticationError("signature not accepted") from error

    def recover(self, signature: bytes, rest: bytes = b"") -> bytes:
        """Check ISO/IEC 9796-2 scheme 1 with SHA-1 and trailer BC; return the part of the message that it carries.

        `rest`: the part that it does not carry. S and N - S are both accepted. Raises AuthenticationError.
        """
        block = self.apply(signature)
        if block[-1] & 0x0F != _TRAILER & 0x0F:
            block = (self._numbers.n - int.from_bytes(block)).to_bytes(self.size)
        carried, digest = block[1 : -1 - _SHA1_BYTES], block[-1 - _SHA1_BYTES : -1]
        good = hmac.compare_digest(digest, _sha1(carried + rest))
        if block[0] != _HEADER or block[-1] != _TRAILER or not good:
            raise AuthenticationError("signature not accepted")
        return carried

    @property
    def recoverable(self) -> int:
        """Bytes of a message that a scheme 1 signature carries: all but header, hash and trailer."""
        return self.size - _SHA1_BYTES - 2

    def apply(self, block: bytes) -> bytes:
        """The bare operation RSAEP (RFC 8017 5.1.1), `size` bytes each way. Raises AuthenticationError from N on."""
        return pow(_representative(block, self), self._numbers.e, self._numbers.n).to_bytes(self.size)

    def encrypt(self, clear: bytes) -> bytes:
        """RSAES-PKCS1-v1_5 (RFC 8017 7.2.1) with the library's own randomness. Raises ValueError if it does not fit."""
        return self._key.encrypt(clear, padding.PKCS1v15())

    def encrypt_with(self, clear: bytes, ps: bytes) -> bytes:
        """RSAES-PKCS1-v1_5 with the padding string given: non-zero bytes that fill the block, at least eight.

        `padding_for` says how many. Raises ValueError for another number, or a zero among them.
        """
        if len(ps) != self.padding_for(clear) or 0 in ps:
            raise ValueError("the padding string fills the block with non-zero bytes")
        return self.apply(b"\0\x02" + ps + b"\0" + clear)

    def padding_for(self, clear: bytes) -> int:
        """Bytes of the padding string of RSAES-PKCS1-v1_5 (RFC 8017 7.2.1). Raises ValueError when nothing fits."""
        room = self.size - 3 - len(clear)
        if room < _PS_BYTES:
            raise ValueError(f"{len(clear)} bytes do not fit an RSA block of {self.size}")
        return room

    def library_key(self) -> rsa.RSAPublicKey:
        """The key as the library has it, for certificates."""
        return self._key

    def __repr__(self) -> str:
        return f"<RSA-{self.bits} public key {self.modulus[:4].hex()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RsaPublicKey) and self._numbers == other._numbers

    def __hash__(self) -> int:
        return hash(self._numbers)


@final
class RsaPrivateKey(Secret):
    """A private key with its public key. It shows itself nowhere but in `to_pkcs8`."""

    __slots__ = ("_key", "_numbers", "public")

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        """Wrap a key of the library. Raises DecodeError for a modulus that is too short or too long."""
        self._key = key
        self._numbers = key.private_numbers()
        self.public = RsaPublicKey(key.public_key())

    @classmethod
    def generate(cls, bits: int) -> RsaPrivateKey:
        """Make a new key with exponent 65537, with the library's own randomness. Raises ValueError for its size."""
        if not _MIN_BITS <= bits <= _MAX_BITS:
            raise ValueError(f"an RSA modulus has {_MIN_BITS} to {_MAX_BITS} bits here, not {bits}")
        return cls(rsa.generate_private_key(_EXPONENT, bits))

    @classmethod
    def from_numbers(cls, modulus: bytes, private_exponent: bytes, exponent: bytes = b"\1\0\1") -> RsaPrivateKey:
        """Take big-endian numbers; the primes are found from them. Raises DecodeError if they do not fit together."""
        n, d, e = (int.from_bytes(number) for number in (modulus, private_exponent, exponent))
        _check_bits(n.bit_length())
        try:
            p, q = rsa.rsa_recover_prime_factors(n, e, d)
            return cls._of(p, q, d, e)
        except ValueError:
            # "from None": what the library says may repeat a number.
            raise DecodeError("not an RSA private key") from None

    @classmethod
    def from_crt(cls, p: bytes, q: bytes, dp: bytes, dq: bytes, qinv: bytes, *, known: bool = False) -> RsaPrivateKey:
        """Take the five components of RFC 8017 3.2, second form. Raises DecodeError if they do not belong together.

        `known`: they have been taken before, so the primes are not tested again, which takes twenty milliseconds.
        """
        prime_p, prime_q, d_p, d_q, inverse = (int.from_bytes(number) for number in (p, q, dp, dq, qinv))
        _check_bits((prime_p * prime_q).bit_length())
        try:
            e = pow(d_p, -1, prime_p - 1)
            if e != pow(d_q, -1, prime_q - 1) or inverse * prime_q % prime_p != 1:
                raise DecodeError("not an RSA private key")
            return cls._of(prime_p, prime_q, pow(e, -1, (prime_p - 1) * (prime_q - 1)), e, known=known)
        except ValueError:
            raise DecodeError("not an RSA private key") from None

    @classmethod
    def _of(cls, p: int, q: int, d: int, e: int, *, known: bool = False) -> RsaPrivateKey:
        public = rsa.RSAPublicNumbers(e, p * q)
        dmp1, dmq1, iqmp = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
        numbers = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public)
        return cls(numbers.private_key(unsafe_skip_rsa_key_validation=known))

    @classmethod
    def from_pkcs8(cls, der: bytes) -> RsaPrivateKey:
        """Load an unencrypted DER PrivateKeyInfo (RFC 5208). Raises DecodeError."""
        from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415 - loads SSH too

        try:
            key = load_der_private_key(der, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise DecodeError("not a private key") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise DecodeError("not an RSA private key")
        return cls(key)

    def to_pkcs8(self) -> bytes:
        """The key as unencrypted DER PrivateKeyInfo (RFC 5208): for sealing it, or a simulated device's memory."""
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - loads SSH too
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, data: bytes, hash_name: str = "sha256") -> bytes:
        """RSASSA-PKCS1-v1_5 over `data` (RFC 8017 8.2)."""
        return self._key.sign(data, padding.PKCS1v15(), _hash(hash_name))

    def sign_pss(self, data: bytes, hash_name: str = "sha256", salt_length: int | None = None) -> bytes:
        """RSASSA-PSS over `data` (RFC 8017 8.1), MGF1 over the same hash; `salt_length` in bytes, None as the hash.

        The salt is the library's own randomness. Raises ValueError if the salt does not fit.
        """
        return self._key.sign(data, _pss(hash_name, salt_length), _hash(hash_name))

    def sign_recoverable(self, carried: bytes, rest: bytes = b"") -> bytes:
        """ISO/IEC 9796-2 scheme 1 with SHA-1 and trailer BC over `carried` || `rest`; the signature carries `carried`.

        Raises ValueError unless `carried` has exactly `public.recoverable` bytes.
        """
        if len(carried) != self.public.recoverable:
            raise ValueError(f"a scheme 1 signature of this key carries {self.public.recoverable} bytes")
        return self.apply(bytes((_HEADER,)) + carried + _sha1(carried + rest) + bytes((_TRAILER,)))

    def decrypt(self, cryptogram: bytes) -> bytes:
        """Open RSAES-PKCS1-v1_5 (RFC 8017 7.2.2), any non-zero padding string.

        A block that is not well formed gives bytes that nobody can predict but that are the same each time, not an
        error: the caller fails on them as on any wrong message, so that padding is no oracle. Raises
        AuthenticationError only for what everybody sees: a wrong length, or a number that is not below the modulus.
        """
        _representative(cryptogram, self.public)
        try:
            return self._key.decrypt(cryptogram, padding.PKCS1v15())
        except ValueError:
            # A backend that does not reject implicitly by itself.
            return self._secret_hash(b"rejected", cryptogram, self.public.size)[_PS_BYTES + 3 :]

    def apply(self, block: bytes) -> bytes:
        """The bare operation RSADP (RFC 8017 5.1.2), `size` bytes each way. Raises AuthenticationError outside [0, N).

        Blinded with a number that only this key and this block give, and checked: a wrong result never leaves.
        """
        m, public = _representative(block, self.public), self._numbers.public_numbers
        n, e = public.n, public.e
        # That it shares a factor with N is as likely as guessing one.
        blind = int.from_bytes(self._secret_hash(b"blind", block, self.public.size + 8)) % (n - 2) + 2
        blinded = m * pow(blind, e, n) % n
        result = self._private(blinded) * pow(blind, -1, n) % n
        if pow(result, e, n) != m:
            raise ArithmeticError("the private operation failed its check")
        return result.to_bytes(self.public.size)

    def _private(self, number: int) -> int:
        key = self._numbers
        at_p, at_q = pow(number, key.dmp1, key.p), pow(number, key.dmq1, key.q)
        return at_q + key.q * (key.iqmp * (at_p - at_q) % key.p)

    def _secret_hash(self, purpose: bytes, block: bytes, size: int) -> bytes:
        secret = self._numbers.d.to_bytes(self.public.size)
        return hashlib.shake_256(purpose + b"\0" + secret + block).digest(size)

    def library_key(self) -> rsa.RSAPrivateKey:
        """The key as the library has it, for signing certificates."""
        return self._key

    def __repr__(self) -> str:
        return f"<RSA private key of {self.public!r}>"

    def __eq__(self, other: object) -> bool:
        # The same public key means the same private key, so nothing secret is compared.
        return isinstance(other, RsaPrivateKey) and self.public == other.public

    __hash__ = None  # type: ignore[assignment]  # a key must not become a dictionary key by accident


def _check_bits(bits: int) -> None:
    if not _MIN_BITS <= bits <= _MAX_BITS:
        raise DecodeError(f"RSA moduli of {bits} bits are not used here")


def _minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def _representative(block: bytes, key: RsaPublicKey) -> int:
    number = int.from_bytes(block)
    if len(block) != key.size or block >= key.modulus:
        raise AuthenticationError("not a block of this key")
    return number


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()  # noqa: S324 - the hash of scheme 1 as SCP10 fixes it (GPCS F.2.1)


def _hash(hash_name: str) -> _Hash:
    if hash_name not in _HASHES:
        raise ValueError(f"no RSA signature with {hash_name!r}; one of {', '.join(_HASHES)}")
    return _HASHES[hash_name]()


def _pss(hash_name: str, salt_length: int | None) -> padding.PSS:
    chosen = _hash(hash_name)
    return padding.PSS(padding.MGF1(chosen), chosen.digest_size if salt_length is None else salt_length)
