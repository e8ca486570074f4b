"""What a device answers a reader that is right."""

from __future__ import annotations

from collections.abc import Iterator

from keywright.aliro import certificates
from keywright.aliro.conformance.cases import ERASED, Play, scenario
from keywright.aliro.conformance.outcome import Nonconformity, NotConfigured, Scenario
from keywright.aliro.conformance.tester import Bench, Tester, command_of
from keywright.aliro.exchange import Exchange
from keywright.aliro.messages import (
    STEP_UP_AID,
    Auth0,
    Auth1,
    ControlFlow,
    Ins,
    Policy,
    ReaderStatus,
)
from keywright.aliro.reader import Dialogue
from keywright.codec.ber import item, items
from keywright.iso7816.apdu import Command


def _select(t: Tester) -> Dialogue[None]:
    yield from t.select()


def _select_twice(t: Tester) -> Dialogue[None]:
    first = yield from t.select()
    second = yield from t.select()
    if first != second:
        raise Nonconformity.of_bytes("SELECT, the second time", [first], second)


def _select_step_up(t: Tester) -> Dialogue[None]:
    data = yield from t.select(STEP_UP_AID)
    if item(0x84, STEP_UP_AID) not in data:
        raise Nonconformity("SELECT", "the step-up AID in 84", data.hex().upper())


