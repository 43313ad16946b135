"""Who gets in: a visit granted by password, by a one-time link, or a key that may run things there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from gpuyard.api.admission import bearer_key
from gpuyard.api.applications import pages, proxy
from gpuyard.api.applications.headers import OUR_COOKIE
from gpuyard.api.errors import render, request_id_of
from gpuyard.api.limits import Buckets
from gpuyard.domain.accounts import Caller
from gpuyard.domain.errors import Forbidden, RateLimited, Unauthenticated, YardError
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.services import visits
from gpuyard.services.yard import Yard

LOGIN = "_gpuyard/login"
"""Below the instance's own path, so that the cookie reaches it; no application we know has such a path."""
_LARGEST_FORM = 10_000


class Applications:
    """Mounted at `/i`. `caller` says whose key a request carries."""

    def __init__(self, yard: Yard, caller: Callable[[Scope], Awaitable[Caller]], logins: Buckets) -> None:
        self._yard = yard
        self._caller = caller
        self._logins = logins
        self._doors = proxy.Doors(yard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        short_id, slash, rest = scope["path"].removeprefix("/i/").partition("/")
        connection = HTTPConnection(scope)
        try:
            response = await self._answer(connection, short_id, rest if slash else None, receive, send)
        except YardError as error:
            response = self._refusal(connection, short_id, error)
        if response is None:
            return
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)

    async def _answer(
        self, connection: HTTPConnection, short_id: str, rest: str | None, receive: Receive, send: Send
    ) -> Response | None:
        """None when a WebSocket was served to its end."""
        scope = connection.scope
        instance = await visits.instance_behind(self._yard, short_id)
        if scope["type"] == "http":
            request = Request(scope, receive)
            if rest is None:
                return RedirectResponse(f"/i/{short_id}/", 307)
            if rest == LOGIN and request.method == "POST":
                return await self._log_in(request, short_id, instance)
            if (shown := request.query_params.get("ticket")) and rest == "":
                if instance is None:
                    raise Unauthenticated("this link opens nothing")
                return _entered(request, await visits.by_ticket(self._yard, instance, shown))
        else:
            _same_origin(connection)
        entered = await self._may_enter(connection, instance)
        if entered.state is not InstanceState.RUNNING:
            return _not_running(entered)
        if scope["type"] == "websocket":
            await self._doors.websocket(WebSocket(scope, receive, send), entered, rest or "")
            return None
        return await self._doors.http(Request(scope, receive), entered, rest or "")

    async def _may_enter(self, connection: HTTPConnection, instance: Instance | None) -> Instance:
        """Raises Unauthenticated, NotFound or Forbidden."""
        if _carries_our_key(connection):
            caller = await self._caller(connection.scope)
            if instance is None:
                raise Unauthenticated("there is nothing to open here")
            visits.by_caller(instance, caller)
            return instance
        _not_from_elsewhere(connection)
        shown = connection.cookies.get(OUR_COOKIE, "")
        if instance is None or not visits.has_visit(self._yard, instance, shown):
            raise Unauthenticated("this needs the instance's password", hint="open it with `gpuyard open`")
        return instance

    async def _log_in(self, request: Request, short_id: str, instance: Instance | None) -> Response:
        address = request.client.host if request.client is not None else ""
        self._logins.take((short_id, address))  # per address, so that nobody can lock the owner out
        form = b""
        async for chunk in request.stream():
            form += chunk
            if len(form) > _LARGEST_FORM:
                break
        typed = parse_qs(form.decode("utf-8", "replace")).get("password", [""])[0]
        return _entered(request, visits.by_password(self._yard, instance, typed))

    def _refusal(self, connection: HTTPConnection, short_id: str, error: YardError) -> Response:
        """A page for who looks with a browser, our usual error for programs."""
        wants_page = "text/html" in connection.headers.get("accept", "")
        if connection.scope["type"] == "websocket" or not wants_page:
            return render(error, request_id_of(connection))
        if isinstance(error, Unauthenticated):
            first = connection.scope["method"] == "GET" and "ticket" not in connection.query_params
            return pages.login(short_id, f"/i/{short_id}/{LOGIN}", wrong="" if first else error.message)
        if isinstance(error, RateLimited):
            return pages.login(short_id, f"/i/{short_id}/{LOGIN}", wrong="Too many tries. Wait a minute.", status=429)
        rendered = render(error, request_id_of(connection))
        return pages.told("This did not work", f"{error.message}. {error.hint or ''}", status=rendered.status_code)


def _entered(request: Request, visit: visits.Visit) -> Response:
    """Into the instance, with a cookie that only its own path ever sees."""
    response = RedirectResponse(f"/i/{visit.short_id}/", 303, headers={"cache-control": "no-store"})
    response.set_cookie(
        OUR_COOKIE,
        visit.token,
        expires=visit.until,
        path=f"/i/{visit.short_id}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def _not_running(instance: Instance) -> Response:
    passing = instance.state not in (InstanceState.STOPPED, InstanceState.FAILED, InstanceState.DELETING)
    reason = f": {instance.state_reason}" if instance.state_reason else ""
    text = f"It is {instance.state}{reason}." + ("" if passing else " Start it, or make another, to open it.")
    return pages.told(f"{instance.name} is not running", text, status=503, again_in=2 if passing else None)


def _same_origin(connection: HTTPConnection) -> None:
    """A page of another site may open a WebSocket to us with the visitor's cookie. Raises Forbidden.

    Programs send no Origin; browsers always do.
    """
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != connection.headers.get("host"):
        raise Forbidden(f"a page of {origin} may not connect here")


def _not_from_elsewhere(connection: HTTPConnection) -> None:
    """Only a link may lead here from elsewhere. Raises Forbidden.

    `SameSite` takes other ports of this host for the same site: a page there could act with the visitor's cookie.
    """
    told = connection.headers
    if told.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return
    opens = told.get("sec-fetch-mode") == "navigate" and told.get("sec-fetch-dest") in (None, "document")
    if connection.scope["type"] == "http" and not (opens and connection.scope["method"] in ("GET", "HEAD")):
        raise Forbidden("a page of another site may not use this instance", hint="open it in a tab of its own")


def _carries_our_key(connection: HTTPConnection) -> bool:
    try:
        return bearer_key(connection.scope).startswith(proxy.OUR_KEYS)
    except Unauthenticated:
        return False
