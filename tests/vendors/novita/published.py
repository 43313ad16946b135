"""The published `novita-sdk`, each release in an environment of its own, and a server that writes down what it is asked."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.vendors.novita.answers import ANSWERS

ROOT = Path(__file__).parents[3]
REPLAY = Path(__file__).with_name("replay.py")


def environment(release: str) -> Path:
    """The interpreter of an environment with this release, made on first use and kept. Skips where it cannot be made."""
    place = ROOT / ".venv" / "vendors" / f"novita-sdk-{release}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            venv.create(place, clear=True)
            pip = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(place / "bin" / "python"),
                "--disable-pip-version-check",
            ]
            command = [*pip, "install", "--quiet", "--retries", "1", "--timeout", "10", f"novita-sdk=={release}"]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                reason = made.stderr.strip().splitlines()[-1:] or ["pip failed"]
                pytest.skip(f"novita-sdk {release} cannot be installed here: {reason[0]}")
            (place / "ready").touch()
    return place / "bin" / "python"


def run(release: str, *arguments: str) -> Any:
    command = [environment(release), REPLAY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


Request = dict[str, Any]
"""What is compared: `method`, `path`, `query`, `body`, `key`."""


class Recorder:
    """Requests by the call they were made for."""

    def __init__(self) -> None:
        self.asked: dict[str, list[Request]] = {}
        self.failed: dict[str, str] = {}
        self.release = ""
        self._current: list[Request] = []
        self.url = ""

    def begin(self, name: str) -> None:
        self._current = self.asked.setdefault(name, [])

    def note(self, request: Request) -> None:
        self._current.append(request)


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together: apart, the second waits for the first to be acknowledged

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            split = urlsplit(self.path)
            if split.path == "/begin":
                recorder.begin(content.decode())
            else:
                recorder.note(
                    {
                        "method": self.command,
                        "path": split.path,
                        "query": sorted(parse_qsl(split.query, keep_blank_values=True)),
                        "body": json.loads(content) if content else None,
                        "key": self.headers["authorization"],
                    }
                )
            answer = json.dumps(ANSWERS.get(f"{self.command} {split.path}", {})).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        recorder.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()
