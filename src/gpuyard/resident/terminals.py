"""Terminals over WebSocket: a login shell each, which people join, leave and join again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections import deque
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gpuyard.resident import execution_tree
from gpuyard.resident.core import Resident
from gpuyard.resident.errors import not_found, wrong_state
from gpuyard.resident.instance import Instance
from gpuyard.resident.paths import Places
from gpuyard.resident.pty_process import PtyProcess

REPLAYED = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST = 32
_WAITING = 256 * 1024
"""Output that may wait for a viewer before the program has to."""
_HOPELESS = 4 * 1024 * 1024
"""Output that may wait for one viewer while others keep up; then it is cut off and may join again."""
_GRACE_SECONDS = 2.0
_SIZES = range(1, 1001)


def routes(resident: Resident) -> list[BaseRoute]:
    terminals = Terminals(resident.instance)
    resident.on_shutdown(terminals.close)

    async def listing(request: Request) -> Response:
        return JSONResponse([terminal.view() for terminal in terminals.running()])

    async def delete(request: Request) -> Response:
        await terminals.end(request.path_params["name"])
        return Response(status_code=204)

    async def join(websocket: WebSocket) -> None:
        await terminals.serve(websocket, websocket.path_params["name"])

    return [
        Route("/terminals", listing, methods=["GET"]),
        Route("/terminals/{name}", delete, methods=["DELETE"]),
        WebSocketRoute("/terminals/{name}", join),
    ]


class _Viewer:
    """One WebSocket's share of a terminal's output that has not been sent yet."""

    def __init__(self, replay: bytes) -> None:
        self._waiting: deque[bytes] = deque([replay] if replay else [])
        self.size = len(replay)
        self._changed = asyncio.Event()
        self.cut_off = False
        self.exit_code: int | None = None
        if replay:
            self._changed.set()

    def feed(self, data: bytes) -> None:
        self._waiting.append(data)
        self.size += len(data)
        self._changed.set()

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code
        self._changed.set()

    def drop(self) -> None:
        """It is too far behind to ever keep up."""
        self._waiting.clear()
        self.size, self.cut_off = 0, True
        self._changed.set()

    async def take(self) -> bytes:
        """What waits; empty when the terminal has ended or the viewer is cut off."""
        while not self._waiting and self.exit_code is None and not self.cut_off:
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self.size = 0
        return data


class Terminal:
    """One shell, its last output, and who looks at it."""

    def __init__(self, instance: Instance, name: str, size: tuple[int, int]) -> None:
        self.name = name
        self.size = size
        self.started_at = time.time()
        self._touch = instance.touch
        self._viewers: set[_Viewer] = set()
        self._replay = bytearray()
        environment = {**instance.environment(), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        workspace = Places.of(instance.residence).workspace
        self._mark = f"terminal-{name}-{self.started_at}"
        environment[execution_tree.EXECUTION_MARK] = self._mark
        self._shell = PtyProcess(["bash", "-l"], env=environment, cwd=workspace, size=size, sink=self._came)
        self.ended = asyncio.create_task(self._end())

    def view(self) -> dict[str, Any]:
        columns, rows = self.size
        return {
            "name": self.name,
            "pid": self._shell.pid,
            "columns": columns,
            "rows": rows,
            "viewers": len(self._viewers),
            "started_at": self.started_at,
        }

    def join(self) -> _Viewer:
        viewer = _Viewer(bytes(self._replay))
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: _Viewer) -> None:
        self._viewers.discard(viewer)
        self._balance()

    def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)
        if not self._shell.closed:
            self._shell.resize(columns, rows)

    async def type(self, data: bytes) -> None:
        self._touch()
        await self._shell.write(data)

    async def taken(self, viewer: _Viewer) -> bytes:
        data = await viewer.take()
        self._balance()
        return data

    async def kill(self) -> None:
        """End the shell and everything that was started from it."""
        leader, mark = self._shell.pid, self._mark
        # an interactive shell ignores TERM; a hang-up is what it ends on
        execution_tree.send(execution_tree.members(leader, mark), signal.SIGHUP)
        await execution_tree.end(lambda: execution_tree.members(leader, mark), _GRACE_SECONDS)
        await self.ended

    def _came(self, data: bytes) -> None:
        self._touch()
        self._replay += data
        del self._replay[:-REPLAYED]
        for viewer in self._viewers:
            viewer.feed(data)
        self._balance()

    def _balance(self) -> None:
        """Whoever reads fastest sets the pace; who is hopelessly behind the others is cut off."""
        if self._shell.closed:
            return
        for viewer in [viewer for viewer in self._viewers if viewer.size > _HOPELESS]:
            viewer.drop()
        if self._viewers and min(viewer.size for viewer in self._viewers) > _WAITING:
            self._shell.pause()
        else:
            self._shell.resume()

    async def _end(self) -> int:
        code = await self._shell.wait()
        for viewer in self._viewers:
            viewer.finish(code)
        return code


class Terminals:
    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._terminals: dict[str, Terminal] = {}

    def running(self) -> list[Terminal]:
        return list(self._terminals.values())

    async def end(self, name: str) -> None:
        terminal = self._terminals.get(name)
        if terminal is None:
            raise not_found(f"there is no terminal {name!r}")
        await terminal.kill()

    async def close(self) -> None:
        await asyncio.gather(*(terminal.kill() for terminal in self.running()))

    async def serve(self, websocket: WebSocket, name: str) -> None:
        """Open or join a terminal and pass bytes until one side has enough."""
        size = _size(websocket.query_params.get("cols"), websocket.query_params.get("rows"))
        try:
            terminal = self._open(name, size)
        except OSError as error:
            await websocket.send_denial_response(wrong_state(f"no terminal can be opened: {error}").response())
            return
        if terminal is None:
            refusal = not_found(f"{name!r} cannot be a terminal: a name is up to 64 of A-Z a-z 0-9 . _ -")
            if len(self._terminals) >= _MOST:
                refusal = wrong_state(f"{_MOST} terminals are open, no more can be", hint="close one")
            await websocket.send_denial_response(refusal.response())
            return
        await websocket.accept()
        viewer = terminal.join()
        sending = asyncio.create_task(_send(websocket, terminal, viewer))
        try:
            await _receive(websocket, terminal)
        finally:
            sending.cancel()
            terminal.leave(viewer)
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sending

    def _open(self, name: str, size: tuple[int, int] | None) -> Terminal | None:
        terminal = self._terminals.get(name)
        if terminal is not None:
            if size is not None:
                terminal.resize(*size)
            return terminal
        if not _NAME.fullmatch(name) or len(self._terminals) >= _MOST:
            return None
        terminal = Terminal(self._instance, name, size or (80, 24))
        self._terminals[name] = terminal
        terminal.ended.add_done_callback(lambda _: self._terminals.pop(name, None))
        return terminal


async def _send(websocket: WebSocket, terminal: Terminal, viewer: _Viewer) -> None:
    while data := await terminal.taken(viewer):
        await websocket.send_bytes(data)
    if viewer.exit_code is not None:
        await websocket.send_text(json.dumps({"exit": viewer.exit_code}))
        await websocket.close()
    else:
        await websocket.close(1013, "too far behind; join again for the latest output")


async def _receive(websocket: WebSocket, terminal: Terminal) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("bytes") is not None:
            await terminal.type(message["bytes"])
        elif (size := _wanted_size(message.get("text") or "")) is not None:
            terminal.resize(*size)


def _wanted_size(text: str) -> tuple[int, int] | None:
    """The size in a `{"resize": [columns, rows]}`; None in anything else, which is ignored."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        columns, rows = json.loads(text)["resize"]
        return _size(columns, rows)
    return None


def _size(columns: Any, rows: Any) -> tuple[int, int] | None:
    with contextlib.suppress(ValueError, TypeError):
        if int(columns) in _SIZES and int(rows) in _SIZES:
            return int(columns), int(rows)
    return None
