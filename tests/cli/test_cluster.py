"""`keywright cluster`, and `--engine` of a campaign, as far as no cluster is needed."""

from __future__ import annotations

import builtins
import importlib.util
from pathlib import Path

import pytest

from keywright.cli import engines
from keywright.errors import UsageError
from keywright.production.cluster import carry, head
from keywright.production.cluster.address import Cluster
from keywright.production.cluster.folder import working_folder
from keywright.production.cluster.library import AUTH_MODE, TOKEN_PATH, ClusterError, environment
from keywright.production.cluster.machine import check_token
from keywright.production.means import Means
from support.commands import Keywright

ROOT = Path(__file__).parents[2]


def test_a_token_is_long_private_and_never_written_over(keywright: Keywright, tmp_path: Path) -> None:
    file = tmp_path / "token"
    ran = keywright("cluster", "token", file)
    assert ran.code == 0
    token = file.read_text()
    assert len(bytes.fromhex(token)) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in ran.out + ran.err
    assert keywright("cluster", "token", file).code == 2
    assert file.read_text() == token


@pytest.mark.parametrize("verb", ["head", "node"])
@pytest.mark.parametrize("address", ["x", "10.0.0.1", "10.0.0.1:0", "ray://10.0.0.1:6379"])
def test_an_address_of_a_head_is_host_and_port(keywright: Keywright, verb: str, address: str, tmp_path: Path) -> None:
    ran = keywright("cluster", verb, address, "--token", tmp_path / "t")
    assert ran.code == 2
    assert f"{address}: not the address" in ran.err


def test_a_token_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(UsageError, match="no token can be read"):
        check_token(file)
    head.new_token(file)
    check_token(file)
    file.chmod(0o640)
    with pytest.raises(UsageError, match="others may read it"):
        check_token(file)
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(UsageError, match="too short"):
        check_token(file)


def test_another_machine_s_cluster_is_spoken_to_with_a_token_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(AUTH_MODE, raising=False)
    monkeypatch.delenv(TOKEN_PATH, raising=False)
    far, near = Cluster("10.0.0.1", 6379), Cluster("127.0.0.1", 6379)
    with pytest.raises(UsageError, match="runs code for anybody"):
        environment(far)
    assert environment(near)[AUTH_MODE] == "disabled"
    file = tmp_path / "token"
    monkeypatch.setenv(TOKEN_PATH, str(file))
    with pytest.raises(UsageError, match="names no file"):
        environment(far)
    head.new_token(file)
    for cluster in (far, near):
        told = environment(cluster)
        assert (told[AUTH_MODE], told[TOKEN_PATH]) == ("token", str(file))


def test_who_is_told_of_the_token_is_told_its_file_only(tmp_path: Path) -> None:
    file = tmp_path / "token"
    head.new_token(file)
    kept = head.own_head(Path("/tmp/cluster"), Cluster("127.0.0.1", 6379), file)
    assert file.read_text() not in repr(kept)
    assert kept.environment[TOKEN_PATH] == str(file)


def test_a_head_is_told_everything_that_ray_would_else_guess(tmp_path: Path) -> None:
    file = tmp_path / "token"
    head.new_token(file)
    place = Path("/tmp/cluster")
    kept = head.own_head(place, Cluster("127.0.0.1", 6379), file, ("pcsc:A",))
    assert {"--block", "--head", "--port=6379", "--node-ip-address=127.0.0.1"} <= set(kept.command)
    assert '--resources={"reader:pcsc:A": 1.0}' in kept.command
    assert kept.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    many = head.open_head(place, Cluster("10.0.0.1", 6379), file, ())
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in many.environment
    joined = head.node(place, Cluster("10.0.0.1", 6379), file, ())
    assert "--address=10.0.0.1:6379" in joined.command
    with pytest.raises(UsageError, match="too long for Ray's sockets"):
        head.own_head(Path("/" + "x" * 40), Cluster("127.0.0.1", 6379), file)


@pytest.fixture
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    imported = builtins.__import__

    def refuse(name: str, *rest: object) -> object:
        assert name.partition(".")[0] != "ray", "the library was imported"
        return imported(name, *rest)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("_no_ray")
