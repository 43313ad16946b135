"""Passes what a visitor asks on to the application in the instance, and its answer back, streamed both ways."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from gpuyard.api.applications import pages
from gpuyard.api.applications.headers import OUR_COOKIE, outward
from gpuyard.api.passing import OF_ONE_CONNECTION, beginning, has_body
from gpuyard.api.relay import relay
from gpuyard.api.streams import Stream
from gpuyard.domain.errors import InstanceUnreachable, NotFound
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import Instance
from gpuyard.ports.residents import Resident
from gpuyard.services.inside import resident_of
from gpuyard.services.yard import Yard

DEFAULT_APP = "jupyterlab"
OUR_KEYS = ("sk_compute_", "sk_live_")

_PORT = re.compile(r"port/([0-9]{1,5})(?:/(.*))?", re.DOTALL)
_READY_BELIEVED_SECONDS = 10.0
_START_PATIENCE_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.1
_SHOW_PAGE_AFTER_SECONDS = 5.0
_WEBSOCKET_OWN = frozenset(
    {
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    }
)


class Doors:
    """To each instance's default application, started when first asked for, and to its ports."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard
        self._ready: dict[InstanceId, float] = {}
        """Until when an application that was ready is taken to be so still."""

    async def http(self, request: Request, instance: Instance, rest: str) -> Response:
        resident = resident_of(self._yard, instance)
        path = _target(request, instance)
        if not path.startswith("/ports/"):
            wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
            patience = _SHOW_PAGE_AFTER_SECONDS if wants_page else _START_PATIENCE_SECONDS
            if not await self._started(resident, instance, patience):
                return pages.told("JupyterLab is starting", "This takes a few seconds.", status=503, again_in=1)
        return await _passed(request, resident, path, instance)

    async def websocket(self, visitor: WebSocket, instance: Instance, rest: str) -> None:
        resident = resident_of(self._yard, instance)
        path = _target(visitor, instance)
        if not path.startswith("/ports/"):
            await self._started(resident, instance, _START_PATIENCE_SECONDS)
        headers = {n: v for n, v in _inward(visitor, instance).items() if n not in _WEBSOCKET_OWN}
        query = visitor.scope["query_string"].decode("ascii", "replace")
        pipe = await resident.websocket(
            path, query=query, headers=headers, subprotocols=tuple(visitor.scope.get("subprotocols", ()))
        )
        await relay(visitor, pipe)

    async def _started(self, resident: Resident, instance: Instance, patience: float) -> bool:
        """Start the default application and wait until it is ready, for as long as `patience`.

        Raises InstanceUnreachable when it will never be.
        """
        if self._ready.get(instance.id, 0) > time.monotonic():
            return True
        deadline = time.monotonic() + patience
        while True:
            state = await _start(resident, instance)
            if state == "ready":
                self._ready[instance.id] = time.monotonic() + _READY_BELIEVED_SECONDS
                return True
            if state != "starting":
                raise InstanceUnreachable(f"{DEFAULT_APP} does not start in this instance: it is {state}")
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def _start(resident: Resident, instance: Instance) -> str:
    body = json.dumps({"base_url": f"/i/{instance.short_id}/"}).encode()
    headers = {"content-type": "application/json"}
    async with resident.request("POST", f"/apps/{DEFAULT_APP}", headers=headers, body=body) as reply:
        told = await beginning(reply.body)
    try:
        answer = json.loads(told)
        if reply.status in (200, 201):
            return str(answer["state"])
        message = answer["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"its resident answered {reply.status}"
    raise InstanceUnreachable(f"{DEFAULT_APP} cannot be started in this instance: {message}")


def _target(connection: HTTPConnection, instance: Instance) -> str:
    """The resident's path for the visitor's, percent-escapes untouched. Raises NotFound for an impossible port."""
    raw: bytes = connection.scope.get("raw_path") or connection.url.path.encode()
    whole = raw.decode("ascii", "replace")
    rest = whole.removeprefix(f"/i/{instance.short_id}/")
    found = _PORT.fullmatch(rest)
    if found is None:
        return f"/apps/{DEFAULT_APP}/proxy{whole}"
    port = int(found[1])
    if not 1 <= port <= 65535:
        raise NotFound(f"there is no port {port}")
    return f"/ports/{port}/proxy/{found[2] or ''}"


async def _passed(request: Request, resident: Resident, path: str, instance: Instance) -> Response:
    body: AsyncIterator[bytes] | None = request.stream() if has_body(request.headers) else None
    async with AsyncExitStack() as stack:
        reply = await stack.enter_async_context(
            resident.request(
                request.method,
                path,
                query=request.scope["query_string"].decode("ascii", "replace"),
                headers=_inward(request, instance),
                body=body,
            )
        )
        back = outward(reply.headers, f"/i/{instance.short_id}/")
        return Stream(reply.body, status=reply.status, headers=back, closing=stack.pop_all().aclose)


def _inward(connection: HTTPConnection, instance: Instance) -> Mapping[str, str]:
    """The visitor's headers without what proves to us who they are: the application has no business with it."""
    headers = {name: value for name, value in connection.headers.items() if name not in OF_ONE_CONNECTION}
    if any(key in headers.get("authorization", "") for key in OUR_KEYS):
        del headers["authorization"]
    cookies = [c.strip() for c in headers.pop("cookie", "").split(";")]
    if cookies := [c for c in cookies if c and c.partition("=")[0].strip() != OUR_COOKIE]:
        headers["cookie"] = "; ".join(cookies)
    headers["x-forwarded-host"] = headers.get("host", "")
    headers["x-forwarded-proto"] = "https" if connection.url.scheme in ("https", "wss") else "http"
    headers["x-forwarded-prefix"] = f"/i/{instance.short_id}"
    if connection.client is not None:
        headers["x-forwarded-for"] = connection.client.host
    return headers
