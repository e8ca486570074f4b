"""Which PC/SC readers there are, which have a card, and what comes and goes.

A context waits in one thread: each function makes its own and gives it back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final, final

import msgspec

from keywright.errors import LinkError
from keywright.link.pcsc import check_code, choose_reader, establish_context, pyscard, reader_names

_NEW_READER: Final = "\\\\?PnP?\\Notification"
"""The name that stands for readers still to come (PC/SC part 5)."""
_TIMEOUT: Final = 0x8010000A
_UNKNOWN_READER: Final = 0x80100009
_LOOKS: Final = 8
_TURN_S: Final = 0.5
"""How long one wait lasts at most: what also lets Ctrl-C through."""


@final
class ReaderState(msgspec.Struct, frozen=True):
    """A reader at one moment. atr: empty without a card, or of one that does not answer (`mute`).

    in_use, exclusive: another program has the card, shared or for itself. changes: how often cards came and went.
    """

    name: str
    present: bool
    atr: bytes = b""
    in_use: bool = False
    exclusive: bool = False
    mute: bool = False
    changes: int = 0

    @property
    def what(self) -> str:
        """The state in words: "empty", "card", "card, in use", "card, taken", "mute card"."""
        if not self.present:
            return "empty"
        if self.mute:
            return "mute card"
        return "card, taken by another program" if self.exclusive else "card, in use" if self.in_use else "card"


def reader_states() -> list[ReaderState]:
    """Every reader with what is in it. Raises LinkError, UsageError if pyscard is not installed."""
    with _Watcher() as watcher:
        return list(watcher.look().values())


def watch_readers(until: float | None = None) -> Iterator[ReaderState]:
    """The state of each reader now, and again whenever it changes; a reader that goes is yielded without a card.

    until: `time.monotonic()` at which to end; None: never. Raises as `reader_states`.
    """
    with _Watcher() as watcher:
        known = watcher.look()
        yield from known.values()
        while (left := _left(until)) > 0:
            now = watcher.wait(known, left)
            for name in known.keys() - now.keys():
                yield ReaderState(name, present=False)
            yield from (state for name, state in now.items() if known.get(name) != state)
            known = now


def wait_for_card(reader: str, timeout_s: float | None = None) -> ReaderState:
    """Wait until a card that answers is in the reader: a name, or a part that only one reader has; or in any, "".

    Raises LinkError when the time is over.
    """
    until = None if timeout_s is None else time.monotonic() + timeout_s
    names: list[str] = []
    for state in watch_readers(until):
        names.append(state.name)
        if state.present and not state.mute and _is_meant(reader, state.name):
            return state
    choose_reader(reader, list(dict.fromkeys(names)))
    raise LinkError(f"pcsc:{reader}: no card came in {timeout_s:g} s", delivered=False, hint="put a card in")


def wait_for_removal(reader: str, timeout_s: float | None = None) -> None:
    """Wait until the reader is empty or gone. Raises LinkError when the time is over."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    for state in watch_readers(until):
        if state.name == reader and not state.present:
            return
    raise LinkError(f"pcsc:{reader}: the card was not taken out in {timeout_s:g} s", delivered=False)


def _is_meant(wanted: str, name: str) -> bool:
    return wanted == name or wanted.casefold() in name.casefold()


def _left(until: float | None) -> float:
    return _TURN_S if until is None else min(_TURN_S, until - time.monotonic())


class _GoneError(Exception):
    """A reader that was asked about is not there any more."""


@final
class _Watcher:
    """A context with what it last saw."""

    def __init__(self) -> None:
        self._scard: Any = pyscard()
        self._context = establish_context(self._scard)

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._scard.SCardReleaseContext(self._context)

    def look(self) -> dict[str, ReaderState]:
        """What is there now. A reader that goes between its listing and its question is not there."""
        for _ in range(_LOOKS):
            names = reader_names(self._scard, self._context)
            with contextlib.suppress(_GoneError):
                return self._ask([(name, self._scard.SCARD_STATE_UNAWARE) for name in names], 0.0)
        raise LinkError("readers: they come and go too fast to be looked at", delivered=False)

    def wait(self, known: dict[str, ReaderState], seconds: float) -> dict[str, ReaderState]:
        """What is there once something differs from `known`, or after some seconds."""
        asked = [(name, self._word(state)) for name, state in known.items()]
        with contextlib.suppress(_GoneError):
            self._ask([*asked, (_NEW_READER, len(known) << 16)], seconds)
        return self.look()

    def _word(self, state: ReaderState) -> int:
        scard = self._scard
        word = scard.SCARD_STATE_PRESENT if state.present else scard.SCARD_STATE_EMPTY
        for flag, bit in (
            (state.in_use, scard.SCARD_STATE_INUSE),
            (state.exclusive, scard.SCARD_STATE_EXCLUSIVE),
            (state.mute, scard.SCARD_STATE_MUTE),
        ):
            word |= bit if flag else 0
        return int(word | state.changes << 16)

    def _ask(self, asked: list[tuple[str, int]], seconds: float) -> dict[str, ReaderState]:
        if not asked:
            return {}
        scard = self._scard
        code, answers = scard.SCardGetStatusChange(self._context, int(seconds * 1000), asked)
        if code & 0xFFFFFFFF == _TIMEOUT:
            return {}
        if code & 0xFFFFFFFF == _UNKNOWN_READER:
            raise _GoneError
        check_code(scard, code, "readers")
        found = [self._state(name, word, atr) for name, word, atr in answers if name != _NEW_READER]
        return {state.name: state for state in found}

    def _state(self, name: str, word: int, atr: list[int]) -> ReaderState:
        scard = self._scard
        return ReaderState(
            name,
            present=bool(word & scard.SCARD_STATE_PRESENT),
            atr=bytes(byte & 0xFF for byte in atr),
            in_use=bool(word & scard.SCARD_STATE_INUSE),
            exclusive=bool(word & scard.SCARD_STATE_EXCLUSIVE),
            mute=bool(word & scard.SCARD_STATE_MUTE),
            changes=word >> 16 & 0xFFFF,
        )
