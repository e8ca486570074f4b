"""`keywright card keys`: put, delete and rotate keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.detecting import ask_challenge
from keywright.cli.card.keys import app
from keywright.cli.card.options import byte, changing
from keywright.cli.card.session import open_session
from keywright.cli.keyfile import GP_TEST, StaticKeys, pre_shared_key, raw_keys, static_keys
from keywright.cli.keyring import read_ring
from keywright.cli.text import good
from keywright.codec.hexa import unhex
from keywright.crypto.aes import AesKey
from keywright.crypto.des import TripleDesKey
from keywright.errors import StatusError, UsageError
from keywright.globalplatform.dialogues.content import delete_key
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.dialogues.rotation import rotate_keys
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.key_fields import CardKey
from keywright.iso7816.status import SW
from keywright.scp import scp02
from keywright.scp.failure import SCP_AT
from keywright.scp.scp02.messages import SCP02
from keywright.scp.scp03.keys import KeySet
from keywright.scp.session import HostSession

_ALGORITHMS: Final = ("aes", "des", "psk")
_KDD_BYTES: Final = 10
_KVN_AT: Final = 10
"""Where the answer to INITIALIZE UPDATE names its key version."""

NewKvn = Annotated[str, typer.Option("--new-kvn", metavar="HEX", help="Version number of the new keys.")]
Kid = Annotated[str, typer.Option("--kid", metavar="HEX", help="Key identifier; the first of several.")]
KeyFile = Annotated[
    str, typer.Argument(metavar="FILE", help="Key file (enc, mac, dek, or key), or PEM file with one EC or RSA key.")
]
Algorithm = Annotated[str, typer.Option("--type", metavar="aes|des|psk", help="What the keys of a key file are.")]


@app.command()
@changing
def put(
    card: Card,
    file: KeyFile,
    *,
    new_kvn: NewKvn = "",
    kid: Kid = "",
    replace: Annotated[str, typer.Option("--replace", metavar="HEX", help="The version they replace.")] = "",
    algorithm: Algorithm = "aes",
    single: Annotated[bool, typer.Option("--single", help="Only one key: the first of the file.")] = False,
    usage: Annotated[str, typer.Option("--usage", metavar="HEX", help="Key usage (extended format).")] = "",
    access: Annotated[str, typer.Option("--access", metavar="HEX", help="Key access (extended format).")] = "",
) -> None:
    """Put AES, DES, EC or RSA keys into a domain (PUT KEY).

    AES and DES from a key file, EC and RSA from a PEM file. The card's check values are compared with ours. To change
    the keys that a session is opened with, see keys rotate.

    Example: keywright card keys put new.toml --new-kvn 31
    """
    keys, named = _new_keys(file, algorithm)
    keys = keys[:1] if single else keys
    kvn = byte(new_kvn, "--new-kvn") or named
    if not kvn:
        raise UsageError("the new keys need a version number", hint="give one with --new-kvn, or as kvn in the file")
    first, old = byte(kid, "--kid") or 1, byte(replace, "--replace") or 0
    last = first + len(keys) - 1
    what = f"KVN {kvn:02X} KID {first:02X}" + (f" to {last:02X}" if last > first else "")
    card.confirm(f"{'replace' if old else 'add'} the keys {what}")
    size = card.size
    dialogue = put_key(
        keys if len(keys) > 1 else keys[0],
        card.authenticated(),
        kvn=kvn,
        kid=first,
        replace=old,
        usage=unhex(usage, "--usage"),
        access=unhex(access, "--access"),
        profile=card.access.wish.card,
        size=size,
    )
    card.manage(dialogue)
    kcvs = [_kcv(key, card).hex().upper() for key in keys]
    shown = f"  KCV {' '.join(kcvs)}" if all(kcvs) else ""
    card.tell(f"put {what}{shown}", {"kvn": f"{kvn:02X}", "kid": f"{first:02X}", "keys": len(keys), "kcvs": kcvs})


def _kcv(key: CardKey, card: Card) -> bytes:
    if isinstance(key, AesKey):
        return key.kcv(card.access.wish.card.scp03.kcv)
    return key.kcv() if isinstance(key, TripleDesKey) else b""


def _new_keys(name: str, algorithm: str) -> tuple[Sequence[CardKey], int]:
    """The keys of a file, and the version number that it names (0: none)."""
    if algorithm not in _ALGORITHMS:
        raise UsageError(
            f"--type {algorithm}: no such type", hint="aes, des or psk; EC and RSA keys come from PEM files"
        )
    if algorithm == "psk":
        return [pre_shared_key(Path(name))], 0
    if name != GP_TEST and b"-----BEGIN" in _beginning(Path(name)):
        ring = read_ring(Path(name))
        found: list[CardKey] = [*ring.private, *ring.public]
        if len(found) != 1:
            raise UsageError(f"{name}: one key is due, there are {len(found)}")
        return found, 0
    raw, kvn = raw_keys(name)
    try:
        if algorithm == "aes":
            return [AesKey(one) for one in raw], kvn
        return [TripleDesKey(one) for one in raw], kvn
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 16)
    except OSError:
        return b""


@app.command()
@changing
def delete(
    card: Card,
    *,
    old_kvn: Annotated[str, typer.Option("--old-kvn", metavar="HEX", help="Version number of the keys.")] = "",
    kid: Kid = "",
) -> None:
    """Delete keys by version number, identifier, or both.

    They are gone for good.

    Example: keywright card keys delete --old-kvn FF
    """
    kvn, identifier = byte(old_kvn, "--old-kvn"), byte(kid, "--kid")
    if kvn is None and identifier is None:
        raise UsageError("which keys?", hint="name them with --old-kvn, --kid, or both")
    named = [f"{name} {value:02X}" for name, value in (("KVN", kvn), ("KID", identifier)) if value is not None]
    card.confirm(f"delete the keys {' '.join(named)}")
    card.manage(delete_key(kid=identifier, kvn=kvn))
    card.tell(f"deleted {' '.join(named)}", {"deleted": named})


# ---- rotation


@app.command()
@changing
def rotate(
    card: Card,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Key file of the new keys; kvn names their version.")],
    *,
    new_kvn: NewKvn = "",
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Leave the old keys on the card.")] = False,
) -> None:
    """Replace the card's keys, proved before the old ones go.

    The new ones are put, proved by a session of their own, and only then the old ones are deleted.

    Cut off anywhere, the card answers to at least one of the two sets; run it again and it finishes what is left.

    Example: keywright card keys rotate new.toml --new-kvn 31 --keys old.toml
    """
    means = card.access.means()
    if means.static is None:
        raise UsageError("only static keys can be rotated", hint="open the card with --keys FILE")
    new = static_keys(file)
    kvn = byte(new_kvn, "--new-kvn") or new.kvn
    if not kvn:
        raise UsageError("the new keys need a version number", hint="give one with --new-kvn, or as kvn in the file")
    card.confirm(f"replace the card's keys by KVN {kvn:02X}")
    rotation = _Rotation(card, means.static, new)
    done = card.ask(rotation.run(kvn, delete_old=not keep_old))
    steps = ", ".join(done)
    card.drop()
    card.tell(good(f"KVN {kvn:02X} is the card's: {steps}"), {"kvn": f"{kvn:02X}", "steps": done})


class _Rotation:
    def __init__(self, card: Card, current: StaticKeys, new: StaticKeys) -> None:
        self._wish = card.access.wish
        self._means = msgspec.structs.replace(card.access.means(), rng=card.rng)
        self._current, self._new = current, new

    def run(self, kvn: int, *, delete_old: bool) -> Dialogue[list[str]]:
        """The rotation, in the protocol that the card speaks with its present keys."""
        scp, old, kdd = yield from self._present(kvn)

        def reopened(keys: KeySet | scp02.KeySet, version: int) -> Dialogue[HostSession]:
            static = StaticKeys(KeySet.of(keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal()), version)
            wish = msgspec.structs.replace(self._wish, scp=f"{scp:02X}", kvn=version)
            return open_session(wish, msgspec.structs.replace(self._means, static=static))

        current, new = (keys.des_of(kdd) if scp == SCP02 else keys.of(kdd) for keys in (self._current, self._new))
        done = yield from rotate_keys(reopened, (current, old), (new, kvn), delete_old=delete_old and bool(old))
        done.session.close()
        return [str(step) for step in done.steps]

    def _present(self, kvn: int) -> Dialogue[tuple[int, int, bytes]]:
        """Protocol and version of the present keys (0: unknown, and gone), and the card's diversification data.

        Where an earlier run was cut off after it deleted the old set, the new one answers.
        """
        version = self._wish.kvn if self._wish.kvn is not None else self._current.kvn
        try:
            _, data, _ = yield from ask_challenge(version, self._wish.aid, self._means.rng)
        except StatusError as error:
            if error.sw != SW.REFERENCED_DATA_NOT_FOUND:
                raise
            _, data, _ = yield from ask_challenge(kvn, self._wish.aid, self._means.rng)
            return data[SCP_AT], version, data[:_KDD_BYTES]
        answered = data[_KVN_AT]
        return data[SCP_AT], version if answered == kvn else answered, data[:_KDD_BYTES]
