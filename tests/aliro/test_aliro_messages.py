"""The wire of the access protocol: every class, and the worked example byte for byte."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import credential, exchange, messages
from keywright.aliro.exchange import ExchangeAnswer, MailboxRequest, Read, Set, Write
from keywright.aliro.messages import (
    Auth0,
    Auth0Answer,
    Auth1,
    Auth1Answer,
    ControlFlow,
    ExtendedLength,
    Proprietary,
    Signed,
    parse_selected,
    selected,
)
from keywright.codec.ber import item
from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.iso7816.apdu import Command, Response
from support.messages import all_messages, check_message
from support.vectors import Case, unhex, vectors


@pytest.mark.parametrize("cls", [cls for module in (messages, exchange, credential) for cls in all_messages(module)])
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@vectors("digitalkey/aliro_expedited_standard.json")
def test_every_apdu_of_the_worked_example_is_read_and_written_byte_for_byte(case: Case) -> None:
    apdus = {name: unhex(value) for name, value in case["apdus"].items()}
    found, proprietary = parse_selected(Response.parse(apdus["select_response"]).data)
    assert proprietary == unhex(case["inputs"]["proprietary_information_tlv_A5"])
    assert found.proprietary is not None
    assert Proprietary.parse(found.proprietary).version_numbers() == (0x0100,)
    assert selected(found.aid, found.proprietary) == Response.parse(apdus["select_response"]).data
    for name, cls in (("auth0_command", Auth0), ("auth1_command", Auth1), ("control_flow_command", ControlFlow)):
        command = Command.parse(apdus[name])
        assert cls.parse(command.data).build() == command.data, name
    answer = Response.parse(apdus["auth0_response"]).data
    assert Auth0Answer.parse(answer).build() == answer
    plain = unhex(case["auth1_response_plaintext"])
    assert Auth1Answer.parse(plain).build() == plain
    for name in ("reader_auth_tbs", "device_auth_tbs"):
        assert Signed.parse(unhex(case[name])).build() == unhex(case[name])


def test_the_a5_tlv_is_kept_as_it_came_even_with_a_longer_length() -> None:
    value = Proprietary(0, b"\x01\x00\x00\x09", ExtendedLength((b"\x08\x00", b"\x08\x00")), b"v").build()
    odd = b"\xa5\x81" + bytes((len(value),)) + value
    found, proprietary = parse_selected(item(0x6F, item(0x84, messages.EXPEDITED_AID) + odd))
    assert proprietary == odd
    assert found.proprietary == value


@pytest.mark.parametrize("raw", ["", "01", "010000"])
def test_versions_are_two_bytes_each(raw: str) -> None:
    with pytest.raises(DecodeError, match="two bytes each"):
        messages.versions(bytes.fromhex(raw))


_U16 = st.integers(0, 0xFFFF)
_OPERATIONS = st.one_of(
    st.builds(Read, _U16, _U16),
    st.builds(Write, _U16, st.binary(max_size=40)),
    st.builds(Set, _U16, _U16, st.integers(0, 255)),
)


@given(st.builds(MailboxRequest, st.lists(_OPERATIONS, max_size=6).map(tuple), st.booleans()), st.data())
def test_a_mailbox_request_comes_back_in_its_order(request: MailboxRequest, data: st.DataObject) -> None:
    raw = request.build()
    assert MailboxRequest.parse(raw) == request
    prefix = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with contextlib.suppress(DecodeError):
        assert MailboxRequest.parse(prefix).build() == prefix


@given(st.binary(max_size=60))
def test_any_bytes_are_a_mailbox_request_or_refused(raw: bytes) -> None:
    with contextlib.suppress(DecodeError):
        MailboxRequest.parse(raw)
    with contextlib.suppress(DecodeError):
        assert ExchangeAnswer.parse(raw).build() == raw


def test_the_answer_of_a_foreign_device_to_exchange_is_read() -> None:
    """`00020000`, as ultrawidelock's device answers."""
    assert ExchangeAnswer.parse(bytes.fromhex("00020000")) == ExchangeAnswer()
    assert ExchangeAnswer((b"ab", b"")).build().hex() == "00026162000000020000"
