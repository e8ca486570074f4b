"""`keywright key lock`: make, look at and configure a simulated lock."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from keywright.aliro.certificates import key_slot
from keywright.aliro.matter.cluster import TYPES, CredentialType, Slot, Status
from keywright.aliro.matter.configuration import write_attributes, write_configuration
from keywright.aliro.matter.door_lock import Outcome
from keywright.cli.key.issuers import Issuer, Keystore, opened_issuer
from keywright.cli.key.options import Evictable, LockFile, public_key_in
from keywright.cli.links import insist
from keywright.cli.options import Json, Yes
from keywright.cli.text import good, pairs, say, show_json, table
from keywright.cli.unlock import Passphrase, UnlockFile
from keywright.errors import KeywrightError, UsageError
from keywright.fob.lock import CREDENTIAL_NAMES, DoorReader, begin_lock, opened_lock

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Key = Annotated[str, typer.Argument(metavar="KEY", help="Public key: 65 bytes in hex, or a file with it.")]

_STATUSES = {
    Status.DUPLICATE: "the lock has this key already",
    Status.OCCUPIED: "the place is taken",
    Status.RESOURCE_EXHAUSTED: "the lock is full",
    Status.INVALID_IN_STATE: "the lock has no reader configuration",
}


@app.command()
def new(
    lock: LockFile,
    *,
    configuration: Annotated[
        Path | None,
        typer.Option("--configuration", metavar="FILE", help="Configuration with a reader in it, as JSON."),
    ] = None,
    group: Annotated[
        str, typer.Option("--group", metavar="HEX", help="reader_group_identifier, 16 bytes; drawn if not given.")
    ] = "",
    element: Annotated[
        list[str] | None,
        typer.Option("--element", metavar="NAME", help="Element of Access Documents that counts here."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a lock: a reader key and a group, drawn at random. The file is the lock: keep it as you keep keys.

    Example: keywright key lock new door.lock --element door
    """
    try:
        identifier = bytes.fromhex(group)
    except ValueError:
        identifier = b"\0"
    if group and len(identifier) != 16:
        raise UsageError(f"--group {group}: 16 bytes in hex", hint="leave it out, and one is drawn")
    begin_lock(
        lock,
        os.urandom,
        group_identifier=identifier,
        configuration=_text(configuration) if configuration else "",
        elements=tuple(element or ("door",)),
    )
    with opened_lock(lock, os.urandom, readonly=True) as reader:
        _show(lock, reader, as_json=json, done="made")


@app.command()
def show(lock: LockFile, *, json: Json = False) -> None:
    """Show a lock: its group, who may open it, and whom it trusts. No secret is shown.

    Example: keywright key lock show door.lock
    """
    with opened_lock(lock, os.urandom, readonly=True) as reader:
        _show(lock, reader, as_json=json)


@app.command()
def recipe(lock: LockFile) -> None:
    """Write the step of a recipe that makes fobs for this lock and its group.

    Example: keywright key lock recipe door.lock >> door.toml
    """
    with opened_lock(lock, os.urandom, readonly=True) as reader:
        found = reader.reader()
        say("[[step]]")
        say('name = "aliro"')
        say(f'reader_group = "{found.identifier[:16].hex().upper()}"')
        say(f'reader_key = "{found.key.public.point.hex().upper()}"')
        say(f'element = "{reader.elements[0]}"')


@app.command()
def configure(
    lock: LockFile,
    configuration: Annotated[Path, typer.Argument(metavar="FILE", help="Configuration as JSON, see docs/aliro.md.")],
    *,
    json: Json = False,
) -> None:
    """Give a lock issuers and keys, as a Matter controller would.

    Example: keywright key lock configure door.lock door.json
    """
    text = _text(configuration)
    with opened_lock(lock, os.urandom) as reader:
        reader.configure(text)
        _show(lock, reader, as_json=json, done="configured")


@app.command()
def export(lock: LockFile) -> None:
    """Write the configuration as JSON, without the reader's signing key and without the group resolving key.

    Example: keywright key lock export door.lock > door.json
    """
    with opened_lock(lock, os.urandom, readonly=True) as reader:
        say(write_configuration(reader.cluster))


