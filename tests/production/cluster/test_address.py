"""What `--engine` may say."""

from __future__ import annotations

import pytest

from keywright.errors import UsageError
from keywright.production.cluster.address import Cluster, parse_engine


@pytest.mark.parametrize("text", ["", "local"])
def test_local_is_no_cluster(text: str) -> None:
    assert parse_engine(text) is None


@pytest.mark.parametrize(
    ("text", "gcs", "shown"),
    [
        ("ray://127.0.0.1:6379", "127.0.0.1:6379", "ray://127.0.0.1:6379"),
        ("ray://line-head.example:65535", "line-head.example:65535", "ray://line-head.example:65535"),
        ("ray://[::1]:6379", "[::1]:6379", "ray://[::1]:6379"),
    ],
)
def test_a_head_is_host_and_port(text: str, gcs: str, shown: str) -> None:
    cluster = parse_engine(text)
    assert cluster is not None
    assert (cluster.gcs, str(cluster), cluster.is_own) == (gcs, shown, False)


def test_a_cluster_of_its_own_has_no_address_yet() -> None:
    cluster = parse_engine("ray://local")
    assert cluster == Cluster()
    assert cluster is not None
    assert cluster.is_own
    assert str(cluster) == "ray://local"


@pytest.mark.parametrize(
    "text",
    [
        "Local",
        "ray",
        "ray://",
        "ray://host",
        "ray://host:",
        "ray://:6379",
        "ray://host:0",
        "ray://host:65536",
        "ray://host:\u0661",
        "ray://host:6379/x",
        "ray://user@host:6379",
        "ray://a b:6379",
        "ray://::1:6379",
        "ray://[]:6379",
        "http://host:6379",
        "auto",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--engine"):
        parse_engine(text)


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("h", False)]
)
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:  # noqa: FBT001 - a column of the table
    assert Cluster(host, 1).is_loopback is loopback
