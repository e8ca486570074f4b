"""Whole exchanges in words: nothing that a recording may hold stops the telling."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keywright.cli.exchanges import full_document, full_lines
from keywright.cli.keyfile import static_keys
from keywright.cli.messages_in import Piece, items, together
from keywright.cli.telling import Teller
from keywright.crypto.ec import EcPrivateKey
from keywright.globalplatform.unwrapping import GivenSession
from keywright.scp.scp03.keys import KeySet, derive_session
from support.vectors import Case, vectors

KEY = EcPrivateKey.from_scalar("P-256", bytes(31) + b"\x07")
SESSION = GivenSession(derive_session(KeySet.gp_test(), bytes(16)))

commands = st.one_of(
    st.binary(max_size=40),
    st.tuples(
        st.sampled_from((0x00, 0x80, 0x84, 0x90, 0x94, 0xC0, 0xE0, 0xFF)),
        st.sampled_from((0xA4, 0x50, 0x82, 0x88, 0xC0, 0xE2, 0xD8, 0x7A, 0x78, 0x2A, 0xE6, 0xCA)),
        st.binary(min_size=2, max_size=2),
        st.binary(min_size=1, max_size=40),
    ).map(lambda parts: bytes(parts[:2]) + parts[2] + bytes((len(parts[3]),)) + parts[3]),
)
answers = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.tuples(st.binary(max_size=34), st.sampled_from((b"\x90\x00", b"\x61\x04", b"\x6c\x08", b"\x6a\x88"))).map(
        b"".join
    ),
)
pieces = st.lists(
    st.builds(
        lambda command, answer, reset, masked: Piece(
            None if reset else command, None if reset else answer, is_reset=reset, is_masked=masked
        ),
        commands,
        answers,
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)


def teller() -> Teller:
    return Teller(static_keys("gp-test").candidates, [SESSION], [KEY])


@given(pieces)
def test_any_exchange_is_told(recording: list[Piece]) -> None:
    telling = teller()
    for piece in recording:
        told = telling.tell(piece)
        if told is not None:
            assert list(full_lines(piece.command, piece.answer, told))
            json.dumps(full_document(piece.command, piece.answer, told))


def told(exchanges: list[dict[str, Any]], *keys: str) -> list[str]:
    lines = [line for one in exchanges for line in (f"> {one['capdu']}", f"< {one['rapdu']}")]
    telling = Teller([candidate for key in keys for candidate in static_keys(key).candidates])
    return [found.explanation.title for piece in together(items(lines)) if (found := telling.tell(piece)) is not None]


@vectors("scp/client_traces.json")
def test_what_real_clients_sent_is_told_without_a_number_for_a_name(case: Case) -> None:
    titles = told([one for one in case["exchanges"] if len(one["capdu"]) >= 8], "gp-test")
    assert titles
    assert not [title for title in titles if title.startswith(("INS ", "not an APDU")) or "(protected)" in title]
