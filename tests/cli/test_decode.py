"""`keywright decode`: from pasted bytes to words."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.cli.messages_in import Piece, pieces
from keywright.errors import DecodeError
from keywright.scp.scp03.keys import KeySet, derive_session
from support.commands import KeyFile, Keywright, Program
from support.peers import require_peer

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
        (
            [
                'SCardConnect("Reader 00 00", T=*) -> T=1, 3B80',
                "A>> T=1 (4+0000) 00A40400 00 ",
                "A<< (0018+2) (48ms) 6F108408A000000151000000A5049F6501FF 9000",
                "[DEBUG] GPSession - Auto-detected ISD: A000000151000000",
                "A>> T=1 (4+0008) 80500000 08 0001020304050607 00",
                "A<< (0000+2) (9ms) 6A88",
            ],
            [Piece(raw(SELECT), raw(FCI)), Piece(raw("8050000008000102030405060700"), raw("6A88"))],
        ),
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
            [Piece(raw(SELECT), raw("9000"), b"", 1.0, "l")],
        ),
        (
            [
                '{"t":1.0,"who":"h","link":"a","dir":"command","hex":"00A4040000","note":"data masked"}',
                '{"t":1.5,"who":"h","link":"b","dir":"command","hex":"80CA006600"}',
                '{"t":2.0,"who":"h","link":"a","dir":"answer","hex":"9000"}',
                '{"t":2.5,"who":"h","link":"b","dir":"lost","hex":"","note":"gone"}',
                '{"t":3.0,"who":"h","link":"a","dir":"reset","hex":""}',
            ],
            [
                Piece(raw(SELECT), raw("9000"), b"", 1.0, "a", is_masked=True),
                Piece(raw("80CA006600"), None, b"", 1.5, "b", lost="gone"),
                Piece(None, None, b"", 3.0, "a", is_reset=True),
            ],
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
        "    class  00 interindustry, logical channel 0\n"
        "    P1     04 by name\n"
        "    P2     00 first or only occurrence\n"
        "    Le     00 all there are, up to 256\n"
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
    assert ran.code == (6 if words == ("FFFFFF",) else 2)
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


def test_a_status_word_comes_with_what_to_do(keywright: Keywright) -> None:
    ran = keywright("decode", "84F28002024F0000", "6982")
    assert "    6982 security status not satisfied: no session at the level this command" in ran.out
    assert "    next: open a secure channel first\n" in ran.out
    document = json.loads(keywright("decode", "84F28002024F0000", "6982", "--json").out)
    assert document["hint"] == "open a secure channel first"
    assert ["P1", "80 issuer security domain"] in document["header"]


def test_parts_are_put_together(keywright: Keywright) -> None:
    ran = keywright("decode", "80CA00E000", "E006C0046104", "00C0000004", "01FF88109000")
    assert "GET DATA 00E0 (key information) (the answer goes on)\n" in ran.out
    assert "GET DATA 00E0 (key information), 2 exchanges together\n" in ran.out
    assert "keys   KVN FF KID 01 AES 128 bit" in ran.out


# ---- recordings


@pytest.fixture
def recording(keywright: Keywright, tmp_path: Path) -> Path:
    """What a session with a simulated fob left behind."""
    path = tmp_path / "t.jsonl"
    assert keywright("card", "list", "--link", "sim:fob", "--trace", path).code == 0
    return path


def test_a_recording_is_told_and_its_session_opened_with_the_keys(keywright: Keywright, recording: Path) -> None:
    sealed = keywright("decode", recording)
    assert "GET STATUS applications (protected)\n" in sealed.out
    assert "encrypted data" in sealed.out
    opened = keywright("decode", recording, "--keys", "gp-test")
    assert "GET STATUS applications\n" in opened.out
    assert "session  SCP03 KVN FF, level 33\n    plain    80 F2 40 02 02 4F 00 00\n" in opened.out
    assert "F06B6579777269676874010001  SELECTABLE\n" in opened.out


def test_keys_of_another_card_are_said_to_be_that(keywright: Keywright, recording: Path, key_file: KeyFile) -> None:
    ran = keywright("decode", recording, "--keys", key_file(raw(SECRET)))
    assert "none of the keys given is this card's" in ran.out
    assert SECRET not in ran.out.replace(" ", "").upper()


def test_a_damaged_session_is_said_to_be_that(keywright: Keywright, recording: Path) -> None:
    lines = recording.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if '"hex":"84F2' in line)
    head, _, tail = lines[at].partition('"hex":"')
    lines[at] = f'{head}"hex":"{tail[:12]}{"0" if tail[12] != "0" else "1"}{tail[13:]}'
    recording.write_text("\n".join(lines))
    documents = [
        json.loads(line) for line in keywright("decode", recording, "--keys", "gp-test", "--json").out.splitlines()
    ]
    wrong = [document for document in documents if not document["session_is_right"]]
    assert [document["session"] for document in wrong] == ["SCP03 KVN FF: the C-MAC or padding of the command is wrong"]


def test_session_keys_open_a_session_too(keywright: Keywright, recording: Path, tmp_path: Path) -> None:
    hexes = [json.loads(line)["hex"] for line in recording.read_text().splitlines()]
    at = next(n for n, data in enumerate(hexes) if data.startswith("8050"))
    context = raw(hexes[at])[5:13] + raw(hexes[at + 1])[13:21]
    session = derive_session(KeySet.gp_test(), context)
    keys = tmp_path / "session.toml"
    entries = (("s_enc", session.enc), ("s_mac", session.mac), ("s_rmac", session.rmac))
    keys.write_text("[[session]]\n" + "".join(f'{name} = "{key.reveal().hex()}"\n' for name, key in entries))
    keys.chmod(0o600)
    ran = keywright("decode", recording, "--session-keys", keys)
    assert "plain    80 F2 40 02 02 4F 00 00\n" in ran.out
    assert not any(key.reveal().hex().upper() in ran.out.replace(" ", "") for _, key in entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('s_enc = "00"\ns_mac = "00"\ns_rmac = "00"\n', "bytes"),
        ('s_enc = "zz"\n', "s_enc: 'z' is not a hex digit"),
        ("", "s_enc is missing"),
        ("session = 1\n", "session is no list of tables"),
        ('more = "1"\n', "unknown entry 'more'"),
        ("]", "not a key file"),
    ],
)
def test_a_file_of_session_keys_that_is_none_is_refused(
    keywright: Keywright, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    path.chmod(0o600)
    ran = keywright("decode", "9000", "--session-keys", path)
    assert ran.code == 2
    assert message in ran.err


def test_wireshark_gets_the_messages_and_they_come_back(keywright: Keywright, recording: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.pcapng"
    ran = keywright("decode", recording, "--pcapng", file)
    assert ran.err == f"wrote {file}: 15 packets\n"
    require_peer("tshark", shutil.which("tshark") is not None, "apt-get install tshark")
    words = ["tshark", "-r", str(file), "-Y", "iso7816", "-T", "fields", "-e", "_ws.col.Info"]
    seen = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert seen[:2] == ["Select file", "Response APDU (to Select file)"]
    assert len(seen) == 14
    assert keywright("decode", file).out == ran.out
    assert keywright("decode", recording, "--pcapng", file).code == 2


def test_keys_of_nobody_knows_whose_card_are_masked_for_wireshark(keywright: Keywright, tmp_path: Path) -> None:
    file = tmp_path / "t.pcapng"
    assert keywright("decode", f"80D8008113308810{SECRET}00", "9000", "--pcapng", file).code == 0
    assert raw(SECRET) not in file.read_bytes()
    assert b"data masked" in file.read_bytes()


def test_a_file_of_hex_lines_is_read_and_its_lines_counted(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text(f"# a session\n> {SELECT}\n< {FCI}\n")
    assert keywright("decode", path).out.startswith("SELECT issuer security domain\n")
    path.write_text(f"> {SELECT}\n\n< 6F1\n")
    ran = keywright("decode", path)
    assert ran.code == 6
    assert f"{path} line 3: half a byte" in ran.err
    path.write_bytes(b"\x0a\x0d\x0d\x0a")
    assert keywright("decode", path).code == 6


def test_a_file_that_is_not_there_is_not_taken_for_hex(keywright: Keywright, tmp_path: Path) -> None:
    ran = keywright("decode", tmp_path / "none.jsonl")
    assert ran.code == 2
    assert "none.jsonl: no such file, and no hex" in ran.err
    assert f"{tmp_path}: a directory" in keywright("decode", tmp_path).err
    assert SECRET not in keywright("decode", f"{SECRET}X").err


def test_the_last_line_that_a_kill_cut_short_is_left_out(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert keywright("card", "info", "--link", "sim:element", "--trace", path).code == 0
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:3]))
    expected = keywright("decode", path)
    path.write_text("".join(whole[:3]) + whole[3][:-9])
    assert keywright("decode", path) == expected
    path.write_text("".join(whole[:3]) + whole[3][:-9] + "\n")
    assert f"{path} line 4" in " ".join(keywright("decode", path).err.split(": "))


def test_a_damaged_capture_is_named_once(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "t.pcapng"
    assert keywright("decode", SELECT, "--pcapng", path).code == 0
    path.write_bytes(path.read_bytes()[:-5])
    ran = keywright("decode", path)
    assert ran.code == 6
    assert ran.err.count("t.pcapng") == 1


def test_a_key_block_is_told_by_its_header(keywright: Keywright) -> None:
    block = (
        "D0144P0AE00E00002C77FA3F4A553BED6E88AE5C172A4166E3D4ACA8E2AC71C158A476FAC12C13C3829DE55D3AB54C48F4C4FEF7AC75E90F"
        "C47F1B77E7B19A73ED46E64410082557"
    )
    code, out, err = keywright("decode", block)
    assert (code, err) == (0, "")
    for said in ("key block", "P0, PIN encryption", "E, encrypt or wrap", "48 bytes, and a MAC of 16"):
        assert said in out
    told = json.loads(keywright("decode", block, "--json").out)
    assert told["title"] == "key block"
    # One character less is no block, and is told like any other text that is none.
    assert keywright("decode", block[:-1]).code != 0
    component = "B0080P0TEc1E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E"
    assert "component 1" in keywright("decode", component).out
