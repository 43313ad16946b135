"""`client.gpu.networks` and `client.gpu.storages`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from gpuyard.vendors.novita._async.pages import Page, walk
from gpuyard.vendors.novita._async.transport import AsyncTransport
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


class AsyncNetworks:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def get(self, network_id: str) -> NetworkModel:
        """Raises NotFoundError for an empty answer too."""
        found = await self._send(get("/network", _networks, networkId=network_id))
        if not found:
            raise NotFoundError(f"Resource not found: network {network_id}")
        return found[0]

    async def create(self, request: CreateNetworkRequest) -> NetworkModel:
        found = await self._send(post("/network/create", _networks, request.to_wire()))
        if not found:
            raise UnexpectedAnswerError("the answer to the creation of a network names none; look for it in the list")
        return found[0]

    async def update(self, request: UpdateNetworkRequest) -> NetworkModel:
        """The network as it is afterwards, looked up where the answer does not tell."""
        found = await self._send(post("/network/update", _networks, request.to_wire(), sets=True))
        return found[0] if found else await self.get(request.network_id)

    async def delete(self, network_id: str) -> None:
        """Raises BadRequestError while instances are attached."""
        await self._send(post("/network/delete", nothing, {"networkId": network_id}))

    def iterate(self, *, page_size: int = 50, name: str | None = None) -> AsyncIterator[NetworkModel]:
        """Every network, page by page."""

        def page(number: int) -> Call[Page[NetworkModel]]:
            return _network_page(pageSize=page_size, pageNum=number, name=name)

        return walk(self._transport, page, lambda network: network.id)

    async def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
        creators: str | None = None,
    ) -> list[NetworkModel]:
        """`name` is fuzzy; `creators` is a user's id."""
        query = {"pageSize": page_size, "pageNum": page_num, "name": name, "creators": creators}
        return (await self._send(_network_page(**query)))[0]


class AsyncStorages:
    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def create(self, request: CreateNetworkStorageRequest) -> NetworkStorageModel:
        """The new storage. An answer that is but an id is completed from the request."""
        return await self._send(post("/networkstorage/create", _storage_like(request.to_wire()), request.to_wire()))

    async def update(self, request: UpdateNetworkStorageRequest) -> NetworkStorageModel:
        """Rename or grow; shrinking may be refused."""
        read = _storage_like(request.to_wire())
        return await self._send(post("/networkstorage/update", read, request.to_wire(), sets=True))

    async def delete(self, storage_id: str) -> None:
        await self._send(post("/networkstorage/delete", nothing, {"storageId": storage_id}))

    def iterate(self, *, page_size: int = 50, name: str | None = None) -> AsyncIterator[NetworkStorageModel]:
        """Every storage, page by page."""

        def page(number: int) -> Call[Page[NetworkStorageModel]]:
            return _storage_page(pageNo=number, pageSize=page_size, storageName=name)

        return walk(self._transport, page, lambda storage: storage.storage_id, first=1)

    async def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
        storage_id: str | None = None,
    ) -> list[NetworkStorageModel]:
        """Pages of storages count from 1."""
        query = {"pageNo": page_num, "pageSize": page_size, "storageName": name, "storageId": storage_id}
        return (await self._send(_storage_page(**query)))[0]


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
