"""Kernels over HTTP: start, look, interrupt or end, follow all they wrote."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuyard.resident.body import parsed
from gpuyard.resident.core import Resident
from gpuyard.resident.execution_routes import stream


class NewKernel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = "main"
    env: dict[str, str] = {}


class Signal(BaseModel):
    model_config = ConfigDict(extra="forbid")
    signal: Literal["INT", "TERM", "KILL", "RESTART"]


def routes(resident: Resident) -> list[BaseRoute]:
    async def make(request: Request) -> Response:
        wanted = await parsed(request, NewKernel, empty=b"{}")
        kernel, fresh = resident.kernels.obtain(wanted.id, wanted.env)
        if fresh:
            resident.instance.touch()
            resident.kernels.soon(kernel.process())
        view = kernel.view() | ({"state": "starting"} if fresh else {})
        return JSONResponse(view, status_code=201 if fresh else 200)

    async def listing(request: Request) -> Response:
        return JSONResponse([kernel.view() for kernel in resident.kernels])

    async def show(request: Request) -> Response:
        return JSONResponse(resident.kernels.get(request.path_params["id"]).view())

    async def remove(request: Request) -> Response:
        await resident.kernels.remove(request.path_params["id"])
        return Response(status_code=204)

    async def signal(request: Request) -> Response:
        wanted = await parsed(request, Signal)
        kernel = resident.kernels.get(request.path_params["id"])
        if wanted.signal == "INT":
            kernel.interrupt()
        elif wanted.signal == "RESTART":
            resident.kernels.soon(kernel.restart())
        else:
            resident.kernels.soon(kernel.kill())
        return Response(status_code=202)

    async def journal(request: Request) -> Response:
        return stream(request, resident.kernels.get(request.path_params["id"]).journal)

    return [
        Route("/kernels", listing, methods=["GET"]),
        Route("/kernels", make, methods=["POST"]),
        Route("/kernels/{id}", show, methods=["GET"]),
        Route("/kernels/{id}", remove, methods=["DELETE"]),
        Route("/kernels/{id}/signal", signal, methods=["POST"]),
        Route("/kernels/{id}/journal", journal, methods=["GET"]),
    ]
