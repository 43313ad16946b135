"""Applications of the instance: started here, and reached only through here."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from gpuyard.resident import execution_tree, jupyterlab
from gpuyard.resident.body import parsed
from gpuyard.resident.child import Child
from gpuyard.resident.core import Resident
from gpuyard.resident.errors import Refusal, not_found, wrong_field
from gpuyard.resident.instance import Instance
from gpuyard.resident.passing import Target, not_ready
from gpuyard.resident.paths import Places
from gpuyard.resident.proxy import Proxy

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_GRACE_SECONDS = 5.0
_SOCKET_PATH_LIMIT = 100
"""Bytes; the kernel takes 107, and a program may add a suffix while it starts."""
_ASKED_EVERY = (0.05, 0.5)
_LOG_TAIL = 2000


class AppRequest(BaseModel):
    """What starts an application. The known ones need no `argv` and `port`."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field(default="/", pattern=r"^/(.*/)?$")
    argv: list[str] = []
    port: int | None = Field(default=None, ge=1, le=65535)
    env: dict[str, str] = {}


@dataclass(frozen=True)
class Plan:
    """How to start an application and where it will listen."""

    argv: Sequence[str]
    target: Target
    env: Mapping[str, str] = field(default_factory=dict)


def routes(resident: Resident) -> list[BaseRoute]:
    apps = Apps(resident.instance)
    proxy = Proxy(resident.instance.touch)
    resident.on_shutdown(apps.close)
    resident.on_shutdown(proxy.close)

    async def listing(request: Request) -> Response:
        return JSONResponse([app.view() for app in apps.known()])

    async def start(request: Request) -> Response:
        app, new = apps.start(request.path_params["name"], await parsed(request, AppRequest, empty=b"{}"))
        return JSONResponse(app.view(), status_code=201 if new else 200)

    async def delete(request: Request) -> Response:
        await apps.end(request.path_params["name"])
        return Response(status_code=204)

    def of_app(scope: Scope) -> tuple[Target, str]:
        app = apps.get(scope["path_params"]["name"])
        if app.state == "dead":
            raise not_ready(app.name, app.reason())
        return app.target, app.name

    return [
        Route("/apps", listing, methods=["GET"]),
        Route("/apps/{name}", start, methods=["POST"]),
        Route("/apps/{name}", delete, methods=["DELETE"]),
        *_proxied("/apps/{name}/proxy/{path:path}", proxy, of_app),
        *_proxied("/ports/{port:int}/proxy/{path:path}", proxy, _of_port),
    ]


