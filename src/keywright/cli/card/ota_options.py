"""How `keywright card ota` protects packets: options by name or as raw bytes, keys, and where the counter is kept."""

from __future__ import annotations

import fcntl
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, final, get_type_hints

import msgspec
import typer

from keywright.cli.card.options import ProfileOption, byte
from keywright.cli.keyfile import ota_keys
from keywright.codec.hexa import unhex
from keywright.errors import PolicyError, StoreError, UsageError
from keywright.fob.profiles import card_profile
from keywright.scp.scp80.applications import Format, target
from keywright.scp.scp80.host import SendingEntity
from keywright.scp.scp80.keys import KeySet
from keywright.scp.scp80.messages import LAST_COUNTER, Check, CounterMode, PorMode, Spi
from keywright.scp.scp80.profile import STRICT, Profile

DEFAULT_TAR: Final = "B20100"
_CHECKS: Final = {"none": Check.NONE, "rc": Check.RC, "cc": Check.CC}
_COUNTERS: Final = {
    "none": CounterMode.NONE,
    "unchecked": CounterMode.UNCHECKED,
    "higher": CounterMode.HIGHER,
    "next": CounterMode.NEXT,
}
_PROOFS: Final = {"never": PorMode.NEVER, "always": PorMode.ALWAYS, "on-error": PorMode.ON_ERROR}
_FORMS: Final = {"auto": None, "compact": Format.COMPACT, "expanded": Format.EXPANDED}
_RECORD: Final = 14
"""Bytes of a counter in its file: 13 digits and the end of the line."""
_CRC32: Final = 0x5
_LEGACY: Final = {"single_des": True, "aes_needs_counter": False, "answer_as_command": False}
_COUNTER_HINT: Final = "give --counter-file FILE, which keeps it, or --cntr N for this one packet"

OtaKeysOption: TypeAlias = Annotated[
    str,
    typer.Option("--keys", metavar="FILE|gp-test", help="Key file with kic, kid (and kik), or the public test keys."),
]
Kvn: TypeAlias = Annotated[str, typer.Option("--kvn", metavar="HEX", help="Key set, 1 to F; else as the file says.")]
Tar: TypeAlias = Annotated[
    str, typer.Option("--tar", metavar="HEX", help="The application: B20100 and 000000 are the issuer's domain.")
]
SpiOption: TypeAlias = Annotated[
    str, typer.Option("--spi", metavar="HEX", help="Both bytes, in place of the words below.")
]
Kic: TypeAlias = Annotated[str, typer.Option("--kic", metavar="HEX", help="Else from key set and kind of key.")]
Kid: TypeAlias = Annotated[str, typer.Option("--kid", metavar="HEX", help="Likewise.")]
CheckOption: TypeAlias = Annotated[
    str, typer.Option("--check", "--cc", metavar="|".join(_CHECKS), help="What proves the packet whole.")
]
CipherOption: TypeAlias = Annotated[bool, typer.Option("--cipher/--no-cipher", help="Cipher the packet.")]
CounterOption: TypeAlias = Annotated[
    str, typer.Option("--counter", metavar="|".join(_COUNTERS), help="What the card does with the counter.")
]
PorOption: TypeAlias = Annotated[
    str, typer.Option("--por", metavar="|".join(_PROOFS), help="When the card answers (proof of receipt).")
]
PorCheck: TypeAlias = Annotated[
    str, typer.Option("--por-check", metavar="|".join(_CHECKS), help="What proves the answer; else as the packet.")
]
PorCipher: TypeAlias = Annotated[
    bool | None, typer.Option("--por-cipher/--no-por-cipher", help="Cipher the answer; else as the packet.")
]
BySubmit: TypeAlias = Annotated[
    bool, typer.Option("--by-submit", help="Answer by a message of its own, not in the delivery report.")
]
Cntr: TypeAlias = Annotated[int | None, typer.Option("--cntr", metavar="N", help="Counter of the first packet.")]
CounterFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--counter-file", metavar="FILE", help="Keeps the last counter of a key set, before a packet leaves."),
]
FormOption: TypeAlias = Annotated[
    str, typer.Option("--form", metavar="|".join(_FORMS), help="Format of the script; else as the TAR has it.")
]
Legacy: TypeAlias = Annotated[
    bool, typer.Option("--legacy", help="Allow single DES, and AES without a counter, as old cards take them.")
]

_OPTIONS: Final[dict[str, Any]] = {
    "keys": (OtaKeysOption, ""),
    "kvn": (Kvn, ""),
    "tar": (Tar, DEFAULT_TAR),
    "spi": (SpiOption, ""),
    "kic": (Kic, ""),
    "kid": (Kid, ""),
    "check": (CheckOption, "cc"),
    "cipher": (CipherOption, True),
    "counter": (CounterOption, "higher"),
    "por": (PorOption, "always"),
    "por_check": (PorCheck, ""),
    "por_cipher": (PorCipher, None),
    "by_submit": (BySubmit, False),
    "cntr": (Cntr, None),
    "counter_file": (CounterFile, None),
    "form": (FormOption, "auto"),
    "profile": (ProfileOption, ""),
    "legacy": (Legacy, False),
}
_WORDS: Final = ("check", "cipher", "counter", "por", "por_check", "por_cipher", "by_submit")


class Protection(msgspec.Struct, frozen=True):
    """What the options say of a packet: who sends it to whom, in which form, and where its counter comes from."""

    entity: SendingEntity
    keys: KeySet
    form: Format
    profile: Profile
    cntr: int | None
    counter_file: Path | None

    @contextmanager
    def counting(self) -> Iterator[Counting]:
        """The counter, held against others who use the same file. Raises UsageError, StoreError, PolicyError."""
        if self.counter_file is not None:
            with _kept(self.counter_file) as kept:
                yield Counting(kept.last if self.cntr is None else _above(self.cntr, kept.last), kept.commit)
            return
        if self.cntr is None and self.entity.header.spi.counter != CounterMode.NONE:
            raise UsageError("which counter is next?", hint=_COUNTER_HINT)
        yield Counting(max(0, (self.cntr or 1) - 1), lambda _: None)  # --cntr: whoever gives it keeps it


