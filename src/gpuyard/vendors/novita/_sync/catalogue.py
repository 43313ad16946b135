# Made from `_async/` by scripts/generate_sync.py: change it there.
"""What can be rented, and how busy what was rented is: clusters, products, metrics."""

from __future__ import annotations

from typing import Any

from gpuyard.vendors.novita._sync.transport import Transport
from gpuyard.vendors.novita.core import Call, an_object, get
from gpuyard.vendors.novita.wire.catalogue import (
    Cluster,
    CPUProduct,
    GPUProduct,
    ListClustersResponse,
    ListCPUProductsResponse,
    ListGPUProductsResponse,
)


class Clusters:
    def __init__(self, transport: Transport) -> None:
        self._send = transport.send

    def list(self) -> list[Cluster]:
        return self._send(get("/clusters", lambda said: ListClustersResponse.around(said, "data").data))


class Products:
    def __init__(self, transport: Transport) -> None:
        self._send = transport.send

    def list_cpu(self, *, cluster_id: str | None = None, product_name: str | None = None) -> list[CPUProduct]:
        return self._send(
            get(
                "/cpu/products",
                lambda said: ListCPUProductsResponse.around(said, "data").data,
                clusterId=cluster_id,
                productName=product_name,
            )
        )

    def list(
        self,
        *,
        cluster_id: str | None = None,
        gpu_num: int | None = None,
        product_name: str | None = None,
        billing_method: str | None = None,
        min_cpu_per_gpu: int | None = None,
        min_memory_per_gpu: int | None = None,
        min_rootfs_size: int | None = None,
    ) -> list[GPUProduct]:
        """GPU products. `product_name` is fuzzy; without `billing_method` the cloud may mean on demand only."""
        return self._send(
            get(
                "/products",
                lambda said: ListGPUProductsResponse.around(said, "data").data,
                clusterId=cluster_id,
                gpuNum=gpu_num,
                productName=product_name,
                billingMethod=billing_method,
                minCpuPerGpu=min_cpu_per_gpu,
                minMemoryPerGpu=min_memory_per_gpu,
                minRootFSSize=min_rootfs_size,
            )
        )


class Metrics:
    def __init__(self, transport: Transport) -> None:
        self._send = transport.send

    def get(
        self,
        instance_id: str,
        *,
        start_time: int | None = None,
        end_time: int | None = None,
        interval: int | None = None,
    ) -> dict[str, Any]:
        """Percentages over time, as the API answers them. Times are Unix seconds; the interval is in seconds, 15 at least.

        The documented path is not under the one of all other operations.
        """
        query = {"instanceId": instance_id, "startTime": start_time, "endTime": end_time, "interval": interval}
        return self._send(Call("GET", "/openapi/v1/metrics/gpu/instance", an_object, query=query))
