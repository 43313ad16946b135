"""What happens inside an instance: kernels, files, archives, samples, applications, terminals. Its resident does the work."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response, WebSocket

from gpuyard.api.asking import Asked
from gpuyard.api.passing import passed_on, raw_tail
from gpuyard.api.relay import relay
from gpuyard.domain.accounts import Scope
from gpuyard.services import inside
from gpuyard.wire.inside import (
    AppView,
    FileListing,
    KernelView,
    SamplesView,
    SignalKernel,
    StartApp,
    StartKernel,
    TerminalView,
    Unpacked,
)

router = APIRouter(prefix="/instances/{ref}", tags=["inside"])

_ANY_BODY: dict[str, Any] = {
    "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
_ANY_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "A part of it, for a `Range`."},
}


@router.get("/samples", response_model=SamplesView)
async def samples(ask: Asked, request: Request, ref: str) -> Response:
    """What its GPUs, CPU, memory and disk are doing."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref, Scope.READ)
    return await passed_on(request, resident, "/samples")


@router.get("/kernels", response_model=list[KernelView])
async def kernels(ask: Asked, request: Request, ref: str) -> Response:
    """The kernels that run in it."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref, Scope.READ)
    return await passed_on(request, resident, "/kernels")


@router.post("/kernels", status_code=201, response_model=KernelView)
async def start_kernel(ask: Asked, request: Request, ref: str, body: StartKernel) -> Response:
    """A Python that keeps its state between executions; `main` is started by the first one that needs it."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, "/kernels", body=body.model_dump_json(exclude_none=True).encode())


@router.get("/kernels/{kernel}", response_model=KernelView)
async def kernel(ask: Asked, request: Request, ref: str, kernel: str) -> Response:
    """What a kernel is doing."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref, Scope.READ)
    return await passed_on(request, resident, f"/kernels/{raw_tail(request, '/kernels/')}")


@router.delete("/kernels/{kernel}", status_code=204)
async def end_kernel(ask: Asked, request: Request, ref: str, kernel: str) -> Response:
    """End a kernel; what it kept in memory is gone."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/kernels/{raw_tail(request, '/kernels/')}")


@router.post("/kernels/{kernel}/signal", status_code=202)
async def signal_kernel(ask: Asked, request: Request, ref: str, kernel: str, body: SignalKernel) -> Response:
    """INT interrupts what runs, RESTART begins anew, TERM and KILL end it."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    path = f"/kernels/{raw_tail(request, '/kernels/')}"
    return await passed_on(request, resident, path, body=body.model_dump_json().encode())


@router.get("/kernels/{kernel}/journal", response_class=Response)
async def kernel_journal(
    ask: Asked, request: Request, ref: str, kernel: str, after: int = 0, follow: bool = False
) -> Response:
    """Everything the kernel wrote, as journal records, from offset `after`."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref, Scope.READ)
    return await passed_on(request, resident, f"/kernels/{raw_tail(request, '/kernels/')}", endless=follow)


@router.get("/files", response_model=FileListing, responses=_ANY_FILE)
@router.head("/files", include_in_schema=False)
@router.get("/files/{path:path}", response_model=FileListing, responses=_ANY_FILE)
@router.head("/files/{path:path}", include_in_schema=False)
async def get_file(ask: Asked, request: Request, ref: str, path: str = "") -> Response:
    """A file's bytes, whole or a `Range`; of a directory its entries."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/files/{raw_tail(request, '/files/')}")


@router.put("/files/{path:path}", status_code=201, openapi_extra=_ANY_BODY)
async def put_file(ask: Asked, request: Request, ref: str, path: str) -> Response:
    """The body becomes the file, all at once when it has arrived. `mkdir=true` makes a directory instead."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/files/{raw_tail(request, '/files/')}")


@router.post("/files/{path:path}", status_code=204)
async def move_file(
    ask: Asked, request: Request, ref: str, path: str, move_to: str, overwrite: bool = False
) -> Response:
    """Move or rename."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/files/{raw_tail(request, '/files/')}")


@router.delete("/files/{path:path}", status_code=204)
async def delete_file(ask: Asked, request: Request, ref: str, path: str, recursive: bool = False) -> Response:
    """Delete a file; a directory with content needs `recursive=true`."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/files/{raw_tail(request, '/files/')}")


@router.get("/archive", response_class=Response)
@router.get("/archive/{path:path}", response_class=Response)
async def get_archive(ask: Asked, request: Request, ref: str, path: str = "") -> Response:
    """A directory as a tar; `gzip=true` compresses it, `exclude=pattern` leaves things out."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/archive/{raw_tail(request, '/archive/')}")


@router.put("/archive", response_model=Unpacked, openapi_extra=_ANY_BODY)
@router.put("/archive/{path:path}", response_model=Unpacked, openapi_extra=_ANY_BODY)
async def put_archive(ask: Asked, request: Request, ref: str, path: str = "") -> Response:
    """Unpacks a tar, compressed or not, into the directory."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/archive/{raw_tail(request, '/archive/')}")


@router.get("/apps", response_model=list[AppView])
async def apps(ask: Asked, request: Request, ref: str) -> Response:
    """The applications that were started in it."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref, Scope.READ)
    return await passed_on(request, resident, "/apps")


@router.post("/apps/{name}", status_code=201, response_model=AppView)
async def start_app(ask: Asked, request: Request, ref: str, name: str, body: StartApp | None = None) -> Response:
    """Start `jupyterlab`, or any other with a program and the port it listens on."""
    instance, resident = await inside.resident(ask.yard, ask.caller, ref)
    wanted = {
        "base_url": f"/i/{instance.short_id}/",
        **(body.model_dump(exclude_none=True) if body is not None else {}),
    }
    return await passed_on(request, resident, f"/apps/{raw_tail(request, '/apps/')}", body=json.dumps(wanted).encode())


@router.delete("/apps/{name}", status_code=204)
async def end_app(ask: Asked, request: Request, ref: str, name: str) -> Response:
    """End an application."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/apps/{raw_tail(request, '/apps/')}")


@router.get("/terminals", response_model=list[TerminalView])
async def terminals(ask: Asked, request: Request, ref: str) -> Response:
    """The terminals that are open in it."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref, Scope.READ)
    return await passed_on(request, resident, "/terminals")


@router.delete("/terminals/{terminal}", status_code=204)
async def end_terminal(ask: Asked, request: Request, ref: str, terminal: str) -> Response:
    """End a terminal and what runs in it."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    return await passed_on(request, resident, f"/terminals/{raw_tail(request, '/terminals/')}")


@router.websocket("/terminals/{terminal}")
async def terminal(ask: Asked, websocket: WebSocket, ref: str, terminal: str) -> None:
    """A login shell, opened or joined: bytes both ways, JSON texts for its size and its end."""
    _, resident = await inside.resident(ask.yard, ask.caller, ref)
    raw: bytes = websocket.scope.get("raw_path") or websocket.url.path.encode()
    name = raw.decode("ascii", "replace").partition("/terminals/")[2]
    query = websocket.scope["query_string"].decode("ascii", "replace")
    await relay(websocket, await resident.websocket(f"/terminals/{name}", query=query))
