"""Packets in words: recorded ones of real cards, in all that may carry them; total over any bytes."""

from __future__ import annotations

import random

import pytest

from keywright.errors import DecodeError
from keywright.globalplatform.packets import Found, explain_packet, find_packet, packet_lines, spi_text, together
from keywright.iso7816.apdu import Command
from keywright.scp.scp80.download import envelope, packet_messages, send_short_message
from keywright.scp.scp80.host import SendingEntity
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import COMMAND_IE, SMS_PP, Check, SecuredResponse, Spi
from keywright.scp.scp80.packet import Header, Suite, response_suite, seal_response
from keywright.scp.scp80.sms import Address, Submit

KEYS = KeySet.aes(bytes(range(16)), bytes(range(16, 32)))
OTHER = KeySet.aes(bytes(16), bytes(16))
COMPACT, EXPANDED = bytes(3), bytes.fromhex("B20100")
SCRIPT = bytes.fromhex("AA0A22 08 80F28002024F0000".replace(" ", ""))
SENDER = Address("4915")


def packet(tar: bytes = EXPANDED, data: bytes = SCRIPT, spi: Spi | None = None) -> bytes:
    return SendingEntity(KEYS, tar, spi=spi).seal(data, 258)


def told(data: bytes, keys: KeySet | None = None) -> dict[str, str]:
    return dict(explain_packet(find_packet(data), keys).answered)


def carriers(sealed: bytes) -> dict[str, bytes]:
    (message,) = packet_messages(sealed, SENDER, 1, COMMAND_IE)
    return {
        "alone": sealed,
        "user data": bytes.fromhex("027000") + sealed,
        "TPDU": message.build(),
        "data": envelope(message).data,
        "ENVELOPE": envelope(message).encode(),
        "ENVELOPE with Le": envelope(message).encode() + b"\0",
        "SIM class": envelope(message, SENDER, cla=0xA0).encode(),
    }


@pytest.mark.parametrize("carrier", carriers(packet()))
def test_a_packet_is_found_in_whatever_carries_it(carrier: str) -> None:
    found = find_packet(carriers(packet())[carrier])
    assert (found.packet, found.is_response) == (packet(), False)


def test_what_is_never_ciphered_is_told_without_keys() -> None:
    fields = told(packet())
    assert fields["SPI"].startswith("1619  CC, ciphered, counter must be higher; PoR always, CC, ciphered")
    assert fields["TAR"] == "B20100  issuer security domain, expanded format"
    assert fields["ciphered"].startswith("32 bytes")


def test_keys_open_it_and_wrong_ones_do_not() -> None:
    fields = told(packet(), KEYS)
    assert (fields["counter"], fields["CC"]) == ("258  0000000102", "right")
    assert fields["command 1"] == "GET STATUS issuer security domain"
    assert "counter" not in told(packet(), OTHER)
    assert "with these keys" in told(packet(), OTHER)


def test_a_packet_in_clear_is_told_whole_without_keys() -> None:
    clear = Spi.of(ciphered=False, por_ciphered=False)
    fields = told(packet(COMPACT, bytes.fromhex("80F28002024F00"), clear))
    assert fields["KIc"] == "12  not used"
    assert fields["CC"].endswith("not checked")
    assert fields["command 1"] == "GET STATUS issuer security domain"
    assert "not as" not in str(fields)
    assert told(packet(COMPACT, b"\x80\xff", clear))["data"].startswith("80FF")


@pytest.mark.parametrize(
    ("spi", "text"),
    [
        (Spi(0x00, 0x00), "0000  no check, not ciphered, no counter; no PoR"),
        (Spi(0x1E, 0x39), "1E39  CC, ciphered, counter must be the next; PoR always, CC, ciphered, by SMS-SUBMIT"),
        (
            Spi(0x09, 0x02),
            "0902  RC, not ciphered, counter not checked; PoR on error, no check, not ciphered, in the delivery report",
        ),
    ],
)
def test_spi_is_told_bit_by_bit(spi: Spi, text: str) -> None:
    assert spi_text(spi) == text


def test_parts_make_one_packet_in_any_order_and_none_may_be_missing() -> None:
    long = packet(data=b"\xaa\x82\x01\x2c" + bytes(300))
    parts = [find_packet(message.build()) for message in packet_messages(long, SENDER, 7, COMMAND_IE)]
    assert len(parts) == 3
    assert together(parts[::-1]).packet == long
    assert ("part", "2 of 3, reference 7") in parts[1].around
    with pytest.raises(DecodeError, match="missing"):
        together(parts[1:])


def response(spi: Spi, status: int = 0) -> bytes:
    header = Header(spi, 0x12, 0x12, EXPANDED)
    data = bytes.fromhex("AB07 8001 01 2302 9000".replace(" ", ""))
    return bytes.fromhex("027100") + seal_response(
        EXPANDED, SecuredResponse(5, 0, status, data), response_suite(header, KEYS), SMS_PP
    )


def test_an_answer_is_opened_as_its_command_asked() -> None:
    header = Header(Spi.of(), 0x12, 0x12, EXPANDED)
    found = find_packet(response(Spi.of()))
    assert found.is_response
    fields = dict(explain_packet(found, KEYS, header).answered)
    assert (fields["status"], fields["executed"], fields["answer"]) == ("00 ok", "1", "9000 ok")
    assert "status" not in dict(explain_packet(found).answered)
    assert "status" not in dict(explain_packet(found, OTHER, header).answered)


def test_an_error_in_clear_is_told_as_unprotected() -> None:
    clear = seal_response(EXPANDED, SecuredResponse(0, 0, 0x09, b""), Suite(), SMS_PP)
    for data in (b"\x02\x71\x00" + clear, clear, send_short_message(Submit(SENDER, b"\x02\x71\x00" + clear))):
        fields = told(data, KEYS)
        assert (fields["status"], fields["protection"]) == ("09 tar unknown", "none")


def test_any_bytes_are_a_packet_or_a_decode_error() -> None:
    rng = random.Random(80)
    whole = [*carriers(packet()).values(), response(Spi.of()), response(Spi.of(por_check=Check.NONE))]
    samples = [data[:cut] for data in whole for cut in range(len(data))]
    samples += [rng.randbytes(rng.randrange(60)) for _ in range(500)]
    for data in whole:
        for _ in range(60):
            changed = bytearray(data)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            samples.append(bytes(changed))
    seen = 0
    for sample in samples:
        for keys in (None, KEYS):
            try:
                found = find_packet(sample)
                if found.packet is not None:
                    explain_packet(found, keys, Header(Spi.of(), 0x12, 0x12, EXPANDED))
                    seen += 1
            except DecodeError:
                pass
    assert seen > 100


def test_lines_for_decode_say_of_a_part_what_it_is_a_part_of() -> None:
    long = packet(data=b"\xaa\x82\x01\x2c" + bytes(300))
    first = packet_messages(long, SENDER, 7, COMMAND_IE)[0]
    assert dict(packet_lines(envelope(first).data))["part"] == "1 of 3, reference 7"
    assert "SPI" in dict(packet_lines(packet()))


def test_what_is_no_packet_raises() -> None:
    for data in (b"", b"\0", Command(0x00, 0xA4, 4, 0, bytes(5)).encode()):
        with pytest.raises(DecodeError, match="no over-the-air packet"):
            find_packet(data)
    with pytest.raises(DecodeError):
        explain_packet(Found(is_response=False, packet=None))
