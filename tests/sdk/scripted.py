"""A server that answers exactly as it is told, and writes down what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk_compute_scripted"
INSTANCE: Mapping[str, Any] = {
    "id": "inst_000000000000000000000001",
    "short_id": "00000000",
    "name": "one",
    "state": "requested",
    "entered_at": "2026-03-01T09:00:00Z",
    "gpus": [],
    "vcpus": 2,
    "ram_gb": 4,
    "disk_gb": 20,
    "image": "python",
    "currency": "EUR",
    "created_at": "2026-03-01T09:00:00Z",
    "url_path": "/i/00000000/",
}


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """The connection breaks after so many bytes of the body."""
    never: bool = False
    """The connection breaks before anything is said."""


def told(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def refused(status: int, code: str, **more: Any) -> Answer:
    headers = {"Retry-After": str(more["retry_after"])} if "retry_after" in more else {}
    error = {"code": code, "message": f"this is {code}", **more}
    return Answer(status, json.dumps({"error": error}).encode(), headers)


@dataclass
class ScriptedYard:
    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def scripted(answer: Callable[[Asked], Answer]) -> Iterator[ScriptedYard]:
    class Conversation(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, address.path, parse_qs(address.query), dict(self.headers.items()), body)
            yard.asked.append(asked)
            self._say(answer(asked))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815

        def _say(self, answer: Answer) -> None:
            if answer.never:
                return self._break()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "HEAD":
                return None
            self.wfile.write(answer.body[: answer.cut_at])
            if answer.cut_at is not None and answer.cut_at < len(answer.body):
                self._break()
            return None

        def _break(self) -> None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Conversation)
    server.daemon_threads = True
    yard = ScriptedYard(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield yard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    """One after the other; the last one again and again."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class CuttingWire:
    """A wire to a real server which breaks, in either direction, after a number of bytes told beforehand."""

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (address.hostname or "", address.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts: list[int] = []
        """Bytes after which the next connections break, either way counted; whoever comes later is not cut."""
        self.broken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            budget = _Budget(self.cuts.pop(0) if self.cuts else None)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink, budget), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, budget: _Budget) -> None:
        try:
            while piece := source.recv(65536):
                granted = budget.take(len(piece))
                sink.sendall(piece[:granted])
                if granted < len(piece):
                    self.broken += 1
                    break
        except OSError:
            pass
        finally:
            for end in (source, sink):
                _reset(end)


class _Budget:
    def __init__(self, left: int | None) -> None:
        self._left = left
        self._lock = threading.Lock()

    def take(self, wanted: int) -> int:
        with self._lock:
            if self._left is None:
                return wanted
            granted = min(wanted, self._left)
            self._left -= granted
            return granted


def _reset(end: socket.socket) -> None:
    """Break rather than end: the other side must not take it for a proper close."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
        end.close()
    except OSError:
        pass
