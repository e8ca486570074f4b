"""Forms that the specifications allow and no host of ours sends: every command of content management in each of them.

Le absent or present, short or extended length fields (ISO 7816-4 5.1), one byte of privileges or three (GPCS 11.1.2),
lengths in the BER form they need not have (GPCS 11.5.2.3), another class for what both classes have (11.3), an empty
list of tags, MANAGE CHANNEL with and without Le, sessions on other channels with the channel put in below (apdu4j
`core/.../LogicalChannelBIBO.java`, JDK `ChannelImpl`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from interop.cards import with_scp02
from interop.foreign import MOST, Answer, Keys, Plain, Scp02, Scp03, Session, cmac, lv
from keywright.element import SecureElement
from support.cards import ISD, element
from support.content import DOMAIN, DOMAIN_FILE, DOMAIN_MODULE, FILE, INSTANCE, MODULE, package

CODE = package(FILE, [MODULE])
CHALLENGE = bytes(range(8))


Script = list[tuple[int, int, int, bytes]]
SCRIPT: Final[Script] = [
    (0xE6, 0x02, 0x00, lv(FILE) + lv(ISD) + b"\0\0\0"),
    (0xE8, 0x80, 0x00, b"\xc4" + lv(CODE)),
    (0xE6, 0x04, 0x00, lv(FILE) + lv(MODULE) + lv(INSTANCE) + b"\1\0" + lv(b"\xc9\0") + b"\0"),
    (0xE6, 0x08, 0x00, b"\0\0" + lv(INSTANCE) + b"\3\0\0\0" + b"\0\0"),
    (0xE6, 0x0C, 0x00, lv(DOMAIN_FILE) + lv(DOMAIN_MODULE) + lv(DOMAIN) + b"\1\x80" + b"\0\0"),
    (0xE6, 0x10, 0x00, lv(DOMAIN) + b"\0" + lv(INSTANCE) + b"\0\0\0"),
    (0xE6, 0x40, 0x00, lv(ISD) + b"\0" + lv(INSTANCE) + b"\1\4" + b"\0\0"),
    (0xF2, 0x40, 0x02, b"\x4f\0"),
    (0xF2, 0x40, 0x02, b"\x4f\0\x5c\0"),
    (0xF0, 0x40, 0x80, INSTANCE),
    (0xF0, 0x40, 0x07, INSTANCE),
    (0xF0, 0x80, 0x07, b""),
    (0xF0, 0x80, 0x0F, ISD),
    (0xE2, 0x80, 0x00, bytes.fromhex("DF0103010203")),
    (0xE6, 0x20, 0x00, b"\0\0" + lv(INSTANCE) + b"\0\0\0"),
    (0xE2, 0x80, 0x00, bytes.fromhex("0101020304")),
    (0xE4, 0x00, 0x80, b"\x4f" + lv(FILE)),
    (0xE4, 0x00, 0x00, b"\x4f" + lv(DOMAIN)),
    (0xCA, 0x00, 0xE0, b""),
]


def exchange(card: SecureElement, plain: Plain) -> Answer:
    """One command, what waits fetched."""
    answer = Answer.of(card.handle(plain.encode()))
    while answer.sw >> 8 == 0x61:
        more = Answer.of(card.handle(bytes((plain.cla & 3, 0xC0, 0, 0, answer.sw & 0xFF))))
        answer = Answer(answer.data + more.data, more.sw)
    return answer


def session(card: SecureElement, level: int, channel: int = 0) -> Session:
    """A session of the foreign implementation; the channel is put into the class below it."""
    told = exchange(card, Plain(0x80 | channel, 0x50, 0x00, 0x00, CHALLENGE, MOST)).data
    if told[11] == 2:
        found: Session = Scp02(Keys(), told[12:14])
        cryptogram = found.cryptograms(CHALLENGE, told[12:20])[1]
    else:
        found = Scp03(Keys(), CHALLENGE + told[13:21])
        cryptogram = found.cryptograms(CHALLENGE, told[13:21])[1]
    wrapped = found.wrap(Plain(0x84, 0x82, level, 0x00, cryptogram))
    assert exchange(card, wrapped._replace(cla=0x84 | channel)).sw == 0x9000
    found.begin(level)
    return found


@pytest.mark.parametrize("level", [0x01, 0x03, 0x33])
@pytest.mark.parametrize("ne", [None, MOST], ids=["no Le", "Le 00"])
def test_scp03_takes_every_command_with_le_and_without(level: int, ne: int | None) -> None:
    card = element()
    here = session(card, level)
    for ins, p1, p2, data in SCRIPT:
        answer = here.unwrap(exchange(card, here.wrap(Plain(0x80, ins, p1, p2, data, ne))))
        assert answer.sw == 0x9000, f"{ins:02X} {p1:02X} {p2:02X}"


@pytest.mark.parametrize("i", [0x15, 0x55, 0x75])
@pytest.mark.parametrize("level", [0x01, 0x03])
@pytest.mark.parametrize("ne", [None, MOST], ids=["no Le", "Le 00"])
def test_scp02_takes_every_command_with_le_and_without(i: int, level: int, ne: int | None) -> None:
    card = with_scp02(i)
    here = session(card, level | (0x10 if i & 0x20 else 0))
    for ins, p1, p2, data in SCRIPT:
        answer = here.unwrap(exchange(card, here.wrap(Plain(0x80, ins, p1, p2, data, ne))))
        assert answer.sw == 0x9000, f"{ins:02X} {p1:02X} {p2:02X}"


def extended(cla: int, ins: int, p1: int, p2: int, data: bytes, le: bytes) -> bytes:
    """A command with length fields of two bytes."""
    return bytes((cla, ins, p1, p2, 0)) + len(data).to_bytes(2) + data + le


@pytest.mark.parametrize("le", [b"", b"\0\0", b"\1\0"], ids=["no Le", "all", "256"])
def test_scp03_takes_every_command_extended(le: bytes) -> None:
    """The C-MAC is over the length field as it is sent, three bytes (Amendment D 6.2.4)."""
    card = element()
    here = session(card, 0x01)
    assert isinstance(here, Scp03)
    chain = here.chain
    for ins, p1, p2, data in SCRIPT:
        head = bytes((0x84, ins, p1, p2, 0)) + (len(data) + 8).to_bytes(2)
        chain = cmac(here.mac, chain + head + data)
        answer = card.handle(extended(0x84, ins, p1, p2, data + chain[:8], le))
        assert answer[-2:] == b"\x90\0", f"{ins:02X} {p1:02X} {p2:02X}"


def test_a_session_is_opened_with_extended_commands() -> None:
    card = element()
    assert card.handle(bytes((0, 0xA4, 4, 0, 0, 0, 0)))[-2:] == b"\x90\0"
    told = card.handle(extended(0x80, 0x50, 0, 0, CHALLENGE, b"\0\0"))
    here = Scp03(Keys(), CHALLENGE + told[13:21])
    cryptogram = here.cryptograms(CHALLENGE, told[13:21])[1]
    head = bytes.fromhex("84823300000010")
    mac = cmac(here.mac, bytes(16) + head + cryptogram)[:8]
    assert card.handle(extended(0x84, 0x82, 0x33, 0, cryptogram + mac, b"\0\0")) == b"\x90\0"


@pytest.mark.parametrize("channel", [1, 2, 3])
@pytest.mark.parametrize("make", [element, with_scp02], ids=["scp03", "scp02"])
def test_the_channel_is_put_into_the_class_below_a_session(make: Callable[[], SecureElement], channel: int) -> None:
    card = make()
    while exchange(card, Plain(0x00, 0x70, 0x00, 0x00, ne=1)).data != bytes((channel,)):
        pass
    here = session(card, 0x03, channel)
    for ins, p1, p2, data in SCRIPT:
        wrapped = here.wrap(Plain(0x80, ins, p1, p2, data, MOST))
        answer = exchange(card, wrapped._replace(cla=wrapped.cla | channel))
        assert here.unwrap(answer).sw == 0x9000, f"{ins:02X} {p1:02X} {p2:02X}"
    assert card.handle(bytes((0x00, 0x70, 0x80, channel))) == b"\x90\0"


@pytest.mark.parametrize("raw", ["00700000", "0070000000", "0070000001", "00700000000000"])
def test_a_channel_opens_whatever_le_says(raw: str) -> None:
    assert element().handle(bytes.fromhex(raw)).hex() == "019000"


@pytest.mark.parametrize("raw", ["0070800100", "00708001", "01708001", "0170800100"])
def test_a_channel_closes_from_itself_and_from_another_with_le_and_without(raw: str) -> None:
    card = element()
    card.handle(bytes.fromhex("0070000001"))
    assert card.handle(bytes.fromhex(raw)).hex() == "9000"


@pytest.mark.parametrize("le", ["", "00", "2D", "FF", "000000"])
@pytest.mark.parametrize(("cla", "head"), [(0x80, "9f7f2a"), (0x00, "")])
def test_get_data_in_both_classes_with_every_le_that_suffices(cla: int, head: str, le: str) -> None:
    answer = element().handle(bytes((cla,)) + bytes.fromhex("CA9F7F" + le))
    assert answer.hex().startswith(head)
    assert len(answer) == 44 + len(head) // 2
    assert answer[-2:] == b"\x90\0"


def parameter_forms() -> Iterator[tuple[str, bytes]]:
    """Install parameters with their length as BER allows it."""
    for size in (0, 60, 123, 124, 126, 180):
        inside = b"\xc9" + (bytes((size,)) if size < 0x80 else b"\x81" + bytes((size,))) + bytes(size)
        if len(inside) < 0x80:
            yield f"{size} short", lv(inside)
        yield f"{size} 81", b"\x81" + lv(inside)
        yield f"{size} 82", b"\x82" + len(inside).to_bytes(2) + inside


@pytest.mark.parametrize("field", dict(parameter_forms()).values(), ids=dict(parameter_forms()))
def test_install_parameters_have_any_ber_length(field: bytes) -> None:
    card = element()
    here = session(card, 0x01)
    for ins, p1, p2, data in SCRIPT[:2]:
        assert exchange(card, here.wrap(Plain(0x80, ins, p1, p2, data))).sw == 0x9000
    data = lv(FILE) + lv(MODULE) + lv(INSTANCE) + b"\1\0" + field + b"\0"
    assert exchange(card, here.wrap(Plain(0x80, 0xE6, 0x0C, 0x00, data))).sw == 0x9000


@pytest.mark.parametrize("size", [bytes((len(CODE),)), b"\x81" + bytes((len(CODE),)), b"\x82\0" + bytes((len(CODE),))])
def test_the_load_file_data_block_has_any_ber_length(size: bytes) -> None:
    card = element()
    here = session(card, 0x01)
    first = Plain(0x80, *SCRIPT[0])
    assert exchange(card, here.wrap(first)).sw == 0x9000
    assert exchange(card, here.wrap(Plain(0x80, 0xE8, 0x80, 0x00, b"\xc4" + size + CODE))).sw == 0x9000


def test_r_mac_begins_in_the_middle_of_a_session() -> None:
    """kaoh's `GP211_begin_R_MAC`: the length of no data in one byte, no Le; its own answer has no R-MAC."""
    card = element()
    here = session(card, 0x01)
    assert exchange(card, here.wrap(Plain(0x80, 0x7A, 0x10, 0x01, b"\0"))) == (b"", 0x9000)
    here.level = 0x11
    answer = here.unwrap(exchange(card, here.wrap(Plain(0x80, 0xF2, 0x80, 0x02, b"\x4f\0", MOST))))
    assert answer.sw == 0x9000
    assert here.unwrap(exchange(card, here.wrap(Plain(0x80, 0x78, 0x00, 0x03, ne=MOST)))).sw == 0x9000
    here.level = 0x01
    assert exchange(card, here.wrap(Plain(0x80, 0xCA, 0x00, 0xE0, ne=MOST))).sw == 0x9000
