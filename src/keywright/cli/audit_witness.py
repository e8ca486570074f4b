"""`keywright audit witness`: the second host that cosigns checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli.options import Json
from keywright.cli.text import good, note, say, show_json
from keywright.crypto.curve25519 import Ed25519Key
from keywright.errors import StoreError, UsageError
from keywright.production.audit.cosignature import WitnessKey
from keywright.production.audit.note import NOTE_BYTES, NoteKey, check_name
from keywright.production.audit.second_host import Witness, server_of
from keywright.production.private_file import READABLE, read_plain, read_private, write_new, write_private

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_WHAT: Final = "key of the witness"
_FILE_BYTES: Final = 4096

KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", help="The witness's own key, mode 0600.")]


class _File(msgspec.Struct, frozen=True):
    format: str
    version: int
    name: str
    secret: bytes


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose word it is, for example witness.example/line1.")],
    *,
    key: KeyFile,
    json: Json = False,
) -> None:
    """Make the key of a witness, and beside it (FILE.pub) what whoever verifies checks its word with."""
    check_name(name)
    secret = os.urandom(32)
    public = WitnessKey(name, Ed25519Key(secret, _WHAT).public)
    write_private(key, _WHAT, msgspec.json.encode(_File("keywright witness key", 1, name, secret)) + b"\n")
    handed = key.with_name(f"{key.name}.pub")
    write_new(handed, _WHAT, f"{public}\n".encode(), READABLE)
    if json:
        show_json({"key": str(key), "public": str(handed), "name": name})
    else:
        say(good(f"Made {key} and {handed}"))


@app.command()
def serve(
    *,
    key: KeyFile,
    log: Annotated[list[Path], typer.Option("--log", metavar="FILE", help="The public key of a log; again for more.")],
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="Its memory: what it cosigned. Keep it.")],
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where it listens.")] = "127.0.0.1:8734",
) -> None:
    """Cosign checkpoints of logs, each only if it begins with all that was cosigned before. Ends with Ctrl-C."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5:
        raise UsageError(f"--listen {listen}: not HOST:PORT", hint="for example 127.0.0.1:8734")
    name, secret = _opened(key)
    witness = Witness(name, secret, [_log(path) for path in log], file)
    with server_of(witness, host.strip("[]"), int(port)) as server:
        note(f"{name} listens on http://{host}:{server.server_address[1]}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            note("ended")


def _log(path: Path) -> NoteKey:
    return NoteKey.parse(read_plain(path, "public key of a log", NOTE_BYTES).decode("utf-8", "replace"))


def _opened(path: Path) -> tuple[str, Ed25519Key]:
    try:
        file = msgspec.json.decode(read_private(path, _WHAT, _FILE_BYTES), type=_File)
        return check_name(file.name), Ed25519Key(file.secret, _WHAT)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise StoreError(
            f"{path}: not the {_WHAT}, or damaged", hint="make one: keywright audit witness new"
        ) from error
