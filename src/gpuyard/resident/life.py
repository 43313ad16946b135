"""A resident's life over HTTP: is it there, whose is it, and end it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuyard._version import __version__
from gpuyard.resident.body import parsed
from gpuyard.resident.core import Resident
from gpuyard.resident.errors import wrong_state
from gpuyard.resident.wire import PROTOCOL, Assignment


class Shutdown(BaseModel):
    model_config = ConfigDict(extra="forbid")
    grace_seconds: float = Field(default=5.0, ge=0, le=600)


def routes(resident: Resident) -> list[BaseRoute]:
    async def healthz(request: Request) -> Response:
        assigned = resident.instance.assignment is not None
        return JSONResponse({"ok": True, "protocol": PROTOCOL, "version": __version__, "assigned": assigned})

    async def assign(request: Request) -> Response:
        assignment = await parsed(request, Assignment)
        already = (
            resident.instance.assignment is not None
            and resident.instance.assignment.instance_id == assignment.instance_id
        )
        if not resident.config.warm and not already:
            raise wrong_state("this resident was started for its instance; only a warm one can be assigned")
        resident.instance.assign(assignment)
        return Response(status_code=204)

    async def shutdown(request: Request) -> Response:
        wanted = await parsed(request, Shutdown, empty=b"{}")
        resident.leave(wanted.grace_seconds)
        return Response(status_code=202)

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/assign", assign, methods=["POST"]),
        Route("/shutdown", shutdown, methods=["POST"]),
    ]
