"""Certificates of mesh devices at the command line: what is accepted, and the root of those that are simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from keywright.cli.card.pem import certificate_pem
from keywright.cli.keyring import read_ring
from keywright.cli.mesh.options import uuid_in
from keywright.cli.text import say
from keywright.errors import KeywrightError, UsageError
from keywright.mesh.cbp import CertificatePolicy
from keywright.mesh.retrieval import HttpAnswer, HttpGet

app = typer.Typer(rich_markup_mode=None)

Wanted = Literal["required", "offered"]

CertRoot = Annotated[
    list[Path] | None,
    typer.Option("--cert-root", metavar="FILE", help="A vendor's root whose devices are taken by certificate."),
]
CertPolicy = Annotated[
    Wanted | None, typer.Option("--cert-policy", help="Whether a device must have one; required if not said.")
]
CertAlone = Annotated[
    bool, typer.Option("--cert-alone", help="A certificate does without OOB, if --oob none is said too.")
]
CertRevoked = Annotated[
    Path | None, typer.Option("--cert-revoked", metavar="FILE", help="Device UUIDs that are refused, one a line.")
]
CertServer = Annotated[
    list[str] | None,
    typer.Option("--cert-server", metavar="HOST", help="A server that may be asked for certificates."),
]
CertServerCa = Annotated[
    Path | None,
    typer.Option("--cert-server-ca", metavar="FILE", help="CA of that server's TLS, if not one of the system's."),
]


@app.command()
def root(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it is written (PEM).")],
) -> None:
    """Write the root certificate of the simulated devices' vendor. Everybody has its key: it is for trying things.

    Example: keywright mesh root vendor.pem
    """
    from keywright.fob.mesh_vendor import VENDOR, vendor  # noqa: PLC0415 - makes certificates, which loads X.509

    try:
        with file.open("x", encoding="ascii") as out:
            out.write(certificate_pem(vendor().root))
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be written: {error.strerror}", hint="name a file that is not there"
        ) from error
    say(f"{file}: root certificate of {VENDOR}")


def certificate_policy(
    roots: Sequence[Path] | None,
    *,
    wanted: Wanted | None,
    servers: Sequence[str] | None,
    revoked: Path | None,
    alone: bool,
) -> CertificatePolicy | None:
    """What is accepted, None if no root is given. Raises UsageError, also for options without a root, PolicyError."""
    if not roots:
        if wanted or servers or revoked or alone:
            raise UsageError("--cert-… without a root to trust", hint="give the vendor's root with --cert-root FILE")
        return None
    return CertificatePolicy(
        roots=tuple(raw for path in roots for raw in _certificates(path)),
        required=wanted != "offered",
        revoked=_uuids(revoked) if revoked is not None else frozenset(),
        needs_method=not alone,
        hosts=tuple(server.lower() for server in servers or ()),
    )


def fetcher(authorities: Path | None) -> Callable[[HttpGet], HttpAnswer | KeywrightError]:
    """What gets certificates from a server, or says why not. authorities: whose TLS certificates are taken (PEM)."""
    from keywright.fob.mesh_certificates import get  # noqa: PLC0415 - loads HTTP and TLS, which few devices need
    from keywright.link.https import tls_client  # noqa: PLC0415 - as above

    trusted = None if authorities is None else "".join(map(certificate_pem, _certificates(authorities)))

    def fetch(request: HttpGet) -> HttpAnswer | KeywrightError:
        try:
            return get(request, tls_client(trusted))
        except KeywrightError as error:
            return error

    return fetch


def _certificates(path: Path) -> tuple[bytes, ...]:
    found = read_ring(path).certificates
    if not found:
        raise UsageError(f"{path}: there is no certificate in it", hint="give a certificate in PEM or DER")
    return found


def _uuids(path: Path) -> frozenset[bytes]:
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read", hint="give a file with a Device UUID on each line") from error
    wanted = (line.strip() for line in lines)
    return frozenset(uuid_in(one, f"{path}:") for one in wanted if one and not one.startswith("#"))
