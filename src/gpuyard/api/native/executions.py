"""`/instances/{ref}/executions`: running code, following what it writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from gpuyard.api import streams
from gpuyard.api.asking import Asked, Cursor, PageSize
from gpuyard.api.native import orders, views
from gpuyard.api.native.orders import IdempotencyKey
from gpuyard.domain.errors import Invalid
from gpuyard.domain.executions import ExecutionState
from gpuyard.services import executions
from gpuyard.wire.base import Page
from gpuyard.wire.executions import CreateExecution, ExecutionView, SignalExecution

router = APIRouter(prefix="/instances/{ref}/executions", tags=["executions"])

NDJSON = "application/x-ndjson"
_OFFSET = Query(ge=0, le=2**62, description="Bytes of the journal already had: an event's `id`.")
_STREAMS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The journal's records, each with the offset after it as its id.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}, NDJSON: {"schema": {"type": "string"}}},
    }
}


@router.post("", status_code=201)
async def create(ask: Asked, ref: str, body: CreateExecution, idempotency_key: IdempotencyKey = None) -> ExecutionView:
    """Run code or a command. Returns at once; `output` follows it."""
    order = orders.execution(body, idempotency_key)
    return views.execution(await executions.create(ask.yard, ask.caller, ref, order))


@router.get("")
async def page(
    ask: Asked,
    ref: str,
    state: Annotated[list[ExecutionState] | None, Query()] = None,
    limit: PageSize = 100,
    cursor: Cursor = None,
) -> Page[ExecutionView]:
    """Newest first."""
    states = frozenset(state) if state else None
    found = await executions.page(ask.yard, ask.caller, ref, states=states, limit=limit, cursor=cursor)
    return Page[ExecutionView](items=[views.execution(it) for it in found.items], next_cursor=found.next_cursor)


@router.get("/{execution_id}")
async def get(ask: Asked, ref: str, execution_id: str) -> ExecutionView:
    """How it went, or is going."""
    return views.execution(await executions.get(ask.yard, ask.caller, ref, execution_id))


@router.get("/{execution_id}/output", responses=_STREAMS, response_class=Response)
async def output(
    ask: Asked,
    request: Request,
    ref: str,
    execution_id: str,
    after: Annotated[int, _OFFSET] = 0,
    follow: bool = False,
    last_event_id: Annotated[str | None, Header(description="Where a reader that was cut off goes on.")] = None,
) -> Response:
    """What it wrote, from offset `after`; with `follow` until it has ended. `Accept: application/x-ndjson` for it raw."""
    offset = resumed(last_event_id, after) or 0
    await executions.get(ask.yard, ask.caller, ref, execution_id)  # before the headers go out: it may not be there
    source = executions.output(ask.yard, ask.caller, ref, execution_id, after=offset, follow=follow)
    open_streams: streams.OpenStreams = request.app.state.streams
    if NDJSON in request.headers.get("accept", ""):
        headers = streams.raw({"content-type": NDJSON, "cache-control": "no-store"})
        return streams.Stream(_bare(source), headers=headers, until=open_streams)
    return streams.events_stream(_events(source), open_streams)


def resumed(last_event_id: str | None, after: int | None) -> int | None:
    """A browser's EventSource repeats the first address for ever; its Last-Event-ID is the newer word."""
    if last_event_id is None or not last_event_id.strip():
        return after
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        raise Invalid(
            f"Last-Event-ID is {last_event_id!r}: not an offset",
            field="Last-Event-ID",
            hint="send the `id` of an event",
        )
    return int(last_event_id)


async def _bare(source: AsyncIterator[tuple[int, bytes]]) -> AsyncIterator[bytes]:
    async for _, data in source:
        yield data


async def _events(source: AsyncIterator[tuple[int, bytes]]) -> AsyncIterator[bytes]:
    """One event per record, many in one chunk: a busy program writes thousands of lines a second."""
    async for end, data in source:
        offset = end - len(data)
        chunk = bytearray()
        for line in data.splitlines(keepends=True):
            offset += len(line)
            chunk += streams.event(line.rstrip(b"\n"), id=offset)
        yield bytes(chunk)


@router.post("/{execution_id}/signal", status_code=202)
async def signal(ask: Asked, ref: str, execution_id: str, body: SignalExecution) -> ExecutionView:
    """INT, TERM or KILL to its whole process tree. Of an ended one: no effect."""
    return views.execution(await executions.signal(ask.yard, ask.caller, ref, execution_id, body.signal))


@router.post(
    "/{execution_id}/stdin",
    status_code=204,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)
async def stdin(ask: Asked, request: Request, ref: str, execution_id: str, eof: bool = False) -> Response:
    """Raw bytes to its standard input; `eof=true` closes it."""
    body = _body(request)
    await executions.send_input(ask.yard, ask.caller, ref, execution_id, body, eof=eof)
    return Response(status_code=204)


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk
