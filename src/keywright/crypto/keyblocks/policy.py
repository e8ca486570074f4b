"""What a key may do, and what may carry it: usage and mode, strength, exportability.

The rules are tables, so that a test can go through all of each. Nothing here touches a key's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from keywright.crypto.keyblocks.header import ALGORITHMS, EXPORTABILITY, MODES, USAGES, VERSIONS, Header
from keywright.errors import PolicyError

_WRAPPING: Final = "BDE"
_MACS: Final = "CGV"

RULES: Final[Mapping[str, tuple[str, str]]] = {
    "20": ("AT", "X"),
    "21": ("AT", "BCDEGVX"),
    "B0": ("AT", "X"),
    "B1": ("AT", "X"),
    "B2": ("T", "X"),
    "B3": ("AHT", "X"),
    "C0": ("AT", _MACS),
    "D0": ("AT", _WRAPPING),
    "D1": ("ER", _WRAPPING),
    "E0": ("AT", "X"),
    "E1": ("AT", "X"),
    "E2": ("AT", "X"),
    "E3": ("AT", "X"),
    "E4": ("AT", "X"),
    "E5": ("AT", "X"),
    "E6": ("AT", "X"),
    "I0": ("AT", ""),
    "K0": ("AT", _WRAPPING),
    "K1": ("AT", _WRAPPING),
    "K2": ("R", _WRAPPING),
    "K3": ("ER", "BDEX"),
    "K4": ("A", _WRAPPING),
    "M0": ("T", _MACS),
    "M1": ("AT", _MACS),
    "M3": ("T", _MACS),
    "M6": ("AT", _MACS),
    "M7": ("H", _MACS),
    "P0": ("AT", _WRAPPING),
    "S0": ("ERS", "SV"),
    "S1": ("ERS", "SV"),
    "S2": ("ERS", "BDESTV"),
    "V0": ("AT", _MACS),
    "V1": ("T", _MACS),
    "V2": ("T", _MACS),
}
"""Key usage -> algorithms and modes that it may be written with; every usage may also have mode N."""

_RIGHTS: Final[Mapping[str, frozenset[str]]] = {
    "B": frozenset("ED"),
    "C": frozenset("GV"),
    "D": frozenset("D"),
    "E": frozenset("E"),
    "G": frozenset("G"),
    "N": frozenset("EDGVSXYN"),
    "S": frozenset("S"),
    "T": frozenset("SD"),
    "V": frozenset("V"),
    "X": frozenset("X"),
    "Y": frozenset("Y"),
}
FREEDOM: Final = "NES"
"""Exportability from least to most."""

PROTECTION_USAGES: Final = ("K1", "K4")

_RSA_STRENGTH: Final = ((15360, 256), (7680, 192), (3072, 128), (2048, 112))
_EC_STRENGTH: Final = ((512, 256), (384, 192), (256, 128), (224, 112))


def strength(algorithm: str, bits: int) -> int:
    """Bits of security of a key (NIST SP 800-57-1, table 2); 0 for one that protects nothing.

    bits: of the key, for RSA and DSA of the modulus, for EC of the field. Two-key TDES counts 80.
    """
    if algorithm == "T":
        return {128: 80, 192: 112}.get(bits, 0)
    if algorithm in ("R", "S"):
        return next((value for least, value in _RSA_STRENGTH if bits >= least), 0)
    if algorithm == "E":
        return next((value for least, value in _EC_STRENGTH if bits >= least), 0)
    if algorithm == "H":
        return min(bits, 256)
    return bits if algorithm == "A" and bits in (128, 192, 256) else 0


def check_strength(wrapping: tuple[str, int], wrapped: tuple[str, int]) -> None:
    """Raise PolicyError unless the wrapping key is at least as strong as the wrapped one; each: algorithm and bits."""
    if strength(*wrapping) < strength(*wrapped):
        (over, over_bits), (under, under_bits) = wrapping, wrapped
        raise PolicyError(
            f"{ALGORITHMS[over]} of {over_bits} bits is too weak to carry {ALGORITHMS[under]} of {under_bits} bits",
            hint="wrap under a key at least as strong as what it carries",
        )


def check_writable(header: Header) -> None:
    """Raise PolicyError unless we write such a block: version D or E, usage, algorithm and mode that go together."""
    if header.version not in "DE":
        raise PolicyError(
            f"key blocks of version {header.version} ({VERSIONS.get(header.version, '?')}) are read, never written",
            hint="write version D, or E for ISO 20038",
        )
    if header.usage not in RULES:
        raise PolicyError(f"no rules for key usage {header.usage}", hint=f"one of {', '.join(RULES)}")
    algorithms, modes = RULES[header.usage]
    if header.algorithm not in algorithms:
        raise PolicyError(
            f"key usage {header.usage} ({USAGES[header.usage]}) is not for algorithm {header.algorithm}",
            hint=f"algorithms: {', '.join(algorithms)}",
        )
    if header.mode not in modes + "N":
        raise PolicyError(
            f"key usage {header.usage} ({USAGES[header.usage]}) does not go with mode of use {header.mode}",
            hint=f"modes: {', '.join(modes + 'N')}",
        )


def check_not_widened(new: Header, held: Header) -> None:
    """Raise PolicyError unless `new` gives a key no more than `held` did, and `held` lets it out at all."""
    if held.exportability == "N":
        raise PolicyError("the key is not exportable (N)", hint="its owner would have to make a new one that is")
    same = (("usage", new.usage, held.usage), ("algorithm", new.algorithm, held.algorithm))
    for what, now, before in same:
        if now != before:
            raise PolicyError(f"the key's {what} is {before}; it cannot become {now}", hint="wrap it as what it is")
    if not _RIGHTS[new.mode] <= _RIGHTS[held.mode]:
        raise PolicyError(
            f"mode of use {held.mode} ({MODES[held.mode]}) cannot become {new.mode} ({MODES[new.mode]})",
            hint="keep the mode, or narrow it",
        )
    if FREEDOM.index(new.exportability) > FREEDOM.index(held.exportability):
        raise PolicyError(
            f"exportability {held.exportability} ({EXPORTABILITY[held.exportability]}) cannot become "
            f"{new.exportability}",
            hint="keep it, or narrow it",
        )
    if new.is_component != held.is_component:
        raise PolicyError("a component stays a component, and a key a key", hint="wrap it as what it is")


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asks of a block; checked before anything is decrypted. An empty `modes` or `versions` is any.

    odd_parity: whether a DES or TDES key must have it; some partners never set it.
    """

    usages: tuple[str, ...]
    algorithms: tuple[str, ...]
    modes: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("B", "D", "E")
    is_component: bool = False
    odd_parity: bool = True

    def check(self, header: Header) -> None:
        """Raise PolicyError unless the header is that of what was asked for."""
        for what, found, wanted in (
            ("version", header.version, self.versions),
            ("key usage", header.usage, self.usages),
            ("algorithm", header.algorithm, self.algorithms),
            ("mode of use", header.mode, self.modes or (header.mode,)),
        ):
            if found not in wanted:
                raise PolicyError(
                    f"key block: {what} {found}, asked for {' or '.join(wanted) or 'none'}",
                    hint="ask its sender for the key that is meant",
                )
        if header.is_component != self.is_component:
            what = "a component" if header.is_component else "a whole key"
            raise PolicyError(f"key block: carries {what}", hint="components are loaded by a ceremony, keys are not")
