"""The resident's routes put together, behind its secret, with one shape for everything it refuses."""

from __future__ import annotations

import logging
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gpuyard.resident import (
    apps,
    archive,
    execution_routes,
    files,
    kernel_routes,
    life,
    samples,
    terminals,
)
from gpuyard.resident.auth import SecretGate
from gpuyard.resident.core import Resident
from gpuyard.resident.errors import Refusal

log = logging.getLogger("gpuyard.resident")

_PARTS = (life, execution_routes, kernel_routes, files, archive, terminals, apps, samples)

_HTTP_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def build(resident: Resident) -> ASGIApp:
    """The whole application of one resident."""
    application = Starlette(
        routes=[route for part in _PARTS for route in part.routes(resident)],
        exception_handlers={Refusal: _refused, HTTPException: _http, Exception: _bug},
    )
    application.router.redirect_slashes = False
    return SecretGate(application, resident)


async def _refused(request: Request, error: Exception) -> Response:
    return cast(Refusal, error).response()


async def _http(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    code = _HTTP_CODES.get(error.status_code, "invalid_request")
    message = f"{request.method} {request.url.path}: {error.detail}"
    return Refusal(error.status_code, code, message, headers=error.headers).response()


async def _bug(request: Request, error: Exception) -> Response:
    return Refusal(500, "internal", f"{type(error).__name__} in the resident; its log has the traceback").response()
