"""A reader over Bluetooth: its sessions with several devices at once, and the one bolt behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keywright.aliro.ble.gatt import Negotiated
from keywright.aliro.ble.messages import Reporting, Source, State
from keywright.aliro.ble.reader import ReaderEnd
from keywright.aliro.ble.settings import ReaderSettings, Shared
from keywright.aliro.cache import PersistentKeys
from keywright.aliro.reader import Dialogue, Opened
from keywright.crypto.ec import EcPublicKey

_THIS_DEVICE: Final = frozenset((Source.THIS_DEVICE_RANGING, Source.THIS_DEVICE_NFC, Source.THIS_DEVICE_BLE))


@final
class Door:
    """What the sessions of one reader share: kept keys, the state of the bolt, and how many there may be."""

    def __init__(
        self,
        settings: ReaderSettings,
        random: Callable[[int], bytes],
        decide: Callable[[Opened], Dialogue[int]],
        *,
        keys: PersistentKeys | None = None,
        find_slot: Callable[[bytes], EcPublicKey | None] = lambda _: None,
        state: int = State.SECURED,
    ) -> None:
        """random(n): n octets. decide: a dialogue on the open channel that returns a `ReaderStatus`.

        It may use the mailbox or ask for documents; a success (0100 and above) lets the session go on, anything else
        is told to the device and ends it.
        """
        self._shared = Shared(settings, random, decide, keys=keys, find_slot=find_slot, state=state)
        self._ends: list[ReaderEnd] = []

    @property
    def keys(self) -> PersistentKeys:
        """What is kept for the fast phase."""
        return self._shared.keys

    @property
    def state(self) -> int:
        """A value of `State`, as `set_state` had it last."""
        return self._shared.state

    def connect(self, negotiated: Negotiated, now: float) -> ReaderEnd:
        """The end for a channel that a device has just opened."""
        self._ends = [end for end in self._ends if not end.is_over]
        end = ReaderEnd(self._shared, negotiated, now, is_busy=len(self._ends) >= self._shared.settings.most_sessions)
        self._ends.append(end)
        return end

    def set_state(self, state: int, source: int, *, by: ReaderEnd | None = None) -> None:
        """The bolt has moved: tell the devices that are to know. by: the session whose doing it was.

        To other devices than its own, that `source` is unspecified.
        """
        self._shared.state = state
        to_all = self._shared.settings.reporting == Reporting.TO_ALL
        for end in self._ends:
            if to_all or (end is by and self._shared.settings.reporting == Reporting.TO_THIS):
                end.report(state, source if end is by or source not in _THIS_DEVICE else Source.UNSPECIFIED)

    def end_sessions(self, credential: EcPublicKey, why: str = "the credential was revoked") -> None:
        """A credential was revoked, evicted or cleared: its live sessions end. Kept keys are the lock's business."""
        for end in self._ends:
            if end.opened is not None and end.opened.credential == credential:
                end.close(why)
