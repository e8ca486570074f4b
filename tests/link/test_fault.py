"""Planned failures: each kind does what its name says, at its place, and nothing elsewhere."""

from __future__ import annotations

import pytest

from keywright.errors import LinkError
from keywright.link import Fault, FaultAt, Loopback
from support.echo import Echo


def faulty(*plan: FaultAt) -> tuple[Fault, Echo]:
    device = Echo()
    return Fault(Loopback(device), plan), device


def test_without_a_plan_nothing_happens() -> None:
    link, device = faulty()
    assert link.exchange(b"a") == b"a\x90\x00"
    assert (link.name, link.atr, link.extended, link.made) == ("loopback", device.atr, True, [])
    link.close()
    with pytest.raises(LinkError):
        link.exchange(b"a")


def test_cut_before_the_device_sees_nothing_and_the_link_is_dead_until_reset() -> None:
    link, device = faulty(FaultAt(1, "cut_before"))
    link.exchange(b"a")
    for _ in range(2):
        with pytest.raises(LinkError) as caught:
            link.exchange(b"b")
        assert caught.value.delivered is False
    assert (device.seen, device.resets) == ([], 1)
    assert link.reset() == device.atr
    assert link.exchange(b"c") == b"c\x90\x00"


def test_cut_after_the_device_has_acted_and_lost_its_power() -> None:
    seen: list[bytes] = []

    class Remembering(Echo):
        def handle(self, request: bytes, /) -> bytes:
            seen.append(request)
            return super().handle(request)

    device = Remembering()
    link = Fault(Loopback(device), [FaultAt(0, "cut_after")])
    with pytest.raises(LinkError) as caught:
        link.exchange(b"a")
    assert caught.value.delivered is None
    assert (seen, device.resets) == ([b"a"], 1)
    with pytest.raises(LinkError) as caught:
        link.exchange(b"b")
    assert caught.value.delivered is False
    assert seen == [b"a"]


def test_drop_answer_loses_the_answer_only() -> None:
    link, device = faulty(FaultAt(0, "drop_answer"))
    with pytest.raises(LinkError) as caught:
        link.exchange(b"a")
    assert caught.value.delivered is None
    assert link.exchange(b"b") == b"b\x90\x00"
    assert (device.seen, device.resets) == ([b"a", b"b"], 0)


def test_repeat_delivers_twice() -> None:
    class Counting(Echo):
        def handle(self, request: bytes, /) -> bytes:
            super().handle(request)
            return bytes([len(self.seen)])

    device = Counting()
    assert Fault(Loopback(device), [FaultAt(0, "repeat")]).exchange(b"a") == b"\x02"
    assert device.seen == [b"a", b"a"]


@pytest.mark.parametrize(
    ("bit", "flipped"),
    [(0, "8000"), (7, "0100"), (8, "0080"), (-1, "0001"), (15, "0001"), (16, "8000")],
)
def test_flip_command_inverts_one_bit_counted_from_the_first(bit: int, flipped: str) -> None:
    link, device = faulty(FaultAt(0, "flip_command", bit=bit))
    link.exchange(b"\x00\x00")
    assert device.seen == [bytes.fromhex(flipped)]


def test_flip_answer_inverts_one_bit_of_the_answer() -> None:
    link, device = faulty(FaultAt(0, "flip_answer", bit=-1))
    assert link.exchange(b"a") == b"a\x90\x01"
    assert device.seen == [b"a"]


def test_flipping_an_empty_answer_leaves_it_empty() -> None:
    link, _ = faulty(FaultAt(0, "replace", answer=b""), FaultAt(0, "flip_answer"))
    assert link.exchange(b"a") == b""


def test_truncate_keeps_the_first_bytes() -> None:
    link, _ = faulty(FaultAt(0, "truncate", size=1))
    assert link.exchange(b"ab") == b"a"


def test_replace_answers_something_else() -> None:
    link, device = faulty(FaultAt(0, "replace", answer=b"\x6a\x84"))
    assert link.exchange(b"ab") == b"\x6a\x84"
    assert device.seen == [b"ab"]


def test_delay_passes_the_time_with_the_given_sleep() -> None:
    slept: list[float] = []
    link = Fault(Loopback(Echo()), [FaultAt(0, "delay", seconds=3.5)], sleep=slept.append)
    assert link.exchange(b"a") == b"a\x90\x00"
    assert slept == [3.5]


def test_faults_of_one_exchange_add_up_in_order_and_are_listed_as_made() -> None:
    plan = (FaultAt(0, "flip_command"), FaultAt(0, "truncate", size=1), FaultAt(5, "delay"))
    link, device = faulty(*plan)
    assert link.exchange(b"\x00") == b"\x80"
    assert link.made == list(plan[:2])
    assert device.seen == [b"\x80"]
