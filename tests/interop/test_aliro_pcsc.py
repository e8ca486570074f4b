"""A fob with the Aliro applet in a reader: personalised and let in through a real PC/SC daemon."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from interop.pcscd import READER, Insert
from keywright.aliro.access import Situation
from keywright.aliro.credential import GroupRecord
from keywright.aliro.documents.access_data import AccessData, AccessRule, Capability
from keywright.aliro.documents.document import Validity
from keywright.aliro.documents.verification import Trust
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.lock import Lock, Settings
from keywright.aliro.messages import EXPEDITED_AID, STEP_UP_AID, Signaling
from keywright.crypto.ec import EcPublicKey
from keywright.fob.aliro import host
from keywright.fob.aliro.applet import AliroApplet
from keywright.fob.aliro.messages import Credential, Dgi
from keywright.globalplatform.host import Dialogue, secured, select
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.layers import transmit
from keywright.link import PcscLink
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import KeySet, open_channel
from keywright.store import RamMemory
from support.aliro import GROUP, fresh, key, reader, stream
from support.cards import HOST_CHALLENGE, element

NOW = 1_790_000_000


def through_scp03(send: Callable[[Command], Response], dialogue: Dialogue[object]) -> object:
    drive(select(EXPEDITED_AID), send)
    session = drive(open_channel(KeySet.gp_test(), HOST_CHALLENGE, level=0x33), send)
    return drive(secured(session, dialogue), send)


@pytest.mark.parametrize("extended", [False, True])
def test_a_fob_in_a_reader_is_made_a_key_and_opens_a_door(insert: Insert, *, extended: bool) -> None:
    insert(element(applets=[AliroApplet(aid, stream(aid.hex())) for aid in (EXPEDITED_AID, STEP_UP_AID)]))
    with closing(PcscLink(READER, extended=extended)) as link:
        send = transmit(link)
        point = through_scp03(send, host.generate_key_pair(0))
        assert isinstance(point, bytes)
        issuer = CredentialIssuer(key("credential issuer"), stream("issuer"))
        access = AccessData(rules=(AccessRule(Capability.UNSECURE),))
        public = EcPublicKey.from_point("P-256", point)
        document = issuer.access_document(public, {"door": access}, Validity(NOW - 60, NOW - 60, NOW + 3600))
        credential = Credential(Signaling.SELECT_STEP_UP, (GroupRecord(GROUP, key("reader").public.point),), b"")
        contents = {Dgi.CREDENTIAL: credential.build(), Dgi.ACCESS_DOCUMENT: document.build()}
        through_scp03(send, host.store(0, contents, size=200))
        lock = Lock(reader(), RamMemory(), Trust.of((issuer.public,)), Settings(elements=("door",)))
        first = drive(lock.unlock(fresh("1"), Situation(now=NOW)), send)
        second = drive(lock.unlock(fresh("2"), Situation(now=NOW)), send)
    assert (first.granted, first.is_fast, first.credential) == (True, False, public)
    assert (second.granted, second.is_fast) == (True, True)
