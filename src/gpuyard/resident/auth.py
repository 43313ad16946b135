"""Nobody without the secret gets an answer, whatever they ask for; `GET /healthz` alone needs none."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gpuyard.resident.core import Resident
from gpuyard.resident.errors import Refusal
from gpuyard.resident.wire import SECRET_HEADER


class SecretGate:
    """Stands before the routes, so that a route cannot forget to ask and an unknown path tells nothing."""

    def __init__(self, app: ASGIApp, resident: Resident) -> None:
        self._app = app
        self._resident = resident

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._admitted(scope):
            await self._refuse(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admitted(self, scope: Scope) -> bool:
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == "/healthz":
            return True
        presented = Headers(scope=scope).getlist(SECRET_HEADER)
        if len(presented) != 1:
            return False
        return self._resident.admits(presented[0], to_assign=scope["path"] == "/assign")

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = Refusal(401, "unauthorized", f"the {SECRET_HEADER} header is missing or wrong").response()
        if scope["type"] == "http":
            await refusal(scope, receive, send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await receive()  # the connect message; answering before it is a protocol error
            body = bytes(refusal.body)
            await send({"type": "websocket.http.response.start", "status": 401, "headers": refusal.raw_headers})
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
