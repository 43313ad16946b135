"""Real yards for tests: the server as the process it is, in a directory of its own."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

SIMULATED = "nvidia-rtx-3090=2,nvidia-rtx-4090=1"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
EMPTY_SECONDS = 60.0
SOURCE = Path(__file__).resolve().parent.parent / "src"


@dataclass
class RunningYard:
    """A server that answers `/healthz`. Whatever is called may be called twice."""

    url: str
    key: str
    pid: int
    home: Path
    log: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    def close(self) -> None:
        """Delete what is left in it, see it gone, and end: nothing of the yard runs afterwards."""
        if self._process.poll() is None:
            self.empty()
        self.stop()

    def empty(self) -> None:
        """Delete every instance of the owner, and wait until their providers have let go of them."""
        with httpx.Client(base_url=f"{self.url}/yard/v1", headers={"Authorization": f"Bearer {self.key}"}) as http:
            deadline = time.monotonic() + EMPTY_SECONDS
            while left := http.get("/instances").json()["items"]:
                assert time.monotonic() < deadline, f"instances that do not go: {left}\n{self.log.read_text()}"
                for instance in left:
                    if instance["state"] != "deleting":
                        http.delete(f"/instances/{instance['id']}")
                select.select([], [], [], 0.05)

    def stop(self) -> int:
        """Ask it to end, and wait. Its instances go on. Returns the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Like a power cut, but for the instances, which go on."""
        return self._end(signal.SIGKILL)

    def ends_by_itself(self, within: float = STOP_SECONDS) -> int | None:
        """The exit status; None when it still runs after so many seconds."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def _end(self, how: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(how)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the server ignored {how.name}:\n{self.log.read_text()}") from None


def start_yard(
    tmp: Path, *, env: Mapping[str, str] | None = None, args: Sequence[str] = (), key: str | None = None
) -> RunningYard:
    """A server with its home and data below `tmp`, on a free port, with simulated GPUs; started again on the same `tmp` it
    is the same yard. `env` and `args` come on top. Answers when it is ready; whoever starts it closes it."""
    home = tmp / "home"
    home.mkdir(parents=True, exist_ok=True)
    key = key or _key_of(home)
    log = tmp / "server.log"
    ready, tell = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gpuyard.server",
                "--home",
                str(home),
                *_options(args),
                "--ready-fd",
                str(tell),
                *args,
            ],
            env=_environment(env or {}, home, key),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[tell],
            start_new_session=True,
        )
    os.close(tell)
    try:
        with os.fdopen(ready) as pipe:
            line = _first_line(pipe.fileno())
    except BaseException:
        process.kill()
        process.wait()
        raise
    if not line:
        process.kill()
        raise AssertionError(f"the server ended with {process.wait()} before it was ready:\n{log.read_text()}")
    return RunningYard(json.loads(line)["url"], key, process.pid, home, log, process)


def _options(args: Sequence[str]) -> list[str]:
    usual = {"--port": "0", "--simulate": SIMULATED}
    return [part for name, value in usual.items() if name not in args for part in (name, value)]


def _environment(env: Mapping[str, str], home: Path, key: str) -> dict[str, str]:
    """Nothing of the yard that the person running the tests may have."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "GPUYARD_HOME": str(home), "GPUYARD_OWNER_KEY": key, **env}


def _key_of(home: Path) -> str:
    try:
        return str(json.loads((home / "credentials.json").read_text())["key"])
    except (OSError, ValueError, KeyError):
        return f"sk_compute_{secrets.token_urlsafe(32)}"


def _first_line(descriptor: int) -> str:
    """Empty when the other end closed without a line."""
    deadline = time.monotonic() + START_SECONDS
    text = b""
    while not text.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            raise AssertionError(f"the server was not ready after {START_SECONDS:g} seconds")
        piece = os.read(descriptor, 4096)
        if not piece:
            return ""
        text += piece
    return text.decode()
