"""The second half of `keywright demo`: fobs that become keys, and a door that opens for the right one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, final

import msgspec

from keywright.aliro.access import Situation
from keywright.aliro.carrying import transmit_as_announced
from keywright.aliro.documents.document import Validity
from keywright.aliro.documents.revocation_data import APPEND, RevocationData, RevocationEntry, key_hash
from keywright.aliro.issuer import CredentialIssuer
from keywright.aliro.lock import Outcome
from keywright.aliro.matter.cluster import CredentialType
from keywright.aliro.profile import Interface
from keywright.aliro.session import Session
from keywright.cli.campaign import watching
from keywright.element import SecureElement
from keywright.fob.aliro.applet import Wiring
from keywright.fob.approach import Arrivals, RadioFob, Relay, approach
from keywright.fob.fobs import simulated_fob
from keywright.fob.lock import DoorReader, begin_lock, opened_lock
from keywright.production import campaign
from keywright.production.handover.unit_record import KeystoreSigner
from keywright.production.keystores.keystore_uri import open_keystore
from keywright.production.means import Means
from keywright.production.order import read_order
from keywright.production.reports.diagram import sequence_svg
from keywright.production.reports.sequence import SequenceFile, Step, read_sequence, trace_path
from keywright.sansio.dialogue import drive
from keywright.store.journal import Journal

RECIPE, ORDER, CONFIGURATION = "door.toml", "door.csv", "door.json"
STORE, LOCK, TRACE, PICTURE = "door.db", "door.lock", "door.trace.jsonl", "door.svg"
FILES: Final = (f"{STORE}*", f"{LOCK}*", TRACE, PICTURE)
"""What it makes in its folder."""

NEAR_M: Final = 1.2
FAR_M: Final = 40.0
_ISSUER: Final = "access-issuer"
_YEAR_S: Final = 365 * 86_400


class Scene(msgspec.Struct, frozen=True):
    """One thing that was to happen at the door, and whether it did."""

    what: str
    holds: bool


@final
class _Recorder:
    """Writes down what is said at the door, as steps of an exchange."""

    def __init__(self, sink: SequenceFile) -> None:
        self._sink = sink
        self.link = ""
        self.step = ""

    def exchanged(self, request: bytes, answer: bytes) -> None:
        """One command and its answer."""
        for direction, data in (("command", request), ("answer", answer)):
            self._write(direction, data.hex().upper(), "")

    def say(self, text: str) -> None:
        """What goes over no link."""
        self._write("message", "", text)

    def _write(self, direction: str, octets: str, note: str) -> None:
        fields = {"t": time.time(), "who": "lock", "link": self.link, "dir": direction, "hex": octets, "note": note}
        self._sink(msgspec.convert({**fields, "step": self.step, "unit": 1}, Step))


@final
class _Fob:
    """A fob of the lot, in the field of an NFC reader or within reach of Bluetooth, its exchanges written down."""

    extended = True

    def __init__(self, element: SecureElement, wiring: Wiring, recorder: _Recorder) -> None:
        self._element = element
        self._radio = RadioFob(element, wiring)
        self._recorder = recorder

    @property
    def session(self) -> Session:
        """The transaction under way."""
        return self._radio.session

    def exchange(self, request: bytes, /) -> bytes:
        """Over NFC."""
        answer = self._element.handle(request)
        self._recorder.exchanged(request, answer)
        return answer

    def handle(self, request: bytes, /) -> bytes:
        """Over Bluetooth."""
        answer = self._radio.handle(request)
        self._recorder.exchanged(request, answer)
        return answer

    def reset(self) -> None:
        """Out of reach."""
        self._element.reset()


def play(examples: Path, folder: Path) -> list[Scene]:
    """Make the lot and the door, and play every scene. Raises what a campaign and a lock raise."""
    store = folder / STORE
    with watching(str(store), "", None) as watcher:
        done = campaign.run(examples / RECIPE, examples / ORDER, str(store), Means(watcher=watcher))
    serials = [row.serial for row in read_order(examples / ORDER)]
    sealed = done.summary.sealed == done.summary.ordered == len(serials)
    scenes = [Scene(f"{len(serials)} blank fobs owned over SCP03, Aliro installed, keys made on chip", sealed)]
    begin_lock(folder / LOCK, os.urandom, configuration=(examples / CONFIGURATION).read_text("utf-8"))
    sink = SequenceFile(folder / TRACE)
    with (
        closing(sink),
        closing(open_keystore(f"{store}.keystore")) as keystore,
        closing(Journal(f"{store}.fobs")) as journal,
        opened_lock(folder / LOCK, os.urandom) as door,
    ):
        issuer = CredentialIssuer(KeystoreSigner(keystore, _ISSUER), os.urandom)
        door.add(CredentialType.ISSUER, issuer.public)
        for step in read_sequence(trace_path(store)):
            sink(step)
        recorder = _Recorder(sink)
        wiring = Wiring()
        element = simulated_fob(serials[0], journal.memory(serials[0]), wiring=wiring)
        scenes += _Visit(door, _Fob(element, wiring, recorder), recorder).scenes(issuer)
    picture = sequence_svg(read_sequence(folder / TRACE), standalone=True)
    (folder / PICTURE).write_text(str(picture), "utf-8")
    return scenes


@final
class _Visit:
    """A fob at the door, scene after scene."""

    def __init__(self, door: DoorReader, fob: _Fob, recorder: _Recorder) -> None:
        self._door = door
        self._fob = fob
        self._recorder = recorder

    def scenes(self, issuer: CredentialIssuer) -> Iterator[Scene]:
        """Open by NFC twice, by Bluetooth and UWB once; stay shut for a relay, and for a revoked fob."""
        first = self._by_nfc("door: NFC, standard")
        yield Scene("the door opens by NFC, for the Access Document that the fob shows", first.granted)
        again = self._by_nfc("door: NFC, fast")
        yield Scene("and the next time fast, without it", again.granted and again.is_fast)
        near = self._by_radio("door: Bluetooth and UWB", NEAR_M, None)
        yield Scene(f"it opens by Bluetooth and UWB: {near.reason}", near.opened)
        far = self._by_radio("door: a relay", FAR_M, Relay())
        yield Scene(
            f"a relay to the fob, {FAR_M:.0f} m away: every message is right, and it stays shut: {far.reason}",
            far.decision is not None and far.decision.granted and not far.opened,
        )
        killed = self._revoke(issuer, first)
        last = self._by_nfc("door: revoked")
        yield Scene(
            f"the fob is revoked and refused: {last.reason}", killed == 1 and not (last.granted or last.is_fast)
        )

    def _by_nfc(self, step: str) -> Outcome:
        self._recorder.step, self._recorder.link = step, "nfc"
        self._fob.reset()
        outcome = drive(
            self._door.lock().unlock(self._door.fresh(), Situation(now=int(time.time()))),
            transmit_as_announced(self._fob),
        )
        self._recorder.say(f"{'open' if outcome.granted else 'shut'}: {outcome.reason}")
        return outcome

    def _by_radio(self, step: str, distance_m: float, relay: Relay | None) -> Arrivals:
        self._recorder.step, self._recorder.link = step, "bluetooth"
        self._fob.reset()
        came = approach(
            self._door.lock(Interface.BLE),
            self._fob,
            Situation(now=int(time.time())),
            os.urandom,
            distance_m=distance_m,
            relay=relay,
        )
        for metres in came.distances[:3]:
            self._recorder.say(f"UWB: {metres:.2f} m")
        self._recorder.say(f"{'open' if came.opened else 'shut'}: {came.reason}")
        return came

    def _revoke(self, issuer: CredentialIssuer, first: Outcome) -> int:
        now = int(time.time())
        entry = RevocationEntry(key_hash=key_hash(first.credential))
        data = RevocationData(APPEND, entries=(entry,))
        document = issuer.revocation_document({"door": data}, Validity(now, now - 3600, now + _YEAR_S))
        return len(self._door.lock().take_revocations(document, Situation(now=now)))
