from __future__ import annotations
import pytest
from keywright.codec.message import Message
from keywright.scp.scp11 import messages
from support.messages import all_messages, check_message
@pytest.mark.parametrize("cls", all_messages(messages), ids=lambda cls: cls.__name__)
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)
