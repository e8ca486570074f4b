"""`keywright keystore`: make, look at and audit what holds the line's keys, a sealed file or a token."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
import typer

from keywright.cli.keystore_text import record_document, say_registry
from keywright.cli.options import Json
from keywright.cli.text import bad, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.errors import UsageError
from keywright.production.keystores.keystore import Keystore, Unlock
from keywright.production.keystores.keystore_uri import is_token, keystore_path, open_keystore
from keywright.production.keystores.software_keystore import SoftwareKeystore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(metavar="KEYSTORE", help="A path, software:PATH, or a token: pkcs11:LABEL.")]
Production = Annotated[bool, typer.Option("--production", help="A token only: its keys are not for trying out.")]
Owner = Annotated[str, typer.Option("--owner", help="A token only: who the keys belong to, for the registry.")]
_TEST: Final = "TEST keystore: its keys are in a file and in this program's memory. Try out with it, ship nothing."
_TEST_INSIDE: Final = "TEST keystore: its keys were made for trying out. Ship nothing with them."


@app.command()
def new(
    keystore: Which,
    *,
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    production: Production = False,
    owner: Owner = "",
    json: Json = False,
) -> None:
    """Make a keystore with new issuer keys and a new certificate authority.

    In a file of mode 0600, sealed; or in a token that is initialised and has a PIN, where the keys are generated.
    """
    if is_token(keystore):
        _new_in_token(keystore, unlock_with(unlock, passphrase=passphrase), owner, production=production, json=json)
        return
    if production or owner:
        raise UsageError("--production and --owner are for tokens", hint="a keystore in a file is always TEST")
    path = keystore_path(keystore)
    made = SoftwareKeystore.create(
        path, now=datetime.now(UTC), unlock=unlock_with(unlock, passphrase=passphrase, twice=True)
    )
    if json:
        show_json(_document(made, keystore))
        return
    say(f"made {path}, keystore {made.keystore_id}")
    if not passphrase:
        say(f"  unlock key in {unlock or f'{path}.unlock'}: keep a copy of both files, apart from each other")
    _say_keys(made, keystore)


def _new_in_token(uri: str, unlock: Unlock | None, owner: str, *, production: bool, json: bool) -> None:
    from keywright.production.hsm.keystore import Pkcs11Keystore  # noqa: PLC0415 - nobody else needs it
    from keywright.production.hsm.uri import TokenUri  # noqa: PLC0415 - nobody else needs it

    made = Pkcs11Keystore.create(TokenUri.parse(uri), unlock, now=datetime.now(UTC), test=not production, owner=owner)
    try:
        if json:
            show_json(_document(made, uri))
            return
        say(f"made keystore {made.keystore_id} in {uri}")
        _say_keys(made, uri)
    finally:
        made.close()


@app.command()
def show(keystore: Which, *, unlock: UnlockFile = None, passphrase: Passphrase = False, json: Json = False) -> None:
    """Show which keys a keystore holds: names and check values, never a key."""
    held = open_keystore(keystore, unlock_with(unlock, passphrase=passphrase))
    try:
        if json:
            show_json(_document(held, keystore))
            return
        say(f"{keystore if is_token(keystore) else keystore_path(keystore)}, keystore {held.keystore_id}")
        _say_keys(held, keystore)
    finally:
        held.close()


def _document(keystore: Keystore, uri: str) -> dict[str, Any]:
    where = {"token": uri} if is_token(uri) else {"file": str(keystore_path(uri))}
    return {
        **where,
        "keystore_id": keystore.keystore_id,
        "test": keystore.test,
        "keys": [msgspec.to_builtins(facts) for facts in keystore.show()],
        "registry": [record_document(record) for record in keystore.registry.records],
    }


def _say_keys(keystore: Keystore, uri: str) -> None:
    say_registry(keystore.registry, time.time())
    if keystore.test:
        say(bad(_TEST_INSIDE if is_token(uri) else _TEST))
