"""`keywright card scp11`: what SCP11 needs on a card beside keys: a key pair, certificates, CA names, allow-lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from keywright.cli.card.connection import Card
from keywright.cli.card.options import byte, changing, managing
from keywright.cli.card.pem import certificate_pem, public_key_pem
from keywright.cli.keyring import read_certificates, read_ring
from keywright.cli.text import bad, heading, table
from keywright.codec.hexa import unhex
from keywright.codec.tlv import find
from keywright.errors import AuthenticationError, DecodeError, PolicyError, StatusError, UsageError, WireError
from keywright.globalplatform.host import Dialogue, get_data, key_information, select, store_data
from keywright.globalplatform.messages import StoreData
from keywright.iso7816.status import SW
from keywright.scp.scp11 import KeyReference, Profile, loading
from keywright.scp.scp11 import read_certificates as chains_of
from keywright.scp.scp11.certificates import Certificate, Side, parse_certificate, verify_chain
from keywright.scp.scp11.messages import (
    KLCC_IDENTIFIERS,
    KLOC_IDENTIFIERS,
    PARAMETER_OF_CURVE,
    VARIANTS,
    parse_ca_identifiers,
)

app = typer.Typer(rich_markup_mode=None)
_verbs = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_certificates = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_ca = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_allow_list = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(_verbs, name="scp11", help="What SCP11 needs beside keys: key pair, certificates, allow-lists.")
_verbs.add_typer(_certificates, name="certificates", help="The certificates of the card's own keys.")
_verbs.add_typer(_ca, name="ca", help="Which CA each key stands for.")
_verbs.add_typer(_allow_list, name="allow-list", help="Which certificates of hosts a CA's key accepts.")

_LETTERS: Final = {variant.kid: variant.letter for variant in VARIANTS}
_SIDES: Final[dict[str, Side]] = {"host": "host", "card": "card"}
_LISTS: Final[dict[Side, int]] = {"host": KLOC_IDENTIFIERS, "card": KLCC_IDENTIFIERS}
_MOST_BLOCKS: Final = 256
_KEY_NUMBERS: Final = range(1, 0x80)
_SERIAL_BITS: Final = 160
"""Serial numbers have at most 20 bytes (RFC 5280 4.1.2.2)."""

Result = TypeVar("Result")
Stored = tuple[KeyReference, tuple[tuple[bytes, ...], ...]]
"""A key and the chains that the card has for it."""

CardKid = Annotated[str, typer.Option("--kid", metavar="11|13|15", help="The key of SCP11a, b or c.")]
CaKid = Annotated[str, typer.Option("--kid", metavar="HEX", help="Key identifier of the CA's key, mostly 10.")]
OfKvn = Annotated[str, typer.Option("--of-kvn", metavar="HEX", help="Version number of that key.")]
Counter = Annotated[
    int | None,
    typer.Option("--counter", metavar="N", min=0, max=0xFFFF, help="Must be above that of the list before."),
]


# ---- the card's own key


@_verbs.command()
@changing
def generate(
    card: Card,
    *,
    kid: CardKid,
    new_kvn: Annotated[str, typer.Option("--new-kvn", metavar="HEX", help="Version number of the new key.")],
    curve: Annotated[str, typer.Option("--curve", metavar="NAME", help=f"{', '.join(PARAMETER_OF_CURVE)}.")] = "P-256",
    replace: Annotated[str, typer.Option("--replace", metavar="HEX", help="The version it replaces.")] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.pem", help="Write its public key there.")] = None,
) -> None:
    """Let the card make a key pair of its own (GENERATE EC KEY).

    The private key never leaves the card; its public key is shown, for whoever certifies it. The command is Yubico's.

    Example: keywright card scp11 generate --kid 11 --new-kvn 01 --out card.pem
    """
    key, old = _card_key(kid, new_kvn, "--new-kvn"), byte(replace, "--replace") or 0
    if curve not in PARAMETER_OF_CURVE:
        raise UsageError(f"--curve {curve}: no such curve", hint=f"one of {', '.join(PARAMETER_OF_CURVE)}")
    instead = f" in place of KVN {old:02X}" if old else ""
    card.confirm(f"make a new key pair {_named(key)}{instead}")
    with _new_file(out) as keep:
        made = card.manage(_generated(loading.generate_ec_key(key, curve, replaces=old)))
        pem = public_key_pem(made)
        keep(pem)
    kept = [f"its public key is in {out}"] if out is not None else pem.splitlines()
    document = {**_reference(key), "curve": curve, "public_key": pem, "file": None if out is None else str(out)}
    card.tell([f"made {_named(key)} {curve}{instead}", *kept], document)


def _generated(dialogue: Dialogue[Result]) -> Dialogue[Result]:
    """The command is one of few cards: a card without it gets its own hint."""
    try:
        return (yield from dialogue)
    except StatusError as error:
        if error.sw != SW.INS_NOT_SUPPORTED:
            raise
        hint = "make the key elsewhere and put it: keywright card keys put FILE.pem"
        raise StatusError(
            error.sw, "GENERATE EC KEY", meaning="the card makes no keys of its own", hint=hint
        ) from error


# ---- certificates


@_certificates.command()
@managing
def get(
    card: Card,
    *,
    kid: CardKid = "",
    of_kvn: OfKvn = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.pem", help="Write them there.")] = None,
) -> None:
    """Read the certificates of the card's keys (GET DATA BF21).

    Of all its keys for SCP11, or of those that are named. In a session if keys are given. They are not verified here.

    Example: keywright card scp11 certificates get --kid 13 --of-kvn 01 --out card.pem
    """
    wanted = (None if not kid else _card_kid(kid), byte(of_kvn, "--of-kvn"))
    with _new_file(out) as keep:
        found = _read(card, _stored(*wanted, card.access.wish.card.scp11))
        everything = [raw for _, chains in found for chain in chains for raw in chain]
        if not everything:
            raise UsageError("the card has no such certificates", hint="which keys it has: keywright card info")
        if out is not None and len(found) > 1:
            names = ", ".join(_named(key) for key, _ in found)
            raise UsageError(f"--out takes those of one key; there are {names}", hint="name it: --kid, --of-kvn")
        keep("".join(map(certificate_pem, everything)))
    lines = [line for key, chains in found for line in _told(key, chains)]
    if out is not None:
        lines.append(f"they are in {out}")
    card.tell(lines, {"keys": [_document(key, chains) for key, chains in found]})


def _stored(kid: int | None, kvn: int | None, profile: Profile) -> Dialogue[list[Stored]]:
    if kid is not None and kvn is not None:
        keys = [KeyReference(kid, kvn)]
    else:
        information = yield from key_information()
        if information is None:
            raise UsageError("the card does not list its keys", hint="name one with --kid and --of-kvn")
        keys = [
            KeyReference(one.kid, one.kvn)
            for one in information.keys
            if one.kid in _LETTERS and kid in (None, one.kid) and kvn in (None, one.kvn)
        ]
    found: list[Stored] = []
    for key in keys:
        chains = yield from _chains(key, profile)
        if chains:
            found.append((key, chains))
    return found


def _chains(key: KeyReference, profile: Profile) -> Dialogue[tuple[tuple[bytes, ...], ...]]:
    try:
        found = yield from chains_of(key, profile=profile)
    except StatusError as error:
        if error.sw != SW.REFERENCED_DATA_NOT_FOUND:
            raise
        return ()
    return tuple(chain for chain in found if chain)


def _told(key: KeyReference, chains: Iterable[Sequence[bytes]]) -> Iterator[str]:
    for chain in chains:
        yield heading(f"{_named(key)} (SCP11{_LETTERS[key.kid]})")
        rows = []
        for raw in chain:
            one = _parsed(raw)
            if one is None:
                rows.append(("?", "", "", bad("it cannot be read")))
            else:
                kind = "X.509" if one.is_x509 else "GlobalPlatform"
                rows.append((_serial_text(one.serial), kind, one.valid_until, one.subject_id.hex().upper()))
        yield from table(("serial number", "format", "valid until", "subject identifier"), rows)


def _document(key: KeyReference, chains: Iterable[Sequence[bytes]]) -> dict[str, Any]:
    return {**_reference(key), "chains": [[_described(raw) for raw in chain] for chain in chains]}


def _described(raw: bytes) -> dict[str, Any]:
    one = _parsed(raw)
    if one is None:
        return {"data": raw.hex().upper()}
    return {
        "serial": _serial_text(one.serial),
        "format": "x509" if one.is_x509 else "gp",
        "subject_id": one.subject_id.hex().upper(),
        "issuer_id": one.issuer_id.hex().upper(),
        "valid_until": one.valid_until,
        "data": raw.hex().upper(),
    }


def _parsed(raw: bytes) -> Certificate | None:
    try:
        return parse_certificate(raw)
    except DecodeError:
        return None


@_certificates.command(name="put")
@changing
def put_certificates(
    card: Card,
    files: Annotated[list[Path], typer.Argument(metavar="FILE.pem...", help="The chain, the key's own last.")],
    *,
    kid: CardKid,
    of_kvn: OfKvn,
) -> None:
    """Store the certificates of a key of the card.

    From below the root down to the key's own, as they stand in the files: each must have certified the next one. They
    take the place of those before.

    Example: keywright card scp11 certificates put ca.pem card.pem --kid 11 --of-kvn 01
    """
    key = _card_key(kid, of_kvn, "--of-kvn")
    chain = [one for file in files for one in read_certificates(file)]
    _check_order(chain, card.access.wish.card.scp11)
    card.confirm(f"store {_counted(len(chain), 'certificate')} for the key {_named(key)}")
    _store(card, loading.certificate_store(key, [one.raw for one in chain]))
    serials = [_serial_text(one.serial) for one in chain]
    card.tell(
        f"stored {_counted(len(chain), 'certificate')} for {_named(key)}", {**_reference(key), "certificates": serials}
    )


def _check_order(chain: Sequence[Certificate], profile: Profile) -> None:
    """Each has certified the next one, and the last one's key agrees: what a host will demand."""
    last, hint = chain[-1], "the order is: below the root first, the key's own certificate last"
    if last.public_key is None or not (last.may_agree or (last.may_verify and not last.is_x509)):
        raise UsageError(f"the last certificate ({_serial_text(last.serial)}) is not of a card's key", hint=hint)
    if len(chain) == 1:
        return
    try:
        verify_chain(chain, (chain[0],), "card", profile)
    except (AuthenticationError, DecodeError, PolicyError) as error:
        raise UsageError(f"these certificates are no chain: {error}", hint=hint) from error


