"""`/instances`: ordering machines, looking at them, ending them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gpuyard.api.asking import Ask, Asked, Cursor, PageSize
from gpuyard.api.native import orders, views
from gpuyard.api.native.orders import IdempotencyKey
from gpuyard.domain.errors import Invalid
from gpuyard.domain.gpus import CPU
from gpuyard.domain.instances import InstanceState
from gpuyard.ports.store import InstanceFilter
from gpuyard.services import events, instances, visits, why
from gpuyard.wire.base import Page
from gpuyard.wire.instances import (
    ChangeInstance,
    CreateInstance,
    InstanceUsage,
    InstanceView,
    OpenView,
    StartInstance,
    WhyView,
)
from gpuyard.wire.yard import EventView

router = APIRouter(prefix="/instances", tags=["instances"])

ALL = "all"
"""The filter value for every state, deleted ones included."""


@router.post("", status_code=201, responses={200: {"model": InstanceView, "description": "Made before."}})
async def create(
    ask: Asked, body: CreateInstance, response: Response, idempotency_key: IdempotencyKey = None
) -> InstanceView:
    """Order an instance. Returns at once; it becomes `running` by itself, or waits in line where `wait` is set."""
    made, fresh = await instances.create(ask.yard, ask.caller, orders.instance(body, idempotency_key))
    if not fresh:
        response.status_code = 200
    return views.instance(ask, made)


@router.get("")
async def page(
    ask: Asked,
    state: Annotated[list[str] | None, Query(description=f"One or more states, or `{ALL}`.")] = None,
    label: Annotated[list[str] | None, Query(description="`name=value`; all given ones must match.")] = None,
    name: str | None = None,
    gpu: str | None = None,
    provider: str | None = None,
    limit: PageSize = 100,
    cursor: Cursor = None,
) -> Page[InstanceView]:
    """Newest first. Without `state`: all that are not deleted."""
    wanted = InstanceFilter(
        states=_states(state),
        labels=orders.labels_of(label or ()),
        name=name,
        gpu_type=gpu if gpu in (None, CPU) else ask.yard.catalogue.resolve(gpu or "", field="gpu").slug,
        provider=provider,
    )
    found = await instances.page(ask.yard, ask.caller, wanted, limit=limit, cursor=cursor)
    return Page[InstanceView](items=[views.instance(ask, it) for it in found.items], next_cursor=found.next_cursor)


def _states(names: list[str] | None) -> frozenset[InstanceState] | None:
    wanted = [part for name in names or () for part in name.split(",") if part]
    if not wanted:
        return None
    if ALL in wanted:
        return frozenset(InstanceState)
    try:
        return frozenset(InstanceState(name) for name in wanted)
    except ValueError:
        unknown = next(name for name in wanted if name not in set(InstanceState))
        raise Invalid(
            f"state is {unknown!r}: there is no such state",
            field="state",
            hint=f"one of {', '.join(InstanceState)}, {ALL}",
        ) from None


@router.get("/{ref}")
async def get(ask: Asked, ref: str) -> InstanceView:
    """`ref` is an id, a short id or a name, here and everywhere."""
    return views.instance(ask, await instances.get(ask.yard, ask.caller, ref))


@router.patch("/{ref}")
async def change(ask: Asked, ref: str, body: ChangeInstance) -> InstanceView:
    """Rename, relabel, change limits or priority. Only what is sent changes."""
    limits = {} if body.limits is None else orders.changed_limits(body.limits)
    wanted = instances.Change(name=body.name, labels=body.labels, limits=limits, priority=body.priority)
    return views.instance(ask, await instances.change(ask.yard, ask.caller, ref, wanted))


@router.post("/{ref}/stop")
async def stop(ask: Asked, ref: str) -> InstanceView:
    """Give the GPUs back and keep the disk."""
    return views.instance(ask, await instances.stop(ask.yard, ask.caller, ref))


@router.post("/{ref}/start")
async def start(ask: Asked, ref: str, body: StartInstance | None = None) -> InstanceView:
    """Start a stopped instance where its disk is."""
    wait = body.wait if body is not None else False
    return views.instance(ask, await instances.start(ask.yard, ask.caller, ref, wait=wait))


@router.delete("/{ref}")
async def delete(ask: Asked, ref: str) -> InstanceView:
    """End it and erase its disk."""
    return views.instance(ask, await instances.delete(ask.yard, ask.caller, ref))


@router.get("/{ref}/why", name="why")
async def tell_why(ask: Asked, ref: str) -> WhyView:
    """Why it is in its state, and every try to place it."""
    return views.why(await why.why(ask.yard, ask.caller, ref))


@router.get("/{ref}/usage")
async def usage(ask: Asked, ref: str) -> InstanceUsage:
    """What it used and cost, and where the time went."""
    return views.instance_usage(ask, await why.usage(ask.yard, ask.caller, ref))


@router.get("/{ref}/events")
async def happened(
    ask: Asked, ref: str, after: Annotated[int, Query(ge=0, le=2**62)] = 0, limit: PageSize = 100
) -> Page[EventView]:
    """What happened to it, oldest first."""
    return await event_page(ask, after, limit, ref)


@router.post("/{ref}/open")
async def open_applications(ask: Asked, ref: str) -> OpenView:
    """A link that opens the instance's applications once, in a browser that has no key."""
    visit = await visits.ticket(ask.yard, ask.caller, ref)
    return OpenView(url=f"/i/{visit.short_id}/?ticket={visit.token}", expires_at=visit.until)


async def event_page(ask: Ask, after: int, limit: int, ref: str | None) -> Page[EventView]:
    found = await events.page(ask.yard, ask.caller, after=after, limit=limit, instance=ref)
    full = len(found) == limit
    return Page[EventView](
        items=[views.event(it) for it in found], next_cursor=str(found[-1].seq) if full and found else None
    )
