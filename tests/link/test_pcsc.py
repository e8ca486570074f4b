"""PC/SC through a stand-in for pyscard's C layer that behaves as pcsc-lite 1.9.9 was seen to (scp.md 10.2)."""

# ruff: noqa: N802 - the names are those of PC/SC
from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator

import pytest

from keywright.errors import DecodeError, LinkError, UsageError
from keywright.link import PcscLink, list_readers
from keywright.link.pcsc import control_code, parse_features
from keywright.link.pcsc_readers import ReaderState, reader_states, wait_for_card, wait_for_removal, watch_readers

ATR = bytes.fromhex("3B80800101")
RESET_CARD, REMOVED_CARD, NO_CARD, NO_SERVICE = 0x80100068, 0x80100069, 0x8010000C, 0x8010001D
SHARING, NO_READERS, UNKNOWN, UNSUPPORTED = 0x8010000B, 0x8010002E, 0x80100099, 0x8010001F


class Scard(types.ModuleType):
    """smartcard.scard with two readers; `fail` maps a function to the codes its next calls give."""

    SCARD_S_SUCCESS = 0
    SCARD_SCOPE_USER = 0
    SCARD_SHARE_EXCLUSIVE, SCARD_SHARE_SHARED, SCARD_SHARE_DIRECT = 1, 2, 3
    SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1 = 1, 2
    SCARD_PCI_T0, SCARD_PCI_T1 = 1001, 1002
    SCARD_LEAVE_CARD, SCARD_RESET_CARD, SCARD_UNPOWER_CARD = 0, 1, 2

    def __init__(self) -> None:
        super().__init__("smartcard.scard")
        self.readers = ["Virtual PCD 00 00", "Virtual PCD 00 01"]
        self.protocol = self.SCARD_PROTOCOL_T1
        self.answer = b"\x90\x00"
        self.fail: dict[str, list[int]] = {}
        self.calls: list[tuple[object, ...]] = []
        self.sent: list[tuple[int, bytes]] = []
        self.states: list[dict[str, int]] = []
        self.controls: dict[int, bytes] = {}

    def _code(self, function: str, *arguments: object) -> int:
        self.calls.append((function, *arguments))
        codes = self.fail.get(function)
        return codes.pop(0) if codes else 0

    def SCardEstablishContext(self, _scope: int) -> tuple[int, int]:
        return self._code("establish"), 7

    def SCardReleaseContext(self, _context: int) -> int:
        return self._code("release")

    def SCardListReaders(self, _context: int, _groups: list[str]) -> tuple[int, list[str]]:
        return self._code("list"), self.readers

    def SCardConnect(self, _context: int, reader: str, share: int, protocols: int) -> tuple[int, int, int]:
        return self._code("connect", reader, share, protocols), 9, self.protocol

    def SCardReconnect(self, _card: int, share: int, protocols: int, disposition: int) -> tuple[int, int]:
        return self._code("reconnect", share, protocols, disposition), self.protocol

    def SCardBeginTransaction(self, _card: int) -> int:
        return self._code("begin")

    def SCardEndTransaction(self, _card: int, disposition: int) -> int:
        return self._code("end", disposition)

    def SCardDisconnect(self, _card: int, disposition: int) -> int:
        return self._code("disconnect", disposition)

    def SCardStatus(self, _card: int) -> tuple[int, str, int, int, list[int]]:
        return self._code("status"), "", 0, self.protocol, list(ATR)

    def SCardTransmit(self, _card: int, pci: int, command: list[int]) -> tuple[int, list[int]]:
        self.sent.append((pci, bytes(command)))
        return self._code("transmit"), list(self.answer)

    SCARD_STATE_UNAWARE, SCARD_STATE_EMPTY, SCARD_STATE_PRESENT = 0, 0x10, 0x20
    SCARD_STATE_EXCLUSIVE, SCARD_STATE_INUSE, SCARD_STATE_MUTE = 0x80, 0x100, 0x200

    def SCardGetStatusChange(
        self, _context: int, timeout_ms: int, asked: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        """The next of `states` each time that a caller waits, as if something had come or gone meanwhile."""
        if timeout_ms and len(self.states) > 1:
            self.states.pop(0)
            self.readers = list(self.states[0])
        now = self.states[0] if self.states else {}
        return self._code("change", timeout_ms), [
            (name, now.get(name, self.SCARD_STATE_EMPTY), list(ATR) if now.get(name, 0) & 0x20 else [])
            for name, _ in asked
        ]

    def SCardControl(self, _card: int, code: int, data: list[int]) -> tuple[int, list[int]]:
        answer = self.controls.get(code)
        self.sent.append((code, bytes(data)))
        return (self._code("control"), list(answer)) if answer is not None else (UNSUPPORTED, [])

    def SCardGetErrorMessage(self, code: int) -> str:
        return f"message of {code:X}"

    def names(self) -> list[object]:
        return [call[0] for call in self.calls]


@pytest.fixture
def scard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scard]:
    package = types.ModuleType("smartcard")
    module = Scard()
    package.scard = module  # type: ignore[attr-defined] # the stand-in
    monkeypatch.setitem(sys.modules, "smartcard", package)
    monkeypatch.setitem(sys.modules, "smartcard.scard", module)
    yield module
    assert module.names().count("release") == module.names().count("establish"), "a context was not given back"


