"""Recordings as pcapng: back as they were, and read by `tshark`, which knows nothing of us."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError, UsageError
from keywright.link.pcapng import dump, is_pcapng, load, read_pcapng, write_pcapng
from keywright.link.trace import Event
from support.peers import require_peer

ATR = bytes.fromhex("3B8F018073C021DF596B65797772696768747A")
SELECT, FCI = bytes.fromhex("00A4040000"), bytes.fromhex("6f108408a000000151000000a5049f6501ff9000")
PUT_KEY = bytes.fromhex("80D80081133088100000000000000000000000000000000000")
T = 1_785_000_000.0

RECORDING = (
    Event(T, "host", "pcsc:Reader 0", "open", ATR, "extended"),
    Event(T + 0.000123, "host", "pcsc:Reader 0", "command", SELECT),
    Event(T + 0.25, "host", "pcsc:Reader 0", "answer", FCI),
    Event(T + 0.5, "host", "tcp:127.0.0.1:1", "command", bytes.fromhex("80CA006600")),
    Event(T + 0.625, "host", "tcp:127.0.0.1:1", "answer", bytes.fromhex("6A88")),
    Event(T + 0.75, "host", "pcsc:Reader 0", "command", PUT_KEY, "data masked"),
    Event(T + 1, "host", "pcsc:Reader 0", "lost", b"", "the reader is gone", False),
    Event(T + 2, "host", "pcsc:Reader 0", "reset", ATR),
    Event(T + 3, "host", "pcsc:Reader 0", "close"),
)

events = st.lists(
    st.builds(
        Event,
        st.integers(0, 4_000_000_000_000_000).map(lambda micros: micros / 1e6),
        st.text(max_size=5),
        st.text(max_size=9),
        st.sampled_from(("open", "command", "answer", "reset", "lost", "close")),
        st.binary(max_size=300),
        st.text(max_size=9),
        st.sampled_from((None, True, False)),
    ),
    max_size=6,
)


def joined(recording: Any) -> bytes:
    return b"".join(dump(recording))


@given(events)
def test_a_recording_comes_back_as_it_was(recording: list[Event]) -> None:
    assert list(load(joined(recording))) == recording


def test_a_file_is_private_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    assert write_pcapng(path, RECORDING) == len(RECORDING)
    assert path.stat().st_mode & 0o777 == 0o600
    assert tuple(read_pcapng(path)) == RECORDING
    with pytest.raises(UsageError, match="cannot be written"):
        write_pcapng(path, ())
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_pcapng(tmp_path / "none"))


def test_every_cut_is_refused_or_ends_between_blocks() -> None:
    whole = joined(RECORDING)
    ends = {sum(map(len, list(dump(RECORDING))[:n])) for n in range(1, len(list(dump(RECORDING))) + 1)}
    for size in range(len(whole)):
        if size in ends:
            list(load(whole[:size]))
            continue
        with pytest.raises(DecodeError):
            list(load(whole[:size]))


@given(st.integers(0, len(joined(RECORDING)) - 1), st.integers(1, 255))
def test_a_damaged_file_is_read_or_refused_by_name(at: int, flip: int) -> None:
    whole = bytearray(joined(RECORDING))
    whole[at] ^= flip
    with contextlib.suppress(DecodeError):
        list(load(bytes(whole)))


def test_what_others_wrote_is_left_out_and_big_endian_is_read() -> None:
    def block(kind: int, body: bytes) -> bytes:
        return struct.pack(">II", kind, 12 + len(body)) + body + struct.pack(">I", 12 + len(body))

    tags = b"\x00\x0c\x00\x08iso7816\0" + b"\x00\x23\x00\x04\0\0\0\0" + bytes(4)
    apdu = tags + SELECT
    ethernet, ours = block(1, struct.pack(">HHI", 1, 0, 0)), block(1, struct.pack(">HHI", 252, 0, 0))
    head = struct.pack(">IIII", 0, 2_000_000, len(apdu), len(apdu))
    file = (
        block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
        + ethernet
        + ours
        + block(6, struct.pack(">I", 0) + head + apdu + bytes(-len(apdu) % 4))
        + block(5, bytes(12))
        + block(6, struct.pack(">I", 1) + head + apdu + bytes(-len(apdu) % 4))
    )
    assert list(load(file)) == [Event(2.0, "host", "pcapng", "command", SELECT)]


def test_another_file_is_no_pcapng() -> None:
    assert not is_pcapng(b'{"t":1}')
    with pytest.raises(DecodeError, match="no pcapng file"):
        list(load(b'{"t":1}'))


# ---- tshark


def tshark(path: Path, *words: str) -> str:
    require_peer("tshark", shutil.which("tshark") is not None, "apt-get install tshark")
    done = subprocess.run(["tshark", "-r", path, *words], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.pcapng"
    write_pcapng(path, RECORDING)
    return path


def test_tshark_sees_apdus_with_direction_time_and_link(file: Path) -> None:
    names = ("frame.interface_name", "frame.time_epoch", "exported_pdu.p2p_dir", "_ws.col.Info", "iso7816.apdu.sw1")
    fields = [word for name in names for word in ("-e", name)]
    rows = [line.split("\t") for line in tshark(file, "-T", "fields", *fields, "-Y", "iso7816").splitlines()]
    assert [row[2] for row in rows] == ["0", "1", "0", "1", "0"]
    assert rows[0] == ["pcsc:Reader 0", "1785000000.000123000", "0", "Select file", ""]
    assert rows[1][3:] == ["Response APDU (to Select file)", "0x90"]
    assert [row[0] for row in rows[2:]] == ["tcp:127.0.0.1:1", "tcp:127.0.0.1:1", "pcsc:Reader 0"]
    atr = tshark(file, "-T", "fields", "-e", "_ws.col.Info", "-Y", "iso7816.atr").splitlines()
    assert len(atr) == 2
    assert atr[0].startswith("ATR")


def test_tshark_sees_notes_as_comments(file: Path) -> None:
    comments = tshark(file, "-T", "fields", "-e", "frame.comment", "-Y", "frame.comment").splitlines()
    assert [json.loads(one)["event"] for one in comments] == ["open", "command", "lost", "reset", "close"]
    assert json.loads(comments[2]) == {"event": "lost", "note": "the reader is gone", "delivered": False}


def test_what_tshark_wrote_anew_is_the_same_recording(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pcapng"
    tshark(file, "-w", str(again))
    assert again.read_bytes() != file.read_bytes()
    assert tuple(read_pcapng(again)) == RECORDING
