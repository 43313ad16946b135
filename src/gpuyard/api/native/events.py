"""`/events`: what happens in an account, as pages or as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from gpuyard.api import streams
from gpuyard.api.asking import Asked, PageSize
from gpuyard.api.native import views
from gpuyard.api.native.executions import resumed
from gpuyard.api.native.instances import event_page
from gpuyard.domain.accounts import Scope
from gpuyard.domain.events import Event
from gpuyard.services import events, instances
from gpuyard.wire.base import Page
from gpuyard.wire.yard import EventView

router = APIRouter(prefix="/events", tags=["events"])


@router.get(
    "",
    response_model=Page[EventView],
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def happened(
    ask: Asked,
    request: Request,
    after: Annotated[int | None, Query(ge=0, le=2**62, description="The `seq` of the last event you have.")] = None,
    instance: Annotated[str | None, Query(description="Only what happened to this one.")] = None,
    limit: PageSize = 100,
    last_event_id: Annotated[str | None, Header(description="Where a reader that was cut off goes on.")] = None,
) -> Response | Page[EventView]:
    """A page, oldest first; or, for `Accept: text/event-stream`, each as it happens, from `after` or from now on."""
    if "text/event-stream" not in request.headers.get("accept", ""):
        return await event_page(ask, after or 0, limit, instance)
    ask.caller.must(Scope.READ)
    if instance is not None:
        await instances.get(ask.yard, ask.caller, instance)  # before the headers go out: it may not be there
    since = resumed(last_event_id, after)
    source = events.follow(ask.yard, ask.caller, after=since, instance=instance)
    return streams.events_stream(_events(source), request.app.state.streams)


async def _events(source: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for it in source:
        yield streams.event(views.event(it).model_dump_json().encode(), id=it.seq)
