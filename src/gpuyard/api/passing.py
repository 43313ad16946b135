"""Passing a request on to an instance's resident and its answer back, streamed, without what belongs to one connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gpuyard.api.errors import error_response
from gpuyard.api.streams import Stream
from gpuyard.domain.errors import InstanceUnreachable
from gpuyard.ports.residents import Reply, Resident

OF_ONE_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, section 7.6.1: these never travel beyond the next server."""

_ITS_SERVERS_OWN = frozenset({"date", "server"})
_FILE_HEADERS = frozenset(
    {
        "accept",
        "content-length",
        "content-range",
        "content-type",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "range",
        "x-upload-id",
    }
)
_ERROR_LIMIT = 64 * 1024
_THEIR_TROUBLE = frozenset({401, 500, 503})
"""A resident that does not know us or has a bug: the caller can do nothing about it."""


def raw_tail(request: Request, after: str) -> str:
    """What follows `after` in the address, percent-escapes untouched: a file may be called `a%2Fb`."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("ascii", "replace").partition(after)[2]


async def passed_on(
    request: Request, resident: Resident, path: str, *, body: bytes | None = None, endless: bool = False
) -> Response:
    """Ask the resident the same, at its own `path`; its refusals get our request id.

    `endless`: the answer may never end by itself, and is ended when the server stops.
    """
    headers = {name: value for name, value in request.headers.items() if name in _FILE_HEADERS}
    content: AsyncIterator[bytes] | bytes | None = body
    if body is not None:
        headers = {**headers, "content-type": "application/json", "content-length": str(len(body))}
    elif has_body(request.headers):
        content = request.stream()
    async with AsyncExitStack() as stack:
        query = request.scope["query_string"].decode("ascii", "replace")
        reply = await stack.enter_async_context(
            resident.request(request.method, path, query=query, headers=headers, body=content)
        )
        if reply.status >= 400:
            return await _refused(request, reply)
        back = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in reply.headers
            if name.lower() not in OF_ONE_CONNECTION | _ITS_SERVERS_OWN
        ]
        until = request.app.state.streams if endless else None
        return Stream(reply.body, status=reply.status, headers=back, until=until, closing=stack.pop_all().aclose)


def has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _refused(request: Request, reply: Reply) -> Response:
    told = _error_in(await beginning(reply.body))
    request_id = request.scope.get("gpuyard.request_id", "")
    if reply.status in _THEIR_TROUBLE or not told:
        if request.method != "HEAD" or reply.status in _THEIR_TROUBLE:
            raise InstanceUnreachable(
                f"the instance's resident answered {reply.status}: {told.get('message', 'nothing')}"
            )
        return Response(status_code=reply.status)
    return error_response(reply.status, told, request_id=request_id)


def _error_in(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return {}
    return told if isinstance(told, dict) else {}


async def beginning(body: AsyncIterator[bytes]) -> bytes:
    """As much as a short answer may have; of a longer one the rest is not read."""
    told = b""
    async for chunk in body:
        told += chunk
        if len(told) >= _ERROR_LIMIT:
            break
    return told
