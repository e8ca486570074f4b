"""What the element reads of a load file data block."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.element import package
from keywright.element.package import Package, parse_package
from keywright.errors import DecodeError
from support import content
from support.content import FILE, MODULE, component
from support.messages import all_messages, check_message


@pytest.mark.parametrize("cls", all_messages(package))
def test_every_component_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_aid_version_modules_and_imports_are_found_wherever_their_components_stand() -> None:
    imports = bytes((1, 0, 1, 7)) + bytes.fromhex("A0000000620101")
    block = content.package(FILE, [MODULE, FILE], version=(3, 4))
    expected = Package(FILE, b"\x03\x04", (MODULE, FILE), (bytes.fromhex("A0000000620101"),))
    assert parse_package(block + component(4, imports)) == expected
    assert parse_package(component(4, imports) + block) == expected


def test_a_library_has_no_modules() -> None:
    block = component(1, bytes.fromhex("DECAFFED0102010001") + bytes((len(FILE),)) + FILE)
    assert parse_package(block) == Package(FILE, b"\x01\x00", ())


@pytest.mark.parametrize(
    "block", [b"", b"\x01", component(3, b"\0"), component(1, bytes(10)), component(1, b""), b"\x01\x00\x05\x00"]
)
def test_a_block_that_is_no_package_is_refused(block: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_package(block)
