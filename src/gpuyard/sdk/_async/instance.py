"""One instance: what it is, waiting for it, steering it. What can be done inside is in `workplace.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gpuyard import wire
from gpuyard.sdk import _io, orders, shipping
from gpuyard.sdk._async import values
from gpuyard.sdk._async.remote_function import AsyncHere, AsyncRemoteFunction
from gpuyard.sdk._async.workplace import AsyncWorkplace
from gpuyard.sdk.core import Call, json_call
from gpuyard.sdk.errors import ConnectionFailed, NotFound, TimedOut
from gpuyard.sdk.orders import Amount, Duration, given
from gpuyard.sdk.waiting import UNREACHABLE_SECONDS, OnProgress, Progress, arrived, gave_up, pauses

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from gpuyard.domain.instances import InstanceState
    from gpuyard.sdk._async.transport import AsyncTransport

P = ParamSpec("P")
R = TypeVar("R")


class AsyncInstance(AsyncWorkplace):
    """An instance as it was when last looked at, and what can be done with it. `refresh()` looks again.

    Every field of the API's instance is an attribute. As a context manager it is deleted at the end of the block.
    """

    if TYPE_CHECKING:
        id: str
        short_id: str
        name: str
        state: InstanceState
        state_reason: str
        entered_at: datetime
        gpus: list[wire.GpuView]
        vcpus: int
        ram_gb: int
        disk_gb: int
        image: str
        env: dict[str, str]
        ports: list[int]
        labels: dict[str, str]
        limits: wire.LimitsView
        placement: wire.PlacementView
        priority: int
        provider: str | None
        region: str | None
        simulated: bool
        price_per_hour_micro: int | None
        currency: str
        created_at: datetime
        running_at: datetime | None
        line_position: int | None
        url_path: str
        app_password: str | None

    def __init__(self, transport: AsyncTransport, view: wire.InstanceView) -> None:
        super().__init__(transport, view.id)
        self.view = view

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "view":
            raise AttributeError(name)
        return getattr(self.view, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.short_id} {self.state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _io.async_finish(self.delete)

    # Its life

    async def refresh(self) -> Self:
        """Look again. Raises NotFound when it is not there any more."""
        self.view = await self._transport.send(Call("GET", self._path, wire.InstanceView.model_validate_json))
        return self

    async def stop(self) -> Self:
        """Give the GPUs back and keep the disk; returns at once, in state `stopping`."""
        return await self._told("POST", "/stop", {})

    async def start(self, *, wait: bool = False) -> Self:
        """Start a stopped one again; `wait` joins the line when there is no capacity now."""
        return await self._told("POST", "/start", {"wait": wait})

    async def delete(self) -> None:
        """Delete it with its disk; returns at once. Of one that is gone: no effect."""
        try:
            self.view = await self._transport.send(Call("DELETE", self._path, wire.InstanceView.model_validate_json))
        except NotFound:
            return

    async def rename(self, name: str) -> Self:
        return await self.change(name=name)

    async def change(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        max_cost: Amount | None = None,
        max_cost_micro: int | None = None,
        max_duration: Duration | None = None,
        max_idle: Duration | None = None,
        max_start: Duration | None = None,
        lift: Sequence[str] = (),
        priority: int | None = None,
    ) -> Self:
        """Change what is given and nothing else. `lift=["max_cost"]` takes a limit away."""
        limits = orders.limits(max_cost, max_cost_micro, max_duration, max_idle, max_start)
        limits.update(orders.lifted(lift))
        body = given(
            name=name, labels=None if labels is None else dict(labels), limits=limits or None, priority=priority
        )
        return await self._told("PATCH", "", body)

    async def _told(self, method: str, action: str, body: Mapping[str, Any]) -> Self:
        call = json_call(method, self._path + action, wire.InstanceView.model_validate_json, body)
        self.view = await self._transport.send(call)
        return self

    async def wait_until_running(
        self, timeout: Duration | None = None, *, on_progress: OnProgress | None = None
    ) -> Self:
        """Wait until code can run in it. Raises InstanceFailed when it never will, TimedOut after `timeout`."""
        return await self.wait_until("running", timeout=timeout, on_progress=on_progress)

    async def wait_until(
        self, *states: str, timeout: Duration | None = None, on_progress: OnProgress | None = None
    ) -> Self:
        """Wait until it is in one of the states; a look that finds nothing to have changed is told as well."""
        started, heard = time.monotonic(), time.monotonic()
        limit = orders.seconds(timeout)
        for pause in pauses():
            try:
                await self.refresh()
                heard = time.monotonic()
            except NotFound:
                if "deleted" in states:
                    return self
                raise
            except (ConnectionFailed, TimedOut):
                if time.monotonic() - heard > UNREACHABLE_SECONDS:
                    raise
            elapsed = time.monotonic() - started
            if on_progress is not None:
                view = self.view
                on_progress(Progress(view.state, view.state_reason, view.line_position, timedelta(seconds=elapsed)))
            if arrived(self.view, states):
                return self
            if limit is not None and elapsed >= limit:
                raise gave_up(self.view, states, limit)
            await _io.async_sleep(pause if limit is None else min(pause, limit - elapsed))
        return self

    async def why(self) -> wire.WhyView:
        """Why it is in its state, in words, with every try to place it."""
        return await self._transport.send(Call("GET", f"{self._path}/why", wire.WhyView.model_validate_json))

    async def usage(self) -> wire.InstanceUsage:
        """What it cost so far, and where the time went."""
        return await self._transport.send(Call("GET", f"{self._path}/usage", wire.InstanceUsage.model_validate_json))

    async def samples(self) -> wire.SamplesView:
        """What its GPUs, processors, memory and disk are doing."""
        return await self._transport.send(Call("GET", f"{self._path}/samples", wire.SamplesView.model_validate_json))

    async def open(self) -> str:
        """An address that opens the instance's applications once, in a browser that has no key."""
        view = await self._transport.send(
            json_call("POST", f"{self._path}/open", wire.OpenView.model_validate_json, {})
        )
        return self._transport.url + view.url

    # Values and functions that travel

    async def set(self, name: str, value: object, *, kernel: str = "main") -> None:
        """Give a variable of the kernel a value; it travels as a pickle. Raises RemoteError when it cannot be unpickled
        there."""
        await values.exchange(self, shipping.setting(name, value), f"{name} =", kernel=kernel)

    async def get(self, name: str, *, kernel: str = "main") -> Any:
        """The value of a variable of the kernel; it travels as a pickle. Raises NotFound, RemoteError.

        Unpickling runs what the instance sends: ask it of instances of your own account alone.
        """
        return await values.exchange(self, shipping.getting(name), f"the value of {name}", kernel=kernel)

    def remote(self, function: Callable[P, R], /) -> AsyncRemoteFunction[P, R]:
        """The function, to be called as before, running here. As a decorator: `@instance.remote`."""
        return AsyncRemoteFunction(function, AsyncHere(self))
