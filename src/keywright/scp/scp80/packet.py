"""Command and response packets, sealed and opened; both ends do it the same way (TS 102 225 5)."""

from __future__ import annotations

import msgspec

from keywright.crypto.compare import equal
from keywright.errors import AuthenticationError, DecodeError, PolicyError
from keywright.scp.scp80.keys import Checksum, Cipher, KeySet
from keywright.scp.scp80.messages import (
    CHECKSUMS,
    CIPHERS,
    COMMAND_HEADER,
    REDUNDANCY_CHECKS,
    RESPONSE_HEADER,
    Binding,
    Check,
    CommandBody,
    CounterMode,
    ResponseBody,
    SecuredCommand,
    SecuredResponse,
    Spi,
    is_by_arrangement,
    key_set_number,
)
from keywright.scp.scp80.profile import STRICT, Profile


class CipheringError(AuthenticationError):
    """The deciphered padding counter is impossible: wrong key, or a packet that was changed on its way."""

    code = "ciphering"


class Header(msgspec.Struct, frozen=True):
    """What says how a command is protected, for whom it is, and which one it is. `tar` has 3 bytes."""

    spi: Spi
    kic: int
    kid: int
    tar: bytes
    cntr: int = 0

    @property
    def kvn(self) -> int:
        """Key version number: the one of KIc, or of KID where that leaves it open."""
        return key_set_number(self.kic) or key_set_number(self.kid)


class Suite(msgspec.Struct, frozen=True):
    """The algorithms and keys of one packet, in one direction."""

    cipher: Cipher | None = None
    check: Checksum | None = None

    @property
    def check_size(self) -> int:
        """Bytes of RC or CC, 0 without."""
        return self.check.size if self.check else 0

    def padding(self, size: int) -> int:
        """PCNTR for `size` bytes from CNTR on."""
        return -size % self.cipher.block if self.cipher else 0

    def compute(self, data: bytes) -> bytes:
        """RC or CC, empty without."""
        return self.check.compute(data) if self.check else b""

    def encrypt(self, data: bytes) -> bytes:
        """Whole blocks, or anything without a cipher."""
        return self.cipher.encrypt(data) if self.cipher else data

    def decrypt(self, data: bytes) -> bytes:
        """Inverse of `encrypt`. Raises CipheringError for a rest."""
        if self.cipher is None:
            return data
        if len(data) % self.cipher.block:
            raise CipheringError("the ciphered part is not a number of whole blocks")
        return self.cipher.decrypt(data)


def suite_of(check: Check, *, ciphered: bool, kic: int, kid: int, keys: KeySet, profile: Profile = STRICT) -> Suite:
    """What SPI, KIc and KID name (TS 102 225 5.1.1 to 5.1.3). Raises PolicyError if that cannot be."""
    cipher = None
    if ciphered:
        algorithm = keys.cipher if is_by_arrangement(kic) else CIPHERS.get(kic & 0xF)
        if algorithm is None:
            raise PolicyError(f"KIc {kic:02X} names no ciphering that we know")
        cipher = Cipher.of(algorithm, keys.kic, profile)
    return Suite(cipher, _checksum(check, kid, keys, profile))


def _checksum(check: Check, kid: int, keys: KeySet, profile: Profile) -> Checksum | None:
    if check == Check.NONE:
        return None
    if check == Check.DS:
        raise PolicyError("a digital signature has no algorithm: no card is known that does it")
    named = REDUNDANCY_CHECKS if check == Check.RC else CHECKSUMS
    algorithm = keys.checksum if is_by_arrangement(kid) else named.get(kid & 0xF)
    if algorithm is None:
        raise PolicyError(f"KID {kid:02X} names no {check.name} that we know")
    return Checksum.of(algorithm, keys.kid, keys.mac_length, profile)


def breaks(header: Header, suite: Suite, profile: Profile = STRICT) -> str:
    """Which rule of TS 102 225 5.1.1 the parameters of a command break, in words; empty if none."""
    spi, same = header.spi, profile.answer_as_command
    numbers = {key_set_number(header.kic), key_set_number(header.kid)} - {0}
    rules = (
        (spi.reserved, "a reserved bit of SPI is set"),
        (len(numbers) > 1, "KIc and KID name different key sets (Annex A.2)"),
        (
            profile.aes_needs_counter and _is_aes(suite) and spi.counter < CounterMode.HIGHER,
            "AES needs a counter that only rises: its IV is zero",
        ),
        (
            same and spi.por_check not in (Check.NONE, spi.check),
            "the answer cannot have a check of another kind than the command",
        ),
        (same and spi.por_ciphered and not spi.ciphered, "only the answer to a ciphered command can be ciphered"),
    )
    return next((text for broken, text in rules if broken), "")


def _is_aes(suite: Suite) -> bool:
    return bool(suite.cipher and suite.cipher.block == 16) or bool(
        suite.check and suite.check.algorithm.value == "AES-CMAC"
    )


def command_suite(header: Header, keys: KeySet, profile: Profile = STRICT) -> Suite:
    """What protects a command. Raises PolicyError when its parameters break a rule."""
    spi = header.spi
    suite = suite_of(spi.check, ciphered=spi.ciphered, kic=header.kic, kid=header.kid, keys=keys, profile=profile)
    broken = breaks(header, suite, profile)
    if broken:
        raise PolicyError(f"SPI {spi.build().hex().upper()}: {broken}")
    return suite


