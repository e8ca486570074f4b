"""The credential applet's messages, and the page that specifies them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keywright.codec.message import Message
from keywright.fob import data_groups
from keywright.fob.credential import applet, messages
from keywright.fob.credential.messages import CREDENTIAL_AID, SIGN_PREFIX, Dgi, Ins
from keywright.globalplatform.messages import Ins as GpIns
from support.messages import all_messages, check_message

PAGE = (Path(__file__).parents[2] / "docs/credential-applet.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def table(name: str) -> list[list[str]]:
    """Cells of the rows of a marked table of the page, without the head."""
    part = PAGE.split(f"<!-- begin {name} -->")[1].split(f"<!-- end {name} -->")[0]
    rows = [line.strip("| ").split(" | ") for line in part.strip().splitlines()]
    return [[cell.strip("` ") for cell in row] for row in rows[2:]]


def test_the_page_lists_exactly_the_commands_of_the_applet() -> None:
    listed = {int(row[0], 16): row[1] for row in table("commands")}
    assert listed.keys() == applet.COMMANDS.keys()
    assert listed[Ins.GENERATE_KEY_PAIR].startswith("GENERATE KEY PAIR")
    assert listed[Ins.SIGN].startswith("PERFORM SECURITY OPERATION")
    assert listed[GpIns.GET_DATA] == "GET DATA"
    assert listed[GpIns.STORE_DATA] == "STORE DATA"


def test_the_page_lists_exactly_the_data_groups() -> None:
    groups = {name: value for name, value in vars(Dgi).items() if name.isupper() and isinstance(value, int)}
    assert {row[1]: int(row[0], 16) for row in table("groups")} == groups
    assert {int(row[0], 16) for row in table("groups") if row[3] == "STORE DATA"} == set(Dgi.WRITABLE)


def test_the_page_names_aid_prefix_limits_and_records_as_they_are() -> None:
    assert f"AID `{CREDENTIAL_AID.hex().upper()}`" in PAGE
    assert CREDENTIAL_AID[1:10] == b"keywright"
    assert f'"{SIGN_PREFIX[:-1].decode()}" || 00 ||' in PAGE
    assert f"at most {data_groups.MAX_GROUPS_BYTES} bytes" in PAGE
    assert f"`{messages.SIGN_P1:02X} {messages.SIGN_P2:02X}`" in PAGE
    assert f"challenge, {messages.CHALLENGE_BYTES} bytes" in PAGE


def test_every_status_word_of_the_page_is_one_the_tests_of_the_applet_see() -> None:
    listed = set(re.findall(r"^\| `([69][0-9A-F]{3})`", PAGE, re.MULTILINE))
    tests = (Path(__file__).parent / "test_credential.py").read_text(encoding="utf-8")
    assert listed
    assert {sw for sw in listed if f"0x{sw}" not in tests} == set()
