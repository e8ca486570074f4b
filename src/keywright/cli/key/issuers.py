"""The Credential Issuer whose key is in a keystore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from keywright.aliro.issuer import CredentialIssuer
from keywright.cli.unlock import unlock_with
from keywright.errors import UsageError
from keywright.production.handover.unit_record import KeystoreSigner
from keywright.production.keystores.keystore_uri import open_keystore

Keystore = Annotated[str, typer.Option("--keystore", metavar="PATH|URI", help="Where the issuer's key is.")]
Issuer = Annotated[str, typer.Option("--issuer", metavar="NAME", help="The Credential Issuer's name in it.")]


@contextmanager
def opened_issuer(uri: str, name: str, unlock: Path | None, *, passphrase: bool) -> Iterator[CredentialIssuer]:
    """The issuer of that name. Raises UsageError if the keystore has none of it, and as opening a keystore does."""
    held = open_keystore(uri, unlock_with(unlock, passphrase=passphrase))
    try:
        names = [facts.name for facts in held.show() if facts.purpose == "issuer"]
        if name not in names:
            raise UsageError(
                f"the keystore has no Credential Issuer {name!r}", hint=f"it has: {', '.join(names) or 'none'}"
            )
        yield CredentialIssuer(KeystoreSigner(held, name), os.urandom)
    finally:
        held.close()
