"""This machine's own yard: a server process started, found and stopped; never imported."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gpuyard.cli.failures import CliError, ExitStatus

SERVER_LIBRARIES = (
    "alembic",
    "fastapi",
    "httptools",
    "pydantic_settings",
    "sqlalchemy",
    "structlog",
    "uvicorn",
    "yaml",
)
"""What `gpuyard[server]` brings; the first one missing tells that it was not installed."""

START_STATUS: Mapping[int, ExitStatus] = {
    1: ExitStatus.BUG,
    2: ExitStatus.CONFIGURATION,
    3: ExitStatus.CANNOT_WRITE,
    4: ExitStatus.CONFLICT,
    5: ExitStatus.CONFIGURATION,
    6: ExitStatus.CONFIGURATION,
    7: ExitStatus.CONFIGURATION,
}
"""What the server's own exit statuses mean here."""

START_PATIENCE_SECONDS = 120.0
STOP_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class YardOptions:
    """What is passed on to the server; None leaves it to settings file and environment."""

    host: str | None = None
    port: int | None = None
    data: Path | None = None
    config: Path | None = None
    simulate: str | None = None
    idle_exit_seconds: int | None = None

    def argv(self) -> list[str]:
        given = {
            "--host": self.host,
            "--port": self.port,
            "--data": self.data,
            "--config": self.config,
            "--simulate": self.simulate,
            "--idle-exit": self.idle_exit_seconds,
        }
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]


@dataclass(frozen=True)
class Running:
    """A yard that answers, as its `server.json` or its ready line tells."""

    url: str
    pid: int
    owner_key: str | None = None


def missing_libraries() -> list[str]:
    return [name for name in SERVER_LIBRARIES if not _importable(name)]


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def launch(options: YardOptions, *, output: IO[bytes] | None) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server in a session of its own, so that a Ctrl-C here does not reach it. Returns it and its ready pipe."""
    if missing := missing_libraries():
        raise CliError(
            f"a yard cannot be started here: {missing[0]} is not installed",
            status=ExitStatus.CONFIGURATION,
            hint="pip install 'gpuyard[server]', or use another machine's yard: `gpuyard login URL`",
        )
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "gpuyard.server", *options.argv(), "--ready-fd", str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            pass_fds=(writing,),
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, reading


def await_ready(process: subprocess.Popen[bytes], reading: int, said: Callable[[], str]) -> Running:
    """Returns when the server listens. Raises CliError with what the server `said` when it ends instead."""
    line = _ready_line(reading)
    if line is None:
        if process.poll() is None and not _ended(process, 5):
            end(process)
            raise CliError(
                "the yard did not get ready", status=ExitStatus.UNAVAILABLE, hint=_last_line(said()) or "see its log"
            )
        raise _did_not_start(process.wait(), said())
    document: Any = json.loads(line)
    return Running(str(document["url"]), int(document["pid"]), document.get("owner_key"))


def start_detached(options: YardOptions, log: Path) -> Running:
    """Start a yard that lives on when we end. Interrupted before it is ready, it is stopped again."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as output:
        begin = output.tell()
        process, reading = launch(options, output=output)
    try:
        return await_ready(process, reading, lambda: _text_from(log, begin))
    except BaseException:
        end(process)
        raise


def running_yard(data: Path) -> Running | None:
    """The yard of this data directory, if its process is alive."""
    try:
        document: Any = json.loads((data / "server.json").read_text("utf-8"))
        found = Running(str(document["url"]), int(document["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if is_server(found.pid) else None


def is_server(pid: int) -> bool:
    """Whether the process is a yard, and not one that has got its number since."""
    return b"gpuyard.server" in b"".join(_words(pid))


def ends_when_idle(running: Running) -> bool:
    """Whether it was started for a while only, as `gpuyard run` does."""
    return b"--idle-exit" in _words(running.pid)


def _words(pid: int) -> list[bytes]:
    """The command line; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def stop(running: Running) -> None:
    """Ask it to end and wait until it has. Its instances run on. Raises CliError when it does not end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_PATIENCE_SECONDS
    while is_server(running.pid):
        if time.monotonic() > deadline:
            raise CliError(
                f"the yard (process {running.pid}) does not end",
                status=ExitStatus.TEMPORARY,
                hint=f"look into its log, or kill -9 {running.pid}: the next start picks up where it was",
            )
        pause(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        if not _ended(process, STOP_PATIENCE_SECONDS):
            process.kill()
            process.wait()


def pause(seconds: float) -> None:
    """Let some time pass between two looks; a signal ends it at once."""
    threading.Event().wait(seconds)


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _ready_line(reading: int) -> bytes | None:
    deadline = time.monotonic() + START_PATIENCE_SECONDS
    received = b""
    try:
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([reading], [], [], left)[0]:
                return None
            part = os.read(reading, 65536)
            if not part:
                return None
            received += part
    finally:
        os.close(reading)
    return received


def _did_not_start(status: int, said: str) -> CliError:
    problem, _, remedy = (_last_line(said) or f"the yard ended with status {status}").partition("; ")
    return CliError(
        problem.removeprefix("error: ").removeprefix("gpuyard: "),
        status=START_STATUS.get(status, ExitStatus.BUG),
        hint=remedy or "`gpuyard doctor` checks the set-up",
        code="yard_did_not_start",
    )


def _last_line(text: str) -> str:
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _text_from(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        return file.read()[-65536:].decode("utf-8", "replace")
