"""The host of a ceremony: the one process that parts are sealed to, that combines them and changes the keystore.

Its key exists in its memory only. It reads the transcript, does what is due, and writes what it did before anybody can
rely on it. Killed at any moment it leaves a transcript from which the next host goes on: parts are entered again, a
change of the keystore that had begun is looked for, and either sealed or begun again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from keywright.crypto.aes import AesKey
from keywright.crypto.curve25519 import X25519Key
from keywright.crypto.des import TripleDesKey
from keywright.crypto.kcv import Kcv, ceremony_check_value
from keywright.crypto.keyblocks import Header
from keywright.errors import AuthenticationError, DecodeError, PolicyError, StoreError, UsageError
from keywright.production.ceremony import carried as carrying
from keywright.production.ceremony.carried import Carried
from keywright.production.ceremony.parts import Dealer, combine
from keywright.production.ceremony.plan import KINDS, Plan
from keywright.production.ceremony.progress import Ceremony
from keywright.production.ceremony.states import FINAL, HELD, CeremonyError, Event, State
from keywright.production.ceremony.target import Held, Kek, Pending, Target, check_arrived, check_export
from keywright.production.ceremony.transcript import Transcript
from keywright.production.people.person_key import PersonKey
from keywright.production.private_file import READABLE, write_new
from keywright.store.lock import FileLock

_LOCK: Final = ".host.lock"
_BRINGS: Final = ("create", "import", "restore")
_WHAT: Final = "key transfer"


@final
class Host:
    """One run of the host process. Call `open`, then `step` until the ceremony is over, and `close` in any case."""

    def __init__(
        self,
        transcript: Transcript,
        key: PersonKey,
        target: Target,
        *,
        clock_ms: Callable[[], int],
        rng: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`key`: of the person who is the host in the plan. Raises StoreError if another host runs already."""
        self._transcript = transcript
        self._person = key
        self._target = target
        self._clock = clock_ms
        self._rng = rng
        self._key: X25519Key | None = None
        self._pending: Pending | None = None
        self._kek: Kek = ""
        self._dealer: Dealer | None = None
        self._output = b""
        self._parts: dict[str, str] = {}
        self._lock = FileLock(str(transcript.folder / _LOCK), f"{transcript.folder}: the host")

    def open(self) -> Ceremony:
        """Begin, or go on after another host was killed. Raises if the ceremony or the keystore is not ready for it."""
        ceremony = self._transcript.read()
        plan = ceremony.plan
        if self._person.name != plan.host:
            raise CeremonyError(f"{self._person.name} is not the host of this ceremony", hint=f"it is {plan.host}")
        if plan.target != self._target.uri:
            raise UsageError(f"the plan is for the keystore {plan.target}", hint="give that one with --keystore")
        if ceremony.state in FINAL:
            return ceremony
        if ceremony.state is State.EXECUTING:
            ceremony = self._recovered(ceremony)
            if ceremony.state in FINAL:
                return ceremony
        self._check_keystore(plan)
        self._key = X25519Key(self._rng(32), "ceremony key")
        if plan.entry == "deal":
            self._dealer = Dealer(plan, self._rng)
        event = Event.REOPEN if ceremony.state in HELD else Event.OPEN
        return self._write(event, {"host_key": self._key.public.hex(), "test": self._target.test})

    def run(self, wait: Callable[[], None], told: Callable[[Ceremony], None]) -> Ceremony:
        """Step until the ceremony is over. `wait` lets time pass; `told` is called whenever there is something new."""
        size = 0
        while True:
            try:
                ceremony = self.step()
            except CeremonyError:
                ceremony = self._transcript.read()
                # Somebody aborted between our look and our line.
                if ceremony.state not in FINAL:
                    raise
                self._wipe()
            if len(ceremony.lines) != size:
                size = len(ceremony.lines)
                told(ceremony)
            if ceremony.state in FINAL:
                return ceremony
            wait()

    def step(self) -> Ceremony:
        """Do what is due now, if anything is; the ceremony as it stands then."""
        ceremony = self._transcript.read()
        if ceremony.state in FINAL:
            self._wipe()
        elif self._key is None or ceremony.host_key != self._key.public:
            raise CeremonyError("this host is not open, or another one took its place", hint="begin a new host")
        elif ceremony.state is State.OPEN and self._dealer is not None:
            ceremony = self._deal(ceremony, self._dealer)
        elif ceremony.state is State.LOADED:
            ceremony = self._combine(ceremony, self._key)
        elif ceremony.state is State.CONFIRMED:
            ceremony = self._execute(ceremony)
        return ceremony

    def abort(self, why: str) -> Ceremony:
        """End the ceremony; everything is wiped."""
        self._wipe()
        return self._write(Event.ABORT, {"why": why})

    def close(self) -> None:
        """Wipe what is held and let the keystore go."""
        self._wipe()
        self._target.close()
        self._lock.release()

    # ---- what is due

    def _deal(self, ceremony: Ceremony, dealer: Dealer) -> Ceremony:
        for index in sorted(ceremony.asked.keys() - ceremony.dealt.keys() - ceremony.loads.keys()):
            ceremony = self._write(Event.DEAL, partial(dealer.dealt, index=index, rng=self._rng))
        return ceremony

    def _combine(self, ceremony: Ceremony, key: X25519Key) -> Ceremony:
        try:
            facts = self._combined(ceremony, key)
        except (PolicyError, AuthenticationError, DecodeError, StoreError) as error:
            return self.abort(str(error))
        expected = ceremony.plan.expected
        if expected and not Kcv.parse(expected).is_same(Kcv.parse(facts["check"])):
            return self.abort("the check value is not the one that was expected")
        return self._write(Event.COMBINE, facts)

    def _combined(self, ceremony: Ceremony, own: X25519Key) -> dict[str, Any]:
        """Put together what the plan says; nothing of it is kept yet. The check values for the witnesses."""
        plan = ceremony.plan
        if plan.kind in ("create", "import") and plan.parts:
            key = self._put_together(ceremony, own)
            self._pending = self._target.load(key, plan.header)
            return self._facts(str(ceremony_check_value(key)))
        if plan.kind == "create":
            self._pending = self._target.generate(plan.bits, plan.header)
        elif plan.kind in ("import", "restore"):
            self._kek = plan.kek or _backup_kek(self._put_together(ceremony, own))
            self._pending = self._arrived(plan, self._kek)
        elif plan.kind == "backup":
            self._kek = (
                self._dealt(ceremony, self._dealer) if self._dealer else _backup_kek(self._put_together(ceremony, own))
            )
        else:
            self._kek = plan.kek
        if self._pending is not None:
            return self._facts(str(self._pending.check))
        return self._facts(str(self._there(plan.key).check))

    def _put_together(self, ceremony: Ceremony, own: X25519Key) -> AesKey | TripleDesKey:
        key, self._parts = combine(ceremony, own)
        return key

    def _facts(self, check: str) -> dict[str, Any]:
        """What the witnesses compare: `check`; the keystore's own value of the same key; the KEK's; each part's."""
        kept = check if self._pending is None else str(self._pending.check)
        return {"check": check, "stored_check": kept, "kek_check": self._kek_check(), "parts": self._parts}

    def _kek_check(self) -> str:
        if not self._kek:
            return ""
        return str(self._there(self._kek).check if isinstance(self._kek, str) else ceremony_check_value(self._kek))

    @staticmethod
    def _dealt(ceremony: Ceremony, dealer: Dealer) -> Kek:
        for index, line in ceremony.loads.items():
            if not dealer.check(index).is_same(Kcv.parse(str(line.facts.get("check")))):
                raise CeremonyError(f"share {index} of {line.person} is not the one that was dealt")
        return dealer.kek

    def _arrived(self, plan: Plan, kek: Kek) -> Pending:
        carried = carrying.read(Path(plan.file), self._transcript.directory, plan.file_sha256)
        check_arrived(carried, plan, self._target)
        pending = self._target.unwrap(carried, kek)
        if carried.key_check.rule is pending.check.rule and not carried.key_check.is_same(pending.check):
            raise CeremonyError("the key of the file has another check value than the file says")
        return pending

    def _execute(self, ceremony: Ceremony) -> Ceremony:
        """Say what is about to be done, on the disk; do it; look whether it was done; say so."""
        plan, facts = ceremony.plan, dict(ceremony.combined)
        if KINDS[plan.kind].writes_file:
            self._output = self._transfer(ceremony).build()
            facts["file_sha256"] = carrying.file_hash(self._output)
        ceremony = self._write(Event.EXECUTE, facts)
        if plan.kind in _BRINGS:
            if self._pending is None:
                raise AssertionError("a key that is brought has been combined")
            self._target.store(plan.key, self._pending, plan, self._clock())
        elif plan.kind == "destroy":
            self._destroy(ceremony)
        else:
            write_new(Path(plan.file), _WHAT, self._output, READABLE)
        ceremony = self._seen(ceremony, facts)
        self._wipe()
        return ceremony

    def _recovered(self, ceremony: Ceremony) -> Ceremony:
        """After a host was killed while it changed the keystore: sealed if the change is there."""
        facts = next(line.facts for line in reversed(ceremony.lines) if line.event is Event.EXECUTE)
        if ceremony.plan.kind == "destroy":
            # Two witnesses have confirmed it, and a part of it may be done: it is finished.
            self._destroy(ceremony)
        return self._seen(ceremony, {**facts, "recovered": True}, again=True)

    def _destroy(self, ceremony: Ceremony) -> None:
        approval = ceremony.approval.id if ceremony.approval is not None else ""
        self._target.destroy(ceremony.plan.key, ceremony.plan, self._clock(), approval)

    def _seen(self, ceremony: Ceremony, facts: dict[str, Any], *, again: bool = False) -> Ceremony:
        is_done = self._is_done(ceremony.plan, facts)
        if is_done is None and again:
            return ceremony
        if not is_done:
            return self.abort("what is in the keystore or the file is not what was to be there")
        return self._write(Event.SEAL, facts)

    def _is_done(self, plan: Plan, facts: dict[str, Any]) -> bool | None:
        """True if the change is there, None if there is nothing of it, False for something else in its place."""
        if KINDS[plan.kind].writes_file:
            path = Path(plan.file)
            return carrying.file_hash(path.read_bytes()) == facts["file_sha256"] if path.exists() else None
        found = self._target.find(plan.key)
        if plan.kind == "destroy":
            return found is None or None
        if found is None:
            return None
        return found.check.is_same(Kcv.parse(facts["stored_check"]))

    # ---- the keystore

    def _check_keystore(self, plan: Plan) -> None:
        if plan.kind in _BRINGS:
            self._target.check_free(plan.key)
            if plan.kek:
                self._there(plan.kek)
        else:
            held = self._there(plan.key)
            if plan.kind != "destroy":
                self._target.check_wraps(plan.key, plan.kek, self._clock())
            if plan.kind == "export":
                check_export(held, self._there(plan.kek), _as(held.header, plan.exportability))
        if KINDS[plan.kind].writes_file and Path(plan.file).exists():
            raise StoreError(f"{plan.file}: is there already", hint="draft the ceremony with another file")

    def _there(self, name: str) -> Held:
        held = self._target.find(name)
        if held is None:
            raise StoreError(f"the keystore has no key {name!r}", hint="look at it: keywright keystore show")
        return held

    def _transfer(self, ceremony: Ceremony) -> Carried:
        plan, held = ceremony.plan, self._there(ceremony.plan.key)
        header = _as(held.header, plan.exportability) if plan.kind == "export" else held.header
        wrapped = self._target.wrap(plan.key, self._kek, header)
        return Carried(
            purpose="backup" if plan.kind == "backup" else "export",
            ceremony=plan.id,
            key=plan.key,
            algorithm=held.algorithm,
            bits=held.bits,
            header=header.build(),
            form=wrapped.form,
            wrapped=wrapped.text,
            check=str(held.check),
            kek=plan.kek,
            kek_check=str(ceremony.combined["kek_check"]),
            zone=plan.zone,
            owner=plan.owner,
            test=self._target.test,
            directory=plan.directory,
            signer=self._person.name,
        ).signed(self._person)

    def _write(self, event: Event, facts: dict[str, Any] | Callable[[Ceremony], dict[str, Any]]) -> Ceremony:
        make = facts if callable(facts) else lambda _: facts
        return self._transcript.write(self._person, event, make, self._clock())

    def _wipe(self) -> None:
        self._key = None
        self._pending = None
        self._kek = ""
        self._dealer = None
        self._output = b""


def _backup_kek(key: AesKey | TripleDesKey) -> Kek:
    if not isinstance(key, AesKey):
        raise TypeError("the KEK of a backup is an AES key")
    return key


def _as(header: Header, exportability: str) -> Header:
    return Header("D", header.usage, header.algorithm, header.mode, header.key_version, exportability)
