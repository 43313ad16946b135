"""docs/api.md, from the API's own description of itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any, cast

from docs_text import heading, table
from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from gpuyard.api import native
from gpuyard.api.app import build

OPENING = """\
The whole description, shapes included, is served by every yard at `/yard/v1/openapi.json`. Requests carry a key in
`Authorization: Bearer`, JSON in and out. What holds for all of them:

- An unknown field is an error, never ignored. Every error has [one shape](errors.md) and carries the request's id, also in `X-Request-Id`.
- Wherever an instance's id stands, its short id or name will do.
- Lists come in pages: `limit`, and `cursor` from the last reply's `next_cursor`, which is null at the end.
- `POST /yard/v1/instances` with an `Idempotency-Key` may be sent again: the same key and body give the same instance, another body is a conflict.
- Money is in millionths of the yard's currency (`_micro`), durations are in seconds (`_seconds`), instants are ISO 8601 in UTC (`_at`).
- Too many requests are answered 429 with `Retry-After`.
"""

METHODS = ("get", "post", "put", "patch", "delete", "head")


def page() -> str:
    groups: dict[str, list[tuple[str, str]]] = {}
    for method, path, words in routes():
        groups.setdefault(noun(path), []).append((f"`{method} {path}`", words))
    sections = [f"\n## {name}\n\n{table(['Route', 'What it does'], rows)}" for name, rows in groups.items()]
    return heading("HTTP API", source="src/gpuyard/api/native/", opening=OPENING) + "".join(sections)


def application() -> FastAPI:
    """The API without a yard behind it: enough to be described."""
    nothing = cast(Any, None)
    admission = build(
        nothing,
        rate=nothing,
        failures=nothing,
        logins=nothing,
        sizes=nothing,
        streams=nothing,
        traffic=nothing,
        noted=nothing,
        metrics=nothing,
    )
    return cast(FastAPI, admission._app)


def routes() -> Iterator[tuple[str, str, str]]:
    for path, operations in application().openapi()["paths"].items():
        for method in METHODS:
            if method in operations:
                described = operations[method]
                words = described.get("description") or described.get("summary", "")
                yield method.upper(), path, words.split("\n\n")[0]
    for module in pkgutil.iter_modules(native.__path__):
        router = getattr(importlib.import_module(f"{native.__name__}.{module.name}"), "router", None)
        for route in getattr(router, "routes", ()):
            if isinstance(route, WebSocketRoute):
                yield "WebSocket", f"/yard/v1{route.path}", inspect.getdoc(route.endpoint) or ""


def noun(path: str) -> str:
    parts = path.removeprefix("/yard/v1/").strip("/").split("/")
    if not path.startswith("/yard/v1/"):
        return "System"
    if parts[0] == "instances" and len(parts) > 2 and parts[2] in INSIDE:
        return "Inside an instance"
    return parts[0].capitalize()


INSIDE = {"executions", "files", "archive", "kernels", "terminals", "samples", "apps", "ports", "output"}