def test_without_the_extra_one_clear_error_names_it(keywright: Keywright, tmp_path: Path) -> None:
    order = tmp_path / "order.csv"
    order.write_text("serial,model,owner_group\nK-1,fob-one,north\n")
    lot = ("campaign", "run", ROOT / "examples/fob.toml", "--order", order, "--store", tmp_path / "lot.db")
    ran = keywright(*lot, "--engine", "ray://local")
    assert ran.code == 2
    assert "keywright[cluster]" in ran.err
    assert not list(tmp_path.glob("lot.db*"))


def test_a_sqlite_file_is_for_one_machine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot reach a SQLite file"):
        carry.check(Cluster("127.0.0.1", 6379), str(tmp_path / "lot.db"), Means())
    carry.check(Cluster(), str(tmp_path / "lot.db"), Means())


def test_a_passphrase_that_somebody_types_is_refused() -> None:
    with pytest.raises(UsageError, match="nobody is there to type"):
        carry.check(Cluster(), "lot.db", Means(unlock=lambda: b"passphrase"))


def test_a_cluster_that_does_not_answer_is_named_before_anything_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_REACH_S", 0.0)
    monkeypatch.delenv(TOKEN_PATH, raising=False)
    port = head.free_port()
    with pytest.raises(ClusterError, match=f"127.0.0.1:{port}: no head"):
        carry.check(Cluster("127.0.0.1", port), "postgresql://line@127.0.0.1:1/lot", Means())


def test_stations_are_trays_for_simulated_units_and_the_reader_of_a_link() -> None:
    means = Means(keystore="software:k", unlock=Path("k.unlock"))
    trays = carry.stations(Cluster(), "s", "sim:fob", means, ("1", "2"))
    assert [(one.name, one.resource, one.unlock) for one in trays] == [("1", "", "k.unlock"), ("2", "", "k.unlock")]
    (reader,) = carry.stations(Cluster(), "s", "pcsc:ACS", means, ("1", "2"))
    assert (reader.name, reader.resource) == ("1", "reader:pcsc:ACS")


@pytest.mark.parametrize("link", ["pcsc:ACS", "sim:fob"])
def test_on_other_machines_every_station_holds_a_reader_of_one_of_them(link: str) -> None:
    spread = carry.stations(Cluster("10.0.0.1", 6379), "s", link, Means(), ("1", "2"))
    assert [(one.name, one.resource) for one in spread] == [("1", f"reader:{link}"), ("2", f"reader:{link}")]
    assert head.readers((link, "pcsc:B", link)) == {f"reader:{link}": 2.0, "reader:pcsc:B": 1.0}


def test_a_firewall_can_name_every_port(tmp_path: Path) -> None:
    token = head.new_token(tmp_path / "token")
    for made in (head.open_head, head.node):
        told = made(Path("/tmp/cluster"), Cluster("10.0.0.1", 6400), token, ()).command
        ports = [int(word.rpartition("=")[2]) for word in told if "-port=" in word]
        assert len(set(ports)) == len(ports) >= 8
        assert set(ports) <= set(range(6400, 6400 + head.PORTS))
        with pytest.raises(UsageError, match="100 ports in a row"):
            made(Path("/tmp/cluster"), Cluster("10.0.0.1", 65_500), token, ())


def test_a_folder_that_a_killed_command_left_is_removed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, other = tmp_path / "kw-left", tmp_path / "kw-other"
    for place in (left, other):
        place.mkdir()
        (place / "token").touch()
    (left / "lock").write_text("1\n")
    with working_folder() as first, working_folder() as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second, other])
        assert first.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.parametrize(
    ("engine", "workers", "carried", "number"),
    [("local", 0, False, 1), ("ray://local", 0, True, 0), ("ray://local", 3, True, 3)],
)
def test_who_carries_a_lot(engine: str, workers: int, number: int, *, carried: bool) -> None:
    means = Means()
    assert engines.carried_by(means, engine, workers, "s", None) is carried
    assert (means.workers, means.engine is not None) == (number, carried)


def test_what_happens_at_stations_cannot_be_traced_here() -> None:
    with pytest.raises(UsageError, match="--trace"):
        engines.carried_by(Means(), "ray://local", 0, "s", Path("trace"))
    with pytest.raises(UsageError, match="--workers -1"):
        engines.carried_by(Means(), "local", -1, "s", None)
