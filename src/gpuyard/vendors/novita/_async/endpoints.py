"""`client.gpu.endpoints`: serverless endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from gpuyard.vendors.novita._async.pages import Page, walk
from gpuyard.vendors.novita._async.transport import AsyncTransport
from gpuyard.vendors.novita.core import Call, an_object, fields, get, nothing, post
from gpuyard.vendors.novita.wire.endpoints import (
    CreateEndpointRequest,
    DrainWorkerRequest,
    EndpointDetail,
    ListEndpointsResponse,
    UpdateEndpointRequest,
)


class AsyncEndpoints:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def get_limit_ranges(self) -> dict[str, Any]:
        """What sizes and counts an endpoint may have, as the API answers them: GB, seconds, counts."""
        return await self._send(get("/endpoint/limit", an_object))

    async def get(self, endpoint_id: str) -> EndpointDetail:
        return await self._send(
            get("/endpoint", lambda said: EndpointDetail.from_answer(an_object(said)), id=endpoint_id)
        )

    async def create(self, request: CreateEndpointRequest) -> EndpointDetail:
        """The cloud answers with the id alone: the rest is then None, and `get` tells it."""
        return await self._send(
            post("/endpoint/create", lambda said: EndpointDetail.from_answer(an_object(said)), request.to_wire())
        )

    async def update(self, endpoint_id: str, request: UpdateEndpointRequest) -> EndpointDetail:
        def read(said: Any) -> EndpointDetail:
            changed = EndpointDetail.from_answer(fields(said))
            return changed if changed.id else changed.model_copy(update={"id": endpoint_id})

        return await self._send(post("/endpoint/update", read, {"id": endpoint_id, **request.to_wire()}, sets=True))

    async def delete(self, endpoint_id: str) -> None:
        """The reference wants the id under `name`; a working client of the cloud sends it under `id`. Either alone may be
        ignored, and an endpoint that stays costs money: both are sent."""
        await self._send(post("/endpoint/delete", nothing, {"name": endpoint_id, "id": endpoint_id}))

    async def drain_worker(self, worker_id: str, drain: bool = True) -> None:
        """Give a worker no more requests, or with False give it some again."""
        request = DrainWorkerRequest(worker_id=worker_id, drain=drain)
        await self._send(post("/endpoint/worker/drain", nothing, request.to_wire(), sets=True))

    def iterate(self, *, page_size: int = 50) -> AsyncIterator[EndpointDetail]:
        """Every endpoint, page by page."""

        def page(number: int) -> Call[Page[EndpointDetail]]:
            return _page(pageSize=page_size, pageNum=number)

        return walk(self._transport, page, lambda endpoint: endpoint.id)

    async def list(self, *, page_size: int | None = None, page_num: int | None = None) -> list[EndpointDetail]:
        """One page, or what the server takes for all; the cloud's page has 10 when no size is asked for."""
        return (await self._send(_page(pageSize=page_size, pageNum=page_num)))[0]


def _page(**query: Any) -> Call[Page[EndpointDetail]]:
    def read(said: Any) -> Page[EndpointDetail]:
        listed = ListEndpointsResponse.around(said, "endpoints")
        return listed.endpoints, listed.total

    return get("/endpoints", read, **query)
