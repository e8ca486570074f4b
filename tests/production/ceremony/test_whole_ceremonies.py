"""Every kind of ceremony from the draft to the seal, on software keystores."""

from __future__ import annotations

from pathlib import Path

import pytest

from keywright.crypto import AesKey
from keywright.crypto.components import combine, split
from keywright.crypto.kcv import ceremony_check_value
from keywright.errors import PolicyError, StoreError
from keywright.production.ceremony.parts import Part
from keywright.production.ceremony.states import State
from support.ceremonies import CUSTODIANS, Play, keystore, plan

KEY = bytes(range(32))


def raw(part: Part) -> bytes:
    return bytes.fromhex(part.text())


def test_a_master_is_created_from_what_custodians_drew(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    play = Play(tmp_path / "c", plan("create", target.uri))
    parts = play.run(target)
    assert play.state is State.SEALED
    held = target.find("kmc")
    assert held is not None
    assert held.check == ceremony_check_value(combine("AES", [raw(part) for part in parts.values()]))
    assert held.header == play.plan.header
    events = [f"{line.event} {line.person}" for line in play.ceremony.lines]
    assert events == [
        "draft kim",
        "approve kurt",
        "open kim",
        *(f"load {name}" for name in CUSTODIANS),
        "combine kim",
        "confirm wim",
        "confirm wanda",
        "execute kim",
        "seal kim",
    ]


def test_a_master_is_imported_from_components_that_were_sent(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    known = str(ceremony_check_value(AesKey(KEY)))
    what = plan("import", target.uri, expected=known)
    pieces = zip(CUSTODIANS, split(KEY, 3, lambda size: b"\x5a" * size if size else b""), strict=False)
    parts = {name: Part(what, piece) for name, piece in pieces}
    with pytest.raises(PolicyError):
        combine("AES", [raw(part) for part in parts.values()])  # two alike: not drawn by chance
    import os

    parts = {name: Part(what, piece) for name, piece in zip(CUSTODIANS, split(KEY, 3, os.urandom), strict=True)}
    play = Play(tmp_path / "c", what)
    play.run(target, parts)
    assert play.state is State.SEALED
    held = target.find("kmc")
    assert held is not None
    assert str(held.check) == known


def test_another_check_value_than_expected_ends_the_ceremony(tmp_path: Path) -> None:
    import os

    target = keystore(tmp_path / "keys")
    what = plan("import", target.uri, expected=str(ceremony_check_value(AesKey(bytes(32)))))
    play = Play(tmp_path / "c", what)
    play.run(target, {n: Part(what, p) for n, p in zip(CUSTODIANS, split(KEY, 3, os.urandom), strict=True)})
    assert play.state is State.ABORTED
    assert "expected" in play.ceremony.why
    assert target.find("kmc") is None


@pytest.mark.parametrize("entry", ["draw", "deal"])
def test_a_backup_restores_into_an_empty_keystore_with_the_same_check_value(tmp_path: Path, entry: str) -> None:
    target = keystore(tmp_path / "keys")
    Play(tmp_path / "c", plan("create", target.uri)).run(target)
    split_by = {"split": "shares", "needed": 2} if entry == "deal" else {}
    file = tmp_path / "kmc.backup"
    back = Play(tmp_path / "b", plan("backup", target.uri, entry=entry, file=str(file), **split_by))
    parts = back.run(target)
    assert back.state is State.SEALED
    before = target.find("kmc")
    assert before is not None

    empty = keystore(tmp_path / "empty")
    restore = Play(tmp_path / "r", plan("restore", empty.uri, file=str(file), **split_by))
    given = dict(list(parts.items())[1:]) if entry == "deal" else parts
    typed = {name: Part.typed(restore.plan, part.text()) for name, part in given.items()}
    restore.run(empty, typed)
    assert restore.state is State.SEALED
    assert empty.find("kmc") == before


def test_wrong_components_do_not_restore(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    Play(tmp_path / "c", plan("create", target.uri)).run(target)
    file = tmp_path / "kmc.backup"
    parts = Play(tmp_path / "b", plan("backup", target.uri, file=str(file))).run(target)
    empty = keystore(tmp_path / "empty")
    restore = Play(tmp_path / "r", plan("restore", empty.uri, file=str(file)))
    other = bytes((raw(parts["carl"])[0] ^ 1,)) + raw(parts["carl"])[1:]
    restore.run(empty, {**parts, "carl": Part(restore.plan, other)})
    assert (restore.state, restore.ceremony.why) == (State.ABORTED, "key block not accepted")
    assert empty.find("kmc") is None


def test_a_key_goes_from_zone_to_zone_under_a_transport_key(tmp_path: Path) -> None:
    import os

    root, line = keystore(tmp_path / "root"), keystore(tmp_path / "line")
    Play(tmp_path / "c", plan("create", root.uri, exportability="E", zone="offline")).run(root)
    pieces = split(os.urandom(32), 3, os.urandom)
    for name, target in (("root-kek", root), ("line-kek", line)):
        what = plan("import", target.uri, key="ktk", usage="K1")
        Play(tmp_path / name, what).run(
            target, {n: Part(what, piece) for n, piece in zip(CUSTODIANS, pieces, strict=True)}
        )
    file = str(tmp_path / "kmc.key")
    # What leaves as exportable does not come in under a plan that says it is not.
    free = str(tmp_path / "free.key")
    Play(tmp_path / "free", plan("export", root.uri, kek="ktk", file=free, exportability="E")).run(root)
    came = Play(tmp_path / "widened", plan("import", line.uri, entry="none", kek="ktk", file=free))
    came.run(line)
    assert came.state is State.ABORTED
    assert came.ceremony.why == "the key of the file is exportable (E), the plan says N"
    assert line.find("kmc") is None
    out = Play(tmp_path / "out", plan("export", root.uri, kek="ktk", file=file))
    out.run(root)
    assert out.state is State.SEALED, out.ceremony.why
    came = Play(tmp_path / "in", plan("import", line.uri, entry="none", kek="ktk", file=file))
    came.run(line)
    assert came.state is State.SEALED, came.ceremony.why
    a, b = root.find("kmc"), line.find("kmc")
    assert a is not None
    assert b is not None
    assert a.check == b.check
    assert (a.header.exportability, b.header.exportability) == ("E", "N")
    # And from there it goes no further.
    again = Play(tmp_path / "again", plan("export", line.uri, kek="ktk", file=str(tmp_path / "no")))
    again.approve()
    host = again.host(line)
    with pytest.raises(PolicyError, match="not exportable"):
        host.open()
    host.close()


def test_a_destroyed_master_is_gone(tmp_path: Path) -> None:
    target = keystore(tmp_path / "keys")
    Play(tmp_path / "c", plan("create", target.uri)).run(target)
    gone = Play(tmp_path / "d", plan("destroy", target.uri))
    gone.run(target)
    assert gone.state is State.SEALED
    assert target.find("kmc") is None
    missing = Play(tmp_path / "d2", plan("destroy", target.uri))
    missing.approve()
    host = missing.host(target)
    with pytest.raises(StoreError, match="no key"):
        host.open()
    host.close()
