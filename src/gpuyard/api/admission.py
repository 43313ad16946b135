"""What every request meets first: an id, its limits, the question who is asking, and somebody who notes how it went."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from gpuyard.api import lapsing
from gpuyard.api.errors import render, render_bug
from gpuyard.api.limits import BodySizes, Buckets, at_most
from gpuyard.domain.accounts import Caller
from gpuyard.domain.errors import Invalid, TooLarge, Unauthenticated, YardError
from gpuyard.services.authentication import authenticate
from gpuyard.services.yard import Yard

log = logging.getLogger("gpuyard.api")

OUR_API = "/yard/v1/"
OPEN = frozenset({"/yard/v1/openapi.json"})
"""Paths of our API that need no key: they tell nothing about anybody."""

_GOOD_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_MAX_KEY = 512


@dataclass(frozen=True, slots=True)
class Passed:
    """How one request went: for the log and the metrics."""

    method: str
    route: str
    status: int
    seconds: float


@dataclass
class Traffic:
    """What is going on at the moment, for whoever decides whether the server is idle."""

    running: int = 0
    last_at: float = field(default_factory=time.monotonic)


class Admission:
    """The outermost ASGI layer. `noted` is called once for each request, when its last byte has been sent."""

    def __init__(
        self,
        app: ASGIApp,
        yard: Yard,
        *,
        rate: Buckets,
        failures: Buckets,
        sizes: BodySizes,
        traffic: Traffic,
        noted: Callable[[Passed], None],
    ) -> None:
        self._app = app
        self._yard = yard
        self._rate = rate
        self._failures = failures
        self._sizes = sizes
        self._traffic = traffic
        self._noted = noted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["gpuyard.request_id"] = request_id
        begun = time.perf_counter()
        answer = _Answer(send, request_id)
        self._traffic.running += 1
        try:
            await self._admit(scope, receive, answer)
        except ClientDisconnect:
            pass  # it went away while it was sending: there is nobody to answer
        except YardError as error:  # only of an answer that had begun: its reader sees it break off
            log.debug("an answer broke off: %s", error.message, extra={"request_id": request_id, "path": scope["path"]})
            if not answer.begun:
                await _refuse(scope, receive, answer, render(error, request_id))
        except Exception:
            log.exception("a bug", extra={"request_id": request_id, "path": scope["path"]})
            if not answer.begun:
                await _refuse(scope, receive, answer, render_bug(request_id))
        finally:
            self._traffic.running -= 1
            self._traffic.last_at = time.monotonic()
            self._note(scope, answer, request_id, time.perf_counter() - begun)

    async def _admit(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        path = scope["path"]
        refusal = _unreadable(scope)
        if refusal is None and path.startswith(OUR_API) and path not in OPEN:
            try:
                scope["gpuyard.caller"] = await self.caller(scope)
            except YardError as error:
                refusal = error
        if refusal is None and scope["type"] == "http" and not path.startswith("/i/"):
            ceiling = self._sizes.ceiling(scope["method"], path)
            if ceiling is not None:
                if _length(scope) > ceiling:
                    refusal = TooLarge(f"the body is larger than the {ceiling} bytes this request may have")
                receive = at_most(ceiling, receive)
        if refusal is not None:
            await _refuse(scope, receive, answer, render(refusal, scope["gpuyard.request_id"]))
            return
        await self._app(scope, receive, answer)

    async def caller(self, scope: Scope) -> Caller:
        """Who holds the bearer key of this request. Raises Unauthenticated and RateLimited."""
        address = (scope.get("client") or ("unknown",))[0]
        try:
            key = bearer_key(scope)
            self._rate.take(hashlib.sha256(key.encode()).digest())
            caller = await authenticate(self._yard, key)
            lapsing.remember(scope, self._yard, key, caller)
            return caller
        except Unauthenticated:
            self._failures.take(address)
            raise

    def _note(self, scope: Scope, answer: _Answer, request_id: str, seconds: float) -> None:
        method = scope.get("method", "WEBSOCKET")
        route = route_of(scope)
        self._noted(Passed(method, route, answer.status, seconds))
        trouble = answer.status >= 500 and answer.status != 503
        if trouble or log.isEnabledFor(logging.DEBUG):
            level = logging.WARNING if trouble else logging.DEBUG
            facts = {"method": method, "path": scope["path"], "status": answer.status, "request_id": request_id}
            log.log(level, "answered", extra={**facts, "seconds": round(seconds, 4)})


class _Answer:
    """`send`, adding the request id and remembering how the answer began."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.begun = False
        self.status = 499
        """Nothing was answered: the client went away."""

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.begun = True
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id.encode())]
        elif kind == "websocket.accept":
            self.begun = True
            self.status = 101
        elif kind == "websocket.close":
            if not self.begun:
                self.status = 403
            self.begun = True
        await self._send(message)


def bearer_key(scope: Scope) -> str:
    """Raises Unauthenticated for a request without `Authorization: Bearer`."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, key = value.decode("latin-1").strip().partition(" ")
            if kind.lower() == "bearer" and 0 < len(key.strip()) <= _MAX_KEY:
                return str(key.strip())
            break
    raise Unauthenticated(
        "this request carries no key", hint="send it as `Authorization: Bearer sk_compute_…`; `gpuyard login` keeps one"
    )


def route_of(scope: Scope) -> str:
    """The pattern of the route, never the path itself: metrics must not grow with what people ask for."""
    if scope["path"].startswith("/i/"):
        return "/i/{short_id}"
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None:
        return "unknown"
    # A router's route knows its own part of the path alone.
    return OUR_API.rstrip("/") + path if scope["path"].startswith(OUR_API) and not path.startswith(OUR_API) else path


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GOOD_ID.fullmatch(value):
            return str(value.decode())
    return f"req_{secrets.token_hex(12)}"


def _unreadable(scope: Scope) -> YardError | None:
    """Text that no database stores and no file is called by: refused before anybody looks at it."""
    if "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):
        return Invalid("the address holds a zero character", hint="take it out")
    return None


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
