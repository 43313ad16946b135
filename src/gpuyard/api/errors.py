"""How an error becomes an answer: one status per class, one shape for all. Only here is HTTP known."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from gpuyard.api.validation import first_wrong
from gpuyard.domain import errors as e

log = logging.getLogger("gpuyard.api")

STATUS: Mapping[type[e.YardError], int] = {
    e.YardError: 500,
    e.Invalid: 422,
    e.UnknownGpu: 422,
    e.UnknownImage: 422,
    e.Unauthenticated: 401,
    e.Forbidden: 403,
    e.NotFound: 404,
    e.NameTaken: 409,
    e.IdempotencyConflict: 409,
    e.IllegalMove: 409,
    e.NoCapacity: 409,  # not 503: the yard is well, and asking again at once changes nothing
    e.InsufficientBalance: 402,
    e.TooLarge: 413,
    e.RateLimited: 429,
    e.ProviderUnavailable: 502,
    e.ProviderRefused: 502,
    e.InstanceUnreachable: 502,
    e.StoreUnavailable: 503,
    e.StorageFull: 507,
}

CODE_OF_STATUS: Mapping[int, str] = {
    400: e.Invalid.code,
    401: e.Unauthenticated.code,
    403: e.Forbidden.code,
    404: e.NotFound.code,
    405: "method_not_allowed",
    413: e.TooLarge.code,
    415: e.Invalid.code,
    422: e.Invalid.code,
    429: e.RateLimited.code,
}
"""For what the framework refuses before a use case is asked."""


def status_of(error: e.YardError) -> int:
    """The status of its class, or of the nearest parent in the table."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def request_id_of(connection: HTTPConnection) -> str:
    request_id: str = connection.scope.get("gpuyard.request_id", "")
    return request_id


def error_response(
    status: int, body: Mapping[str, Any], *, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """`body` is the inside of `{"error": …}`; what is None is left out."""
    told = {name: value for name, value in {**body, "request_id": request_id}.items() if value is not None}
    text = json.dumps({"error": told}, ensure_ascii=False, default=str)
    return Response(text, status, headers=headers, media_type="application/json")


def render(error: e.YardError, request_id: str) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(math.ceil(error.retry_after), 1))
    if isinstance(error, e.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    body = {
        "code": error.code,
        "message": error.message,
        "field": error.field,
        "hint": error.hint,
        "details": error.details or None,
        "retry_after": error.retry_after,
    }
    return error_response(status_of(error), body, request_id=request_id, headers=headers)


def render_bug(request_id: str) -> Response:
    body = {
        "code": e.YardError.code,
        "message": "the server made a mistake; it has been logged",
        "hint": f"tell the yard's owner the request id {request_id}",
    }
    return error_response(500, body, request_id=request_id)


def install(app: FastAPI) -> None:
    """Make every refusal of `app` one of ours. Bugs are caught further out, where the request is logged."""
    app.add_exception_handler(e.YardError, _yard_error)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _yard_error(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, e.YardError)
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(render(error, request_id_of(connection)))
    return render(error, request_id_of(connection))


async def _bug(connection: HTTPConnection, error: Exception) -> Response:
    """Starlette sends this and lets the exception go on, to where the request is logged."""
    return render_bug(request_id_of(connection))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = first_wrong(error.errors(), request.scope.get("route"))
    body = {"code": e.Invalid.code, "message": wrong.message, "field": wrong.field, "hint": wrong.hint}
    return error_response(400 if wrong.malformed else 422, body, request_id=request_id_of(request))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message, hint = {
        404: (f"there is nothing at {request.url.path}", "the API is described at /yard/v1/openapi.json"),
        405: (f"{what} is not possible", f"allowed here: {(error.headers or {}).get('Allow', 'another method')}"),
    }.get(error.status_code, (error.detail, None))
    code = CODE_OF_STATUS.get(error.status_code, e.YardError.code)
    body = {"code": code, "message": message, "hint": hint}
    return error_response(error.status_code, body, request_id=request_id_of(request), headers=error.headers)
