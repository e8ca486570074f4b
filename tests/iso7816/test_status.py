"""Status words: every one has a meaning, and the error says what to do."""

from __future__ import annotations

import pytest

from keywright.errors import StatusError
from keywright.iso7816.apdu import Response
from keywright.iso7816.status import SW, check, is_ok, is_warning, meaning, status_error

NAMED = {name: value for name, value in vars(SW).items() if name.isupper()}


@pytest.mark.parametrize("name", NAMED)
def test_every_named_status_word_is_explained_under_its_own_words(name: str) -> None:
    found = meaning(NAMED[name])
    assert found.name not in ("unknown", "")
    assert found.text
    assert found != meaning(0x6FFF)


def test_names_and_values_are_one_to_one() -> None:
    assert len(set(NAMED.values())) == len(NAMED) >= 25


@pytest.mark.parametrize(
    ("sw", "text"),
    [
        (0x6110, "16 more bytes wait"),
        (0x6100, "256 more bytes wait"),
        (0x6C20, "the right Le is 32"),
        (0x6C00, "the right Le is 256"),
        (0x63C0, "0 tries left"),
        (0x63C5, "5 tries left"),
        (0x6281, "memory unchanged"),
        (0x6381, "memory changed"),
        (0x6401, "memory unchanged"),
        (0x6501, "memory changed"),
        (0x6999, "refused to be selected"),
        (0x6A88, "no such key set"),
        (0x6ABC, "P1, P2 or the data"),
        (0x9999, "not a status word we know"),
    ],
)
def test_what_a_status_word_says(sw: int, text: str) -> None:
    assert text in meaning(sw).text


def test_every_status_word_of_the_wire_has_some_meaning() -> None:
    for sw in (*range(0x6000, 0x7000), *range(0x9000, 0xA000)):
        assert meaning(sw).text
        assert "{" not in meaning(sw).text


def test_ok_is_9000_and_61xx_and_nothing_else() -> None:
    assert {sw for sw in range(0x10000) if is_ok(sw)} == {0x9000, *range(0x6100, 0x6200)}


def test_a_warning_is_62xx_or_63xx() -> None:
    assert {sw for sw in range(0x10000) if is_warning(sw)} == {*range(0x6200, 0x6400)}


def test_check_gives_the_data_of_9000_and_raises_for_all_else() -> None:
    assert check(Response(b"data"), "GET DATA") == b"data"
    for sw in (0x6100, 0x6283, 0x6310, 0x6A88, 0x9485):
        with pytest.raises(StatusError) as caught:
            check(Response(b"data", sw), "GET DATA")
        assert caught.value.sw == sw


def test_the_error_names_command_status_meaning_and_next_step() -> None:
    error = status_error(0x6982, "PUT KEY (KVN 30)")
    assert str(error).startswith("PUT KEY (KVN 30): status 6982 (")
    assert "secure channel" in error.hint
    assert error.sw == 0x6982
