"""A real resident in a process of its own, reached over its Unix socket, in directories that live as long as it does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

SOURCE = Path(__file__).parents[2] / "src"
SECRET = "the-instance-secret"
DEADLINE_SECONDS = 60.0


def an_assignment(**changes: Any) -> dict[str, Any]:
    return {
        "instance_id": "inst_1",
        "short_id": "0a1b2c3d",
        "name": "compute-gpu-0a1b2c3d",
        "secret": SECRET,
        "app_password": "app-password",
        **changes,
    }


def until(what: Callable[[], Any], *, within: float = DEADLINE_SECONDS) -> Any:
    """Wait for `what` to become true and return it; fails when it does not."""
    deadline = time.monotonic() + within
    while not (answer := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)  # noqa: TID251 - this is the one clock of these tests
    return answer


class RunningResident:
    """One resident's place on disk and its process, if there is one now."""

    def __init__(self, **changes: Any) -> None:
        # Short, because the path of a Unix socket is.
        self.place = Path(tempfile.mkdtemp(prefix="gy"))
        self.root = self.place / "root"
        self.state = self.place / "state"
        self.config: dict[str, Any] = {
            "residence": {
                "socket": str(self.place / "s"),
                "root": str(self.root),
                "state": str(self.state),
                **changes.pop("residence", {}),
            },
            "secret": SECRET,
            "assignment": an_assignment(),
            **changes,
        }
        self.socket: str = self.config["residence"]["socket"]
        self.process: subprocess.Popen[bytes] | None = None
        self.client = self.a_client()

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def home(self) -> Path:
        return self.root / "home/coder"

    def a_client(self, secret: str | None = SECRET) -> httpx.Client:
        headers = {"X-Resident-Secret": secret} if secret is not None else {}
        transport = httpx.HTTPTransport(uds=self.socket)
        return httpx.Client(transport=transport, base_url="http://resident", headers=headers, timeout=DEADLINE_SECONDS)

    def an_async_client(self, secret: str | None = SECRET) -> httpx.AsyncClient:
        headers = {"X-Resident-Secret": secret} if secret is not None else {}
        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        return httpx.AsyncClient(
            transport=transport, base_url="http://resident", headers=headers, timeout=DEADLINE_SECONDS
        )

    def start(self) -> None:
        path = self.place / "config.json"
        path.write_text(json.dumps(self.config))
        path.chmod(0o600)
        paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
        # pytest's own variable would make ipykernel believe it runs inside a test and leave file descriptors alone
        env = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpuyard.resident", "--config", str(path)],
            env={**env, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
        )
        until(self._up)

    def stop(self) -> int:
        """As the provider ends it: ask, then wait for the process."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        """As a crash ends it."""
        assert self.process is not None
        self.process.kill()
        self._ended()

    def remove(self) -> None:
        self.client.close()
        if self.process is not None:
            self.stop()
        shutil.rmtree(self.place, ignore_errors=True)

    def _up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the resident died while starting"
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def _ended(self) -> int:
        assert self.process is not None
        code = self.process.wait(timeout=DEADLINE_SECONDS)
        if self.process.stdin:
            self.process.stdin.close()
        return code

    # what tests ask most

    def run(self, id: str, **request: Any) -> list[dict[str, Any]]:
        """Start an execution, wait for its end, return the records of its journal."""
        started = self.client.put(f"/executions/{id}", json=request)
        assert started.status_code == 201, started.text
        return self.records(id)

    def records(self, id: str, *, after: int = 0, follow: bool = True) -> list[dict[str, Any]]:
        answer = self.client.get(f"/executions/{id}/journal", params={"after": after, "follow": follow})
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.content.split(b"\n") if line]

    def view(self, id: str) -> dict[str, Any]:
        answer = self.client.get(f"/executions/{id}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view


def text_of(records: list[dict[str, Any]], stream: str = "stdout") -> str:
    return "".join(record["d"] for record in records if record["s"] == stream and "d" in record)
