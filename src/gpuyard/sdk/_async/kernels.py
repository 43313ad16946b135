"""Kernels of an instance: Pythons that keep their state between executions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpuyard import wire
from gpuyard.sdk.core import Call, json_call, list_of, nothing, segment
from gpuyard.sdk.orders import given

if TYPE_CHECKING:
    from gpuyard.sdk._async.transport import AsyncTransport


class AsyncKernels:
    """`main` is there as soon as code runs in it; others are for work beside each other."""

    def __init__(self, transport: AsyncTransport, instance_path: str) -> None:
        self._transport = transport
        self._path = f"{instance_path}/kernels"

    async def create(self, kernel: str = "main", *, env: Mapping[str, str] | None = None) -> wire.KernelView:
        """Start one. Of one that is there: no effect."""
        body = given(id=kernel, env=None if env is None else dict(env))
        return await self._transport.send(json_call("POST", self._path, wire.KernelView.model_validate_json, body))

    async def list(self) -> list[wire.KernelView]:
        return await self._transport.send(Call("GET", self._path, list_of(wire.KernelView)))

    async def get(self, kernel: str = "main") -> wire.KernelView:
        path = f"{self._path}/{segment(kernel)}"
        return await self._transport.send(Call("GET", path, wire.KernelView.model_validate_json))

    async def interrupt(self, kernel: str = "main") -> None:
        """As Ctrl-C does: what runs in it raises KeyboardInterrupt."""
        await self.signal(kernel, "INT")

    async def restart(self, kernel: str = "main") -> None:
        """Begin anew with an empty namespace."""
        await self.signal(kernel, "RESTART")

    async def signal(self, kernel: str, signal: str) -> None:
        """`INT`, `TERM`, `KILL` or `RESTART`."""
        path = f"{self._path}/{segment(kernel)}/signal"
        await self._transport.send(json_call("POST", path, nothing, {"signal": signal}))

    async def delete(self, kernel: str) -> None:
        await self._transport.send(Call("DELETE", f"{self._path}/{segment(kernel)}", nothing))
