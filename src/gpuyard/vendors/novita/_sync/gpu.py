# Made from `_async/` by scripts/generate_sync.py: change it there.
"""`client.gpu`: the resources of the real API, and the eight operations of the simple one."""

from __future__ import annotations

from gpuyard.vendors.novita._sync.catalogue import Clusters, Metrics, Products
from gpuyard.vendors.novita._sync.endpoints import Endpoints
from gpuyard.vendors.novita._sync.images import ImagePrewarm, Jobs, Registries, Templates
from gpuyard.vendors.novita._sync.instances import Instances
from gpuyard.vendors.novita._sync.networks import Networks, Storages
from gpuyard.vendors.novita._sync.transport import Transport
from gpuyard.vendors.novita.core import SIMPLE, Call, fields, segment
from gpuyard.vendors.novita.wire import simple


class Gpu:
    def __init__(self, transport: Transport) -> None:
        self._send = transport.send
        self.clusters = Clusters(transport)
        self.endpoints = Endpoints(transport)
        self.image_prewarm = ImagePrewarm(transport)
        self.instances = Instances(transport)
        self.jobs = Jobs(transport)
        self.metrics = Metrics(transport)
        self.networks = Networks(transport)
        self.products = Products(transport)
        self.registries = Registries(transport)
        self.storages = Storages(transport)
        self.templates = Templates(transport)

    def create_instance(self, request: simple.CreateInstanceRequest) -> simple.CreateInstanceResponse:
        """Ask for a new instance; returns at once. It does not wait for it to run."""
        read = simple.CreateInstanceResponse.model_validate
        return self._send(Call("POST", f"{SIMPLE}/instances", read, body=request.to_wire()))

    def list_instances(self) -> simple.ListInstancesResponse:
        return self._send(Call("GET", f"{SIMPLE}/instances", simple.ListInstancesResponse.model_validate))

    def get_instance(self, instance_id: str) -> simple.Instance:
        return self._send(Call("GET", _path(instance_id), simple.Instance.model_validate))

    def update_instance(self, instance_id: str, request: simple.UpdateInstanceRequest) -> simple.Instance:
        """Change what the request gives; the rest stays as it is."""
        read = simple.Instance.model_validate
        return self._send(Call("PATCH", _path(instance_id), read, body=request.given(), sets=True))

    def start_instance(self, instance_id: str) -> simple.ActionResponse:
        return self._act("POST", instance_id, "/start")

    def stop_instance(self, instance_id: str) -> simple.ActionResponse:
        return self._act("POST", instance_id, "/stop")

    def delete_instance(self, instance_id: str) -> simple.ActionResponse:
        return self._act("DELETE", instance_id)

    def get_pricing(self) -> simple.PricingResponse:
        return self._send(Call("GET", f"{SIMPLE}/pricing", simple.PricingResponse.model_validate))

    def _act(self, method: str, instance_id: str, action: str = "") -> simple.ActionResponse:
        def read(answer: object) -> simple.ActionResponse:
            return simple.ActionResponse.model_validate({"instance_id": instance_id, **fields(answer)})

        return self._send(Call(method, _path(instance_id) + action, read))


def _path(instance_id: str) -> str:
    return f"{SIMPLE}/instances/{segment(instance_id)}"
