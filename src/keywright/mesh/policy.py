"""What a provisioner accepts of a device, and what it chooses of what the device offers.

An OOB value that can be guessed while a session lasts proves little. With CMAC it proves less: whoever plays the
device may answer with any confirmation, try every value against the provisioner's random, and only then make up a
random that fits (CVE-2020-26556 and its kin; shown in tests/mesh/attack). Six digits fall in a second. So a short value
is refused unless somebody says otherwise, with CMAC any but the longest, and CMAC is taken only from a device that has
nothing else (MshPRT 5.4.1.2).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from keywright.errors import PolicyError
from keywright.mesh.keys import ALGORITHMS, CMAC, HMAC, Algorithm
from keywright.mesh.messages import Capabilities
from keywright.mesh.oob import (
    INPUT_ACTIONS,
    LONGEST_SIZE,
    METHODS,
    OOB_KEY_AVAILABLE,
    OOB_ONLY,
    OUTPUT_ACTIONS,
    STATIC_AVAILABLE,
    Authentication,
    Method,
)

SIX_DIGITS_BITS: Final = 19.9
"""What six digits are worth."""
EIGHT_CHARACTERS_BITS: Final = 41.0
"""What eight letters and digits are worth, the most that a person can be given to carry."""
_BEST_FIRST: Final = {
    Method.OUTPUT: ("alphanumeric", "numeric", "vibrate", "beep", "blink"),
    Method.INPUT: ("alphanumeric", "numeric", "twist", "push"),
}
_ACTIONS: Final = {Method.OUTPUT: OUTPUT_ACTIONS, Method.INPUT: INPUT_ACTIONS}


class Choice(NamedTuple):
    """What a provisioner puts into Start."""

    algorithm: Algorithm
    uses_oob_key: bool
    authentication: Authentication


class Policy(msgspec.Struct, frozen=True):
    """What is allowed, and in which order it is tried."""

    methods: tuple[int, ...] = (Method.STATIC, Method.OUTPUT, Method.INPUT)
    """Allowed authentication methods, the best first. No OOB authenticates nobody and has to be asked for."""
    algorithm: Algorithm | None = None
    """The only algorithm to use; None: HMAC if the device has it, else CMAC."""
    least_bits: float = SIX_DIGITS_BITS
    """Least entropy of a value that a person carries."""
    least_bits_cmac: float = EIGHT_CHARACTERS_BITS
    """The same with CMAC, where an attacker has the whole session to try values instead of one guess."""
    least_static_octets: int = 16
    """Least length of a static value."""
    needs_oob_key: bool = False
    """Whether the device's public key must come out of band (with certificates: from the device certificate)."""

    def for_remote(self) -> Policy:
        """The same through a remote node: with an OOB public key, and never without OOB (MshPRT 5.2.3)."""
        methods = tuple(method for method in self.methods if method != Method.NONE)
        return msgspec.structs.replace(self, methods=methods, needs_oob_key=True)

    def choose(self, capabilities: Capabilities, *, static_oob: bytes = b"", has_oob_key: bool = False) -> Choice:
        """What to ask of a device with these capabilities. Raises PolicyError, with what would help.

        static_oob: the value the order has for this device, empty for none. has_oob_key: whether the device's public
        key is known from elsewhere.
        """
        algorithm = self._algorithm(capabilities)
        offers_key = bool(capabilities.public_key_type & OOB_KEY_AVAILABLE)
        if self.needs_oob_key and not (offers_key and has_oob_key):
            raise PolicyError(
                "the device's public key is not known from elsewhere"
                if offers_key
                else "the device has no public key that could come out of band",
                hint="give its key or certificate, or allow a key that anybody could have sent",
            )
        reasons: list[str] = []
        for method in self.methods:
            found = self._authentication(method, algorithm, capabilities, static_oob, reasons)
            if found is not None:
                return Choice(algorithm, offers_key and has_oob_key, found)
        raise PolicyError(
            "no way to authenticate the device: " + "; ".join(reasons or ["no method is allowed"]),
            hint="allow another method with --oob, or give the value the device was made with",
        )

    def _algorithm(self, capabilities: Capabilities) -> Algorithm:
        offered = [algorithm for algorithm in ALGORITHMS if capabilities.algorithms & algorithm.bit]
        if self.algorithm is not None:
            if self.algorithm in offered:
                return self.algorithm
            raise PolicyError(
                f"the device does not offer {self.algorithm.name}",
                hint=f"it offers {', '.join(algorithm.name for algorithm in offered) or 'no algorithm that is known'}",
            )
        for algorithm in (HMAC, CMAC):
            if algorithm in offered:
                return algorithm
        raise PolicyError(f"the device offers no known algorithm (Algorithms {capabilities.algorithms:04X})")

    def _authentication(
        self, method: int, algorithm: Algorithm, capabilities: Capabilities, static_oob: bytes, reasons: list[str]
    ) -> Authentication | None:
        match method:
            case Method.NONE:
                if not capabilities.oob_type & OOB_ONLY:
                    return Authentication()
                reasons.append("the device takes OOB alone")
            case Method.STATIC:
                if not capabilities.oob_type & STATIC_AVAILABLE:
                    reasons.append("the device has no static OOB")
                elif not static_oob:
                    reasons.append("no static OOB value is known for it")
                elif len(static_oob) < self.least_static_octets:
                    reasons.append(f"its static OOB value has {len(static_oob)} octets of {self.least_static_octets}")
                else:
                    return Authentication(Method.STATIC)
            case _:
                return self._carried(method, algorithm, capabilities, reasons)
        return None

    def _carried(
        self, method: int, algorithm: Algorithm, capabilities: Capabilities, reasons: list[str]
    ) -> Authentication | None:
        size, actions = (
            (capabilities.output_size, capabilities.output_actions)
            if method == Method.OUTPUT
            else (capabilities.input_size, capabilities.input_actions)
        )
        names = _ACTIONS[method]
        # Reserved sizes and actions are passed over, as a provisioner must.
        offered = [
            Authentication(method, names.index(name), size)
            for name in _BEST_FIRST[method]
            if actions >> names.index(name) & 1 and 1 <= size <= LONGEST_SIZE
        ]
        if not offered:
            reasons.append(f"the device has no {METHODS[method]}")
            return None
        best = offered[0]
        least = self.least_bits_cmac if algorithm == CMAC else self.least_bits
        if best.entropy_bits() < least:
            with_cmac = " that CMAC needs" if algorithm == CMAC else ""
            reasons.append(f"its {best} is worth {best.entropy_bits():.0f} bits of {least:.0f}{with_cmac}")
            return None
        return best
