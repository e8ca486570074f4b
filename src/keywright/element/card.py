"""The element without its command interpreter: what the instructions work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from keywright.crypto.aes import AesKey
from keywright.element.applet import Applet
from keywright.element.channel import Channel
from keywright.element.state import (
    ATTEMPTS,
    ELEMENT,
    FORMAT,
    KEYS,
    LIFE,
    REGISTRY,
    CounterRecord,
    ElementRecord,
    KeySetRecord,
    RegistryRecord,
    Storage,
    counter_name,
    key_set_name,
)
from keywright.errors import StoreError
from keywright.globalplatform.messages import KeyType
from keywright.iso7816.atr import Atr
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import I

INITIAL_KVN = 0xFF
SCP03_KIDS = (1, 2, 3)

Rng = Callable[[int], bytes]


@final
class Card:
    """Persistent records, the applets that exist, and the open logical channels."""

    __slots__ = ("_key_sets", "applets", "atr", "channels", "character_level", "identity", "rng", "storage")

    def __init__(self, storage: Storage, applets: Sequence[Applet], rng: Rng | None) -> None:
        """Take the element that `storage` holds.

        Raises StoreError if it holds none in a format that we read, ValueError if it needs `rng` and has none.
        """
        record = storage.read(ELEMENT)
        if record is None or record[0] != FORMAT:
            raise StoreError("this memory holds no element of a format that this version reads")
        self.storage = storage
        self.identity = ElementRecord.parse(record)
        self.atr = self.identity.atr
        self.character_level = Atr.parse(self.atr).protocols == (0,)
        need_rng(self.identity.i, rng)
        self.applets = {applet.aid: applet for applet in applets}
        self.rng = rng
        self.channels: dict[int, Channel] = {}
        self._key_sets: dict[int, tuple[bytes, KeySet | None]] = {}
        self.power_up()

    def power_up(self) -> None:
        """What a reset leaves: the basic channel with the issuer security domain, nothing volatile."""
        self.storage.forget()
        self._key_sets = {}
        self.channels = {0: self.new_channel(0)}

    def new_channel(self, number: int) -> Channel:
        """A channel with the issuer security domain selected; not yet among `channels`."""
        return Channel(number, self.identity.isd_aid, character_level=self.character_level)

    def close_sessions(self) -> None:
        """End every secure session on every channel."""
        for channel in self.channels.values():
            channel.drop_session()

    def life(self) -> int:
        """Card life cycle state."""
        value = self.storage.read(LIFE)
        return value[0] if value else 0

    def attempts(self) -> int:
        """EXTERNAL AUTHENTICATE commands ever received."""
        return int.from_bytes(self.storage.read(ATTEMPTS) or b"")

    def counter(self, kvn: int) -> CounterRecord:
        """Counters of a key set; zero when it has none yet."""
        value = self.storage.read(counter_name(kvn))
        return CounterRecord.parse(value) if value else CounterRecord()

    def registry(self) -> RegistryRecord:
        """Every application but the issuer security domain."""
        return RegistryRecord.parse(self.storage.read(REGISTRY) or b"")

    def key_set(self, kvn: int) -> KeySet | None:
        """The SCP03 keys of a version number, None unless it exists and has key identifiers 1 to 3."""
        raw = self.storage.read(key_set_name(kvn))
        if raw is None:
            return None
        kept = self._key_sets.get(kvn)
        if kept is None or kept[0] is not raw:
            kept = self._key_sets[kvn] = raw, scp03_keys(KeySetRecord.parse(raw))
        return kept[1]

    def default_kvn(self) -> int | None:
        """What key version number 00 means: the oldest set of the owner, else the initial set, else nothing."""
        complete = [kvn for kvn in self.storage.read(KEYS) or b"" if self.key_set(kvn) is not None]
        own = [kvn for kvn in complete if kvn != INITIAL_KVN]
        return next(iter(own or complete), None)


def need_rng(i: int, rng: Rng | None) -> None:
    """Raises ValueError when challenges are random by "i" and nothing makes them."""
    if not i & I.PSEUDO_RANDOM and rng is None:
        raise ValueError(f"with i={i:02X} card challenges are random: rng is needed")


def scp03_keys(record: KeySetRecord) -> KeySet | None:
    """The SCP03 key set in a record, None when one of the three AES keys is missing."""
    keys = {key.kid: key.value for key in record.keys if key.type == KeyType.AES}
    if not keys.keys() >= set(SCP03_KIDS):
        return None
    enc, mac, dek = (keys[kid] for kid in SCP03_KIDS)
    return KeySet(AesKey(enc, "K-ENC"), AesKey(mac, "K-MAC"), AesKey(dek, "K-DEK"))
