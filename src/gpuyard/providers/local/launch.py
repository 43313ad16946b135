"""Starts residents: detached from this process, their configuration handed over a pipe that is read once."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gpuyard
from gpuyard.providers.local import processes
from gpuyard.providers.local.disk import Place, Running
from gpuyard.providers.local.sandbox import STATUS_FD, WALLS_FD, Sandbox
from gpuyard.providers.local.spawn import spawn
from gpuyard.resident.wire import Assignment, Residence, ResidentConfig

_STDIN_FD = 0
_CONFIG_FD = 3
_STATUS_LOOK_SECONDS = 0.001

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
        self._python = shutil.which(python) or python
        self._sandbox = sandbox

    def launch(self, place: Place, secret: str, assignment: Assignment | None) -> Launched:
        """Start a resident at `place`; without an assignment, a warm one. Blocks: run it in a thread.

        Raises OSError when the process cannot be started.
        """
        place.prepare()
        residence = self._sandbox.residence() if self._sandbox else _open_residence(place)
        config = ResidentConfig(residence=residence, secret=secret, assignment=assignment)
        argv = [self._python, "-X", f"{processes.MARK}{place.slot}", "-m", "gpuyard.resident"]
        argv += ["--config", f"/dev/fd/{_CONFIG_FD}"]
        if self._sandbox is not None:
            argv = self._sandbox.around(argv)
        reads = {_CONFIG_FD, *([WALLS_FD] if self._sandbox else ()), *([_STDIN_FD] if config.warm else ())}
        # a file, not a pipe: when we die a pipe breaks, and bubblewrap then leaves a half-made child behind for ever
        writes = {STATUS_FD: place.sandbox_status} if self._sandbox else {}
        child = spawn(argv, _environment(), place.log, reads=reads, writes=writes)
        watched = processes.identify(child.pid) or processes.Identity(child.pid, 0, processes.boot_id())
        init: processes.Identity | None = None
        if self._sandbox is not None:
            child.pour(WALLS_FD, self._sandbox.walls(place))
            init = _process_one(place.sandbox_status, watched)
        child.pour(_CONFIG_FD, config.model_dump_json().encode())
        running = Running(watched, init, assigned=not config.warm)
        place.write_running(running)
        return Launched(running, child.ends.get(_STDIN_FD))


def _open_residence(place: Place) -> Residence:
    """Without a sandbox the directory stands for the instance's `/`."""
    return Residence(socket=str(place.socket), root=place.path, state=place.state)


def _environment() -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # a source tree that is not installed must be found too; programs of the instance do not get this
    return {"LANG": "C.UTF-8", **kept, "PYTHONPATH": str(Path(gpuyard.__file__).resolve().parents[1])}


def _process_one(status: Path, sandbox: processes.Identity) -> processes.Identity | None:
    """From bubblewrap's first words, `{"child-pid": 123, …}`. None when it failed before it had a child."""
    pause = threading.Event()
    while not (line := status.read_bytes().partition(b"\n"))[1]:
        if not processes.alive(sandbox):
            return None
        pause.wait(_STATUS_LOOK_SECONDS)
    try:
        return processes.identify(int(json.loads(line[0])["child-pid"]))
    except (ValueError, KeyError):
        return None
