"""`keywright keystore import-factory`: put the keys that units come with into a keystore; no key in an argument."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from keywright.cli.keyfile import raw_keys
from keywright.cli.keystore_states import ApprovalFile, By, People, Signing, Where, approval_for
from keywright.cli.keystore_text import record_document
from keywright.cli.options import Json
from keywright.cli.passphrases import PassphraseFile
from keywright.cli.person import ask_hidden
from keywright.cli.text import note, say, show_json
from keywright.cli.unlock import Passphrase, UnlockFile, unlock_with
from keywright.codec.hexa import unhex
from keywright.crypto.keyblocks import Kbpk
from keywright.errors import PolicyError, UsageError
from keywright.production.keystores.factory_sets import (
    PARTS,
    FactoryFile,
    check_expected,
    check_free,
    combined,
    from_blocks,
    kcv_text,
)
from keywright.production.keystores.keystore import Unlock
from keywright.production.keystores.keystore_uri import is_token, keystore_path, open_keystore
from keywright.production.keystores.registry import KeyRecord, Registry
from keywright.production.people.approvals import Operation
from keywright.scp.scp03.keys import KeySet

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_MOST: Final = 9


@app.command("import-factory")
def import_factory(
    keystore: Where,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What recipes call the set: keys = NAME.")],
    *,
    components: Annotated[
        int, typer.Option("--components", metavar="N", help="N persons type a component of each key, hidden.")
    ] = 0,
    blocks: Annotated[
        Path | None, typer.Option("--blocks", metavar="FILE", help="Three key blocks, a line each: ENC, MAC, DEK.")
    ] = None,
    kek: Annotated[
        str, typer.Option("--kek", metavar="KEY", help="The transport key of this keystore that the blocks are under.")
    ] = "",
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="The keys in clear, mode 0600; for TEST keystores."),
    ] = None,
    expected: Annotated[
        str, typer.Option("--expected", metavar="KCVS", help="The check values that were sent: 504A77504A77504A77.")
    ] = "",
    owner: Annotated[str, typer.Option("--owner", help="Whose keys they are.")] = "",
    unlock: UnlockFile = None,
    passphrase: Passphrase = False,
    approval: ApprovalFile = None,
    people: People = None,
    by: By = None,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Put a factory key set into a keystore: the keys that units come with, from components, key blocks or a file.

    Nothing is kept if the check values are not those expected. Production keys need that, and two key managers.
    """
    if (components > 0) + (blocks is not None) + (key_file is not None) != 1:
        raise UsageError("where the keys come from is not clear", hint="one of --components, --blocks, --key-file")
    if bool(kek) != (blocks is not None):
        raise UsageError("--blocks and --kek go together", hint="name the transport key that the blocks are under")
    opening = unlock_with(unlock, passphrase=passphrase)
    file = None if is_token(keystore) else FactoryFile(keystore_path(keystore), opening)
    known = ""
    if file is not None:
        check_free(file.registry, name)
    else:
        keystore_id, registry = _looked_at(keystore, opening)
        check_free(registry, name)
        if registry.environment == "production":
            _check_production(key_file, expected)
            facts = {"keystore": keystore_id, "purpose": "factory", "expected": expected.upper(), "parts": components}
            signing = Signing(approval, people, by, passphrase_file)
            found = approval_for(Operation("key.import", name, facts), signing, json=json)
            if found is None:
                return
            known = found.directory
    if blocks is not None:
        keys = from_blocks(blocks, _kek(file, kek))
    else:
        keys = _typed(components) if key_file is None else _of_file(key_file)
    check_expected(keys, expected)
    at = int(time.time())
    if file is None:
        record = _into_token(keystore, opening, name, keys, owner, at, known)
    else:
        record = file.keep(name, keys, at=at, owner=owner, kek=kek)
    if json:
        show_json(record_document(record))
        return
    say(f"{record.name} is in {keystore}, {record.state}; check values {kcv_text(keys)}")
    if not expected:
        note("compare them with those that the keys' sender has")


def _looked_at(keystore: str, unlock: Unlock | None) -> tuple[str, Registry]:
    held = open_keystore(keystore, unlock)
    try:
        return held.keystore_id, held.registry
    finally:
        held.close()


def _kek(file: FactoryFile | None, name: str) -> Kbpk:
    if file is None:
        raise PolicyError("key blocks are not opened inside a token", hint="load the set by components: --components N")
    return file.kek(name)


def _check_production(key_file: Path | None, expected: str) -> None:
    if key_file is not None:
        raise PolicyError("production keys do not stand in a file", hint="load the set by components: --components N")
    if not expected:
        raise UsageError("--expected is missing: it is what two persons approve", hint="the three check values, in hex")


def _typed(persons: int) -> KeySet:
    """Each person at this terminal in turn; nothing is shown, also not what was wrong with it."""
    if not 2 <= persons <= _MOST:
        raise UsageError(f"--components {persons}: a key is held by 2 to {_MOST} persons, never by one")
    found: list[list[bytes]] = []
    for number in range(1, persons + 1):
        note(f"component holder {number} of {persons}: your component of each key, in hex; it is not shown")
        found.append([_component(number, part) for part in PARTS])
    return combined(found)


def _component(number: int, part: str) -> bytes:
    text = ask_hidden(f"{part}, component {number}:")
    if not text:
        raise UsageError("the input has ended", hint="type, or pipe, one component a line")
    return unhex(text.strip(), f"component {number} of {part}")


def _of_file(path: Path) -> KeySet:
    (enc, mac, dek), _ = raw_keys(str(path))
    return KeySet.of(enc, mac, dek)


def _into_token(
    keystore: str, unlock: Unlock | None, name: str, keys: KeySet, owner: str, at: int, people: str
) -> KeyRecord:
    from keywright.production.hsm.factory_set import keep_in_token  # noqa: PLC0415 - nobody else needs it
    from keywright.production.hsm.uri import TokenUri  # noqa: PLC0415 - as above

    return keep_in_token(TokenUri.parse(keystore), unlock, name, keys, at=at, owner=owner, people=people)
