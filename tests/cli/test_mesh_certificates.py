"""`keywright mesh provision --cert-…`: devices by certificate, and what is refused before it is invited."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from keywright.cli.main import main
from keywright.cli.mesh import certificates
from keywright.crypto.chains import read_certificate
from keywright.errors import KeywrightError, LinkError, UsageError
from keywright.fob.mesh_device import design_of, key_of, static_oob_of, uuid_of
from keywright.fob.mesh_model import MeshModel
from keywright.fob.mesh_vendor import VENDOR, vendor
from keywright.mesh.certificate_uri import uri_data
from keywright.mesh.certificates import check_path
from keywright.mesh.messages import RecordRequest
from keywright.mesh.records import Records
from keywright.mesh.retrieval import CertificateServer, HttpAnswer, HttpGet, Published
from keywright.mesh.unit import Design
from support.mesh_pki import root as other_vendor

UUID = uuid_of("SIM-000001")


@pytest.fixture
def network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = tmp_path / "home.mesh"
    assert main(["mesh", "network", "new", str(file)]) == 0
    capsys.readouterr()
    return file


@pytest.fixture
def root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    file = tmp_path / "vendor.pem"
    assert main(["mesh", "root", str(file)]) == 0
    assert VENDOR in capsys.readouterr().out
    return file


@pytest.fixture
def values(tmp_path: Path) -> Path:
    file = tmp_path / "values"
    file.write_text(static_oob_of("a").hex())
    return file


def ran(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, *words: str | Path, code: int = 0, link: str = ""
) -> str:
    link = f"sim:mesh?oob={values}&{link or 'certificate=yes'}"
    given = ("--network", network, "--link", link, "--oob-file", values, "--json", *words)
    assert main(["mesh", "provision", *map(str, given)]) == code
    out, err = capsys.readouterr()
    return out + err if code else out


def test_a_device_is_taken_by_certificate_and_static_oob(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path
) -> None:
    found = json.loads(ran(capsys, network, values, "--cert-root", root))
    assert (found["certified_by"], found["security"]) == (VENDOR, "secure")


def test_a_named_device_is_asked_for_its_records(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path
) -> None:
    words = ("--cert-root", root, "--uuid", UUID.hex())
    assert json.loads(ran(capsys, network, values, *words))["certified_by"] == VENDOR


def test_without_a_root_nobody_asks_for_certificates(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path
) -> None:
    assert json.loads(ran(capsys, network, values))["certified_by"] is None
    why = ran(capsys, network, values, "--cert-policy", "offered", code=2)
    assert "give the vendor's root with --cert-root FILE" in why


def test_a_certificate_may_be_required_or_taken_if_offered(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path
) -> None:
    words = ("--cert-root", root)
    why = ran(capsys, network, values, *words, link="count=1", code=5)
    assert "the device offers no certificate" in why
    found = json.loads(ran(capsys, network, values, *words, "--cert-policy", "offered", link="count=1"))
    assert found["certified_by"] is None


def test_a_certificate_alone_has_to_be_said_twice(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path
) -> None:
    words = ("--cert-root", root, "--oob", "none")
    assert "no way to authenticate" in ran(capsys, network, values, *words, code=5)
    assert json.loads(ran(capsys, network, values, *words, "--cert-alone"))["security"] == "secure"


def test_who_is_revoked_or_of_another_vendor_is_refused(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text(f"# lost in March\n\n{UUID.hex()}\n")
    words: tuple[str | Path, ...] = ("--cert-root", root, "--cert-revoked", revoked)
    assert "revoked by our own list" in ran(capsys, network, values, *words, code=3)
    other = tmp_path / "other.der"
    other.write_bytes(other_vendor().root)
    assert "no trusted root is its issuer" in ran(capsys, network, values, "--cert-root", other, code=3)
    revoked.write_text("junk\n")
    assert "a Device UUID has 16 octets" in ran(capsys, network, values, *words, code=2)
    revoked.unlink()
    assert "cannot be read" in ran(capsys, network, values, *words, code=2)


def test_a_root_is_a_ca_certificate(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path, tmp_path: Path
) -> None:
    leaf = tmp_path / "leaf.der"
    leaf.write_bytes(device_records()[1])
    assert "trusted root not accepted" in ran(capsys, network, values, "--cert-root", leaf, code=5)
    key = tmp_path / "key.pem"
    spki = base64.b64encode(key_of("x").public.spki()).decode()
    key.write_text(f"-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n")
    assert "no certificate in it" in ran(capsys, network, values, "--cert-root", key, code=2)
    assert main(["mesh", "root", str(root)]) == 2
    assert "name a file that is not there" in capsys.readouterr().err


def device_records() -> dict[int, bytes]:
    records = design_of("SIM-000001", MeshModel(has_certificate=True)).records
    found = {}
    for one in records.listed().records:
        found[one] = records.answer(RecordRequest(one, 0, 0xFFFF)).data
    return found


def test_the_vendor_is_the_same_everywhere_and_its_devices_are_good() -> None:
    records = device_records()
    roots = (vendor().root,)
    found = check_path(records[1], (records[2],), roots, uuid=UUID, at="2026-06-01T00:00:00Z")
    assert found.public_key == key_of("SIM-000001").public
    found.check_composition(design_of("SIM-000001").composition)
    assert read_certificate(records[2]).may_sign
    vendor.cache_clear()  # as another process would have it: other signatures, the same keys and names
    check_path(device_records()[1], (records[2],), roots, uuid=UUID, at="2026-06-01T00:00:00Z")


class Served:
    """A device that names a server, and the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: HttpAnswer | KeywrightError | None = None) -> None:
        self.asked: list[HttpGet] = []
        self._answer = answer
        records = device_records()
        self._server = CertificateServer("/oob", {UUID: Published(records[1], (records[2],))})
        where = Records({0: uri_data("https://vendor.example/oob")})
        usual = design_of

        def named(name: str, model: MeshModel, **values: bytes) -> Design:
            design = usual(name, model, **values)
            return Design(design.uuid, design.composition, design.abilities, where)

        monkeypatch.setattr("keywright.fob.mesh_radio.design_of", named)
        monkeypatch.setattr("keywright.fob.mesh_certificates.get", self.get)

    def get(self, request: HttpGet, _: object) -> HttpAnswer:
        self.asked.append(request)
        if isinstance(self._answer, KeywrightError):
            raise self._answer
        return self._answer or self._server.handle("GET", request.uri.removeprefix("https://vendor.example"))


def test_a_server_is_asked_only_if_it_is_named(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(monkeypatch)
    words: tuple[str | Path, ...] = ("--cert-root", root)
    assert "vendor.example, which is not asked" in ran(capsys, network, values, *words, code=5)
    assert served.asked == []
    words += ("--cert-server", "Vendor.Example", "--cert-server-ca", root)
    assert json.loads(ran(capsys, network, values, *words))["certified_by"] == VENDOR
    assert len(served.asked) == 2


def test_a_server_that_does_not_answer_ends_it(
    capsys: pytest.CaptureFixture[str], network: Path, values: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Served(monkeypatch, LinkError("vendor.example cannot be asked"))
    words = ("--cert-root", root, "--cert-server", "vendor.example")
    assert "cannot be asked" in ran(capsys, network, values, *words, code=4)


def test_servers_are_of_no_use_without_a_root() -> None:
    with pytest.raises(UsageError, match="without a root"):
        certificates.certificate_policy((), wanted=None, servers=("a",), revoked=None, alone=False)
