"""Ceremonies between tokens: an offline root and a line, each a SoftHSM token of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.crypto.components import split
from keywright.errors import PolicyError
from keywright.production.ceremony.opening import open_target
from keywright.production.ceremony.parts import Part
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.states import State
from keywright.production.ceremony.target import Held, Target
from keywright.production.keystores.key_states import KeyState
from keywright.production.people.people import Directory
from support.ceremonies import CUSTODIANS, KEYS, PEOPLE, START_MS, Play, plan
from support.softhsm import SoftHsm, make_token

LABELS = ("kw-root-1", "kw-line-1", "kw-root-2", "kw-spare-2", "kw-root-3", "kw-line-3", "kw-cut-4", "kw-people-5")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SoftHsm]]:
    """All tokens of this module at once: the library looks for tokens when it is loaded, once in a process."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("hsm")
        yield {label: make_token(folder, patch, label) for label in LABELS}


def opened(what: Plan, token: SoftHsm) -> Target:
    return open_target(what, token.pin_file)


def held(token: SoftHsm, name: str) -> Held | None:
    target = opened(plan("destroy", token.uri, test=True), token)
    try:
        return target.find(name)
    finally:
        target.close()


def play(folder: Path, what: Plan, token: SoftHsm, parts: dict[str, Part] | None = None) -> Play:
    made = Play(folder, what)
    made.run(opened(what, token), parts)
    assert made.state is State.SEALED, made.ceremony.why
    return made


def test_a_master_of_the_root_token_comes_to_the_line_token(tmp_path: Path, tokens: dict[str, SoftHsm]) -> None:
    root, line = (tokens[label] for label in ("kw-root-1", "kw-line-1"))
    begun = time.monotonic()
    # The transport key: the same components in both tokens; nobody has it.
    pieces = split(os.urandom(32), 3, os.urandom)
    for token in (root, line):
        what = plan("import", token.uri, key="ktk", usage="K1", test=True, zone="offline" if token is root else "line")
        parts = {name: Part(what, piece) for name, piece in zip(CUSTODIANS, pieces, strict=True)}
        play(tmp_path / f"ktk-{token.label}", what, token, parts)
    # The master, made inside the root token; its way out; its way in.
    offline = {"zone": "offline", "test": True, "exportability": "E", "owner": "issuer"}
    play(tmp_path / "create", plan("create", root.uri, entry="none", custodians=(), **offline), root)
    file = str(tmp_path / "kmc.key")
    out = plan("export", root.uri, kek="ktk", file=file, **{**offline, "exportability": "N"})
    exported = play(tmp_path / "export", out, root)
    came = plan("import", line.uri, entry="none", custodians=(), kek="ktk", file=file, test=True, owner="issuer")
    imported = play(tmp_path / "import", came, line)
    took = time.monotonic() - begun
    assert took < 30, f"{took:.1f} s"

    there, here = held(root, "kmc"), held(line, "kmc")
    assert there is not None
    assert here is not None
    assert there.check == here.check
    assert str(here.check) == exported.ceremony.combined["check"] == imported.ceremony.combined["check"]
    assert (there.header.exportability, here.header.exportability) == ("E", "N")
    assert held(root, "ktk") == held(line, "ktk")
    # The line's copy leaves its token under nobody's key.
    no = Play(tmp_path / "no", plan("export", line.uri, kek="ktk", file=str(tmp_path / "no.key"), test=True))
    no.approve()
    host = no.host(opened(no.plan, line))
    with pytest.raises(PolicyError, match="not exportable"):
        host.open()
    host.close()
    target = opened(no.plan, line)
    with pytest.raises(PolicyError, match="never leaves"):
        target.wrap("kmc", "ktk", no.plan.header)
    target.close()


def test_a_backup_restores_into_an_empty_token(tmp_path: Path, tokens: dict[str, SoftHsm]) -> None:
    root, spare = (tokens[label] for label in ("kw-root-2", "kw-spare-2"))
    offline = {"zone": "offline", "test": True, "exportability": "E"}
    play(tmp_path / "create", plan("create", root.uri, **offline), root)
    file = str(tmp_path / "kmc.backup")
    back = Play(tmp_path / "b", plan("backup", root.uri, entry="deal", split="shares", needed=2, file=file, **offline))
    shares = back.run(opened(back.plan, root))
    assert back.state is State.SEALED, back.ceremony.why
    what = plan("restore", spare.uri, split="shares", needed=2, file=file, **offline)
    typed = {name: Part.typed(what, shares[name].text()) for name in ("carl", "cem")}
    play(tmp_path / "r", what, spare, typed)
    assert held(spare, "kmc") == held(root, "kmc") is not None
    # One share of two is nothing; and what is destroyed is gone, its name with it.
    play(tmp_path / "d", plan("destroy", spare.uri, test=True), spare)
    assert held(spare, "kmc") is None
    target = opened(plan("destroy", spare.uri, test=True), spare)
    with pytest.raises(Exception, match="has, or had"):
        target.check_free("kmc")
    target.close()


