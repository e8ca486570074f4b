"""A whole exchange told in order: parts put together, protection taken off where keys are given, each step in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import msgspec

from keywright.cli.messages_in import Piece
from keywright.crypto.ec import EcPrivateKey
from keywright.errors import DecodeError
from keywright.fob.explain import KNOWN
from keywright.globalplatform.describe import Line
from keywright.globalplatform.explain import Explanation, Transcript, explain_response
from keywright.globalplatform.parameters import header
from keywright.globalplatform.recorded_agreement import RecordedAgreement
from keywright.globalplatform.redaction import masked
from keywright.globalplatform.unwrapping import Candidate, GivenSession, Unwrapped, Unwrapper
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.assembly import Assembly, Part


class Told(msgspec.Struct, frozen=True):
    """One exchange in words. header: the fields of the command; plain: the command without its protection, masked.

    session: what is known of the secure session; is_bad: it does not check.
    """

    explanation: Explanation
    header: tuple[Line, ...] = ()
    plain: bytes = b""
    plain_answer: bytes | None = None
    session: str = ""
    is_bad: bool = False


@final
class Teller:
    """Tells the pieces of a recording; every link of it is a card of its own."""

    def __init__(
        self,
        candidates: Sequence[Candidate] = (),
        given: Sequence[GivenSession] = (),
        private: Sequence[EcPrivateKey] = (),
    ) -> None:
        self._given = given
        self._candidates, self._private = candidates, private
        self._cards: dict[str, _Card] = {}

    def tell(self, piece: Piece) -> Told | None:
        """What a piece says; None for one that is no exchange (ATR, data objects)."""
        card = self._cards.get(piece.link)
        if card is None:
            card = self._cards[piece.link] = _Card(self._unwrapper())
        if piece.is_reset:
            card.reset()
        if piece.command is not None:
            return card.tell(piece.command, piece.answer, piece.lost, is_masked=piece.is_masked)
        if piece.answer is not None:
            return Told(_answer(piece.answer))
        return None

    def _unwrapper(self) -> Unwrapper | None:
        if not (self._candidates or self._given or self._private):
            return None
        agreement = RecordedAgreement(self._private) if self._private else None
        return Unwrapper(self._candidates, self._given, agreement)


class _Card:
    def __init__(self, unwrapper: Unwrapper | None) -> None:
        self._unwrapper = unwrapper
        self._transcript = Transcript(KNOWN)
        self._assembly = Assembly()
        self._is_masked = False

    def reset(self) -> None:
        if self._unwrapper is not None:
            self._unwrapper.reset()
        self._transcript.reset()
        self._assembly.reset()

    def tell(self, raw: bytes, answer: bytes | None, lost: str, *, is_masked: bool = False) -> Told:
        try:
            command = Command.parse(raw)
            response = None if answer is None else Response.parse(answer)
        except DecodeError as error:
            return Told(
                Explanation("not an APDU", (("problem", str(error)),), status=f"no answer: {lost}" if lost else "")
            )
        fields = tuple(header(command))
        whole = self._assembly.exchange(command, response)
        self._is_masked = self._is_masked or is_masked
        if isinstance(whole, Part):
            return Told(self._part(command, response, whole.what), fields)
        masked_, self._is_masked = self._is_masked, False
        unwrapper = self._unwrapper
        found = None if unwrapper is None else unwrapper.exchange(whole.command, whole.response, is_masked=masked_)
        told = self._transcript.explain(whole.command, whole.response)
        if whole.pieces > 1:
            told = msgspec.structs.replace(told, title=f"{told.title}, {whole.pieces} exchanges together")
        if lost:
            told = msgspec.structs.replace(told, status=f"no answer: {lost}")
        return Told(told, fields) if found is None else _unwrapped(told, fields, found)

    def _part(self, command: Command, response: Response | None, what: str) -> Explanation:
        title = Transcript(KNOWN).explain(command).title
        told = explain_response(response) if response is not None else Explanation("")
        return Explanation(f"{title} ({what})", (), (), told.status)


def _unwrapped(told: Explanation, fields: tuple[Line, ...], found: Unwrapped) -> Told:
    if found.command is None:
        return Told(told, fields, session=found.note, is_bad=found.is_bad)
    if found.command.ins == 0x82 and found.note.endswith("right"):
        return Told(told, fields, session=found.note)
    inner = Transcript(KNOWN).explain(found.command, found.response)
    title = inner.title + told.title.partition(" (protected)")[2]
    inner = msgspec.structs.replace(inner, title=title, status=inner.status or told.status)
    answer = None if found.response is None else found.response.encode()
    return Told(inner, tuple(header(found.command)), masked(found.command.encode()), answer, found.note, found.is_bad)


def _answer(raw: bytes) -> Explanation:
    try:
        return explain_response(Response.parse(raw), KNOWN)
    except DecodeError as error:
        return Explanation("not an answer", (), (("problem", str(error)),))
