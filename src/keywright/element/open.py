"""The virtual secure element: bytes in, bytes out, and a memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self, final

from keywright.element import interpreter
from keywright.element.applet import Applet
from keywright.element.birth import PRIVILEGES, Personality, give_birth, register
from keywright.element.card import Card, Factory, Rng, need_rng
from keywright.element.channels import enter_default
from keywright.element.domain import INITIAL_KVN
from keywright.element.over_the_air import OverTheAir
from keywright.element.profile_record import kept_profile
from keywright.element.recording_applet import Recorded, RecordingApplet, recorded
from keywright.element.services import Services
from keywright.element.state import ELEMENT, Storage, Transaction
from keywright.element.upgrade import DEFAULT_PERSISTENT, DEFAULT_VOLATILE, upgrade
from keywright.errors import StoreError
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import DEFAULT_ISD, Cplc
from keywright.globalplatform.profile import CardProfile
from keywright.iso7816 import atr as answer_to_reset
from keywright.iso7816.status import SW
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import SCP03, I
from keywright.store.journal import Journal
from keywright.store.memory import Memory, RamMemory

NAMESPACE = "element"
"""Where an element lives in a journal of its own."""

_HISTORICAL: Final = bytes.fromhex("8073C021DF59") + b"keywright"
"""ISO 7816-4 8.1.1: selection by AID, chaining, extended length, 8 or more channels; then who made it."""

DEFAULT_ATR: Final = answer_to_reset.build(_HISTORICAL, (1,))
DEFAULT_CPLC: Final = Cplc.parse(
    bytes.fromhex("4B570001 4B576001 00016001 00000001 0001 4B576001 4B576001 4B576001 00000001 00000000 00000000")
)
DEFAULT_IIN: Final = bytes.fromhex("99999901")
DEFAULT_CIN: Final = bytes.fromhex("00000000000000000001")
DEFAULT_MAX_DATA: Final = 0x0800


class PathName(Protocol):
    """A path of the operating system, as `pathlib` has them."""

    def __fspath__(self) -> str:
        """Its text."""
        ...


@final
class SecureElement:
    """A GlobalPlatform element: security domains, load files, and applications behind AIDs. A responder: `handle`.

    For one thread at a time, as a chip is.

    Memory is `path` (a journal file), or `memory`, or RAM. Memory that already holds an element wins over every
    parameter except `applets`, `factories`, `profile`, `rng` and `on_fault`; fresh memory becomes the element
    described, in one commit. Memory holds AIDs and never code. `applets` are there from the start; `factories` make
    those that INSTALL creates, by the AID of their executable module, and where there is none, a `RecordingApplet`
    stands in.

    kvn, keys, sequence_counter: the initial key set and how often it was used. i: SCP03 options; without the bit for
    pseudo-random challenges (10) `rng` makes them. protocols: what the issuer security domain offers besides SCP03,
    pairs of protocol number (02, 10, 11, 80, 81) and "i". profile: how it does what the texts leave open; kept in fresh
    memory, and one given for a memory that has its own stands in for that until it is closed.
    initial_keys_stay: keep set FF when the owner puts a set of his own. resets: whoever blocks every key brings back
    the first set, as with a YubiKey (`element/factory_reset.py`). privileges: those of the issuer security
    domain, 3 bytes. page: entries in one answer to GET STATUS (0: as many as fit). volatile, persistent: bytes of
    memory for content.
    try_limit: EXTERNAL AUTHENTICATE failures in a row that block a key set; None: never. max_data: what 9F65 tells.
    kdd: 10 bytes of key diversification data. atr: one that names T=0 alone makes the element keep the data of case 4
    commands for GET RESPONSE, as such cards do. on_fault: called with what should never happen, before 6F00 is
    answered; it may raise.

    Raises ValueError for parameters that describe no element, StoreError for a memory that cannot be used.
    """

    def __init__(
        self,
        *,
        path: str | PathName | None = None,
        memory: Memory | None = None,
        isd_aid: bytes = DEFAULT_ISD,
        kvn: int = INITIAL_KVN,
        keys: KeySet | None = None,
        i: int = I.PSEUDO_RANDOM | I.R_MAC | I.R_ENC,
        protocols: Sequence[tuple[int, int]] = (),
        initial_keys_stay: bool = False,
        resets: bool = False,
        sequence_counter: int = 0,
        kdd: bytes = bytes(10),
        cplc: Cplc = DEFAULT_CPLC,
        iin: bytes = DEFAULT_IIN,
        cin: bytes = DEFAULT_CIN,
        life_cycle: int = CardState.OP_READY,
        try_limit: int | None = None,
        max_data: int = DEFAULT_MAX_DATA,
        page: int = 0,
        volatile: int = DEFAULT_VOLATILE,
        persistent: int = DEFAULT_PERSISTENT,
        privileges: bytes = PRIVILEGES,
        atr: bytes = DEFAULT_ATR,
        rng: Rng | None = None,
        applets: Sequence[Applet] = (),
        factories: Mapping[bytes, Factory] | None = None,
        profile: CardProfile | None = None,
        on_fault: Callable[[Exception], None] | None = None,
    ) -> None:
        if path is not None and memory is not None:
            raise ValueError("an element has a path or a memory, not both")
        personality = Personality(
            isd_aid,
            kvn,
            keys,
            i,
            tuple(protocols),
            initial_keys_stay,
            resets,
            sequence_counter,
            kdd,
            cplc,
            iin,
            cin,
            life_cycle,
            try_limit,
            max_data,
            page,
            volatile,
            persistent,
            privileges,
            atr,
        )
        personality.check()
        self._journal = Journal(path) if path is not None else None
        self._on_fault = on_fault
        try:
            if self._journal is not None:
                memory = self._journal.memory(NAMESPACE)
            storage = Storage(RamMemory() if memory is None else memory)
            if storage.read(ELEMENT) is None:
                need_rng(((SCP03, i), *protocols), rng)
                give_birth(storage, personality, applets, profile)
            else:
                upgrade(storage)
            self._card = Card(storage, applets, rng, factories or {}, profile or kept_profile(storage))
            self._card.services = Services(self._card)
            register(storage, applets)
            self._select_default()
        except BaseException:
            self.close()
            raise

    def handle(self, command: bytes) -> bytes:
        """The answer APDU to a command APDU. Total: any bytes get an answer, and no Exception leaves it."""
        try:
            return interpreter.answer(self._card, command)
        except Exception as fault:  # noqa: BLE001 - a chip answers 6F00, whatever went wrong inside
            self._card.close_sessions()
            if self._on_fault is not None:
                self._on_fault(fault)
            return SW.NO_DIAGNOSIS.to_bytes(2)

    def reset(self) -> bytes:
        """Power off and on: what is volatile is gone, the basic channel has the issuer security domain; the ATR."""
        self._card.power_up()
        self._select_default()
        return self._card.atr

    def _select_default(self) -> None:
        card = self._card
        try:
            enter_default(card, card.channels[0], Transaction(card.storage))
        except StoreError:
            card.power_up()

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        return self._card.atr

    @property
    def profile(self) -> CardProfile:
        """How it does what the texts leave open."""
        return self._card.profile

    @property
    def air(self) -> OverTheAir:
        """The element as SCP80 and SCP81 reach it."""
        return OverTheAir(self._card)

    @property
    def attempts(self) -> int:
        """EXTERNAL AUTHENTICATE commands ever received, across resets and restarts."""
        return self._card.attempts()

    @property
    def life_cycle(self) -> int:
        """Card life cycle state (GPCS table 11-6)."""
        return self._card.life()

    def recordings(self) -> tuple[Recorded, ...]:
        """What was sent to each application that was loaded and whose code is not here."""
        card = self._card
        stand_ins = (entry.aid for entry in card.registry() if isinstance(card.applet(entry), RecordingApplet))
        return tuple(recorded(card.storage.read, aid) for aid in stand_ins)

    def close(self) -> None:
        """Give up the journal file, if there is one."""
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
