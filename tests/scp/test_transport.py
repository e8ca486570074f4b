"""The session of commands that a packet or TLS has protected."""

from __future__ import annotations

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.scp.scp80.card import ReceivingEntity
from keywright.scp.scp80.host import SendingEntity
from keywright.scp.scp80.keys import KeySet, PacketDek
from keywright.scp.session import CardSession
from keywright.scp.transport import TransportSession
from support.over_the_air import Rooms

FULL: CardSession = TransportSession(0x81, 0xB3, 0x40)


def test_its_level_and_who_speaks_are_those_of_the_transport() -> None:
    assert (FULL.scp, FULL.level, FULL.authentication) == (0x81, 0x33, 0x80)
    nobody = TransportSession(0x80, 0x02)
    assert (nobody.level, nobody.authentication) == (None, 0)


def test_commands_and_answers_pass_as_they_are() -> None:
    command = Command(0x80, 0xF2, 0x80, 2, b"\x4f\0", 0)
    assert FULL.unwrap(command) == command
    assert FULL.wrap(Response(b"data")) == Response(b"data")


@pytest.mark.parametrize("cla", [0x84, 0x0C, 0xE0])
def test_secure_messaging_inside_is_refused(cla: int) -> None:
    with pytest.raises(Refusal) as refusal:
        FULL.unwrap(Command(cla, 0xF2, 0, 0))
    assert refusal.value.sw == 0x6982


def test_there_is_no_response_mac_to_begin_or_end() -> None:
    for call in (lambda: FULL.begin_r_mac(0x10, b""), lambda: FULL.end_r_mac(0x03)):
        with pytest.raises(Refusal) as refusal:
            call()
        assert refusal.value.sw == 0x6985


@pytest.mark.parametrize("kik", [AesKey(bytes(range(16))), TripleDesKey(bytes(range(24)))], ids=["AES", "3DES"])
def test_sensitive_data_in_a_packet_is_under_the_kik_of_its_key_set(kik: AesKey | TripleDesKey) -> None:
    class Opening:
        msl = 0x16
        opened = b""

        def receive(self, data: bytes, session: TransportSession, /) -> bytes:
            assert (session.scp, session.kvn) == (0x80, 1)
            self.opened = session.decrypt_sensitive(data)
            with pytest.raises(Refusal, match="6A80"):
                session.decrypt_sensitive(data + b"x")
            return b""

    plain = AesKey(bytes(16)), AesKey(bytes(16))
    keys, application = KeySet(*plain, kik), Opening()
    rooms = Rooms({1: keys})
    data = PacketDek(kik).encrypt_sensitive(bytes(48))
    ReceivingEntity({bytes(3): application}, rooms, rooms).handle(SendingEntity(keys, bytes(3)).seal(data, 1))
    assert application.opened == bytes(48)


def test_without_a_key_for_it_sensitive_data_is_refused() -> None:
    assert FULL.sensitive_block == 1
    with pytest.raises(Refusal) as refusal:
        FULL.decrypt_sensitive(bytes(16))
    assert refusal.value.sw == 0x6985