# ---- CA identifiers


@_ca.command(name="list")
@managing
def list_names(card: Card) -> None:
    """List the identifiers of CAs and their keys (GET DATA FF33, FF34).

    Host: who certifies hosts (CA-KLOC). Card: who certifies the card (CA-KLCC). In a session if keys are given.

    Example: keywright card scp11 ca list --link pcsc:
    """
    found = _read(card, _names())
    rows = [(side, f"{key.kvn:02X}", f"{key.kid:02X}", name.hex().upper()) for side, name, key in found]
    lines = table(("side", "KVN", "KID", "identifier"), rows) if rows else ["the card names no CA"]
    document = [{"side": side, **_reference(key), "identifier": name.hex().upper()} for side, name, key in found]
    card.tell(lines, {"cas": document})


def _names() -> Dialogue[list[tuple[Side, bytes, KeyReference]]]:
    found: list[tuple[Side, bytes, KeyReference]] = []
    for side, number in _LISTS.items():
        data = (yield from get_data(number)) or b""
        try:
            listed = parse_ca_identifiers(find(data, number) or data)
        except DecodeError as error:
            raise WireError(f"GET DATA {number:04X} answered what is no list of CAs: {error}") from error
        found.extend((side, name, key) for name, key in listed)
    return found


@_ca.command(name="put")
@changing
def put_name(
    card: Card,
    ca: Annotated[
        str, typer.Argument(metavar="HEX|FILE.pem", help="Its identifier, or its certificate that names it.")
    ],
    *,
    kid: Annotated[str, typer.Option("--kid", metavar="HEX", help="Key identifier of the key that it names.")],
    of_kvn: OfKvn,
    side: Annotated[str, typer.Option("--side", metavar="host|card", help="Whom it certifies; else by --kid.")] = "",
) -> None:
    """Name the CA that a key stands for.

    For a CA's own key (10), who certifies hosts; for a key of the card (11, 13, 15), who certifies the card. The
    identifier is the subject key identifier of the CA's certificate.

    Example: keywright card scp11 ca put root.pem --kid 10 --of-kvn 03
    """
    key, name = _key(_number(kid, "--kid"), of_kvn, "--of-kvn"), _identifier(ca)
    if side and side not in _SIDES:
        raise UsageError(f"--side {side}: there is no such side", hint="host or card")
    told: Side = _SIDES[side] if side else "card" if key.kid in _LETTERS else "host"
    card.confirm(f"name the CA of the key {_named(key)}")
    _store(card, loading.ca_identifier(key, name, told))
    text = name.hex().upper()
    card.tell(f"{_named(key)} stands for {text}", {**_reference(key), "side": told, "identifier": text})


