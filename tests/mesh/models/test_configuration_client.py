"""The Configuration Client alone: which answer it takes, what it asks, and how it names a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keywright.errors import LinkError, StatusError, WireError
from keywright.mesh.models import configuration as c
from keywright.mesh.models import configuration_client as client
from keywright.mesh.models.configuration_client import ANSWERS, Ask, Dialogue, Target, describe
from keywright.mesh.models.configuration_server import TABLE

AT = Target(0x0100, 2)
ONOFF, KEY = b"\x00\x10", b"K" * 16
PUBLISH = c.PublicationSet(0x0101, 0xC000, 3, 5, 0, 0, ONOFF)


def test_every_question_of_the_server_has_its_answer_here() -> None:
    assert set(ANSWERS) == set(TABLE)
    assert set(ANSWERS.values()) | set(ANSWERS) == set(c.MESSAGES.values())


@pytest.mark.parametrize(
    ("dialogue", "message", "answer", "result"),
    [
        (client.add_app_key(AT, 3, KEY), c.AppKeyAdd(0x003002, KEY), c.AppKeyStatus(0, 0x003002), None),
        (
            client.bind(AT, 0x0101, ONOFF, 3),
            c.ModelAppBind(0x0101, 3, ONOFF),
            c.ModelAppStatus(0, 0x0101, 3, ONOFF),
            None,
        ),
        (client.publish(AT, PUBLISH), PUBLISH, c.PublicationStatus(0, 0x0101, 0xC000, 3, 5, 0, 0, ONOFF), None),
        (
            client.subscribe(AT, 0x0101, ONOFF, 0xC001),
            c.SubscriptionAdd(0x0101, 0xC001, ONOFF),
            c.SubscriptionStatus(0, 0x0101, 0xC001, ONOFF),
            None,
        ),
        (client.reset(AT), c.NodeReset(), c.NodeResetStatus(), None),
        (client.read_net_keys(AT), c.NetKeyGet(), c.NetKeyList(bytes.fromhex("563412")), (0x456, 0x123)),
        (client.read_app_keys(AT, 2), c.AppKeyGet(2), c.AppKeyList(0, 2, bytes.fromhex("0700")), (7,)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, c.Message) else "",
)
def test_a_dialogue_asks_and_takes_the_answer(
    dialogue: Dialogue[object], message: c.Message, answer: c.Message, result: object
) -> None:
    asked = next(dialogue)
    assert asked == Ask(AT, message)
    assert asked.is_answered_by(answer)
    with pytest.raises(StopIteration) as stop:
        dialogue.send(answer)
    assert stop.value.value == result


@pytest.mark.parametrize(
    ("question", "late"),
    [
        (c.AppKeyAdd(1, KEY), c.AppKeyStatus(0, 2)),
        (c.AppKeyAdd(1, KEY), c.NetKeyStatus(0, 1)),
        (c.NetKeyUpdate(1, KEY), c.NetKeyStatus(0, 0)),
        (c.ModelAppBind(1, 2, ONOFF), c.ModelAppStatus(0, 1, 3, ONOFF)),
        (c.ModelAppBind(1, 2, ONOFF), c.ModelAppStatus(0, 2, 2, ONOFF)),
        (c.SubscriptionAdd(1, 0xC000, ONOFF), c.SubscriptionStatus(0, 1, 0xC001, ONOFF)),
        (c.KeyRefreshPhaseSet(1, 3), c.KeyRefreshPhaseStatus(0, 1, 2)),
        (c.KeyRefreshPhaseSet(1, 2), c.KeyRefreshPhaseStatus(0, 1, 0)),
        (PUBLISH, c.PublicationStatus(0, 0x0100, 0xC000, 3, 5, 0, 0, ONOFF)),
    ],
)
def test_an_answer_to_an_earlier_question_is_none(question: c.Message, late: c.Message) -> None:
    assert not Ask(AT, question).is_answered_by(late)


@pytest.mark.parametrize("status", [*sorted(set(c.STATUS_NAMES) - {0}), 0x12, 0xFF])
def test_a_refusal_names_message_status_and_clause(status: int) -> None:
    dialogue = client.bind(AT, 0x0101, ONOFF, 3)
    next(dialogue)
    name = c.STATUS_NAMES.get(status, "reserved")
    wanted = rf"^Config Model App Bind to 0100: status 00{status:02X} \({name}, MshPRT 4.3.5\)$"
    with pytest.raises(StatusError, match=wanted):
        dialogue.send(c.ModelAppStatus(status, 0x0101, 3, ONOFF))


@pytest.mark.parametrize("answer", [c.CompositionDataStatus(1, b""), c.CompositionDataStatus(0, b"\x01")])
def test_a_page_that_does_not_read_is_the_nodes_fault(answer: c.Message) -> None:
    dialogue = client.read_composition(AT)
    next(dialogue)
    with pytest.raises(WireError, match="Composition Data Status of 0100"):
        dialogue.send(answer)


@pytest.mark.parametrize(
    "make",
    [client.read_composition, client.reset, client.read_net_keys, lambda target: client.bind(target, 1, ONOFF, 1)],
)
def test_silence_ends_a_dialogue(make: Callable[[Target], Dialogue[object]]) -> None:
    dialogue = make(AT)
    next(dialogue)
    with pytest.raises(LinkError, match="nobody"):
        dialogue.throw(LinkError("nobody"))


def test_messages_are_called_as_the_standard_calls_them() -> None:
    assert [describe(one) for one in (c.AppKeyAdd(1, KEY), c.GattProxyGet(), c.DefaultTtlGet(), c.NetKeyGet())] == [
        "Config AppKey Add",
        "Config GATT Proxy Get",
        "Config Default TTL Get",
        "Config NetKey Get",
    ]
    assert describe(c.SigModelAppGet(1, ONOFF)) == "Config SIG Model App Get"
