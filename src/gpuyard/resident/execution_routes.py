"""Executions over HTTP: start once, look, follow, signal, feed, forget."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from gpuyard.resident.body import bounded, flag, offset, parsed
from gpuyard.resident.core import Resident
from gpuyard.resident.errors import wrong_field, wrong_state
from gpuyard.resident.journal import Journal
from gpuyard.resident.wire import ExecutionRequest


class Signal(BaseModel):
    model_config = ConfigDict(extra="forbid")
    signal: Literal["INT", "TERM", "KILL"]


def routes(resident: Resident) -> list[BaseRoute]:
    async def start(request: Request) -> Response:
        wanted = await parsed(request, ExecutionRequest)
        execution, fresh = resident.executions.start(request.path_params["id"], wanted)
        return JSONResponse(execution.view().model_dump(), status_code=201 if fresh else 200)

    async def show(request: Request) -> Response:
        return JSONResponse(resident.executions.get(request.path_params["id"]).view().model_dump())

    async def listing(request: Request) -> Response:
        return JSONResponse([execution.view().model_dump() for execution in resident.executions.listed()])

    async def journal(request: Request) -> Response:
        return stream(request, resident.executions.get(request.path_params["id"]).journal)

    async def signal(request: Request) -> Response:
        wanted = await parsed(request, Signal)
        run = resident.executions.get(request.path_params["id"]).run
        if run is None:
            return Response(status_code=204)
        await run.signal(wanted.signal)
        return Response(status_code=202)

    async def stdin(request: Request) -> Response:
        execution = resident.executions.get(request.path_params["id"])
        data = await bounded(request)
        resident.instance.touch()
        if execution.run is None or not await execution.run.feed(data, eof=flag(request, "eof")):
            raise wrong_state(f"the standard input of execution {execution.id} is closed")
        return Response(status_code=204)

    async def forget(request: Request) -> Response:
        resident.executions.forget(request.path_params["id"])
        return Response(status_code=204)

    return [
        Route("/executions", listing, methods=["GET"]),
        Route("/executions/{id}", start, methods=["PUT"]),
        Route("/executions/{id}", show, methods=["GET"]),
        Route("/executions/{id}", forget, methods=["DELETE"]),
        Route("/executions/{id}/journal", journal, methods=["GET"]),
        Route("/executions/{id}/signal", signal, methods=["POST"]),
        Route("/executions/{id}/stdin", stdin, methods=["POST"]),
    ]


def stream(request: Request, journal: Journal) -> Response:
    """The raw journal from `after`, on to its end when `follow` is set."""
    after = offset(request, "after")
    if after > journal.size:
        raise wrong_field("after", f"after: {after} is beyond the {journal.size} bytes of this journal")
    body = journal.read(after, follow=flag(request, "follow"))
    return StreamingResponse(body, media_type="application/x-ndjson")