def _identifier(given: str) -> bytes:
    path = Path(given)
    if not path.is_file():
        try:
            name = unhex(given, "HEX")
        except DecodeError as error:
            raise UsageError(f"{given}: neither an identifier in hex nor a file") from error
        if not name:
            raise UsageError("an identifier has at least one byte")
        return name
    one = _only(path)
    if not one.subject_id:
        raise UsageError(f"{path}: the certificate has no subject key identifier", hint="give the identifier in hex")
    return one.subject_id


def _only(path: Path) -> Certificate:
    """The one certificate of a file."""
    found = read_ring(path).certificates
    if len(found) != 1:
        raise UsageError(f"{path}: one certificate is due, there are {len(found)}")
    return parse_certificate(found[0])


# ---- allow-lists


@_allow_list.command(name="put")
@changing
def put_list(
    card: Card,
    serials: Annotated[
        list[str], typer.Argument(metavar="SERIAL|FILE.pem...", help="Decimal, hex after 0x, or the certificate.")
    ],
    *,
    kid: CaKid,
    of_kvn: OfKvn,
    counter: Counter = None,
) -> None:
    """Let a CA's key accept only certificates with these serial numbers.

    The card looks at the first certificate that a host shows. The list takes the place of the one before; whoever is
    not on it can open no session any more.

    Example: keywright card scp11 allow-list put 0x82 --kid 10 --of-kvn 03
    """
    key = _key(_number(kid, "--kid"), of_kvn, "--of-kvn")
    allowed = list(dict.fromkeys(map(_serial, serials)))
    card.confirm(f"let the key {_named(key)} accept {_counted(len(allowed), 'serial number')} and no others")
    _store(card, loading.allow_list(key, allowed, counter=counter))
    texts = [_serial_text(one) for one in allowed]
    document = {**_reference(key), "serials": texts, "counter": counter}
    card.tell(f"{_named(key)} accepts {', '.join(texts)}", document)


