"""PC/SC through a stand-in for pyscard's C layer that behaves as pcsc-lite 1.9.9 was seen to (scp.md 10.2)."""

# ruff: noqa: N802 - the names are those of PC/SC
from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import pytest

from keywright.errors import LinkError, UsageError
from keywright.link import PcscLink, list_readers

ATR = bytes.fromhex("3B80800101")
RESET_CARD, REMOVED_CARD, NO_CARD, NO_SERVICE = 0x80100068, 0x80100069, 0x8010000C, 0x8010001D
SHARING, NO_READERS, UNKNOWN = 0x8010000B, 0x8010002E, 0x80100099


class Scard(types.ModuleType):
    """smartcard.scard with two readers; `fail` maps a function to the codes its next calls give."""

    SCARD_S_SUCCESS = 0
    SCARD_SCOPE_USER = 0
    SCARD_SHARE_EXCLUSIVE, SCARD_SHARE_SHARED = 1, 2
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