def test_readers_are_listed(scard: Scard) -> None:
    assert list_readers() == scard.readers
    scard.fail["list"] = [NO_READERS]
    assert list_readers() == []


def test_without_pyscard_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard", None)
    with pytest.raises(UsageError, match="pyscard") as caught:
        list_readers()
    assert "keywright[pcsc]" in caught.value.hint


def test_without_the_service_it_says_to_start_it(scard: Scard) -> None:
    scard.fail["establish"] = [NO_SERVICE - (1 << 32)]
    with pytest.raises(LinkError, match="does not run") as caught:
        PcscLink("x")
    assert (caught.value.delivered, caught.value.hint) == (False, "start pcscd")
    scard.calls.clear()


def test_the_card_is_taken_exclusively_used_and_left_as_it_is(scard: Scard) -> None:
    link = PcscLink("Virtual PCD 00 00")
    assert (link.name, link.atr, link.extended) == ("pcsc:Virtual PCD 00 00", ATR, True)
    assert link.exchange(b"\x00\xa4\x04\x00\x00") == b"\x90\x00"
    assert link.reset() == ATR
    link.close()
    link.close()
    assert scard.sent == [(1002, b"\x00\xa4\x04\x00\x00")]
    assert scard.calls == [
        ("establish",),
        ("list",),
        ("connect", "Virtual PCD 00 00", 1, 3),
        ("status",),
        ("transmit",),
        ("reconnect", 1, 3, 1),
        ("status",),
        ("disconnect", 0),
        ("release",),
    ]


def test_in_transaction_mode_one_transaction_is_held_from_open_to_close(scard: Scard) -> None:
    link = PcscLink("00 01", mode="transaction")
    link.exchange(b"\x00\xa4\x04\x00")
    link.exchange(b"\x00\xa4\x04\x00")
    link.close()
    assert ("connect", "Virtual PCD 00 01", 2, 3) in scard.calls
    assert [name for name in scard.names() if name in ("begin", "transmit", "end")] == [
        "begin",
        "transmit",
        "transmit",
        "end",
    ]
    assert ("end", 0) in scard.calls


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ("00A40400", "00A40400"),
        ("00B0000010", "00B0000010"),
        ("00A4040002A000", "00A4040002A000"),
        ("00A4040002A00000", "00A4040002A000"),
        ("00A4040002A0000000", "00A4040002A0000000"),
    ],
)
def test_under_t0_only_the_le_of_case_4_is_left_out(scard: Scard, command: str, sent: str) -> None:
    scard.protocol = scard.SCARD_PROTOCOL_T0
    link = PcscLink("00 00")
    assert not link.extended
    link.exchange(bytes.fromhex(command))
    link.close()
    assert scard.sent == [(1001, bytes.fromhex(sent))]


def test_extended_may_be_said_by_whoever_knows_the_reader(scard: Scard) -> None:
    link = PcscLink("00 00", extended=False)
    assert not link.extended
    link.close()


@pytest.mark.parametrize(
    ("code", "text", "delivered"),
    [
        (RESET_CARD, "reset by another program", False),
        (REMOVED_CARD, "was removed", None),
        (NO_CARD, "no card", False),
        (UNKNOWN, "message of 80100099", None),
    ],
)
def test_a_failed_exchange_says_what_happened_and_what_is_known(
    scard: Scard, *, code: int, text: str, delivered: bool | None
) -> None:
    link = PcscLink("00 00")
    scard.fail["transmit"] = [code]
    with pytest.raises(LinkError, match=text) as caught:
        link.exchange(b"\x00\xa4\x04\x00")
    assert caught.value.delivered is delivered
    link.close()


