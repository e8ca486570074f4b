"""Keys of every kind on their way to a card, data that are stored there, and sets that change without being lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import pytest

from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.crypto.ec import EcPrivateKey
from keywright.crypto.rsa import RsaPrivateKey
from keywright.element import SecureElement
from keywright.errors import AuthenticationError, LinkError, PolicyError, StatusError, WireError
from keywright.globalplatform.dialogues.keys import describe_keys, put_key, put_key_fields
from keywright.globalplatform.dialogues.personalization import (
    install_for_personalization,
    store_and_answer,
    store_encrypted_groups,
    store_encrypted_objects,
    store_groups,
    store_keys,
    store_objects,
)
from keywright.globalplatform.dialogues.rotation import Rotation, Step, rotate_keys
from keywright.globalplatform.host import Dialogue, KcvMismatchError, key_information, on_channel, put_keys, secured
from keywright.globalplatform.key_data import KeyLoad, parse_put_key
from keywright.globalplatform.key_fields import CardKey, key_field
from keywright.globalplatform.key_information import KeyDescription
from keywright.globalplatform.messages import parse_dgi
from keywright.iso7816 import transmit
from keywright.iso7816.apdu import Command, Response
from keywright.link import Loopback
from keywright.sansio.dialogue import drive
from keywright.scp.padding import pad80
from keywright.scp.scp02.keys import KeySet as Scp02KeySet
from keywright.scp.scp03 import KeySet, open_channel
from keywright.scp.scp03.host import HostChannel
from keywright.scp.scp81.keys import Psk
from support.cards import HOST_CHALLENGE, OTHER, OWN, element
from support.scripts import refused, sent, talk

TEST = KeySet.gp_test()


class DesDek:
    """A data encryption key of triple DES, as a session of SCP02 has it."""

    def __init__(self) -> None:
        self.key = TripleDesKey(bytes(range(16)))

    @property
    def sensitive_block(self) -> int:
        return 8

    def encrypt_sensitive(self, data: bytes) -> bytes:
        return self.key.encrypt_blocks(data)


EC = EcPrivateKey.from_scalar("P-256", b"\x11" * 32)
EC_384 = EcPrivateKey.from_scalar("P-384", b"\x12" * 48)
RSA = RsaPrivateKey.generate(1024)
KEYS: dict[str, CardKey] = {
    "aes-128": AesKey(b"\x01" * 16),
    "aes-192": AesKey(b"\x02" * 24),
    "aes-256": AesKey(b"\x03" * 32),
    "des": TripleDesKey(bytes(range(16))),
    "psk": Psk(b"\x04" * 21),
    "ec private": EC,
    "ec private 384": EC_384,
    "rsa private": RSA,
}


def secret_of(key: CardKey) -> list[bytes]:
    """What the card must find in the secret components of a key."""
    if isinstance(key, EcPrivateKey):
        return [key.library_key().private_numbers().private_value.to_bytes(key.public.width)]
    if isinstance(key, RsaPrivateKey):
        numbers = key.library_key().private_numbers()
        five = (numbers.p, numbers.q, numbers.iqmp, numbers.dmp1, numbers.dmq1)
        return [number.to_bytes(64) for number in five]
    assert isinstance(key, AesKey | TripleDesKey | Psk)
    return [key.reveal()]


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("inner_length", [None, True])
@pytest.mark.parametrize("des", [False, True])
def test_a_card_opens_every_secret_that_was_sent(name: str, *, inner_length: bool | None, des: bool) -> None:
    key, dek = KEYS[name], DesDek() if des else OWN
    field = key_field(key, dek, inner_length=inner_length)
    (again,) = parse_put_key(b"\x30" + field.build()).keys
    assert again == field
    opened = []
    for part in again.parts[: len(secret_of(key))]:
        size, ciphertext = part.opened_size(8 if des else 16)
        clear = (
            dek.key.decrypt_blocks(ciphertext)
            if isinstance(dek, DesDek)
            else OWN.dek.decrypt_cbc(bytes(16), ciphertext)
        )
        opened.append(clear[:size])
        assert not any(clear[size:])
    assert opened == secret_of(key)


def test_the_forms_of_the_field_are_those_of_foreign_hosts() -> None:
    assert key_field(AesKey(bytes(16)), OWN).build()[:3].hex() == "881110"
    assert key_field(AesKey(bytes(16)), OWN, inner_length=False).build()[:2].hex() == "8810"
    assert key_field(AesKey(bytes(24)), OWN).build()[:3].hex() == "882118"
    assert key_field(TripleDesKey(bytes(range(16))), DesDek()).build()[:2].hex() == "8010"
    assert key_field(EC, OWN).build()[:2].hex() == "b120"
    assert key_field(EC, OWN).build()[-4:].hex() == "f0010000"
    assert key_field(EC.public, OWN).build().hex() == "b041" + EC.public.point.hex() + "f0010000"
    assert key_field(EC_384.public, OWN).build()[-4:].hex() == "f0010100"
    assert key_field(RSA.public, OWN).build().hex() == "a18180" + RSA.public.modulus.hex() + "a00301000100"
    psk = key_field(Psk(bytes(16)), OWN).build()
    assert (psk[:3].hex(), psk[-3:]) == ("851110", hashlib.sha1(bytes(16)).digest()[:3])


def test_usage_and_access_need_the_extended_format() -> None:
    field = key_field(AesKey(bytes(16)), OWN, usage=b"\x18", access=b"\x01")
    assert field.extended
    assert field.build()[:2].hex() == "ff88"
    assert field.build()[-4:].hex() == "01180101"


def test_put_key_of_several_kinds_and_one() -> None:
    one = Command.parse(bytes.fromhex(sent(put_key(EC.public, OWN, kvn=3, kid=0x13), ["039000"])[0]))
    assert (one.p1, one.p2, one.data[0]) == (0, 0x13, 3)
    keys = (AesKey(bytes(16)), AesKey(b"\x01" * 16))
    kcvs = keys[0].kcv() + keys[1].kcv()
    (text,) = sent(put_key(keys, OWN, kvn=0x31, kid=2, replace=0x30), ["31" + kcvs.hex() + "9000"])
    several = Command.parse(bytes.fromhex(text))
    assert (several.p1, several.p2, several.data[0]) == (0x30, 0x82, 0x31)


def test_a_long_key_goes_out_in_parts_and_its_answer_is_that_of_the_last() -> None:
    texts = sent(put_key(RSA, OWN, kvn=0x70, size=200), ["9000", "709000"])
    parts = [Command.parse(bytes.fromhex(text)) for text in texts]
    assert [(part.p1, part.p2) for part in parts] == [(0x80, 1), (0x00, 1)]
    assert len(parse_put_key(b"".join(part.data for part in parts)).keys[0].parts) == 5


def test_check_values_of_other_keys_are_found() -> None:
    assert isinstance(refused(put_key(AesKey(bytes(16)), OWN, kvn=0x30), ["30AABBCC9000"]), KcvMismatchError)


@pytest.mark.parametrize("numbers", [{"kvn": 0}, {"kvn": 0x80}, {"kvn": 1, "kid": 0}, {"kvn": 1, "replace": 0xFF}])
def test_numbers_that_cannot_be_are_a_mistake(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="01 to 7F"):
        talk(put_key_fields((key_field(AesKey(bytes(16)), OWN),), **numbers), [])


def test_a_set_of_triple_des_keys_is_put_under_a_des_session() -> None:
    new = Scp02KeySet.of(*(bytes((n,)) * 8 + bytes((n + 1,)) * 8 for n in (1, 4, 7)))
    (text,) = sent(put_keys(DesDek(), new, kvn=0x20), ["20" + new.kcvs.hex() + "9000"])
    fields = parse_put_key(Command.parse(bytes.fromhex(text)).data).keys
    assert [field.parts[0].type for field in fields] == [0x80] * 3
    assert DesDek().key.decrypt_blocks(fields[0].parts[0].value) == new.enc.reveal()


def test_key_information_is_told_with_usage_and_access() -> None:
    answer = "E012C00401308810C00A0270FFA1010001810100".replace(" ", "") + "9000"
    assert talk(describe_keys(), [answer])[0] == (
        KeyDescription(1, 0x30, ((0x88, 16),)),
        KeyDescription(2, 0x70, ((0xA1, 256),), b"\x81", b"\0"),
    )
    information = talk(key_information(), [answer])[0]
    assert information is not None
    assert information.versions == (0x30, 0x70)
    assert talk(describe_keys(), ["6A88"])[0] == ()
    assert isinstance(refused(describe_keys(), ["E003C001019000"]), WireError)


# ---- STORE DATA -------------------------------------------------------------------------------------------------


def test_personalization_begins_with_install() -> None:
    assert sent(install_for_personalization(bytes(5)), ["009000"]) == [
        "80E620000B0000" + "050000000000" + "000000" + "00"
    ]


def test_data_are_stored_in_clear_as_groups_and_as_objects() -> None:
    assert sent(store_groups([(0x0101, b"a"), (0x0102, b"b")])) == ["80E28800080101016101020162"]
    assert sent(store_objects([(0x5F50, b"a"), (0x42, b"b")])) == ["80E29000075F500161420162"]


def test_encrypted_values_are_padded_and_sealed_one_by_one() -> None:
    (text,) = sent(store_encrypted_groups([(0x0101, b"a"), (0x0102, bytes(16))], OWN))
    command = Command.parse(bytes.fromhex(text))
    assert command.p1 == 0xE8
    values = [OWN.dek.decrypt_cbc(bytes(16), value) for _, value in parse_dgi(command.data)]
    assert values == [pad80(b"a"), pad80(bytes(16))]
    (text,) = sent(store_encrypted_groups([(0x0101, bytes(16))], OWN, padding="zeros"))
    assert len(Command.parse(bytes.fromhex(text)).data) == 3 + 16
    (text,) = sent(store_encrypted_objects([(0x42, b"b")], DesDek()))
    command = Command.parse(bytes.fromhex(text))
    assert (command.p1, command.data[:2].hex()) == (0xF0, "4208")
    assert DesDek().key.decrypt_blocks(command.data[2:]) == b"b\x80" + bytes(6)


def test_data_may_be_answered() -> None:
    assert talk(store_and_answer(b"\x5c\x00"), ["AABB9000"]) == (b"\xaa\xbb", ["80E29100025C0000"])


def test_keys_are_announced_and_brought() -> None:
    load = KeyLoad(usage=b"\x3c", type=0x85, length=b"\x15", kid=1, kvn=0x40, kcv=Psk(b"\x04" * 21).kcv())
    (text,) = sent(store_keys([(load, b"\x04" * 21)], OWN))
    (announced, brought) = parse_dgi(Command.parse(bytes.fromhex(text)).data)
    assert (announced[0], brought[0]) == (0x00B9, 0x8113)
    assert OWN.dek.decrypt_cbc(bytes(16), brought[1]) == b"\x04" * 21 + bytes(11)


# ---- sessions ---------------------------------------------------------------------------------------------------


class Session:
    """A session of scripted bytes: it marks what it wraps and opens what is marked."""

    scp, i, kvn, channel, level, max_data, sensitive_block = 3, 0x70, 0x30, 5, 0x33, 200, 16

    def __init__(self) -> None:
        self.is_open = True

    def encrypt_sensitive(self, data: bytes) -> bytes:
        return OWN.encrypt_sensitive(data)

    def wrap(self, command: Command) -> Command:
        return Command(command.cla | 0x20, command.ins, command.p1, command.p2, b"\xee" + command.data, command.le)

    def unwrap(self, response: Response) -> Response:
        if response.data[:1] != b"\xee":
            self.close()
            raise AuthenticationError("no MAC")
        return Response(response.data[1:], response.sw)

    def secure(self, command: Command) -> Dialogue[Response]:
        return self.unwrap((yield self.wrap(command)))

    def close(self) -> None:
        self.is_open = False


def test_a_session_runs_on_its_own_logical_channel() -> None:
    (text,) = sent(secured(Session(), put_key(EC.public, OWN, kvn=3)), ["EE039000"])
    assert text.startswith("E1D80001"), "class of channel 5 with secure messaging"


def test_a_part_of_a_command_is_answered_bare_and_the_last_is_not() -> None:
    dialogue = secured(Session(), put_key(RSA, OWN, kvn=0x70, size=200))
    assert len(sent(dialogue, ["9000", "EE709000"])) == 2
    assert len(sent(secured(Session(), put_key(RSA, OWN, kvn=0x70, size=200)), ["EE9000", "EE709000"])) == 2
    for answers in (["9000", "9000"], ["AA9000"]):
        session = Session()
        error = refused(secured(session, put_key(RSA, OWN, kvn=0x70, size=200)), answers)
        assert isinstance(error, AuthenticationError)
        assert not session.is_open


def test_a_lost_answer_to_a_part_closes_the_session() -> None:
    session = Session()
    dialogue = secured(session, put_key(RSA, OWN, kvn=0x70, size=200))
    next(dialogue)
    with pytest.raises(LinkError):
        dialogue.throw(LinkError("gone"))
    assert not session.is_open


def test_what_is_on_a_channel_already_stays_there() -> None:
    def two() -> Dialogue[None]:
        yield Command(0x80, 0xCA, 0, 0x66)
        yield Command(0x81, 0xCA, 0, 0x66)

    assert sent(on_channel(2, two())) == ["82CA0066", "81CA0066"]


# ---- rotation ---------------------------------------------------------------------------------------------------


class Bench(NamedTuple):
    """A card, and what it was sent."""

    card: SecureElement
    sent: list[Command]

    def exchange(self, command: Command) -> Response:
        self.sent.append(command)
        return transmit(Loopback(self.card))(command)


def bench() -> Bench:
    return Bench(element(), [])


def open_session(keys: KeySet, kvn: int) -> Dialogue[HostChannel]:
    return open_channel(keys, HOST_CHALLENGE, kvn=kvn)


def rotation(old: tuple[KeySet, int], new: tuple[KeySet, int]) -> Dialogue[Rotation]:
    return rotate_keys(open_session, old, new)


OLD, NEW = (TEST, 0xFF), (OWN, 0x31)


def answers(card: SecureElement, keys: KeySet, kvn: int) -> bool:
    """Whether the card opens a session of these keys."""
    try:
        drive(open_session(keys, kvn), transmit(Loopback(card)))
    except (StatusError, AuthenticationError):
        return False
    return True


def test_new_keys_are_put_proved_and_then_the_old_ones_are_gone() -> None:
    here = bench()
    found = drive(rotation(OLD, NEW), here.exchange)
    assert found.steps == (Step.PUT, Step.PROVED), "the card forgets its initial set by itself"
    assert found.versions == (0x31,)
    again = drive(rotation(NEW, (OTHER, 0x32)), here.exchange)
    assert again.steps == (Step.PUT, Step.PROVED, Step.DELETED)
    assert again.versions == (0x32,)
    assert answers(here.card, OTHER, 0x32)
    assert not answers(here.card, OWN, 0x31)


def test_the_old_set_is_deleted_only_after_the_new_one_has_authenticated() -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)
    here.sent.clear()
    drive(rotation(NEW, (OTHER, 0x32)), here.exchange)
    order = [command.ins for command in here.sent]
    put, last_authenticate, delete = order.index(0xD8), len(order) - 1 - order[::-1].index(0x82), order.index(0xE4)
    assert put < last_authenticate < delete


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("cut", range(14))
def test_cut_off_anywhere_the_card_answers_and_another_run_ends_it(cut: int, *, arrives: bool) -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)
    count = 0

    def exchange(command: Command) -> Response:
        nonlocal count
        count += 1
        if count == cut + 1:
            if arrives:
                here.exchange(command)
            raise LinkError("gone")
        return here.exchange(command)

    first = rotation(NEW, (OTHER, 0x32))
    try:
        drive(first, exchange)
    except LinkError:
        here.card.handle(bytes.fromhex("00A4040000"))
        assert answers(here.card, OWN, 0x31) or answers(here.card, OTHER, 0x32)
    here.card.handle(bytes.fromhex("00A4040000"))
    found = drive(rotation(NEW, (OTHER, 0x32)), here.exchange)
    assert found.versions == (0x32,)
    assert answers(here.card, OTHER, 0x32)
    assert not answers(here.card, OWN, 0x31)


def test_a_run_that_has_nothing_left_to_do_proves_the_keys_and_ends() -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)
    found = drive(rotation(OLD, NEW), here.exchange)
    assert found.steps == (Step.PROVED,)
    assert not any(command.ins in (0xD8, 0xE4) for command in here.sent[-6:])


def test_a_version_number_that_other_keys_have_is_left_alone() -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)
    here.sent.clear()
    with pytest.raises(PolicyError, match="holds other keys"):
        drive(rotation((TEST, 0x30), (OTHER, 0x31)), here.exchange)
    assert not any(command.ins in (0xD8, 0x82, 0xE4) for command in here.sent)


def test_the_same_version_number_could_not_be_proved() -> None:
    with pytest.raises(ValueError, match="another version number"):
        drive(rotation(NEW, (OTHER, 0x31)), bench().exchange)


def test_new_keys_that_do_not_prove_themselves_leave_the_old_ones() -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)

    def corrupt(command: Command) -> Response:
        response = here.exchange(command)
        if command.ins == 0x50 and command.p1 == 0x32 and response.sw == 0x9000:
            return Response(response.data[:-4] + bytes(4), response.sw)
        return response

    with pytest.raises(AuthenticationError):
        drive(rotation(NEW, (OTHER, 0x32)), corrupt)
    assert answers(here.card, OWN, 0x31)


def test_the_old_set_may_stay() -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)
    found = drive(rotate_keys(open_session, NEW, (OTHER, 0x32), delete_old=False), here.exchange)
    assert found.steps == (Step.PUT, Step.PROVED)
    assert found.versions == (0x31, 0x32)


def refusing(ins: int, sw: int, here: Bench) -> Callable[[Command], Response]:
    return lambda command: Response(b"", sw) if command.ins == ins else here.exchange(command)


@pytest.mark.parametrize(("ins", "sw"), [(0xD8, 0x6A84), (0xE4, 0x6985), (0x50, 0x6983)])
def test_a_refusal_ends_the_rotation_and_the_card_answers(ins: int, sw: int) -> None:
    here = bench()
    drive(rotation(OLD, NEW), here.exchange)
    with pytest.raises((StatusError, AuthenticationError)):
        drive(rotation(NEW, (OTHER, 0x32)), refusing(ins, sw, here))
    assert answers(here.card, OWN, 0x31) or answers(here.card, OTHER, 0x32)
