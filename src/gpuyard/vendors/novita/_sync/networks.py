# Made from `_async/` by scripts/generate_sync.py: change it there.
"""`client.gpu.networks` and `client.gpu.storages`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gpuyard.vendors.novita._sync.pages import Page, walk
from gpuyard.vendors.novita._sync.transport import Transport
from gpuyard.vendors.novita.core import Call, fields, get, nothing, post
from gpuyard.vendors.novita.errors import NotFoundError, UnexpectedAnswerError
from gpuyard.vendors.novita.wire.networks import (
    CreateNetworkRequest,
    CreateNetworkStorageRequest,
    ListNetworksResponse,
    ListNetworkStoragesResponse,
    NetworkModel,
    NetworkStorageModel,
    UpdateNetworkRequest,
    UpdateNetworkStorageRequest,
)


class Networks:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._send = transport.send

    def get(self, network_id: str) -> NetworkModel:
        """Raises NotFoundError for an empty answer too."""
        found = self._send(get("/network", _networks, networkId=network_id))
        if not found:
            raise NotFoundError(f"Resource not found: network {network_id}")
        return found[0]

    def create(self, request: CreateNetworkRequest) -> NetworkModel:
        found = self._send(post("/network/create", _networks, request.to_wire()))
        if not found:
            raise UnexpectedAnswerError("the answer to the creation of a network names none; look for it in the list")
        return found[0]

    def update(self, request: UpdateNetworkRequest) -> NetworkModel:
        """The network as it is afterwards, looked up where the answer does not tell."""
        found = self._send(post("/network/update", _networks, request.to_wire(), sets=True))
        return found[0] if found else self.get(request.network_id)

    def delete(self, network_id: str) -> None:
        """Raises BadRequestError while instances are attached."""
        self._send(post("/network/delete", nothing, {"networkId": network_id}))

    def iterate(self, *, page_size: int = 50, name: str | None = None) -> Iterator[NetworkModel]:
        """Every network, page by page."""

        def page(number: int) -> Call[Page[NetworkModel]]:
            return _network_page(pageSize=page_size, pageNum=number, name=name)

        return walk(self._transport, page, lambda network: network.id)

    def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
        creators: str | None = None,
    ) -> list[NetworkModel]:
        """`name` is fuzzy; `creators` is a user's id."""
        query = {"pageSize": page_size, "pageNum": page_num, "name": name, "creators": creators}
        return (self._send(_network_page(**query)))[0]


class Storages:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._send = transport.send

    def create(self, request: CreateNetworkStorageRequest) -> NetworkStorageModel:
        """The new storage. An answer that is but an id is completed from the request."""
        return self._send(post("/networkstorage/create", _storage_like(request.to_wire()), request.to_wire()))

    def update(self, request: UpdateNetworkStorageRequest) -> NetworkStorageModel:
        """Rename or grow; shrinking may be refused."""
        read = _storage_like(request.to_wire())
        return self._send(post("/networkstorage/update", read, request.to_wire(), sets=True))

    def delete(self, storage_id: str) -> None:
        self._send(post("/networkstorage/delete", nothing, {"storageId": storage_id}))

    def iterate(self, *, page_size: int = 50, name: str | None = None) -> Iterator[NetworkStorageModel]:
        """Every storage, page by page."""

        def page(number: int) -> Call[Page[NetworkStorageModel]]:
            return _storage_page(pageNo=number, pageSize=page_size, storageName=name)

        return walk(self._transport, page, lambda storage: storage.storage_id, first=1)

    def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
        storage_id: str | None = None,
    ) -> list[NetworkStorageModel]:
        """Pages of storages count from 1."""
        query = {"pageNo": page_num, "pageSize": page_size, "storageName": name, "storageId": storage_id}
        return (self._send(_storage_page(**query)))[0]


def _networks(said: Any) -> list[NetworkModel]:
    return ListNetworksResponse.around(fields(said), "network").networks


def _network_page(**query: Any) -> Call[Page[NetworkModel]]:
    def read(said: Any) -> Page[NetworkModel]:
        listed = ListNetworksResponse.around(said, "networks")
        return listed.networks, listed.total

    return get("/networks", read, **query)


def _storage_page(**query: Any) -> Call[Page[NetworkStorageModel]]:
    def read(said: Any) -> Page[NetworkStorageModel]:
        listed = ListNetworkStoragesResponse.around(said, "data")
        return listed.data, listed.total

    return get("/networkstorages/list", read, **query)


def _storage_like(asked: dict[str, Any]) -> Callable[[Any], NetworkStorageModel]:
    """Reads a storage object, or the id alone, which then is a storage as it was asked for."""

    def read(said: Any) -> NetworkStorageModel:
        told = {"storageId": said} if isinstance(said, str) else fields(said)
        return NetworkStorageModel.model_validate(asked | told)

    return read