def test_a_test_key_does_not_go_into_a_production_token(tmp_path: Path, tokens: dict[str, SoftHsm]) -> None:
    root, line = (tokens[label] for label in ("kw-root-3", "kw-line-3"))
    pieces = split(os.urandom(32), 3, os.urandom)
    for token, test in ((root, True), (line, False)):
        what = plan("import", token.uri, key="ktk", usage="K1", test=test)
        parts = {name: Part(what, piece) for name, piece in zip(CUSTODIANS, pieces, strict=True)}
        play(tmp_path / f"ktk-{token.label}", what, token, parts)
    offline = {"zone": "offline", "test": True, "exportability": "E"}
    play(tmp_path / "c", plan("create", root.uri, entry="none", custodians=(), **offline), root)
    file = str(tmp_path / "kmc.key")
    play(tmp_path / "e", plan("export", root.uri, kek="ktk", file=file, zone="offline", test=True), root)
    came = Play(tmp_path / "i", plan("import", line.uri, entry="none", custodians=(), kek="ktk", file=file))
    came.run(opened(came.plan, line))
    assert came.state is State.ABORTED
    assert "TEST key does not go into a production keystore" in came.ceremony.why


class Cut(BaseException):
    """Stands for a kill."""


def test_a_host_cut_off_inside_the_token_leaves_no_object_without_a_name(
    tmp_path: Path, tokens: dict[str, SoftHsm], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens["kw-cut-4"]
    for kind, cut_at in (("create", "store_record"), ("destroy", "store_record")):
        made = Play(tmp_path / kind, plan(kind, token.uri, test=True))
        made.approve()
        host = made.host(opened(made.plan, token))
        with monkeypatch.context() as patch:

            def cut(*_: object) -> None:
                raise Cut

            patch.setattr(f"keywright.production.ceremony.token_target.{cut_at}", cut)
            host.open()
            for name in made.plan.custodians:
                made.enter(name)
            host.step()
            made.confirm()
            with pytest.raises(Cut):
                host.step()
        host.close()
        assert str(made.state) == "executing"
        assert held(token, "kmc") is None
        again = made.host(opened(made.plan, token))
        if again.open().state is not State.SEALED:
            for name in made.plan.custodians:
                made.enter(name)
            again.step()
            made.confirm()
            again.step()
        again.close()
        assert str(made.state) == "sealed"
        from pkcs11 import Attribute, ObjectClass

        from keywright.production.ceremony.token_target import TokenTarget
        from keywright.production.hsm.token_registry import TokenRegistry

        target = opened(made.plan, token)
        assert isinstance(target, TokenTarget)
        labels = [str(found[Attribute.LABEL]) for found in target._session.objects(ObjectClass.SECRET_KEY)]
        assert sorted(labels) == (["keywright kmc"] if kind == "create" else []) + ["keywright record-mac"]
        record = TokenRegistry.read(target._session).keys["kmc"]
        assert record.entry.state is (KeyState.ACTIVE if kind == "create" else KeyState.DESTROYED)
        target.close()


def test_a_production_token_knows_the_people_of_its_first_ceremony_and_no_others(
    tmp_path: Path, tokens: dict[str, SoftHsm]
) -> None:
    token = tokens["kw-people-5"]
    play(tmp_path / "first", plan("create", token.uri, entry="none", custodians=()), token)
    # Whoever makes a directory of their own would be all the persons that it takes.
    others = Directory.begin(PEOPLE.person("anna"), KEYS["anna"], at_ms=START_MS + 1)
    what = plan("create", token.uri, entry="none", custodians=(), key="other", directory=others.id)
    with pytest.raises(PolicyError, match="knows the people of another directory"):
        opened(what, token)
    play(tmp_path / "second", plan("create", token.uri, entry="none", custodians=(), key="other"), token)
