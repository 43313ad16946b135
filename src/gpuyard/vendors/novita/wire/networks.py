"""VPC networks and network storages (Novita API, networks and network storages)."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AliasChoices, Field

from gpuyard.vendors.novita.wire.base import Listing, Many, Maybe, One, Open, Shape, key, required_key


class NetworkStatus(StrEnum):
    creating = "creating"
    ready = "ready"


class NetworkState(Shape):
    state: Open[NetworkStatus]
    error: str | None = None


class Address(Shape):
    """An instance in the network and its address. Capital letters are the API's."""

    id: str = required_key("Id", "id")
    ip: str = required_key("Ip", "ip")


class NetworkModel(Shape):
    id: str = required_key("Id", "id")
    user: str = ""
    name: str = ""
    state: One[NetworkState] = None
    segment: str = ""
    """CIDR."""
    cluster_id: str = ""
    addresses: Many[Address] = Field(
        [], validation_alias=AliasChoices("Addresses", "addresses"), serialization_alias="Addresses"
    )
    create_time: str = ""
    """Unix seconds."""
    ip: str | None = None


class ListNetworksResponse(Listing):
    """The list is under `networks`, in another revision under `network`."""

    networks: Many[NetworkModel] = Field([], validation_alias=AliasChoices("networks", "network"))
    total: Maybe[int] = None


class CreateNetworkRequest(Shape):
    cluster_id: str = Field(min_length=1, max_length=255)
    name: str | None = Field(None, max_length=30)


class UpdateNetworkRequest(Shape):
    network_id: str = Field(min_length=1, max_length=255)
    name: str | None = Field(None, min_length=1, max_length=30)


class NetworkStorageModel(Shape):
    storage_id: str | None = key("storageId", "id")
    storage_name: str | None = None
    storage_size: Maybe[int] = None
    """GB."""
    cluster_id: str | None = None
    cluster_name: str | None = None
    price: str | None = None
    """As the cloud says it: its unit is not documented, and it is not converted."""


class ListNetworkStoragesResponse(Listing):
    data: Many[NetworkStorageModel] = []
    total: Maybe[int] = None


class CreateNetworkStorageRequest(Shape):
    cluster_id: str
    storage_name: str
    storage_size: int


class UpdateNetworkStorageRequest(Shape):
    storage_id: str
    storage_name: str
    storage_size: int
