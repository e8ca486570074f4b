"""The parameters of a session: their lengths, values, defaults, and which a session cannot do without.

Lengths, defaults and the mandatory ones are those of google/pica, which cites the UCI specification (8.3, table 45).
A parameter that is not listed is kept as it came and given back: the specification is not public, and a subsystem that
refused what it does not know would be of no use to hosts of other makers.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from keywright.crypto.aes import AesKey
from keywright.uwb.uci.codes import App, Status
from keywright.uwb.uci.messages import ParameterStatus, Tlv

MOST_CONTROLEES: Final = 8
SECRET: Final = frozenset({App.SESSION_KEY, App.SUBSESSION_KEY})
"""Parameters that are keys: taken, never given out."""
MANDATORY: Final = (
    App.DEVICE_ROLE,
    App.MULTI_NODE_MODE,
    App.RANGING_ROUND_USAGE,
    App.DEVICE_MAC_ADDRESS,
    App.SCHEDULED_MODE,
)
"""A session is INIT until it has these. Without a device type it is a controlee."""
CHANGES_WHILE_ACTIVE: Final = frozenset(
    {
        App.RNG_DATA_NTF,
        App.RNG_DATA_NTF_PROXIMITY_NEAR,
        App.RNG_DATA_NTF_PROXIMITY_FAR,
        App.RANGING_DURATION,
        App.MAX_NUMBER_OF_MEASUREMENTS,
    }
)
"""What may be set while ranging goes on (ours; pica lets everything change but the angle of arrival)."""


class Rule(NamedTuple):
    """What a value may be. sizes: octets; allowed: numbers, empty for any; default: empty for none."""

    sizes: tuple[int, ...]
    allowed: frozenset[int] = frozenset()
    default: bytes = b""


RULES: Final[dict[int, Rule]] = {
    App.DEVICE_TYPE: Rule((1,), frozenset({0, 1}), b"\x00"),
    App.RANGING_ROUND_USAGE: Rule((1,), frozenset(range(10))),
    App.STS_CONFIG: Rule((1,), frozenset(range(5)), b"\x00"),
    App.MULTI_NODE_MODE: Rule((1,), frozenset({0, 1, 2})),
    App.CHANNEL_NUMBER: Rule((1,), frozenset({5, 6, 8, 9, 10, 12, 13, 14}), b"\x09"),
    App.NO_OF_CONTROLEE: Rule((1,), frozenset(range(1, MOST_CONTROLEES + 1)), b"\x01"),
    App.DEVICE_MAC_ADDRESS: Rule((2, 8)),
    App.DST_MAC_ADDRESS: Rule(tuple(n * size for size in (2, 8) for n in range(1, MOST_CONTROLEES + 1))),
    App.SLOT_DURATION: Rule((2,), default=(2400).to_bytes(2, "little")),
    App.RANGING_DURATION: Rule((4,), default=(200).to_bytes(4, "little")),
    App.RNG_DATA_NTF: Rule((1,), frozenset(range(8)), b"\x01"),
    App.RNG_DATA_NTF_PROXIMITY_NEAR: Rule((2,), default=bytes(2)),
    App.RNG_DATA_NTF_PROXIMITY_FAR: Rule((2,), default=(20000).to_bytes(2, "little")),
    App.DEVICE_ROLE: Rule((1,), frozenset({0, 1})),
    App.SLOTS_PER_RR: Rule((1,), default=b"\x19"),
    App.SCHEDULED_MODE: Rule((1,), frozenset({0, 1, 2})),
    App.MAC_ADDRESS_MODE: Rule((1,), frozenset({0, 2}), b"\x00"),
    App.MAX_NUMBER_OF_MEASUREMENTS: Rule((1, 2), default=bytes(2)),
    App.SESSION_KEY: Rule((16, 32)),
    App.SUBSESSION_KEY: Rule((16, 32)),
}


@final
class AppConfig:
    """The parameters of one session."""

    def __init__(self) -> None:
        self._values: dict[int, bytes] = {}
        self._keys: dict[int, AesKey] = {}

    def __repr__(self) -> str:
        return f"<AppConfig {', '.join(f'{number:02X}' for number in sorted(self._values))}>"

    def change(self, parameters: tuple[Tlv, ...]) -> tuple[ParameterStatus, ...]:
        """Take all parameters, or none if any cannot be taken; which those are, and why."""
        changed = AppConfig()
        changed._values, changed._keys = dict(self._values), dict(self._keys)
        wrong: list[ParameterStatus] = []
        for parameter in parameters:
            status = _judge(parameter.id, parameter.value)
            if status != Status.OK:
                wrong.append(ParameterStatus(parameter.id, status))
            elif parameter.id in SECRET:
                changed._keys[parameter.id] = AesKey(parameter.value, "session key")
            else:
                changed._values[parameter.id] = parameter.value
        wrong = wrong or changed._contradictions()
        if not wrong:
            self._values, self._keys = changed._values, changed._keys
        return tuple(wrong)

    def value(self, number: int) -> bytes | None:
        """The value of a parameter that is set or has a default and is no key; None for any other."""
        found = self._values.get(number)
        if found is not None:
            return found
        rule = RULES.get(number)
        return rule.default or None if rule else None

    def number(self, number: int) -> int:
        """A parameter as a little-endian number, 0 if it has no value."""
        return int.from_bytes(self.value(number) or b"", "little")

    @property
    def session_key(self) -> AesKey | None:
        """The key of provisioned STS, if there is one."""
        return self._keys.get(App.SESSION_KEY)

    @property
    def is_complete(self) -> bool:
        """Whether everything mandatory is set."""
        return all(number in self._values for number in MANDATORY)

    @property
    def address(self) -> bytes:
        """The subsystem's own MAC address in this session."""
        return self._values.get(App.DEVICE_MAC_ADDRESS, b"")

    @property
    def address_bytes(self) -> int:
        """Octets of a MAC address in this session."""
        return 8 if self.number(App.MAC_ADDRESS_MODE) else 2

    @property
    def peers(self) -> tuple[bytes, ...]:
        """MAC addresses of the other devices, in their order."""
        joined, size = self._values.get(App.DST_MAC_ADDRESS, b""), self.address_bytes
        return tuple(joined[at : at + size] for at in range(0, len(joined), size))

    @peers.setter
    def peers(self, addresses: tuple[bytes, ...]) -> None:
        self._values[App.DST_MAC_ADDRESS] = b"".join(addresses)
        self._values[App.NO_OF_CONTROLEE] = bytes((len(addresses),))

    def _contradictions(self) -> list[ParameterStatus]:
        wrong = []
        own, size = self._values.get(App.DEVICE_MAC_ADDRESS), self.address_bytes
        if own is not None and len(own) != size:
            wrong.append(ParameterStatus(App.DEVICE_MAC_ADDRESS, Status.INVALID_PARAM))
        joined = self._values.get(App.DST_MAC_ADDRESS)
        if joined is not None and len(joined) != size * self.number(App.NO_OF_CONTROLEE):
            wrong.append(ParameterStatus(App.DST_MAC_ADDRESS, Status.INVALID_PARAM))
        return wrong


def _judge(number: int, value: bytes) -> int:
    rule = RULES.get(number)
    if rule is None:
        return Status.OK
    if len(value) not in rule.sizes:
        return Status.INVALID_PARAM
    if rule.allowed and int.from_bytes(value, "little") not in rule.allowed:
        return Status.INVALID_RANGE
    return Status.OK
