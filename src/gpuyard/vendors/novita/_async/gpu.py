"""`client.gpu`: the resources of the real API, and the eight operations of the simple one."""

from __future__ import annotations

from gpuyard.vendors.novita._async.catalogue import AsyncClusters, AsyncMetrics, AsyncProducts
from gpuyard.vendors.novita._async.endpoints import AsyncEndpoints
from gpuyard.vendors.novita._async.images import AsyncImagePrewarm, AsyncJobs, AsyncRegistries, AsyncTemplates
from gpuyard.vendors.novita._async.instances import AsyncInstances
from gpuyard.vendors.novita._async.networks import AsyncNetworks, AsyncStorages
from gpuyard.vendors.novita._async.transport import AsyncTransport
from gpuyard.vendors.novita.core import SIMPLE, Call, fields, segment
from gpuyard.vendors.novita.wire import simple


class AsyncGpu:
    def __init__(self, transport: AsyncTransport) -> None:
        self._send = transport.send
        self.clusters = AsyncClusters(transport)
        self.endpoints = AsyncEndpoints(transport)
        self.image_prewarm = AsyncImagePrewarm(transport)
        self.instances = AsyncInstances(transport)
        self.jobs = AsyncJobs(transport)
        self.metrics = AsyncMetrics(transport)
        self.networks = AsyncNetworks(transport)
        self.products = AsyncProducts(transport)
        self.registries = AsyncRegistries(transport)
        self.storages = AsyncStorages(transport)
        self.templates = AsyncTemplates(transport)

    async def create_instance(self, request: simple.CreateInstanceRequest) -> simple.CreateInstanceResponse:
        """Ask for a new instance; returns at once. It does not wait for it to run."""
        read = simple.CreateInstanceResponse.model_validate
        return await self._send(Call("POST", f"{SIMPLE}/instances", read, body=request.to_wire()))

    async def list_instances(self) -> simple.ListInstancesResponse:
        return await self._send(Call("GET", f"{SIMPLE}/instances", simple.ListInstancesResponse.model_validate))

    async def get_instance(self, instance_id: str) -> simple.Instance:
        return await self._send(Call("GET", _path(instance_id), simple.Instance.model_validate))

    async def update_instance(self, instance_id: str, request: simple.UpdateInstanceRequest) -> simple.Instance:
        """Change what the request gives; the rest stays as it is."""
        read = simple.Instance.model_validate
        return await self._send(Call("PATCH", _path(instance_id), read, body=request.given(), sets=True))

    async def start_instance(self, instance_id: str) -> simple.ActionResponse:
        return await self._act("POST", instance_id, "/start")

    async def stop_instance(self, instance_id: str) -> simple.ActionResponse:
        return await self._act("POST", instance_id, "/stop")

    async def delete_instance(self, instance_id: str) -> simple.ActionResponse:
        return await self._act("DELETE", instance_id)

    async def get_pricing(self) -> simple.PricingResponse:
        return await self._send(Call("GET", f"{SIMPLE}/pricing", simple.PricingResponse.model_validate))

    async def _act(self, method: str, instance_id: str, action: str = "") -> simple.ActionResponse:
        def read(answer: object) -> simple.ActionResponse:
            return simple.ActionResponse.model_validate({"instance_id": instance_id, **fields(answer)})

        return await self._send(Call(method, _path(instance_id) + action, read))


def _path(instance_id: str) -> str:
    return f"{SIMPLE}/instances/{segment(instance_id)}"
