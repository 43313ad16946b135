# Made from `_async/` by scripts/generate_sync.py: change it there.
"""`client.gpu.instances`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gpuyard.vendors.novita._sync.pages import Page, walk
from gpuyard.vendors.novita._sync.transport import Transport
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


class Instances:
    """No action waits for what it asked for: look again with `get`, a new instance may be late in lists."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._send = transport.send

    def create(self, request: CreateInstanceRequest) -> CreateInstanceResponse:
        """Ask for a new instance; its id is in the answer."""
        return self._send(post("/gpu/instance/create", CreateInstanceResponse.model_validate, request.to_wire()))

    def get(self, instance_id: str) -> InstanceInfo:
        return self._send(get("/gpu/instance", InstanceInfo.model_validate, instanceId=instance_id))

    def edit(self, request: EditInstanceRequest) -> None:
        """Replace the exposed ports, grow the root disk, or both."""
        self._act("edit", request)

    def start(self, instance_id: str) -> None:
        self._act("start", InstanceRequest(instance_id=instance_id))

    def stop(self, instance_id: str) -> None:
        self._act("stop", InstanceRequest(instance_id=instance_id))

    def restart(self, instance_id: str) -> None:
        self._act("restart", InstanceRequest(instance_id=instance_id))

    def delete(self, instance_id: str) -> None:
        self._act("delete", InstanceRequest(instance_id=instance_id))

    def migrate(self, instance_id: str) -> None:
        """Move to another machine. Data on the system and local disk is not kept."""
        self._act("migrate", InstanceRequest(instance_id=instance_id))

    def upgrade(self, request: UpgradeInstanceRequest) -> None:
        """Replace image, command, variables and network storages, all of them."""
        self._act("upgrade", request)

    def renew(self, instance_id: str, month: int) -> None:
        """Extend a subscription by months."""
        self._act("renewInstance", TermRequest(instance_id=instance_id, month=month))

    def convert_to_monthly(self, instance_id: str, month: int) -> None:
        """Turn pay as you go into a subscription."""
        self._act("transToMonthlyInstance", TermRequest(instance_id=instance_id, month=month))

    def set_auto_renew(
        self, instance_ids: Iterable[str], auto_renew: bool, *, auto_renew_month: int | None = None
    ) -> None:
        request = AutoRenewRequest(
            instance_ids=[*instance_ids], auto_renew=auto_renew, auto_renew_month=auto_renew_month
        )
        self._act("setAutoRenew", request, sets=True)

    def set_auto_migrate(self, instance_id: str, enabled: bool, *, system_disk: bool | None = None) -> None:
        request = AutoMigrateRequest(
            instance_id=instance_id, auto_migrate_open=enabled, auto_migrate_system_disk=system_disk
        )
        self._act("setAutoMigrate", request, sets=True)

    def save_image(self, request: SaveImageRequest) -> str:
        """Begin to save the instance as an image; returns the id of the job, to be looked up in `jobs.list`."""
        answer = self._send(post("/job/save/image", SaveImageResponse.model_validate, request.to_wire()))
        return answer.job_id

    def iterate(
        self,
        *,
        page_size: int = 50,
        name: str | None = None,
        product_name: str | None = None,
        status: str | None = None,
    ) -> Iterator[InstanceInfo]:
        """Every instance, however many there are, page by page."""

        def page(number: int) -> Call[Page[InstanceInfo]]:
            return _page(pageSize=page_size, pageNum=number, name=name, productName=product_name, status=status)

        return walk(self._transport, page, lambda instance: instance.id)

    def _act(self, action: str, request: Shape, *, sets: bool = False) -> None:
        self._send(post(f"/gpu/instance/{action}", nothing, request.to_wire(), sets=sets))

    def list(
        self,
        *,
        page_size: int | None = None,
        page_num: int | None = None,
        name: str | None = None,
        product_name: str | None = None,
        status: str | None = None,
    ) -> list[InstanceInfo]:
        """One page, or what the server takes for all when no page is asked for; `iterate` goes through all pages."""
        items, _ = self._send(
            _page(pageSize=page_size, pageNum=page_num, name=name, productName=product_name, status=status)
        )
        return items


def _page(**query: Any) -> Call[Page[InstanceInfo]]:
    def read(said: Any) -> Page[InstanceInfo]:
        listed = ListInstancesResponse.around(said, "instances")
        return listed.instances, listed.total

    return get("/gpu/instances", read, **query)