@_allow_list.command(name="clear")
@changing
def clear_list(card: Card, *, kid: CaKid, of_kvn: OfKvn, counter: Counter = None) -> None:
    """Let a CA's key accept every certificate that it verifies.

    Example: keywright card scp11 allow-list clear --kid 10 --of-kvn 03
    """
    key = _key(_number(kid, "--kid"), of_kvn, "--of-kvn")
    card.confirm(f"let the key {_named(key)} accept every certificate of its CA")
    _store(card, loading.allow_list(key, (), counter=counter))
    card.tell(
        f"{_named(key)} accepts every certificate of its CA", {**_reference(key), "serials": [], "counter": counter}
    )


def _serial(given: str) -> int:
    path = Path(given)
    if path.is_file():
        return _only(path).serial
    is_hex = given[:2].lower() == "0x"
    digits = given[2:] if is_hex else given
    try:
        number = int(digits, 16 if is_hex else 10) if digits.isascii() and digits.isalnum() else -1
    except ValueError:
        number = -1
    if number < 0 or number.bit_length() > _SERIAL_BITS:
        raise UsageError(f"{given}: neither a serial number nor a file", hint="for example 130, 0x82 or oce.pem")
    return number


# ---- what the verbs share


def _read(card: Card, dialogue: Dialogue[Result]) -> Result:
    """Read in the session, or in none where nothing was given that could open one."""
    if card.session is None and card.access.is_anonymous:
        return card.ask(_selected(card.access.wish.aid, dialogue))
    return card.manage(dialogue)


def _selected(aid: bytes, dialogue: Dialogue[Result]) -> Dialogue[Result]:
    yield from select(aid)
    return (yield from dialogue)


def _store(card: Card, payload: bytes) -> None:
    size = card.size
    if len(payload) > size * _MOST_BLOCKS:
        raise UsageError(f"{len(payload)} bytes are too many for STORE DATA", hint=f"at most {size * _MOST_BLOCKS}")
    card.manage(store_data(payload, size=size, structure=StoreData.BER_TLV))


@contextmanager
def _new_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A file that is made before anything is done to the card, and is gone again where that fails.

    Raises UsageError for one that is there or cannot be made.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("x", encoding="ascii")
    except FileExistsError:
        raise UsageError(f"--out {path}: already there", hint="give the path of a new file") from None
    except OSError as error:
        raise UsageError(f"--out {path}: cannot be written: {error.strerror}") from error
    try:
        with file:
            yield lambda text: print(text, end="", file=file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _card_key(kid: str, kvn: str, what: str) -> KeyReference:
    return _key(_card_kid(kid), kvn, what)


def _card_kid(text: str) -> int:
    kid = _number(text, "--kid")
    if kid not in _LETTERS:
        raise UsageError(f"--kid {text}: no key of SCP11 has this identifier", hint="11 (SCP11a), 13 (b) or 15 (c)")
    return kid


def _key(kid: int, kvn: str, what: str) -> KeyReference:
    return KeyReference(kid, _number(kvn, what))


def _number(text: str, what: str) -> int:
    """Key identifier or version number, 01 to 7F (GPCS 11.8.2)."""
    number = byte(text, what)
    if number is None or number not in _KEY_NUMBERS:
        raise UsageError(f"{what} {text}: 01 to 7F is due")
    return number


def _named(key: KeyReference) -> str:
    return f"KVN {key.kvn:02X} KID {key.kid:02X}"


def _reference(key: KeyReference) -> dict[str, Any]:
    return {"kvn": f"{key.kvn:02X}", "kid": f"{key.kid:02X}"}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _serial_text(serial: int) -> str:
    return f"0x{serial:X}"
