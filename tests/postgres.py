"""A real PostgreSQL for tests: a server of their own, in a temporary directory, reachable by Unix socket only.

Import the fixtures into a conftest.py: `from tests.postgres import postgres_server, postgres_url`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # Tests of durability kill our processes, never this one: it need not wait for the disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """A running server. Every test takes a database of its own."""

    def __init__(self, socket_dir: Path, user: str) -> None:
        self._socket_dir = socket_dir
        self._user = user
        self._numbers = count(1)

    def url(self, name: str) -> str:
        return f"postgresql://{self._user}@/{name}?host={self._socket_dir}"

    def new_database(self, *, template: str = "template1") -> str:
        """Make a database and answer its name; with a template, as a copy of that one."""
        name = f"yard{next(self._numbers)}"
        self.run(f'CREATE DATABASE {name} TEMPLATE "{template}"')
        return name

    def run(self, sql: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql)  # type: ignore[call-overload]


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Raises FileNotFoundError where PostgreSQL is not installed."""
    binaries = _binaries()
    # Short, because the path of a Unix socket may have 107 characters at most; pytest's own directories are longer.
    folder = Path(tempfile.mkdtemp(prefix="gpuyard-pg-", dir="/tmp"))
    user, before = _unprivileged()
    try:
        if before:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        data = folder / "data"
        subprocess.run(
            [
                *before,
                binaries / "initdb",
                "-D",
                data,
                "-U",
                user,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        settings = [
            f"-c{name}={value}" for name, value in {**_SETTINGS, "unix_socket_directories": str(folder)}.items()
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*_dies_with_us(before), binaries / "postgres", "-D", data, *settings],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        try:
            _wait_until_ready(binaries, folder, server)
            yield PostgresServer(folder, user)
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)
                server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(binaries: Path, folder: Path, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended by itself:\n{(folder / 'log').read_text()}")
        ready = subprocess.run([binaries / "pg_isready", "-q", "-t", "1", "-h", folder], check=False)
        if ready.returncode == 0:
            return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError(f"PostgreSQL did not become ready:\n{(folder / 'log').read_text()}")


def _binaries() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(on_path).resolve().parent


def _unprivileged() -> tuple[str, list[str]]:
    """Whom the server runs as, and what to put before its command: it refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name, []
    return "postgres", ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _dies_with_us(before: list[str]) -> list[str]:
    """So that a killed test run leaves no server behind."""
    if shutil.which("setpriv") is None:
        return before
    return [*(before or ["setpriv"]), "--pdeathsig=QUIT"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    try:
        _binaries()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres_server.url(postgres_server.new_database())
