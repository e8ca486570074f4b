"""Content management, handshakes and headers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.tlv import item
from keywright.globalplatform.deletion import DeleteObject
from keywright.globalplatform.explain import explain
from keywright.globalplatform.install import (
    InstallForExtradition,
    InstallForInstall,
    InstallForLoad,
    InstallParameters,
    InstallSystemParameters,
)
from keywright.globalplatform.key_data import KeyField, KeyPart, NewKeys
from keywright.globalplatform.parameters import PARAMETERS, header
from keywright.globalplatform.tlv_names import INSIDE, NAMES, is_known, tlv_lines
from keywright.iso7816.apdu import Command, Response

FILE, MODULE, APP = (bytes.fromhex(f"A00000000{n}") for n in (1, 2, 3))
CONFIRMED = Response(b"\0")
A6 = bytes.fromhex("A60D9002110195013C800188810110")
PARAMETERS_OF_APP = InstallParameters(b"\xca\xfe", InstallSystemParameters(b"\x01\x00")).build()


@pytest.mark.parametrize(
    ("command", "response", "title", "lines"),
    [
        (
            Command(0x80, 0xE6, 0x02, 0, InstallForLoad(FILE).build(), 0),
            CONFIRMED,
            "INSTALL for load",
            [("load file", "A000000001"), ("receipt", "none")],
        ),
        (
            Command(0x80, 0xE6, 0x0C, 0, InstallForInstall(FILE, MODULE, APP, b"\x80", PARAMETERS_OF_APP).build(), 0),
            CONFIRMED,
            "INSTALL for install and make selectable",
            [
                ("module", "A000000002"),
                ("instance", "A000000003"),
                ("privileges", "80 (security domain)"),
                ("parameters", ""),
                ("  application", "CAFE"),
                ("    volatile quota", "0100"),
            ],
        ),
        (
            Command(0x80, 0xE6, 0x10, 0, InstallForExtradition(FILE, b"", APP).build(), 0),
            Response(bytes.fromhex("02AABB0200010342CAFE")),
            "INSTALL for extradition",
            [("application", "A000000003"), ("receipt", "AABB"), ("confirmation data", "0200010342CAFE")],
        ),
        (
            Command(0x80, 0xE6, 0x01, 0, b"\1\2"),
            Response(b"", 0x6A86),
            "INSTALL",
            [("data", "0102"), ("status", "6A86 incorrect P1 P2")],
        ),
        (Command(0x80, 0xE8, 0x80, 1, b"abcd"), CONFIRMED, "LOAD block 01, last", [("load file", "4 bytes of it")]),
        (Command(0x80, 0xE8, 0x00, 0, b"\xc4\1a"), CONFIRMED, "LOAD block 00", [("begins with", "C40161")]),
        (
            Command(0x80, 0xE4, 0x00, 0x80, DeleteObject(FILE, None, b"tok").build(), 0),
            CONFIRMED,
            "DELETE",
            [("AID", "A000000001"), ("token", "746F6B")],
        ),
        (Command(0x00, 0x70, 0, 0, b"", 1), Response(b"\3"), "MANAGE CHANNEL open", [("channel", "3")]),
        (
            Command(0x80, 0x82, 1, 0x11, A6 + item(0x5F49, b"\4"), 0),
            Response(item(0x5F49, b"\5") + item(0x86, bytes(16))),
            "MUTUAL AUTHENTICATE",
            [
                ("A6 control reference", ""),
                ("  95 key usage", "3C"),
                ("5F49 public key", "05"),
                ("86 receipt", "00" * 16),
            ],
        ),
        (
            Command(0x80, 0x50, 0x20, 0, bytes(8), 0),
            Response(bytes(10) + b"\x20\x02\x00\x07" + bytes(6) + bytes(8)),
            "INITIALIZE UPDATE KVN 20",
            [("SCP", "02"), ("sequence counter", "0007"), ("card challenge", "00" * 6)],
        ),
        (
            Command(0x80, 0xE2, 0x90, 0, item(0xA6, item(0x83, b"\x11\x01")) + item(0x70, item(0x93, b"\x05"))),
            Response(b""),
            "STORE DATA block 00, last",
            [("  83 key identifier and version", "1101"), ("  93 certificate serial number", "05")],
        ),
        (
            Command(0x80, 0xCA, 0xBF, 0x21, b"", 0),
            Response(item(0xBF21, item(0x7F21, item(0x42, b"CA")))),
            "GET DATA BF21 (certificates)",
            [("certificates", ""), ("  7F21 certificate", ""), ("    42 CA identifier", "4341")],
        ),
        (
            Command(0x80, 0xF2, 0x10, 0, b"\x4f\0", 0),
            Response(bytes.fromhex("05A0000000010100" + "0105A000000002")),
            "GET STATUS load files and modules",
            [("A000000001", "01"), ("  modules", "A000000002")],
        ),
    ],
)
def test_what_is_asked_and_answered_is_told(
    command: Command, response: Response, title: str, lines: list[tuple[str, str]]
) -> None:
    told = explain(command, response)
    assert told.title == title
    for line in lines:
        assert line in told.lines


SECRET = bytes(range(0xC0, 0xD0))


def test_put_key_is_told_without_its_keys() -> None:
    aes = KeyField((KeyPart(0x88, b"\x10" + SECRET),), b"\x11\x22\x33")
    ec = KeyField((KeyPart(0xB1, SECRET * 2), KeyPart(0xF0, b"\0")), b"", extended=True, usage=b"\x81")
    told = explain(Command(0x80, 0xD8, 0x00, 0x81, NewKeys(0x31, (aes, ec)).build(), 0))
    assert told.asked == (
        ("KVN", "31"),
        ("key 01", "AES, masked (17 bytes), KCV 112233"),
        ("key 02", "EC private, masked (32 bytes) + EC parameters, masked (1 byte), usage 81"),
    )


@given(st.binary(max_size=60), st.integers(0, 60))
def test_no_bytes_of_a_broken_put_key_are_shown(around: bytes, at: int) -> None:
    data = around[:at] + SECRET + around[at:]
    for command in (Command(0x80, 0xD8, 0, 0x81, data), Command(0x84, 0xD8, 0, 0x81, data)):
        shown = " ".join(value for _, value in explain(command).asked)
        assert not any(SECRET[n : n + 4].hex().upper() in shown for n in range(13))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            Command(0x84, 0xE6, 0x0C, 0x00, b"a", 0),
            [
                ("class", "84 GlobalPlatform, secure messaging, logical channel 0"),
                ("P1", "0C for install and make selectable"),
                ("P2", "00"),
                ("Lc", "01 1 byte"),
                ("Le", "00 all there are, up to 256"),
            ],
        ),
        (
            Command(0x4F, 0xA4, 0x04, 0x02, bytes(300), 20, True),
            [
                ("class", "4F interindustry, logical channel 19"),
                ("P1", "04 by name"),
                ("P2", "02 next occurrence"),
                ("Lc", "12C 300 bytes, extended"),
                ("Le", "14 20 bytes"),
            ],
        ),
        (
            Command(0x90, 0xD8, 0x30, 0x81),
            [
                ("class", "90 GlobalPlatform, more of this command follows, logical channel 0"),
                ("P1", "30 replaces key version 30"),
                ("P2", "81 several keys from key identifier 01"),
            ],
        ),
        (
            Command(0x80, 0xE2, 0xE8, 0x05),
            [
                ("class", "80 GlobalPlatform, logical channel 0"),
                ("P1", "E8 last block, DGI, encrypted"),
                ("P2", "05 block 5"),
            ],
        ),
        (Command(0x08, 0xB0, 0, 0), [("class", "08 interindustry, secure messaging of ISO 7816-4, logical channel 0")]),
        (Command(0xFF, 0xB0, 0, 0), [("class", "FF no class that exists")]),
        (Command(0x80, 0xF0, 0x80, 0x7F), [("P1", "80 card"), ("P2", "7F CARD_LOCKED")]),
        (
            Command(0x80, 0xF0, 0x40, 0x83),
            [("P1", "40 application or security domain"), ("P2", "83 LOCKED (INSTALLED)")],
        ),
        (Command(0x80, 0xF2, 0x40, 0x03), [("P1", "40 applications"), ("P2", "03 TLV, next occurrences")]),
        (Command(0x84, 0x82, 0x13, 0), [("P1", "13 C-MAC, C-DEC, R-MAC")]),
        (Command(0x80, 0x82, 0x01, 0x11), [("P1", "01 key version 01"), ("P2", "11 key identifier 11")]),
        (Command(0x00, 0x70, 0x80, 2), [("P1", "80 close"), ("P2", "02 channel 2")]),
        (Command(0x84, 0x7A, 0x30, 1), [("P1", "30 R-MAC and R-ENC")]),
    ],
)
def test_the_header_is_told_field_by_field(command: Command, expected: list[tuple[str, str]]) -> None:
    told = list(header(command))
    for line in expected:
        assert line in told


@given(st.binary(min_size=4, max_size=4), st.sampled_from((*PARAMETERS, 0x00)), st.sampled_from((None, 0, 1, 256)))
def test_any_header_can_be_told(raw: bytes, ins: int, le: int | None) -> None:
    told = list(header(Command(raw[0], ins, raw[2], raw[3], b"", le)))
    assert [name for name, _ in told][:3] == ["class", "P1", "P2"]
    assert [value[:2] for _, value in told[:3]] == [f"{byte:02X}" for byte in (raw[0], raw[2], raw[3])]


def test_a_tag_has_the_name_of_its_place() -> None:
    data = item(0x67, item(0xA0, item(0x80, b"\3")) + item(0x81, b"\1"))
    assert list(tlv_lines(data)) == [
        ("67 card capabilities", ""),
        ("  A0 secure channel", ""),
        ("    80 protocol", "03"),
        ("  81 domain privileges", "01"),
    ]
    assert is_known(data)
    assert not is_known(item(0x99, b""))
    assert not is_known(b"")


def test_templates_nested_too_deep_are_shown_as_bytes() -> None:
    data = b""
    for _ in range(40):
        data = item(0xEF, data)
    assert len(list(tlv_lines(data))) == 9


@given(st.sampled_from(sorted(NAMES)), st.sampled_from(sorted(INSIDE)), st.binary(max_size=40))
def test_any_value_can_be_shown(number: int, around: int, value: bytes) -> None:
    lines = list(tlv_lines(item(around, item(number, value))))
    assert lines[0][0].startswith(f"{around:02X}")