def test_after_another_program_reset_the_card_ours_makes_it_usable_again(scard: Scard) -> None:
    link = PcscLink("00 00")
    scard.fail["transmit"] = [RESET_CARD]
    with pytest.raises(LinkError):
        link.exchange(b"\x00\xa4\x04\x00")
    link.reset()
    assert link.exchange(b"\x00\xa4\x04\x00") == b"\x90\x00"
    link.close()


def test_after_a_removal_reset_connects_to_the_card_that_is_there_now(scard: Scard) -> None:
    link = PcscLink("00 00")
    scard.fail["reconnect"] = [REMOVED_CARD]
    assert link.reset() == ATR
    assert scard.names().count("connect") == 2
    link.close()


def test_a_reset_without_a_card_fails_and_may_be_tried_again(scard: Scard) -> None:
    link = PcscLink("00 00")
    scard.fail["reconnect"] = [REMOVED_CARD]
    scard.fail["connect"] = [NO_CARD]
    with pytest.raises(LinkError, match="no card in the reader"):
        link.reset()
    with pytest.raises(LinkError, match="not connected") as caught:
        link.exchange(b"\x00\xa4\x04\x00")
    assert caught.value.delivered is False
    assert link.reset() == ATR
    link.close()
    with pytest.raises(LinkError, match="closed"):
        link.reset()


def test_a_card_that_another_program_uses_is_refused_with_a_hint(scard: Scard) -> None:
    scard.fail["connect"] = [SHARING]
    with pytest.raises(LinkError, match="another program uses the card") as caught:
        PcscLink("00 00")
    assert "scdaemon" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text"),
    [("PCD", "several readers match; there are: Virtual PCD 00 00, Virtual PCD 00 01"), ("Omnikey", "no such reader")],
)
def test_a_reader_name_that_fits_no_single_reader_lists_them(scard: Scard, name: str, text: str) -> None:
    with pytest.raises(LinkError, match=text):
        PcscLink(name)
    scard.readers = []
    with pytest.raises(LinkError, match="there are: none"):
        PcscLink(name)


def test_an_answer_without_a_status_word_is_no_answer(scard: Scard) -> None:
    link = PcscLink("00 00")
    scard.answer = b"\x55"
    with pytest.raises(LinkError, match="1 bytes has no status word") as caught:
        link.exchange(b"\x00\xa4\x04\x00")
    assert caught.value.delivered is None
    link.close()


# ---- modes and protocols --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "asked"), [("any", 3), ("t0", Scard.SCARD_PROTOCOL_T0), ("t1", Scard.SCARD_PROTOCOL_T1)]
)
def test_the_protocol_is_asked_for_at_connect_and_at_reset(scard: Scard, protocol: str, asked: int) -> None:
    link = PcscLink("00 00", protocol=protocol)  # type: ignore[arg-type]  # one of the words
    link.reset()
    link.close()
    assert ("connect", "Virtual PCD 00 00", 1, asked) in scard.calls
    assert ("reconnect", 1, asked, 1) in scard.calls


def test_shared_mode_holds_no_transaction(scard: Scard) -> None:
    PcscLink("00 00", mode="shared").close()
    assert ("connect", "Virtual PCD 00 00", 2, 3) in scard.calls
    assert "begin" not in scard.names()


# ---- what the reader itself can do ----------------------------------------------------------------------------------

FEATURE_LIST = bytes.fromhex("0604 42330006 1304 42000DB5")


def test_features_are_control_codes_by_tag(scard: Scard) -> None:
    scard.controls[control_code(3400)] = FEATURE_LIST
    link = PcscLink("00 00")
    assert link.features() == {0x06: 0x42330006, 0x13: 0x42000DB5}
    link.close()


def test_a_reader_that_knows_no_features_has_none(scard: Scard) -> None:
    link = PcscLink("00 00")
    assert link.features() == {}
    link.close()


@pytest.mark.parametrize("size", [n for n in range(len(FEATURE_LIST)) if n % 6])
def test_a_list_of_features_that_is_cut_off_is_an_error(scard: Scard, size: int) -> None:
    with pytest.raises(DecodeError):
        parse_features(FEATURE_LIST[:size])
    scard.controls[control_code(3400)] = FEATURE_LIST[:size]
    link = PcscLink("00 00")
    with pytest.raises(LinkError, match="list of features"):
        link.features()
    link.close()


