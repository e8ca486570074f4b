"""A PostgreSQL server of the tests' own: in a temporary folder, on loopback, durable as a real one, ended by its pid.

A server never runs as root: when the tests do, it runs as `postgres` or `nobody`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from support.peers import require_peer

_READY_S: Final = 60.0
_LOOPBACK: Final = "127.0.0.1"
_SETTINGS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "60",
    "shared_buffers": "48MB",
    "logging_collector": "off",
    "lc_messages": "C",
}
_HBA: Final = """\
local all all trust
host all with_password 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


def binaries() -> Path | None:
    """The folder with the newest server's programs, or None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


class Server:
    """A server, from the end of `__init__` until `stop`. The superuser is `line`; nobody on loopback needs a password,
    but the role `with_password`, which has "secret of the test".
    """

    def __init__(self, host: str = _LOOPBACK) -> None:
        """`host`: the address that it is reached at, where that is not loopback."""
        folder = binaries()
        require_peer(
            "PostgreSQL", folder is not None and shutil.which("setpriv") is not None, "apt-get install postgresql"
        )
        assert folder is not None
        self._bin = folder
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="keywright-pg-"))
        self.port = _free_port()
        self.host = host
        self.settings = dict(_SETTINGS) | {"listen_addresses": ",".join({_LOOPBACK, host})}
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._initialise()
            self.start()
            with self.connect() as connection:
                connection.execute("CREATE ROLE with_password LOGIN SUPERUSER PASSWORD 'secret of the test'")
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str, user: str = "line") -> str:
        """As `--store` takes it."""
        return f"postgresql://{user}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection of the test's own, each statement committed by itself; waits for a server that restarts."""
        until = time.monotonic() + 60
        while True:
            try:
                return psycopg.connect(f"host=127.0.0.1 port={self.port} user=line dbname={database}", autocommit=True)
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def create_database(self) -> str:
        """A new, empty database; returns its name."""
        name = f"lot_{os.getpid()}_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is still connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> None:
        """Start, and wait until it answers. After a kill it refuses until its old processes are gone: tried again."""
        deadline = time.monotonic() + _READY_S
        while True:
            self._process = self._spawn()
            while self._process.poll() is None:
                with contextlib.suppress(psycopg.OperationalError), self.connect():
                    return
                if time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start: {self.log()}")
                time.sleep(0.05)
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL ended: {self.log()}")
            time.sleep(0.1)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT lets it finish, SIGQUIT is an immediate shutdown, SIGKILL a crash of the postmaster."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, how)
            self._process.wait(_READY_S)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it that way and start it again."""
        self.end(how)
        self.start()

    def stop(self) -> None:
        """End it and remove everything."""
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """The last of what the server wrote."""
        return (self.folder / "log").read_text("utf-8", "replace")[-2000:]

    def _initialise(self) -> None:
        os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        command: list[str | Path] = [
            self._bin / "initdb",
            "-D",
            self._data,
            "-U",
            "line",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        self._run([*command, "--no-sync", "--no-instructions"])
        more = f"host all all {self.host}/24 trust\n" if self.host != _LOOPBACK else ""
        for name, text in (("pg_hba.conf", _HBA + more), ("log", "")):
            path = (self._data if name == "pg_hba.conf" else self.folder) / name
            path.write_text(text)
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _as_user(self) -> list[str]:
        """Run what follows as that user, and end it if the tests are killed."""
        words = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            words += ["--reuid", str(self._user.pw_uid), "--regid", str(self._user.pw_gid), "--clear-groups"]
        return [*words, "--"]

    def _run(self, command: list[str | Path]) -> None:
        done = subprocess.run([*self._as_user(), *map(str, command)], capture_output=True, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stderr.decode()

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = self.settings | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._as_user(), str(self._bin / "postgres"), "-D", str(self._data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )


def _unprivileged() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One server a session."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that is not there yet: in a file, and in a server's database."""
    return str(tmp_path / "lot.db") if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def postgresql_url(postgresql: Server, tmp_path: Path) -> Iterator[str]:
    """One database a test, its files in the test's folder."""
    name = postgresql.create_database()
    yield f"{postgresql.url(name)}?beside={tmp_path}"
    postgresql.drop_database(name)
