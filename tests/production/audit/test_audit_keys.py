"""The key of a log: named in it, missed when it is gone, and changed only by an entry that a verifier follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from keywright.crypto.ec import EcPrivateKey
from keywright.errors import AuthenticationError, DecodeError, PolicyError, StoreError
from keywright.production.audit.checkpoints import Notary
from keywright.production.audit.export import export
from keywright.production.audit.key_file import FileSigner, open_or_make, signer_for, signer_of
from keywright.production.audit.key_file import rekey as put_key
from keywright.production.audit.log_key import KeyNamed, key_changes, key_of
from keywright.production.audit.note import NoteKey, open_note, sign_note
from keywright.production.audit.verdict import Verdict
from keywright.production.audit.verify import verify
from keywright.production.audit.witness import beside_store, read_notes
from keywright.production.control.rekey import rekey
from keywright.production.people.approvals import approve, signed
from keywright.production.people.consent import AskedError, Consent, given_or_asked
from keywright.production.people.people import Directory
from keywright.production.unit_store import approval_rows
from keywright.production.unit_store.units import UnitStore
from support.lots import lot, made_up, order
from support.people import NOW, counting, directory, key


def named(signer: FileSigner) -> NoteKey:
    return NoteKey(signer.name, signer.public)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lot whose log has a key, signed once."""
    path = tmp_path / "lot.db"
    with made_up(path, order(3)) as store:
        Notary(store, signer_of(store, path, "fob"), beside_store(path)).make()
    return path


def checked(store: UnitStore, place: Path, *keys: NoteKey) -> Verdict:
    signer = signer_for(key_of(store) or pytest.fail("no key"), place)
    export(store, place.with_name("export"), signer)
    return verify(place.with_name("export"), keys=keys, witness=read_notes(beside_store(place)), need_seal=True)


def test_a_log_names_its_key_once(place: Path) -> None:
    with UnitStore.open(str(place)) as store:
        signer = signer_of(store, place, "fob")
        assert key_of(store) == named(signer)
        assert checked(store, place, named(signer)).findings == ()


def test_a_key_that_is_gone_is_not_made_anew(place: Path) -> None:
    place.with_name("lot.db.audit-key").unlink()
    with UnitStore.open(str(place)) as store, pytest.raises(StoreError, match="missing") as caught:
        signer_of(store, place, "fob")
    assert "audit rekey" in caught.value.hint
    assert not place.with_name("lot.db.audit-key").exists()


def test_a_log_that_was_signed_before_it_named_a_key_misses_it_too(tmp_path: Path) -> None:
    with made_up(tmp_path / "lot.db", order(1)) as store:
        Notary(store, open_or_make(store.path, "fob"), None).make()
        tmp_path.joinpath("lot.db.audit-key").unlink()
        with pytest.raises(StoreError, match="missing"):
            signer_of(store, store.path, "fob")


def test_the_key_of_another_log_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    open_or_make(tmp_path / "other" / "lot.db", "other")
    (tmp_path / "other" / "lot.db.audit-key").replace(place.with_name("lot.db.audit-key"))
    with UnitStore.open(str(place)) as store, pytest.raises(PolicyError, match="another key"):
        signer_of(store, place, "fob")


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_log_gets_another_key_and_stays_whole(place: Path, *, is_lost: bool) -> None:
    with UnitStore.open(str(place)) as store:
        before = named(signer_of(store, place, "fob"))
        if is_lost:
            place.with_name("lot.db.audit-key").unlink()
        after = rekey(store, "the disk broke", None)
        assert key_of(store) == after != before
        assert named(signer_of(store, place, "fob")) == after
        for given in ((), (after,), (before, after)):
            verdict = checked(store, place, *given)
            assert (verdict.findings, verdict.sealed, verdict.witnessed) == ((), True, verdict.size)
            assert any("the disk broke" in text for text in verdict.notes)
        verdict = checked(store, place, before)
    assert [found.kind for found in verdict.findings] == ["checkpoint"]
    assert "was not given" in verdict.findings[0].text


def test_a_key_that_no_entry_names_signs_nothing(place: Path, tmp_path: Path) -> None:
    with UnitStore.open(str(place)) as store:
        before = named(signer_of(store, place, "fob"))
        store.commit([*key_changes(before, "again")])
        foreign = FileSigner("keywright/fob/ffffffff", bytes(32))
        Notary(store, foreign, None).make()
        export(store, tmp_path / "export", signer_of(store, place, "fob"))
    verdict = verify(tmp_path / "export")
    assert verdict.findings[0].kind == "checkpoint"


def test_a_crash_between_the_entry_and_the_file_is_made_up_for(place: Path) -> None:
    key_file = place.with_name("lot.db.audit-key")
    with UnitStore.open(str(place)) as store:
        old = key_file.read_bytes()
        put_key(store, place, "fob", lambda after: key_changes(after, "planned"))
        key_file.replace(place.with_name("lot.db.audit-key.next"))
        key_file.write_bytes(old)
        key_file.chmod(0o600)
        assert named(signer_of(store, place, "fob")) == key_of(store)
        assert not place.with_name("lot.db.audit-key.next").exists()


def test_a_key_that_was_never_named_does_not_count(place: Path) -> None:
    def fail(_: NoteKey) -> list[KeyNamed]:
        raise StoreError("the disk is full")

    with UnitStore.open(str(place)) as store:
        before = signer_of(store, place, "fob")
        with pytest.raises(StoreError, match="full"):
            put_key(store, place, "fob", fail)
        assert named(signer_of(store, place, "fob")) == named(before)


def test_in_a_production_lot_an_administrator_asks_and_an_auditor_allows(tmp_path: Path) -> None:
    crew: Directory = directory()
    production = lot(test=False, link="tcp:127.0.0.1:1", recipe=lot().recipe)
    with made_up(tmp_path / "lot.db", order(1), campaign=production) as store:
        signer_of(store, store.path, "fob")
        with pytest.raises(PolicyError, match="two persons"):
            rekey(store, "the disk broke", None)

        def ask(units: UnitStore, operation: object) -> Consent:
            return given_or_asked(units, operation, crew, key("ada"), at_ms=NOW, rng=counting())  # type: ignore[arg-type]  # as AskFor

        with pytest.raises(AskedError):
            rekey(store, "the disk broke", ask)
        with store.reading() as reader:
            (asked,) = approval_rows.listed(reader)
        done = approve(asked, key("aude"), crew, at_ms=NOW + 1)
        store.commit([signed(done, done.approved[0])])
        assert rekey(store, "the disk broke", ask) == key_of(store)


def test_a_note_is_signed_with_es256_too() -> None:
    private = EcPrivateKey.generate("P-256")
    other = EcPrivateKey.generate("P-256")

    class Signer:
        name = "keywright/token"
        public = private.public.spki()

        def sign(self, data: bytes) -> bytes:
            return private.sign_der(data)

    note = sign_note("a\nb\n", Signer())
    found = NoteKey.parse(str(NoteKey(Signer.name, Signer.public)))
    assert (found.algorithm, open_note(note, found)) == ("ES256", "a\nb\n")
    with pytest.raises(AuthenticationError, match="not signed"):
        open_note(note, NoteKey(Signer.name, other.public.spki()))
    with pytest.raises(DecodeError):
        NoteKey.parse(str(found).replace("+Aj", "+AT"))
