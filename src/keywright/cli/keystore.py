"""`keywright keystore`: make and look at the sealed file that holds the line's keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from keywright.cli.keystore_text import record_document, say_registry
from keywright.cli.options import Json
from keywright.cli.text import bad, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.production.keystore_uri import keystore_path
from keywright.production.software_keystore import SoftwareKeystore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

File = Annotated[str, typer.Argument(metavar="KEYSTORE", help="The keystore: a path, or software:PATH.")]
_TEST: str = "TEST keystore: its keys are in a file and in this program's memory. Try out with it, ship nothing."


@app.command()
def new(keystore: File, *, unlock: UnlockFile = None, passphrase: Passphrase = False, json: Json = False) -> None:
    """Make a keystore with new issuer keys and a new certificate authority, sealed in a file of mode 0600."""
    path = keystore_path(keystore)
    made = SoftwareKeystore.create(
        path, now=datetime.now(UTC), unlock=unlock_with(unlock, passphrase=passphrase, twice=True)
    )
    if json:
        show_json(_document(made, path))
        return
    say(f"made {path}, keystore {made.keystore_id}")
    if not passphrase:
        say(f"  unlock key in {unlock or f'{path}.unlock'}: keep a copy of both files, apart from each other")
    _say_keys(made)


@app.command()
def show(keystore: File, *, unlock: UnlockFile = None, passphrase: Passphrase = False, json: Json = False) -> None:
    """Show which keys a keystore holds: names and check values, never a key."""
    path = keystore_path(keystore)
    held = SoftwareKeystore.open(path, unlock_with(unlock, passphrase=passphrase))
    if json:
        show_json(_document(held, path))
        return
    say(f"{path}, keystore {held.keystore_id}")
    _say_keys(held)


def _document(keystore: SoftwareKeystore, path: Path) -> dict[str, Any]:
    return {
        "file": str(path),
        "keystore_id": keystore.keystore_id,
        "test": keystore.test,
        "keys": [msgspec.to_builtins(facts) for facts in keystore.show()],
        "registry": [record_document(record) for record in keystore.registry.records],
    }


def _say_keys(keystore: SoftwareKeystore) -> None:
    say_registry(keystore.registry, time.time())
    if keystore.test:
        say(bad(_TEST))
