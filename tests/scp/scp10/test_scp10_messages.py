"""Messages of SCP10: what every message class promises, and what security parameters may say."""

from __future__ import annotations

import pytest

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.scp.scp10 import messages
from keywright.scp.scp10.keys import SEPARATE_KEYS, SHARED_KEYS, Reference, find_parameters, read_parameters
from keywright.scp.scp10.messages import ControlReference, SecurityEnvironment, SecurityParameters, challenge_bytes
from support.messages import all_messages, check_message

KEY, COUNTER = bytes(range(16)), bytes(8)


@pytest.mark.parametrize("cls", all_messages(messages))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


def test_an_environment_without_references_is_four_bytes() -> None:
    assert SecurityEnvironment(0x1002).build() == bytes.fromhex("80021002")
    assert SecurityEnvironment(0x1001, b"\1", b"\2").build() == bytes.fromhex("8002100183010184" + "0102")
    assert SecurityEnvironment.parse(bytes.fromhex("800210018300")).public_key == b""


@pytest.mark.parametrize(("i", "size"), [(0, 16), (1, 8), (2, 16), (3, 8)])
def test_a_challenge_is_eight_bytes_with_agreement_and_sixteen_with_transport(i: int, size: int) -> None:
    assert challenge_bytes(i) == size


def parameters(level: int, *keys: tuple[int, ControlReference]) -> bytes:
    return SecurityParameters(level, tuple((kind, reference.build()) for kind, reference in keys)).build()


def mac(usage: int = 0x30, key: bytes | None = KEY, counter: bytes | None = COUNTER) -> tuple[int, ControlReference]:
    return 0xB4, ControlReference(usage, None, key, counter)


def cipher(usage: int = 0x30, key: bytes | None = KEY, key_type: int | None = None) -> tuple[int, ControlReference]:
    return 0xB8, ControlReference(usage, key_type, key)


def test_a_level_without_keys_is_only_authentication() -> None:
    for i in (0, 1, 2, 3):
        assert read_parameters(parameters(0), i)[1] == ()


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (0x01, [mac(0x10)]),
        (0x11, [mac(0x30)]),
        (0x11, [mac(0x10), mac(0x20)]),
        (0x33, [mac(), cipher()]),
        (0x00, [cipher(0xC0), cipher(0x30, bytes(24))]),
        (0x22, [cipher(0x20), cipher(0x10), cipher(0x40, KEY, 0x82), cipher(0x80, KEY, 0x83)]),
    ],
)
def test_parameters_that_can_be_are_read(level: int, keys: list[tuple[int, ControlReference]]) -> None:
    found, references = read_parameters(parameters(level, *keys), 2)
    assert found.level == level
    assert [(reference.kind, reference.template) for reference in references] == keys


WRONG = {
    "level without C-MAC key": parameters(0x01, mac(0x20)),
    "level without C-ENC key": parameters(0x03, mac(), cipher(0x20)),
    "level without R-MAC key": parameters(0x11, mac(0x10)),
    "level without R-ENC key": parameters(0x20, cipher(0xC0)),
    "level with an unknown bit": parameters(0x04),
    "authenticated is no level to ask for": parameters(0x80),
    "a MAC key for two": parameters(0x01, mac(0x30), mac(0x20)),
    "two data keys of one usage": parameters(0, cipher(0x80), cipher(0xC0)),
    "data and messages under one key": parameters(0, cipher(0x90)),
    "a MAC key for data": parameters(0, mac(0x40)),
    "a key for nothing": parameters(0, cipher(0)),
    "an unknown usage": parameters(0, cipher(0x08)),
    "another template": parameters(0, (0xB6, ControlReference(0x10, None, KEY))),
    "an AES key": parameters(0, cipher(0x30, KEY, 0x88)),
    "a single DES key": parameters(0, cipher(0x30, KEY[:8])),
    "a key without value": parameters(0, cipher(0x30, None)),
    "a MAC key without counter": parameters(0, mac(0x30, KEY, None)),
    "a cipher key with counter": parameters(0, (0xB8, ControlReference(0x30, None, KEY, COUNTER))),
    "templates before the level": parameters(0, mac())[3:] + parameters(0),
    "no level": parameters(0, mac())[3:],
    "nothing": b"",
}


@pytest.mark.parametrize("name", WRONG)
def test_parameters_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        read_parameters(WRONG[name], 2)


@pytest.mark.parametrize("keys", [[mac()], [mac(0x30, None)], [cipher()]])
def test_agreed_keys_come_with_neither_value_nor_counter(keys: list[tuple[int, ControlReference]]) -> None:
    with pytest.raises(DecodeError):
        read_parameters(parameters(0, *keys), 1)
    read_parameters(parameters(0x33, mac(0x30, None, None), cipher(0x30, None)), 1)


def numbered(*keys: tuple[int, int]) -> list[int]:
    data = parameters(0, *((kind, ControlReference(usage)) for kind, usage in keys))
    references: tuple[Reference, ...] = read_parameters(data, 3)[1]
    return [reference.number for reference in references]


def test_agreed_keys_are_numbered_by_kind_in_the_order_given() -> None:
    assert numbered(*SHARED_KEYS) == [1, 2, 5]
    assert numbered(*SEPARATE_KEYS) == [1, 2, 3, 4, 5]
    assert numbered((0xB8, 0x40), (0xB8, 0x20), (0xB4, 0x20), (0xB8, 0x80), (0xB8, 0x10), (0xB4, 0x10)) == [
        *(5, 2, 1, 6, 4, 3)
    ]


def test_parameters_are_found_from_the_end_whatever_random_bytes_stand_before_them() -> None:
    own = parameters(0x33, mac(0x30, None, None), cipher(0x30, None))
    for before in (b"", b"\xd3", b"\xd3\x01", own, b"\xd3\x01\x33", b"\0" * 50 + own + b"\xb4"):
        assert find_parameters(before + own) == own
    for nothing in (b"", b"\xd3\x01", own + b"\0", own[:-1], own[1:], parameters(0, (0xB6, ControlReference(0x10)))):
        with pytest.raises(DecodeError, match="no security parameters"):
            find_parameters(nothing)


def test_session_keys_on_their_way_are_not_shown() -> None:
    reference = ControlReference(0x94, 0x80, b"sixteen secret!!")
    parameters = SecurityParameters(0x03, ((0xB4, reference.build()),))
    assert "secret" not in f"{reference!r} {parameters!r}"
