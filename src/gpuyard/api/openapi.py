"""The description of the API: what FastAPI writes by itself, plus what is true of every route."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gpuyard.wire.base import ErrorReply

_DESCRIPTION = """The native API of a yard. Every error has one shape, every list has pages, every id may be a short id or a name."""


def describe(app: FastAPI) -> None:
    """Replace `app.openapi` by one that knows the bearer key and our one shape of errors."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    parts = document.setdefault("components", {})
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "sk_compute_… or sk_live_…"}}
    schemas = parts.setdefault("schemas", {})
    error = ErrorReply.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(error.pop("$defs", {}))
    schemas["ErrorReply"] = error
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    refusal = {
        "description": "What went wrong.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
    }
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = refusal
            if path.startswith("/yard/v1/"):
                operation["security"] = [{"key": []}]
    return document
