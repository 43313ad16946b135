"""`client.gpu.instances`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from gpuyard.vendors.novita._async.pages import Page, walk
from gpuyard.vendors.novita._async.transport import AsyncTransport
from gpuyard.vendors.novita.core import Call, get, nothing, post
from gpuyard.vendors.novita.wire.base import Shape
from gpuyard.vendors.novita.wire.instances import (
    AutoMigrateRequest,
    AutoRenewRequest,
    CreateInstanceRequest,
    CreateInstanceResponse,
    EditInstanceRequest,
    InstanceInfo,
    InstanceRequest,
    ListInstancesResponse,
    SaveImageRequest,
    SaveImageResponse,
    TermRequest,
    UpgradeInstanceRequest,
)


class AsyncInstances:
    """No action waits for what it asked for: look again with `get`, a new instance may be late in lists."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._send = transport.send

    async def create(self, request: CreateInstanceRequest) -> CreateInstanceResponse:
        """Ask for a new instance; its id is in the answer."""
        return await self._send(post("/gpu/instance/create", CreateInstanceResponse.model_validate, request.to_wire()))

    async def get(self, instance_id: str) -> InstanceInfo:
        return await self._send(get("/gpu/instance", InstanceInfo.model_validate, instanceId=instance_id))

    async def edit(self, request: EditInstanceRequest) -> None:
        """Replace the exposed ports, grow the root disk, or both."""
        await self._act("edit", request)

    async def start(self, instance_id: str) -> None:
        await self._act("start", InstanceRequest(instance_id=instance_id))

    async def stop(self, instance_id: str) -> None:
        await self._act("stop", InstanceRequest(instance_id=instance_id))

    async def restart(self, instance_id: str) -> None:
        await self._act("restart", InstanceRequest(instance_id=instance_id))

    async def delete(self, instance_id: str) -> None:
        await self._act("delete", InstanceRequest(instance_id=instance_id))

    async def migrate(self, instance_id: str) -> None:
        """Move to another machine. Data on the system and local disk is not kept."""
        await self._act("migrate", InstanceRequest(instance_id=instance_id))

    async def upgrade(self, request: UpgradeInstanceRequest) -> None:
        """Replace image, command, variables and network storages, all of them."""
        await self._act("upgrade", request)

    async def renew(self, instance_id: str, month: int) -> None:
        """Extend a subscription by months."""
        await self._act("renewInstance", TermRequest(instance_id=instance_id, month=month))

    async def convert_to_monthly(self, instance_id: str, month: int) -> None:
        """Turn pay as you go into a subscription."""
        await self._act("transToMonthlyInstance", TermRequest(instance_id=instance_id, month=month))

    async def set_auto_renew(
        self, instance_ids: Iterable[str], auto_renew: bool, *, auto_renew_month: int | None = None
    ) -> None:
        request = AutoRenewRequest(
            instance_ids=[*instance_ids], auto_renew=auto_renew, auto_renew_month=auto_renew_month
        )
        await self._act("setAutoRenew", request, sets=True)

    async def set_auto_migrate(self, instance_id: str, enabled: bool, *, system_disk: bool | None = None) -> None:
        request = AutoMigrateRequest(
            instance_id=instance_id, auto_migrate_open=enabled, auto_migrate_system_disk=system_disk
        )
        await self._act("setAutoMigrate", request, sets=True)

    async def save_image(self, request: SaveImageRequest) -> str:
        """Begin to save the instance as an image; returns the id of the job, to be looked up in `jobs.list`."""
        answer = await self._send(post("/job/save/image", SaveImageResponse.model_validate, request.to_wire()))
        return answer.job_id

    def iterate(
        self,
        *,
        page_size: int = 50,
        name: str | None = None,
        product_name: str | None = None,
        status: str | None = None,
    ) -> AsyncIterator[InstanceInfo]:
        """Every instance, however many there are, page by page."""

        def page(number: int) -> Call[Page[InstanceInfo]]:
            return _page(pageSize=page_size, pageNum=number, name=name, productName=product_name, status=status)

        return walk(self._transport, page, lambda instance: instance.id)

    async def _act(self, action: str, request: Shape, *, sets: bool = False) -> None:
        await self._send(post(f"/gpu/instance/{action}", nothing, request.to_wire(), sets=sets))

    async def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
        product_name: str | None = None,
        status: str | None = None,
    ) -> list[InstanceInfo]:
        """One page, or what the server takes for all when no page is asked for; `iterate` goes through all pages."""
        items, _ = await self._send(
            _page(pageSize=page_size, pageNum=page_num, name=name, productName=product_name, status=status)
        )
        return items


def _page(**query: Any) -> Call[Page[InstanceInfo]]:
    def read(said: Any) -> Page[InstanceInfo]:
        listed = ListInstancesResponse.around(said, "instances")
        return listed.instances, listed.total

    return get("/gpu/instances", read, **query)