class App:
    """One application, alive or not."""

    def __init__(self, name: str, plan: Plan, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.name = name
        self.target = plan.target
        self.exit_code: int | None = None
        self._ready = False
        self._log = log
        self._mark = f"app-{name}-{time.time()}"
        env = {**env, **plan.env, execution_tree.EXECUTION_MARK: self._mark}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._child = Child(plan.argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._life = asyncio.create_task(self._live())

    @property
    def state(self) -> str:
        if self.exit_code is not None:
            return "dead"
        return "ready" if self._ready else "starting"

    def view(self) -> dict[str, Any]:
        view = {"name": self.name, "state": self.state, "target": str(self.target)}
        return {**view, "reason": self.reason()} if self.state == "dead" else view

    def reason(self) -> str:
        """Why it is dead, in its own last words."""
        words = self._log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace").strip()
        return f"it ended with exit code {self.exit_code}" + (f": {words}" if words else "")

    async def end(self) -> None:
        """End it and all it has started."""
        leader, mark = self._child.pid, self._mark
        await execution_tree.end(lambda: execution_tree.members(leader, mark), _GRACE_SECONDS)
        await self._life

    async def _live(self) -> None:
        asking = asyncio.create_task(self._become_ready())
        try:
            self.exit_code = await self._child.wait()
        finally:
            asking.cancel()

    async def _become_ready(self) -> None:
        pause, longest = _ASKED_EVERY
        while not await _listens(self.target):
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, longest)
        self._ready = True


class Apps:
    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._apps: dict[str, App] = {}

    def known(self) -> list[App]:
        return list(self._apps.values())

    def get(self, name: str) -> App:
        if name not in self._apps:
            raise not_found(f"the application {name!r} was not started")
        return self._apps[name]

    def start(self, name: str, wanted: AppRequest) -> tuple[App, bool]:
        """The application, and whether it was started just now. One that lives is left as it is."""
        if name in self._apps and self._apps[name].state != "dead":
            return self._apps[name], False
        places = Places.of(self._instance.residence)
        plan = self._plan(name, wanted, places)
        log = self._instance.residence.state / "apps" / f"{name}.log"
        env = {**self._instance.environment(), **wanted.env}
        try:
            app = App(name, plan, env, places.workspace, log)
        except OSError as error:
            raise wrong_field("argv", f"{plan.argv[0]!r} cannot be started: {error}") from error
        self._instance.touch()
        self._apps[name] = app
        return app, True

    async def end(self, name: str) -> None:
        await self.get(name).end()
        del self._apps[name]

    async def close(self) -> None:
        await asyncio.gather(*(app.end() for app in self.known() if app.state != "dead"))

    def _plan(self, name: str, wanted: AppRequest, places: Places) -> Plan:
        if not _NAME.fullmatch(name):
            raise wrong_field("name", f"the name {name!r} is not up to 32 of a-z 0-9 _ -")
        if wanted.argv and wanted.port:
            return Plan(wanted.argv, Target(port=wanted.port))
        if wanted.argv or wanted.port or name != jupyterlab.NAME:
            missing = "port" if wanted.argv else "argv"
            text = f"{name!r} needs both argv and port; only {jupyterlab.NAME!r} is known without"
            raise wrong_field(missing, text)
        socket = self._socket(name, places)
        Path(socket).unlink(missing_ok=True)
        argv, env = jupyterlab.command(self._instance.residence, socket, wanted.base_url)
        return Plan(argv, Target(socket=socket), env)

    def _socket(self, name: str, places: Places) -> str:
        path = self._instance.residence.state / "apps" / f"{name}.sock"
        if len(bytes(path)) <= _SOCKET_PATH_LIMIT:
            return str(path)
        beside = places.tmp if len(bytes(places.tmp)) <= _SOCKET_PATH_LIMIT // 2 else None
        return str(Path(tempfile.mkdtemp(prefix="gpuyard-", dir=beside)) / f"{name}.sock")


async def _listens(target: Target) -> bool:
    try:
        if target.socket:
            _, writer = await asyncio.open_unix_connection(target.socket)
        else:
            _, writer = await asyncio.open_connection("127.0.0.1", target.port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _of_port(scope: Scope) -> tuple[Target, str]:
    port = scope["path_params"]["port"]
    if not 1 <= port <= 65535:
        raise wrong_field("port", f"port {port} is not one of 1 to 65535")
    return Target(port=port), f"port {port}"


def _proxied(path: str, proxy: Proxy, find: Callable[[Scope], tuple[Target, str]]) -> list[BaseRoute]:
    async def websocket(websocket: WebSocket) -> None:
        try:
            target, what = find(websocket.scope)
            await proxy.websocket(websocket, target, what)
        except Refusal as refusal:
            await websocket.send_denial_response(refusal.response())

    return [Route(path, _HttpEndpoint(proxy, find)), WebSocketRoute(path, websocket)]


class _HttpEndpoint:
    """A class, because Starlette gives only those the request as it comes, for every method."""

    def __init__(self, proxy: Proxy, find: Callable[[Scope], tuple[Target, str]]) -> None:
        self._proxy = proxy
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target, what = self._find(scope)
        await self._proxy.http(scope, receive, send, target, what)
