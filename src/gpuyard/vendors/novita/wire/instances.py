"""Instances: what is asked for and what is answered (Novita API, instance object and its operations)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from gpuyard.vendors.novita.wire.base import MAX_NAME, Listing, Many, Maybe, One, Open, Shape, key
from gpuyard.vendors.novita.wire.catalogue import BillingMode

RESERVED_PORTS: Final = frozenset({2222, 2223, 2224})
MAX_PORTS: Final = 15
"""Ports and tools together."""


class Kind(StrEnum):
    gpu = "gpu"
    cpu = "cpu"


class Status(StrEnum):
    """What an instance is doing. `pending` is what the cloud may send right after creation."""

    pending = "pending"
    to_create = "toCreate"
    creating = "creating"
    pulling = "pulling"
    running = "running"
    to_start = "toStart"
    starting = "starting"
    to_stop = "toStop"
    stopping = "stopping"
    exited = "exited"
    to_restart = "toRestart"
    restarting = "restarting"
    to_remove = "toRemove"
    removing = "removing"
    removed = "removed"
    to_reset = "toReset"
    resetting = "resetting"
    migrating = "migrating"
    freezing = "freezing"


class SpotStatus(StrEnum):
    running = "running"
    notified = "notified"
    reclaiming = "reclaiming"
    terminated = "terminated"


class PortType(StrEnum):
    tcp = "tcp"
    http = "http"


class VolumeType(StrEnum):
    network = "network"
    local = "local"


# ── Asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def usable_port(port: int) -> int:
    if port in RESERVED_PORTS:
        raise ValueError(f"port {port} is reserved: 2222, 2223 and 2224 cannot be exposed")
    return port


PortNumber = Annotated[int, Field(ge=1, le=65535), AfterValidator(usable_port)]


class Port(Shape):
    port: PortNumber
    type: PortType


def parse_ports(text: str) -> list[Port]:
    """`80/http, 3306/tcp` as ports. Raises ValueError naming the piece that is none."""
    return [_parse_port(piece.strip()) for piece in text.split(",") if piece.strip()]


def _parse_port(piece: str) -> Port:
    number, _, kind = piece.partition("/")
    if not number.strip().isdecimal() or kind.strip() not in set(PortType):
        raise ValueError(f"ports: {piece!r} is not a port: write '80/http' or '3306/tcp', separated by commas")
    return Port(port=int(number), type=PortType(kind.strip()))


class Env(Shape):
    key: str = Field(max_length=511)
    value: str = Field(max_length=4095)


class Tool(Shape):
    """A built-in tool of an official image; the only known name is `Jupyter`. Its port is text."""

    name: str | None = None
    port: str | None = None
    type: str | None = None


class NetworkStorage(Shape):
    """A network storage to mount into a new instance. Its id is written with a capital I."""

    id: str | None = key("Id", "id")
    mount_point: str | None = Field(None, max_length=4095)


class CreateInstanceRequest(Shape):
    """What `instances.create` asks for.

    The simple API's request has the same name: called with `instance_type` and without `product_id`, this makes that one.
    Type-checked code imports it from `gpuyard.vendors.novita.wire.simple`.
    """

    name: str | None = Field(None, max_length=MAX_NAME)
    product_id: str = Field(min_length=1, max_length=MAX_NAME)
    gpu_num: int | None = Field(None, ge=1, le=8)
    rootfs_size: int | None = Field(None, ge=10, le=6144)
    """GB. Needed, like `gpu_num`, where the kind is gpu."""
    image_url: str = Field(min_length=1, max_length=500)
    kind: Kind = Kind.gpu
    image_auth: str | None = Field(None, max_length=10239)
    """`username:password` of the image's registry."""
    image_auth_id: str | None = None
    ports: str | None = None
    """`80/http, 3306/tcp`."""
    envs: list[Env] | None = Field(None, max_length=100)
    tools: list[Tool] | None = None
    command: str | None = Field(None, max_length=2047)
    entrypoint: str | None = Field(None, max_length=2047)
    cluster_id: str | None = None
    local_storage_mount_point: str | None = None
    network_storages: list[NetworkStorage] | None = Field(None, max_length=30)
    network_id: str | None = None
    month: int | None = Field(None, ge=0)
    billing_mode: BillingMode | None = None
    auto_renew: bool | None = None
    auto_renew_month: int | None = Field(None, ge=1, le=12)
    min_cuda_version: str | None = None

    if not TYPE_CHECKING:

        def __new__(cls, **given: Any) -> Any:
            if "instance_type" in given and not {"product_id", "productId"} & given.keys():
                from gpuyard.vendors.novita.wire import simple

                return simple.CreateInstanceRequest(**given)
            return super().__new__(cls)

    @field_validator("ports")
    @classmethod
    def _ports_are_ports(cls, ports: str | None) -> str | None:
        parse_ports(ports or "")
        return ports

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind is Kind.gpu:
            for name, value in (("gpu_num", self.gpu_num), ("rootfs_size", self.rootfs_size)):
                if value is None:
                    raise ValueError(f"{name} is needed for an instance of kind gpu")
        exposed = len(parse_ports(self.ports or "")) + len(self.tools or ())
        if exposed > MAX_PORTS:
            raise ValueError(f"ports and tools are {exposed} together; at most {MAX_PORTS} are allowed")
        return self


