"""`keywright decode`: from pasted bytes to words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.cli.messages_in import Piece, pieces
from keywright.errors import DecodeError
from support.commands import Keywright, Program

SELECT, FCI = "00A4040000", "6f108408a000000151000000a5049f6501ff9000"
ATR = "3B8F018073C021DF596B65797772696768747A"
SECRET = "C0FFEE00C0FFEE11C0FFEE22C0FFEE33"


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([SELECT], [Piece(raw(SELECT))]),
        ([FCI], [Piece(None, raw(FCI))]),
        (["9000"], [Piece(None, raw("9000"))]),
        ([SELECT, FCI], [Piece(raw(SELECT), raw(FCI))]),
        ([SELECT, SELECT, FCI], [Piece(raw(SELECT)), Piece(raw(SELECT), raw(FCI))]),
        ([FCI, SELECT], [Piece(None, raw(FCI)), Piece(raw(SELECT))]),
        (["> " + SELECT, "< 6A82"], [Piece(raw(SELECT), raw("6A82"))]),
        ([">> 6F00000090 00"], [Piece(raw("6F0000009000"))]),
        (["C:00 A4 04 00 00", "R: 90:00"], [Piece(raw(SELECT), raw("9000"))]),
        (["# a remark", "", "9000"], [Piece(None, raw("9000"))]),
        ([ATR], [Piece(None, None, raw(ATR))]),
        (["E000"], [Piece(None, None, raw("E000"))]),
        # An answer that could be a command by its shape belongs to the command before it.
        ([SELECT, "00A404006100"[:8] + "9000"], [Piece(raw(SELECT), raw("00A404009000"))]),
        (
            [
                '{"t":1.0,"who":"h","link":"l","dir":"command","hex":"00A4040000"}',
                '{"t":1.0,"who":"h","link":"l","dir":"answer","hex":"9000"}',
                '{"t":1.0,"who":"h","link":"l","dir":"close","hex":""}',
            ],
            [Piece(raw(SELECT), raw("9000"))],
        ),
    ],
)
def test_messages_find_their_kind_and_their_partner(texts: list[str], expected: object) -> None:
    assert list(pieces(texts)) == expected


@pytest.mark.parametrize("text", ["xyz", "> 0", "90 0", "{}"])
def test_a_message_that_is_no_hex_is_named_by_its_number(text: str) -> None:
    with pytest.raises(DecodeError):
        list(pieces(["9000", text]))


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6))
def test_no_byte_of_any_messages_is_lost(messages: list[bytes]) -> None:
    found = list(pieces([data.hex() for data in messages]))
    parts = [part for piece in found for part in (piece.command, piece.answer, piece.other) if part]
    assert parts == messages


def test_a_pair_is_told_in_words(keywright: Keywright) -> None:
    ran = keywright("decode", SELECT, FCI)
    assert ran.code == 0
    assert ran.out == (
        "SELECT issuer security domain\n"
        "  > 00 A4 04 00 00\n"
        "  < 6F 10 84 08 A0 00 00 01 51 00 00 00 A5 04 9F 65 01 FF 90 00\n"
        "    AID          A000000151000000\n"
        "    proprietary\n"
        "      max data   255 bytes\n"
        "    9000 ok\n"
    )


def test_bytes_pasted_with_spaces_are_one_message(keywright: Keywright) -> None:
    assert keywright("decode", *"00 A4 04 00 00".split()).out == keywright("decode", "00A4040000").out


def test_json_is_one_object_for_each_exchange(keywright: Keywright) -> None:
    ran = keywright("decode", SELECT, FCI, "80CA00E000", "--json")
    first, second = map(json.loads, ran.out.splitlines())
    assert first["title"] == "SELECT issuer security domain"
    assert first["sw"] == "9000"
    assert ["AID", "A000000151000000"] in first["answered"]
    assert second["answer"] is None


def test_standard_input_is_read_line_by_line(program: Program) -> None:
    done = program("decode", "-", stdin=f"> {SELECT}\n< {FCI}\n\n# end\n")
    assert done.returncode == 0
    assert done.stdout.startswith("SELECT issuer security domain\n")


def test_an_atr_is_told(keywright: Keywright) -> None:
    ran = keywright("decode", "3B8F018073C021DF596B65797772696768747A")
    assert "protocols   T=1" in ran.out
    assert ".s.!.Ykeywright" in ran.out


def test_data_objects_are_told(keywright: Keywright) -> None:
    ran = keywright("decode", "e012c00401308810c00402308810c00403308810")
    assert ran.out.startswith("data objects\n    keys 1  KVN 30 KID 01 AES 128 bit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("FFFFFF",), "3 bytes that are no message we know"),
        (("00A40",), "message 1: half a byte at position 5"),
        (("zz",), "message 1: 'z' is not a hex digit at position 0"),
    ],
)
def test_what_is_no_message_is_refused_with_a_hint(keywright: Keywright, words: tuple[str, ...], message: str) -> None:
    ran = keywright("decode", *words)
    assert ran.code == 6
    assert message in ran.err
    assert len(ran.err.splitlines()) <= 2


def test_nothing_to_decode_is_said(program: Program) -> None:
    done = program("decode", "-", stdin="\n")
    assert done.returncode == 6
    assert "there is nothing to decode" in done.stderr


def test_key_material_is_masked_in_words_and_bytes(keywright: Keywright) -> None:
    for words in (
        (f"80D8008113308810{SECRET}00",),
        ("--json", f"80D8008113308810{SECRET}00"),
        (f"0020008010{SECRET}",),
    ):
        ran = keywright("decode", *words)
        assert ran.code == 0
        assert SECRET not in ran.out.replace(" ", "").upper()
        assert "masked" in ran.out
