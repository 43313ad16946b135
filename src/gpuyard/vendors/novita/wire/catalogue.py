"""What can be rented: clusters, GPU products, CPU products, and their prices (Novita API, clusters and products)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from pydantic import Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer, model_validator

from gpuyard.vendors.novita.wire.base import IntAsText, Listing, Many, Maybe, Open, Shape, key

PRICE_UNITS_PER_USD: Final = 100_000
"""Prices of products are integers in 1/100000 USD: 35000 is 0.35 USD per hour."""


class BillingMode(StrEnum):
    on_demand = "onDemand"
    monthly = "monthly"
    spot = "spot"


class InventoryState(StrEnum):
    none = "none"
    low = "low"
    normal = "normal"
    high = "high"


class Cluster(Shape):
    id: str
    name: str
    available_gpu_type: Many[str] = []
    support_network_storage: bool = False
    support_instance_network: bool = False
    region: str | None = None


def usd(raw: int | None) -> float | None:
    return None if raw is None else raw / PRICE_UNITS_PER_USD


class Priced(Shape):
    """Holds prices twice: as they came (`price_raw`) and in USD (`price`).

    Dumped by JSON key, `price` is the raw value, so that what is dumped can be read again; dumped by attribute, both are
    there, and `price` is the one in USD.
    """

    @model_validator(mode="before")
    @classmethod
    def _raw_wins(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            both = [name for name in ("price", "spot_price") if f"{name}_raw" in given]
            return {name: value for name, value in given.items() if name not in both}
        return given

    @model_serializer(mode="wrap")
    def _with_usd(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return dumped if info.by_alias else dumped | self._dollars()

    def _dollars(self) -> dict[str, float | None]:
        raise NotImplementedError


class SubscriptionPrice(Priced):
    """What a subscription of `month` months costs."""

    price_raw: int = Field(alias="price")
    month: int

    @property
    def price(self) -> float:
        """USD for the term."""
        return self.price_raw / PRICE_UNITS_PER_USD

    def _dollars(self) -> dict[str, float | None]:
        return {"price": self.price}


class GPUProduct(Priced):
    id: str
    name: str
    cpu_per_gpu: int
    memory_per_gpu: int
    disk_per_gpu: int
    available_deploy: bool
    min_root_fs: int = Field(alias="minRootFS")
    max_root_fs: int = Field(alias="maxRootFS")
    min_local_storage: int
    max_local_storage: int
    regions: Many[str] = []
    """Names of clusters, not ids; empty means all of them."""
    price_raw: int = Field(alias="price")
    """On demand, 1/100000 USD per hour."""
    monthly_price: Many[SubscriptionPrice] = []
    billing_methods: Many[Open[BillingMode]] = []
    spot_price_raw: IntAsText = key("spotPrice")
    inventory_state: Maybe[Open[InventoryState]] = None

    @property
    def price(self) -> float:
        """USD per hour, on demand."""
        return self.price_raw / PRICE_UNITS_PER_USD

    @property
    def spot_price(self) -> float | None:
        """USD per hour, spot; None where there is no spot price."""
        return usd(self.spot_price_raw)

    def _dollars(self) -> dict[str, float | None]:
        return {"price": self.price, "spot_price": self.spot_price}


class CPUProduct(Priced):
    id: str
    name: str
    cpu_num: Maybe[int] = None
    memory_size: Maybe[int] = None
    rootfs_size: Maybe[int] = None
    local_volume_size: Maybe[int] = None
    available_deploy: bool | None = None
    price_raw: Maybe[int] = key("price")

    @property
    def price(self) -> float | None:
        """USD per hour."""
        return usd(self.price_raw)

    def _dollars(self) -> dict[str, float | None]:
        return {"price": self.price}


class ListClustersResponse(Listing):
    data: Many[Cluster] = []


class ListGPUProductsResponse(Listing):
    data: Many[GPUProduct] = []


class ListCPUProductsResponse(Listing):
    data: Many[CPUProduct] = []
