"""Triggers and stored parameters, against those of the specification's tables and of other people's tools."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.ber import find, items
from keywright.codec.message import Message
from keywright.errors import DecodeError, PolicyError
from keywright.scp.comprehension import one
from keywright.scp.scp81 import parameters
from keywright.scp.scp81.parameters import (
    DNS_ALL,
    STORED_PART,
    DnsParameters,
    ExtendedSecurity,
    HttpParameters,
    KeyReference,
    RetryPolicy,
    SecurityParameters,
    SessionParameters,
    StoredParameters,
    TriggerParameters,
    address_objects,
    addresses,
    dns_form,
    dns_name,
    options_dgi,
    protocol_oid,
    read_options_dgi,
    read_protocol_oid,
    settle,
    store_parameters,
    timer_seconds,
    timer_value,
    trigger_message,
    versions,
)
from support.messages import all_messages, check_message, parsed
from support.vectors import load, unhex

CASES = {case["name"]: case for case in load("scp/ota_scp81.json")}
FULL = CASES["full triggering message"]


def value(name: str, tag: int) -> bytes:
    found = find(unhex(CASES[name]["hex"]), tag)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["security parameters", "security parameters with SHA type (TLS 1.3)"])
def test_security_parameters_are_the_recorded_ones(name: str) -> None:
    raw, due = value(name, 0x85), CASES[name]["meaning"]
    security = SecurityParameters.parse(raw)
    assert security.build() == raw
    identity = bytes.fromhex(due["psk_id"]) if due["psk_id"] == "DEADBEEF" else due["psk_id"].encode()
    assert security.identity == identity
    assert (security.key.kvn, security.key.kid) == (int(str(due["kvn"]), 16), due["kid"])
    assert security.hash_type == (bytes((due["sha_type"],)) if "sha_type" in due else b"")


@pytest.mark.parametrize("name", ["session retry policy: 5 tries", "session retry policy, public tool"])
def test_retry_policies_are_the_recorded_ones(name: str) -> None:
    raw, due = value(name, 0x86), CASES[name]["meaning"]
    policy = RetryPolicy.parse(raw)
    assert (policy.count, policy.delay) == (due["counter"], unhex(due["delay_tlv"]))
    assert policy.build() == raw
    seconds = timer_seconds(policy.delay)
    assert timer_value(seconds) == policy.delay
    if name.endswith("5 tries"):
        assert seconds == 20 * 60 + 1


def test_http_parameters_are_the_recorded_ones() -> None:
    raw, due = value("HTTP POST parameters", 0x89), CASES["HTTP POST parameters"]["meaning"]
    http = HttpParameters.parse(raw)
    assert http == HttpParameters(*(due[name].encode() for name in ("host", "agent", "uri")))
    assert http.build() == raw


def test_the_full_trigger_is_read_settled_and_written_as_recorded() -> None:
    raw = unhex(FULL["hex"])
    ((tag, inside),) = items(raw)
    assert tag == 0x81
    trigger = TriggerParameters.parse(inside)
    assert trigger_message(trigger) == raw
    settings = settle(trigger)
    assert settings.addresses == ("192.168.0.1",)
    assert (settings.security.key.kvn, settings.security.key.kid) == (0x40, 1)
    assert settings.security.identity == b"Test123"
    assert (settings.host, settings.uri) == ("admin.host", "/ram?cmd=1")
    assert settings.agent.startswith("//se-id/eid/89001012")
    assert settings.session_retries == 3
    assert one(settings.connection, 0x3C) == b"\x02" + (8080).to_bytes(2)
    assert one(settings.connection, 0x39) == (1024).to_bytes(2)
    assert one(settings.connection, 0x35) == b"\x03"


def test_the_minimal_trigger_is_read_and_written_as_recorded() -> None:
    case = CASES["triggering message, minimal (public)"]
    trigger = TriggerParameters.parse(value("triggering message, minimal (public)", 0x81))
    assert trigger_message(trigger) == unhex(case["hex"])
    assert trigger.session is not None
    assert trigger.session.security == SecurityParameters(b"", KeyReference(1, 1))
    assert trigger.session.http == HttpParameters(b"", b"", b"")


def test_the_empty_trigger_in_expanded_format_is_the_recorded_one() -> None:
    assert trigger_message(TriggerParameters(), expanded=True) == unhex(CASES["trigger in expanded format"]["hex"])


@pytest.mark.parametrize("name", ["STORE DATA of SD parameters", "STORE DATA partial update"])
def test_parameters_are_stored_as_recorded(name: str) -> None:
    stored = StoredParameters(connection=bytes.fromhex("02028182"))
    kind = int(CASES[name]["hex"][10:12], 16)
    (command,) = store_parameters(stored.build(), kind)
    assert command.encode() == unhex(CASES[name]["hex"])
    assert StoredParameters.parse(find(command.data, kind) or b"") == stored
    assert command.p1 == int(CASES[name]["meaning"]["P1"][:2], 16)


def test_long_parameters_take_several_commands() -> None:
    stored = StoredParameters(connection=bytes(600), http=HttpParameters(b"host"))
    commands = store_parameters(stored.build(), STORED_PART)
    assert [(command.p1, command.p2) for command in commands] == [(0x10, 0), (0x10, 1), (0x90, 2)]
    assert find(b"".join(command.data for command in commands), STORED_PART) == stored.build()
    assert store_parameters(b"", DNS_ALL)[0].data == b"\xf4\x00"


def test_dns_parameters_are_the_recorded_ones() -> None:
    raw = value("DNS parameters in a trigger", 0xB3)
    dns = DnsParameters.parse(raw)
    assert dns.fqdn is not None
    assert dns_name(dns.fqdn) == CASES["DNS parameters in a trigger"]["meaning"]["fqdn_qname"]
    assert DnsParameters(fqdn=dns_form("admin.host")).build() == raw
    listed = CASES["RAS IP list cache"]
    cache = value("RAS IP list cache", 0xF7)
    assert list(addresses(cache)) == listed["meaning"]["ips"]
    assert address_objects(tuple(listed["meaning"]["ips"])) == cache
    assert DnsParameters(server_cache=cache).build() == unhex(listed["hex"])


def test_the_options_are_changed_as_recorded() -> None:
    case = CASES["update of SCP81 options: DGI C981"]
    assert options_dgi(0x0C) == unhex(case["store_data"])
    assert read_options_dgi(unhex(case["store_data"]), 0x04) == 0x0C


@pytest.mark.parametrize(
    ("current", "new", "allowed"),
    [
        (0x04, 0x0C, True),
        (0x0C, 0x04, False),
        (0x0C, 0x08, True),
        (0x04, 0x07, False),
        (0x07, 0x04, True),
        (4, 4, True),
    ],
)
def test_neither_the_lowest_nor_the_highest_version_drops(current: int, new: int, *, allowed: bool) -> None:
    if allowed:
        assert read_options_dgi(options_dgi(new), current) == new
    else:
        with pytest.raises(PolicyError):
            read_options_dgi(options_dgi(new), current)


@pytest.mark.parametrize("raw", ["", "C981028104FF", "C98002810C", "C981028100", "C981028110"])
def test_what_are_no_options_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        read_options_dgi(bytes.fromhex(raw), 0x04)


OIDS = [case for case in CASES.values() if "oid_value_raw" in case]


@pytest.mark.parametrize("case", OIDS, ids=[case["name"] for case in OIDS])
def test_the_protocol_in_card_recognition_data_is_read_either_way(case: dict[str, str]) -> None:
    words = case["name"].split()
    scp, i = int(words[0][3:], 16), int(words[1].removeprefix("i="), 16)
    assert read_protocol_oid(unhex(case["oid_value_raw"])) == (scp, i)
    written = case.get("oid_value_base128", case["oid_value_raw"])
    assert read_protocol_oid(unhex(written)) == (scp, i)
    assert protocol_oid(scp, i) == unhex(written)
    if "TLS" in case["meaning"]:
        named = ", ".join(versions(i)).replace(", TLS", ",")
        assert named.replace("TLS ", "") == case["meaning"].replace("TLS ", "").replace(" and", ",")
    if "card_data" in case:
        data = find(unhex(case["card_data"])[3:], 0x66, 0x73, 0x64, 0x06)
        assert data == unhex(case["oid_value_raw"])


@pytest.mark.parametrize(
    "raw", ["", "2A864886FC6B04", "2A864886FC6B0481", "2A864886FC6B04820104", "2A864886FC6B038104"]
)
def test_what_is_no_such_oid_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        read_protocol_oid(bytes.fromhex(raw))


# ---- completing a trigger ---------------------------------------------------------------------------------------

SECURITY = SecurityParameters(b"id", KeyReference(0x40, 1))
WHOLE = StoredParameters(
    connection=address_objects(("10.0.0.1",)),
    security=SECURITY,
    retry=RetryPolicy(2, timer_value(90)),
    http=HttpParameters(b"host", b"agent", b"/uri"),
    address_retry=RetryPolicy(4, timer_value(5)),
    inactivity=timer_value(30),
)


def test_what_a_trigger_lacks_comes_from_the_domain_then_from_the_issuer() -> None:
    own = SessionParameters(http=HttpParameters(uri=b"/mine"))
    domain = StoredParameters(http=HttpParameters(host=b"domain.host", uri=b"/other"))
    settings = settle(TriggerParameters(own), domain, WHOLE)
    assert (settings.uri, settings.host, settings.agent) == ("/mine", "domain.host", "agent")
    assert (settings.session_retries, settings.session_delay_s) == (2, 90)
    assert (settings.address_retries, settings.address_delay_s, settings.inactivity_s) == (4, 5, 30)
    assert settings.security == SECURITY


@pytest.mark.parametrize("missing", ["connection", "security", "http"])
def test_a_trigger_that_lacks_something_is_rejected(missing: str) -> None:
    changed = {name: getattr(WHOLE, name) for name in ("connection", "security", "http") if name != missing}
    with pytest.raises(PolicyError, match="rejected"):
        settle(TriggerParameters(), StoredParameters(**changed))
    for part in ("host", "agent", "uri"):
        http = HttpParameters(**{name: b"x" for name in ("host", "agent", "uri") if name != part})
        with pytest.raises(PolicyError, match=part):
            settle(TriggerParameters(SessionParameters(b"c", SECURITY, http=http)))


def test_without_policies_there_is_one_try_and_no_time_limit() -> None:
    settings = settle(
        TriggerParameters(SessionParameters(b"", SECURITY, http=WHOLE.http)), StoredParameters(b"\x35\x01\x03")
    )
    assert (settings.session_retries, settings.address_retries, settings.inactivity_s) == (0, 0, None)


def test_the_first_of_several_security_parameters_is_taken() -> None:
    several = ExtendedSecurity((SECURITY, SecurityParameters(b"second", KeyReference(0x41, 1))))
    settings = settle(TriggerParameters(SessionParameters(b"\x35\x01\x03", None, several, None, WHOLE.http)))
    assert settings.security == SECURITY
    with pytest.raises(PolicyError, match="exclude"):
        settle(TriggerParameters(SessionParameters(b"\x35\x01\x03", SECURITY, several, None, WHOLE.http)))


def test_a_known_address_makes_the_cached_ones_needless() -> None:
    dns = DnsParameters(server_cache=address_objects(("10.0.0.2",)), server_fallback=address_objects(("10.0.0.3",)))
    settings = settle(TriggerParameters(), WHOLE, dns=dns)
    assert (settings.addresses, settings.fallbacks) == (("10.0.0.1",), ("10.0.0.3",))
    without = StoredParameters(b"\x35\x01\x03", SECURITY, http=WHOLE.http)
    assert settle(TriggerParameters(), without, dns=dns).addresses == ("10.0.0.2",)


@pytest.mark.parametrize("text", [b"a b", b"a\r\nX: y", b"\xff", b"a\x7f"])
def test_no_text_of_a_trigger_breaks_out_of_a_header(text: bytes) -> None:
    with pytest.raises(DecodeError):
        settle(TriggerParameters(SessionParameters(http=HttpParameters(host=text))), WHOLE)


# ---- times and names --------------------------------------------------------------------------------------------


@given(st.integers(0, 359_999))
def test_a_time_survives(seconds: int) -> None:
    assert timer_seconds(timer_value(seconds)) == seconds


@pytest.mark.parametrize(
    ("raw", "seconds"), [("2503000210", 1201), ("A503000210", 1201), ("2503000059", 59), ("2503013000", 3 * 60 + 36000)]
)
def test_digits_are_swapped_unless_that_is_no_time(raw: str, seconds: int) -> None:
    assert timer_seconds(bytes.fromhex(raw)) == seconds


@pytest.mark.parametrize("raw", ["", "25020000", "2603000000", "25030000AA", "2503009999", "25030000002500"])
def test_what_is_no_time_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        timer_seconds(bytes.fromhex(raw))
    for seconds in (-1, 360_000):
        with pytest.raises(ValueError, match="timer"):
            timer_value(seconds)


@pytest.mark.parametrize("raw", ["", "01", "0161", "016100FF", "40" + "61" * 64 + "00", "01FF00"])
def test_what_is_no_dns_name_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError):
        dns_name(bytes.fromhex(raw))
    for name in ("", "a..b", "x" * 64):
        with pytest.raises(ValueError, match="label"):
            dns_form(name)


@pytest.mark.parametrize("cls", all_messages(parameters))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


@given(st.binary(max_size=40))
def test_any_trigger_is_settled_or_refused(data: bytes) -> None:
    trigger = parsed(TriggerParameters.parse, data)
    if trigger is not None:
        with contextlib.suppress(DecodeError, PolicyError):
            settle(trigger, WHOLE)
