"""`keywright card scp11` on a simulated YubiKey: from a key made on the card to a host that it refuses."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keywright.cli import links
from keywright.cli.keyring import read_public_key, read_ring
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.element import SecureElement
from keywright.fob.open import SimulatedLink
from keywright.scp.scp11.certificates import parse_certificate
from support import scp11
from support.commands import Keywright, Ran

Scp11 = Callable[..., Ran]

KLOC = ("--kid", "10", "--of-kvn", "03")
OURS = ("--kid", "11", "--of-kvn", "01")


def pem(kind: str, der: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


def certificates(path: Path, *chain: bytes) -> Path:
    path.write_text("".join(pem("CERTIFICATE", one) for one in chain))
    return path


@pytest.fixture
def link(keywright: Keywright, tmp_path: Path) -> str:
    """A simulated YubiKey that keeps what it is given."""
    memory = tmp_path / "card.mem"
    assert keywright("element", "new", memory, "--profile", "yubikey").code == 0
    return f"sim:element?memory={memory}"


@pytest.fixture
def on_card(keywright: Keywright, link: str) -> Scp11:
    """Call a verb of `card scp11` on it."""

    def call(*words: object) -> Ran:
        return keywright("card", "scp11", *words, "--link", link)

    return call


@pytest.fixture
def oce(tmp_path: Path) -> Path:
    """Our key and its certificates: an intermediate (serial number 82), and our own (83)."""
    holder = scp11.holder("x509")
    assert isinstance(holder.key, EcPrivateKey)
    path = tmp_path / "oce.pem"
    chain = "".join(pem("CERTIFICATE", one) for one in holder.chain)
    path.write_text(pem("PRIVATE KEY", holder.key.to_pkcs8()) + chain)
    path.chmod(0o600)
    return path


@pytest.fixture
def card_root(tmp_path: Path) -> Path:
    """Who certifies the card."""
    return certificates(tmp_path / "root.pem", scp11.authority("card", "x509")[0].certificate)


def chain_for(public: object) -> tuple[bytes, bytes]:
    assert isinstance(public, EcPublicKey)
    _, middle = scp11.authority("card", "x509")
    return middle.certificate, middle.issue(public, "SD", 0x84)


def generated(on_card: Scp11, tmp_path: Path, *more: object) -> EcPublicKey:
    out = tmp_path / "card.pem"
    ran = on_card("generate", "--kid", "11", "--new-kvn", "01", "--out", out, *more)
    assert ran.code == 0, ran.err
    public = read_public_key(out)
    assert isinstance(public, EcPublicKey)
    return public


def ca_key(keywright: Keywright, link: str, tmp_path: Path) -> Path:
    """Put the key of who certifies hosts; returns its certificate."""
    root = scp11.authority("host", "x509")[0]
    key = tmp_path / "kloc-key.pem"
    key.write_text(pem("PUBLIC KEY", root.public.spki()))
    ran = keywright("card", "keys", "put", key, "--new-kvn", "03", "--kid", "10", "--link", link)
    assert ran.code == 0, ran.err
    return certificates(tmp_path / "kloc.pem", root.certificate)


def answered(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    return document


# ---- the whole way


def test_a_card_is_prepared_for_scp11a_and_refuses_whom_its_list_does_not_name(
    keywright: Keywright, link: str, on_card: Scp11, tmp_path: Path, oce: Path, card_root: Path
) -> None:
    kloc = ca_key(keywright, link, tmp_path)
    chain = certificates(tmp_path / "chain.pem", *chain_for(generated(on_card, tmp_path)))
    assert on_card("certificates", "put", chain, *OURS).out == "stored 2 certificates for KVN 01 KID 11\n"
    assert on_card("ca", "put", kloc, *KLOC).code == 0
    opening = ("card", "list", "--link", link, "--profile", "yubikey", "--scp", "11a", "--oce", oce)

    ran = on_card("allow-list", "put", "0x82", *KLOC)
    assert (ran.code, ran.out) == (0, "KVN 03 KID 10 accepts 0x82\n")
    assert keywright(*opening, "--root", card_root).code == 0
    assert on_card("allow-list", "put", "129", "0x83", *KLOC).out == "KVN 03 KID 10 accepts 0x81, 0x83\n"
    refused = keywright(*opening, "--root", card_root)
    assert refused.code == 3
    assert "6640" in refused.err
    assert on_card("allow-list", "clear", *KLOC).code == 0
    assert keywright(*opening, "--root", card_root).code == 0


def test_the_verbs_work_in_a_session_of_scp11_too(
    keywright: Keywright, link: str, on_card: Scp11, tmp_path: Path, oce: Path, card_root: Path
) -> None:
    kloc = ca_key(keywright, link, tmp_path)
    chain = certificates(tmp_path / "chain.pem", *chain_for(generated(on_card, tmp_path)))
    assert on_card("certificates", "put", chain, *OURS).code == 0
    assert on_card("ca", "put", kloc, *KLOC).code == 0
    session = ("--profile", "yubikey", "--oce", oce, "--root", card_root)
    ran = on_card("ca", "put", "C0FFEE", *OURS, *session)
    assert ran.code == 0, ran.err
    assert [one["side"] for one in answered(on_card("ca", "list", *session, "--json"))["cas"]] == ["host", "card"]
    assert len(answered(on_card("certificates", "get", *session, "--json"))["keys"]) == 1


# ---- generate


@pytest.mark.parametrize(("kid", "curve"), [("11", "P-256"), ("13", "P-384"), ("15", "brainpoolP256r1")])
def test_a_key_is_made_on_the_curve_that_is_asked_for(on_card: Scp11, kid: str, curve: str, tmp_path: Path) -> None:
    made = answered(on_card("generate", "--kid", kid, "--new-kvn", "05", "--curve", curve, "--json"))
    assert (made["kvn"], made["kid"], made["curve"], made["file"]) == ("05", kid, curve, None)
    path = tmp_path / "shown.pem"
    path.write_text(made["public_key"])
    public = read_public_key(path)
    assert isinstance(public, EcPublicKey)
    assert public.curve == curve


def test_a_key_that_is_made_is_shown_or_written(on_card: Scp11, tmp_path: Path) -> None:
    shown = on_card("generate", "--kid", "11", "--new-kvn", "01")
    assert shown.out.splitlines()[:2] == ["made KVN 01 KID 11 P-256", "-----BEGIN PUBLIC KEY-----"]
    ran = on_card("generate", "--kid", "11", "--new-kvn", "02", "--replace", "01", "--out", tmp_path / "new.pem")
    assert ran.out.startswith("made KVN 02 KID 11 P-256 in place of KVN 01\nits public key is in ")
    assert (tmp_path / "new.pem").read_text() not in shown.out


def test_a_file_that_is_there_is_kept_and_no_key_is_made(on_card: Scp11, tmp_path: Path) -> None:
    out = tmp_path / "card.pem"
    out.write_text("mine")
    ran = on_card("generate", "--kid", "11", "--new-kvn", "01", "--out", out)
    assert (ran.code, "already there" in ran.err, out.read_text()) == (2, True, "mine")
    assert on_card("generate", "--kid", "11", "--new-kvn", "01").code == 0
    fresh = tmp_path / "fresh.pem"
    again = on_card("generate", "--kid", "11", "--new-kvn", "02", "--replace", "07", "--out", fresh)
    assert (again.code, fresh.exists()) == (6, False)
    assert on_card("generate", "--kid", "11", "--new-kvn", "03", "--out", tmp_path / "no" / "file").code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kid", "12", "--new-kvn", "01"), "no key of SCP11 has this identifier"),
        (("--kid", "11", "--new-kvn", "80"), "--new-kvn 80: 01 to 7F is due"),
        (("--kid", "11", "--new-kvn", "00"), "--new-kvn 00: 01 to 7F is due"),
        (("--kid", "11", "--new-kvn", "01", "--curve", "P-128"), "no such curve"),
        (("--kid", "11"), "missing option '--new-kvn'"),
    ],
)
def test_what_names_no_key_is_refused(on_card: Scp11, words: tuple[str, ...], message: str) -> None:
    ran = on_card("generate", *words)
    assert ran.code == 2
    assert message in ran.err


def test_a_card_that_makes_no_keys_is_told_as_that(keywright: Keywright) -> None:
    ran = keywright("card", "scp11", "generate", "--kid", "11", "--new-kvn", "01", "--link", "sim:element")
    assert ran.code == 6
    assert "the card makes no keys of its own" in ran.err
    assert "keywright card keys put" in ran.err


# ---- certificates


def test_certificates_are_read_without_a_session_as_they_were_put(on_card: Scp11, tmp_path: Path) -> None:
    chain = chain_for(generated(on_card, tmp_path))
    files = [certificates(tmp_path / f"{n}.pem", one) for n, one in enumerate(chain)]
    assert on_card("certificates", "put", *files, *OURS).code == 0
    out = tmp_path / "read.pem"
    ran = on_card("certificates", "get", *OURS, "--out", out)
    assert ran.code == 0, ran.err
    assert "KVN 01 KID 11 (SCP11a)" in ran.out
    assert "  0x82           X.509   20450101     " in ran.out
    assert read_ring(out).certificates == chain
    (key,) = answered(on_card("certificates", "get", "--json"))["keys"]
    assert (key["kvn"], key["kid"]) == ("01", "11")
    (read,) = key["chains"]
    assert [bytes.fromhex(one["data"]) for one in read] == list(chain)
    assert [one["serial"] for one in read] == ["0x82", "0x84"]
    assert read[1]["issuer_id"] == read[0]["subject_id"]


def test_certificates_of_one_key_go_into_a_file(on_card: Scp11, tmp_path: Path) -> None:
    assert on_card("generate", "--kid", "13", "--new-kvn", "02").code == 0
    chain = certificates(tmp_path / "chain.pem", *chain_for(generated(on_card, tmp_path)))
    assert on_card("certificates", "put", chain, *OURS).code == 0
    assert on_card("certificates", "put", chain, "--kid", "13", "--of-kvn", "02").code == 0
    out = tmp_path / "read.pem"
    ran = on_card("certificates", "get", "--out", out)
    assert (ran.code, out.exists()) == (2, False)
    assert "KVN 01 KID 11" in ran.err
    assert "KVN 02 KID 13" in ran.err
    assert on_card("certificates", "get", "--kid", "13", "--out", out).code == 0
    found = answered(on_card("certificates", "get", "--of-kvn", "02", "--json"))["keys"]
    assert [(key["kvn"], key["kid"]) for key in found] == [("02", "13")]
    assert on_card("certificates", "get", "--kid", "15").code == 2
    ran = on_card("certificates", "get", "--kid", "15", "--of-kvn", "01")
    assert (ran.code, "the card has no such certificates" in ran.err) == (2, True)


def test_certificates_in_another_order_or_of_others_are_refused(on_card: Scp11, tmp_path: Path) -> None:
    middle, leaf = chain_for(generated(on_card, tmp_path))
    other = scp11.holder("x509").chain[0]
    for chain, message in (
        ((leaf, middle), "is not of a card's key"),
        ((middle,), "is not of a card's key"),
        ((other, leaf), "these certificates are no chain"),
        ((leaf, leaf), "these certificates are no chain"),
    ):
        ran = on_card("certificates", "put", certificates(tmp_path / "bad.pem", *chain), *OURS)
        assert ran.code == 2
        assert message in ran.err
        assert "the key's own certificate last" in ran.err
    assert on_card("certificates", "get").code == 2
    assert on_card("certificates", "put", certificates(tmp_path / "one.pem", leaf), *OURS).code == 0


def test_certificates_for_a_key_that_is_not_there_are_refused_by_the_card(on_card: Scp11, tmp_path: Path) -> None:
    chain = certificates(tmp_path / "chain.pem", *chain_for(scp11.key("P-256", "SD").public))
    ran = on_card("certificates", "put", chain, *OURS)
    assert (ran.code, "6A88" in ran.err) == (6, True)


class Answering:
    """A card that gives fixed answers by P1 P2 of GET DATA, and takes every SELECT."""

    name, atr, extended = "answering", b"", False

    def __init__(self, **answers: str) -> None:
        self.answers = {bytes.fromhex(name.removeprefix("x")): bytes.fromhex(text) for name, text in answers.items()}

    def exchange(self, raw: bytes) -> bytes:
        return b"\x90\x00" if raw[1] == 0xA4 else self.answers.get(raw[2:4], b"\x6a\x88")

    def close(self) -> None:
        pass


def behind(monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    monkeypatch.setattr(links, "open_link", lambda _: Answering(**answers))


def test_a_card_that_lists_no_keys_is_asked_for_one(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch)
    ran = keywright("card", "scp11", "certificates", "get", "--link", "sim:element")
    assert (ran.code, "name one with --kid and --of-kvn" in ran.err) == (2, True)


def test_a_certificate_that_cannot_be_read_is_shown_as_bytes(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind(monkeypatch, xBF21="30030101FF9000")
    words = ("card", "scp11", "certificates", "get", *OURS, "--link", "sim:element")
    assert "it cannot be read" in keywright(*words).out
    (key,) = answered(keywright(*words, "--json"))["keys"]
    assert key["chains"] == [[{"data": "30030101FF"}]]


def test_another_refusal_than_none_is_an_error(keywright: Keywright, monkeypatch: pytest.MonkeyPatch) -> None:
    behind(monkeypatch, xBF21="6982")
    ran = keywright("card", "scp11", "certificates", "get", *OURS, "--link", "sim:element")
    assert (ran.code, "6982" in ran.err) == (6, True)


# ---- CA identifiers


@pytest.mark.parametrize("answer", ["FF3307420101830210039000", "420101830210039000"])
def test_a_list_of_cas_is_read_with_its_tag_and_without(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    behind(monkeypatch, xFF33=answer)
    (one,) = answered(keywright("card", "scp11", "ca", "list", "--link", "sim:element", "--json"))["cas"]
    assert one == {"side": "host", "kvn": "03", "kid": "10", "identifier": "01"}


def test_a_list_of_cas_that_is_none_is_a_fault_of_the_card(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind(monkeypatch, xFF34="4201019000")
    ran = keywright("card", "scp11", "ca", "list", "--link", "sim:element")
    assert (ran.code, "FF34 answered what is no list of CAs" in ran.err) == (6, True)


def test_ca_identifiers_come_from_hex_or_a_certificate_and_are_listed_by_side(
    keywright: Keywright, link: str, on_card: Scp11, tmp_path: Path
) -> None:
    assert on_card("ca", "list").out == "the card names no CA\n"
    kloc = ca_key(keywright, link, tmp_path)
    generated(on_card, tmp_path)
    name = parse_certificate(read_ring(kloc).certificates[0]).subject_id.hex().upper()
    put = answered(on_card("ca", "put", kloc, *KLOC, "--json"))
    assert (put["side"], put["identifier"]) == ("host", name)
    assert answered(on_card("ca", "put", "C0FFEE", *OURS, "--json"))["side"] == "card"
    listed = answered(on_card("ca", "list", "--json"))["cas"]
    assert listed == [
        {"side": "host", "kvn": "03", "kid": "10", "identifier": name},
        {"side": "card", "kvn": "01", "kid": "11", "identifier": "C0FFEE"},
    ]
    assert on_card("ca", "put", "0102", *KLOC, "--side", "host").code == 0
    assert "  host  03   10   0102\n  card  01   11   C0FFEE\n" in on_card("ca", "list").out


def test_the_card_is_told_the_side_where_it_is_asked_for(
    keywright: Keywright, on_card: Scp11, link: str, tmp_path: Path
) -> None:
    ca_key(keywright, link, tmp_path)
    for words in ((), ("--side", "host"), ("--side", "card")):
        trace = tmp_path / f"trace{''.join(words)}"
        plain = ("--level", "01", "--trace", trace)
        assert on_card("ca", "put", "C0FFEE", *KLOC, *words, *plain).code == 0
        (stored,) = [line for line in trace.read_text().splitlines() if "84E29000" in line]
        assert ("800100" in stored, "800101" in stored) == ("card" not in words, "card" in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("XYZ", *KLOC), "XYZ: neither an identifier in hex nor a file"),
        (("", *KLOC), "at least one byte"),
        (("C0FFEE", *KLOC, "--side", "left"), "there is no such side"),
        (("C0FFEE", "--kid", "00", "--of-kvn", "03"), "--kid 00: 01 to 7F is due"),
    ],
)
def test_what_names_no_ca_is_refused(on_card: Scp11, words: tuple[str, ...], message: str) -> None:
    ran = on_card("ca", "put", *words)
    assert ran.code == 2
    assert message in ran.err


def test_one_certificate_names_a_ca(on_card: Scp11, oce: Path) -> None:
    ran = on_card("ca", "put", oce, *KLOC)
    assert (ran.code, "one certificate is due, there are 2" in ran.err) == (2, True)


# ---- allow-lists


def test_serial_numbers_are_decimal_hex_or_those_of_certificates(
    keywright: Keywright, link: str, on_card: Scp11, tmp_path: Path
) -> None:
    kloc = ca_key(keywright, link, tmp_path)
    put = answered(on_card("allow-list", "put", "130", "0x82", kloc, "0X7f", *KLOC, "--json"))
    assert put["serials"] == ["0x82", "0x81", "0x7F"]
    assert put["counter"] is None


@pytest.mark.parametrize("serial", ["12Z", "0x", "1_000", "0x-1", "٣", "0x1" + "0" * 40])
def test_what_is_no_serial_number_is_refused(on_card: Scp11, serial: str) -> None:
    ran = on_card("allow-list", "put", serial, *KLOC)
    assert ran.code == 2
    assert "neither a serial number nor a file" in ran.err


def test_a_list_longer_than_store_data_takes_is_refused(on_card: Scp11) -> None:
    ran = on_card("allow-list", "put", *(hex(1 << 158 | n) for n in range(3000)), *KLOC)
    assert (ran.code, "too many for STORE DATA" in ran.err) == (2, True)


def test_a_counter_that_does_not_grow_is_refused_by_the_card(
    keywright: Keywright, link: str, on_card: Scp11, tmp_path: Path
) -> None:
    ca_key(keywright, link, tmp_path)
    assert on_card("allow-list", "put", "1", *KLOC, "--counter", "5").code == 0
    for verb in (("put", "2"), ("clear",)):
        for counter in ((), ("--counter", "5")):
            ran = on_card("allow-list", *verb, *KLOC, *counter)
            assert (ran.code, "6985" in ran.err) == (6, True)
    assert answered(on_card("allow-list", "clear", *KLOC, "--counter", "6", "--json"))["counter"] == 6
    assert on_card("allow-list", "put", "1", *KLOC, "--counter", "65536").code == 2


# ---- real cards


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (
            ("generate", "--kid", "11", "--new-kvn", "02", "--replace", "01"),
            "make a new key pair KVN 02 KID 11 in place",
        ),
        (("certificates", "put", "CHAIN", *OURS), "store 2 certificates for the key KVN 01 KID 11"),
        (("ca", "put", "C0FFEE", *OURS), "name the CA of the key KVN 01 KID 11"),
        (("allow-list", "put", "1", *KLOC), "let the key KVN 03 KID 10 accept 1 serial number and no others"),
        (("allow-list", "clear", *KLOC), "let the key KVN 03 KID 10 accept every certificate of its CA"),
    ],
)
def test_what_changes_a_real_card_is_asked_about_first(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    device = SecureElement()
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    chain = certificates(tmp_path / "chain.pem", *chain_for(scp11.key("P-256", "SD").public))
    given = [chain if word == "CHAIN" else word for word in words]
    ran = keywright("card", "scp11", *given, "--link", "pcsc:x", "--keys", "gp-test")
    assert ran.code == 5
    assert what in ran.err
    assert "needs a confirmation" in ran.err
    assert keywright("card", "scp11", *given, "--link", "pcsc:x", "--keys", "gp-test", "--yes").code == 6


def test_the_verbs_work_in_a_shell(keywright: Keywright, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    typed = "scp11 generate --kid 13 --new-kvn 02\nscp11 ca put C0FFEE --kid 13 --of-kvn 02\nscp11 ca list\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    ran = keywright("card", "shell", "--link", link)
    assert ran.code == 0, ran.err
    assert "card  02   13   C0FFEE" in ran.out
