"""The words of a key template, and how a mistake in one is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.crypto.templates import Template
from keywright.errors import UsageError


def test_spaces_and_case_are_free_and_0x_may_stand_before_a_byte() -> None:
    plain = Template.parse("$_0aF0$k$0$9$l$l")
    assert plain.marks == Template.parse(" $_  0x0A 0XF0 $K $0\t$9 $L$L ").marks
    assert plain.row(2, 3, 32) == bytes.fromhex("03 0A F0 02 00 00 0100")
    assert plain.places == ((4, 0), (5, 9))
    assert plain.counts


def test_without_a_counter_a_template_is_one_of_triple_des() -> None:
    assert not Template.parse("$0" * 16).counts


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("$_ $x $0", 4, r"'\$x \$' begins no byte"),
        ("$_ $a", 4, r"'\$a' begins no byte"),
        ("$_ $0 F", 7, "'F' begins no byte"),
        ("$_ $0 0x", 7, "'0x' begins no byte"),
        ("$_ $0 F 0", 7, "'F 0' begins no byte"),
        ("$_ $l $0", 4, "begins no byte"),
        ("$_ $0 $_", 7, "a second counter"),
        ("$_ 00 01", 9, "every card would have the same keys"),
        ("", 1, "every card would have the same keys"),
        ("$l$l" * 7 + "$0$0", 33, "without a counter"),
        ("$0" * 15, 31, "15 bytes where triple DES takes 16 or 24"),
        ("$0" * 32, 65, "32 bytes where triple DES takes 16 or 24"),
    ],
)
def test_a_mistake_is_named_with_its_position(text: str, position: int, what: str) -> None:
    with pytest.raises(UsageError, match=rf"^key template, position {position}: .*{what}") as refused:
        Template.parse(text)
    assert "as in" in refused.value.hint


@given(st.text(alphabet="$0123456789abcdefklKLxX_ \n", max_size=60))
def test_any_text_is_a_template_or_a_named_mistake(text: str) -> None:
    try:
        template = Template.parse(text)
    except UsageError as error:
        assert "position" in str(error)  # noqa: PT017 - both outcomes are right
        return
    assert len(template.row(1, 1, 16)) == len(template.marks)
    assert template.places
