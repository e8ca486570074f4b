"""Words for codes."""

from __future__ import annotations

import pytest

from keywright.globalplatform import names
from keywright.globalplatform.key_information import KeyDescription


@pytest.mark.parametrize(
    ("scp", "i", "words"),
    [
        (3, 0x00, "SCP03 i=00 (S8)"),
        (3, 0x70, "SCP03 i=70 (S8, pseudo-random challenge, R-MAC, R-ENC)"),
        (3, 0x61, "SCP03 i=61 (S16, R-MAC, R-ENC)"),
        (2, 0x15, "SCP02 i=15 (three keys, explicit initiation, ICV encrypted)"),
        (2, 0x55, "SCP02 i=55 (three keys, explicit initiation, ICV encrypted, pseudo-random challenge)"),
        (0x11, 0x9B06, "SCP11 i=9B06 (S8, a, b, c, chains, X.509, no GlobalPlatform certificates)"),
        (0x11, 0x66, "SCP11 i=66 (S16, b, remembers our key, authorisation in c)"),
        (0x80, 0x01, "SCP80 i=01"),
    ],
)
def test_a_secure_channel_is_named_with_its_options(scp: int, i: int, words: str) -> None:
    assert names.secure_channel(scp, i) == words


@pytest.mark.parametrize(
    ("level", "words"), [(0, "00 (no protection)"), (1, "01 (C-MAC)"), (0x33, "33 (C-MAC, C-DEC, R-MAC, R-ENC)")]
)
def test_a_security_level_is_named_by_its_bits(level: int, words: str) -> None:
    assert names.security_level(level) == words


def test_privileges_of_one_and_of_three_bytes() -> None:
    assert names.privileges(b"\x80") == ("security domain",)
    assert names.privileges(bytes.fromhex("9EFE80")) == (
        "security domain",
        "card lock",
        "card terminate",
        "default selected",
        "CVM management",
        "trusted path",
        "authorised management",
        "token verification",
        "global delete",
        "global lock",
        "global registry",
        "final application",
        "receipt generation",
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [(0x03, "INSTALLED"), (0x07, "SELECTABLE"), (0x87, "LOCKED (SELECTABLE)"), (0x0F, "0F"), (0x8F, "8F")],
)
def test_the_state_of_an_application_is_named(state: int, words: str) -> None:
    assert names.application_state(state) == words


def test_a_security_domain_can_be_personalised() -> None:
    assert names.application_state(0x0F, domain=True) == "PERSONALIZED"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0x0000, "not given"),
        (0x6101, "6101 (year ...6, day 101)"),
        (0x6000, "6000 (no date)"),
        (0x6367, "6367 (no date)"),
        (0x60AB, "60AB (no date)"),
    ],
)
def test_a_date_of_cplc_is_the_last_digit_of_the_year_and_the_day(value: int, words: str) -> None:
    assert names.production_date(value) == words


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("2A864886FC6B01", "GlobalPlatform card"),
        ("2A864886FC6B02020301", "GPCS 2.3.1"),
        ("2A864886FC6B03", "GlobalPlatform card identification"),
        ("2A864886FC6B040370", "SCP03 i=70 (S8, pseudo-random challenge, R-MAC, R-ENC)"),
        (
            "2A864886FC6B04119B06",
            "SCP11 i=9B06 (S8, a, b, c, chains, X.509, no GlobalPlatform certificates)",
        ),
        ("2A864886FC6B0963", "1.2.840.114283.9.99"),
        ("2A864886F70D", "1.2.840.113549"),
        ("883703", "2.999.3"),
        ("", ""),
    ],
)
def test_an_object_identifier_is_named_or_written_in_dots(raw: str, words: str) -> None:
    assert names.oid(bytes.fromhex(raw)) == words


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ([(0x88, 16)], "AES 128 bit"),
        ([(0x80, 24)], "DES 192 bit"),
        ([(0xB0, 0x40), (0xF0, 0)], "EC public 256 bit"),
        ([(0xB0, 0x41), (0xF0, 1)], "EC public 256 bit"),
        ([(0xB1, 0x30), (0xF0, 1)], "EC private 384 bit"),
        ([(0xB0, 133), (0xF0, 1)], "EC public 521 bit"),
        ([(0xB1, 66)], "EC private 521 bit"),
        ([(0xA1, 256), (0xA0, 3)], "RSA public 2048 bit"),
        ([(0xA0, 3), (0xA1, 128)], "RSA public 1024 bit"),
        ([(0xA1, 0), (0xA0, 3)], "RSA public, over 2040 bit"),
        ([(0xA2, 256), (0xA3, 256)], "RSA private 2048 bit"),
        ([(kind, 64) for kind in range(0xA4, 0xA9)], "RSA private, CRT 1024 bit"),
        ([(0xA1, 128)], "RSA n 1024 bit"),
        ([(0x85, 32)], "PSK-TLS 256 bit"),
        ([(0x77, 0)], "type 77"),
        ([], "no components"),
    ],
)
def test_a_key_is_named_by_kind_and_size(components: list[tuple[int, int]], words: str) -> None:
    assert names.key(KeyDescription(1, 0x30, tuple(components))) == words


def test_usage_and_access_of_a_key_are_told_where_the_card_tells_them() -> None:
    assert names.key(KeyDescription(1, 0x73, ((0x88, 16),), b"\x84", b"\x02")) == "AES 128 bit, usage 84, access 02"
    assert names.key(KeyDescription(1, 0x73, ((0x88, 16),), b"", b"\0")) == "AES 128 bit"


def test_a_key_type_is_named_or_numbered() -> None:
    assert names.key_type(0x77) == "type 77"