def test_an_escape_goes_to_the_code_that_the_reader_named(scard: Scard) -> None:
    scard.controls = {control_code(3400): FEATURE_LIST, 0x42000DB5: b"\x01\x02"}
    link = PcscLink("00 00")
    assert link.escape(b"\xe0\x00") == b"\x01\x02"
    assert scard.sent[-1] == (0x42000DB5, b"\xe0\x00")
    link.close()
    with pytest.raises(LinkError, match="not connected"):
        link.escape(b"")


def test_a_reader_is_talked_to_without_a_card(scard: Scard) -> None:
    link = PcscLink("00 00", mode="direct")
    assert ("connect", "Virtual PCD 00 00", 3, 0) in scard.calls
    assert "status" not in scard.names()
    with pytest.raises(LinkError, match="connected to the reader, not to a card") as caught:
        link.exchange(bytes(4))
    assert caught.value.delivered is False
    link.close()


def test_an_escape_to_a_reader_without_is_refused_before_it_is_sent(scard: Scard) -> None:
    link = PcscLink("00 00")
    with pytest.raises(LinkError, match="no escape commands") as caught:
        link.escape(b"\xe0")
    assert caught.value.delivered is False
    assert [code for code, _ in scard.sent] == [control_code(3400)]
    link.close()


# ---- what is in the readers -----------------------------------------------------------------------------------------

ONE, TWO = "Virtual PCD 00 00", "Virtual PCD 00 01"
CARD, EMPTY = 0x20, 0x10


def test_the_states_of_all_readers_are_told(scard: Scard) -> None:
    scard.states = [{ONE: CARD | 0x100 | 3 << 16, TWO: EMPTY}]
    assert reader_states() == [
        ReaderState(ONE, present=True, atr=ATR, in_use=True, changes=3),
        ReaderState(TWO, present=False),
    ]
    assert [state.what for state in reader_states()] == ["card, in use", "empty"]


@pytest.mark.parametrize(
    ("word", "what"), [(CARD, "card"), (CARD | 0x80, "card, taken by another program"), (CARD | 0x200, "mute card")]
)
def test_a_state_has_its_word(scard: Scard, word: int, what: str) -> None:
    scard.states = [{ONE: word, TWO: EMPTY}]
    assert reader_states()[0].what == what


def test_no_reader_is_no_state(scard: Scard) -> None:
    scard.readers = []
    assert reader_states() == []


def test_each_change_is_told_once_and_a_reader_that_goes_too(scard: Scard) -> None:
    scard.states = [{ONE: EMPTY}, {ONE: CARD, TWO: EMPTY}, {ONE: CARD, TWO: EMPTY}, {TWO: EMPTY}]
    scard.readers = [ONE]
    seen = []
    for state in watch_readers():
        seen.append((state.name, state.present))
        if len(seen) == 4:
            break
    assert seen[0] == (ONE, False)
    assert sorted(seen[1:3]) == [(ONE, True), (TWO, False)]
    assert seen[3] == (ONE, False)


def test_a_reader_that_goes_while_it_is_asked_about_ends_no_watch(scard: Scard) -> None:
    unknown = 0x80100009 - (1 << 32)
    scard.states = [{ONE: CARD, TWO: EMPTY}]
    scard.fail = {"change": [unknown, 0, unknown, unknown, 0]}
    seen = watch_readers(time.monotonic() + 0.2)
    assert [next(seen).name, next(seen).name] == [ONE, TWO]
    assert list(seen) == []
    scard.fail = {"change": [unknown] * 20}
    with pytest.raises(LinkError, match="come and go too fast"):
        reader_states()


def test_waiting_for_a_card_ends_with_one_that_answers(scard: Scard) -> None:
    scard.states = [{ONE: EMPTY, TWO: CARD}, {ONE: CARD | 0x200, TWO: CARD}, {ONE: CARD, TWO: CARD}]
    assert wait_for_card("00 00").name == ONE


def test_waiting_for_a_card_has_an_end(scard: Scard) -> None:
    scard.states = [{ONE: EMPTY, TWO: EMPTY}]
    with pytest.raises(LinkError, match="no card came in 0 s") as caught:
        wait_for_card("00 00", 0)
    assert caught.value.delivered is False
    with pytest.raises(LinkError, match="no such reader"):
        wait_for_card("Omnikey", 0)


def test_waiting_for_removal(scard: Scard) -> None:
    scard.states = [{ONE: CARD, TWO: EMPTY}, {ONE: EMPTY, TWO: EMPTY}]
    wait_for_removal(ONE)
    scard.states = [{ONE: CARD, TWO: EMPTY}]
    scard.readers = [ONE, TWO]
    with pytest.raises(LinkError, match="not taken out"):
        wait_for_removal(ONE, 0)
