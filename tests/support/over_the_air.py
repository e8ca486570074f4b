"""A card end of SCP80 for tests: its key sets, its counters, and applications that keep what they are given."""

from __future__ import annotations

from typing import Any

from keywright.crypto.aes import AesKey
from keywright.scp.scp80.card import ReceivingEntity
from keywright.scp.scp80.keys import KeySet, OtaKey, des_key
from keywright.scp.scp80.messages import BINDINGS, SMS_PP, TCP_IP, Binding, CheckAlgorithm, CipherAlgorithm, Spi
from keywright.scp.scp80.packet import Header
from keywright.scp.scp80.profile import STRICT, Profile
from keywright.scp.transport import TransportSession
from support.vectors import Case, unhex

OLD = Profile(single_des=True, aes_needs_counter=False, answer_as_command=False)
"""What packets of past releases need."""

_BINDING = {"sms": SMS_PP, "cat_tp": BINDINGS["CAT_TP"], "ussd": BINDINGS["USSD"], "tcp_ip": TCP_IP}


class Rooms:
    """Key sets by number, counters by owner, in the order in which they were committed."""

    def __init__(self, keys: dict[int, KeySet], counters: dict[bytes, int] | None = None) -> None:
        self.keys = keys
        self.counters = dict(counters or {})
        self.commits: list[tuple[bytes, int]] = []

    def key_set(self, kvn: int, tar: bytes, /) -> KeySet | None:
        return self.keys.get(kvn)

    def counter(self, owner: bytes, /) -> int:
        return self.counters.get(owner, 0)

    def commit(self, owner: bytes, counter: int, /) -> None:
        self.counters[owner] = counter
        self.commits.append((owner, counter))


class Recorder:
    """An application that answers with the same data always, and keeps data and level of what it got."""

    def __init__(self, answer: bytes = b"", msl: int = 0) -> None:
        self.answer = answer
        self.msl = msl
        self.got: list[tuple[bytes, int]] = []

    def receive(self, data: bytes, session: TransportSession, /) -> bytes:
        self.got.append((data, session.protection))
        return self.answer


def receiving(
    rooms: Rooms, application: Recorder, tar: bytes = bytes(3), profile: Profile = STRICT, binding: Binding = SMS_PP
) -> ReceivingEntity:
    """The card end with one application."""
    return ReceivingEntity({tar: application}, rooms, rooms, binding=binding, profile=profile)


def key_of(raw: bytes, indicator: int, label: str) -> OtaKey | None:
    """The key that a KIc or KID byte asks for."""
    if not raw:
        return None
    return AesKey(raw, label) if indicator & 3 == 2 else des_key(raw, label)


def key_set_of(case: Case) -> KeySet:
    """The key set of a recorded packet."""
    kic, kid = int(case.get("kic", "00"), 16), int(case.get("kid", "00"), 16)
    return KeySet(
        key_of(unhex(case.get("kic_key", "")), kic, "KIc"),
        key_of(unhex(case.get("kid_key", "")), kid, "KID"),
        mac_length=case.get("cc_len", 8),
        cipher=CipherAlgorithm.TDES_ECB if case.get("cipher_algorithm") == "3DES-ECB" else None,
        checksum=CheckAlgorithm(case["rc_algorithm"]) if "rc_algorithm" in case else None,
    )


def header_of(case: Case) -> Header:
    """The parameters of a recorded packet."""
    spi = Spi.parse(unhex(case.get("spi", "0000")))
    kic, kid = int(case.get("kic", "00"), 16), int(case.get("kid", "00"), 16)
    return Header(spi, kic, kid, unhex(case["tar"]) if "tar" in case else bytes(3), int(case.get("cntr", "0"), 16))


def binding_of(case: Case) -> Binding:
    """The transport of a recorded packet."""
    return _BINDING[case["transport"]]


def flipped(data: bytes, bit: int) -> bytes:
    """The same with one bit the other way."""
    changed = bytearray(data)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def sending_settings(case: Case, **changes: Any) -> dict[str, Any]:
    """Arguments of `SendingEntity` for a recorded packet."""
    at = header_of(case)
    settings = {"keys": key_set_of(case), "tar": at.tar, "spi": at.spi, "kic": at.kic, "kid": at.kid}
    return settings | {"binding": binding_of(case), "profile": OLD} | changes