def _auth0(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()


def _auth0_is_fresh(t: Tester) -> Dialogue[None]:
    seen = set()
    for _ in range(2):
        yield from t.select()
        answer = yield from t.auth0()
        seen.add(answer.ephemeral)
    if len(seen) != 2:
        raise Nonconformity("AUTH0", "a new ephemeral key each time", "the same one")


def _auth0_fast(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0(parameters=Auth0.FAST)


def _standard(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()


def _after_fast_miss(t: Tester) -> Dialogue[None]:
    yield from t.open_channel(fast=True)


def _key_slot(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    answer = yield from t.auth1(parameters=0)
    known = t.bench.credential
    if known is not None and answer.key_slot != certificates.key_slot(known.point):
        raise Nonconformity("AUTH1", "the key slot of the credential", "another")


def _fast(t: Tester) -> Dialogue[None]:
    answer = yield from t.open_channel()
    yield from t.exchange(Exchange(status=ReaderStatus.SECURED))
    kept, public = t.kept, answer.public_key
    if kept is None or public is None:
        raise NotConfigured("no Kpersistent")
    again = Tester(t.bench, "fast, second", t.reader)
    yield from again.select()
    yield from again.auth0(parameters=Auth0.FAST)
    from keywright.crypto.ec import EcPublicKey  # noqa: PLC0415 - this case alone

    status = again.open_fast(kept, EcPublicKey.from_point("P-256", public))
    if status is None:
        raise Nonconformity("AUTH0", "a cryptogram of the Kpersistent agreed on before", "another")
    if status.signaling.to_bytes(2)[-len(answer.signaling) :] != answer.signaling:
        raise Nonconformity("AUTH0", "the signaling bitmap of AUTH1", f"{status.signaling:04X}")
    yield from again.exchange(Exchange(status=ReaderStatus.UNSECURED))


def _two_cryptograms(t: Tester) -> Dialogue[None]:
    seen = set()
    for _ in range(2):
        yield from t.select()
        answer = yield from t.auth0(parameters=Auth0.FAST)
        seen.add(answer.cryptogram)
    if len(seen) != 2:
        raise Nonconformity("AUTH0", "a new cryptogram each time", "the same one")


def _load_cert(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    t.good((yield command_of(Ins.LOAD_CERT, t.reader.certificate)), "LOAD CERT")
    yield from t.auth1()


def _cert_in_auth1(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    yield from t.auth1(certificate=t.reader.certificate)


def _secure_action(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0(policy=Policy.USER_DEVICE_SETTING_SECURE_ACTION)
    yield from t.auth1()


def _control_flow(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0()
    flow = ControlFlow(ControlFlow.FAILURE, ControlFlow.NO_INFORMATION)
    t.good((yield command_of(Ins.CONTROL_FLOW, flow.build())), "CONTROL FLOW")
    yield from t.erased()


def _no_version(t: Tester) -> Dialogue[None]:
    yield from t.select()
    flow = ControlFlow(ControlFlow.FAILURE, ControlFlow.NO_VERSION)
    t.good((yield command_of(Ins.CONTROL_FLOW, flow.build())), "CONTROL FLOW")
    t.refused((yield command_of(Ins.AUTH0, t.auth0_fields().build())), "AUTH0 after CONTROL FLOW", ERASED)


def _chained(t: Tester) -> Dialogue[None]:
    yield from t.select()
    data = t.auth0_fields().build()
    part = Command(0x90, Ins.AUTH0, 0, 0, data[:100])
    t.good((yield part), "AUTH0, first part")
    t.good((yield command_of(Ins.AUTH0, data[100:])), "AUTH0, last part")


def _vendor(t: Tester) -> Dialogue[None]:
    yield from t.select()
    yield from t.auth0(vendor=b"keywright")
    yield from t.auth1()


def _one_session(t: Tester) -> Dialogue[None]:
    yield from t.open_channel()
    yield from t.select()
    t.refused((yield command_of(Ins.EXCHANGE, bytes(32))), "EXCHANGE after SELECT", ERASED)


def nominal() -> Iterator[Scenario[Bench]]:
    """A reader that is right, phase by phase."""
    for name, text, play in (
        ("select", "SELECT answers AID, type and versions", _select),
        ("select twice", "SELECT is the same every time", _select_twice),
        ("select step-up", "SELECT of the step-up AID answers that AID", _select_step_up),
        ("auth0", "AUTH0 without the fast phase: an ephemeral key and no cryptogram", _auth0),
        ("auth0 fresh", "the ephemeral key is new in each transaction", _auth0_is_fresh),
        ("auth0 fast", "AUTH0 with the fast phase: a cryptogram of 64 bytes", _auth0_fast),
        ("cryptogram fresh", "the cryptogram is new in each transaction", _two_cryptograms),
        ("standard", "AUTH1: channel open, signature verified", _standard),
        ("standard after a miss", "AUTH1 after a cryptogram that was not used", _after_fast_miss),
        ("key slot", "AUTH1 with the key slot in place of the public key", _key_slot),
        ("fast", "the next transaction is fast with the Kpersistent of this one", _fast),
        ("secure action", "authentication policy 02", _secure_action),
        ("control flow", "CONTROL FLOW ends the transaction", _control_flow),
        ("no common version", "CONTROL FLOW 27 right after SELECT", _no_version),
        ("chained command", "AUTH0 in two parts", _chained),
        ("vendor field", "AUTH0 with B1: it goes into the keys", _vendor),
        ("select ends it", "SELECT ends an open transaction", _one_session),
    ):
        yield scenario("nominal", name, text, play)
    yield scenario("nominal", "load cert", "a certificate by LOAD CERT", _load_cert, certified=True)
    yield scenario("nominal", "certificate in auth1", "a certificate in AUTH1", _cert_in_auth1, certified=True)


def _form(t: Tester, identifier: bytes, *, fast: bool) -> Dialogue[list[tuple[int, int]]]:
    yield from t.select()
    command = t.auth0_fields(parameters=Auth0.FAST if fast else 0, reader_identifier=identifier)
    data = t.good((yield command_of(Ins.AUTH0, command.build())), "AUTH0")
    return [(tag, len(value)) for tag, value in items(data)]


def _same_form(*, fast: bool) -> Play:
    def play(t: Tester) -> Dialogue[None]:
        known = yield from _form(t, t.reader.identifier, fast=fast)
        unknown = yield from _form(t, bytes(range(32)), fast=fast)
        if known != unknown:
            raise Nonconformity("AUTH0", "the same form for a reader that is not known", str(unknown))

    return play


def _same_refusal(t: Tester) -> Dialogue[None]:
    statuses = []
    for identifier in (t.reader.identifier, bytes(range(32))):
        yield from _form(t, identifier, fast=True)
        response = yield command_of(Ins.AUTH1, Auth1(parameters=1, signature=bytes(range(1, 65))).build())
        statuses.append((response.sw, len(response.data)))
    if statuses[0] != statuses[1] or statuses[0][0] == 0x9000:
        raise Nonconformity("AUTH1", "the same refusal for known and unknown readers", str(statuses))


def _same_sub_group(t: Tester) -> Dialogue[None]:
    other = t.reader.identifier[:16] + bytes(~byte & 0xFF for byte in t.reader.identifier[16:])
    yield from t.select()
    yield from t.auth0(reader_identifier=other)
    yield from t.auth1()


def strangers() -> Iterator[Scenario[Bench]]:
    """What a reader that is not known may find out."""
    yield scenario("privacy", "unknown reader, standard", "AUTH0 has the same form", _same_form(fast=False))
    yield scenario(
        "privacy", "unknown reader, fast", "AUTH0 has the same form, cryptogram included", _same_form(fast=True)
    )
    yield scenario("privacy", "unknown reader, auth1", "AUTH1 is refused alike", _same_refusal)
    yield scenario("privacy", "another reader of the group", "is known by its group", _same_sub_group)
