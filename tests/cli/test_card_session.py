"""Sessions of `keywright card` in every protocol, and what is said when they do not open."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from keywright.cli import links
from keywright.cli.card import connection
from keywright.cli.keyring import read_certificates, read_private_key, read_public_key, read_ring
from keywright.codec.tlv import item
from keywright.crypto.aes import AesKey
from keywright.crypto.diversification import derive_key_set
from keywright.element import SecureElement
from keywright.element.state import KeyRecord, KeySetRecord
from keywright.errors import PolicyError, UsageError
from keywright.fob.open import SimulatedLink
from keywright.globalplatform.messages import KeyType
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp10 import Holder, Profile, issue_certificate
from keywright.store import RamMemory
from support import scp10, scp11
from support.commands import KeyFile, Keywright
from support.peers import require_peer

OTHER = bytes(range(0x60, 0x70))


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on which the certificates of these tests are valid."""
    monkeypatch.setattr(connection, "today", lambda: "20260101")


def behind(monkeypatch: pytest.MonkeyPatch, device: Any) -> None:
    monkeypatch.setattr(links, "open_link", lambda _: device)


def element(monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> SecureElement:
    device = SecureElement(**parameters)
    monkeypatch.setattr(links, "open_link", lambda uri: SimulatedLink(uri, device, lambda: None))
    return device


# ---- SCP03


@pytest.mark.parametrize("level", ["01", "03", "11", "13", "33"])
def test_the_level_is_as_asked(keywright: Keywright, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    element(monkeypatch)
    ran = keywright("card", "apdu", "80CA00D300", "--secure", "--level", level, "--link", "sim:element", "--json")
    assert json.loads(ran.out)["answer"] == f"D301{0x80 | int(level, 16):02X}9000"


def test_a_level_that_does_not_exist_is_refused(keywright: Keywright) -> None:
    for level in ("99", "30", "1", "0101"):
        ran = keywright("card", "list", "--level", level, "--link", "sim:element")
        assert ran.code == 2, level
        assert "internal" not in ran.err
    ran = keywright("card", "list", "--level", "99", "--link", "sim:element")
    assert ran.err == "keywright: --level 99: SCP03 has no such level\n  next: there are: 00, 01, 03, 11, 13, 33\n"
    for words in (("--scp", "02", "--legacy"), ("--scp", "11b", "--any-card")):
        ran = keywright("card", "list", "--level", "99", "--link", "sim:element", "--keys", "gp-test", *words)
        assert (ran.code, "has no such level" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("kvn", "keys", "message"),
    [
        (0x30, None, "gp-test is the test key set, but the card answered with KVN 30: it probably has keys of its own"),
        (0xFF, OTHER, "keys.toml was tried, but the card answered with KVN FF: it probably still has its initial keys"),
    ],
)
def test_wrong_keys_name_the_likely_cause_and_use_no_try(
    keywright: Keywright,
    monkeypatch: pytest.MonkeyPatch,
    key_file: KeyFile,
    kvn: int,
    keys: bytes | None,
    message: str,
) -> None:
    own = KeySet.of(*(bytes(range(n, n + 16)) for n in range(3))) if keys is None else KeySet.gp_test()
    device = element(monkeypatch, kvn=kvn, keys=own)
    name = "gp-test" if keys is None else key_file(keys)
    ran = keywright("card", "list", "--link", "sim:element", "--keys", name)
    assert ran.code == 3
    assert message in ran.err
    assert "`card keys detect`" in ran.err
    assert device.attempts == 0
    assert OTHER.hex() not in ran.err.lower()


def test_a_diversified_key_set_opens_its_card(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile
) -> None:
    kdd = bytes(range(10))
    element(monkeypatch, kdd=kdd, kvn=0x30, keys=KeySet.of(*derive_key_set(AesKey(OTHER), "kdf3", kdd)))
    words = ("card", "list", "--link", "sim:element", "--keys")
    assert keywright(*words, key_file(OTHER, scheme="kdf3")).code == 0
    assert keywright(*words, key_file(OTHER)).code == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (f'key = "{OTHER.hex()}"\nscheme = "nothing"\n', "nothing"),
        (f'enc = "{OTHER.hex()}"\nmac = "{OTHER.hex()}"\ndek = "{OTHER.hex()}"\nscheme = "kdf3"\n', "one master key"),
    ],
)
def test_a_scheme_that_is_none_is_refused(keywright: Keywright, tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "k.toml"
    path.write_text(lines)
    path.chmod(0o600)
    ran = keywright("card", "list", "--link", "sim:element", "--keys", path)
    assert ran.code in (2, 5)
    assert message in ran.err


# ---- SCP02


def des_element(monkeypatch: pytest.MonkeyPatch, i: int = 0x15) -> SecureElement:
    memory = RamMemory()
    SecureElement(memory=memory, protocols=((0x02, i),), rng=os.urandom)
    records = tuple(KeyRecord(kid, KeyType.DES, OTHER) for kid in (1, 2, 3))
    memory.commit({"keys": b"\x20", "keys/20": KeySetRecord(records).build()})
    return element(monkeypatch, memory=memory, rng=os.urandom)


@pytest.mark.parametrize("i", [0x15, 0x55, 0x05, 0x75, 0x1D, 0x1A, 0x0B])
def test_scp02_opens_behind_its_allow_with_the_i_of_the_card(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile, i: int
) -> None:
    des_element(monkeypatch, i)
    words = ("card", "list", "--link", "sim:element", "--scp", "02", "--keys", key_file(OTHER, kvn="20"))
    refused = keywright(*words)
    assert refused.code == 5
    assert "repeat it with --legacy" in refused.err
    ran = keywright(*words, "--legacy")
    assert ran.code == 0, ran.err


def test_the_protocol_of_the_key_set_is_taken_where_a_card_has_several(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile
) -> None:
    des_element(monkeypatch)
    words = ("card", "list", "--link", "sim:element", "--keys", key_file(OTHER, kvn="20"))
    refused = keywright(*words)
    assert refused.code == 5
    assert "repeat it with --legacy" in refused.err
    ran = keywright(*words, "--legacy")
    assert ran.code == 0, ran.err
    named = keywright(*words, "--legacy", "--scp", "03")
    assert named.code == 6
    assert "the card speaks SCP02 with this key set, not SCP03" in named.err


def test_wrong_keys_of_scp02_are_named_too(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, key_file: KeyFile
) -> None:
    des_element(monkeypatch)
    ran = keywright(
        "card", "list", "--link", "sim:element", "--scp", "02", "--legacy", "--kvn", "20", "--keys", "gp-test"
    )
    assert ran.code == 3
    assert "gp-test is the test key set, but the card answered with KVN 20" in ran.err


@pytest.mark.parametrize(
    ("sw", "cause", "hint"),
    [
        (0x6985, "the domain has no keys of its own yet", "put its first keys from there"),
        (0x6A88, "the domain has no key set with this version number", "card keys"),
        (0x6983, "this key set is blocked", ""),
    ],
)
def test_a_refused_initialize_update_names_its_likely_cause(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, sw: int, cause: str, hint: str
) -> None:
    def handle(raw: bytes) -> bytes:
        return (0x9000 if raw[1] == 0xA4 else sw if raw[1] == 0x50 else 0x6A88).to_bytes(2)

    link = Scp11Link(scp11.domain())
    monkeypatch.setattr(link, "exchange", handle)
    behind(monkeypatch, link)
    for words in ((), ("--scp", "02", "--legacy")):
        ran = keywright("card", "list", "--link", "pcsc:x", "--keys", "gp-test", "--kvn", "20", *words)
        assert ran.code == 6
        assert f"INITIALIZE UPDATE (KVN 20): status {sw:04X}" in ran.err
        assert cause in ran.err
        assert hint in ran.err


# ---- SCP11


class Scp11Link:
    """The card end of SCP11 behind a link; it has no card data."""

    name, atr, extended = "scp11", b"", True

    def __init__(self, domain: scp11.Domain) -> None:
        self.domain = domain
        self.card = scp11.CardEnd(domain)

    def exchange(self, raw: bytes) -> bytes:
        command = Command.parse(raw)
        if command.ins == 0xA4:
            self.card.initiation.drop()
            return b"\x90\x00"
        if command.ins == 0xCA and (command.p1, command.p2) == (0, 0x66):
            return b"\x6a\x88"
        if command.ins == 0xCA and command.p2 in (0x42, 0x45):
            name = {0x42: self.domain.iin, 0x45: self.domain.cin}[command.p2]
            return b"\x6a\x88" if name is None else item(command.p2, name) + b"\x90\x00"
        return self.card(command).encode()

    def reset(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


def pem(kind: str, der: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"


@pytest.fixture
def oce(tmp_path: Path) -> Path:
    """Our key and its certificates."""
    holder = scp11.holder("x509")
    path = tmp_path / "oce.pem"
    assert isinstance(holder.key, type(scp11.key("P-256", "x")))
    path.write_text(
        pem("PRIVATE KEY", holder.key.to_pkcs8()) + "".join(pem("CERTIFICATE", one) for one in holder.chain)
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root that certifies the card."""
    path = tmp_path / "root.pem"
    path.write_text(pem("CERTIFICATE", scp11.authority("card", "x509")[0].certificate))
    return path


def test_scp11_opens_with_certificates_of_both_sides(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, oce: Path, root: Path
) -> None:
    for scp in ("11a", "11c"):
        link = Scp11Link(scp11.domain())
        link.card.answer = Response(b"\x01")
        behind(monkeypatch, link)
        words = ("card", "apdu", "80F28002024F0000", "--secure", "--scp", scp, "--oce", oce, "--root", root)
        ran = keywright(*words, "--link", "pcsc:x", "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["answer"] == "019000"
        assert link.card.received[-1].data == b"\x4f\x00"


def test_a_certificate_of_the_card_has_to_be_valid_today(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    behind(monkeypatch, Scp11Link(scp11.domain()))
    words = ("card", "apdu", "80CA006700", "--secure", "--scp", "11b", "--link", "pcsc:x")
    for day, code in (("20241231", 3), ("20250101", 0), ("20450101", 0), ("20450102", 3)):
        monkeypatch.setattr(connection, "today", lambda day=day: day)
        ran = keywright(*words, "--root", root)
        assert ran.code == code, day
        assert ("not valid today, but from 20250101 to 20450101" in ran.err) is (code == 3)
        assert keywright(*words, "--any-card").code == 0


@pytest.mark.parametrize("scp", ["11a", "11b", "11c"])
def test_a_host_id_goes_into_the_keys_with_the_names_of_the_card(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, oce: Path, root: Path, scp: str
) -> None:
    link = Scp11Link(scp11.domain())
    seen: list[Command] = []
    exchange = link.exchange

    def told(raw: bytes) -> bytes:
        seen.append(Command.parse(raw))
        return exchange(raw)

    monkeypatch.setattr(link, "exchange", told)
    behind(monkeypatch, link)
    ours = () if scp == "11b" else ("--oce", oce)
    words = ("card", "apdu", "80F28002024F0000", "--secure", "--scp", scp, "--root", root, *ours, "--link", "pcsc:x")
    assert keywright(*words, "--host-id", "C0FFEE0011223344").code == 0
    (sent,) = [one for one in seen if one.ins in (0x82, 0x88)]
    assert bytes.fromhex("8408C0FFEE0011223344") in sent.data
    link.domain.cin = None
    assert keywright(*words, "--host-id", "C0FFEE").code == (0 if scp == "11c" else 2)
    assert keywright(*words).code == 0


def test_scp11_opens_with_the_key_that_a_card_has_made_before_anybody_certified_it(
    keywright: Keywright, tmp_path: Path
) -> None:
    link, public = f"sim:element?memory={tmp_path / 'card'}", tmp_path / "card.pem"
    assert keywright("element", "new", tmp_path / "card", "--scp", "11:9B06", "--initial-keys-stay").code == 0
    made = ("card", "scp11", "generate", "--kid", "13", "--new-kvn", "02", "--out", public, "--link", link)
    assert keywright(*made).code == 0
    words = ("card", "apdu", "80CA00D300", "--secure", "--scp", "11b", "--kvn", "02", "--link", link)
    none = keywright(*words, "--any-card")
    assert none.code == 6
    assert "no certificates of it" in none.err
    assert "--card-key" in none.err
    ran = keywright(*words, "--card-key", public, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["answer"] == "D301339000"
    other = tmp_path / "other.pem"
    other.write_text(pem("PUBLIC KEY", scp11.key("P-256", "another").public.spki()))
    assert keywright(*words, "--card-key", other).code == 3


def test_a_recorded_session_of_scp11_decodes_with_the_keys_that_were_kept(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    link = Scp11Link(scp11.domain())
    behind(monkeypatch, link)
    trace, kept = tmp_path / "t.jsonl", tmp_path / "keys.toml"
    words = ("card", "apdu", "80CA006700", "--secure", "--root", root, "--trace", trace, "--keep-session-keys", kept)
    refused = keywright(*words, "--link", "pcsc:x")
    assert refused.code == 5
    assert "of simulated cards only" in refused.err
    assert not kept.exists()
    for _ in range(2):
        ran = keywright(*words, "--link", "sim:element")
        assert ran.code == 0, ran.err
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.read_text().count("[[session]]") == 2
    told = keywright("decode", trace, "--session-keys", kept)
    assert told.code == 0, told.err
    assert told.out.count("plain    80 CA 00 67 00") == 2
    bare = keywright("decode", trace)
    assert "plain " not in bare.out
    kept.write_text('s_enc = "00"\n')
    assert keywright(*words, "--link", "sim:element").code == 2


def test_session_keys_of_scp03_are_not_kept(keywright: Keywright, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    ran = keywright("card", "list", "--link", "sim:element", "--keep-session-keys", path)
    assert ran.code == 2
    assert "decodes with the card's keys" in ran.err
    assert not path.exists()


def test_scp11b_needs_only_to_know_who_certifies_the_card(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    link = Scp11Link(scp11.domain())
    behind(monkeypatch, link)
    words = ("card", "apdu", "80CA006700", "--secure", "--link", "pcsc:x")
    assert keywright(*words, "--root", root).code == 0
    assert keywright(*words, "--scp", "11b", "--any-card").code == 0
    ran = keywright(*words, "--scp", "11b", "--keys", "gp-test")
    assert ran.code == 2
    assert "--root FILE, or take any card's word with --any-card" in ran.err
    ran = keywright(*words, "--scp", "11a", "--root", root)
    assert ran.code == 2
    assert "with --oce" in ran.err


def test_a_card_that_somebody_else_certified_is_refused(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    behind(monkeypatch, Scp11Link(scp11.domain()))
    path = tmp_path / "root.pem"
    path.write_text(pem("CERTIFICATE", scp11.authority("host", "x509")[0].certificate))
    ran = keywright("card", "apdu", "80CA006700", "--secure", "--link", "pcsc:x", "--root", path)
    assert ran.code == 3


# ---- SCP10


class Scp10Link:
    """The card end of SCP10 behind a link; it has no card data."""

    name, atr, extended = "scp10", b"", True

    def __init__(self) -> None:
        holder = Holder(scp10.CARD, scp10.key("sd_1024").public, b"TPIN0001")
        certificate = issue_certificate("A", holder, scp10.key("tp_in_1024"), Profile())
        self.card = scp10.Card(scp10.Domain(certificate=certificate.encoded))

    def exchange(self, raw: bytes) -> bytes:
        command = Command.parse(raw)
        if command.ins == 0xA4 and not command.cla & 0x0C:
            return b"\x90\x00"
        if command.ins == 0xCA and (command.p1, command.p2) == (0, 0x66):
            return b"\x6a\x88"
        return self.card(command).encode()

    def reset(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


def test_scp10_opens_with_rsa_and_certificates(
    keywright: Keywright, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = scp10.host_identity()
    file, root = tmp_path / "oce.pem", tmp_path / "root.pem"
    blocks = [pem("SCP10 CERTIFICATE", one.encoded) for one in host.certificates]
    file.write_text("".join((pem("PRIVATE KEY", host.private_key.to_pkcs8()), *blocks)))
    file.chmod(0o600)
    assert host.trust_point is not None
    root.write_text(pem("PUBLIC KEY", host.trust_point.spki()))
    link = Scp10Link()
    behind(monkeypatch, link)
    words = ("card", "apdu", "80F28002024F0000", "--secure", "--scp", "10", "--link", "pcsc:x", "--legacy")
    ran = keywright(*words, "--oce", file, "--root", root, "--i", "02")
    assert ran.code == 0, ran.err
    assert link.card.received[-1].data == b"\x4f\x00"
    assert "with --oce" in keywright(*words, "--keys", "gp-test").err
    assert keywright(*words[:-1], "--oce", file, "--root", root).code == 5
    assert keywright(*words, "--oce", file, "--root", root, "--i", "09").code == 2
    file.write_text(pem("PRIVATE KEY", host.private_key.to_pkcs8()))
    assert "no holder reference (5F20)" in keywright(*words, "--oce", file, "--root", root).err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scp", "09"), "there is no such secure channel here"),
        (("--profile", "x"), "x: no card profile, and no file"),
        (("--scp", "03", "--any-card"), "SCP03 needs static keys"),
    ],
)
def test_options_that_fit_nothing_are_refused(keywright: Keywright, words: tuple[str, ...], message: str) -> None:
    ran = keywright("card", "list", "--link", "sim:element", *words)
    assert ran.code == 2
    assert message in ran.err


# ---- key and certificate files


def test_a_private_key_that_others_may_read_is_refused(oce: Path) -> None:
    oce.chmod(0o644)
    with pytest.raises(PolicyError, match="others"):
        read_ring(oce)


def test_keys_and_certificates_are_told_apart(oce: Path, root: Path, tmp_path: Path) -> None:
    ring = read_ring(oce)
    assert (len(ring.private), len(ring.public)) == (1, 0)
    assert len(ring.certificates) == len(scp11.holder("x509").chain)
    assert read_public_key(oce) == read_private_key(oce).public
    der = tmp_path / "root.der"
    der.write_bytes(scp11.authority("card", "gp")[0].certificate)
    assert len(read_certificates(der)) == 1
    public = tmp_path / "public.pem"
    public.write_text(pem("PUBLIC KEY", read_private_key(oce).public.spki()))
    assert read_public_key(public) == read_private_key(oce).public
    assert read_public_key(root) == scp11.authority("card", "x509")[0].public


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "neither a key nor a certificate"),
        (pem("CERTIFICATE", b"0"), "a certificate cannot be read"),
        (pem("PRIVATE KEY", b"0"), "of no kind that cards take"),
        (pem("PUBLIC KEY", b"0"), "of no kind that cards take"),
        (pem("EC PRIVATE KEY", b"0"), "of no kind that cards take"),
        (pem("ENCRYPTED PRIVATE KEY", b"0"), "a PEM block ENCRYPTED PRIVATE KEY cannot be used"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
            "a PEM block RSA PRIVATE KEY is encrypted",
        ),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "a PEM block is damaged"),
    ],
)
def test_files_that_are_no_key_or_certificate_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=message):
        read_ring(path)


@pytest.mark.parametrize("options", [("ecparam", "-genkey", "-name", "secp384r1"), ("genrsa", "-traditional", "1024")])
def test_private_keys_in_the_older_forms_of_openssl_are_taken(tmp_path: Path, options: tuple[str, ...]) -> None:
    require_peer("openssl", shutil.which("openssl") is not None, "apt-get install openssl")
    path, public = tmp_path / "key.pem", tmp_path / "public.pem"
    path.touch(0o600)
    path.write_bytes(subprocess.run(["openssl", *options], check=True, capture_output=True).stdout)
    told = subprocess.run(["openssl", "pkey", "-in", str(path), "-pubout"], check=True, capture_output=True)
    public.write_bytes(told.stdout)
    assert b"PRIVATE KEY" in path.read_bytes()
    assert read_private_key(path).public == read_public_key(public)


def test_a_file_with_another_number_of_keys_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(UsageError, match="one private key is due, there are 0"):
        read_private_key(root)
    with pytest.raises(UsageError, match="cannot be read"):
        read_ring(tmp_path / "none")