class EditInstanceRequest(Shape):
    """`ports` replaces the exposed ports; `expand_root_disk` is by how many GB the disk grows, 0 for not at all."""

    instance_id: str
    ports: list[Port] | None = Field(None, max_length=MAX_PORTS)
    expand_root_disk: int | None = Field(None, ge=0)


class VolumeMount(Shape):
    type: Literal["network"] = "network"
    id: str
    mount_path: str = Field("/network", min_length=1, max_length=4095)


class NetworkVolume(Shape):
    """The network storages an upgraded instance has; an empty list detaches all."""

    volume_mounts: list[VolumeMount] = Field(max_length=30)


class UpgradeInstanceRequest(Shape):
    """Everything is given in full: what is left out is lost."""

    instance_id: str
    image_url: str = Field(min_length=1, max_length=500)
    image_auth_id: str | None = None
    envs: list[Env] = Field(max_length=100)
    command: str = Field(max_length=2047)
    entrypoint: str | None = Field(None, max_length=2047)
    save: bool
    """Keep the data of the old instance."""
    network_volume: NetworkVolume


class SaveImageRequest(Shape):
    instance_id: str = Field(min_length=1, max_length=255)
    image: str = Field(min_length=1, max_length=4095)
    """A complete reference: registry, repository and tag."""
    registry_auth_id: str | None = None


class InstanceRequest(Shape):
    """The body of start, stop, restart, delete and migrate."""

    instance_id: str


class TermRequest(InstanceRequest):
    """The body of renew and of the change to a subscription."""

    month: int


class AutoRenewRequest(Shape):
    instance_ids: list[str] = Field(min_length=1)
    auto_renew: bool
    auto_renew_month: int | None = Field(None, ge=1, le=12)


class AutoMigrateRequest(InstanceRequest):
    auto_migrate_open: bool
    auto_migrate_system_disk: bool | None = None


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class CreateInstanceResponse(Shape):
    id: str


class SaveImageResponse(Shape):
    job_id: str = ""


class PortMapping(Shape):
    port: Maybe[int] = None
    endpoint: str | None = None
    """Where the port is reachable."""
    type: str | None = None


class InstanceVolume(Shape):
    type: Maybe[Open[VolumeType]] = None
    size: str | None = None
    id: str | None = None
    mount_path: str | None = None


class StatusError(Shape):
    state: str | None = None
    message: str | None = None


class EnvSetting(Shape):
    """An environment variable as it is answered."""

    key: str | None = None
    value: str | None = None


class Network(Shape):
    """Which VPC network an instance is in, and its address there."""

    id: str | None = key("id", "Id")
    ip: str | None = None


class ConnectComponentSsh(Shape):
    """How to get a shell. The cloud says `sshCommand`, older answers `user` and `command`."""

    user: str | None = None
    password: str | None = None
    command: str | None = None
    ssh_command: str | None = None
    is_running: bool | None = None


class ConnectComponentWebTerminal(Shape):
    url: str | None = None
    address: str | None = None
    username: str | None = None
    password: str | None = None
    is_running: bool | None = None


class ConnectComponentJupyter(Shape):
    url: str | None = None
    token: str | None = None
    port: Maybe[int] = None
    address: str | None = None
    is_running: bool | None = None


class ConnectComponentLog(Shape):
    url: str | None = None
    system_log_address: str | None = None
    instance_log_address: str | None = None
    is_running: bool | None = None


class Node(Shape):
    max_rootfs_size: Maybe[int] = None


class RunningJob(Shape):
    id: str | None = None
    type: str | None = None


class InstanceInfo(Shape):
    """An instance. Counts and sizes of the machine are text in this API."""

    id: str
    name: str
    cluster_id: str
    cluster_name: str | None = None
    status: Open[Status]
    image_url: str
    image_auth_id: str | None = None
    command: str | None = None
    entrypoint: str | None = None
    cpu_num: str
    memory: str
    gpu_num: str
    port_mappings: Many[PortMapping] | None = None
    product_id: str
    product_name: str
    rootfs_size: int
    volume_mounts: Many[InstanceVolume] | None = None
    status_error: One[StatusError] = None
    envs: Many[EnvSetting] | None = None
    kind: str | None = None
    billing_mode: Maybe[Open[BillingMode]] = None
    end_time: str | None = None
    """End of the subscription, Unix seconds; "-1" for pay as you go."""
    spot_status: Maybe[Open[SpotStatus]] = None
    spot_reclaim_time: str | None = None
    """Unix seconds; "0" where no reclaim has begun."""
    network: One[Network] = None
    connect_component_ssh: One[ConnectComponentSsh] = key("connectComponentSSH")
    connect_component_web_terminal: One[ConnectComponentWebTerminal] = None
    connect_component_jupyter: One[ConnectComponentJupyter] = None
    connect_component_log: One[ConnectComponentLog] = None
    ssh_password: str | None = None
    node: One[Node] = None
    free_storage_size: Maybe[int] = None
    keep_data_day: Maybe[int] = None
    jobs: Many[RunningJob] | None = None


class ListInstancesResponse(Listing):
    instances: Many[InstanceInfo] = []
    total: Maybe[int] = None