class Counting(msgspec.Struct, frozen=True):
    """The last counter that was used, and what keeps a new one durably."""

    last: int
    commit: Callable[[int], None]


def protected(verb: Callable[..., None]) -> Callable[..., None]:
    """Gives a verb the options of a packet, and what they come to as its argument `protection`."""
    hints = get_type_hints(verb, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(verb).parameters.items()
        if name != "protection"
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]

    def run(*arguments: Any, **given: Any) -> None:
        options = {name: given.pop(name) for name in _OPTIONS}
        verb(*arguments, protection=protection(options), **given)

    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # functions may have one
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    return run


def protection(options: Mapping[str, Any]) -> Protection:
    """The options as values. Raises UsageError, and PolicyError for parameters that do not fit each other."""
    if not options["keys"]:
        raise UsageError("a packet needs the keys of this card", hint="give a key file with --keys FILE")
    found = ota_keys(options["keys"])
    kvn = byte(options["kvn"].rjust(2, "0"), "--kvn") if options["kvn"] else found.kvn
    if kvn is None or not 1 <= kvn <= 0xF:
        raise UsageError("--kvn: a key set for packets has a number of 1 to F", hint="for example --kvn 01")
    tar = unhex(options["tar"], "--tar")
    if len(tar) != 3:
        raise UsageError("--tar: 3 bytes in hex are due", hint=f"for example --tar {DEFAULT_TAR}")
    spi = _spi(options)
    indicator = kvn << 4 | found.algorithm
    redundancy = kvn << 4 | _CRC32
    kic, kid = byte(options["kic"], "--kic"), byte(options["kid"], "--kid")
    profile = card_profile(options["profile"]).scp80 if options["profile"] else STRICT
    if options["legacy"]:
        profile = msgspec.structs.replace(profile, **_LEGACY)
    entity = SendingEntity(
        found.keys,
        tar,
        spi=spi,
        kic=indicator if kic is None else kic,
        kid=(redundancy if spi.check == Check.RC else indicator) if kid is None else kid,
        profile=profile,
    )
    form = _word(options, "form", _FORMS)
    row = target(tar)
    if form is None:
        form = row.format if row is not None and row.format is not Format.OWN else Format.EXPANDED
    return Protection(entity, found.keys, form, profile, options["cntr"], options["counter_file"])


def _spi(options: Mapping[str, Any]) -> Spi:
    if options["spi"]:
        if any(options[name] != _OPTIONS[name][1] for name in _WORDS):
            raise UsageError("--spi and the words for it exclude each other", hint="give one or the other")
        data = unhex(options["spi"], "--spi")
        if len(data) != 2:
            raise UsageError("--spi: 2 bytes in hex are due", hint="for example --spi 1619")
        return Spi.parse(data)
    check, cipher = _word(options, "check", _CHECKS), options["cipher"]
    por = _word(options, "por", _PROOFS)
    answers = por != PorMode.NEVER
    por_check = _word(options, "por_check", _CHECKS) if options["por_check"] else check
    por_cipher = cipher if options["por_cipher"] is None else options["por_cipher"]
    return Spi.of(
        check,
        ciphered=cipher,
        counter=_word(options, "counter", _COUNTERS),
        por=por,
        por_check=por_check if answers else Check.NONE,
        por_ciphered=por_cipher and answers,
        by_submit=options["by_submit"],
    )


def _word(options: Mapping[str, Any], name: str, words: Mapping[str, Any]) -> Any:
    text = options[name]
    if text not in words:
        raise UsageError(f"--{name.replace('_', '-')} {text}: no such word", hint=f"one of: {', '.join(words)}")
    return words[text]


# ---- counters


class _Kept(msgspec.Struct, frozen=True):
    last: int
    commit: Callable[[int], None]


def _above(cntr: int, last: int) -> int:
    if cntr <= last:
        raise PolicyError(f"counter {cntr} is used up: the file says {last}", hint="leave out --cntr")
    return cntr - 1


@contextmanager
def _kept(path: Path) -> Iterator[_Kept]:
    """The counter in a file, which is made if it is not there. One process at a time. Raises StoreError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: cannot be used: {error.strerror}", hint="give the path of a new file") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"{path}: another program sends with this counter", hint="wait until it is done"
            ) from error
        place = os.fstat(descriptor).st_size // _RECORD * _RECORD
        text = os.pread(descriptor, _RECORD, place - _RECORD).decode("ascii", "replace") if place else "0\n"
        if not text.endswith("\n") or not text[:-1].isdecimal() or int(text) > LAST_COUNTER:
            raise StoreError(f"{path}: this is no counter", hint="give the path of a new file")
        yield _Kept(int(text), _Appender(path, descriptor, place).commit)
    finally:
        os.close(descriptor)


@final
class _Appender:
    """Writes counters one behind the other, so that a write that is cut off leaves the one before it."""

    def __init__(self, path: Path, descriptor: int, place: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._place = place

    def commit(self, counter: int) -> None:
        """Keep a counter, durably on return. Raises StoreError."""
        try:
            os.pwrite(self._descriptor, f"{counter:0{_RECORD - 1}}\n".encode(), self._place)
            os.fsync(self._descriptor)
        except OSError as error:
            why = f"the counter cannot be kept: {error.strerror}"
            raise StoreError(f"{self._path}: {why}", hint="nothing was sent") from error
        self._place += _RECORD
