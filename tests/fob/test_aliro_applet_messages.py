"""The Aliro applet's messages, and the page that specifies them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keywright.aliro.credential import CREDENTIALS, PERSISTENT_KEYS, GroupRecord
from keywright.aliro.messages import CLASSES, NAMES
from keywright.aliro.messages import Ins as AliroIns
from keywright.codec.message import Message
from keywright.fob import data_groups
from keywright.fob.aliro import applet, messages
from keywright.fob.aliro.messages import PACKAGE_AID, Dgi
from keywright.fob.aliro.package import INSTANCES
from support.messages import all_messages, check_message

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs/aliro-applet.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def table(name: str) -> list[list[str]]:
    """Cells of the rows of a marked table of the page, without the head."""
    part = PAGE.split(f"<!-- begin {name} -->")[1].split(f"<!-- end {name} -->")[0]
    rows = [line.strip("| ").split(" | ") for line in part.strip().splitlines()]
    return [[cell.strip("` ") for cell in row] for row in rows[2:]]


def test_the_page_lists_exactly_the_commands_of_the_applet() -> None:
    listed = {int(row[0], 16): (row[1], row[5].partition(":")[0]) for row in table("commands")}
    line = {ins: name for ins, (name, who) in listed.items() if who == "line"}
    reader = {ins: name for ins, (name, who) in listed.items() if who == "reader"}
    assert line.keys() == applet.COMMANDS.keys()
    assert (line[0x46], line[0xCA], line[0xE2]) == ("GENERATE KEY PAIR", "GET DATA", "STORE DATA")
    assert reader == {ins: NAMES[ins] for ins in CLASSES if ins != AliroIns.SELECT}


def test_the_page_lists_exactly_the_data_groups() -> None:
    groups = {name: value for name, value in vars(Dgi).items() if name.isupper() and isinstance(value, int)}
    assert {row[1]: int(row[0], 16) for row in table("groups")} == groups
    assert {int(row[0], 16) for row in table("groups") if row[3] == "STORE DATA"} == set(Dgi.WRITABLE)


def test_the_page_lists_the_package_and_its_instances() -> None:
    assert f"AID `{PACKAGE_AID.hex().upper()}`" in PAGE
    assert PACKAGE_AID[1:10] == b"keywright"
    rows = [(row[0], row[1]) for row in table("instances")]
    assert rows == [
        (one.module.hex().upper(), one.instance.hex().upper()) for one in INSTANCES if one.instance is not None
    ]


def test_the_page_names_limits_as_they_are() -> None:
    assert f"at most {data_groups.MAX_GROUPS_BYTES} bytes" in PAGE
    assert f"at most {applet.MAILBOX_BYTES} bytes" in PAGE
    assert f"`00` to `{CREDENTIALS - 1:02d}`" in PAGE
    assert f"at most {PERSISTENT_KEYS}, then" in PAGE
    assert f"groups of {len(GroupRecord(bytes(16), bytes(65)).build())} bytes" in PAGE


def test_every_status_word_of_the_page_is_one_the_tests_of_the_applet_see() -> None:
    listed = set(re.findall(r"^\| `([69][0-9A-F]{3})`", PAGE, re.MULTILINE))
    files = [*HERE.glob("test_aliro_applet*.py"), HERE.parent / "aliro/test_aliro_user_device.py"]
    tests = "".join(file.read_text(encoding="utf-8") for file in files if file.name != Path(__file__).name)
    assert listed
    assert {sw for sw in listed if sw not in tests} == set()
