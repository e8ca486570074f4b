"""Device certificates against OpenSSL's tools: it follows our paths, we follow its, and both refuse the same."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from keywright.crypto.inspection import inspect_certificate
from keywright.errors import AuthenticationError
from keywright.mesh.certificates import check_path
from support.mesh_pki import AT, NAME, UUID, authority, device_certificate, forge, key, root, usage
from support.peers import require_peer

AT_SECONDS = "1780272000"
"""`AT` for OpenSSL."""


@pytest.fixture
def openssl(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = shutil.which("openssl")
    require_peer("openssl", program is not None, "apt-get install openssl")

    def run(*words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program or "", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert code is None or done.returncode == code, done.stderr
        return done

    return run


def pem(*ders: bytes) -> str:
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n" for der in ders
    )


def accepts(
    openssl: Callable[..., subprocess.CompletedProcess[str]],
    folder: Path,
    der: bytes,
    between: Sequence[bytes] = (),
    *options: str,
) -> bool:
    (folder / "device.pem").write_text(pem(der))
    (folder / "root.pem").write_text(pem(root().root))
    words = ["verify", "-attime", AT_SECONDS, "-CAfile", "root.pem", *options]
    if between:
        (folder / "between.pem").write_text(pem(*between))
        words += ["-untrusted", "between.pem"]
    return openssl(*words, "device.pem", code=None).returncode == 0


@pytest.mark.parametrize("depth", [0, 1, 15])
def test_openssl_follows_our_path(
    openssl: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, depth: int
) -> None:
    issuer = authority(depth)
    der = device_certificate(key("device").public, issuer=issuer)
    assert accepts(openssl, tmp_path, der, issuer.intermediates, "-x509_strict")


def ca(path_length: int | None = None, *, is_ca: bool = True) -> bytes:
    """A CA certificate of our own below the root, named Own CA, with the key "CA"."""
    return forge(
        subject=OWN,
        public_key=key("CA").public.library_key(),
        basic=x509.BasicConstraints(ca=is_ca, path_length=path_length),
        key_usage=usage("key_cert_sign" if is_ca else "key_agreement"),
    )


OWN = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Own CA")])
LOWER = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Lower CA")])
LEAF = forge(issuer=OWN, signer=key("CA").library_key())
LOWER_CA = forge(
    subject=LOWER,
    issuer=OWN,
    signer=key("CA").library_key(),
    public_key=key("lower").public.library_key(),
    basic=x509.BasicConstraints(ca=True, path_length=None),
    key_usage=usage("key_cert_sign"),
)
LOWER_LEAF = forge(issuer=LOWER, signer=key("lower").library_key())
CASES: dict[str, tuple[bytes, tuple[bytes, ...], bool]] = {
    "good": (LEAF, (ca(),), True),
    "good below another": (LOWER_LEAF, (LOWER_CA, ca(1)), True),
    "too long": (LOWER_LEAF, (LOWER_CA, ca(0)), False),
    "no CA": (LEAF, (ca(is_ca=False),), False),
    "missing": (LEAF, (), False),
    "another signature": (LEAF[:-1] + bytes((LEAF[-1] ^ 1,)), (ca(),), False),
    "a signer without the right": (
        LEAF,
        (forge(subject=OWN, public_key=key("CA").public.library_key(), key_usage=usage("crl_sign")),),
        False,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_both_judge_a_path_alike(
    openssl: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, case: str
) -> None:
    der, between, is_good = CASES[case]
    assert accepts(openssl, tmp_path, der, between) == is_good
    try:
        check_path(der, between, (root().root,), uuid=UUID, at=AT)
    except AuthenticationError:
        assert not is_good
    else:
        assert is_good


CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
O = Foreign
CN = Foreign Root
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
authorityKeyIdentifier = keyid
[device]
basicConstraints = CA:FALSE
keyUsage = keyAgreement
certificatePolicies = critical, 1.2.3.4
crlDistributionPoints = URI:https://vendor.example/crl
[signing]
basicConstraints = CA:FALSE
keyUsage = digitalSignature, keyAgreement

"""


def test_we_follow_the_path_of_openssl(
    openssl: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "ca.cnf").write_text(CONFIGURATION)
    for name in ("root", "ca", "device"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl(*"req -x509 -config ca.cnf -extensions root -key root.key -sha256 -days 30 -out root.pem".split())
    subjects = {"ca": "/O=Foreign/CN=Foreign CA", "device": f"/O=Foreign/CN={NAME} BCID:0059 BPID:0A01"}
    found: dict[str, bytes] = {}
    for name, issuer, kind in (("ca", "root", "ca"), ("device", "ca", "device"), ("device", "ca", "signing")):
        openssl("req", "-new", "-config", "ca.cnf", "-key", f"{name}.key", "-subj", subjects[name], "-out", "x.csr")
        openssl(
            *f"x509 -req -in x.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -sha256 -days 20".split(),
            *f"-extfile ca.cnf -extensions {kind} -out {name}.pem".split(),
        )
        found[kind] = der_of(tmp_path / f"{name}.pem")
    trusted = (der_of(tmp_path / "root.pem"),)
    at = inspect_certificate(found["device"]).not_before
    accepted = check_path(found["device"], (found["ca"],), trusted, uuid=UUID, at=at)
    assert (accepted.vendor, accepted.company, accepted.product) == ("Foreign", 0x0059, 0x0A01)
    with pytest.raises(AuthenticationError, match="digitalSignature, keyAgreement, not keyAgreement alone"):
        check_path(found["signing"], (found["ca"],), trusted, uuid=UUID, at=at)


def der_of(path: Path) -> bytes:
    lines = path.read_text().splitlines()
    return base64.b64decode("".join(lines[lines.index("-----BEGIN CERTIFICATE-----") + 1 : -1]))