def response_suite(header: Header, keys: KeySet, profile: Profile = STRICT) -> Suite:
    """What protects the answer to this command. Raises PolicyError when the keys do not fit."""
    spi = header.spi
    return suite_of(
        spi.por_check, ciphered=spi.por_ciphered, kic=header.kic, kid=header.kid, keys=keys, profile=profile
    )


def seal_command(header: Header, data: bytes, suite: Suite, binding: Binding) -> bytes:
    """A command packet: padded, measured, checked, ciphered. Raises ValueError when it is too long."""
    size = 6 + suite.check_size + len(data)
    pcntr = suite.padding(size)
    head = CommandBody(
        COMMAND_HEADER + suite.check_size, header.spi.build(), header.kic, header.kid, header.tar, b""
    ).build()
    before = binding.before(binding.command_identifier, len(head) + size + pcntr) + head
    clear = SecuredCommand(header.cntr, pcntr, b"").build()
    data += bytes(pcntr)
    return before + suite.encrypt(clear + suite.compute(before + clear + data) + data)


def read_command(packet: bytes, binding: Binding) -> CommandBody:
    """The part of a command packet that is never ciphered. Raises DecodeError."""
    body = CommandBody.parse(binding.unframe(binding.command_identifier, packet))
    if body.header_length < COMMAND_HEADER:
        raise DecodeError(f"CHL {body.header_length:02X} is less than 0D", len(packet) - len(body.build()))
    return body


def open_command(body: CommandBody, suite: Suite, binding: Binding) -> SecuredCommand:
    """Decipher a command and check it; the result holds the secured data alone.

    Raises CipheringError (status 05) before AuthenticationError (status 01).
    """
    size = suite.check_size
    if body.header_length != COMMAND_HEADER + size:
        raise AuthenticationError("CHL does not fit the RC or CC that SPI and KID name")
    try:
        inner = SecuredCommand.parse(suite.decrypt(body.secured))
    except DecodeError as error:
        raise CipheringError("nothing that could be deciphered") from error
    check, data, plain = _opened(inner.pcntr, inner.rest, suite)
    head = body.build()[: -len(body.secured)]
    before = binding.before(binding.command_identifier, len(head) + len(body.secured)) + head
    if suite.check and not equal(check, suite.compute(before + inner.build()[:6] + plain)):
        raise AuthenticationError("RC or CC wrong")
    return SecuredCommand(inner.cntr, inner.pcntr, data)


def _opened(pcntr: int, rest: bytes, suite: Suite) -> tuple[bytes, bytes, bytes]:
    """RC or CC, the data, and the data with its zeros."""
    size = suite.check_size
    if len(rest) < size:
        raise AuthenticationError("no room for RC or CC")
    plain = rest[size:]
    if pcntr >= (suite.cipher.block if suite.cipher else 1) or pcntr > len(plain):
        raise CipheringError("PCNTR is more than a block or than the data")
    return rest[:size], plain[: len(plain) - pcntr], plain


def seal_response(tar: bytes, response: SecuredResponse, suite: Suite, binding: Binding) -> bytes:
    """A response packet; `response.rest` is the data alone, `response.pcntr` is set here."""
    data = response.rest
    size = 7 + suite.check_size + len(data)
    pcntr = suite.padding(size)
    head = ResponseBody(RESPONSE_HEADER + suite.check_size, tar, b"").build()
    length = len(head) + size + pcntr
    clear = SecuredResponse(response.cntr, pcntr, response.status, b"").build()
    data += bytes(pcntr)
    checked = _response_before(binding, length) + head + clear + data
    return (
        binding.before(binding.response_identifier, length)
        + head
        + suite.encrypt(clear + suite.compute(checked) + data)
    )


def _response_before(binding: Binding, length: int) -> bytes:
    return binding.before(binding.before_response, length)


def read_response(packet: bytes, binding: Binding) -> ResponseBody:
    """The part of a response packet that is never ciphered; on SMS the user data header may stand in front.

    Raises DecodeError.
    """
    if binding.wide and packet.startswith(binding.before_response):
        packet = packet[len(binding.before_response) :]
    body = ResponseBody.parse(binding.unframe(binding.response_identifier, packet))
    if body.header_length < RESPONSE_HEADER:
        raise DecodeError(f"RHL {body.header_length:02X} is less than 0A")
    return body


def open_response(body: ResponseBody, suite: Suite, binding: Binding) -> SecuredResponse:
    """Decipher a response and check it; the result holds the data alone. Raises AuthenticationError."""
    if body.header_length != RESPONSE_HEADER + suite.check_size:
        raise AuthenticationError("RHL does not fit the RC or CC that was asked for")
    try:
        inner = SecuredResponse.parse(suite.decrypt(body.secured))
    except DecodeError as error:
        raise CipheringError("nothing that could be deciphered") from error
    check, data, plain = _opened(inner.pcntr, inner.rest, suite)
    head = body.build()[: -len(body.secured)]
    checked = _response_before(binding, len(head) + len(body.secured)) + head + inner.build()[:7] + plain
    if suite.check and not equal(check, suite.compute(checked)):
        raise AuthenticationError("RC or CC wrong")
    return SecuredResponse(inner.cntr, inner.pcntr, inner.status, data)
