"""The account's instances: create them, find them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gpuyard import wire
from gpuyard.sdk import _io, orders
from gpuyard.sdk._async.instance import AsyncInstance
from gpuyard.sdk._async.pages import pages
from gpuyard.sdk.core import API, Call, json_call, new_idempotency_key, segment
from gpuyard.sdk.errors import ConnectionFailed, TimedOut, YardError
from gpuyard.sdk.orders import Amount, Duration, Gpus, given
from gpuyard.sdk.waiting import OnProgress

if TYPE_CHECKING:
    from gpuyard.sdk._async.transport import AsyncTransport

_PATH = f"{API}/instances"


class AsyncInstances:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        gpu: str | None = None,
        count: int = 1,
        *,
        gpus: Gpus | None = None,
        name: str | None = None,
        vcpus: int | None = None,
        ram_gb: int | None = None,
        disk_gb: int | None = None,
        image: str | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        ports: Iterable[int] | None = None,
        max_cost: Amount | None = None,
        max_cost_micro: int | None = None,
        max_duration: Duration | None = None,
        max_idle: Duration | None = None,
        max_start: Duration | None = None,
        max_price_per_hour: Amount | None = None,
        providers: Iterable[str] | None = None,
        regions: Iterable[str] | None = None,
        priority: int | None = None,
        wait: bool = False,
        allow_partial: bool = False,
        idempotency_key: str | None = None,
    ) -> AsyncInstance:
        """Order an instance; returns at once, usually before it runs. None of the arguments is needed: without a GPU
        it is an instance without GPUs.

        `wait` joins the line when there is no capacity now; `allow_partial` takes what there is. Asked again by itself
        when the answer gets lost: the idempotency key, made up unless given, keeps it one instance.
        Raises NoCapacity, UnknownGpu, NameTaken, InsufficientBalance, Invalid.
        """
        body = given(
            gpus=orders.gpu_counts(gpu, count, gpus),
            name=name,
            vcpus=vcpus,
            ram_gb=ram_gb,
            disk_gb=disk_gb,
            image=image,
            env=None if env is None else dict(env),
            labels=None if labels is None else dict(labels),
            ports=None if ports is None else list(ports),
            limits=orders.limits(max_cost, max_cost_micro, max_duration, max_idle, max_start) or None,
            placement=given(
                providers=None if providers is None else list(providers),
                regions=None if regions is None else list(regions),
                max_price_per_hour_micro=orders.micro(max_price_per_hour, "max_price_per_hour"),
            )
            or None,
            priority=priority,
            wait=wait or None,
            allow_partial=allow_partial or None,
        )
        key = idempotency_key or new_idempotency_key()
        call = json_call("POST", _PATH, wire.InstanceView.model_validate_json, body, idempotency_key=key)
        return AsyncInstance(self._transport, await self._transport.send(call))

    async def get(self, ref: str) -> AsyncInstance:
        """By id, short id or name. Raises NotFound."""
        call = Call("GET", f"{_PATH}/{segment(ref)}", wire.InstanceView.model_validate_json)
        return AsyncInstance(self._transport, await self._transport.send(call))

    async def list(
        self,
        *,
        state: str | Iterable[str] | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        gpu: str | None = None,
        provider: str | None = None,
        page_size: int | None = None,
    ) -> AsyncGenerator[AsyncInstance, None]:
        """Newest first, page after page as they are needed: all that are not deleted, or those in the states asked for
        (`"all"` for every state)."""
        query: dict[str, Any] = {
            "state": [state] if isinstance(state, str) else None if state is None else list(state),
            "label": [f"{key}={value}" for key, value in labels.items()] if labels else None,
            "name": name,
            "gpu": gpu,
            "provider": provider,
            "limit": page_size,
        }
        async for view in pages(self._transport, _PATH, query, wire.InstanceView):
            yield AsyncInstance(self._transport, view)

    @asynccontextmanager
    async def lend(
        self,
        *,
        start_timeout: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
        **order: Any,
    ) -> AsyncIterator[AsyncInstance]:
        """An instance for the length of a block: created, waited for, deleted at the end, whatever the end was."""
        key = idempotency_key or new_idempotency_key()
        try:
            instance = await self.create(**order, idempotency_key=key)
        except BaseException as cause:
            if isinstance(cause, YardError) and not isinstance(cause, (ConnectionFailed, TimedOut)):
                raise  # the yard answered: there is no instance
            await _io.async_finish(lambda: self._give_back(order, key))
            raise
        try:
            await instance.wait_until_running(start_timeout, on_progress=on_progress)
            yield instance
        finally:
            await _io.async_finish(instance.delete)

    async def _give_back(self, order: Mapping[str, Any], key: str) -> None:
        """The answer to our order is not known: the key tells which instance it was, if it became one."""
        try:
            instance = await self.create(**order, idempotency_key=key)
            await instance.delete()
        except YardError:
            return
