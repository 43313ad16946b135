"""Starts residents: detached from this process, their configuration handed over a pipe that is read once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gpuyard
from gpuyard.providers.local import processes
from gpuyard.providers.local.disk import Place, Running
from gpuyard.providers.local.sandbox import STATUS_FD, Sandbox
from gpuyard.resident.wire import Assignment, Residence, ResidentConfig

_CONFIG_FD = 3
_ABOVE_THE_FIXED = 10

_INHERITED = (
    *("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""All that a resident gets of our environment, which may hold keys of the yard."""


@dataclass(frozen=True, slots=True)
class Launched:
    running: Running
    stdin: int | None
    """Held open for a warm resident: it goes when this closes, so it never outlives us unassigned."""


class Launcher:
    """How residents are started here: by which Python, and inside of what."""

    def __init__(self, python: str, sandbox: Sandbox | None) -> None:
        self._python = python
        self._sandbox = sandbox

    def launch(self, place: Place, secret: str, assignment: Assignment | None) -> Launched:
        """Start a resident at `place`; without an assignment, a warm one. Blocks for milliseconds: run it in a thread.

        Raises OSError when the process cannot be started.
        """
        place.prepare()
        residence = self._sandbox.residence() if self._sandbox else _open_residence(place)
        config = ResidentConfig(residence=residence, secret=secret, assignment=assignment)
        argv = [self._python, "-X", f"{processes.MARK}{place.slot}", "-m", "gpuyard.resident"]
        argv += ["--config", f"/dev/fd/{_CONFIG_FD}"]
        if self._sandbox is not None:
            argv = self._sandbox.around(place, argv)
        text = config.model_dump_json().encode()
        pid, stdin, status = _spawn(argv, place.log, text, warm=config.warm, reports=self._sandbox is not None)
        init = _process_one(status) if self._sandbox is not None else None
        os.close(status)
        watched = processes.identify(pid) or processes.Identity(pid, 0, processes.boot_id())
        running = Running(watched, init, assigned=not config.warm)
        place.write_running(running)
        return Launched(running, stdin)


def _open_residence(place: Place) -> Residence:
    """Without a sandbox the directory stands for the instance's `/`."""
    return Residence(socket=str(place.socket), root=place.path, state=place.state)


def _environment() -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # a source tree that is not installed must be found too; programs of the instance do not get this
    return {"LANG": "C.UTF-8", **kept, "PYTHONPATH": str(Path(gpuyard.__file__).resolve().parents[1])}


def _spawn(argv: list[str], log: Path, config: bytes, *, warm: bool, reports: bool) -> tuple[int, int | None, int]:
    """The new process's pid, the far end of its standard input if it is warm, and what its sandbox reports."""
    config_read, config_write = os.pipe()
    status_read, status_write = os.pipe()
    stdin_read, stdin_write = os.pipe()
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    ours = [config_read, status_write, stdin_read, log_fd]
    raised = [_above(fd) for fd in ours]  # so that filling the fixed numbers overwrites none of them
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_DUP2, raised[2], 0) if warm else (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, raised[3], 1),
        (os.POSIX_SPAWN_DUP2, raised[3], 2),
        (os.POSIX_SPAWN_DUP2, raised[0], _CONFIG_FD),
        *([(os.POSIX_SPAWN_DUP2, raised[1], STATUS_FD)] if reports else []),
    ]
    try:
        pid = os.posix_spawn(argv[0], argv, _environment(), file_actions=actions, setsid=True)
    except BaseException:
        for fd in (config_write, status_read, stdin_write):
            os.close(fd)
        raise
    finally:
        for fd in (*ours, *raised):
            os.close(fd)
    _pour(config_write, config)
    if warm:
        return pid, stdin_write, status_read
    os.close(stdin_write)
    return pid, None, status_read


def _pour(fd: int, data: bytes) -> None:
    """Write all of it and close, without waiting for a reader: a long environment is more than a pipe holds."""

    def pour() -> None:
        try:
            with os.fdopen(fd, "wb") as pipe:
                pipe.write(data)
        except BrokenPipeError:
            pass  # it ended before it read; whoever waits for it finds out

    if len(data) <= 32 * 1024:
        pour()
    else:
        threading.Thread(target=pour, name="resident-config", daemon=True).start()


def _process_one(status: int) -> processes.Identity | None:
    """What bubblewrap says first: `{"child-pid": 123, …}`. None when it failed before it had a child."""
    said = b""
    while b"}" not in said and (more := os.read(status, 4096)):
        said += more
    try:
        return processes.identify(int(json.loads(said.splitlines()[0])["child-pid"]))
    except (ValueError, KeyError, IndexError):
        return None


def _above(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_THE_FIXED)