@app.command()
def trust(
    lock: LockFile,
    key: Annotated[
        str, typer.Argument(metavar="[KEY]", help="Public key: 65 bytes in hex, or a file with it.", show_default=False)
    ] = "",
    *,
    keystore: Keystore = "",
    issuer: Issuer = "access-issuer",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    json: Json = False,
) -> None:
    """Trust a Credential Issuer: fobs with its Access Documents are let in as the documents say.

    Its key is given, or is that of a keystore.

    Example: keywright key lock trust door.lock --keystore lot.db.keystore
    """
    if bool(key) == bool(keystore):
        raise UsageError("which issuer?", hint="give its public key, or --keystore PATH")
    if keystore:
        with opened_issuer(keystore, issuer, unlock, passphrase=passphrase) as signer:
            key = signer.public.point.hex()
    _add(lock, CredentialType.ISSUER, key, as_json=json)


@app.command()
def register(
    lock: LockFile,
    key: Key,
    *,
    evictable: Evictable = False,
    json: Json = False,
) -> None:
    """Let a fob's key in without a document.

    Example: keywright key lock register door.lock fob.pem
    """
    _add(lock, CredentialType.EVICTABLE if evictable else CredentialType.NON_EVICTABLE, key, as_json=json)


@app.command()
def clear(lock: LockFile, key: Key, *, yes: Yes = False, json: Json = False) -> None:
    """Take a key away, of an issuer or a fob; what the lock kept of it goes too.

    Example: keywright key lock clear door.lock fob.pem
    """
    wanted = public_key_in(key, "KEY")
    with opened_lock(lock, os.urandom) as reader:
        slots = [one.slot for one in reader.cluster.credentials() if one.key == wanted]
        if not slots:
            raise UsageError("the lock does not have this key", hint=f"keywright key lock show {lock}")
        insist(f"take {_named(slots)} away from {lock}", yes=yes)
        for slot in slots:
            demand(reader.clear(slot), "ClearCredential")
        _show(lock, reader, as_json=json, done="cleared")


def demand(outcome: Outcome, what: str) -> None:
    """Raise KeywrightError unless the lock did what it was told."""
    status = outcome.status or outcome.fields.get(0, Status.SUCCESS)
    if status != Status.SUCCESS:
        said = _STATUSES.get(status, outcome.detail) or "refused"
        raise KeywrightError(
            f"{what}: the lock answered {status:02X}, {said}", hint="keywright key lock show says what it has"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _named(slots: list[Slot]) -> str:
    return " and ".join(f"{CREDENTIAL_NAMES[slot.type]} {slot.index}" for slot in slots)


def _add(lock: Path, kind: int, key: str, *, as_json: bool) -> None:
    wanted = public_key_in(key, "KEY")
    with opened_lock(lock, os.urandom) as reader:
        outcome = reader.add(kind, wanted)
        demand(outcome, f"SetCredential {TYPES[kind]}")
        _show(lock, reader, as_json=as_json, done="added to")


def _show(path: Path, reader: DoorReader, *, as_json: bool, done: str = "") -> None:
    cluster = reader.cluster
    credentials = [(one.slot, one.key) for one in cluster.credentials()]
    aliro = reader.lock()
    kept = [one.credential for one in aliro.keys]
    if as_json:
        document: dict[str, Any] = {
            "file": str(path),
            "attributes": write_attributes(cluster),
            "elements": list(reader.elements),
            "credentials": [
                {"type": TYPES[slot.type], "index": slot.index, "key": key.point.hex()} for slot, key in credentials
            ],
            "fast": [key.point.hex() for key in kept],
            "revoked": len(aliro.revocations),
        }
        show_json(document)
        return
    if done:
        say(f"{good(done)} {path}")
    config = cluster.reader
    say(
        "\n".join(
            pairs(
                [
                    ("group", config.group_identifier.hex().upper() if config else "none"),
                    ("reader", (config.group_identifier + cluster.sub_identifier).hex().upper() if config else "none"),
                    ("public key", config.signing_key.public.point.hex() if config else "none"),
                    ("elements", ", ".join(reader.elements)),
                    ("kept keys", f"{len(kept)} of fobs that open fast"),
                    ("revoked", f"{len(aliro.revocations)} entries"),
                ]
            )
        )
    )
    if credentials:
        rows = [
            (
                CREDENTIAL_NAMES[slot.type],
                str(slot.index),
                key_slot(key.point).hex().upper(),
                key.point.hex()[:24] + "…",
            )
            for slot, key in credentials
        ]
        say("\n".join(table(("what", "index", "key slot", "public key"), rows)))
