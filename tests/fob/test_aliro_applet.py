"""The Aliro applet on a virtual element: personalised through SCP03, used by a reader, step-up included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro.cache import PersistentKeys
from keywright.aliro.credential import GroupRecord
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import ACCESS, Validity
from keywright.aliro.documents.exchange import DeviceRequest, DeviceResponse, DocumentRequest
from keywright.aliro.documents.verification import Trust, verify
from keywright.aliro.exchange import MailboxRequest, Read, Write
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.messages import EXPEDITED_AID, STEP_UP_AID, ReaderStatus, Signaling
from keywright.aliro.reader import Opened, Plan, Reader, authenticate, finish, request_documents, use_mailbox
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import StatusError
from keywright.fob.aliro import host
from keywright.fob.aliro.applet import AliroApplet
from keywright.fob.aliro.messages import Credential, Dgi
from keywright.globalplatform.host import Dialogue, secured
from keywright.iso7816.layers import complete, transmit
from keywright.sansio.dialogue import drive, through
from keywright.store import RamMemory
from support.aliro import GROUP, SUB_GROUP, fresh, key, reader, stream
from support.cards import Terminal, element

NOW = 1_790_000_000
MAILBOX = b"first" + bytes(27)


def terminal(memory: RamMemory | None = None) -> Terminal:
    applets = [AliroApplet(aid, stream(aid.hex())) for aid in (EXPEDITED_AID, STEP_UP_AID)]
    return Terminal(element(memory=memory or RamMemory(), applets=applets))


class Lock:
    """A link to the element that takes extended length."""

    extended = True

    def __init__(self, here: Terminal) -> None:
        self.exchange = here.card.handle


def run(here: Terminal, dialogue: Dialogue[object]) -> object:
    """A dialogue of the line, through SCP03."""
    here.select(EXPEDITED_AID)
    session = here.authenticate()
    return drive(through(secured(session.host, dialogue), complete), here.exchange)


def personalise(here: Terminal, *, number: int = 0) -> EcPublicKey:
    """A credential whose key was made on card, for the readers of `key("reader")`, with a document and a mailbox."""
    point = run(here, host.generate_key_pair(number))
    assert isinstance(point, bytes)
    public = EcPublicKey.from_point("P-256", point)
    issuer = CredentialIssuer(key("credential issuer"), stream("issuer"))
    access = AccessData(rules=(AccessRule(Capability.UNSECURE),))
    document = issuer.access_document(public, {"door": access}, Validity(NOW - 60, NOW - 60, NOW + 3600))
    credential = Credential(Signaling.SELECT_STEP_UP, (GroupRecord(GROUP, key("reader").public.point),), b"")
    contents = {Dgi.CREDENTIAL: credential.build(), Dgi.ACCESS_DOCUMENT: document.build(), Dgi.MAILBOX: MAILBOX}
    run(here, host.store(number, contents, size=200))
    for group, content in contents.items():
        assert run(here, host.read(group, number)) == content
    assert run(here, host.read_public_key(number)) == point
    return public


def opened(here: Terminal, plan: Plan, keys: PersistentKeys, seed: str = "1") -> Opened:
    return drive(authenticate(reader(), plan, fresh(seed), keys), transmit(Lock(here)))


def test_a_fob_with_a_key_made_on_card_opens_a_lock_by_all_phases() -> None:
    here = terminal()
    public = personalise(here)
    send, keys = transmit(Lock(here)), PersistentKeys()
    first = opened(here, Plan(), keys)
    assert first.credential == public
    assert first.signaling & Signaling.ACCESS_DOCUMENT
    answer = drive(use_mailbox(first, MailboxRequest((Read(0, 5), Write(0, b"again")))), send)
    assert answer.reads == (b"first",)
    request = DeviceRequest((DocumentRequest(ACCESS, {"door": False}),))
    response = DeviceResponse.parse(drive(request_documents(first, request.build()), send))
    document = response.document(ACCESS)
    assert document is not None
    trust = Trust.of((key("credential issuer").public,))
    verified = verify(document, trust, doc_type=ACCESS, device_key=first.credential, now=NOW)
    assert AccessData.read(verified.elements["door"]).rules[0].capabilities == Capability.UNSECURE
    drive(finish(first, ReaderStatus.UNSECURED), send)
    assert first.kept is not None
    keys.keep(first.kept)
    here.card.reset()
    second = opened(here, Plan(), keys, "2")
    assert second.is_fast
    drive(finish(second, ReaderStatus.SECURED), send)


def test_writing_the_credential_again_forgets_the_kept_keys() -> None:
    here, keys = terminal(), PersistentKeys()
    personalise(here)
    kept = opened(here, Plan(), keys).kept
    assert kept is not None
    keys.keep(kept)
    assert opened(here, Plan(), keys, "2").is_fast
    other = Credential(0, (GroupRecord(GROUP, key("reader").public.point),), b"")
    run(here, host.store(0, {Dgi.CREDENTIAL: other.build()}, size=200))
    assert not opened(here, Plan(), keys, "3").is_fast


def test_the_step_up_aid_alone_has_no_keys_and_other_channels_none_of_this_one() -> None:
    here = terminal()
    personalise(here)
    assert here.select(STEP_UP_AID).sw == 0x9000
    assert here(0x00, 0xC3, 0, 0, b"\x53\x00", 0).sw == 0x6985
    opened(here, Plan(fast=False), PersistentKeys())
    assert here(0x00, 0x70, 0, 0, le=1).data == b"\1"
    other = Terminal(here.card, 1)
    assert other.select(STEP_UP_AID).sw == 0x9000
    assert other(0x00, 0xC3, 0, 0, b"\x53\x00", 0).sw == 0x6985


def test_another_application_between_ends_the_transaction() -> None:
    here = terminal()
    personalise(here)
    opened(here, Plan(fast=False), PersistentKeys())
    here.select()
    here.select(STEP_UP_AID)
    assert here(0x00, 0xC3, 0, 0, b"\x53\x00", 0).sw == 0x6985


@pytest.mark.parametrize("number", [0, 7])
def test_a_key_pair_is_made_once_and_its_private_half_cannot_be_read(number: int) -> None:
    here = terminal()
    run(here, host.generate_key_pair(number))
    with pytest.raises(StatusError, match="6985"):
        run(here, host.generate_key_pair(number))
    for group in (0x0000, 0xDF0F, 0xDF14, 0x7F48):
        assert run(here, host.read(group, number)) is None


@pytest.mark.parametrize(("ins", "data"), [(0x46, b""), (0xCA, b"\0"), (0xE2, b"\0")])
def test_the_line_s_commands_need_a_session_with_c_mac(ins: int, data: bytes) -> None:
    here = terminal()
    here.select(EXPEDITED_AID)
    assert here(0x80, ins, 0x88 if ins == 0xE2 else 0xDF if ins == 0xCA else 0, 0x10, data, 0).sw == 0x6982
    assert here.select(STEP_UP_AID).sw == 0x9000
    assert here(0x80, ins, 0, 0, data, 0).sw in (0x6D00, 0x6985)


@pytest.mark.parametrize(
    ("group", "content", "sw"),
    [
        (Dgi.CREDENTIAL, b"", "6A80"),
        (Dgi.CREDENTIAL, b"\0\0\1" + bytes(80), "6A80"),
        (Dgi.MAILBOX, bytes(2049), "6A84"),
        (Dgi.ACCESS_DOCUMENT, b"no document", "6A80"),
        (Dgi.REVOCATION_DOCUMENT, b"\xa0", "6A80"),
        (Dgi.CREDENTIAL, Credential(0, (), b"2026-01-01 00:00:00Z").build(), "6A80"),
        (Dgi.CREDENTIAL, Credential(0, (), b"\xff" * 20).build(), "6A80"),
        (Dgi.PUBLIC_KEY, bytes(65), "6A88"),
        (0xDF14, b"", "6A88"),
    ],
)
def test_a_group_that_is_wrong_is_refused_and_nothing_is_written(group: int, content: bytes, sw: str) -> None:
    memory = RamMemory()
    here = terminal(memory)
    run(here, host.generate_key_pair(0))
    before = {name: memory.load(name) for name in memory.names() if name.startswith("applet/")}
    with pytest.raises(StatusError, match=sw):
        run(
            here,
            host.store(0, {Dgi.MAILBOX: b"x", group: content} if group != Dgi.MAILBOX else {group: content}, size=200),
        )
    assert {name: memory.load(name) for name in memory.names() if name.startswith("applet/")} == before


def test_a_credential_without_a_key_pair_or_beyond_the_last_is_refused() -> None:
    here = terminal()
    credential = Credential(0, (GroupRecord(GROUP, key("reader").public.point),), b"")
    with pytest.raises(StatusError, match="6985"):
        run(here, host.store(0, {Dgi.CREDENTIAL: credential.build()}, size=200))
    with pytest.raises(StatusError, match="6A88"):
        run(here, host.generate_key_pair(8))


def test_two_credentials_of_one_fob_do_not_mix() -> None:
    here = terminal()
    first = personalise(here)
    point = run(here, host.generate_key_pair(1))
    assert isinstance(point, bytes)
    other = EcPrivateKey.from_scalar("P-256", b"\x55" * 32)
    credential = Credential(0, (GroupRecord(bytes(16), other.public.point),), b"2026-01-01T00:00:00Z")
    run(here, host.store(1, {Dgi.CREDENTIAL: credential.build()}, size=200))
    second = Reader(other, bytes(16) + SUB_GROUP)
    found = drive(authenticate(second, Plan(), fresh("x"), PersistentKeys()), transmit(Lock(here)))
    assert (found.credential.point, found.credential_signed) == (point, b"2026-01-01T00:00:00Z")
    assert opened(here, Plan(), PersistentKeys()).credential == first
    assert first.point != point


def test_a_document_of_the_other_kind_is_refused() -> None:
    here = terminal()
    public = personalise(here)
    issuer = CredentialIssuer(key("credential issuer"), stream("issuer"))
    valid = Validity(NOW - 60, NOW - 60, NOW + 3600)
    document = issuer.access_document(public, {"door": AccessData()}, valid)
    with pytest.raises(StatusError, match="6A80"):
        run(here, host.store(0, {Dgi.REVOCATION_DOCUMENT: document.build()}, size=200))
    run(here, host.store(0, {Dgi.ACCESS_DOCUMENT: b""}, size=200))
    assert run(here, host.read(Dgi.ACCESS_DOCUMENT, 0)) is None


def test_a_document_that_is_damaged_in_the_memory_hides_no_other() -> None:
    memory = RamMemory()
    here = terminal(memory)
    personalise(here)
    (name,) = [name for name in memory.names() if name.endswith("access/0")]
    memory.commit({name.replace("access", "revocation"): b"damaged"})
    here = terminal(memory)
    first = opened(here, Plan(), PersistentKeys())
    request = DeviceRequest((DocumentRequest(ACCESS, {"door": False}),))
    answer = drive(request_documents(first, request.build()), transmit(Lock(here)))
    assert DeviceResponse.parse(answer).document(ACCESS) is not None


def test_a_credential_that_is_damaged_in_the_memory_is_named_to_the_line() -> None:
    memory = RamMemory()
    here = terminal(memory)
    personalise(here)
    (name,) = [name for name in memory.names() if name.endswith("credential/0")]
    memory.commit({name: b"damaged"})
    here = terminal(memory)
    with pytest.raises(StatusError, match="6581"):
        run(here, host.read(Dgi.CREDENTIAL, 0))


def test_a_credential_without_reader_groups_opens_nothing_and_keeps_its_key() -> None:
    here = terminal()
    public = personalise(here)
    run(here, host.store(0, {Dgi.CREDENTIAL: Credential(0, ()).build()}, size=200))
    with pytest.raises(StatusError, match="6982"):
        opened(here, Plan(fast=False), PersistentKeys())
    assert run(here, host.read_public_key(0)) == public.point


def test_the_private_key_is_in_one_record() -> None:
    memory = RamMemory()
    here = terminal(memory)
    personalise(here)
    kept = {name: memory.load(name) or b"" for name in memory.names()}
    (secret,) = [EcPrivateKey.from_pkcs8(kept[name], "P-256") for name in kept if name.endswith("/key/0")]
    scalar = secret.library_key().private_numbers().private_value.to_bytes(32)
    assert [name.rpartition("/key/")[2] for name, value in kept.items() if scalar in value] == ["0"]


def test_in_an_atomic_session_of_the_mailbox_the_line_s_commands_are_6900_too() -> None:
    here = terminal()
    personalise(here)
    for ins in (0x46, 0xCA, 0xE2):
        first = opened(here, Plan(fast=False), PersistentKeys())
        drive(use_mailbox(first, MailboxRequest((), continues=True)), transmit(Lock(here)))
        assert here(0x80, ins, 0, 0, le=0).sw == 0x6900
        assert here(0x80, ins, 0, 0, le=0).sw != 0x6900
        here.card.reset()


@given(
    is_secured=st.booleans(),
    ins=st.integers(0, 255),
    p1=st.integers(0, 255),
    p2=st.integers(0, 255),
    data=st.binary(max_size=80),
)
def test_any_command_gets_an_answer_and_no_fault(*, is_secured: bool, ins: int, p1: int, p2: int, data: bytes) -> None:
    here = terminal()
    here.select(EXPEDITED_AID)
    send = here.authenticate(0x01) if is_secured else here
    assert send(0x80, ins, p1, p2, data, 0).sw >> 12 in (6, 9)
